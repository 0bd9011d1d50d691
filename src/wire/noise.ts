/**
 * The Noise protocol framework, revision 34, in the specification's words. What is here: all twelve interactive
 * patterns with psk modifiers; 25519; ChaChaPoly and AESGCM; SHA256, SHA512, BLAKE2s and BLAKE2b.
 *
 * Invariants: a state that failed once is broken for good; nothing of a message is given before it is authenticated;
 * the nonce of a key never repeats.
 * @module
 */
import { createHash, createHmac } from "node:crypto";
import { concatBytes, utf8 } from "../base/bytes.ts";
import { assert, ProtocolError } from "../base/errors.ts";
import { type AeadName, KEY_SIZE, nonceOf, open, rekeyed, seal, TAG_SIZE } from "./aead.ts";
import { DH_SIZE, KeyPair } from "./keys.ts";

/** Bytes of the longest Noise message (§3). */
export const NOISE_MESSAGE_SIZE_MAX = 65_535;

/** A hash by its name in a protocol name. */
export type HashName = "SHA256" | "SHA512" | "BLAKE2s" | "BLAKE2b";

type Token = "e" | "s" | "ee" | "es" | "se" | "ss" | "psk";

interface Pattern {
  /** Public keys that each side knows beforehand: the initiator's, the responder's. */
  preMessages: [("s")[], ("s")[]];
  messages: Token[][];
}

/** §7.5, the interactive patterns. */
const patterns: Record<string, Pattern> = {
  NN: { preMessages: [[], []], messages: [["e"], ["e", "ee"]] },
  NK: { preMessages: [[], ["s"]], messages: [["e", "es"], ["e", "ee"]] },
  NX: { preMessages: [[], []], messages: [["e"], ["e", "ee", "s", "es"]] },
  KN: { preMessages: [["s"], []], messages: [["e"], ["e", "ee", "se"]] },
  KK: { preMessages: [["s"], ["s"]], messages: [["e", "es", "ss"], ["e", "ee", "se"]] },
  KX: { preMessages: [["s"], []], messages: [["e"], ["e", "ee", "se", "s", "es"]] },
  XN: { preMessages: [[], []], messages: [["e"], ["e", "ee"], ["s", "se"]] },
  XK: { preMessages: [[], ["s"]], messages: [["e", "es"], ["e", "ee"], ["s", "se"]] },
  XX: { preMessages: [[], []], messages: [["e"], ["e", "ee", "s", "es"], ["s", "se"]] },
  IN: { preMessages: [[], []], messages: [["e", "s"], ["e", "ee", "se"]] },
  IK: { preMessages: [[], ["s"]], messages: [["e", "es", "s", "ss"], ["e", "ee", "se"]] },
  IX: { preMessages: [[], []], messages: [["e", "s"], ["e", "ee", "se", "s", "es"]] },
};

const nodeHashNames: Record<HashName, string> = {
  SHA256: "sha256",
  SHA512: "sha512",
  BLAKE2s: "blake2s256",
  BLAKE2b: "blake2b512",
};

const NOTHING = new Uint8Array();

/** §5.1: a key and its nonce. Without a key it passes texts through. */
export class CipherState {
  readonly #aead: AeadName;
  #k: Uint8Array | undefined;
  #n = 0;

  constructor(aead: AeadName, key?: Uint8Array) {
    this.#aead = aead;
    this.#k = key;
  }

  /** The cipher of this state. */
  get aead(): AeadName {
    return this.#aead;
  }

  /** The nonce of the next message. */
  get nonce(): number {
    return this.#n;
  }

  hasKey(): boolean {
    return this.#k !== undefined;
  }

