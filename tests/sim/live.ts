/**
 * Lives histories.
 * @module
 */
import fc from "fast-check";
import { initHasher } from "../../src/mirror/signature.ts";
import { simulatedHistory } from "./history.ts";
import { type SimulatedAction, SimulatedWorld } from "./world.ts";

/**
 * Lives a history in a world of its own.
 *
 * @param directory Is made, and removed afterwards.
 * @returns What the target was told, an op a line.
 */
export async function liveOnce(
  directory: string,
  seed: number,
  history: SimulatedAction[],
): Promise<string[]> {
  Deno.mkdirSync(directory);
  try {
    await using world = await SimulatedWorld.open(directory, seed);
    return await world.live(history);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/**
 * Lives random histories.
 *
 * @throws {Error} If one ends badly: it is in the message, as short as it can be.
 */
export async function assertSimulations(
  directory: string,
  { seed, histories }: { seed: number; histories: number },
): Promise<void> {
  await initHasher();
  let number = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      simulatedHistory,
      async (seed, history) => void await liveOnce(`${directory}/${++number}`, seed, history),
    ),
    { seed, numRuns: histories },
  );
}
