/**
 * The old source comes back to its promoted replica: what must never be lost, said wrongly or held back then. About 40 s.
 * @module
 */
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { existsSync } from "node:fs";
import { limits } from "../../src/base/limits.ts";
import { manifest } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess, startProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { run, start } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

async function shell(directory: string, script: string): Promise<string> {
  const { stdout } = await runProcess("bash", ["-ec", `cd "$1"; ${script}`, "bash", directory], {
    expectCode: 0,
  });
  return stdout;
}

interface Kept {
  kept: string[];
  removed: string[];
  attributes: { path: string; mode: number }[];
}

/** The only directory that keeps something beside the source, and its list. */
function keptOf(directory: string): { list: Kept; at: string } {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name)
    .filter((name) => name.startsWith("source.kept-")).sort();
  assertEquals(names.length, 2, names.join());
  const at = `${directory}/${names[0]}`;
  return { list: JSON.parse(Deno.readTextFileSync(`${at}.json`)), at };
}

/** A source that was live and has ended, all of it acked. */
async function openEnded(script: string, options: Parameters<typeof openReplication>[0] = {}) {
  await using cleanup = new AsyncDisposableStack();
  const replication = cleanup.use(await openReplication(options));
  await shell(replication.source, script);
  await replication.watch();
  await replication.flush();
  await replication.stopWatching();
  cleanup.move();
  return replication;
}

/** Runs a `watch-source --failback` that ends by itself. */
function planBack(replication: Replication, args: string[]) {
  const { source, pairedTarget } = replication;
  return replication.run(["watch-source", source, "--to", pairedTarget, "--failback", ...args]);
}

Deno.test({
  name: "failback --dry-run prints what would be done and kept, and changes nothing",
  ignore,
  async fn() {
    await using replication = await openEnded("echo 1 >a; echo 2 >b; echo 3 >c; mkdir d; echo 4 >d/e");
    const { source, replica, directory } = replication;
    await shell(source, "echo unsent >a; rm c; echo new >n");
    await replication.promote();
    await shell(replica, "echo there >a; echo there >b; rm -r d");
    const before = [await manifest(source), await manifest(replica)];
    const { stdout } = await planBack(replication, ["--dry-run"]);
    assertMatch(stdout, /update +"a": changed here and not known to be sent, would be kept aside/);
    assertMatch(stdout, /update +"b"\n/);
    assertMatch(stdout, /create +"c": removed here and not known to be sent, would come back/);
    assertMatch(stdout, /delete +"n": .*kept aside/);
    assertMatch(stdout, /delete +"d\/e"\n/);
    assertMatch(stdout, /and keep 2 in ".*source\.kept-/);
    const { kept, removed } = JSON.parse((await planBack(replication, ["-n", "--json"])).stdout);
    assertEquals([kept, removed], [["a", "n"], ["c"]]);
    assertEquals([await manifest(source), await manifest(replica)], before);
    assertEquals(
      [...Deno.readDirSync(directory)].map(({ name }) => name).sort(),
      ["root", "source", "state"],
    );
    // The fence stands.
    assertEquals((await replication.targetStatus()).replicas[0].state, "promoted");
    const { code, stderr } = await replication.run(["watch-source", source, "--to", "./x", "--dry-run"]);
    assertEquals(code, 2);
    assertMatch(stderr, /Cannot use --dry-run without --failback/);
  },
});

Deno.test({
  name:
    "failback leaves our own state and what the rules leave out where they are, also in directories that are gone",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica, server } = replication;
    // As in a home directory.
    const state = `${source}/.local/state[1]`;
    await shell(source, "mkdir -p .local d; echo 1 >f; echo tmp >d/x.tmp; echo 2 >d/y; echo tmp >t.tmp");
    const watch = (target: string, args: string[]) =>
      start(["watch-source", source, "--to", target, "--state", state, "--exclude", "*.tmp", ...args]);
    {
      await using daemon = await watch(await server.invite("replica"), []);
      await daemon.waitForLine(/^live$/);
    }
    await replication.promote();
    await shell(replica, "echo there >f; rm -r d");
    await using daemon = await watch(`${server.address}/replica`, ["--failback"]);
    await daemon.waitForLine(/^failed back from /);
    await daemon.waitForLine(/^live$/);
    assertEquals(await shell(source, "cat f d/x.tmp t.tmp; ls d"), "there\ntmp\ntmp\nx.tmp\n");
    assert(existsSync(`${state}/key`));
    await run(["flush", "--state", state], { expectCode: 0 });
    assertEquals(await shell(replica, "find . -type f | sort"), "./f\n");
    assertEquals(await shell(source, "find .. -maxdepth 1 -name '*.kept-*'"), "");
  },
});

