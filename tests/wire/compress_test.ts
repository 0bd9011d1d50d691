/**
 * Compression: both ways, where it pays, and what must be refused.
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ByteWriter, concatBytes } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { compressionNames, Compressor, decompress, isCompressionFaster } from "../../src/wire/compress.ts";
import { runProcess } from "../testing/process.ts";
import type { BombOutcome } from "./bomb_opener.ts";
import { inflateRawSync, zstdDecompressSync } from "node:zlib";

const KiB = 1024;
const noise = crypto.getRandomValues(new Uint8Array(64 * KiB));
const packing = compressionNames.filter((name) => name !== "none");
const kinds = { zstd: 1, deflate: 2, brotli: 3 } as const;

/** Text of a size that compresses about as source code does. */
function prose(size: number): Uint8Array<ArrayBuffer> {
  let text = "";
  for (let i = 0; text.length < size; i++) text += `line ${i * 7919 % 1000}: the quick brown fox ${i}\n`;
  return new TextEncoder().encode(text.slice(0, size));
}

for (const name of compressionNames) {
  Deno.test(`Compressor ${name} gives back what it took, at every size round its edges`, () => {
    for (const size of [0, 1, 127, 128, 129, 4 * KiB, 16 * KiB, 16 * KiB + 1, limits.messageSizeMax]) {
      for (const message of [prose(size), noise.subarray(0, Math.min(size, noise.length))]) {
        const { kind, body } = new Compressor(name).compress(message);
        assert(body.length <= message.length, "a frame never grows");
        assertEquals(decompress({ kind, body: new Uint8Array(body) }), message);
      }
    }
  });
}

for (const name of packing) {
  Deno.test(`Compressor ${name} leaves alone what is tiny or random and shrinks text`, () => {
    const compressor = new Compressor(name);
    assertEquals(compressor.compress(prose(127)).kind, 0);
    const text = compressor.compress(prose(100 * KiB));
    assertEquals(text.kind, kinds[name]);
    assert(text.body.length < 50 * KiB, `${text.body.length}`);
    assertEquals(compressor.compress(noise).kind, 0);
  });

  Deno.test(`decompress() refuses ${name} that is cut, damaged in its size, or a bomb`, () => {
    const message = prose(64 * KiB);
    const { kind, body } = new Compressor(name).compress(message);
    const refuse = (bytes: Uint8Array) =>
      assertThrows(() => decompress({ kind, body: new Uint8Array(bytes) }), ProtocolError);
    for (let size = 0; size < body.length; size += 97) refuse(body.subarray(0, size));
    for (
      const claimed of [0, message.length - 1, message.length + 1, limits.messageSizeMax + 1, 0xffff_ffff]
    ) {
      refuse(concatBytes(new ByteWriter().u32(claimed).take(), body.subarray(4)));
    }
  });
}

Deno.test("decompress() stops a bomb of 256 MiB at one message, with either lie about its size", async () => {
  // In a process of its own: tests of other files take and free memory meanwhile.
  const opener = new URL("bomb_opener.ts", import.meta.url).pathname;
  const { stdout } = await runProcess(Deno.execPath(), ["run", "-A", opener], { expectCode: 0 });
  const outcomes: BombOutcome[] = JSON.parse(stdout);
  assertEquals(outcomes.map(({ name }) => name), packing.flatMap((name) => [name, name]));
  for (const { name, error, grownBytes } of outcomes) {
    assertEquals(error, "ProtocolError", name);
    assert(grownBytes < 64 * KiB * KiB, `${name} took ${grownBytes} bytes`);
  }
});

Deno.test("decompress() refuses an unknown compression and a raw message beyond the limit", () => {
  assertThrows(
    () => decompress({ kind: 4, body: new Uint8Array(9) }),
    ProtocolError,
    "compression 4 is unknown",
  );
  const body = new Uint8Array(limits.messageSizeMax + 1);
  assertThrows(() => decompress({ kind: 0, body }), ProtocolError, "more than");
});

