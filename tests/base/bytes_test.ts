/**
 * Cursors over bytes.
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { ByteReader, ByteWriter, hex } from "../../src/base/bytes.ts";
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
