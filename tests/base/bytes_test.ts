/**
 * Cursors over bytes.
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { ByteReader, ByteWriter, concatBytes, equalBytes, hex, text } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";

Deno.test("ByteWriter keeps everything when each kind of write makes it grow", () => {
  const writes: [string, (writer: ByteWriter) => void][] = [
    ["01", (writer) => writer.u8(1)],
    ["0201", (writer) => writer.u16(0x0102)],
    ["04030201", (writer) => writer.u32(0x01020304)],
    ["0100000001000000", (writer) => writer.u53(2 ** 32 + 1)],
    ["ffffffffffffffff", (writer) => writer.i64(-1n)],
    ["aabbcc", (writer) => writer.raw(Uint8Array.fromHex("aabbcc"))],
    ["0200aabb", (writer) => writer.bytes16(Uint8Array.fromHex("aabb"))],
    ["02000000aabb", (writer) => writer.bytes32(Uint8Array.fromHex("aabb"))],
    ["0200c3a4", (writer) => writer.string16("ä")],
  ];
  for (const [expected, write] of writes) {
    for (const capacity of [0, 1, 2, 3, 64]) {
      const writer = new ByteWriter(capacity);
      write(writer);
      write(writer);
      assertEquals(hex(writer.view()), expected + expected);
    }
  }
});

Deno.test("ByteReader reads what was written and never past the end", () => {
  const written = new ByteWriter().u8(1).u16(2).u32(3).u53(2 ** 53 - 1).i64(-5n).string16("é").bytes32(
    Uint8Array.of(9),
  );
  const reader = new ByteReader(written.take());
  assertEquals([reader.u8(), reader.u16(), reader.u32(), reader.u53()], [1, 2, 3, 2 ** 53 - 1]);
  assertEquals([reader.i64(), reader.string16(), hex(reader.bytes32())], [-5n, "é", "09"]);
  reader.end();
  assertThrows(() => reader.u8(), ProtocolError, "1 bytes wanted, 0 left");
  assertThrows(() => new ByteReader(Uint8Array.of(255, 255)).bytes16(), ProtocolError);
  assertThrows(() => new ByteReader(new Uint8Array(8).fill(255)).u53(), ProtocolError, "2^53");
});

Deno.test("ByteWriter refuses a number that is not whole, negative or 2^53, and bytes too long for their size", () => {
  for (const number of [-1, 0.5, 2 ** 53, NaN, Infinity]) {
    assertThrows(() => new ByteWriter().u53(number), RangeError, "Cannot encode number");
  }
  assertThrows(() => new ByteWriter().bytes16(new Uint8Array(65_536)), RangeError, "at most 65,535");
  assertEquals(new ByteWriter().bytes16(new Uint8Array(65_535)).size, 65_537);
});

Deno.test("a flag is 0 or 1, and no other byte", () => {
  assertEquals(hex(new ByteWriter().flag(true).flag(false).view()), "0100");
  const reader = new ByteReader(Uint8Array.of(0, 1, 2));
  assertEquals([reader.flag(), reader.flag()], [false, true]);
  assertThrows(() => reader.flag(), ProtocolError, "neither 0 nor 1");
});

Deno.test("a string comes back as it was, a byte order mark included", () => {
  for (const value of ["", "a", "\ufeffa", "ä😀\0\n"]) {
    assertEquals(new ByteReader(new ByteWriter().string16(value).take()).string16(), value);
  }
});

Deno.test("ByteReader reads from a view that begins inside its buffer, and its results are views", () => {
  const bytes = new Uint8Array(12).map((_, i) => i);
  const reader = new ByteReader(bytes.subarray(4), 1);
  assertEquals([reader.u16(), reader.offset, reader.left], [0x0605, 3, 5]);
  const rest = reader.raw(5);
  assertEquals([rest.buffer, rest.byteOffset], [bytes.buffer, 7]);
  assertThrows(() => new ByteReader(bytes, 11).u16(), ProtocolError);
});

Deno.test("ByteReader leaves nothing over at end()", () => {
  const reader = new ByteReader(new Uint8Array(3));
  assertThrows(() => reader.end(), ProtocolError, "3 bytes left over");
  reader.raw(3);
  reader.end();
});

Deno.test("ByteWriter forgets at reset() and changes only four bytes at patchU32()", () => {
  const writer = new ByteWriter(2).u32(0).u8(9);
  const taken = writer.take();
  writer.patchU32(0, 0xdeadbeef);
  assertEquals([hex(writer.view()), hex(taken)], ["efbeadde09", "0000000009"]);
  writer.reset();
  assertEquals([writer.size, hex(writer.u8(1).view())], [0, "01"]);
});

Deno.test("equalBytes() and concatBytes() look at every byte", () => {
  assertEquals(hex(concatBytes()), "");
  assertEquals(hex(concatBytes(Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2, 3))), "010203");
  const bytes = Uint8Array.of(1, 2, 3);
  assertEquals(equalBytes(bytes, bytes.slice()), true);
  for (const other of [[1, 2], [1, 2, 4], [0, 2, 3], [1, 2, 3, 4], []]) {
    assertEquals(equalBytes(bytes, Uint8Array.from(other)), false);
  }
});

Deno.test("varint() takes a byte for each seven bits, and reads back what it wrote", () => {
  const sizes: [number, number][] = [[0, 1], [127, 1], [128, 2], [16_383, 2], [16_384, 3], [2 ** 32, 5]];
  for (const [value, size] of [...sizes, [Number.MAX_SAFE_INTEGER, 8]]) {
    const bytes = new ByteWriter().varint(value).take();
    assertEquals([bytes.length, new ByteReader(bytes).varint()], [size, value]);
  }
  for (const value of [-1, 0.5, 2 ** 53]) assertThrows(() => new ByteWriter().varint(value), RangeError);
});

Deno.test("ascii() writes plain ASCII alone, and nothing of any other text", () => {
  const writer = new ByteWriter(1).u8(1);
  assertEquals([writer.ascii("name"), writer.ascii("n\u00e4me"), writer.ascii("")], [true, false, true]);
  assertEquals(text(writer.view().subarray(1)), "name");
});
