/**
 * Noise against the published vectors, both roles, and against damage.
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { hex } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { KeyPair } from "../../src/wire/keys.ts";
import { CipherState, HandshakeState, type TransportKeys } from "../../src/wire/noise.ts";

interface Vector {
  protocol_name: string;
  handshake_hash: string;
  messages: { payload: string; ciphertext: string }[];
  [field: string]: unknown;
}

const { vectors } = JSON.parse(
  Deno.readTextFileSync(new URL("../vectors/noise.json", import.meta.url)),
) as { vectors: Vector[] };

const NOTHING = new Uint8Array();
const bytes = (text: string) => Uint8Array.fromHex(text);
const PROTOCOL = "Noise_IKpsk2_25519_ChaChaPoly_SHA256";

function partyOf(vector: Vector, role: "init" | "resp"): HandshakeState {
  const field = (name: string) => vector[`${role}_${name}`] as string | undefined;
  const keyPair = (name: string) => field(name) === undefined ? undefined : new KeyPair(bytes(field(name)!));
  const remoteStatic = field("remote_static");
  return new HandshakeState({
    protocolName: vector.protocol_name,
    initiator: role === "init",
    prologue: bytes(field("prologue")!),
    staticKeyPair: keyPair("static"),
    ephemeralKeyPair: keyPair("ephemeral"),
    remoteStatic: remoteStatic === undefined ? undefined : bytes(remoteStatic),
    psks: (vector[`${role}_psks`] as string[] | undefined)?.map(bytes),
  });
}

/** Runs a vector's handshake; gives both ends and the index of the first transport message. */
function shakeHands(vector: Vector): { ends: [HandshakeState, HandshakeState]; next: number } {
  const ends: [HandshakeState, HandshakeState] = [partyOf(vector, "init"), partyOf(vector, "resp")];
  let next = 0;
  while (!ends[0].finished) {
    const { payload, ciphertext } = vector.messages[next];
    const message = ends[next % 2].writeMessage(bytes(payload));
    assertEquals(hex(message), ciphertext);
    assertEquals(hex(ends[1 - next % 2].readMessage(bytes(ciphertext))), payload);
    next++;
  }
  return { ends, next };
}

for (const vector of vectors.filter((each) => each.protocol_name.includes("_25519_"))) {
  Deno.test(`HandshakeState makes and reads ${vector.protocol_name} as published`, () => {
    const { ends, next } = shakeHands(vector);
    for (const end of ends) assertEquals(hex(end.handshakeHash), vector.handshake_hash);
    const keys: TransportKeys[] = ends.map((end) => end.split());
    assert(next < vector.messages.length, "there are transport messages");
    for (let i = next; i < vector.messages.length; i++) {
      const { payload, ciphertext } = vector.messages[i];
      assertEquals(hex(keys[i % 2].send.encryptWithAd(NOTHING, bytes(payload))), ciphertext);
      assertEquals(hex(keys[1 - i % 2].receive.decryptWithAd(NOTHING, bytes(ciphertext))), payload);
    }
  });
}

Deno.test("noise.json holds all 88 vectors over 25519", () => {
  assertEquals(vectors.filter((each) => each.protocol_name.includes("_25519_")).length, 88);
});

const initiatorKey = new KeyPair(new Uint8Array(32).fill(1));
const responderKey = new KeyPair(new Uint8Array(32).fill(2));
const psk = new Uint8Array(32).fill(3);

function initiator(changes: { remoteStatic?: Uint8Array; psk?: Uint8Array; prologue?: Uint8Array } = {}) {
  return new HandshakeState({
    protocolName: PROTOCOL,
    initiator: true,
    prologue: changes.prologue ?? NOTHING,
    staticKeyPair: initiatorKey,
    remoteStatic: changes.remoteStatic ?? responderKey.publicKey,
    psks: [changes.psk ?? psk],
  });
}

function responder() {
  return new HandshakeState({
    protocolName: PROTOCOL,
    initiator: false,
    prologue: NOTHING,
    staticKeyPair: responderKey,
    psks: [psk],
  });
}

