/**
 * Ranges of bytes of a file, and the rule by which two of them become one.
 *
 * ```
 *        a.start   a.end        b.start   b.end
 *  ────────┼─────────┼────────────┼─────────┼────
 *          └────a────┘◀── gap ───▶└────b────┘
 * ```
 *
 * Two ranges become one if fewer bytes lie *between* them than one packet carries; the distance of their starts does
 * not matter. A gap of 511 bytes joins at a packet size of 512, one of 512 does not (docs/TERMS.md, "merge").
 * @module
 */

/** Bytes `start` (in) to `end` (out) of a file. */
export interface Range {
  start: number;
  end: number;
}

/** Bytes that lie between two ranges, whichever comes first; 0 if they touch or overlap. */
export function gapBetween(a: Range, b: Range): number {
  return Math.max(0, a.start - b.end, b.start - a.end);
}

/**
 * Makes one range of two, with the bytes between them.
 *
 * @param maxPacketSize Bytes of a packet: from so many bytes between them on, two ranges stay two.
 * @returns `undefined` if they stay two.
 */
export function mergeRanges(a: Range, b: Range, maxPacketSize: number): Range | undefined {
  if (gapBetween(a, b) >= maxPacketSize) return undefined;
  return { start: Math.min(a.start, b.start), end: Math.max(a.end, b.end) };
}

/** What a truncation to `size` bytes leaves of a range: `undefined` if that is nothing. */
export function cutRange(range: Range, size: number): Range | undefined {
  return range.start >= size ? undefined : { start: range.start, end: Math.min(range.end, size) };
}