Deno.test({
  name: "failback brings back very many deletions and rewrites that no guard holds, here or afterwards",
  ignore,
  async fn() {
    const count = 2 * limits.guardDeletesCount;
    await using replication = await openEnded(
      `head -c 64M /dev/urandom >big; mkdir k; for i in $(seq ${count}); do echo $i >f$i; done; for i in $(seq ${count}); do echo $i >k/$i; done`,
    );
    const { source, replica, directory } = replication;
    await replication.promote();
    await shell(
      replica,
      "rm f*; for f in k/*; do echo there >>$f; done; " +
        "for at in 1 20 40; do printf X | dd of=big bs=1 seek=${at}000000 conv=notrunc status=none; done",
    );
    const daemon = await replication.startWatching(["--failback", "--json"]);
    const event = JSON.parse(await daemon.waitForLine(/"event":"failback"/, { timeoutMs: 60_000 }));
    await daemon.waitForLine(/"event":"live"/, { timeoutMs: 60_000 });
    await replication.flush();
    await replication.assertEqual();
    console.log(
      `      ${event.bytes} bytes came back, of a file of ${64 << 20} with 3 changes, and ${count} small`,
    );
    assertLess(event.bytes, 2 << 20);
    const { guards, targets } = await replication.sourceStatus();
    assertEquals(guards, []);
    console.log(`      ${targets[0].bytesSent} bytes were sent by the source after that`);
    assertLess(targets[0].bytesSent, 64 << 10);
    assertEquals(targets[0].opsSent.file ?? 0, 0);
    assert(![...Deno.readDirSync(directory)].some(({ name }) => name.includes(".kept-")));
    // And on as before: few deletions are no mass.
    await shell(source, "rm k/1; echo live >k/2");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "failback keeps all that differs aside if the replica was put back and has not what it acked",
  ignore,
  async fn() {
    await using replication = await openEnded("echo 1 >f; echo 1 >g; echo 1 >h");
    const { source, root, replica, directory } = replication;
    await replication.stopServer();
    await shell(directory, "cp -a root backup");
    await replication.startServer();
    await replication.watch();
    await shell(source, "echo 2 >f; echo 2 >new");
    await replication.flush();
    await replication.stopWatching();
    await replication.stopServer();
    await shell(directory, `rm -r root; mv backup '${root}'`);
    await replication.startServer();
    await replication.promote();
    await shell(replica, "echo there >g");
    await replication.watch(["--failback"]);
    await replication.flush();
    await replication.assertEqual();
    assertEquals(Deno.readTextFileSync(`${source}/f`), "1\n");
    const { list, at } = keptOf(directory);
    assertEquals(list.kept, ["f", "g", "new"]);
    assertEquals(Deno.readTextFileSync(`${at}/f`), "2\n");
  },
});

Deno.test({
  name: "failback tells removals and attributes as they turned out, of names that are no Unicode, too",
  ignore,
  async fn() {
    await using replication = await openEnded(
      "mkdir $'d\\xff'; echo 1 >$'d\\xff/f\\xfe'; for n in a b c; do echo 1 >$n; chmod 644 $n; done; mkdir e",
    );
    const { source, replica, directory } = replication;
    await shell(source, "echo unsent >$'d\\xff/f\\xfe'; rm a b; chmod 600 c; chmod 700 e");
    await replication.promote();
    await shell(replica, "rm -r $'d\\xff' b; chmod 755 e");
    await replication.watch(["--failback"]);
    await replication.flush();
    await replication.assertEqual();
    const { list, at } = keptOf(directory);
    assertEquals(list.kept, ["d\udcff/f\udcfe"]);
    assertEquals(await shell(at, "cat $'d\\xff/f\\xfe'"), "unsent\n");
    // b is gone on both sides.
    assertEquals(list.removed, ["a"]);
    assertEquals(list.attributes.map(({ path, mode }) => [path, mode]), [["c", 0o600], ["e", 0o700]]);
  },
});

Deno.test({
  name:
    "failback that is killed goes on with the same directory and the same findings, and one that had ended is over",
  ignore,
  async fn() {
    const dirs = 30;
    await using replication = await openEnded(
      `for d in $(seq ${dirs}); do mkdir d$d; for i in $(seq 50); do echo $i >d$d/f$i; done; done; echo 1 >gone`,
    );
    const { source, replica, directory, state } = replication;
    await shell(source, `for d in $(seq ${dirs}); do echo unsent >d$d/f7; done; rm gone`);
    await replication.promote();
    await shell(
      replica,
      `for d in $(seq ${dirs}); do for i in $(seq 50); do echo there >d$d/f$i; done; done; rm -r d30`,
    );
    let kills = 0;
    const isHalf = () => {
      const names = Deno.readDirSync(source);
      const there = [...names].filter(({ name }) =>
        name.startsWith("d") && existsSync(`${source}/${name}/f50`) &&
        Deno.readTextFileSync(`${source}/${name}/f50`) === "there\n"
      );
      return there.length > 0;
    };
    const broken = await replication.startWatching(["--failback"]);
    await waitFor(() => isHalf() || !broken.running, { what: "the first files", intervalMs: 1 });
    await replication.kill();
    kills++;
    const [set] = [...Deno.readDirSync(state)].filter(({ isDirectory }) => isDirectory);
    assert(existsSync(`${state}/${set.name}/failback.json`), "it was killed on its way");
    const refused = await replication.startWatching();
    await refused.waitForLine(/refused/);
    await replication.kill();
    await replication.watch(["--failback"]);
    await replication.flush();
    await replication.assertEqual();
    const { list, at } = keptOf(directory);
    assertEquals(kills, 1);
    assertEquals(list.removed, ["gone"]);
    const unsent = list.kept.filter((path) => Deno.readTextFileSync(`${at}/${path}`) === "unsent\n");
    assertEquals(unsent.length, dirs);
    assert(!existsSync(`${state}/${set.name}/failback.json`));
    await replication.stopWatching();
    // The fence had fallen and nobody noted that.
    const record = {
      target: replication.pairedTarget,
      promotedAt: "x",
      aside: at,
      removed: [],
      attributes: [],
    };
    Deno.writeTextFileSync(
      `${state}/${set.name}/failback.json`,
      JSON.stringify({ ...record, isEnding: true }),
    );
    await replication.watch(["--failback"]);
  },
});

Deno.test({
  name: "failback with --keep-aside keeps there, and in no directory that holds something",
  ignore,
  async fn() {
    await using replication = await openEnded("echo 1 >f");
    const { source, replica, directory } = replication;
    await shell(source, "echo unsent >f");
    await replication.promote();
    await shell(replica, "echo there >f");
    await shell(directory, "mkdir full; echo old >full/f");
    const refused = await planBack(replication, ["--keep-aside", `${directory}/full`]);
    assertEquals(refused.code, 2);
    assertMatch(refused.stderr, /it is not empty/);
    await replication.watch(["--failback", "--keep-aside", `${directory}/aside`]);
    assertEquals(Deno.readTextFileSync(`${directory}/aside/f`), "unsent\n");
    assertEquals(Deno.readTextFileSync(`${directory}/full/f`), "old\n");
    assert(existsSync(`${directory}/aside.json`));
  },
});

Deno.test({
  name: "failback to a new machine brings all back: without an index what differs is kept",
  ignore,
  async fn() {
    await using replication = await openEnded("mkdir d; echo 1 >d/f; echo 2 >g");
    const { source, replica, directory, server } = replication;
    await replication.promote();
    await shell(replica, "echo there >d/f");
    const state = `${directory}/state2`;
    await shell(directory, "rm -r state; rm -r source/d; echo other >source/g; touch -d 2001-01-01 source/g");
    const token = await server.invite("replica");
    await using daemon = await start(["watch-source", source, "--to", token, "--failback", "--state", state]);
    await daemon.waitForLine(/^live$/);
    await run(["flush", "--state", state], { expectCode: 0 });
    await replication.assertEqual();
    const { list, at } = keptOf(directory);
    assertEquals(list.kept, ["g"]);
    assertEquals(Deno.readTextFileSync(`${at}/g`), "other\n");
  },
});

Deno.test({
  name: "failback from a replica that never rests fails and says so; what it made itself is not kept",
  ignore,
  async fn() {
    await using replication = await openEnded("for i in $(seq 200); do echo $i >f$i; done; echo 1 >u");
    const { source, replica, directory } = replication;
    await shell(source, "echo unsent >u");
    await replication.promote();
    {
      await using writer = startProcess("bash", [
        "-c",
        `cd '${replica}'; while :; do echo x$RANDOM >f1; date >>u; done`,
      ]);
      const failed = await replication.startWatching(["--failback"]);
      assertEquals((await failed.ended({ timeoutMs: 60_000 })).code, 1);
      assertMatch(failed.stderr, /it is still being changed; stop what works in it, and start again/);
      writer.kill("SIGKILL");
    }
    assertEquals((await replication.targetStatus()).replicas[0].state, "promoted");
    const [name] = [...Deno.readDirSync(directory)].map(({ name }) => name).filter((name) =>
      name.includes(".kept-")
    );
    assertEquals(await shell(`${directory}/${name}`, "find . -type f; cat u"), "./u\nunsent\n");
    await replication.watch(["--failback"]);
    await replication.flush();
    await replication.assertEqual();
    assert(keptOf(directory).list.kept.includes("u"));
  },
});

Deno.test({
  name: "a fence that is lifted by --undo lets a source in that still runs, which compares everything",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica } = replication;
    await shell(source, "for i in 1 2 3 4; do echo $i >f$i; done");
    await replication.watch();
    await replication.flush();
    await replication.promote(["--force"]);
    await replication.waitForState("refused");
    await shell(replica, "echo there >f1; rm f2; echo there >new");
    await run(["promote", "replica", "--root", replication.root, "--undo"], { expectCode: 0 });
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
    assertEquals(Deno.readTextFileSync(`${source}/f1`), "1\n");
  },
});

