/**
 * The handshake: golden bytes in both directions, refusals, and every flipped bit.
 *
 * Method: a line whose incoming bytes are given beforehand, and two lines joined in memory. The vectors were made by this
 * program and pin its bytes; that Noise itself is right is shown by noise_test.ts.
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { concatBytes, hex } from "../../src/base/bytes.ts";
import { ProtocolError, RefusedError, TransientError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import {
  type Authorization,
  decodePreamble,
  decodeRequest,
  encodePreamble,
  encodeRefusal,
  encodeRequest,
  preambleFor,
  Refusal,
  supportsCompression,
  ZERO_PSK,
} from "../../src/wire/handshake.ts";
import {
  answerHandshake,
  type AnsweringParty,
  connectHandshake,
  type ConnectingParty,
  type Line,
} from "../../src/wire/handshake_io.ts";
import { KeyPair } from "../../src/wire/keys.ts";

interface HandshakeVector {
  cipher: "chacha20-poly1305" | "aes-256-gcm" | "none";
  hash: "SHA256" | "BLAKE2s";
  psk: string;
  tokenId: string | null;
  /** Preamble and message 1. */
  opening: string;
  /** Status and message 2. */
  answer: string;
  message3: string;
  /** An empty text under the key of each direction, after the handshake. */
  firstSealed: [string, string];
}

const vectors = JSON.parse(
  Deno.readTextFileSync(new URL("../vectors/handshake.json", import.meta.url)),
) as { handshakes: HandshakeVector[]; refusedPreambles: { preamble: string; code: string; why: string }[] };

const bytes = (text: string) => Uint8Array.fromHex(text);
const filled = (value: number) => new Uint8Array(32).fill(value);
const sourceKey = new KeyPair(filled(1));
const targetKey = new KeyPair(filled(2));
const NOTHING = new Uint8Array();

/** A line that gives `incoming`, `pieceSize` bytes a read, then the end; and keeps what is written. */
class ScriptedLine implements Line {
  written: Uint8Array<ArrayBuffer> = new Uint8Array();
  #incoming: Uint8Array;
  readonly #pieceSize: number;

  constructor(incoming: Uint8Array, pieceSize = Infinity) {
    this.#incoming = incoming;
    this.#pieceSize = pieceSize;
  }

  read(room: Uint8Array): Promise<number | null> {
    const piece = this.#incoming.subarray(0, Math.min(room.length, this.#pieceSize));
    room.set(piece);
    this.#incoming = this.#incoming.subarray(piece.length);
    return Promise.resolve(piece.length === 0 ? null : piece.length);
  }

  write(part: Uint8Array): Promise<number> {
    this.written = concatBytes(this.written, part);
    return Promise.resolve(part.length);
  }
}

function connectingParty(changes: Partial<ConnectingParty> = {}): ConnectingParty {
  return {
    preamble: preambleFor("chacha20-poly1305"),
    keyPair: sourceKey,
    ephemeralKeyPair: new KeyPair(filled(3)),
    targetPublicKey: targetKey.publicKey,
    request: { name: "docs", wants: "replicate" },
    ...changes,
  };
}

function answeringParty(changes: Partial<AnsweringParty> = {}): AnsweringParty {
  const grant: Authorization = { psk: ZERO_PSK, answer: bytes("abcd") };
  return { keyPair: targetKey, ephemeralKeyPair: new KeyPair(filled(4)), authorize: () => grant, ...changes };
}

/** What each side of a handshake writes: the opening, the answer, message 3. */
async function record(
  connecting: ConnectingParty,
  answering: AnsweringParty,
): Promise<[Uint8Array, Uint8Array, Uint8Array]> {
  const first = new ScriptedLine(NOTHING);
  await connectHandshake(first, connecting).catch(() => {});
  const second = new ScriptedLine(first.written);
  await answerHandshake(second, answering).catch(() => {});
  const third = new ScriptedLine(second.written);
  await connectHandshake(third, connecting).catch(() => {});
  return [first.written, second.written, third.written.subarray(first.written.length)];
}

