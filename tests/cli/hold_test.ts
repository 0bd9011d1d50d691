/**
 * Hold and resume over the built executable: a held replica stays byte for byte as it is, over restarts of either side,
 * and gets everything afterwards. About 25 s.
 * @module
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { CommandError } from "../../src/base/errors.ts";
import { connectSource } from "../../src/control/application.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { run } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");
const MiB = 1024 ** 2;

/** Everything of a tree that a backup program would read, as one hash; made by tar, not by us. */
async function imageOf(directory: string): Promise<string> {
  const command = `tar --sort=name -C "$1" -cf - . | sha256sum`;
  return (await runProcess("bash", ["-c", command, "bash", directory], { expectCode: 0 })).stdout;
}

/** Changes of all kinds, among them one of a file that travels in blocks. */
async function change({ source }: Replication, round: number): Promise<void> {
  for (let i = 0; i < 50; i++) await Deno.writeTextFile(`${source}/f${i}`, `${round} ${i}`);
  await Deno.writeTextFile(`${source}/new${round}`, "new");
  await Deno.remove(`${source}/old${round}`);
  await Deno.rename(`${source}/d${round}`, `${source}/d${round}-renamed`);
  using large = await Deno.open(`${source}/large`, { write: true });
  await large.seek(round * 100_000, Deno.SeekMode.Start);
  await large.write(new Uint8Array(4096).fill(round));
}

async function prepare({ source }: Replication): Promise<void> {
  for (const round of [1, 2, 3, 4]) {
    await Deno.writeTextFile(`${source}/old${round}`, "old");
    await Deno.mkdir(`${source}/d${round}`);
    await Deno.writeTextFile(`${source}/d${round}/inside`, "inside");
  }
  await Deno.writeFile(`${source}/large`, new Uint8Array(8 * MiB).fill(9));
}

const hold = (replication: Replication, ...args: string[]) =>
  run(["hold", "--state", replication.state, "--timeout", "60s", "--json", ...args], { timeoutMs: 90_000 });

