/**
 * `deno task sim [--seed N]`: lives random histories in simulated worlds, ever others, until one ends badly or the user
 * ends it. Prints what it lived; a history that fails is printed as short as it can be, with the seed.
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { tempDirectory } from "../testing/temp.ts";
import { assertSimulations } from "./live.ts";

/** Histories of one seed. */
const HISTORIES = 1_000;

const { seed: given } = parseArgs(Deno.args, { string: ["seed"] });
const first = given === undefined ? Date.now() % 1_000_000_000 : Number(given);
if (!Number.isSafeInteger(first)) throw new Error(`Cannot simulate: "${given}" is no seed`);
await using directory = await tempDirectory();
for (let seed = first;; seed++) {
  await assertSimulations(directory.path, { seed, histories: HISTORIES });
  console.log(`seed ${seed}: ${HISTORIES} histories ended well`);
}
