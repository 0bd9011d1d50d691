/**
 * Frames: bytes, delivery in any pieces, and headers that must be refused.
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { concatBytes, hex } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { hasLibcrypto } from "../../src/sys/libcrypto.ts";
import type { AeadProvider } from "../../src/wire/aead.ts";
import { TransportCipher } from "../../src/wire/cipher.ts";
import {
  decodeCloseBody,
  decodeFrameHeader,
  encodeCloseBody,
  encodeFrameHeader,
  FrameDecoder,
  type FrameType,
} from "../../src/wire/frame.ts";
import { CipherState } from "../../src/wire/noise.ts";

interface FrameVector {
  cipher: "ChaChaPoly" | "AESGCM" | "none";
  key: string;
  counter: number;
  type: FrameType;
  flags: number;
  body: string;
  frame: string;
}

const vectors = JSON.parse(
  Deno.readTextFileSync(new URL("../vectors/frames.json", import.meta.url)),
) as { frames: FrameVector[]; refusedHeaders: { header: string; why: string }[] };
const bytes = (text: string) => Uint8Array.fromHex(text);
const OVERHEAD = 16;

const providers: AeadProvider[] = hasLibcrypto() ? ["node", "libcrypto"] : ["node"];

function cipherOf({ cipher, key, counter }: FrameVector, provider: AeadProvider): TransportCipher {
  const state = new CipherState(cipher === "none" ? "ChaChaPoly" : cipher, bytes(key));
  for (let i = 0; i < counter; i++) state.encryptWithAd(new Uint8Array(), new Uint8Array());
  return new TransportCipher(state, { plain: cipher === "none", provider });
}

for (const vector of vectors.frames) {
  const { cipher, type, counter, body, flags } = vector;
  for (const provider of providers) {
    Deno.test(`frames.json: ${type} under ${cipher} by ${provider}, frame ${counter}, both directions`, async () => {
      const sealer = cipherOf(vector, provider);
      const sealedSize = body.length / 2 + sealer.overhead;
      const header = encodeFrameHeader({ type, flags, sealedSize });
      const into = new Uint8Array(sealedSize);
      await sealer.seal(bytes(body), { header, into });
      assertEquals(hex(concatBytes(header, into)), vector.frame);
      const opener = cipherOf(vector, provider);
      const decoder = new FrameDecoder(opener.overhead);
      decoder.push(bytes(vector.frame));
      const frame = decoder.next()!;
      assertEquals([frame.type, frame.flags], [type, flags]);
      assertEquals(hex(await opener.open(frame.sealed, frame)), body);
      assertEquals(decoder.next(), undefined);
    });
  }
}

for (const { header, why } of vectors.refusedHeaders) {
  Deno.test(`frames.json: header refused, ${why}`, () => {
    const decoder = new FrameDecoder(OVERHEAD);
    decoder.push(bytes(header).subarray(0, 5));
    assertEquals(decoder.next(), undefined, "nothing is known before six bytes are there");
    decoder.push(bytes(header).subarray(5));
    assertThrows(() => decoder.next(), ProtocolError, "Cannot read frame");
  });
}

/** A stream of frames with bodies of these sizes, not sealed. */
function streamOf(sizes: number[]): Uint8Array {
  return concatBytes(...sizes.flatMap((size, i) => [
    encodeFrameHeader({ type: "message", flags: 0, sealedSize: size }),
    new Uint8Array(size).fill(i + 1),
  ]));
}

/** Sizes and first bytes of all frames that come out of `stream`, pushed in pieces. */
function decodeInPieces(stream: Uint8Array, pieceSize: () => number): string[] {
  const decoder = new FrameDecoder(OVERHEAD);
  const found: string[] = [];
  for (let at = 0; at < stream.length;) {
    const piece = stream.subarray(at, at + pieceSize());
    decoder.push(piece);
    at += piece.length;
    for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
      assert(frame.sealed.every((byte) => byte === frame!.sealed[0]), "no byte of another frame");
      found.push(`${frame.sealed.length}:${frame.sealed[0]}`);
    }
  }
  assertEquals(decoder.pendingSize, 0);
  return found;
}

Deno.test("FrameDecoder finds the same frames whole, byte by byte and split anywhere", () => {
  const sizes = [16, 17, 300, 16, 5_000, 16];
  const stream = streamOf(sizes);
  const expected = sizes.map((size, i) => `${size}:${i + 1}`);
  assertEquals(decodeInPieces(stream, () => stream.length), expected);
  assertEquals(decodeInPieces(stream, () => 1), expected);
  for (let cut = 1; cut < stream.length; cut += 13) {
    let first = true;
    assertEquals(decodeInPieces(stream, () => first ? (first = false, cut) : stream.length), expected);
  }
});

Deno.test("FrameDecoder finds large frames across its buffer's end, in pieces of every kind", () => {
  const max = limits.frameBodySizeMax + OVERHEAD;
  const sizes = [100_000, max, 16, 250_000, 16, 300_000, max, max, 40_000, 16];
  const stream = streamOf(sizes);
  const expected = sizes.map((size, i) => `${size}:${i + 1}`);
  let seed = 42;
  const random = () => (seed = seed * 1_103_515_245 + 12_345 & 0x7fffffff) % 200_000 + 1;
  for (const pieceSize of [() => 4_096, () => 65_536, () => 262_144, random]) {
    assertEquals(decodeInPieces(stream, pieceSize), expected);
  }
});

Deno.test("room() is never empty and holds a largest frame without growing for what is not there yet", () => {
  const decoder = new FrameDecoder(OVERHEAD);
  assertEquals(decoder.room().length, limits.readSize);
  decoder.push(
    encodeFrameHeader({ type: "message", flags: 0, sealedSize: limits.frameBodySizeMax + OVERHEAD }),
  );
  assertEquals(decoder.next(), undefined);
  assert(decoder.room().length < limits.readSize, "a header alone makes no room for its body");
});

Deno.test("decodeFrameHeader() takes bodies from nothing to the limit and no others", () => {
  const sized = (sealedSize: number) =>
    decodeFrameHeader(encodeFrameHeader({ type: "ping", flags: 0, sealedSize }), OVERHEAD);
  assertEquals(sized(OVERHEAD).sealedSize, OVERHEAD);
  assertEquals(sized(OVERHEAD + limits.frameBodySizeMax).type, "ping");
  assertThrows(() => sized(OVERHEAD - 1), ProtocolError);
  assertThrows(() => sized(OVERHEAD + limits.frameBodySizeMax + 1), ProtocolError);
});

Deno.test("a close frame's reason goes both ways, is cut to its bound and cannot steer a terminal", () => {
  const both = (reason: string) => decodeCloseBody(encodeCloseBody({ refused: true, reason }));
  assertEquals(both("no such replica"), { refused: true, reason: "no such replica" });
  assertEquals(both("x".repeat(5_000)).reason.length, limits.refusalReasonSizeMax);
  assertEquals(both("a\u001b[31m\nb").reason, "a?[31m?b");
  assertThrows(() => decodeCloseBody(bytes("020000")), ProtocolError, "code 2");
  assertThrows(() => decodeCloseBody(bytes("00")), ProtocolError);
  assertThrows(() => decodeCloseBody(bytes("00000000")), ProtocolError);
});
