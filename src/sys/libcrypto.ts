/**
 * The one door to OpenSSL's libcrypto, for the two AEAD ciphers of the wire: several times as fast as the runtime's
 * own. It opens on first use, and only if it passes a self-test against the runtime; where it cannot be had, nothing
 * is lost but speed.
 *
 * One `EVP_CIPHER_CTX` serves one direction of a session: it is given its key once, and a nonce for each text.
 *
 * ```
 * seal   nonce ▸ associated ▸ text ▸ final ▸ get tag        into = ciphertext ‖ tag
 * open   nonce ▸ set tag ▸ associated ▸ ciphertext ▸ final  1 only if the tag fits
 * ```
 *
 * Buffers are passed as such, which keeps them alive for the call; the only address kept is that of a scratch buffer
 * of this module. A context is a plain address: {@linkcode LibcryptoAead.close} clears its keys and frees it, once.
 * @module
 */
import { createCipheriv } from "node:crypto";
import { assert } from "../base/errors.ts";
import { addressOf } from "./libc.ts";

/** A cipher by OpenSSL's name, in lower case. */
export type LibcryptoCipher = "chacha20-poly1305" | "aes-256-gcm";

/** Newest first. Both have all that is used here. */
const libraryNames = ["libcrypto.so.3", "libcrypto.so.1.1"];

const TAG_SIZE = 16;
const NONCE_SIZE = 12;
/** Controls of `EVP_CIPHER_CTX_ctrl` (openssl/evp.h). */
const CTRL_SET_IVLEN = 0x9;
const CTRL_GET_TAG = 0x10;
const CTRL_SET_TAG = 0x11;
/** `enc` of `EVP_CipherInit_ex`: as it was. */
const SAME_DIRECTION = -1;

const context = "usize", address = "usize", number = "i32", result = "i32" as const;

const calls = {
  EVP_CIPHER_CTX_new: { parameters: [], result: "usize" },
  /** Clears what the context holds, its key too, and frees it. */
  EVP_CIPHER_CTX_free: { parameters: [context], result: "void" },
  EVP_chacha20_poly1305: { parameters: [], result: "usize" },
  EVP_aes_256_gcm: { parameters: [], result: "usize" },
  /** Context, cipher, engine, key, nonce, whether to encrypt. */
  chooseCipher: {
    name: "EVP_CipherInit_ex",
    parameters: [context, address, address, address, address, number],
    result,
  },
  setKey: {
    name: "EVP_CipherInit_ex",
    parameters: [context, address, address, "buffer", address, number],
    result,
  },
  setNonce: {
    name: "EVP_CipherInit_ex",
    parameters: [context, address, address, address, "buffer", number],
    result,
  },
  /** Context, output, place for its size, input, its size. */
  associate: {
    name: "EVP_CipherUpdate",
    parameters: [context, address, address, "buffer", number],
    result,
  },
  update: { name: "EVP_CipherUpdate", parameters: [context, "buffer", address, "buffer", number], result },
  /** These ciphers put nothing out here. */
  final: { name: "EVP_CipherFinal_ex", parameters: [context, address, address], result },
  control: { name: "EVP_CIPHER_CTX_ctrl", parameters: [context, number, number, "buffer"], result },
  setNumber: { name: "EVP_CIPHER_CTX_ctrl", parameters: [context, number, number, address], result },
} as const;

/** The calls as they are used: addresses are Numbers, as in libc.ts. */
type Library = {
  readonly [Name in keyof typeof calls]: (...args: Arguments<(typeof calls)[Name]["parameters"]>) => number;
};
type Arguments<Parameters extends readonly string[]> = {
  -readonly [Index in keyof Parameters]: Parameters[Index] extends "buffer" ? Uint8Array<ArrayBuffer>
    : number;
};

/** `undefined` before the first look, `null` if it cannot be had. */
let library: Library | null | undefined;
/** Takes sizes and final blocks that nobody needs. Lies outside of the JavaScript heap, since it is large enough. */
const scratch = new Uint8Array(256);
let scratchAddress = 0;

/** Whether this system's libcrypto can be opened and does what the runtime's ciphers do. */
export function hasLibcrypto(): boolean {
  library ??= openLibrary();
  return library !== null;
}

/** One cipher with one key, in one direction. Use it from one thread, and close it. */
export class LibcryptoAead {
  readonly #library: Library;
  #context: number;