function partiesOf(vector: HandshakeVector): [ConnectingParty, AnsweringParty] {
  const tokenId = vector.tokenId === null ? undefined : bytes(vector.tokenId);
  return [
    connectingParty({
      preamble: preambleFor(vector.cipher, vector.hash),
      psk: bytes(vector.psk),
      request: { name: "docs", wants: "replicate", ...(tokenId && { tokenId }) },
    }),
    answeringParty({ authorize: () => ({ psk: bytes(vector.psk), answer: bytes("abcd") }) }),
  ];
}

for (const vector of vectors.handshakes) {
  Deno.test(`handshake.json: cipher ${vector.cipher}, ${vector.hash}, both directions`, async () => {
    const [connecting, answering] = partiesOf(vector);
    for (const pieceSize of [1, 7, Infinity]) {
      const connectingLine = new ScriptedLine(bytes(vector.answer), pieceSize);
      const opened = await connectHandshake(connectingLine, connecting);
      assertEquals(hex(connectingLine.written), vector.opening + vector.message3);
      assertEquals(hex(opened.answer), "abcd");
      const answeringLine = new ScriptedLine(bytes(vector.opening + vector.message3), pieceSize);
      const accepted = await answerHandshake(answeringLine, answering);
      assertEquals(hex(answeringLine.written), vector.answer);
      assertEquals(accepted.request, connecting.request);
      assertEquals(accepted.peerPublicKey, sourceKey.publicKey);
      for (const end of [opened, accepted]) assertEquals(end.plain, vector.cipher === "none");
      const sealed = [opened, accepted].map(({ keys }) => hex(keys.send.encryptWithAd(NOTHING, NOTHING)));
      assertEquals(sealed, vector.firstSealed);
    }
  });
}

for (const { preamble, code, why } of vectors.refusedPreambles) {
  Deno.test(`handshake.json: preamble refused, ${why}`, async () => {
    const answering = new ScriptedLine(bytes(preamble));
    const refusal = await assertRejects(() => answerHandshake(answering, answeringParty()), Refusal);
    assertEquals(refusal.code, code);
    // The same reason arrives at the other side.
    const told = await assertRejects(
      () => connectHandshake(new ScriptedLine(answering.written), connectingParty()),
      Refusal,
    );
    assertEquals([told.code, told.message], [code, refusal.message]);
  });
}