Deno.test({
  name: "a local target whose source is connected is promoted by force only, and names the source else",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica, directory } = replication;
    await shell(source, "echo 1 >f");
    const daemon = await replication.watch();
    await replication.flush();
    const began = performance.now();
    const refused = await run(["promote", replica], { expectCode: 1 });
    assertMatch(
      refused.stderr,
      new RegExp(
        `Cannot promote ".*replica": its source is connected \\(pid ${daemon.pid}\\); stop it first, or use --force`,
      ),
    );
    assertLess(performance.now() - began, 10_000);
    await shell(source, "echo 2 >f");
    await replication.flush();
    const promoted = await replication.promote(["--force"]);
    assert(promoted.lastSequence > 0);
    const lane = await replication.waitForState("refused");
    assertMatch(lane.reason, /was promoted at 20.*--failback/);
    await shell(source, "echo 3 >f");
    assertEquals(Deno.readTextFileSync(`${replica}/f`), "2\n");
    // It was right after all, and still runs.
    await shell(replica, "echo there >f");
    await run(["promote", replica, "--undo"], { expectCode: 0 });
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
    await replication.stopWatching();
    assertEquals(await shell(directory, "find . -type s"), "");
    const unknown = await run(["promote", source], { expectCode: 2 });
    assertMatch(unknown.stderr, /it is no replica/);
  },
});
