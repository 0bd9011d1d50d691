/**
 * Ranges of a file whose block hashes differ. Pure.
 * @module
 */

/** Bytes `start` (in) to `end` (out) of a file. */
export interface Range {
  start: number;
  end: number;
}

/** Bytes of one block hash (xxh128). */
const HASH_SIZE = 16;

/**
 * Ranges where our blocks differ from theirs or have no counterpart, neighbours joined, cut at the file's end.
 *
 * @param ours Hashes of our blocks, the first at byte `start`.
 * @param theirs Hashes of their blocks from the same byte on; may be shorter or longer.
 */
export function differingRanges(
  ours: Uint8Array,
  theirs: Uint8Array,
  { blockSize, fileSize, start = 0 }: { blockSize: number; fileSize: number; start?: number },
): Range[] {
  const ranges: Range[] = [];
  for (let block = 0; block * HASH_SIZE < ours.length; block++) {
    if (sameHash(ours, theirs, block * HASH_SIZE)) continue;
    const from = start + block * blockSize;
    const to = Math.min(from + blockSize, fileSize);
    const last = ranges.at(-1);
    if (last?.end === from) last.end = to;
    else if (to > from) ranges.push({ start: from, end: to });
  }
  return ranges;
}

/** Bytes in all ranges together. */
export function rangesSize(ranges: Range[]): number {
  return ranges.reduce((size, { start, end }) => size + end - start, 0);
}

function sameHash(a: Uint8Array, b: Uint8Array, at: number): boolean {
  if (at + HASH_SIZE > b.length) return false;
  for (let i = at; i < at + HASH_SIZE; i++) if (a[i] !== b[i]) return false;
  return true;
}
