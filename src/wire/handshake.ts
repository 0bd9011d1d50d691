/**
 * The handshake: who speaks, to whom, about which replica, under which cipher.
 *
 * ```
 * connecting side                                   answering side
 *   preamble, message 1  ───────────────────────▶   authorize(request, key)
 *                        ◀───────────────────────   answer: message 2, or a refusal
 *   message 3            ───────────────────────▶   the peer is confirmed
 *
 * preamble   0       4            6        7        8              12
 *           │ "USTY" │ version u16 │ suite  │ flags  │ features u32 │
 *  suite     1 ChaChaPoly_SHA256 · 2 ChaChaPoly_BLAKE2s · 3 AESGCM_SHA256 · 4 AESGCM_BLAKE2s
 *  flags     1 frames are not encrypted (cipher `none`); the others are zero
 *  features  offered: 1 zstd · 2 deflate · 4 brotli; a reader ignores bits that it does not know
 * message 1, 3   u16 size, Noise message
 * answer         0, u16 size, Noise message 2      or      1, code u8, u16 size, reason (UTF-8, in the clear)
 *
 * Noise_IKpsk2_25519_…   prologue = preamble
 *  payload of 1  wants u8, name string16, fields          wants: 1 replicate · 2 restore · 3 inspect · 4 failback
 *  payload of 2  features u32, answer bytes16, fields
 *  payload of 3  empty
 *  fields        (tag u8, bytes16)*   1 token id; a reader skips unknown tags below 128 and refuses others
 * ```
 *
 * Invariants: magic, version and the form of a refusal are the same in every version. A downgrade changes the prologue
 * and breaks message 1. Message 3 shows that the peer knows its private key *and* the psk; until then nothing that it
 * asked for has an effect, so a replayed message 1 has none.
 * @module
 */
import { ByteReader, ByteWriter, equalBytes, utf8 } from "../base/bytes.ts";
import { ProtocolError, RefusedError } from "../base/errors.ts";
import type { CipherName } from "./cipher.ts";
import type { CompressionName } from "./compress.ts";
import { cutReason } from "./frame.ts";
import type { HashName } from "./noise.ts";

/** Version of everything behind the preamble's first six bytes. */
export const PROTOCOL_VERSION = 1;
/** Bytes of the preamble. */
export const PREAMBLE_SIZE = 12;
/** Bytes of the preamble that are the same in every version. */
export const PREAMBLE_FIXED_SIZE = 6;
/** Bytes of a join token's id. */
export const TOKEN_ID_SIZE = 16;
/** The psk of a key that is paired already. */
export const ZERO_PSK: Uint8Array = new Uint8Array(32);

const MAGIC = utf8("USTY");
const PLAIN_FLAG = 1;
const TOKEN_ID_TAG = 1;
const REQUIRED_TAG_MIN = 128;
const NAME_SIZE_MAX = 255;

/** First byte of an answer. */
export const answerStatus = { accepted: 0, refused: 1 } as const;

/** What a peer comes for. */
export type SessionPurpose = "replicate" | "restore" | "inspect" | "failback";

const purposeCodes: Record<SessionPurpose, number> = { replicate: 1, restore: 2, inspect: 3, failback: 4 };
const purposeNames = new Map(
  Object.entries(purposeCodes).map(([name, code]) => [code, name as SessionPurpose]),
);

/** What the connecting side asks for, encrypted for the target alone. */
export interface SessionRequest {
  /** Replica's name. Not checked here: the target's `authorize` does. */
  name: string;
  /** 16 bytes, while pairing. */
  tokenId?: Uint8Array;
  wants: SessionPurpose;
}

/** The target's word on a request. */
export type Authorization =
  | {
    /** 32 bytes: the join token's secret while pairing, otherwise {@linkcode ZERO_PSK}. */
    psk: Uint8Array;
    /** Bytes for the peer, opaque here. */
    answer?: Uint8Array;
    /**
     * Called when the peer has shown that it knows the psk, before the session is handed out: bind its key here.
     * What it throws refuses the peer with its message.
     */
    confirm?: () => void | Promise<void>;
  }
  | { refuse: string };

/** Why a peer was turned away. The code is for programs, the reason for people. */
export type RefusalCode = "version" | "suite" | "key" | "request" | "unauthorized";

const refusalCodes: Record<RefusalCode, number> = {
  version: 1,
  suite: 2,
  key: 3,
  request: 4,
  unauthorized: 5,
};

/** AEAD and hash of a suite. */
export interface Suite {
  aead: "ChaChaPoly" | "AESGCM";
  hash: Extract<HashName, "SHA256" | "BLAKE2s">;
}

const suites = new Map<number, Suite>([
  [1, { aead: "ChaChaPoly", hash: "SHA256" }],
  [2, { aead: "ChaChaPoly", hash: "BLAKE2s" }],
  [3, { aead: "AESGCM", hash: "SHA256" }],
  [4, { aead: "AESGCM", hash: "BLAKE2s" }],
]);

const featureBits: Record<Exclude<CompressionName, "none">, number> = { zstd: 1, deflate: 2, brotli: 4 };
/** Everything that this version understands. */
export const OWN_FEATURES = Object.values(featureBits).reduce((all, bit) => all | bit);

/** What a preamble says. */
export interface Preamble {
  suite: Suite;
  /** Frames are not encrypted. */
  plain: boolean;
  features: number;
}

/** What message 2 carries. */
export interface HandshakeAnswer {
  features: number;
  answer: Uint8Array;
}

/** A refusal on its way to the peer, thrown where the reason is found. */
export class Refusal extends RefusedError {
  readonly code: RefusalCode;

