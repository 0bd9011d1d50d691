/**
 * X25519 key pairs, and public keys as text.
 *
 * ```
 * public key as text   "usk1-" ‖ base64url( public key 32 ‖ first 4 bytes of its SHA-256 )
 * fingerprint          first 10 bytes of SHA-256(public key) as hex in five groups: 0123-4567-89ab-cdef-0123
 * ```
 *
 * A private key never leaves its {@linkcode KeyPair} but for the key file, and is never printed.
 * @module
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { Buffer } from "node:buffer";
import { concatBytes, equalBytes, hex } from "../base/bytes.ts";
import { ProtocolError, UsageError } from "../base/errors.ts";

/** Bytes of a private or public key and of a shared secret. */
export const DH_SIZE = 32;

const PUBLIC_KEY_PREFIX = "usk1-";
const CHECKSUM_SIZE = 4;
const FINGERPRINT_SIZE = 10;

/** RFC 8410: what stands before the 32 bytes of an X25519 key in PKCS #8 and in SubjectPublicKeyInfo. */
const PRIVATE_KEY_HEAD = Uint8Array.fromHex("302e020100300506032b656e04220420");
const PUBLIC_KEY_HEAD = Uint8Array.fromHex("302a300506032b656e032100");

/** An X25519 key pair. */
export class KeyPair {
  readonly publicKey: Uint8Array<ArrayBuffer>;
  readonly #key: KeyObject;

  /** Takes 32 private bytes; does not keep the buffer, which the caller may zero. */
  constructor(privateKey: Uint8Array) {
    if (privateKey.length !== DH_SIZE) {
      throw new RangeError(`Cannot use private key: ${privateKey.length} bytes, not ${DH_SIZE}`);
    }
    const der = Buffer.from(concatBytes(PRIVATE_KEY_HEAD, privateKey));
    this.#key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    der.fill(0);
    this.publicKey = publicKeyOf(this.#key);
  }

  /** Makes a new random pair. */
  static generate(): KeyPair {
    const privateKey = randomBytes(DH_SIZE);
    try {
      return new KeyPair(privateKey);
    } finally {
      privateKey.fill(0);
    }
  }

  /**
   * Noise `DH(key pair, public key)`.
   *
   * @throws {ProtocolError} If the result is all zero: the peer sent a point of low order.
   */
  agree(peerPublicKey: Uint8Array): Uint8Array<ArrayBuffer> {
    if (peerPublicKey.length !== DH_SIZE) throw new ProtocolError("Cannot agree on a key: not 32 bytes");
    let shared: Uint8Array;
    try {
      shared = diffieHellman({ privateKey: this.#key, publicKey: importPublicKey(peerPublicKey) });
    } catch (cause) {
      throw new ProtocolError("Cannot agree on a key: the peer's public key is not usable", { cause });
    }
    if (shared.every((byte) => byte === 0)) {
      throw new ProtocolError("Cannot agree on a key: the peer's public key is of low order");
    }
    return new Uint8Array(shared);
  }

  /** A copy of the 32 private bytes, for the key file. The caller zeroes it. */
  exportPrivateKey(): Uint8Array<ArrayBuffer> {
    const der = this.#key.export({ format: "der", type: "pkcs8" }) as Uint8Array;
    const privateKey = new Uint8Array(der.subarray(der.length - DH_SIZE));
    der.fill(0);
    return privateKey;
  }

  /** The public half only. */
  toString(): string {
    return formatPublicKey(this.publicKey);
  }
}

/** A public key as text, `usk1-…`. */
export function formatPublicKey(publicKey: Uint8Array): string {
  const bytes = concatBytes(publicKey, checksumOf(publicKey));
  return PUBLIC_KEY_PREFIX + bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/**
 * Reads what {@linkcode formatPublicKey} wrote.
 *
 * @throws {UsageError} If the text is not a public key or mistyped.
 */
export function parsePublicKey(text: string): Uint8Array<ArrayBuffer> {
  if (!text.startsWith(PUBLIC_KEY_PREFIX)) {
    throw new UsageError(`Cannot read public key: it does not start with "${PUBLIC_KEY_PREFIX}"`);
  }
  const bytes = decodeBase64Url(text.slice(PUBLIC_KEY_PREFIX.length));
  const publicKey = bytes?.slice(0, DH_SIZE);
  if (
    bytes === undefined || publicKey === undefined || bytes.length !== DH_SIZE + CHECKSUM_SIZE ||
    !equalBytes(bytes.subarray(DH_SIZE), checksumOf(publicKey))
  ) {
    throw new UsageError("Cannot read public key: its checksum does not fit, it is mistyped or cut off");
  }
  return publicKey;
}

/** A short form of a public key that two people can compare aloud; 80 bits. */
export function fingerprint(publicKey: Uint8Array): string {
  const digest = createHash("sha256").update(publicKey).digest().subarray(0, FINGERPRINT_SIZE);
  return hex(new Uint8Array(digest)).match(/.{4}/g)!.join("-");
}

/** Decodes base64url without padding; `undefined` if it is none. */
export function decodeBase64Url(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const bytes = Uint8Array.fromBase64(text, { alphabet: "base64url" });
    // One spelling only: stray bits in the last letter and padding are refused.
    return bytes.toBase64({ alphabet: "base64url", omitPadding: true }) === text ? bytes : undefined;
  } catch {
    return undefined;
  }
}

function checksumOf(publicKey: Uint8Array): Uint8Array {
  return createHash("sha256").update(publicKey).digest().subarray(0, CHECKSUM_SIZE);
}

function publicKeyOf(key: KeyObject): Uint8Array<ArrayBuffer> {
  const der = createPublicKey(key as unknown as Parameters<typeof createPublicKey>[0])
    .export({ format: "der", type: "spki" }) as Uint8Array;
  return new Uint8Array(der.subarray(der.length - DH_SIZE));
}

function importPublicKey(publicKey: Uint8Array): KeyObject {
  const der = Buffer.from(concatBytes(PUBLIC_KEY_HEAD, publicKey));
  return createPublicKey({ key: der, format: "der", type: "spki" });
}
