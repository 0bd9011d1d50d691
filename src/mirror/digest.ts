/**
 * Digests: the SHA-256 of a range of a file. What verification calls equal is equal, even where somebody could choose
 * the contents; signatures (signature.ts) are quicker, and only for ends that trust what they hash.
 * @module
 */
import { createHash } from "node:crypto";
import type { OpenFile } from "../sys/file_system.ts";
import { pageAligned } from "../sys/libc.ts";

const READ_SIZE = 1024 * 1024;

let readBuffer: Uint8Array<ArrayBuffer> | undefined;

/**
 * Digest of bytes `start` to `end`, cut at the end of the file. Blocks this thread for as long as that takes.
 *
 * @throws {SystemError} If the file cannot be read.
 */
export function digestRange(file: OpenFile, start: number, end: number): Uint8Array {
  const buffer = readBuffer ??= pageAligned(READ_SIZE);
  const hash = createHash("sha256");
  for (let at = start; at < end;) {
    const count = file.read(buffer.subarray(0, Math.min(READ_SIZE, end - at)), at);
    if (count === 0) break;
    hash.update(buffer.subarray(0, count));
    at += count;
  }
  const digest = hash.digest();
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.length).slice();
}
