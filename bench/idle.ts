/**
 * What it costs to wait: the processor time of a source and of its target over a tree in which nothing happens.
 * @module
 */
import { type LiveOptions, startLive } from "./live.ts";
import { processorSeconds } from "./measure.ts";
import { makeTree } from "../tests/testing/tree_maker.ts";

/** Cost of a quiet stretch, each as a share of one processor (0.01 is 1 %). */
export interface IdleCost {
  fileCount: number;
  /** Length of the stretch. */
  seconds: number;
  source: number;
  /** The target server, with the Worker that applies. */
  target: number;
}

const FILE_COUNT = 200_000;
/** After the first mirror memory is given back, the index is saved, and the engine compiles what was hot. */
const SETTLE_MS = 20_000;
const QUIET_MS = 60_000;

/** Mirrors 200,000 small files, lets everything come to rest, and counts processor time while nothing happens. */
export async function measureIdle(options: LiveOptions): Promise<IdleCost> {
  const fileCount = FILE_COUNT / options.scale;
  await using live = await startLive(options, (source) => {
    makeTree(source, { fileCount, sizes: [100, 1000], filesPerDirectory: 50 });
  });
  await pause(SETTLE_MS / options.scale);
  const processes = [live.pid, live.targetPid];
  const before = processes.map(processorSeconds);
  const begin = performance.now();
  await pause(QUIET_MS / options.scale);
  const seconds = (performance.now() - begin) / 1000;
  const [source, target] = processes.map((pid, i) => (processorSeconds(pid) - before[i]) / seconds);
  return { fileCount, seconds, source, target };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
