/**
 * Ranges of blocks whose hashes differ.
 * @module
 */
import { assertEquals } from "@std/assert";
import { differingRanges, rangesSize } from "../../src/mirror/differences.ts";

/** Hashes by letter: equal letters are equal hashes. */
function hashes(letters: string): Uint8Array {
  return new Uint8Array([...letters].flatMap((letter) => Array(16).fill(letter.charCodeAt(0))));
}

interface Row {
  what: string;
  ours: string;
  theirs: string;
  fileSize: number;
  start?: number;
  ranges: [start: number, end: number][];
}

const rows: Row[] = [
  { what: "equal blocks", ours: "abcd", theirs: "abcd", fileSize: 40, ranges: [] },
  { what: "nothing at all", ours: "", theirs: "", fileSize: 0, ranges: [] },
  { what: "a first block", ours: "abc", theirs: "xbc", fileSize: 30, ranges: [[0, 10]] },
  { what: "a last block", ours: "abc", theirs: "abx", fileSize: 30, ranges: [[20, 30]] },
  { what: "a short last block", ours: "abc", theirs: "abx", fileSize: 21, ranges: [[20, 21]] },
  { what: "neighbours", ours: "abcde", theirs: "axyde", fileSize: 50, ranges: [[10, 30]] },
  { what: "two apart", ours: "abcde", theirs: "xbxde", fileSize: 50, ranges: [[0, 10], [20, 30]] },
  { what: "all", ours: "abc", theirs: "xyz", fileSize: 25, ranges: [[0, 25]] },
  { what: "shorter theirs", ours: "abcd", theirs: "ab", fileSize: 35, ranges: [[20, 35]] },
  { what: "empty theirs", ours: "ab", theirs: "", fileSize: 15, ranges: [[0, 15]] },
  { what: "longer theirs", ours: "ab", theirs: "abcd", fileSize: 20, ranges: [] },
  { what: "nothing of ours", ours: "", theirs: "abcd", fileSize: 0, ranges: [] },
  { what: "a start further on", ours: "abc", theirs: "axc", fileSize: 999, start: 50, ranges: [[60, 70]] },
  { what: "a start, to the end", ours: "abc", theirs: "axy", fileSize: 75, start: 50, ranges: [[60, 75]] },
  { what: "a neighbour cut to nothing", ours: "abc", theirs: "xyz", fileSize: 20, ranges: [[0, 20]] },
  { what: "blocks beyond the end", ours: "abcd", theirs: "abxy", fileSize: 15, ranges: [] },
];

for (const { what, ours, theirs, fileSize, start, ranges } of rows) {
  Deno.test(`differingRanges() of ${what}`, () => {
    const found = differingRanges(hashes(ours), hashes(theirs), { blockSize: 10, fileSize, start });
    assertEquals(found.map(({ start, end }) => [start, end]), ranges);
    assertEquals(rangesSize(found), ranges.reduce((size, [start, end]) => size + end - start, 0));
  });
}

Deno.test("differingRanges() sees a difference in each byte of a hash, and in a hash that is cut off", () => {
  const ours = hashes("ab");
  for (let at = 0; at < 32; at++) {
    const theirs = ours.slice();
    theirs[at] ^= 1;
    const from = at < 16 ? 0 : 10;
    const expected = [{ start: from, end: from + 10 }];
    assertEquals(differingRanges(ours, theirs, { blockSize: 10, fileSize: 20 }), expected);
  }
  const cut = differingRanges(ours, ours.subarray(0, 31), { blockSize: 10, fileSize: 20 });
  assertEquals(cut, [{ start: 10, end: 20 }]);
});
