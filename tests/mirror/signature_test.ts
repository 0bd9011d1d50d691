import { assertEquals, assertNotEquals } from "@std/assert";
import { xxhash128 } from "hash-wasm";
import { hex } from "../../src/base/bytes.ts";
import {
  BLOCK_HASH_SIZE,
  blockCount,
  hashBlocks,
  hashBytes,
  initHasher,
} from "../../src/mirror/signature.ts";
import type { OpenFile } from "../../src/sys/file_system.ts";

/** A file in memory; only what `hashBlocks()` uses. */
function memoryFile(bytes: Uint8Array): OpenFile {
  const read = (buffer: Uint8Array, offset: number) => {
    const part = bytes.subarray(offset, offset + buffer.length);
    buffer.set(part);
    return part.length;
  };
  return { read } as unknown as OpenFile;
}

function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

await initHasher();

Deno.test("hashBlocks() gives for 4,096 bytes in blocks of 512 eight hashes, of which a change alters one", () => {
  const before = randomBytes(4096);
  const after = before.slice();
  after[2 * 512 + 7] ^= 1;
  after[5 * 512] ^= 1;
  const range = { blockSize: 512, start: 0, end: 4096 };
  const [a, b] = [hashBlocks(memoryFile(before), range), hashBlocks(memoryFile(after), range)];
  assertEquals(a.length, 8 * BLOCK_HASH_SIZE);
  const differing = [...Array(8).keys()].filter((block) => {
    const at = block * BLOCK_HASH_SIZE;
    return hex(a.subarray(at, at + BLOCK_HASH_SIZE)) !== hex(b.subarray(at, at + BLOCK_HASH_SIZE));
  });
  assertEquals(differing, [2, 5]);
});

Deno.test("hashBlocks() hashes as the published function does, over reads, ranges and odd block sizes", async () => {
  const bytes = randomBytes(3 * 1024 * 1024 + 777);
  for (const blockSize of [512, 1000, 4096, 65_536, 700_001, 1024 * 1024]) {
    const start = blockSize * 2;
    const hashes = hashBlocks(memoryFile(bytes), { blockSize, start, end: bytes.length + 99_999_999 });
    assertEquals(hashes.length, blockCount(bytes.length - start, blockSize) * BLOCK_HASH_SIZE);
    for (const block of [0, 1, hashes.length / BLOCK_HASH_SIZE - 1]) {
      const at = start + block * blockSize;
      const expected = await xxhash128(bytes.subarray(at, at + blockSize));
      assertEquals(hex(hashes.subarray(block * 16, block * 16 + 16)), expected, `${blockSize}, ${block}`);
    }
  }
});

Deno.test("hashBlocks() hashes a short last block with its true length and nothing beyond the end", () => {
  const file = memoryFile(new Uint8Array(700));
  const hashes = hashBlocks(file, { blockSize: 512, start: 0, end: 2048 });
  assertEquals(hashes.length, 2 * BLOCK_HASH_SIZE);
  assertEquals(hashes.subarray(16), hashBytes(new Uint8Array(188)));
  assertNotEquals(hashes.subarray(16), hashBytes(new Uint8Array(512)));
  assertEquals(hashBlocks(file, { blockSize: 512, start: 1024, end: 2048 }).length, 0);
});

Deno.test("hashBlocks() stops at the end of its range inside a file", () => {
  const bytes = randomBytes(10_000);
  const hashes = hashBlocks(memoryFile(bytes), { blockSize: 1024, start: 1024, end: 1024 * 3 + 100 });
  assertEquals(hashes.length, 3 * BLOCK_HASH_SIZE);
  assertEquals(hashes.subarray(32), hashBytes(bytes.subarray(3072, 3172)));
});
