/**
 * Goal: whatever happens to a source, its target, their disks and the line between them, nothing that was acked is lost,
 * no half of a file is ever seen, and in the end the replica is the tree.
 *
 * Method: random histories in a simulated world (world.ts). One that fails is made as short as it can be, and printed;
 * `UNDERSTUDY_SEED` lives the same ones again, and `deno task sim` goes on until it finds one that fails.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { initHasher } from "../../src/mirror/signature.ts";
import { tempDirectory } from "../testing/temp.ts";
import { simulatedHistory } from "./history.ts";
import { assertSimulations, liveOnce } from "./live.ts";
import type { SimulatedAction } from "./world.ts";

const HISTORIES = Number(Deno.env.get("UNDERSTUDY_HISTORIES") ?? 1_000);
const SEED = Number(Deno.env.get("UNDERSTUDY_SEED") ?? Date.now() % 1_000_000);

Deno.test(`a simulated world ends well after any history (seed ${SEED}, ${HISTORIES} histories)`, async () => {
  await using directory = await tempDirectory();
  await assertSimulations(directory.path, { seed: SEED, histories: HISTORIES });
});

Deno.test("a history runs the same way each time", async () => {
  await initHasher();
  await using directory = await tempDirectory();
  let opsCount = 0;
  for (const [i, history] of fc.sample(simulatedHistory, { seed: 1, numRuns: 100 }).entries()) {
    const [first, second] = [
      await liveOnce(`${directory.path}/${i}`, i, history),
      await liveOnce(`${directory.path}/${i}`, i, history),
    ];
    assertEquals(first, second);
    opsCount += first.length;
  }
  assert(opsCount > 200, `${opsCount} ops`);
});

/** Histories that ended badly once, each with what was wrong. */
const found: [string, SimulatedAction[]][] = [
  ["what a process that died had installed, but not synced, was listed, believed, and lost with the power", [
    { do: "crash target at call", call: 6, phase: "before" },
    { do: "mkdir", path: "a/a" },
    { do: "mkdir", path: "a" },
    { do: "restart source", saves: false },
    { do: "link", path: "a", to: "a" },
    { do: "cut power", seed: 1 },
  ]],
  ["a small file that became a large one with a hole was patched in place", [
    { do: "write", path: "a", size: 0 },
    { do: "append", path: "a", size: 10 },
    { do: "pass", ms: 5 },
    { do: "crash target at call", call: 10, phase: "after" },
    { do: "truncate", path: "a", size: 1_126_400 },
    { do: "patch", path: "a", at: 0, size: 1 },
  ]],
  ["a disk that could not be asked was taken for one without nanoseconds", [
    { do: "disk fails once", after: 1, code: "ENOSPC" },
    { do: "overflow" },
  ]],
];

for (const [what, history] of found) {
  Deno.test(`a simulated world ends well where ${what}`, async () => {
    await initHasher();
    await using directory = await tempDirectory();
    for (const seed of [1, 2]) await liveOnce(`${directory.path}/${seed}`, seed, history);
  });
}