Deno.test({
  name:
    "a held replica stays as it is while files change, and over restarts of source and server; then it gets all",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await prepare(replication);
    await replication.watch();
    await replication.flush();
    const held = await hold(replication);
    assertEquals(held.code, 0, held.stderr);
    const { targets } = JSON.parse(held.stdout);
    assertEquals(targets.map(({ isQuiet }: { isQuiet: boolean }) => isQuiet), [true]);
    assert(Date.parse(targets[0].heldSince) > 0, held.stdout);
    const image = await imageOf(replication.replica);

    await change(replication, 1);
    await waitFor(async () => (await replication.laneStatus()).queuedOps > 50, {
      what: "ops to wait",
      timeoutMs: 60_000,
    });
    const lane = await replication.laneStatus();
    assertEquals([lane.state, lane.inFlightOps, lane.heldSince], ["held", 0, targets[0].heldSince]);
    const flush = await run(["flush", "--state", replication.state, "--timeout", "300ms"]);
    assertEquals(flush.code, 1);
    assertStringIncludes(flush.stderr, "is held (since ");
    const verify = await run(["verify", "--state", replication.state]);
    assertEquals(verify.code, 1);
    assertStringIncludes(verify.stdout + verify.stderr, "it is held since ");
    assertEquals(await imageOf(replication.replica), image, "after changes");

    await replication.stopWatching();
    await change(replication, 2);
    await replication.startWatching();
    await waitFor(
      async () => (await replication.laneStatus()).queuedOps > 50,
      { what: "the restart to find what changed", timeoutMs: 60_000 },
    );
    assertEquals(await imageOf(replication.replica), image);

    replication.server.process.kill("SIGKILL");
    await replication.server.process.ended();
    await replication.startServer();
    await change(replication, 3);
    await waitFor(async () => (await replication.laneStatus()).state === "held", {
      what: "the new connection",
      timeoutMs: 60_000,
    });
    assertEquals(await imageOf(replication.replica), image, "after a restart of the server");

    const resumed = await run(["resume", "--state", replication.state, "--json"], { expectCode: 0 });
    assertEquals(JSON.parse(resumed.stdout).targets[0].heldSince, "");
    await change(replication, 4);
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "hold waits for what is on its way, and says so when the target is away",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    await prepare(replication);
    await replication.watch();
    await replication.flush();
    replication.proxy!.stall();
    await change(replication, 1);
    await waitFor(async () => (await replication.laneStatus()).inFlightOps > 0, {
      what: "ops on their way",
      timeoutMs: 60_000,
    });
    const early = await run(["hold", "--state", replication.state, "--timeout", "300ms"]);
    assertEquals(early.code, 1);
    assertStringIncludes(
      early.stderr,
      "is at rest after 300ms: it is held, but what was sent before was not acked yet",
    );
    replication.proxy!.resume();
    assertEquals((await hold(replication)).code, 0);
    const image = await imageOf(replication.replica);
    await change(replication, 2);
    await waitFor(async () => (await replication.laneStatus()).queuedOps > 20, {
      what: "ops to wait",
      timeoutMs: 60_000,
    });
    assertEquals(await imageOf(replication.replica), image);
    await run(["resume", "--state", replication.state], { expectCode: 0 });
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "one of two targets is held, by its name; an unknown one is refused",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await prepare(replication);
    const second = `${replication.directory}/second`;
    await replication.watch(["--to", second]);
    await replication.flush();
    const unknown = await hold(replication, "--target", "elsewhere/none");
    assertEquals(unknown.code, 2);
    assertStringIncludes(unknown.stderr, `Cannot hold or resume "elsewhere/none": the targets are `);
    assertEquals((await hold(replication, "--target", second)).code, 0);
    const image = await imageOf(second);
    await change(replication, 1);
    await waitFor(
      async () => (await Deno.readTextFile(`${replication.replica}/new1`).catch(() => "")) === "new",
      { what: "the change on the other target", timeoutMs: 60_000 },
    );
    assertEquals(await imageOf(second), image);
    await run(["resume", "--state", replication.state, "--target", second], { expectCode: 0 });
    await replication.flush();
    assertEquals(await imageOf(second), await imageOf(replication.source));
  },
});

Deno.test({
  name: "an application holds by the client module, and anybody with the secret over HTTP",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await prepare(replication);
    const port = freePort();
    await replication.watch(["--http", `127.0.0.1:${port}`]);
    const source = await connectSource({ state: replication.state });
    await source.flush();
    let image: string;
    {
      await using held = await source.hold();
      assertEquals(held.targets.length, 1);
      image = await imageOf(replication.replica);
      await change(replication, 1);
      await assertRejects(() => source.flush({ timeoutMs: 200 }), CommandError);
      assertEquals(await imageOf(replication.replica), image);
    }
    await source.flush();
    await replication.assertEqual();

    const post = async (path: string, secret: string) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${secret}` },
      });
      return { status: response.status, body: await response.json() };
    };
    const [{ name }] = [...Deno.readDirSync(replication.state)].filter(({ isDirectory }) => isDirectory);
    const secretFile = `${replication.state}/${name}/http.secret`;
    assertEquals((await Deno.stat(secretFile)).mode! & 0o777, 0o600);
    const secret = (await Deno.readTextFile(secretFile)).trim();
    assertEquals((await post("/hold", "0".repeat(64))).status, 401);
    assertEquals((await replication.laneStatus()).state, "live");
    const held = await post("/hold", secret);
    assertEquals([held.status, held.body.targets[0].isQuiet], [200, true]);
    assertEquals((await replication.laneStatus()).state, "held");
    assertEquals((await post("/hold?target=none", secret)).status, 400);
    assertEquals((await post("/resume", secret)).body.targets[0].heldSince, "");
    await change(replication, 2);
    await source.flush();
    await replication.assertEqual();
  },
});

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