  /** @param key 32 bytes, copied. Call only if {@linkcode hasLibcrypto}. */
  constructor(cipher: LibcryptoCipher, { key, seals }: { key: Uint8Array<ArrayBuffer>; seals: boolean }) {
    assert(hasLibcrypto(), "libcrypto is there");
    this.#library = library!;
    this.#context = Number(this.#library.EVP_CIPHER_CTX_new());
    assert(this.#context !== 0, "libcrypto has memory for a context");
    try {
      this.#choose(cipher, seals);
      this.setKey(key);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Goes on with another key of 32 bytes, which is copied. */
  setKey(key: Uint8Array<ArrayBuffer>): void {
    must(this.#library.setKey(this.#open(), 0, 0, key, 0, SAME_DIRECTION));
  }

  /** Encrypts `text` into `into`, which is as long as text and tag. The two are apart or begin together. */
  seal(
    text: Uint8Array,
    { nonce, associated, into }: {
      nonce: Uint8Array<ArrayBuffer>;
      associated: Uint8Array;
      into: Uint8Array<ArrayBuffer>;
    },
  ): void {
    assert(into.length === text.length + TAG_SIZE, "text and tag fit");
    this.#begin(nonce, associated);
    this.#update(text, into);
    must(this.#library.final(this.#context, scratchAddress, scratchAddress));
    must(this.#library.control(this.#context, CTRL_GET_TAG, TAG_SIZE, into.subarray(text.length)));
  }

  /**
   * Decrypts ciphertext with its tag behind it into `into`, which is as long as the text; the two are apart or begin
   * together. If it gives `false`, the tag did not fit, and `into` holds nothing that may be used.
   */
  open(
    sealed: Uint8Array<ArrayBuffer>,
    { nonce, associated, into }: {
      nonce: Uint8Array<ArrayBuffer>;
      associated: Uint8Array;
      into: Uint8Array<ArrayBuffer>;
    },
  ): boolean {
    const size = sealed.length - TAG_SIZE;
    assert(size >= 0 && into.length === size, "the text fits");
    this.#begin(nonce, associated);
    must(this.#library.control(this.#context, CTRL_SET_TAG, TAG_SIZE, sealed.subarray(size)));
    this.#update(sealed.subarray(0, size), into);
    return this.#library.final(this.#context, scratchAddress, scratchAddress) === 1;
  }

  /** Clears the key and frees the context. A second call does nothing. */
  close(): void {
    if (this.#context === 0) return;
    this.#library.EVP_CIPHER_CTX_free(this.#context);
    this.#context = 0;
  }

  #choose(cipher: LibcryptoCipher, seals: boolean): void {
    const { EVP_chacha20_poly1305, EVP_aes_256_gcm, chooseCipher, setNumber } = this.#library;
    const chosen = cipher === "chacha20-poly1305" ? EVP_chacha20_poly1305() : EVP_aes_256_gcm();
    must(chooseCipher(this.#context, Number(chosen), 0, 0, 0, seals ? 1 : 0));
    must(setNumber(this.#context, CTRL_SET_IVLEN, NONCE_SIZE, 0));
  }

  #begin(nonce: Uint8Array<ArrayBuffer>, associated: Uint8Array): void {
    assert(nonce.length === NONCE_SIZE, "a nonce has its size");
    must(this.#library.setNonce(this.#open(), 0, 0, 0, nonce, SAME_DIRECTION));
    if (associated.length === 0) return;
    const bytes = associated as Uint8Array<ArrayBuffer>;
    must(this.#library.associate(this.#context, 0, scratchAddress, bytes, bytes.length));
  }

  #update(from: Uint8Array, into: Uint8Array<ArrayBuffer>): void {
    // Without an output the call would take the bytes as associated ones: an empty buffer is passed as NULL.
    if (from.length === 0) return;
    const bytes = from as Uint8Array<ArrayBuffer>;
    must(this.#library.update(this.#context, into, scratchAddress, bytes, bytes.length));
  }

  #open(): number {
    assert(this.#context !== 0, "a closed cipher is not used");
    return this.#context;
  }
}

/** These calls fail only for want of memory or by our mistake; going on would send what is not sealed. */
function must(answer: number): void {
  assert(answer === 1, "libcrypto does what it is asked");
}

function openLibrary(): Library | null {
  if (Deno.build.os !== "linux") return null;
  for (const name of libraryNames) {
    try {
      library = Deno.dlopen(name, calls).symbols as unknown as Library;
      scratchAddress = addressOf(scratch);
      if (passesSelfTest("chacha20-poly1305") && passesSelfTest("aes-256-gcm")) return library;
    } catch {
      // Not there, or not allowed, or not fit for use: whoever asks learns that from the answer.
    }
  }
  return null;
}

/** Two texts in a row, one of them empty, as the runtime seals them; and a damaged one, which must not open. */
function passesSelfTest(cipher: LibcryptoCipher): boolean {
  const key = Uint8Array.from({ length: 32 }, (_, i) => i * 7 + 1);
  const associated = Uint8Array.of(9, 8, 7, 6, 5, 4);
  const sealer = new LibcryptoAead(cipher, { key, seals: true });
  const opener = new LibcryptoAead(cipher, { key, seals: false });
  try {
    return [100, 0].every((size, i) => {
      const nonce = new Uint8Array(NONCE_SIZE).fill(i + 1);
      const text = new Uint8Array(size).fill(0x5a);
      const into = new Uint8Array(size + TAG_SIZE);
      sealer.seal(text, { nonce, associated, into });
      const expected = sealByRuntime(cipher, { key, nonce, associated, text });
      if (into.some((byte, at) => byte !== expected[at])) return false;
      const opened = new Uint8Array(size);
      if (!opener.open(into, { nonce, associated, into: opened })) return false;
      if (opened.some((byte) => byte !== 0x5a)) return false;
      into[0] ^= 1;
      return !opener.open(into, { nonce, associated, into: opened });
    });
  } finally {
    sealer.close();
    opener.close();
  }
}

function sealByRuntime(
  name: LibcryptoCipher,
  { key, nonce, associated, text }: Record<"key" | "nonce" | "associated" | "text", Uint8Array>,
): Uint8Array {
  // The runtime's types know one cipher each; both have the same shape.
  const cipher = createCipheriv(name as "aes-256-gcm", key, nonce, { authTagLength: TAG_SIZE });
  cipher.setAAD(associated, { plaintextLength: text.length });
  const ciphertext = cipher.update(text);
  cipher.final();
  return new Uint8Array([...ciphertext, ...cipher.getAuthTag()]);
}
