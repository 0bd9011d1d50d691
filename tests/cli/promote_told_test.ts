/**
 * What `promote` says of changes that had not arrived: by what the source had told before it was lost. About 20 s.
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { runProcess, startProcess } from "../testing/process.ts";
import { openReplication } from "../testing/replication.ts";
import { writeBigFile } from "../testing/tree_maker.ts";
import { run } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

async function shell(directory: string, script: string): Promise<void> {
  await runProcess("bash", ["-ec", `cd "$1"; ${script}`, "bash", directory], { expectCode: 0 });
}

Deno.test({
  name: "promote says how many changes waited at a source that was killed, and since when",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, root } = replication;
    await shell(source, "echo 1 >f");
    await replication.watch();
    await replication.flush();
    await replication.run(["hold"], { expectCode: 0 });
    const beganMs = Date.now();
    await shell(source, "for i in 1 2 3; do echo unsent >n$i; done");
    await waitFor(async () => (await replication.laneStatus()).lagMs > 0, { what: "what waits" });
    // It is told once a second.
    await new Promise((go) => setTimeout(go, 2_500));
    const killedMs = Date.now();
    await replication.kill();
    await waitFor(async () => !(await replication.replicaStatus()).connected, { what: "the end" });
    const { code, stdout } = await run(["promote", "replica", "--root", root]);
    assertEquals(code, 3, stdout);
    assertMatch(stdout, /not received {2}[34] changes that waited at the source since 20.*, as of 20/);
    const { waiting, connectedUntil } = await replication.promote([], { expectCode: 3 });
    // The directory's own time may be one, too.
    assert(waiting && waiting.isMirrored && waiting.changes >= 3 && waiting.changes <= 4);
    const sinceMs = Date.parse(waiting!.since);
    assert(sinceMs > beganMs - 1_000 && sinceMs < beganMs + 1_500, `${waiting!.since}`);
    assert(Math.abs(Date.parse(connectedUntil) - killedMs) < 5_000, connectedUntil);
  },
});

Deno.test({
  name: "promote says that nothing waited at a source that was at rest, after both were killed, too",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, root } = replication;
    await shell(source, "echo 1 >f");
    await replication.watch();
    await replication.flush();
    await new Promise((go) => setTimeout(go, 2_500));
    // Written with the next change, and it waits for none.
    await shell(source, "echo 2 >f");
    await replication.flush();
    await replication.stopServer("SIGKILL");
    await replication.kill();
    const { code, stdout } = await run(["promote", "replica", "--root", root]);
    assertEquals(code, 0, stdout);
    assertMatch(
      stdout,
      /the last change came at 20.*\nwhat the source changed after 20.*\nnothing was waiting/,
    );
  },
});

Deno.test({
  name: "promote says of a source that died under load, and in its first mirror, that not all is there",
  ignore,
  async fn() {
    await using replication = await openReplication({ args: ["--limit-rate", "1M"] });
    const { source, root } = replication;
    for (const n of [1, 2, 3]) writeBigFile(`${source}/big${n}`, 8 << 20, { seed: n });
    await using load = startProcess("bash", [
      "-c",
      `cd '${source}'; while :; do echo x >>log; echo y >f$((i++)); done`,
    ]);
    await replication.startWatching();
    await waitFor(async () => (await replication.replicaStatus())?.lastDurableSequence > 0, { what: "ops" });
    await new Promise((go) => setTimeout(go, 3_000));
    await replication.kill();
    load.kill("SIGKILL");
    await waitFor(async () => !(await replication.replicaStatus()).connected, { what: "the end" });
    const { stdout } = await run(["promote", "replica", "--root", root], { expectCode: 3 });
    assertMatch(stdout, /not received {2}what the first mirror had not come to/);
    assertMatch(stdout, /not received {2}\d+ changes that waited at the source since 20/);
  },
});
