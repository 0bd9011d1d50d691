/**
 * Messages as bytes: golden vectors in both directions, and bytes that must be refused.
 *
 * The vectors were written by another implementation from the drawing in docs/WIRE.md §6, in the form that
 * ops/op_test.ts describes.
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { ByteReader, ByteWriter, hex } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { decodeOp, type Op } from "../../src/ops/op.ts";
import {
  decodeMessage,
  encodeMessage,
  isReport,
  type Message,
  type MessageType,
  OpsMessageWriter,
} from "../../src/wire/message.ts";

interface Vectors {
  messages: { name: string; message: Record<string, unknown>; bytes: string }[];
  /** Bytes that are read so but never written. */
  accepted: Vectors["messages"];
  refused: { name: string; bytes: string; error: string }[];
}

const vectors: Vectors = JSON.parse(
  Deno.readTextFileSync(new URL("../vectors/messages.json", import.meta.url)),
);

/** A message from its form in a vector. */
function reviveMessage(written: Record<string, unknown>): Message {
  const message = structuredClone(written);
  for (const name of ["encoded", "hashes"]) {
    if (typeof message[name] === "string") message[name] = Uint8Array.fromHex(message[name]);
  }
  if (message.type === "listing" || message.type === "digests") {
    for (const entry of message.entries as Record<string, unknown>[]) {
      for (const name of ["mtimeNs", "ctimeNs", "xattrDigest", "file"]) {
        if (entry[name] !== undefined) entry[name] = BigInt(entry[name] as string);
      }
      // What is not there is undefined, which JSON cannot say.
      if (message.type === "digests") {
        entry.digest = entry.digest === undefined ? undefined : Uint8Array.fromHex(entry.digest as string);
      }
    }
  }
  if (message.nowNs !== undefined) message.nowNs = BigInt(message.nowNs as string);
  return message as unknown as Message;
}

for (const { name, message, bytes } of vectors.messages) {
  Deno.test(`a message as bytes and back: ${name}`, () => {
    assertEquals(hex(encodeMessage(reviveMessage(message))), bytes);
    assertEquals(decodeMessage(Uint8Array.fromHex(bytes)), reviveMessage(message));
  });
}

for (const { name, message, bytes } of vectors.accepted) {
  Deno.test(`decodeMessage() takes ${name}`, () => {
    assertEquals(decodeMessage(Uint8Array.fromHex(bytes)), reviveMessage(message));
  });
}

for (const { name, bytes, error } of vectors.refused) {
  Deno.test(`decodeMessage() refuses ${name}`, () => {
    assertThrows(() => decodeMessage(Uint8Array.fromHex(bytes)), ProtocolError, error);
  });
}

Deno.test("the vectors hold every type of message", () => {
  const types: Record<MessageType, true> = {
    hello: true,
    begin: true,
    ops: true,
    indexed: true,
    compared: true,
    await: true,
    free: true,
    list: true,
    sign: true,
    report: true,
    "list-directory": true,
    digest: true,
    accounts: true,
    waiting: true,
    digests: true,
    welcome: true,
    touched: true,
    ack: true,
    listing: true,
    signature: true,
    blocked: true,
    restore: true,
  };
  const held = new Set(vectors.messages.map(({ message }) => message.type as string));
  assertEquals([...held].sort(), Object.keys(types).sort());
});

Deno.test("decodeMessage() refuses each message cut at each byte", () => {
  for (const { name, bytes } of vectors.messages) {
    const whole = Uint8Array.fromHex(bytes);
    for (let size = 0; size < whole.length; size++) {
      assertThrows(() => decodeMessage(whole.subarray(0, size)), ProtocolError, "", `${name} at ${size}`);
    }
  }
});

Deno.test("decodeMessage() makes a message of any bytes or refuses them, and what it makes is stable", () => {
  const mutated = fc.tuple(
    fc.constantFrom(...vectors.messages.map(({ bytes }) => bytes)),
    fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 }),
  );
  const property = fc.property(mutated, ([digits, changes]) => {
    const bytes = Uint8Array.fromHex(digits);
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    let message: Message;
    try {
      message = decodeMessage(bytes);
    } catch (error) {
      if (error instanceof ProtocolError) return;
      throw error;
    }
    assertEquals(decodeMessage(encodeMessage(message)), message);
  });
  fc.assert(property, { numRuns: 5000 });
});

Deno.test("OpsMessageWriter builds the bytes of an ops message, whatever it reserved", () => {
  const ops: Op[] = [
    { kind: "file", path: "a", attributes: { mode: 0o600 }, data: new Uint8Array(1000).fill(7) },
    { kind: "unlink", path: "b\udcff" },
    { kind: "block", transfer: 1, offset: 5, data: new Uint8Array(300) },
  ];
  for (const capacity of [1, 17, 20, 5000]) {
    const writer = new OpsMessageWriter(2 ** 40, new ByteWriter(capacity));
    const sizes = ops.map((op) => writer.add(op));
    assertEquals(writer.count, 3);
    const message = writer.seal();
    assertEquals(writer.size, message.length);
    const back = decodeMessage(message) as Extract<Message, { type: "ops" }>;
    assertEquals([back.type, back.firstSequence, back.count], ["ops", 2 ** 40, 3]);
    assertEquals(back.encoded.length, sizes.reduce((sum, size) => sum + size));
    assertEquals(hex(encodeMessage(back)), hex(message));
    const reader = new ByteReader(back.encoded);
    for (const op of ops) assertEquals(decodeOp(reader), op);
    reader.end();
  }
});

Deno.test("isReport() knows a report by its first byte", () => {
  for (const { message, bytes } of vectors.messages) {
    assertEquals(isReport(Uint8Array.fromHex(bytes)), message.type === "report");
  }
  assertEquals(isReport(new Uint8Array()), false);
});
