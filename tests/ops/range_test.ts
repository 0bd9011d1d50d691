/**
 * Ranges: the source text's examples, the edge of the rule, and any two ranges against sets of bytes.
 *
 * The examples are those of figure 23 (FEATURES.md Q4): the rule counts the bytes between two ranges.
 * @module
 */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { cutRange, gapBetween, mergeRanges, type Range } from "../../src/ops/range.ts";

/** `size` bytes at an offset, as the source text says it. */
function bytesAt(size: number, start: number): Range {
  return { start, end: start + size };
}

const vectors: { what: string; a: Range; b: Range; maxPacketSize: number; merged: Range | undefined }[] = [
  {
    what: "40 bytes at 20 and 60 bytes at 40 are 80 bytes at 20",
    a: bytesAt(40, 20),
    b: bytesAt(60, 40),
    maxPacketSize: 512,
    merged: bytesAt(80, 20),
  },
  {
    what: "40 bytes at 20 and 60 bytes at 1,040 stay two",
    a: bytesAt(40, 20),
    b: bytesAt(60, 1_040),
    maxPacketSize: 512,
    merged: undefined,
  },
  {
    what: "511 bytes between them are too few to stay two",
    a: bytesAt(40, 20),
    b: bytesAt(60, 571),
    maxPacketSize: 512,
    merged: { start: 20, end: 631 },
  },
  {
    what: "512 bytes between them are enough",
    a: bytesAt(40, 20),
    b: bytesAt(60, 572),
    maxPacketSize: 512,
    merged: undefined,
  },
  {
    what: "starts 1,000 bytes apart do not matter where nothing lies between",
    a: bytesAt(1_000, 0),
    b: bytesAt(1, 1_000),
    maxPacketSize: 1,
    merged: { start: 0, end: 1_001 },
  },
  {
    what: "one byte between them is enough for packets of one byte",
    a: bytesAt(1, 0),
    b: bytesAt(1, 2),
    maxPacketSize: 1,
    merged: undefined,
  },
  {
    what: "one inside the other is the other",
    a: bytesAt(100, 0),
    b: bytesAt(10, 50),
    maxPacketSize: 1,
    merged: { start: 0, end: 100 },
  },
];

for (const { what, a, b, maxPacketSize, merged } of vectors) {
  Deno.test(`mergeRanges(): ${what}, in both orders`, () => {
    assertEquals(mergeRanges(a, b, maxPacketSize), merged);
    assertEquals(mergeRanges(b, a, maxPacketSize), merged);
  });
}

Deno.test("gapBetween() counts the bytes between two ranges", () => {
  const rows: [Range, Range, number][] = [
    [bytesAt(40, 20), bytesAt(60, 40), 0],
    [bytesAt(40, 20), bytesAt(60, 60), 0],
    [bytesAt(40, 20), bytesAt(60, 61), 1],
    [bytesAt(40, 20), bytesAt(60, 1_040), 980],
    [bytesAt(1, 2 ** 52), bytesAt(1, 0), 2 ** 52 - 1],
  ];
  for (const [a, b, gap] of rows) assertEquals([gapBetween(a, b), gapBetween(b, a)], [gap, gap]);
});

Deno.test("cutRange() leaves what lies below the size", () => {
  assertEquals(cutRange(bytesAt(10, 5), 20), bytesAt(10, 5));
  assertEquals(cutRange(bytesAt(10, 5), 15), bytesAt(10, 5));
  assertEquals(cutRange(bytesAt(10, 5), 14), bytesAt(9, 5));
  assertEquals(cutRange(bytesAt(10, 5), 6), bytesAt(1, 5));
  assertEquals(cutRange(bytesAt(10, 5), 5), undefined);
  assertEquals(cutRange(bytesAt(10, 5), 0), undefined);
});

const anyRange = fc.tuple(fc.nat({ max: 40 }), fc.integer({ min: 1, max: 20 }))
  .map(([start, size]) => bytesAt(size, start));

Deno.test("mergeRanges() does what counting bytes one by one does", () => {
  const property = fc.property(anyRange, anyRange, fc.integer({ min: 1, max: 12 }), (a, b, maxPacketSize) => {
    const covered = Array.from({ length: 64 }, (_, at) => isIn(at, a) || isIn(at, b));
    const first = covered.indexOf(true);
    const last = covered.lastIndexOf(true);
    const between = covered.slice(first, last).filter((isCovered) => !isCovered).length;
    const expected = between < maxPacketSize ? { start: first, end: last + 1 } : undefined;
    assertEquals(mergeRanges(a, b, maxPacketSize), expected);
  });
  fc.assert(property, { numRuns: 2_000 });
});

function isIn(at: number, { start, end }: Range): boolean {
  return at >= start && at < end;
}
