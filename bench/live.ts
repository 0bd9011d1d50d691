/**
 * What is measured of `watch-source` alone: latency and memory.
 * @module
 */
import { runProcess } from "../tests/testing/process.ts";
import { makeTree } from "../tests/testing/tree_maker.ts";
import { start, startTarget } from "../tests/testing/understudy.ts";
import { memorySize, peakMemorySize, quantile } from "./measure.ts";

/** How long a change took to be visible on the target, in milliseconds. */
export interface Latency {
  sampleCount: number;
  p50Ms: number;
  p90Ms: number;
  p99Ms: number;
  maxMs: number;
}

/** Memory of the source, in bytes. */
export interface Memory {
  fileCount: number;
  liveAfterSeconds: number;
  /** Most resident memory ever, the first mirror included. */
  peakSize: number;
  /** Resident memory after it became live. */
  liveSize: number;
}

/** Options of what is measured of a live source. */
export interface LiveOptions {
  /** Empty directory on the file system to measure. */
  directory: string;
  /** Given to `understudy watch-source`. */
  watchArgs: string[];
  /** Divides counts, to try the bench itself. */
  scale: number;
}

const SAMPLE_COUNT = 300;
const MEMORY_FILE_COUNT = 100_000;
const FIRST_MIRROR_LIMIT_MS = 600_000;

/**
 * Changes 4 KiB of a 64 KiB file and waits until the target's file holds them, again and again on an otherwise idle
 * system, over TCP with encryption. A process of its own writes and looks (latency_probe.ts).
 */
export async function measureLatency(options: LiveOptions): Promise<Latency> {
  await using live = await startLive(options, (source) => {
    makeTree(source, { fileCount: 1000 / Math.min(options.scale, 10) });
  });
  const probe = new URL("latency_probe.ts", import.meta.url).pathname;
  const count = Math.ceil(SAMPLE_COUNT / options.scale);
  const { stdout } = await runProcess(
    Deno.execPath(),
    ["run", "-A", probe, live.source, live.replica, String(count)],
    { expectCode: 0, timeoutMs: FIRST_MIRROR_LIMIT_MS },
  );
  const samples: number[] = JSON.parse(stdout);
  const at = (share: number) => quantile(samples, share);
  return { sampleCount: samples.length, p50Ms: at(0.5), p90Ms: at(0.9), p99Ms: at(0.99), maxMs: at(1) };
}

/** Mirrors 100,000 small files and looks at the memory of the source when it is live. */
export async function measureMemory(options: LiveOptions): Promise<Memory> {
  const fileCount = MEMORY_FILE_COUNT / options.scale;
  await using live = await startLive(options, (source) => {
    makeTree(source, { fileCount, sizes: [100, 1000], filesPerDirectory: 50 });
  });
  return {
    fileCount,
    liveAfterSeconds: live.liveAfterSeconds,
    peakSize: peakMemorySize(live.pid),
    liveSize: memorySize(live.pid),
  };
}

/** A source that is live, with its target server. */
export async function startLive({ directory, watchArgs }: LiveOptions, makeSource: (source: string) => void) {
  await using stack = new AsyncDisposableStack();
  const served = stack.use(await startServed(directory, makeSource));
  const watcher = stack.use(await served.watch(watchArgs));
  const resources = stack.move();
  return {
    source: served.source,
    replica: served.replica,
    pid: watcher.pid,
    targetPid: watcher.targetPid,
    liveAfterSeconds: watcher.liveAfterSeconds,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** A source tree and a target server, and the way to watch one for the other, again and again. */
export async function startServed(directory: string, makeSource: (source: string) => void) {
  await using stack = new AsyncDisposableStack();
  const [source, root, state] = ["source", "root", "state"].map((name) => `${directory}/${name}`);
  for (const path of [source, root, state]) {
    await Deno.mkdir(path);
    stack.defer(() => Deno.remove(path, { recursive: true }));
  }
  makeSource(source);
  const server = stack.use(await startTarget(root));
  let target = await server.invite("live");
  const watch = async (watchArgs: string[]) => {
    await using starting = new AsyncDisposableStack();
    const begin = performance.now();
    const watcher = starting.use(
      await start(["watch-source", source, "--to", target, "--state", state, ...watchArgs]),
    );
    await watcher.waitForLine(/^live/, { timeoutMs: FIRST_MIRROR_LIMIT_MS });
    const liveAfterSeconds = (performance.now() - begin) / 1000;
    // A token pairs once.
    target = `${server.address}/live`;
    const watching = starting.move();
    return {
      pid: watcher.pid,
      targetPid: server.process.pid,
      liveAfterSeconds,
      [Symbol.asyncDispose]: () => watching.disposeAsync(),
    };
  };
  const resources = stack.move();
  return {
    source,
    state,
    replica: `${root}/live`,
    watch,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
