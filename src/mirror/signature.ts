/**
 * Signatures: the hashes of a file's blocks. Two files whose signatures are equal are taken as equal, so the hash is
 * a strong-enough one for ends that trust one another (xxh128, DESIGN §9), and the same function makes it on both sides.
 *
 * ```
 * file       │ block 0 │ block 1 │ … │ block n (may be short) │
 * signature  │ 16 bytes│ 16 bytes│ … │ 16 bytes                │
 * ```
 *
 * A short block is hashed with its true length, so that files which differ only in their length differ in their
 * last block or in their number of blocks.
 *
 * A block that lies in a hole is not read: in the place of its hash stands a mark, so that a hole differs
 * from zeros that take room: sixteen bytes 0xff, of a short block four of its length and twelve 0xff.
 *
 * Who hashes is a matter of speed alone ({@linkcode hashProvider}): libxxhash where this system has it, else wasm.
 * @module
 */
import { createXXHash128, type IHasher } from "hash-wasm";
import { assert } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Range } from "./differences.ts";
import type { OpenFile } from "../sys/file_system.ts";
import { DataMap } from "../sys/holes.ts";
import { pageAligned } from "../sys/libc.ts";
import { hasLibxxhash, xxh128 } from "../sys/libxxhash.ts";

/** Bytes of one block's hash. */
export const BLOCK_HASH_SIZE = 16;

/** Bytes of the mark of a block that lies in a hole. */
const HOLE_HASH_BYTE = 0xff;

/** Largest block that can be hashed: what is read at once. */
const READ_SIZE = 1024 * 1024;

/** Part of a file to hash. */
export interface BlockRange {
  /** Bytes of a block, 512 to 1 MiB. */
  blockSize: number;
  /** Offset of the first byte, a multiple of `blockSize`. */
  start: number;
  /** Offset behind the last byte. Bytes beyond the end of the file are not hashed. */
  end: number;
}

/** Who hashes: libxxhash of this system, or hash-wasm. The hashes are the same. */
export type HashProvider = "libxxhash" | "wasm";

/** Set to `wasm`, hash-wasm hashes even where libxxhash can be had. */
const PROVIDER_VARIABLE = "UNDERSTUDY_HASH";

/** Writes the hash of bytes to `hashes` at `at`. */
type WriteHash = (bytes: Uint8Array, hashes: Uint8Array, at: number) => void;

const notReady: WriteHash = () => assert(false, "initHasher() has resolved before something is hashed");

let provider: HashProvider | undefined;
let writeHash = notReady;
let readBuffer: Uint8Array<ArrayBuffer> | undefined;

/**
 * Makes the hasher of this thread. It must have resolved before the first {@linkcode hashBlocks},
 * {@linkcode hashBlocksOf} or {@linkcode hashBytes}. A later call changes nothing, unless it names a provider.
 *
 * @param wanted Who shall hash, for tests and measurements; `libxxhash` only where it can be had.
 */
export async function initHasher(wanted?: HashProvider): Promise<void> {
  const chosen = wanted ?? hashProvider();
  if (chosen === provider && writeHash !== notReady) return;
  if (chosen === "libxxhash") assert(hasLibxxhash(), "libxxhash is there");
  writeHash = chosen === "libxxhash" ? writeNativeHash : wasmWriter(await createXXHash128());
  provider = chosen;
}

/** Who hashes in this thread. */
export function hashProvider(): HashProvider {
  provider ??= !isWasmForced() && hasLibxxhash() ? "libxxhash" : "wasm";
  return provider;
}

function isWasmForced(): boolean {
  try {
    return Deno.env.get(PROVIDER_VARIABLE) === "wasm";
  } catch {
    return false; // The environment may not be read: nothing was forced.
  }
}

function writeNativeHash(bytes: Uint8Array, hashes: Uint8Array, at: number): void {
  xxh128(bytes, { into: hashes, at });
}

function wasmWriter(hasher: IHasher): WriteHash {
  return (bytes, hashes, at) => hashes.set(hasher.init().update(bytes).digest("binary"), at);
}

