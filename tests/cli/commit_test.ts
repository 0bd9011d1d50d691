/**
 * Commit modes over the built executable: what `flush` promises in each, with the target away, after a kill, and where
 * the transaction log cannot be written. About 40 s.
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { CommitStatus, FlushResult } from "../../src/base/status.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

async function flush(
  replication: Replication,
  ...args: string[]
): Promise<FlushResult & { code: number; stderr: string }> {
  const { stdout, code, stderr } = await replication.run(["flush", "--json", ...args]);
  return { ...JSON.parse(stdout), code, stderr };
}

async function commit(replication: Replication, ...args: string[]): Promise<CommitStatus> {
  return JSON.parse((await replication.run(["commit", "--json", ...args], { expectCode: 0 })).stdout);
}

async function write(replication: Replication, name: string): Promise<void> {
  await Deno.writeTextFile(`${replication.source}/${name}`, `contents of ${name}`);
}

/** Waits until nothing is left in the transaction log. */
async function waitForEmptyLog(replication: Replication): Promise<void> {
  await waitFor(async () => (await commit(replication)).log.count === 0, {
    what: "an empty transaction log",
    timeoutMs: 30_000,
  });
}

/** Where the set's transaction log is. */
function logDirectory({ state }: Replication): string {
  const [set] = [...Deno.readDirSync(state)].filter(({ isDirectory }) => isDirectory).map(({ name }) => name);
  return `${state}/${set}/log`;
}

Deno.test({
  name: "ack waits for the target, real for the change to be heard of, and the mode changes live and lasts",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await replication.watch();
    await write(replication, "a");
    assertEquals((await flush(replication)).commit, "ack");
    await replication.assertEqual();
    await replication.stopServer("SIGKILL");
    await write(replication, "b");
    const waiting = await flush(replication, "--timeout", "1s");
    assertEquals([waiting.code, waiting.committed], [1, false]);
    assertMatch(waiting.stderr, /Cannot flush within 1s: .* is disconnected/);

    assertMatch(
      (await replication.run(["commit", "real"], { expectCode: 0 })).stdout,
      /^real, transaction log off/,
    );
    await write(replication, "c");
    const heard = await flush(replication, "--timeout", "5s");
    assertEquals([heard.code, heard.commit], [0, "real"]);
    const { commit: mode, targets: [{ queuedOps, stackedOps }] } = await replication.sourceStatus();
    assertEquals(mode, "real");
    assert(queuedOps + stackedOps >= 2, "both changes wait");

    await replication.stopWatching();
    await replication.startServer();
    await replication.watch();
    assertEquals((await commit(replication)).commit, "real", "over restarts");
    await replication.run(["commit", "ack"], { expectCode: 0 });
    await replication.flush();
    await replication.assertEqual();
    const refused = await replication.run(["commit", "remote"]);
    assertEquals(refused.code, 2);
    assertStringIncludes(refused.stderr, "not in this version");
  },
});

Deno.test({
  name:
    "local: what was flushed while the target was away is in the log after a kill, and goes first afterwards",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await runProcess("sh", [
      "-ec",
      `cd "$1"; for d in $(seq 100); do mkdir z$d; for f in $(seq 50); do echo $f >z$d/$f; done; done`,
      "sh",
      replication.source,
    ]);
    await replication.watch(["--commit", "local"]);
    await waitForEmptyLog(replication);
    await replication.stopServer("SIGKILL");
    for (const name of ["a", "b", "c"]) await write(replication, name);
    await Deno.rename(`${replication.source}/z7`, `${replication.source}/moved`);
    const flushed = await flush(replication, "--timeout", "5s");
    assertEquals([flushed.code, flushed.commit], [0, "local"]);
    replication.daemon!.kill("SIGKILL");
    await replication.daemon!.ended();
    assert([...Deno.readDirSync(logDirectory(replication))].length > 0);

    await replication.startWatching();
    const left = await waitFor(async () => {
      const status = await commit(replication).catch(() => undefined);
      return status && status.log.count > 0 && status;
    }, { what: "the commands that were left" });
    assertEquals(left.commit, "local", "the mode lasts");
    assert(left.log.count >= 4, JSON.stringify(left));
    await replication.startServer();
    await replication.waitForState("live");
    await waitForEmptyLog(replication);
    await replication.assertEqual();
  },
});

Deno.test({
  name:
    "local: a full or read-only disk for the log is told by flush and status, costs no change, and ends by itself",
  ignore: ignore || lacks("root"),
  async fn() {
    await using replication = await openReplication({ road: "local" });
    await replication.watch(["--commit", "local"]);
    await replication.flush();
    await replication.stopWatching();
    const directory = logDirectory(replication);
    await runProcess("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", directory], { expectCode: 0 });
    try {
      await replication.watch();
      await Deno.writeFile(`${directory}/ballast`, new Uint8Array(52 * 1024));
      const script = `cd "$1"; for i in $(seq 500); do echo $i >a-file-with-a-rather-long-name-$i; done`;
      await runProcess("sh", ["-ec", script, "sh", replication.source], { expectCode: 0 });
      const refused = await flush(replication);
      assertEquals([refused.code, refused.committed], [1, false]);
      assertMatch(refused.stderr, /Cannot flush: Cannot write the transaction log: .*No space left/);
      const { log } = await replication.sourceStatus();
      assertEquals(log.state, "failed");
      assertMatch(
        (await replication.run(["status"])).stdout,
        /commit local, transaction log failed \(.*No space left/,
      );
      await replication.run(["commit", "ack"], { expectCode: 0 });
      await replication.flush();
      await replication.assertEqual();

      await replication.run(["commit", "local"], { expectCode: 0 });
      await Deno.remove(`${directory}/ballast`);
      await write(replication, "later");
      await waitFor(async () => (await flush(replication)).code === 0, {
        what: "the log to be written again",
        timeoutMs: 30_000,
      });
      await replication.stopWatching();
      await runProcess("mount", ["-o", "remount,ro", directory], { expectCode: 0 });
      await replication.watch();
      await write(replication, "read-only");
      assertMatch((await flush(replication)).stderr, /transaction log: .*Read-only file system/);
      await waitFor(() => Deno.readTextFile(`${replication.replica}/read-only`).catch(() => ""), {
        what: "the change to be replicated nevertheless",
      });
      await replication.stopWatching();
    } finally {
      await runProcess("umount", ["-l", directory]);
    }
  },
});

Deno.test({
  name: "--on-unreachable fail: flush does not wait for a target that is away",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await replication.watch(["--on-unreachable", "fail"]);
    await write(replication, "a");
    await replication.flush();
    await replication.stopServer();
    await replication.waitForState("disconnected");
    await write(replication, "b");
    const startMs = performance.now();
    const { code, stderr } = await flush(replication, "--timeout", "30s");
    assertEquals(code, 1);
    assertMatch(stderr, /Cannot flush: ".*" cannot be reached/);
    assert(performance.now() - startMs < 10_000, "it waited");
    await replication.startServer();
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
  },
});
