/**
 * Signatures, with each of the two that can hash.
 * @module
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { xxhash128 } from "hash-wasm";
import { hex } from "../../src/base/bytes.ts";
import {
  BLOCK_HASH_SIZE,
  blockCount,
  hashBlocks,
  hashBlocksOf,
  hashBytes,
  hashHole,
  type HashProvider,
  hashProvider,
  initHasher,
} from "../../src/mirror/signature.ts";
import type { DataRange, OpenFile } from "../../src/sys/file_system.ts";
import { hasLibxxhash } from "../../src/sys/libxxhash.ts";

/** A file in memory; only what `hashBlocks()` uses. `ranges` are those that are no hole, in order. */
function memoryFile(bytes: Uint8Array, ranges: DataRange[] = [{ start: 0, end: bytes.length }]): OpenFile {
  const read = (buffer: Uint8Array, offset: number) => {
    const part = bytes.subarray(offset, offset + buffer.length);
    buffer.set(part);
    return part.length;
  };
  const nextData = (offset: number) => {
    const data = ranges.find(({ end }) => end > offset);
    return data && { start: Math.max(offset, data.start), end: data.end };
  };
  return { read, nextData, stat: () => ({ size: bytes.length }) } as unknown as OpenFile;
}

/** What is between the ranges, from the first byte of `part` on. */
function holesOf(ranges: DataRange[], { start, end }: DataRange): DataRange[] {
  const edges = [0, ...ranges.flatMap((range) => [range.start, range.end]), end];
  const holes: DataRange[] = [];
  for (let i = 0; i < edges.length; i += 2) {
    holes.push({ start: edges[i] - start, end: edges[i + 1] - start });
  }
  return holes;
}

function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

const providers: HashProvider[] = hasLibxxhash() ? ["libxxhash", "wasm"] : ["wasm"];
if (providers.length === 1) console.log("signatures by libxxhash not tested: it cannot be used here");

/** A test that runs once with each provider. */
function testWithEach(name: string, body: () => void | Promise<void>): void {
  for (const provider of providers) {
    Deno.test(`${name} (${provider})`, async () => {
      await initHasher(provider);
      assertEquals(hashProvider(), provider);
      await body();
    });
  }
}

testWithEach(
  "hashBlocks() gives for 4,096 bytes in blocks of 512 eight hashes, of which a change alters one",
  () => {
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
  },
);

testWithEach(
  "hashBlocks() hashes as the published function does, over reads, ranges and odd block sizes",
  async () => {
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
  },
);

testWithEach("hashBlocks() hashes a short last block with its true length and nothing beyond the end", () => {
  const file = memoryFile(new Uint8Array(700));
  const hashes = hashBlocks(file, { blockSize: 512, start: 0, end: 2048 });
  assertEquals(hashes.length, 2 * BLOCK_HASH_SIZE);
  assertEquals(hashes.subarray(16), hashBytes(new Uint8Array(188)));
  assertNotEquals(hashes.subarray(16), hashBytes(new Uint8Array(512)));
  assertEquals(hashBlocks(file, { blockSize: 512, start: 1024, end: 2048 }).length, 0);
});

testWithEach("hashBlocks() stops at the end of its range inside a file", () => {
  const bytes = randomBytes(10_000);
  const hashes = hashBlocks(memoryFile(bytes), { blockSize: 1024, start: 1024, end: 1024 * 3 + 100 });
  assertEquals(hashes.length, 3 * BLOCK_HASH_SIZE);
  assertEquals(hashes.subarray(32), hashBytes(bytes.subarray(3072, 3172)));
});

testWithEach("hashBlocks() marks blocks that lie in a hole, and reads none of them", () => {
  const anyCase = fc.record({
    blockSize: fc.constantFrom(512, 1000, 4096, 65_536),
    edges: fc.uniqueArray(fc.nat(150), { maxLength: 8 }),
    size: fc.nat(600_000),
    from: fc.nat(3),
    end: fc.nat(700_000),
  });
  const property = fc.property(anyCase, ({ blockSize, edges, size, from, end }) => {
    const bytes = new Uint8Array(size);
    const ranges: DataRange[] = [];
    const sorted = edges.sort((a, b) => a - b).map((edge) => edge * 4096);
    for (let i = 0; i < sorted.length; i += 2) {
      const range = { start: sorted[i], end: Math.min(sorted[i + 1] ?? size, size) };
      if (range.start < range.end) ranges.push(range);
      bytes.subarray(range.start, range.end).set(randomBytes(Math.max(0, range.end - range.start)));
    }
    const range = { blockSize, start: from * blockSize, end: Math.max(end, from * blockSize) };
    const isHole = (at: number) =>
      !ranges.some(({ start, end }) => start < Math.min(at + blockSize, range.end) && end > at);
    const file = memoryFile(bytes, ranges);
    const read = (buffer: Uint8Array<ArrayBuffer>, offset: number) => {
      for (let at = offset; at < Math.min(offset + buffer.length, size); at += blockSize) {
        assert(!isHole(at), `block at ${at} of ${blockSize} bytes lies in a hole`);
      }
      return file.read(buffer, offset);
    };
    const expected = hashBlocks(memoryFile(bytes), range);
    for (let at = range.start, hashed = 0; hashed < expected.length; at += blockSize, hashed += 16) {
      if (isHole(at)) {
        expected.set(hashHole(Math.min(blockSize, range.end - at, size - at), blockSize), hashed);
      }
    }
    assertEquals(hashBlocks({ ...file, read }, range), expected);
    const inMemory = hashBlocksOf(bytes.subarray(range.start, range.end), blockSize, holesOf(ranges, range));
    assertEquals(inMemory, expected);
  });
  fc.assert(property, { numRuns: 300 });
});