  constructor(code: RefusalCode, reason: string) {
    super(reason);
    this.code = code;
  }
}

/** What to offer for a cipher that the user chose. */
export function preambleFor(cipher: CipherName, hash: Suite["hash"] = "SHA256"): Preamble {
  const aead = cipher === "aes-256-gcm" ? "AESGCM" : "ChaChaPoly";
  return { suite: { aead, hash }, plain: cipher === "none", features: OWN_FEATURES };
}

/** The Noise protocol of a suite. */
export function noiseProtocolName({ aead, hash }: Suite): string {
  return `Noise_IKpsk2_25519_${aead}_${hash}`;
}

/** Whether a peer that offered `features` can decompress `name`. */
export function supportsCompression(features: number, name: CompressionName): boolean {
  return name === "none" || (features & featureBits[name]) !== 0;
}

/** Encodes a preamble. */
export function encodePreamble({ suite, plain, features }: Preamble): Uint8Array<ArrayBuffer> {
  const [code] = [...suites].find(([, each]) => each.aead === suite.aead && each.hash === suite.hash)!;
  return new ByteWriter(PREAMBLE_SIZE).raw(MAGIC).u16(PROTOCOL_VERSION).u8(code).u8(plain ? PLAIN_FLAG : 0)
    .u32(features).take();
}

/**
 * Checks the part of a preamble that every version begins with, so that a peer of another version is told so whatever
 * it sends behind it.
 *
 * @throws {ProtocolError} If it is not this protocol at all: then there is no answer.
 * @throws {Refusal} If the version is another.
 */
export function checkVersion(start: Uint8Array): void {
  const reader = new ByteReader(start);
  if (!equalBytes(reader.raw(MAGIC.length), MAGIC)) {
    throw new ProtocolError("Cannot accept connection: the peer does not speak this protocol");
  }
  const version = reader.u16();
  if (version !== PROTOCOL_VERSION) {
    throw new Refusal(
      "version",
      `the target speaks version ${PROTOCOL_VERSION} of the protocol, the source version ${version}`,
    );
  }
}

/**
 * Decodes a whole preamble.
 *
 * @throws {ProtocolError} If it is not this protocol.
 * @throws {Refusal} If the version, the suite or a flag is unknown.
 */
export function decodePreamble(preamble: Uint8Array): Preamble {
  checkVersion(preamble);
  const reader = new ByteReader(preamble, PREAMBLE_FIXED_SIZE);
  const code = reader.u8();
  const flags = reader.u8();
  const suite = suites.get(code);
  if (suite === undefined) throw new Refusal("suite", `cipher suite ${code} is unknown to the target`);
  if ((flags & ~PLAIN_FLAG) !== 0) {
    throw new Refusal("suite", `preamble flags ${flags} are unknown to the target`);
  }
  return { suite, plain: (flags & PLAIN_FLAG) !== 0, features: reader.u32() };
}

/** Encodes the payload of message 1. */
export function encodeRequest({ name, tokenId, wants }: SessionRequest): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter().u8(purposeCodes[wants]).string16(name);
  if (tokenId !== undefined) writer.u8(TOKEN_ID_TAG).bytes16(tokenId);
  return writer.take();
}

/** Decodes the payload of message 1. @throws {ProtocolError} If it is malformed or needs what is unknown here. */
export function decodeRequest(payload: Uint8Array): SessionRequest {
  const reader = new ByteReader(payload);
  const wants = purposeNames.get(reader.u8());
  if (wants === undefined) throw new ProtocolError("Cannot read request: its purpose is unknown");
  const name = reader.string16();
  if (name.length > NAME_SIZE_MAX) {
    throw new ProtocolError("Cannot read request: the replica's name is too long");
  }
  const tokenId = readFields(reader).get(TOKEN_ID_TAG);
  if (tokenId === undefined) return { name, wants };
  if (tokenId.length !== TOKEN_ID_SIZE) {
    throw new ProtocolError("Cannot read request: the token's id is malformed");
  }
  return { name, wants, tokenId };
}

/** Encodes the payload of message 2. */
export function encodeAnswer({ features, answer }: HandshakeAnswer): Uint8Array<ArrayBuffer> {
  return new ByteWriter().u32(features).bytes16(answer).take();
}

/** Decodes the payload of message 2. @throws {ProtocolError} If it is malformed. */
export function decodeAnswer(payload: Uint8Array): HandshakeAnswer {
  const reader = new ByteReader(payload);
  const features = reader.u32();
  const answer = reader.bytes16();
  readFields(reader);
  return { features, answer };
}

/** A whole refusal as it goes over the line. */
export function encodeRefusal(code: RefusalCode, reason: string): Uint8Array<ArrayBuffer> {
  return new ByteWriter().u8(answerStatus.refused).u8(refusalCodes[code]).bytes16(cutReason(reason)).take();
}

/** What a refusal's code means; one that is unknown here counts as `unauthorized`. */
export function refusalCodeOf(byte: number): RefusalCode {
  const found = Object.entries(refusalCodes).find(([, code]) => code === byte);
  return (found?.[0] ?? "unauthorized") as RefusalCode;
}

function readFields(reader: ByteReader): Map<number, Uint8Array> {
  const fields = new Map<number, Uint8Array>();
  while (reader.left > 0) {
    const tag = reader.u8();
    const bytes = reader.bytes16();
    if (tag >= REQUIRED_TAG_MIN) {
      throw new ProtocolError(`Cannot read handshake: required field ${tag} is unknown`);
    }
    fields.set(tag, bytes);
  }
  return fields;
}
