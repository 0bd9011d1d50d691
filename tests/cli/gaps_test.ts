/**
 * Every way in which changes are known to slip through a watcher: each is met here, has its named state in `status`
 * while it lasts, loses nothing, and ends by itself (intercept/gap.ts). About 60 s.
 *
 * Method: `watch-source` runs; something that it cannot hear of at once happens; `flush` succeeds, and the trees are equal.
 * @module
 */
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import type { GapStatus, SourceStatus } from "../../src/base/status.ts";
import { callControl, findDaemon } from "../../src/control/client.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

/** Interceptors under test: each must close every gap that is not said to be another's. */
const interceptors = ["inotify"];

/** Runs a shell script in the source. */
async function shell({ source }: Replication, script: string): Promise<void> {
  await runProcess("bash", ["-ec", script], { cwd: source, expectCode: 0, timeoutMs: 120_000 });
}

/** Status without starting a program for it: some states are short. */
async function statusNow({ state }: Replication): Promise<SourceStatus> {
  const { path } = await findDaemon({ state });
  return await callControl(path, "status", {}) as SourceStatus;
}

/** Waits until `status` names a gap. */
async function gapNamed(replication: Replication, wanted: string): Promise<GapStatus> {
  return await waitFor(async () => {
    return (await statusNow(replication)).capture.gaps.find(({ name }) => name === wanted);
  }, { what: `the gap "${wanted}" in status`, timeoutMs: 30_000, intervalMs: 1 });
}

/** Waits until `status` names no gap, and all directories are heard of. */
async function gapsEnd(replication: Replication): Promise<SourceStatus> {
  return await waitFor(async () => {
    const status = await statusNow(replication);
    return status.capture.gaps.length === 0 && status;
  }, { what: "the end of all gaps", timeoutMs: 60_000, intervalMs: 100 });
}

/** Asserts that a flush now leaves both trees equal. */
async function flushedEqual(replication: Replication): Promise<void> {
  await replication.flush();
  await replication.assertEqual();
}

for (const interceptor of interceptors) {
  const by = ["--intercept", interceptor];

  Deno.test({
    name: `${interceptor}: "arming": a tree is armed in order, and a flush meanwhile does not lie`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source } = replication;
      await shell(replication, "for i in $(seq 100); do mkdir -p t/$i/{1..10}/{1..20}; done");
      await replication.watch(by);
      await replication.stopWatching();
      // The second start has nothing to send: it arms and looks.
      await replication.startWatching(by);
      const gap = await gapNamed(replication, "arming");
      assertMatch(gap.reason, /^armed \d+ of \d+ directories known so far/);
      assertGreater(gap.count, 0);
      for (const path of ["t/1/1/1", "t/50/5/10", "t/100/10/20"]) {
        Deno.writeTextFileSync(`${source}/${path}/f`, path);
      }
      await shell(replication, "mv t/60 t/70/moved; rm -r t/80; mkdir -p t/90/n/n/n; echo 1 > t/90/n/n/n/f");
      await flushedEqual(replication);
      const { capture } = await gapsEnd(replication);
      assertEquals(capture.armed, capture.directories);
      await shell(replication, "for i in 1 33 70/moved 99; do echo $i > t/$i/2/3/late; done");
      await flushedEqual(replication);
    },
  });
}
