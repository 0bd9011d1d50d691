/**
 * One source, many targets over the built executable: each op to each, in the order of connection; what one target suffers
 * no other feels; targets come and go while the source runs. About 60 s.
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { LaneStatus } from "../../src/base/status.ts";
import { lacks } from "../testing/needs.ts";
import { assertSameTree } from "../testing/manifest.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { startTarget } from "../testing/understudy.ts";
import { tempDirectory, tmpfsMount } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

function fill({ source }: Replication, count: number): Promise<unknown> {
  const script = `cd "$1"; mkdir -p d/e; for i in $(seq ${count}); do echo "contents $i" >d/e/$i; done`;
  return runProcess("sh", ["-ec", script, "sh", source], { expectCode: 0 });
}

async function lanes(replication: Replication): Promise<LaneStatus[]> {
  return (await replication.sourceStatus()).targets;
}

/** Waits until a target is in a state. */
function waitForLane(
  replication: Replication,
  target: string,
  state: LaneStatus["state"],
): Promise<LaneStatus> {
  return waitFor(async () => {
    const lane = (await lanes(replication)).find((each) => each.target === target);
    return lane?.state === state && lane;
  }, { what: `${target} to be ${state}`, timeoutMs: 60_000, intervalMs: 50 });
}

Deno.test({
  name: "targets are connected and disconnected while the source runs, which outlasts restarts",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { directory, source, replica } = replication;
    const second = `${directory}/second`;
    await fill(replication, 200);
    await replication.watch();
    const connected = await replication.run(["connect", second, "--json"], { expectCode: 0 });
    assertEquals(JSON.parse(connected.stdout), { targets: [replica, second] });
    await waitForLane(replication, second, "live");
    await Deno.writeTextFile(`${source}/both`, "both");
    await replication.flush();
    for (const target of [replica, second]) await assertSameTree(source, target, { root: true });
    assertEquals((await lanes(replication)).map(({ target }) => target), [replica, second]);

    // A target over TCP, by its join token.
    await using server = await startTarget(replication.root);
    const token = await server.invite("third");
    const third = `${server.address}/third`;
    await replication.run(["connect", token], { expectCode: 0 });
    await waitForLane(replication, third, "live");
    await assertSameTree(source, `${replication.root}/third`, { root: true });

    await replication.stopWatching();
    await Deno.writeTextFile(`${source}/while-down`, "contents");
    await replication.watch();
    assertEquals((await lanes(replication)).map(({ target }) => target), [replica, second, third]);
    await replication.flush();
    for (const target of [replica, second, `${replication.root}/third`]) await assertSameTree(source, target);

    await replication.run(["disconnect", second], { expectCode: 0 });
    await Deno.writeTextFile(`${source}/others`, "not there");
    await replication.flush();
    assertEquals((await lanes(replication)).map(({ target }) => target), [replica, third]);
    assertEquals(await Deno.stat(`${second}/others`).catch(() => undefined), undefined);
    assert(Deno.statSync(`${second}/both`).isFile, "what it has stays");
    // Nobody holds it any more.
    await replication.run(["mirror", source, second], { expectCode: 0 });

    await replication.run(["connect", second], { expectCode: 0 });
    await waitForLane(replication, second, "live");
    await assertSameTree(source, second, { root: true });
    const { opsSent } = (await lanes(replication)).find(({ target }) => target === second)!;
    assertEquals(opsSent.file ?? 0, 0, "what it had counts");
    await replication.run(["disconnect", second], { expectCode: 0 });
    await replication.run(["disconnect", third], { expectCode: 0 });
    const last = await replication.run(["disconnect", replica]);
    assertEquals(last.code, 1);
    assertStringIncludes(last.stderr, "it is the only target");
    await replication.stopWatching();
    await replication.watch();
    assertEquals((await lanes(replication)).map(({ target }) => target), [replica]);
  },
});

