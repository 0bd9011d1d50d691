/**
 * Compressing once what several sessions send, told apart by every byte and kept within a bound.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { limits } from "../../src/base/limits.ts";
import { Compressor, decompress } from "../../src/wire/compress.ts";
import { SharedCompressions } from "../../src/wire/shared_compressions.ts";

const KiB = 1024;

/** A message of text as ops have it: type and sequence in front. */
function message(sequence: number, seed: number, size = 100 * KiB): Uint8Array {
  let text = "";
  for (let i = 0; text.length < size; i++) {
    text += `line ${i * 7919 % 1000} of ${seed}: the quick brown fox\n`;
  }
  const bytes = new TextEncoder().encode(" ".repeat(9) + text.slice(0, size));
  bytes[0] = 3;
  new DataView(bytes.buffer).setBigUint64(1, BigInt(sequence));
  return bytes;
}

function giveBack({ kind, body }: { kind: number; body: Uint8Array }): Uint8Array {
  return decompress({ kind, body: new Uint8Array(body) });
}

Deno.test("SharedCompressions compresses the same ops once for all sessions, whatever their sequence", () => {
  const shared = new SharedCompressions();
  using _one = shared.join();
  using _two = shared.join();
  const [first, second] = [new Compressor("zstd", shared), new Compressor("zstd", shared)];
  for (let i = 0; i < 20; i++) {
    const [one, two] = [message(1 + i, i), message(1_000 + i, i)];
    assertEquals(giveBack(first.compress(one)), one);
    assertEquals(giveBack(second.compress(two)), two);
  }
  assertEquals(shared.stats, { shared: 20, compressed: 20 });
  const brotli = new Compressor("brotli", shared);
  const last = message(1, 19);
  assertEquals(giveBack(brotli.compress(last)), last);
  assertEquals(shared.stats.compressed, 21, "another compression is another stream");
});

Deno.test("SharedCompressions takes no message for another one that differs in any one byte", () => {
  const shared = new SharedCompressions();
  using _one = shared.join();
  using _two = shared.join();
  const compressor = new Compressor("zstd", shared);
  const original = message(1, 1, 2_000);
  assertEquals(giveBack(compressor.compress(original)), original);
  for (let at = 9; at < original.length; at++) {
    const other = original.slice();
    other[at] ^= 1;
    assertEquals(giveBack(compressor.compress(other)), other);
  }
  assertEquals(shared.stats.shared, 0);
});

Deno.test("SharedCompressions keeps no more than its bound, and nothing for a session alone", () => {
  const shared = new SharedCompressions();
  const alone = new Compressor("zstd", shared);
  {
    using _one = shared.join();
    alone.compress(message(1, 1));
    alone.compress(message(2, 1));
    assertEquals(shared.stats, { shared: 0, compressed: 0 });
    using _two = shared.join();
    const streamSize = alone.compress(message(1, 0)).body.length;
    const count = Math.ceil(limits.sharedCompressionBytes / streamSize) + 500;
    for (let i = 0; i < count; i++) alone.compress(message(i, i));
    assert(shared.keptBytes <= limits.sharedCompressionBytes, `${shared.keptBytes}`);
    assert(shared.keptBytes > limits.sharedCompressionBytes / 2, `${shared.keptBytes}`);
    const before = shared.stats.shared;
    alone.compress(message(1, count - 1));
    assertEquals(shared.stats.shared, before + 1, "the newest is there");
    alone.compress(message(1, 0));
    assertEquals(shared.stats.shared, before + 1, "the oldest went");
  }
  assertEquals(shared.keptBytes, 0);
});