Deno.test("answerHandshake() answers nothing to a peer of another protocol", async () => {
  const line = new ScriptedLine(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  await assertRejects(
    () => answerHandshake(line, answeringParty()),
    ProtocolError,
    "does not speak this protocol",
  );
  assertEquals(line.written.length, 0);
});

Deno.test("connectHandshake() takes nothing else for an answer", async () => {
  const line = new ScriptedLine(new TextEncoder().encode("SSH-2.0-OpenSSH\r\n"));
  await assertRejects(
    () => connectHandshake(line, connectingParty()),
    ProtocolError,
    "does not speak this protocol",
  );
});

Deno.test("every flipped bit of the opening is refused: none leads to another suite, name or key", async () => {
  const [opening, , message3] = await record(connectingParty(), answeringParty());
  let asked = 0;
  const party = answeringParty({ authorize: () => (asked++, { psk: ZERO_PSK }) });
  for (let bit = 0; bit < opening.length * 8; bit += 3) {
    const damaged = opening.slice();
    damaged[bit >> 3] ^= 1 << (bit & 7);
    await assertRejects(
      () => answerHandshake(new ScriptedLine(concatBytes(damaged, message3)), party),
      Error,
    );
  }
  assertEquals(asked, 0, "authorize was never asked");
  await answerHandshake(new ScriptedLine(concatBytes(opening, message3)), party);
  assertEquals(asked, 1);
});

Deno.test("every flipped bit of answer and message 3 is refused", async () => {
  const [opening, answer, message3] = await record(connectingParty(), answeringParty());
  for (let bit = 0; bit < answer.length * 8; bit += 3) {
    const damaged = answer.slice();
    damaged[bit >> 3] ^= 1 << (bit & 7);
    await assertRejects(() => connectHandshake(new ScriptedLine(damaged), connectingParty()), Error);
  }
  for (let bit = 0; bit < message3.length * 8; bit++) {
    const damaged = message3.slice();
    damaged[bit >> 3] ^= 1 << (bit & 7);
    const line = new ScriptedLine(concatBytes(opening, damaged));
    await assertRejects(() => answerHandshake(line, answeringParty()), Error);
  }
});

Deno.test("a handshake cut off anywhere is a broken line on both sides", async () => {
  const [opening, answer, message3] = await record(connectingParty(), answeringParty());
  const incoming = concatBytes(opening, message3);
  for (let size = 0; size < incoming.length; size += 5) {
    const line = new ScriptedLine(incoming.subarray(0, size));
    await assertRejects(() => answerHandshake(line, answeringParty()), TransientError);
  }
  for (let size = 0; size < answer.length; size += 3) {
    const line = new ScriptedLine(answer.subarray(0, size));
    await assertRejects(() => connectHandshake(line, connectingParty()), TransientError);
  }
});

Deno.test("answerHandshake() refuses message 1 made for another key, and says so to the peer", async () => {
  const connecting = connectingParty({ targetPublicKey: KeyPair.generate().publicKey });
  const first = new ScriptedLine(NOTHING);
  await connectHandshake(first, connecting).catch(() => {});
  const line = new ScriptedLine(first.written);
  await assertRejects(() => answerHandshake(line, answeringParty()), RefusedError, "not the expected one");
  await assertRejects(
    () => connectHandshake(new ScriptedLine(line.written), connecting),
    RefusedError,
    "the target's key is not the expected one",
  );
});

Deno.test("a reason of authorize() reaches the peer, cut to its bound and printable", async () => {
  const [opening] = await record(connectingParty(), answeringParty());
  for (
    const [refuse, expected] of [["not paired", "not paired"], ["a\u001b]0;x\u0007b", "a?]0;x?b"], [
      "x".repeat(9_999),
      "x".repeat(512),
    ]]
  ) {
    const line = new ScriptedLine(opening);
    await assertRejects(
      () => answerHandshake(line, answeringParty({ authorize: () => ({ refuse }) })),
      Refusal,
    );
    const told = await assertRejects(
      () => connectHandshake(new ScriptedLine(line.written), connectingParty()),
      Refusal,
    );
    assertEquals([told.code, told.message], ["unauthorized", expected]);
  }
});

Deno.test("a source that knows the token's id but not its secret is never confirmed", async () => {
  const connecting = connectingParty({ psk: filled(8) });
  const answering = answeringParty({ authorize: () => ({ psk: filled(9) }) });
  const [opening, answer] = await record(connecting, answering);
  await assertRejects(() => connectHandshake(new ScriptedLine(answer), connecting), ProtocolError, "secret");
  // It may guess at message 3, or repeat one that it saw.
  const [, , foreign] = await record(connectingParty(), answeringParty());
  for (const message3 of [foreign, concatBytes(bytes("1000"), new Uint8Array(16))]) {
    const line = new ScriptedLine(concatBytes(opening, message3));
    await assertRejects(() => answerHandshake(line, answering), ProtocolError, "Cannot verify the source");
  }
});

Deno.test("a replayed opening and message 3 confirm nobody: the target's half is new each time", async () => {
  const [opening, , message3] = await record(connectingParty(), answeringParty());
  const line = new ScriptedLine(concatBytes(opening, message3));
  await assertRejects(
    () => answerHandshake(line, answeringParty({ ephemeralKeyPair: undefined })),
    ProtocolError,
    "Cannot verify the source",
  );
});

Deno.test("a message larger than limits.handshakeMessageSizeMax is refused before it is read", async () => {
  const size = limits.handshakeMessageSizeMax + 1;
  const opening = concatBytes(encodePreamble(preambleFor("none")), Uint8Array.of(size & 0xff, size >> 8));
  await assertRejects(
    () => answerHandshake(new ScriptedLine(opening), answeringParty()),
    ProtocolError,
    "too large",
  );
});

Deno.test("answerHandshake() refuses cipher none where the target does not allow it", async () => {
  const [opening] = await record(connectingParty({ preamble: preambleFor("none") }), answeringParty());
  const party = answeringParty({ plainAllowed: false });
  await assertRejects(() => answerHandshake(new ScriptedLine(opening), party), Refusal, "unencrypted");
});

Deno.test("decodeRequest() takes every purpose, skips optional fields and refuses the rest", () => {
  for (const wants of ["replicate", "restore", "inspect", "failback"] as const) {
    assertEquals(decodeRequest(encodeRequest({ name: "ä", wants })), { name: "ä", wants });
  }
  const tokenId = new Uint8Array(16).fill(5);
  const withToken = encodeRequest({ name: "docs", wants: "inspect", tokenId });
  assertEquals(decodeRequest(withToken), { name: "docs", wants: "inspect", tokenId });
  assertEquals(decodeRequest(concatBytes(withToken, bytes("7f0100ff"))).tokenId, tokenId);
  const plain = encodeRequest({ name: "docs", wants: "inspect" });
  for (const bad of ["800000", "01010000", "7f0100", "7f"]) {
    assertThrows(() => decodeRequest(concatBytes(plain, bytes(bad))), ProtocolError);
  }
  assertThrows(() => decodeRequest(bytes("050000")), ProtocolError, "purpose");
  const longName = encodeRequest({ name: "x".repeat(256), wants: "inspect" });
  assertThrows(() => decodeRequest(longName), ProtocolError, "too long");
});

Deno.test("preambles go both ways for every cipher and hash", () => {
  for (const cipher of ["chacha20-poly1305", "aes-256-gcm", "none"] as const) {
    for (const hash of ["SHA256", "BLAKE2s"] as const) {
      const preamble = preambleFor(cipher, hash);
      assertEquals(decodePreamble(encodePreamble(preamble)), preamble);
    }
  }
});

Deno.test("supportsCompression() follows the offered bits, and none needs none", () => {
  assertEquals(["zstd", "deflate", "brotli", "none"].map((name) => supportsCompression(5, name as "zstd")), [
    true,
    false,
    true,
    true,
  ]);
});

Deno.test("a refusal with a code of a later version still tells its reason", async () => {
  const refusal = encodeRefusal("key", "for reasons");
  refusal[1] = 99;
  const told = await assertRejects(
    () => connectHandshake(new ScriptedLine(refusal), connectingParty()),
    Refusal,
  );
  assert(told.message === "for reasons");
});

/** Whether an error is of a class that says who acts. */
function isNamed(error: unknown): boolean {
  return error instanceof ProtocolError || error instanceof RefusedError || error instanceof TransientError;
}

Deno.test("random bytes in place of any part of a handshake end in a named error (seed 20)", async () => {
  let seed = 20;
  const random = (below: number) => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff) % below;
  const noise = (size: number) => Uint8Array.from({ length: size }, () => random(65_536) >> 8);
  const [opening, answer, message3] = await record(connectingParty(), answeringParty());
  for (let round = 0; round < 400; round++) {
    const incoming = concatBytes(opening, message3);
    const at = random(incoming.length);
    const damaged = concatBytes(incoming.subarray(0, at), noise(1 + random(200)));
    const accepted = await answerHandshake(new ScriptedLine(damaged), answeringParty()).catch((error) =>
      error
    );
    assert(isNamed(accepted), `round ${round}: ${accepted}`);
    const reply = concatBytes(answer.subarray(0, random(answer.length)), noise(1 + random(200)));
    const connected = await connectHandshake(new ScriptedLine(reply), connectingParty()).catch((error) =>
      error
    );
    assert(isNamed(connected), `round ${round}: ${connected}`);
  }
});

Deno.test("an authenticated request or answer of random bytes ends in a named error, never in a grant", () => {
  for (let size = 0; size < 300; size++) {
    const payload = crypto.getRandomValues(new Uint8Array(size));
    // A purpose that exists, so that the rest is looked at.
    if (size > 0) payload[0] = 1;
    try {
      const { name } = decodeRequest(payload);
      assert(name.length <= 255);
    } catch (error) {
      assert(error instanceof ProtocolError, `${error}`);
    }
  }
});