Deno.test({
  name: "connect refuses what cannot be a target, and the others go on",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica, directory } = replication;
    await replication.watch();
    const table: [target: string, code: number, reason: RegExp][] = [
      [replica, 1, /it is a target of the set already/],
      [`${source}/inside`, 1, /the target lies inside the source/],
      ["nowhere:1/name", 1, /not paired/],
      ["us1-nonsense", 2, /token/],
      ["word", 2, /it has none of these forms/],
    ];
    for (const [target, code, reason] of table) {
      const refused = await replication.run(["connect", target]);
      assertMatch(refused.stderr, reason);
      assertEquals(refused.code, code, refused.stderr);
    }
    const unknown = await replication.run(["disconnect", `${directory}/never`]);
    assertMatch(unknown.stderr, /Cannot disconnect ".*never": the targets are/);
    assertEquals((await lanes(replication)).length, 1);
    await Deno.writeTextFile(`${source}/a`, "goes on");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "one slow, one dead and one full target: the others lag at most 2 s, and each catches up alone",
  ignore: ignore || lacks("root"),
  async fn() {
    await using replication = await openReplication({ proxied: true });
    const { source, directory } = replication;
    await using small = await tmpfsMount({ sizeBytes: 16 << 20 });
    const [quick, full] = [`${directory}/quick`, `${small.path}/full`];
    await using deadRoot = await tempDirectory();
    const dead = await startTarget(deadRoot.path);
    const token = await dead.invite("dead");
    await fill(replication, 100);
    await replication.watch(["--to", quick, "--to", full, "--to", token]);
    const deadTarget = `${dead.address}/dead`;
    dead.process.kill("SIGKILL");
    await dead.process.ended();
    await waitForLane(replication, deadTarget, "disconnected");
    const slowTarget = (await lanes(replication))[0].target;
    replication.proxy!.weather = { bytesPerSecond: 200_000 };

    let maxLagMs = 0;
    const lagOf = async () => {
      const lane = (await lanes(replication)).find(({ target }) => target === quick)!;
      maxLagMs = Math.max(maxLagMs, lane.lagMs);
    };
    // 24 MiB that do not compress: too much for one, and long for another.
    for (let i = 0; i < 24; i++) {
      const block = new Uint8Array(1 << 20);
      for (let at = 0; at < block.length; at += 65_536) {
        crypto.getRandomValues(block.subarray(at, at + 65_536));
      }
      await Deno.writeFile(`${source}/random${i}`, block);
      await Deno.writeTextFile(`${source}/d/new${i}`, `${i}`);
      await lagOf();
    }
    await waitFor(async () => {
      await lagOf();
      return await Deno.stat(`${quick}/random23`).then(({ size }) => size === 1 << 20, () => false);
    }, { what: "the quick target", timeoutMs: 20_000 });
    assert(maxLagMs <= 2_000, `the quick target lagged ${maxLagMs} ms`);
    const blocked = await waitForLane(replication, full, "blocked");
    assertMatch(blocked.reason, /no space|ENOSPC/i);
    const states = (await lanes(replication)).map(({ state }) => state);
    assert(states[0] !== "live", "the slow one has not all of it yet");
    assertEquals([states[1], states[3]], ["live", "disconnected"]);

    // Each heals by itself.
    replication.proxy!.weather = {};
    await waitForLane(replication, slowTarget, "live");
    await runProcess("mount", ["-o", "remount,size=64m", small.path], { expectCode: 0 });
    await waitForLane(replication, full, "live");
    await using _again = await startTarget(deadRoot.path, { listen: dead.address });
    await waitForLane(replication, deadTarget, "live");
    await replication.flush();
    for (const target of [replication.replica, quick, full, `${deadRoot.path}/dead`]) {
      await assertSameTree(source, target);
    }
  },
});

Deno.test({
  name: "what goes to several targets over slow lines is compressed once",
  ignore,
  async fn() {
    await using replication = await openReplication({ args: ["--compress", "brotli"] });
    const { source, directory } = replication;
    const text = Array.from({ length: 30_000 }, (_, i) => `line ${i * 7919 % 1000}: the quick brown fox`)
      .join("\n");
    for (let i = 0; i < 24; i++) await Deno.writeTextFile(`${source}/${i}`, `${i} ${text}`);
    const second = `${directory}/second`;
    await Deno.mkdir(second);
    await using server = await startTarget(second);
    const tokens = [await server.invite("two"), await server.invite("three")];
    await replication.watch(["--limit-rate", "2M", ...tokens.flatMap((token) => ["--to", token])]);
    await replication.flush();
    const all = await lanes(replication);
    const shared = all.reduce((sum, { packetsShared }) => sum + packetsShared, 0);
    const sent = all.reduce((sum, { opsSent }) => sum + (opsSent.block ?? 0), 0);
    console.log(`${shared} of ${sent} blocks were compressed already, of ${sent * 2 / 3} that could be`);
    // Where lanes are far apart each compresses for itself.
    assert(shared > sent / 3, `${shared} of ${sent}`);
    for (const name of ["two", "three"]) await assertSameTree(source, `${second}/${name}`, { root: true });
    await replication.assertEqual();
  },
});
