/**
 * Files that tell by themselves whether they are whole: for a reader that looks while they are being replicated.
 *
 * ```text
 * version   0      4       8            12      16             48
 *          │ "SDV1" │ id u32 │ generation u32 │ size u32 │ SHA-256 32 │ filler…      of everything but itself
 * block     0      4       8                 16              4096 − 16        4096
 *          │ "SDB1" │ file id u32 │ index u32, generation u32 │ filler… │ first 16 of SHA-256 │
 * ```
 *
 * A version of no bytes stands for itself. Filler differs between blocks and generations and does not compress.
 * @module
 */
import { createHash } from "node:crypto";

/** Bytes before a version's filler; a version has none or at least so many. */
export const VERSION_HEAD_SIZE = 48;
/** Bytes of a block of a blocks file. */
export const BLOCK_SIZE = 4096;

const CHECKSUM_OFFSET = 16;
const BLOCK_CHECKSUM_SIZE = 16;

/** Who a version says it is. */
export interface Version {
  id: number;
  /** Counts the contents that a file has had, from 1. */
  generation: number;
}

/** Numbers that look random and are the same for the same seed (mulberry32): each 0 ≤ n < 1. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Makes a version.
 *
 * @param like A version whose filler is kept but for a few blocks, as a database file's would be.
 */
export function encodeVersion(
  version: Version,
  { size, like }: { size: number; like?: Uint8Array },
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  if (size === 0) return bytes;
  const random = seededRandom(version.id * 65_537 + version.generation);
  fill(bytes, random);
  if (like) {
    const changed = new Set(Array.from({ length: 4 }, () => Math.floor(random() * size / BLOCK_SIZE)));
    for (let at = 0, block = 0; at < Math.min(size, like.length); at += BLOCK_SIZE, block++) {
      if (!changed.has(block)) bytes.set(like.subarray(at, Math.min(at + BLOCK_SIZE, size)), at);
    }
  }
  writeHead(bytes, version);
  bytes.set(versionChecksum(bytes), CHECKSUM_OFFSET);
  return bytes;
}

/** Reads a whole version. @returns `"empty"` for no bytes, `"torn"` for what no {@linkcode encodeVersion} made. */
export function decodeVersion(bytes: Uint8Array<ArrayBuffer>): Version | "empty" | "torn" {
  if (bytes.length === 0) return "empty";
  if (bytes.length < VERSION_HEAD_SIZE || magicOf(bytes) !== "SDV1") return "torn";
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const sum = bytes.subarray(CHECKSUM_OFFSET, VERSION_HEAD_SIZE);
  const isWhole = view.getUint32(12) === bytes.length && equal(sum, versionChecksum(bytes));
  return isWhole ? { id: view.getUint32(4), generation: view.getUint32(8) } : "torn";
}

/** Makes one block of a blocks file. */
export function encodeBlock({ id, generation }: Version, index: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BLOCK_SIZE);
  fill(bytes, seededRandom(id * 65_537 + generation * 257 + index));
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode("SDB1"));
  view.setUint32(4, id);
  view.setUint32(8, index);
  view.setUint32(12, generation);
  bytes.set(blockChecksum(bytes), BLOCK_SIZE - BLOCK_CHECKSUM_SIZE);
  return bytes;
}

/** Whether every block of a file is whole and where it belongs. */
export function areBlocksWhole(bytes: Uint8Array<ArrayBuffer>): boolean {
  for (let at = 0; at < bytes.length; at += BLOCK_SIZE) {
    const block = bytes.subarray(at, at + BLOCK_SIZE);
    if (block.length < BLOCK_SIZE || magicOf(block) !== "SDB1") return false;
    const view = new DataView(block.buffer, block.byteOffset);
    if (view.getUint32(8) !== at / BLOCK_SIZE) return false;
    if (!equal(block.subarray(BLOCK_SIZE - BLOCK_CHECKSUM_SIZE), blockChecksum(block))) return false;
  }
  return true;
}

function writeHead(bytes: Uint8Array<ArrayBuffer>, { id, generation }: Version): void {
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode("SDV1"));
  view.setUint32(4, id);
  view.setUint32(8, generation);
  view.setUint32(12, bytes.length);
}

/** Four bytes of random numbers each: quick, and nothing that compression finds anything in. */
function fill(bytes: Uint8Array<ArrayBuffer>, random: () => number): void {
  const words = new Uint32Array(bytes.buffer, 0, bytes.length >>> 2);
  let word = Math.floor(random() * 2 ** 32);
  for (let i = 0; i < words.length; i++) {
    // xorshift32: cheaper than a call for each.
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    words[i] = word;
  }
}

function magicOf(bytes: Uint8Array): string {
  return new TextDecoder("iso-8859-1").decode(bytes.subarray(0, 4));
}

function versionChecksum(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes.subarray(0, CHECKSUM_OFFSET)).update(
    bytes.subarray(VERSION_HEAD_SIZE),
  ).digest();
}

function blockChecksum(block: Uint8Array): Uint8Array {
  return createHash("sha256").update(block.subarray(0, BLOCK_SIZE - BLOCK_CHECKSUM_SIZE)).digest().subarray(
    0,
    BLOCK_CHECKSUM_SIZE,
  );
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
