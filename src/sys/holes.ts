/**
 * Where a file has holes, and what stands in for a hole where a file system knows none.
 *
 * ```
 * file    │ data │ hole ········ │ data │ hole ··· │
 *                  ▲ next()        ▲ data it gives   next() behind it gives undefined
 * ```
 * @module
 */
import type { DataRange, OpenFile } from "./file_system.ts";

/** Bytes of zeros that are written at once. */
const ZEROS_SIZE = 1024 * 1024;

let zeros: Uint8Array<ArrayBuffer> | undefined;

/** Where a file has data, as of when it was first asked: each stretch is asked for once. Fastest in ascending order. */
export class DataMap {
  readonly #file: OpenFile;
  /** What is known: a hole from `#from` to the start of `#data`, and that; at first nothing. */
  #from = 0;
  #end = 0;
  #data: DataRange | undefined;

  constructor(file: OpenFile) {
    this.#file = file;
  }

  /**
   * The first data at `offset` or behind it, as `OpenFile.nextData` gives it.
   *
   * @throws {SystemError} If the file cannot be asked.
   */
  next(offset: number): DataRange | undefined {
    if (offset < this.#from || offset >= this.#end) {
      this.#data = this.#file.nextData(offset);
      this.#from = offset;
      this.#end = this.#data?.end ?? Infinity;
    }
    return this.#data && { start: Math.max(offset, this.#data.start), end: this.#data.end };
  }

  /** Bytes of a range that are data. @throws {SystemError} As {@linkcode next}. */
  count({ start, end }: DataRange): number {
    let count = 0;
    for (let at = start; at < end;) {
      const data = this.next(at);
      if (data === undefined || data.start >= end) break;
      at = Math.min(data.end, end);
      count += at - data.start;
    }
    return count;
  }
}

/** Writes zeros over `size` bytes at `offset`, as far as the file goes. @throws {SystemError} If it cannot be written. */
export function writeZeros(file: OpenFile, offset: number, size: number): void {
  zeros ??= new Uint8Array(ZEROS_SIZE);
  const end = Math.min(offset + size, file.stat().size);
  for (let at = offset; at < end; at += ZEROS_SIZE) {
    file.write(zeros.subarray(0, Math.min(ZEROS_SIZE, end - at)), at);
  }
}
