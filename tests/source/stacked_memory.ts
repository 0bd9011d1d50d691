/**
 * Fills stacked-up queues with ops that do not merge; prints for each load the bytes of memory of an op, as measured
 * and as the queue estimates it, those kept when all were taken, the nanoseconds that adding and taking one takes,
 * and how much longer adding takes at the end.
 * @module
 */
import { assertEquals } from "@std/assert";
import { utf8 } from "../../src/base/bytes.ts";
import { pathFromBytes } from "../../src/base/path.ts";
import type { StackedOp } from "../../src/ops/stacked.ts";
import { StackedQueue } from "../../src/source/stacked_queue.ts";

const { gc } = globalThis as unknown as { gc: () => void };
const COUNT = 200_000;

/** A name of 40 bytes, as it comes from the system: not a string that refers to others. */
function pathOf(number: number): string {
  return pathFromBytes(utf8(`home/user/projects/sources/f${String(number).padStart(12, "0")}`));
}

/** Steps through a file in an order that no index foresees. */
function placeOf(number: number): number {
  return (number * 7_919) % COUNT * 10_000_000;
}

const loads: Record<string, (number: number) => StackedOp[]> = {
  "one write a file": (number) => [
    { kind: "write", path: pathOf(number), file: number, start: 4_096, end: 8_192 },
  ],
  "files made, written and settled": (number) => [
    { kind: "create", path: pathOf(number), file: number, attributes: { mode: 0o644 } },
    { kind: "write", path: pathOf(number), file: number, start: 0, end: 4_096 },
    {
      kind: "attributes",
      path: pathOf(number),
      file: number,
      isDirectory: false,
      attributes: { mtimeNs: 1_700_000_000_000_000_000n + BigInt(number) },
    },
  ],
  removals: (number) => [{ kind: "unlink", path: pathOf(number), file: number }],
  renames: (number) => [
    { kind: "rename", path: pathOf(number), to: pathOf(number + COUNT), exchange: false },
  ],
  // After these V8 boxes numbers in ops, even small ones: they come last.
  "distant writes of one large file": (number) => [
    { kind: "write", path: pathOf(0), file: 1, start: placeOf(number), end: placeOf(number) + 512 },
  ],
  "one write a file, with numbers beyond 32 bits": (number) => [
    { kind: "write", path: pathOf(number), file: 2 ** 40 + number, start: 2 ** 33, end: 2 ** 33 + 4_096 },
  ],
};

function heapUsed(): number {
  for (let round = 0; round < 3; round++) gc();
  return Deno.memoryUsage().heapUsed;
}

/** In a function of its own: nothing of a load outlives it. */
function measure(load: string, opsOf: (number: number) => StackedOp[]): string {
  const before = heapUsed();
  const queue = new StackedQueue({ maxPacketSize: 512, bytesMax: Infinity });
  const begin = performance.now();
  let atTenth = begin;
  let atNineTenths = begin;
  for (let number = 0; number < COUNT; number++) {
    if (number === COUNT / 10) atTenth = performance.now();
    if (number === COUNT / 10 * 9) atNineTenths = performance.now();
    for (const op of opsOf(number)) queue.add(op);
  }
  const end = performance.now();
  const bytes = heapUsed() - before;
  assertEquals(queue.size % COUNT, 0, "no op merged");
  const ops = queue.size;
  const estimate = queue.bytes;
  const beginTaking = performance.now();
  while (queue.take());
  const endTaking = performance.now();
  const kept = heapUsed() - before;
  assertEquals(queue.size, 0, "and the queue lives until here");
  return JSON.stringify({
    load,
    ops,
    bytesPerOp: Math.round(bytes / ops),
    estimatePerOp: Math.round(estimate / ops),
    keptPerOp: Math.round(kept / ops),
    addNs: Math.round((end - begin) * 1e6 / ops),
    takeNs: Math.round((endTaking - beginTaking) * 1e6 / ops),
    slowdown: Number(((end - atNineTenths) / (atTenth - begin)).toFixed(1)),
  });
}

for (const [load, opsOf] of Object.entries(loads)) console.log(measure(load, opsOf));