Deno.test("readMessage() refuses message 1 with any one byte flipped", () => {
  const message = initiator().writeMessage(bytes("c0ffee"));
  for (let at = 0; at < message.length; at++) {
    const damaged = message.slice();
    damaged[at] ^= 0x10;
    assertThrows(() => responder().readMessage(damaged), ProtocolError);
  }
  assertEquals(hex(responder().readMessage(message)), "c0ffee");
});

Deno.test("readMessage() refuses message 2 with any one byte flipped", () => {
  const size = 32 + 3 + 16;
  for (let at = 0; at < size; at++) {
    const [left, right] = [initiator(), responder()];
    right.readMessage(left.writeMessage(NOTHING));
    const damaged = right.writeMessage(bytes("c0ffee"));
    assertEquals(damaged.length, size);
    damaged[at] ^= 1;
    assertThrows(() => left.readMessage(damaged), ProtocolError);
  }
});

Deno.test("readMessage() refuses a message truncated anywhere", () => {
  const message = initiator().writeMessage(bytes("c0ffee"));
  for (let size = 0; size < message.length; size++) {
    assertThrows(() => responder().readMessage(message.subarray(0, size)), ProtocolError);
  }
});

Deno.test("readMessage() refuses message 1 made for another static key or prologue", () => {
  const other = KeyPair.generate().publicKey;
  assertThrows(
    () => responder().readMessage(initiator({ remoteStatic: other }).writeMessage(NOTHING)),
    ProtocolError,
  );
  assertThrows(
    () => responder().readMessage(initiator({ prologue: bytes("01") }).writeMessage(NOTHING)),
    ProtocolError,
  );
});

Deno.test("readMessage() refuses message 2 of a peer with another psk", () => {
  const [left, right] = [initiator({ psk: new Uint8Array(32) }), responder()];
  right.readMessage(left.writeMessage(NOTHING));
  const message = right.writeMessage(NOTHING);
  assertThrows(() => left.readMessage(message), ProtocolError);
});

Deno.test("readMessage() refuses ephemeral keys of low order, whose shared secret is zero", () => {
  const lowOrder = [
    new Uint8Array(32),
    bytes("01" + "00".repeat(31)),
    bytes("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
  ];
  for (const point of lowOrder) {
    const message = initiator().writeMessage(NOTHING);
    message.set(point);
    assertThrows(() => responder().readMessage(message), ProtocolError, "Cannot agree on a key");
  }
});

Deno.test("a handshake that failed once does not go on", () => {
  const right = responder();
  const message = initiator().writeMessage(NOTHING);
  assertThrows(() => right.readMessage(message.subarray(1)), ProtocolError);
  assertThrows(() => right.writeMessage(NOTHING), Error, "Invariant broken");
});

Deno.test("rekey() changes the key the same way on both sides and keeps the nonce", () => {
  for (const aead of ["ChaChaPoly", "AESGCM"] as const) {
    const [left, right, old] = [0, 1, 2].map(() => new CipherState(aead, psk));
    right.decryptWithAd(NOTHING, left.encryptWithAd(NOTHING, psk));
    old.encryptWithAd(NOTHING, psk);
    left.rekey();
    right.rekey();
    assertEquals(left.nonce, 1);
    const sealed = left.encryptWithAd(NOTHING, psk);
    assertThrows(() => old.decryptWithAd(NOTHING, sealed), ProtocolError);
    assertEquals(right.decryptWithAd(NOTHING, sealed), psk);
  }
});

Deno.test("HandshakeState refuses an unknown protocol name", () => {
  for (
    const name of [
      "Noise_ZZ_25519_AESGCM_SHA256",
      "Noise_IKpsk3_25519_AESGCM_SHA256",
      "Noise_IK_448_AESGCM_SHA256",
    ]
  ) {
    assertThrows(
      () => new HandshakeState({ protocolName: name, initiator: true, prologue: NOTHING }),
      RangeError,
    );
  }
});
