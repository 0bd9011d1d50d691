/**
 * How soon live changes arrive while a mirror without a limit goes on (FEATURES R2: p99 at most 100 ms).
 *
 * Usage: `deno run -A bench/live_during_mirror.ts [large|small]`
 * @module
 */
import { openReplication } from "../tests/testing/replication.ts";
import { makeTree, writeBigFile } from "../tests/testing/tree_maker.ts";
import { waitFor } from "../tests/testing/wait.ts";

const MiB = 1024 ** 2;
const SAMPLES = 300;

/** What the mirror has to do: 5 GiB that do not compress, or 400,000 small files. */
function fill(source: string, what: string): void {
  if (what === "small") {
    makeTree(source, { fileCount: 400_000, sizes: [1_000, 2_000], filesPerDirectory: 500 });
  } else for (let i = 0; i < 80; i++) writeBigFile(`${source}/large${i}`, 64 * MiB, { seed: 1 + i });
}

const what = Deno.args[0] ?? "large";
await using replication = await openReplication();
const { source, replica } = replication;
fill(source, what);
await replication.startWatching();
await waitFor(async () => (await replication.laneStatus().catch(() => undefined))?.state === "mirroring", {
  what: "the mirror to begin",
  timeoutMs: 30_000,
});
const took: number[] = [];
const before = await replication.laneStatus();
const beganMs = performance.now();
for (let sample = 0; sample < SAMPLES; sample++) {
  const name = `live${sample % 20}`;
  const startMs = performance.now();
  Deno.writeTextFileSync(`${source}/${name}`, `${sample}`);
  await waitFor(
    () => Deno.readTextFile(`${replica}/${name}`).then((text) => text === `${sample}`, () => false),
    {
      what: `sample ${sample} to arrive`,
      intervalMs: 1,
    },
  );
  took.push(performance.now() - startMs);
}
const seconds = (performance.now() - beganMs) / 1_000;
const { state, opsSent, bytesSent } = await replication.laneStatus();
if (state !== "mirroring") throw new Error(`Cannot tell: the mirror ended before the samples did (${state})`);
took.sort((a, b) => a - b);
const at = (share: number) => took[Math.floor(SAMPLES * share)].toFixed(0);
console.log(
  `${what}: p50 ${at(0.5)} ms, p90 ${at(0.9)}, p99 ${at(0.99)}, longest ${took.at(-1)!.toFixed(0)}; ` +
    `meanwhile ${(((opsSent.file ?? 0) - (before.opsSent.file ?? 0)) / seconds).toFixed(0)} files/s, ` +
    `${((bytesSent - before.bytesSent) / seconds / MiB).toFixed(0)} MiB/s`,
);
