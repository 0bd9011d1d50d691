/**
 * Makes, renames, exchanges and removes directories with files in them as fast as it can: `shuffler.ts SEED COUNT` in
 * the tree's root, with a directory `../outside` to move things to and fro.
 * @module
 */
import { SeededRandom } from "../testing/tree_maker.ts";

const [seed, count] = Deno.args.map(Number);
const random = new SeededRandom(seed);
const names = ["a", "b", "c", "d/a", "d/b", "d/c/e", "a/s", "b/s/t"];
const outside = `../outside/${seed}`;

function fill(path: string, i: number): void {
  Deno.mkdirSync(`${path}/s/t`, { recursive: true });
  Deno.writeTextFileSync(`${path}/s/t/f${seed}`, `${i}`);
}

const steps: ((from: string, to: string, i: number) => void)[] = [
  (from, _to, i) => fill(from, i),
  (from, _to, i) => fill(from, i),
  (from, to) => Deno.renameSync(from, to),
  (from, to) => Deno.renameSync(from, to),
  (from, to) => {
    Deno.renameSync(from, `x${seed}`);
    Deno.renameSync(to, from);
    Deno.renameSync(`x${seed}`, to);
  },
  (from, _to, i) => Deno.writeTextFileSync(`${from}/s/t/f${seed}`, `${i}`, { append: true }),
  (from) => Deno.removeSync(from, { recursive: true }),
  (_from, to, i) => Deno.mkdirSync(`${to}/n${i % 9}`, { recursive: true }),
  (from, to, i) => {
    Deno.renameSync(from, outside);
    Deno.writeTextFileSync(`${outside}/o${seed}`, `${i}`);
    Deno.renameSync(outside, to);
  },
];

for (let i = 0; i < count; i++) {
  try {
    random.pick(steps)(random.pick(names), random.pick(names), i);
  } catch {
    // The other one was faster. What this one holds outside comes back under a name of its own.
    for (const held of [outside, `x${seed}`]) {
      try {
        Deno.renameSync(held, `held-${seed}-${i}`);
      } catch { /* it holds nothing */ }
    }
  }
}
