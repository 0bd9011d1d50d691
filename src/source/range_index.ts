/**
 * Ranges of one file that do not overlap, found by their place: the merge partners of a write among a million others.
 *
 * Sorted chunks of bounded size in a sorted list: finding is two binary searches, adding moves what one chunk holds.
 * @module
 */
import { assert } from "../base/errors.ts";
import type { Range } from "../ops/range.ts";

/** Ranges of a chunk; one more and it becomes two. */
const CHUNK_COUNT_MAX = 128;

/** Ranges in order, none overlapping another. A range in it may be made smaller at either end by its owner. */
export class RangeIndex<Ranged extends Range> {
  /** None is empty. */
  readonly #chunks: Ranged[][] = [];

  constructor(...ranges: Ranged[]) {
    for (const range of ranges) this.add(range);
  }

  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }

  /** Adds a range that overlaps none of the others. */
  add(range: Ranged): void {
    if (this.#chunks.length === 0) return void this.#chunks.push([range]);
    const at = Math.min(this.#chunkBeyond(range.start), this.#chunks.length - 1);
    const chunk = this.#chunks[at];
    chunk.splice(firstBeyond(chunk, range.start), 0, range);
    if (chunk.length > CHUNK_COUNT_MAX) this.#chunks.splice(at + 1, 0, chunk.splice(CHUNK_COUNT_MAX / 2));
  }

  /** Whether it is this very object that is in. */
  has(range: Ranged): boolean {
    const chunk = this.#chunks[this.#chunkBeyond(range.start)];
    return chunk !== undefined && chunk[firstBeyond(chunk, range.start)] === range;
  }

  /** Removes a range that is in. */
  delete(range: Ranged): void {
    assert(this.has(range), "the range is in");
    const at = this.#chunkBeyond(range.start);
    const chunk = this.#chunks[at];
    chunk.splice(firstBeyond(chunk, range.start), 1);
    if (chunk.length === 0) this.#chunks.splice(at, 1);
  }

  /** Ranges with a byte after `start` and one before `end`, in order. */
  overlapping(start: number, end: number): Ranged[] {
    const found: Ranged[] = [];
    for (let at = this.#chunkBeyond(start); at < this.#chunks.length; at++) {
      const chunk = this.#chunks[at];
      for (let index = firstBeyond(chunk, start); index < chunk.length; index++) {
        if (chunk[index].start >= end) return found;
        found.push(chunk[index]);
      }
    }
    return found;
  }

  /** All, in order. */
  all(): Ranged[] {
    return this.#chunks.flat();
  }

  /** Index of the first chunk with a range that ends beyond `offset`. */
  #chunkBeyond(offset: number): number {
    return search(this.#chunks.length, (at) => this.#chunks[at].at(-1)!.end > offset);
  }
}

/** Index of the first range that ends beyond `offset`. */
function firstBeyond(chunk: Range[], offset: number): number {
  return search(chunk.length, (index) => chunk[index].end > offset);
}

/** The first index from which on `holds` is true; `count` if it never is. */
function search(count: number, holds: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
