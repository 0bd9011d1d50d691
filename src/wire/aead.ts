/**
 * The two AEAD ciphers of the wire, by Noise's words (rev 34 §12): `ENCRYPT(k, n, ad, plaintext)` and its reverse.
 *
 * ```
 * nonce, 12 bytes:  ChaChaPoly  0 0 0 0 ‖ n as u64 little endian     (RFC 7539 §2.8)
 *                   AESGCM      0 0 0 0 ‖ n as u64 big endian        (NIST SP 800-38D)
 * sealed:           ciphertext ‖ tag, 16 bytes
 * ```
 *
 * {@linkcode seal} and {@linkcode open} here are the runtime's, for the few texts of a handshake. Frames are sealed by
 * libcrypto where it can be had ({@linkcode aeadProvider}, cipher.ts).
 * @module
 */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { ProtocolError } from "../base/errors.ts";
import { hasLibcrypto, type LibcryptoCipher } from "../sys/libcrypto.ts";

/** A cipher by its name in a Noise protocol name. */
export type AeadName = "ChaChaPoly" | "AESGCM";

/** Bytes of a key. */
export const KEY_SIZE = 32;
/** Bytes that sealing adds. */
export const TAG_SIZE = 16;

const NONCE_SIZE = 12;

/** What is sealed or opened, besides the text itself. */
export interface AeadParameters {
  aead: AeadName;
  /** 32 bytes. */
  key: Uint8Array;
  nonce: Uint8Array;
  /** Authenticated, not encrypted. */
  associated: Uint8Array;
}

// Node types the ciphers one by one; both have the same shape, and Deno's stream base adds nothing that is used here.
interface NodeAead {
  setAAD(bytes: Uint8Array, options: { plaintextLength: number }): void;
  setAuthTag(tag: Uint8Array): void;
  getAuthTag(): Uint8Array;
  update(bytes: Uint8Array): Uint8Array<ArrayBuffer>;
  final(): Uint8Array;
}
type CreateAead = (
  name: string,
  key: Uint8Array,
  nonce: Uint8Array,
  options: { authTagLength: number },
) => NodeAead;
const createSealer = createCipheriv as unknown as CreateAead;
const createOpener = createDecipheriv as unknown as CreateAead;

/** The ciphers by the name that OpenSSL and the runtime use. */
export const opensslNames: Record<AeadName, LibcryptoCipher> = {
  ChaChaPoly: "chacha20-poly1305",
  AESGCM: "aes-256-gcm",
};
/** Noise: the cipher with the nonce 2^64-1 makes the next key. */
const REKEY_NONCE = 0xffff_ffff_ffff_ffffn;

/** Who seals frames: OpenSSL's library of this system, or the runtime. The bytes are the same. */
export type AeadProvider = "libcrypto" | "node";

/** Set to `node`, the runtime seals even where libcrypto can be had. */
const PROVIDER_VARIABLE = "UNDERSTUDY_AEAD";

let provider: AeadProvider | undefined;

/** Who seals frames in this process, unless a cipher is told otherwise. */
export function aeadProvider(): AeadProvider {
  provider ??= !isNodeForced() && hasLibcrypto() ? "libcrypto" : "node";
  return provider;
}

function isNodeForced(): boolean {
  try {
    return Deno.env.get(PROVIDER_VARIABLE) === "node";
  } catch {
    return false; // The environment may not be read: nothing was forced.
  }
}

/** The nonce bytes of counter `n`. */
export function nonceOf(aead: AeadName, n: number | bigint): Uint8Array<ArrayBuffer> {
  const nonce = new Uint8Array(NONCE_SIZE);
  new DataView(nonce.buffer).setBigUint64(4, BigInt(n), aead === "ChaChaPoly");
  return nonce;
}

/** Encrypts; gives ciphertext and tag apart, so that the caller decides where they go. */
export function seal(
  plaintext: Uint8Array,
  { aead, key, nonce, associated }: AeadParameters,
): { ciphertext: Uint8Array<ArrayBuffer>; tag: Uint8Array } {
  const cipher = createSealer(opensslNames[aead], key, nonce, { authTagLength: TAG_SIZE });
  cipher.setAAD(associated, { plaintextLength: plaintext.length });
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  return { ciphertext, tag: cipher.getAuthTag() };
}

/**
 * Decrypts ciphertext with its tag behind it into a new buffer. Nothing is given before the tag has been checked.
 *
 * @throws {ProtocolError} If the tag does not fit.
 */
export function open(
  sealed: Uint8Array,
  { aead, key, nonce, associated }: AeadParameters,
): Uint8Array<ArrayBuffer> {
  const size = sealed.length - TAG_SIZE;
  if (size < 0) throw new ProtocolError(`Cannot decrypt: ${sealed.length} bytes are less than a tag`);
  const decipher = createOpener(opensslNames[aead], key, nonce, { authTagLength: TAG_SIZE });
  decipher.setAAD(associated, { plaintextLength: size });
  decipher.setAuthTag(sealed.subarray(size));
  try {
    const plaintext = decipher.update(sealed.subarray(0, size));
    decipher.final();
    // Node's Buffer slices without copying; hand up a plain array that behaves like one.
    return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length);
  } catch (cause) {
    throw new ProtocolError("Cannot decrypt: the authentication tag does not fit", { cause });
  }
}

/** Noise §4.2 `REKEY(k)`: the first 32 bytes of encrypting 32 zeros under the highest nonce. */
export function rekeyed(aead: AeadName, key: Uint8Array): Uint8Array<ArrayBuffer> {
  const parameters = { aead, key, nonce: nonceOf(aead, REKEY_NONCE), associated: new Uint8Array() };
  return new Uint8Array(seal(new Uint8Array(KEY_SIZE), parameters).ciphertext);
}
