/**
 * What watching costs the application that is watched: the time of `tar x` into the tree, with and without.
 * @module
 */
import { runProcess } from "../tests/testing/process.ts";
import { makeTree } from "../tests/testing/tree_maker.ts";
import { run } from "../tests/testing/understudy.ts";
import { type LiveOptions, startServed } from "./live.ts";
import { summarize, type Summary } from "./measure.ts";

/** Seconds of `tar x`, and what of it is the watching. */
export interface Untar {
  fileCount: number;
  unwatched: Summary;
  watched: Summary;
  /** Median of the ratios watched by unwatched, round by round. */
  ratio: number;
}

const FILE_COUNT = 10_000;
const ROUNDS = 7;

/** Unpacks an archive into a watched tree and beside it, taking turns. */
export async function measureUntar({ directory, watchArgs, scale }: LiveOptions): Promise<Untar> {
  const fileCount = FILE_COUNT / scale;
  const archive = `${directory}/archive.tar`;
  await using served = await startServed(directory, (source) => {
    const packed = `${directory}/packed`;
    Deno.mkdirSync(packed);
    makeTree(packed, { fileCount, sizes: [1024, 16 * 1024], filesPerDirectory: 50 });
    new Deno.Command("tar", { args: ["cf", archive, "-C", packed, "."] }).outputSync();
    Deno.removeSync(packed, { recursive: true });
    Deno.writeTextFileSync(`${source}/first`, "");
  });
  await using watcher = await served.watch(watchArgs);
  const beside = `${directory}/beside`;
  const samples = { watched: [] as number[], unwatched: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    const order = round % 2 === 0 ? ["watched", "unwatched"] as const : ["unwatched", "watched"] as const;
    for (const which of order) {
      const into = which === "watched" ? `${served.source}/round` : beside;
      Deno.mkdirSync(into);
      const begin = performance.now();
      await runProcess("tar", ["xf", archive, "-C", into], { expectCode: 0, timeoutMs: 300_000 });
      samples[which].push((performance.now() - begin) / 1000);
      Deno.removeSync(into, { recursive: true });
      // The watcher must be at rest before the next turn, or it slows down the one that it does not watch.
      await run(["flush", "--state", served.state, "--timeout", "120s"], {
        expectCode: 0,
        timeoutMs: 150_000,
      });
    }
  }
  void watcher;
  const ratios = samples.watched.map((seconds, i) => seconds / samples.unwatched[i]);
  return {
    fileCount,
    watched: summarize(samples.watched),
    unwatched: summarize(samples.unwatched),
    ratio: summarize(ratios).median,
  };
}