Deno.test("Compressor tries ever more rarely while nothing compresses, and comes back", () => {
  const compressor = new Compressor("zstd");
  const text = prose(64 * KiB);
  let triedAt = 0;
  const gaps: number[] = [];
  // Text in place of noise is compressed exactly when a try is due.
  for (let i = 1; gaps.length < 3; i++) {
    assert(i < 1_000, "a try comes");
    const probe = new Compressor("zstd");
    for (let j = 1; j < i; j++) probe.compress(noise);
    if (probe.compress(text).kind !== 0) {
      gaps.push(i - triedAt);
      triedAt = i;
    }
  }
  assertEquals(gaps, [1, 2, 3], "1, then after 64 KiB, then after 128 KiB");
  for (let i = 0; i < 2_000; i++) compressor.compress(noise);
  let skipped = 0;
  while (compressor.compress(text).kind === 0) skipped += text.length;
  assert(skipped <= 4 * KiB * KiB, `${skipped} bytes went raw before the next try`);
  assertEquals(compressor.compress(text).kind, 1);
});

Deno.test("streams are those of zlib: any implementation reads them", () => {
  const message = prose(10_000);
  const lead = message.subarray(0, 9);
  const deflate = new Compressor("deflate").compress(message);
  assertEquals(concatBytes(lead, inflateRawSync(deflate.body.subarray(4 + 9))), message);
  const zstd = new Compressor("zstd").compress(message);
  assertEquals(concatBytes(lead, zstdDecompressSync(zstd.body.subarray(4 + 9))), message);
});

Deno.test("isCompressionFaster() weighs the compressor against the bytes it saves, with favour for what is done", () => {
  // Rates in bytes per millisecond: 1,000 is 1 MB/s.
  const table: [compressRate: number, ratio: number, lineRate: number, now: boolean, then: boolean][] = [
    [250_000, 0.3, 1_000, true, true],
    [250_000, 0.3, 12_500, true, true], // 100 Mbit/s
    [250_000, 0.3, 118_000, true, true], // 1 Gbit/s
    [250_000, 0.3, 175_000, true, false], // exactly even
    [250_000, 0.3, 1_000_000, false, false],
    [250_000, 0.3, Infinity, false, false],
    [80_000, 0.3, 118_000, false, false], // a slow compressor
    [80_000, 0.3, 12_500, true, true],
    [250_000, 0.85, 10_000, true, true], // little is saved
    [250_000, 0.95, 10_000, true, false],
    [250_000, 1, 1_000, true, false],
    [250_000, 1.2, 1_000, false, false],
  ];
  for (const [compressRate, ratio, lineRate, whileCompressing, whileNot] of table) {
    const costs = { compressPace: 1 / compressRate, ratio, linePace: 1 / lineRate };
    const row = `${compressRate} ${ratio} ${lineRate}`;
    assertEquals(
      isCompressionFaster({ ...costs, compressing: true }),
      whileCompressing,
      `${row}, compressing`,
    );
    assertEquals(isCompressionFaster({ ...costs, compressing: false }), whileNot, `${row}, not`);
  }
});

Deno.test("Compressor leaves bulk alone on a fast line, but not small messages while nothing waits", () => {
  const compressor = new Compressor("zstd");
  const [bulk, small] = [prose(256 * KiB), prose(4 * KiB)];
  assertEquals(compressor.compress(bulk, { pace: 0, idle: true }).kind, 0);
  assertEquals(compressor.compress(small, { pace: 0, idle: true }).kind, 1);
  assertEquals(compressor.compress(small, { pace: 0, idle: false }).kind, 0);
  assertEquals(compressor.compress(bulk, { pace: undefined, idle: false }).kind, 1, "nothing is known yet");
  assertEquals(compressor.compress(bulk, { pace: 1 / 1_000, idle: false }).kind, 1, "1 MB/s");
});

Deno.test("Compressor tries again on a line slower than itself: data that saves little may have ended", () => {
  const compressor = new Compressor("zstd");
  const line = { pace: 1 / 240_000, idle: false };
  // One bit of eight is saved: too little for such a line.
  const dense = noise.map((byte) => byte & 0x7f);
  for (let i = 0; i < 40; i++) compressor.compress(dense, { pace: 1 / 1_000, idle: false });
  assertEquals(compressor.compress(dense, line).kind, 0);
  const text = prose(256 * KiB);
  let raw = 0;
  while (compressor.compress(text, line).kind === 0 && raw < 20 * KiB * KiB) raw += text.length;
  assert(raw > 0 && raw <= 8 * KiB * KiB, `${raw} bytes as they are before the try`);
});
