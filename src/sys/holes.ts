/**
 * Where a file has holes, and what stands in for a hole where a file system knows none.
 *
 * ```
 * file    │ data │ hole ········ │ data │ hole ··· │
 *                  ▲ next()        ▲ data it gives   next() behind it gives undefined
 * ```
 * @module
 */
import { Buffer } from "node:buffer";
import type { DataRange, OpenFile } from "./file_system.ts";

/** Bytes of zeros that are written at once. */
const ZEROS_SIZE = 1024 * 1024;
/** Bytes that most file systems keep, or leave out, at once. */
const PAGE_SIZE = 4096;

let zeroBytes: Uint8Array<ArrayBuffer> | undefined;

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

/** Fills an empty file with `bytes`. Pages of zeros become holes. @throws {SystemError} If it cannot be written. */
export function writeSparsely(file: OpenFile, bytes: Uint8Array): void {
  let written = 0;
  for (let at = 0; at < bytes.length;) {
    const start = at;
    while (at < bytes.length && !isZeroPage(bytes, at)) at += PAGE_SIZE;
    if (at > start) file.write(bytes.subarray(start, at), start);
    written = at;
    while (at < bytes.length && isZeroPage(bytes, at)) at += PAGE_SIZE;
  }
  if (written < bytes.length) file.truncate(bytes.length);
}

function isZeroPage(bytes: Uint8Array, start: number): boolean {
  if (bytes[start] !== 0) return false;
  const page = bytes.subarray(start, start + PAGE_SIZE);
  return Buffer.compare(page, zeros(page.length)) === 0;
}

/** Writes zeros over `size` bytes at `offset`, as far as the file goes. @throws {SystemError} If it cannot be written. */
export function writeZeros(file: OpenFile, offset: number, size: number): void {
  const end = Math.min(offset + size, file.stat().size);
  for (let at = offset; at < end; at += ZEROS_SIZE) {
    file.write(zeros(Math.min(ZEROS_SIZE, end - at)), at);
  }
}

function zeros(size: number): Uint8Array {
  zeroBytes ??= new Uint8Array(ZEROS_SIZE);
  return zeroBytes.subarray(0, size);
}
