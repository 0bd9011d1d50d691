/**
 * Random histories of a simulated world.
 * @module
 */
import fc from "fast-check";
import { record, treeAction, worldAction } from "../source/tree_actions.ts";
import type { Mishap, SimulatedAction } from "./world.ts";

const seed = fc.integer({ min: 1, max: 2 ** 31 - 1 });

const mishap: fc.Arbitrary<Mishap> = fc.oneof(
  { weight: 4, arbitrary: record({ do: fc.constant("cut power"), seed }) },
  {
    weight: 2,
    arbitrary: record({
      do: fc.constant("disk"),
      state: fc.constantFrom("ENOSPC", "EIO", "EROFS", "well", "well"),
    }),
  },
  {
    weight: 2,
    arbitrary: record({
      do: fc.constant("disk fails once"),
      after: fc.integer({ min: 0, max: 20 }),
      code: fc.constantFrom("ENOSPC", "EIO"),
    }),
  },
  { weight: 1, arbitrary: record({ do: fc.constant("outage"), ms: fc.constantFrom(10, 1_000, 30_000) }) },
  { weight: 1, arbitrary: record({ do: fc.constant("reconnect") }) },
  { weight: 1, arbitrary: record({ do: fc.constantFrom("hold", "resume") }) },
  { weight: 3, arbitrary: record({ do: fc.constant("pass"), ms: fc.constantFrom(5, 100, 600, 3_000) }) },
) as fc.Arbitrary<Mishap>;

/** Histories of changes and mishaps. */
export const simulatedHistory: fc.Arbitrary<SimulatedAction[]> = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: treeAction as fc.Arbitrary<SimulatedAction> },
    { weight: 3, arbitrary: worldAction as fc.Arbitrary<SimulatedAction> },
    { weight: 2, arbitrary: mishap as fc.Arbitrary<SimulatedAction> },
  ),
  { minLength: 1, maxLength: 70, size: "max" },
);
