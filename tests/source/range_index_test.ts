/** The index of ranges against a sorted array, with enough of them that chunks are split and vanish. */
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { Range } from "../../src/ops/range.ts";
import { RangeIndex } from "../../src/source/range_index.ts";

const SEED = Number(Deno.env.get("UNDERSTUDY_SEED") ?? Date.now() % 1_000_000);

Deno.test("RangeIndex finds what overlaps, with the ends left out", () => {
  const index = new RangeIndex<Range>({ start: 30, end: 40 }, { start: 10, end: 20 });
  assertEquals(index.all(), [{ start: 10, end: 20 }, { start: 30, end: 40 }]);
  assertEquals(index.overlapping(20, 30), []);
  assertEquals(index.overlapping(19, 30), [{ start: 10, end: 20 }]);
  assertEquals(index.overlapping(20, 31), [{ start: 30, end: 40 }]);
  assertEquals(index.overlapping(-5, Infinity).length, 2);
  assertEquals(index.overlapping(12, 13).length, 1);
});

Deno.test("RangeIndex has the very object that was added, and deletes no other", () => {
  const range = { start: 1, end: 2 };
  const index = new RangeIndex<Range>(range);
  assertEquals([index.has(range), index.has({ ...range }), index.has({ start: 5, end: 6 })], [
    true,
    false,
    false,
  ]);
  assertThrows(() => index.delete({ ...range }), Error, "is in");
  index.delete(range);
  assertEquals([index.isEmpty, index.all()], [true, []]);
});

/** Ten bytes at a time, of each ten at most one range; a second touch takes it out again. */
const touches = fc.array(fc.nat({ max: 1_999 }), { minLength: 1_500, maxLength: 3_000, size: "max" });

Deno.test(`RangeIndex does what a sorted array does (seed ${SEED})`, () => {
  const property = fc.property(
    touches,
    fc.nat({ max: 20_000 }),
    fc.nat({ max: 5_000 }),
    (places, start, size) => {
      const index = new RangeIndex<Range>();
      const model = new Map<number, Range>();
      for (const place of places) {
        const old = model.get(place);
        const range = old ?? { start: place * 10 + place % 3, end: place * 10 + 5 };
        if (old) model.delete(place);
        else model.set(place, range);
        if (old) index.delete(range);
        else index.add(range);
      }
      const sorted = [...model.values()].sort((a, b) => a.start - b.start);
      assertEquals(index.all(), sorted);
      const end = start + size;
      assertEquals(
        index.overlapping(start, end),
        sorted.filter((each) => each.end > start && each.start < end),
      );
      for (const range of sorted) index.delete(range);
      assertEquals(index.isEmpty, true);
    },
  );
  fc.assert(property, { seed: SEED, numRuns: 30 });
});