testWithEach("hashBlocks() keeps within its blocks when a file that ends in a hole grows", () => {
  let size = 5_000;
  const file = memoryFile(new Uint8Array(0));
  Object.assign(file, { stat: () => ({ size: size += 10_000 }), nextData: () => undefined });
  const hashes = hashBlocks(file, { blockSize: 4096, start: 0, end: 50_000 });
  assert(hashes.length <= blockCount(50_000, 4096) * BLOCK_HASH_SIZE);
  assertEquals(hashes, hashHole(15_000, 4096));
});

testWithEach("a hole has a mark that differs from the hash of zeros", () => {
  const zeros = new Uint8Array(4096 * 2 + 1);
  const file = memoryFile(zeros, []);
  const range = { blockSize: 4096, start: 0, end: zeros.length };
  assertEquals(hashBlocks(file, range), hashHole(zeros.length, 4096));
  assertEquals(hex(hashHole(4096, 4096)), "ff".repeat(16));
  assertEquals(hex(hashHole(4096 + 258, 4096)), "ff".repeat(16) + "02010000" + "ff".repeat(12));
  assertNotEquals(hashHole(4096, 4096), hashBytes(zeros.subarray(0, 4096)));
});

testWithEach("hashBytes() gives the published hashes, in bytes of its caller's own", () => {
  const first = hashBytes(new Uint8Array());
  const second = hashBytes(new TextEncoder().encode("abc"));
  assertEquals(hex(first), "99aa06d3014798d86001c324468d497f");
  assertEquals(hex(second), "06b05ab6733a618578af5f94892f3950");
});

testWithEach("hashBlocksOf() gives for bytes in memory what hashBlocks() gives for a file with them", () => {
  const bytes = randomBytes(300_001);
  for (const blockSize of [512, 1000, 4096, 65_536, 1024 * 1024]) {
    const ofFile = hashBlocks(memoryFile(bytes), { blockSize, start: 0, end: bytes.length });
    assertEquals(hashBlocksOf(bytes, blockSize), ofFile);
  }
  assertEquals(hashBlocksOf(new Uint8Array(), 4096).length, 0);
});

Deno.test("signatures are the same from every provider, for any part of a buffer and any block size", async () => {
  const bytes = randomBytes(400_000);
  const anyCase = fc.record({
    offset: fc.nat(65_536),
    size: fc.nat(300_000),
    blockSize: fc.oneof(fc.constantFrom(512, 4096, 65_536), fc.integer({ min: 512, max: 100_000 })),
  });
  const cases = fc.sample(anyCase, 60);
  const byProvider: string[][] = [];
  for (const provider of providers) {
    await initHasher(provider);
    byProvider.push(cases.map(({ offset, size, blockSize }) => {
      const part = bytes.subarray(offset, offset + size);
      const ofFile = hashBlocks(memoryFile(part), { blockSize, start: 0, end: size });
      assertEquals(hashBlocksOf(part, blockSize), ofFile);
      return `${JSON.stringify({ offset, size, blockSize })} ${hex(ofFile)} ${hex(hashBytes(part))}`;
    }));
  }
  for (const signatures of byProvider) assertEquals(signatures, byProvider[0]);
});

Deno.test("initHasher() without a wish keeps the hasher that was chosen", async () => {
  await initHasher("wasm");
  await initHasher();
  assertEquals(hashProvider(), "wasm");
});

Deno.test("hashProvider() is wasm where the environment says so", async () => {
  const source = new URL("../../src/mirror/signature.ts", import.meta.url);
  const code = `import { hashProvider } from ${JSON.stringify(source)}; console.log(hashProvider());`;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const path = Deno.makeTempFileSync({ suffix: ".ts" });
  try {
    Deno.writeTextFileSync(path, code);
    for (const [value, expected] of [["wasm", "wasm"], ["", providers[0]]]) {
      const args = ["run", "--no-check", "--config", config, "-A", path];
      const env = { UNDERSTUDY_HASH: value };
      const { stdout } = await new Deno.Command(Deno.execPath(), { args, env }).output();
      assertEquals(new TextDecoder().decode(stdout).trim(), expected);
    }
  } finally {
    Deno.removeSync(path);
  }
});
