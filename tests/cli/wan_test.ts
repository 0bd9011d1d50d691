/**
 * Goal: a long, thin and lossy line is used to its end, a line that is dead is found out, and waiting costs nothing.
 *
 * Method: a proxy with the weather of such a line, since the kernel here may have no netem: 1 Mbit/s, 150 ms each way, of
 * 100 segments five are lost and come a round trip later, and all behind them waits. About 60 s.
 * @module
 */
import { assert, assertMatch } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { openReplication } from "../testing/replication.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");
const RATE = 125_000;
const wan = { bytesPerSecond: RATE, delayMs: 150, lossShare: 0.05 };

function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

/** Milliseconds of processor time that a process has used. */
function cpuMs(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

Deno.test({
  name: "over a line of 1 Mbit/s, 300 ms and 5 % loss at least 70 % of it carry contents, live changes too",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true, args: ["--compress", "none"] });
    const { source, proxy } = replication;
    await replication.watch();
    await replication.flush();
    proxy!.weather = wan;
    const startMs = performance.now();
    await Deno.writeFile(`${source}/large`, randomBytes(1_000_000));
    for (let i = 0; i < 200; i++) await Deno.writeFile(`${source}/small${i}`, randomBytes(2_000));
    await replication.flush();
    const tookMs = performance.now() - startMs;
    const share = 1_400_000 / (RATE * tookMs / 1_000);
    console.log(`1.4 MB in ${(tookMs / 1_000).toFixed(1)} s: ${(100 * share).toFixed(0)} % of the line`);
    await replication.assertEqual();
    assert(share >= 0.7, `${(100 * share).toFixed(0)} % of the line`);
    // One change, alone: a trip there and one back, and what a loss costs.
    const changedMs = performance.now();
    await Deno.writeTextFile(`${source}/one`, "change");
    await waitFor(() => Deno.stat(`${replication.replica}/one`).then(() => true, () => false), {
      what: "the change",
    });
    assert(performance.now() - changedMs < 3_000);
  },
});

Deno.test({
  name: "a line on which nothing comes any more is given up, by both ends, and the next one goes on",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    const { source, proxy } = replication;
    await replication.watch();
    await Deno.writeTextFile(`${source}/a`, "before");
    await replication.flush();
    proxy!.stall();
    await Deno.writeTextFile(`${source}/a`, "while nothing passes");
    const startMs = performance.now();
    const lane = await replication.waitForState("disconnected");
    console.log(`found out after ${((performance.now() - startMs) / 1_000).toFixed(1)} s: ${lane.reason}`);
    assertMatch(lane.reason, /answer|silent|dead|heard/i);
    await waitFor(async () => !(await replication.replicaStatus()).connected, {
      what: "the target to give it up, too",
      timeoutMs: 60_000,
      intervalMs: 200,
    });
    proxy!.resume();
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "a source whose target is away takes less than 2 % of a processor",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    const { source, proxy } = replication;
    for (let i = 0; i < 500; i++) await Deno.writeTextFile(`${source}/${i}`, `${i}`);
    // Of fanotify's file system other tests make use, too, and each of their changes is heard of.
    const daemon = await replication.watch(["--intercept", "inotify"]);
    proxy!.refusing = true;
    proxy!.cut();
    await replication.waitForState("disconnected");
    for (let i = 0; i < 100; i++) await Deno.writeTextFile(`${source}/${i}`, `changed ${i}`);
    await waitFor(async () => {
      const { queuedOps, stackedOps } = await replication.laneStatus();
      return queuedOps + stackedOps >= 100;
    }, { what: "changes to wait" });
    const before = cpuMs(daemon.pid);
    const startMs = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    const share = (cpuMs(daemon.pid) - before) / (performance.now() - startMs);
    console.log(`${(100 * share).toFixed(2)} % of a processor`);
    assert(share < 0.02, `${(100 * share).toFixed(2)} %`);
    proxy!.refusing = false;
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
  },
});
