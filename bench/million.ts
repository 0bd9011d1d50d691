/**
 * What a tree of a million files costs the source: memory, the restart with nothing changed, and a single change.
 * @module
 */
import { makeTree } from "../tests/testing/tree_maker.ts";
import { type LiveOptions, startServed } from "./live.ts";
import { memorySize, peakMemorySize, quantile } from "./measure.ts";

/** What was found. */
export interface Million {
  fileCount: number;
  firstMirrorSeconds: number;
  /** Most resident memory of the first mirror, in bytes. */
  firstPeakSize: number;
  /** Resident memory once it was live, in bytes. */
  firstLiveSize: number;
  /** From the start of a new process, with nothing changed, to `live`. */
  restartSeconds: number;
  restartPeakSize: number;
  restartLiveSize: number;
  /** From a write to the target's file having it, median and longest of several. */
  visibleMs: { median: number; longest: number };
}

const FILE_COUNT = 1_000_000;
const CHANGES = 20;

/** Mirrors a million small files, starts again, and changes some. */
export async function measureMillion({ directory, watchArgs, scale }: LiveOptions): Promise<Million> {
  const fileCount = FILE_COUNT / scale;
  await using served = await startServed(directory, (source) => {
    makeTree(source, { fileCount, sizes: [10, 100], filesPerDirectory: 100 });
    Deno.writeTextFileSync(`${source}/changing`, "0");
  });
  const found = { fileCount } as Million;
  {
    await using first = await served.watch(watchArgs);
    found.firstMirrorSeconds = first.liveAfterSeconds;
    found.firstPeakSize = peakMemorySize(first.pid);
    found.firstLiveSize = memorySize(first.pid);
  }
  await using again = await served.watch(watchArgs);
  found.restartSeconds = again.liveAfterSeconds;
  found.restartPeakSize = peakMemorySize(again.pid);
  const visible: number[] = [];
  for (let i = 1; i <= CHANGES; i++) {
    visible.push(await timeUntilVisible(`${served.source}/changing`, `${served.replica}/changing`, `${i}`));
  }
  found.visibleMs = { median: quantile(visible, 0.5), longest: Math.max(...visible) };
  found.restartLiveSize = memorySize(again.pid);
  return found;
}

async function timeUntilVisible(path: string, copy: string, text: string): Promise<number> {
  const begin = performance.now();
  Deno.writeTextFileSync(path, text);
  while (Deno.readTextFileSync(copy) !== text) {
    if (performance.now() - begin > 60_000) throw new Error(`Cannot see the change in ${copy}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return performance.now() - begin;
}