  encryptWithAd(associated: Uint8Array, plaintext: Uint8Array): Uint8Array<ArrayBuffer> {
    if (this.#k === undefined) return new Uint8Array(plaintext);
    const { ciphertext, tag } = seal(plaintext, this.#parameters(this.#k, associated));
    this.#n++;
    return concatBytes(ciphertext, tag);
  }

  /** @throws {ProtocolError} If the text is not authentic; the nonce stays as it was. */
  decryptWithAd(associated: Uint8Array, sealed: Uint8Array): Uint8Array<ArrayBuffer> {
    if (this.#k === undefined) return new Uint8Array(sealed);
    const plaintext = open(sealed, this.#parameters(this.#k, associated));
    this.#n++;
    return plaintext;
  }

  /** §11.3: replaces the key by a one-way function of it. The nonce goes on. */
  rekey(): void {
    assert(this.#k !== undefined, "only a state with a key is rekeyed");
    this.#k = rekeyed(this.#aead, this.#k);
  }

  /** A copy of the key, for the transport layer that goes on with it. */
  exportKey(): Uint8Array<ArrayBuffer> {
    assert(this.#k !== undefined, "only a state with a key exports it");
    return new Uint8Array(this.#k);
  }

  #parameters(key: Uint8Array, associated: Uint8Array) {
    assert(this.#n < Number.MAX_SAFE_INTEGER, "a nonce is used once");
    return { aead: this.#aead, key, nonce: nonceOf(this.#aead, this.#n), associated };
  }
}

/** §5.2: chaining key, hash of all that was said, and the current cipher. */
class SymmetricState {
  readonly #aead: AeadName;
  readonly #hash: HashName;
  #cipher: CipherState;
  #ck: Uint8Array;
  #h: Uint8Array<ArrayBuffer>;

  constructor(protocolName: string, { aead, hash }: { aead: AeadName; hash: HashName }) {
    this.#aead = aead;
    this.#hash = hash;
    const name = utf8(protocolName);
    const size = hashOf(hash).length;
    this.#h = name.length <= size
      ? concatBytes(name, new Uint8Array(size - name.length))
      : hashOf(hash, name);
    this.#ck = this.#h;
    this.#cipher = new CipherState(aead);
  }

  get handshakeHash(): Uint8Array<ArrayBuffer> {
    return this.#h;
  }

  hasKey(): boolean {
    return this.#cipher.hasKey();
  }

  mixHash(bytes: Uint8Array): void {
    this.#h = hashOf(this.#hash, this.#h, bytes);
  }

  mixKey(inputKeyMaterial: Uint8Array): void {
    const [ck, key] = hkdf(this.#hash, this.#ck, inputKeyMaterial);
    this.#ck = ck;
    this.#cipher = new CipherState(this.#aead, key.slice(0, KEY_SIZE));
  }

  mixKeyAndHash(inputKeyMaterial: Uint8Array): void {
    const [ck, mixed, key] = hkdf(this.#hash, this.#ck, inputKeyMaterial);
    this.#ck = ck;
    this.mixHash(mixed);
    this.#cipher = new CipherState(this.#aead, key.slice(0, KEY_SIZE));
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const sealed = this.#cipher.encryptWithAd(this.#h, plaintext);
    this.mixHash(sealed);
    return sealed;
  }

  decryptAndHash(sealed: Uint8Array): Uint8Array<ArrayBuffer> {
    const plaintext = this.#cipher.decryptWithAd(this.#h, sealed);
    this.mixHash(sealed);
    return plaintext;
  }

  split(): [CipherState, CipherState] {
    const [first, second] = hkdf(this.#hash, this.#ck, NOTHING);
    return [
      new CipherState(this.#aead, first.slice(0, KEY_SIZE)),
      new CipherState(this.#aead, second.slice(0, KEY_SIZE)),
    ];
  }
}

/** What a handshake starts from. */
export interface HandshakeOptions {
  /** For example `Noise_IKpsk2_25519_ChaChaPoly_SHA256`. */
  protocolName: string;
  initiator: boolean;
  /** Bytes that both sides must agree on. */
  prologue: Uint8Array;
  /** Our static key pair, where the pattern has one. */
  staticKeyPair?: KeyPair;
  /** The peer's static public key, where the pattern knows it beforehand. */
  remoteStatic?: Uint8Array;
  /** Pre-shared keys in order of their tokens, 32 bytes each; see also {@linkcode HandshakeState.addPsk}. */
  psks?: Uint8Array[];
  /** Our ephemeral key pair, for test vectors only. @default a random one */
  ephemeralKeyPair?: KeyPair;
}

/** The two directions of a finished handshake. */
export interface TransportKeys {
  send: CipherState;
  receive: CipherState;
}

/** §5.3: one party of a handshake. */
export class HandshakeState {
  readonly #symmetric: SymmetricState;
  readonly #initiator: boolean;
  readonly #messages: Token[][];
  readonly #usesPsk: boolean;
  readonly #psks: Uint8Array[];
  readonly #s: KeyPair | undefined;
  #e: KeyPair | undefined;
  #rs: Uint8Array | undefined;
  #re: Uint8Array | undefined;
  #messageIndex = 0;
  #broken = false;

  /** @throws {RangeError} If the protocol name is unknown or a key that it needs is missing. */
  constructor(options: HandshakeOptions) {
    const { pattern, aead, hash } = parseProtocolName(options.protocolName);
    this.#symmetric = new SymmetricState(options.protocolName, { aead, hash });
    this.#initiator = options.initiator;
    this.#messages = pattern.messages;
    this.#usesPsk = pattern.messages.some((tokens) => tokens.includes("psk"));
    this.#psks = [...options.psks ?? []];
    this.#s = options.staticKeyPair;
    this.#e = options.ephemeralKeyPair;
    this.#rs = options.remoteStatic;
    this.#symmetric.mixHash(options.prologue);
    this.#mixPreMessages(pattern);
  }

  /** Whether all messages were written and read: {@linkcode split} may be called. */
  get finished(): boolean {
    return this.#messageIndex === this.#messages.length;
  }

  /** The peer's static public key, once it is known. */
  get remoteStatic(): Uint8Array | undefined {
    return this.#rs;
  }

  /** §11.2: names this very handshake; the same on both sides. */
  get handshakeHash(): Uint8Array<ArrayBuffer> {
    return this.#symmetric.handshakeHash;
  }

  /** Adds the next pre-shared key, which may become known only while the handshake runs. */
  addPsk(psk: Uint8Array): void {
    this.#psks.push(psk);
  }

  /** Writes the next message with `payload` in it. */
  writeMessage(payload: Uint8Array): Uint8Array<ArrayBuffer> {
    const tokens = this.#nextTokens(true);
    const parts: Uint8Array[] = [];
    for (const token of tokens) {
      if (token === "e") parts.push(this.#writeEphemeral());
      else if (token === "s") parts.push(this.#symmetric.encryptAndHash(this.#keyPair(this.#s).publicKey));
      else this.#mixToken(token);
    }
    parts.push(this.#symmetric.encryptAndHash(payload));
    const message = concatBytes(...parts);
    assert(message.length <= NOISE_MESSAGE_SIZE_MAX, "a handshake payload fits one Noise message");
    this.#broken = false;
    return message;
  }

  /**
   * Reads the next message and gives its payload. After a throw the handshake cannot go on.
   *
   * @throws {ProtocolError} If it is truncated or not authentic, or a key in it is not usable.
   */
  readMessage(message: Uint8Array): Uint8Array<ArrayBuffer> {
    const tokens = this.#nextTokens(false);
    if (message.length > NOISE_MESSAGE_SIZE_MAX) {
      throw new ProtocolError(`Cannot read handshake message: ${message.length} bytes are too many`);
    }
    let at = 0;
    const take = (size: number): Uint8Array => {
      if (size > message.length - at) {
        throw new ProtocolError("Cannot read handshake message: it is truncated");
      }
      return message.subarray(at, at += size);
    };
    for (const token of tokens) {
      if (token === "e") this.#readEphemeral(take(DH_SIZE));
      else if (token === "s") {
        this.#rs = this.#symmetric.decryptAndHash(take(DH_SIZE + (this.#symmetric.hasKey() ? TAG_SIZE : 0)));
      } else this.#mixToken(token);
    }
    const payload = this.#symmetric.decryptAndHash(message.subarray(at));
    this.#broken = false;
    return payload;
  }

  /** The ciphers of the two directions, after the last message. */
  split(): TransportKeys {
    assert(this.finished && !this.#broken, "only a finished handshake is split");
    const [first, second] = this.#symmetric.split();
    return this.#initiator ? { send: first, receive: second } : { send: second, receive: first };
  }

  /** Tokens of the next message. The state counts as broken until the message is through. */
  #nextTokens(writing: boolean): Token[] {
    assert(!this.#broken, "a broken handshake does not go on");
    assert(!this.finished, "a finished handshake has no further message");
    assert(writing === ((this.#messageIndex % 2 === 0) === this.#initiator), "the sides take turns");
    this.#broken = true;
    return this.#messages[this.#messageIndex++];
  }

  #mixPreMessages({ preMessages: [initiator, responder] }: Pattern): void {
    const own = () => this.#keyPair(this.#s).publicKey;
    const theirs = () => this.#publicKey(this.#rs);
    for (const _ of initiator) this.#symmetric.mixHash(this.#initiator ? own() : theirs());
    for (const _ of responder) this.#symmetric.mixHash(this.#initiator ? theirs() : own());
  }

  #writeEphemeral(): Uint8Array {
    this.#e ??= KeyPair.generate();
    this.#mixEphemeral(this.#e.publicKey);
    return this.#e.publicKey;
  }

  #readEphemeral(publicKey: Uint8Array): void {
    this.#re = new Uint8Array(publicKey);
    this.#mixEphemeral(this.#re);
  }

  /** §9.2: in a handshake with psk the ephemeral keys are mixed into the key as well. */
  #mixEphemeral(publicKey: Uint8Array): void {
    this.#symmetric.mixHash(publicKey);
    if (this.#usesPsk) this.#symmetric.mixKey(publicKey);
  }

  #mixToken(token: Exclude<Token, "e" | "s">): void {
    if (token === "psk") {
      const psk = this.#psks.shift();
      assert(psk !== undefined && psk.length === KEY_SIZE, "a psk of 32 bytes is there when its turn comes");
      return this.#symmetric.mixKeyAndHash(psk);
    }
    // The first letter is the initiator's key, the second the responder's.
    const [ownLetter, remoteLetter] = this.#initiator ? [token[0], token[1]] : [token[1], token[0]];
    const own = this.#keyPair(ownLetter === "e" ? this.#e : this.#s);
    const remote = this.#publicKey(remoteLetter === "e" ? this.#re : this.#rs);
    this.#symmetric.mixKey(own.agree(remote));
  }

  #keyPair(keyPair: KeyPair | undefined): KeyPair {
    if (keyPair === undefined) throw new RangeError("Cannot go on with handshake: a key pair is missing");
    return keyPair;
  }

  #publicKey(publicKey: Uint8Array | undefined): Uint8Array {
    if (publicKey === undefined) throw new RangeError("Cannot go on with handshake: a public key is missing");
    return publicKey;
  }
}

/** §8: `Noise_` pattern and modifiers `_25519_` cipher `_` hash. */
function parseProtocolName(name: string): { pattern: Pattern; aead: AeadName; hash: HashName } {
  const match =
    /^Noise_([A-Z]{2})((?:psk\d(?:\+psk\d)*)?)_25519_(ChaChaPoly|AESGCM)_(SHA256|SHA512|BLAKE2s|BLAKE2b)$/
      .exec(name);
  const base = match && patterns[match[1]];
  if (!match || !base) throw new RangeError(`Cannot use Noise protocol "${name}": it is unknown`);
  const pattern = withPsks(base, match[2] === "" ? [] : match[2].split("+"));
  return { pattern, aead: match[3] as AeadName, hash: match[4] as HashName };
}

/** §9.3: `psk0` stands before the first message's tokens, `pskN` behind those of message N. */
function withPsks(base: Pattern, modifiers: string[]): Pattern {
  const messages = base.messages.map((tokens) => [...tokens]);
  for (const modifier of modifiers) {
    const place = Number(modifier.slice("psk".length));
    if (place > messages.length) {
      throw new RangeError(`Cannot use Noise modifier "${modifier}": no such message`);
    }
    if (place === 0) messages[0].unshift("psk");
    else messages[place - 1].push("psk");
  }
  return { preMessages: base.preMessages, messages };
}

function hashOf(hash: HashName, ...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const state = createHash(nodeHashNames[hash]);
  for (const part of parts) state.update(part);
  return new Uint8Array(state.digest());
}

/** §4.3: three outputs; who needs two leaves the third. */
function hkdf(hash: HashName, chainingKey: Uint8Array, inputKeyMaterial: Uint8Array): Uint8Array[] {
  const temporary = hmacOf(hash, chainingKey, inputKeyMaterial);
  const first = hmacOf(hash, temporary, Uint8Array.of(1));
  const second = hmacOf(hash, temporary, first, Uint8Array.of(2));
  return [first, second, hmacOf(hash, temporary, second, Uint8Array.of(3))];
}

/** §4.3 `HMAC-HASH` (RFC 2104). */
function hmacOf(hash: HashName, key: Uint8Array, ...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const state = createHmac(nodeHashNames[hash], key);
  for (const part of parts) state.update(part);
  return new Uint8Array(state.digest());
}