/** Number of blocks in `size` bytes. */
export function blockCount(size: number, blockSize: number): number {
  return Math.ceil(size / blockSize);
}

/**
 * Hashes the blocks of a range, {@linkcode BLOCK_HASH_SIZE} bytes each, in order. The result is shorter than the
 * range asks for where the file ends.
 *
 * @param map Where the file has data, if that is known already.
 * @throws {SystemError} If the file cannot be read.
 */
export function hashBlocks(
  file: OpenFile,
  range: BlockRange,
  map: DataMap = new DataMap(file),
): Uint8Array<ArrayBuffer> {
  const { blockSize, start, end } = range;
  assert(blockSize >= limits.blockSizeMin && blockSize <= READ_SIZE, "a block is 512 bytes to 1 MiB");
  assert(start % blockSize === 0 && end >= start, "a range starts at a block");
  readBuffer ??= pageAligned(READ_SIZE);
  const readSize = READ_SIZE - READ_SIZE % blockSize;
  const hashes = new Uint8Array(blockCount(end - start, blockSize) * BLOCK_HASH_SIZE);
  let hashed = 0;
  for (let at = start; at < end;) {
    const data = map.next(at);
    const dataAt = data?.start ?? file.stat().size;
    const holeEnd = data && dataAt < end ? dataAt - dataAt % blockSize : Math.min(dataAt, end);
    if (holeEnd > at) {
      const marks = hashHole(holeEnd - at, blockSize);
      hashes.set(marks, hashed);
      hashed += marks.length;
      at = holeEnd;
      // It is the file's last: should the file grow now, what comes is no part of these blocks.
      if (data === undefined) break;
      continue;
    }
    if (data === undefined) break;
    const dataSize = blockCount(data.end - at, blockSize) * blockSize;
    const wanted = readBuffer.subarray(0, Math.min(readSize, dataSize, end - at));
    const count = file.read(wanted, at);
    for (let block = 0; block < count; block += blockSize) {
      writeHash(wanted.subarray(block, Math.min(block + blockSize, count)), hashes, hashed);
      hashed += BLOCK_HASH_SIZE;
    }
    if (count < wanted.length) break;
    at += count;
  }
  return hashes.slice(0, hashed);
}

/** Hash of bytes in memory, the same as that of a block with these bytes. The caller may keep it. */
export function hashBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const hash = new Uint8Array(BLOCK_HASH_SIZE);
  writeHash(bytes, hash, 0);
  return hash;
}

/**
 * Hashes of the blocks of bytes in memory that begin at a block, as {@linkcode hashBlocks} makes them of a file.
 *
 * @param holes Which of the bytes are holes.
 */
export function hashBlocksOf(
  bytes: Uint8Array,
  blockSize: number,
  holes: Range[] = [],
): Uint8Array<ArrayBuffer> {
  const hashes = new Uint8Array(blockCount(bytes.length, blockSize) * BLOCK_HASH_SIZE);
  for (let at = 0, hashed = 0; at < bytes.length; at += blockSize, hashed += BLOCK_HASH_SIZE) {
    const blockEnd = Math.min(at + blockSize, bytes.length);
    const isHole = holes.some(({ start, end }) => start <= at && end >= blockEnd);
    if (isHole) hashes.set(hashHole(blockEnd - at, blockSize), hashed);
    else writeHash(bytes.subarray(at, blockEnd), hashes, hashed);
  }
  return hashes;
}

/** Hashes of the blocks of a hole of `size` bytes that begins at a block, as {@linkcode hashBlocks} gives them. */
export function hashHole(size: number, blockSize: number): Uint8Array<ArrayBuffer> {
  const hashes = new Uint8Array(blockCount(size, blockSize) * BLOCK_HASH_SIZE).fill(HOLE_HASH_BYTE);
  // A short block has its length in its mark, as it has in a hash.
  if (size % blockSize !== 0) {
    new DataView(hashes.buffer).setUint32(hashes.length - BLOCK_HASH_SIZE, size % blockSize, true);
  }
  return hashes;
}
