/**
 * The transport cipher: seals and opens the bodies of frames with a counter that is never sent.
 *
 * ```
 * chacha20-poly1305, aes-256-gcm   sealed = ciphertext ‖ tag 16       nonce: aead.ts, counter from the handshake on
 * none                             sealed = body ‖ CRC-32 u32 over (counter u64 ‖ header ‖ body)
 * ```
 *
 * The frame's header is associated data. Since both sides count, a frame that was flipped, replayed, left out or
 * moved does not open. After every `limits.rekeyAfterFrames` frames both sides rekey (Noise §11.3).
 *
 * `none` is for lines that are trusted by other means: its CRC finds a broken line, not an attacker.
 *
 * Three ways lead to the same bytes. Where libcrypto can be had, it seals and opens everything, in one call chain and
 * without a buffer of its own. Elsewhere the runtime does; and since its synchronous AES-GCM does 0.15 GB/s only, large
 * bodies under AES go to WebCrypto, which does 0.4–0.5 GB/s on another thread but costs 90 µs a call: they meet at
 * about 12 KiB.
 * @module
 */
import { crc32 } from "node:zlib";
import { assert, ProtocolError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { LibcryptoAead } from "../sys/libcrypto.ts";
import {
  type AeadName,
  type AeadProvider,
  aeadProvider,
  nonceOf,
  open,
  opensslNames,
  rekeyed,
  seal,
  TAG_SIZE,
} from "./aead.ts";
import type { CipherState } from "./noise.ts";

/** A transport cipher by the name that the command line uses. */
export type CipherName = "chacha20-poly1305" | "aes-256-gcm" | "none";

/** All of them; the first is the default. */
export const cipherNames: readonly CipherName[] = ["chacha20-poly1305", "aes-256-gcm", "none"];

/** Bodies of this size or more go to WebCrypto if the cipher is AES and libcrypto is not there. */
const ASYNC_AES_SIZE_MIN = 12 * 1024;

const CRC_SIZE = 4;

/** How a direction of a session is protected. */
export interface TransportCipherOptions {
  /** Frames are not encrypted, only checked by CRC-32. @default {false} */
  plain?: boolean;
  /** @default {limits.rekeyAfterFrames} */
  rekeyAfterFrames?: number;
  /** @default {aeadProvider()} */
  provider?: AeadProvider;
}

/** Where a body is sealed to. */
export interface SealPlace {
  /** The frame's header, as it is sent. */
  header: Uint8Array;
  /** Takes the sealed body: as long as body and overhead. May lie in the buffer that is sent. */
  into: Uint8Array<ArrayBuffer>;
}

/** How a body is opened. */
export interface OpenPlace {
  /** The frame's header, as it came. */
  header: Uint8Array;
  /** The sealed bytes may be overwritten, and the result may be a view of them. @default {false} */
  inPlace?: boolean;
}

/** Bytes that sealing adds to a body. */
export function sealOverhead(options: Pick<TransportCipherOptions, "plain">): number {
  return options.plain ? CRC_SIZE : TAG_SIZE;
}

/**
 * One direction of a session, at either end: a sealer or an opener, never both. Its first call decides which.
 *
 * Calls may be asynchronous ({@linkcode isAsync}); then the next call is made only after the one before has settled,
 * or order would be lost.
 */
export class TransportCipher {
  /** Bytes that sealing adds. */
  readonly overhead: number;
  readonly #aead: AeadName;
  readonly #plain: boolean;
  readonly #provider: AeadProvider;
  readonly #rekeyAfterFrames: number;
  #key: Uint8Array<ArrayBuffer>;
  #native: LibcryptoAead | undefined;
  #webKey: Promise<CryptoKey> | undefined;
  #counter: number;
  #framesUntilRekey: number;
  #closed = false;

  /** Goes on with a key and counter of the handshake. */
  constructor(state: CipherState, options: TransportCipherOptions = {}) {
    this.#aead = state.aead;
    this.#key = state.exportKey();
    this.#counter = state.nonce;
    this.#plain = options.plain ?? false;
    this.#provider = options.provider ?? aeadProvider();
    this.#rekeyAfterFrames = options.rekeyAfterFrames ?? limits.rekeyAfterFrames;
    this.#framesUntilRekey = this.#rekeyAfterFrames;
    this.overhead = sealOverhead(options);
  }

  /** Whether a body of this size is sealed and opened on another thread. */
  isAsync(size: number): boolean {
    return !this.#plain && this.#provider === "node" && this.#aead === "AESGCM" && size >= ASYNC_AES_SIZE_MIN;
  }

  /** Seals a body. Gives a promise if {@linkcode isAsync} for its size. */
  seal(body: Uint8Array, { header, into }: SealPlace): void | Promise<void> {
    assert(into.length === body.length + this.overhead, "a sealed body fits its place");
    this.#countFrame();
    if (this.#plain) {
      into.set(body);
      return into.set(this.#checksum(header, body), body.length);
    }
    if (this.isAsync(body.length)) return this.#sealAsync(body, { header, into });
    if (this.#provider === "libcrypto") {
      this.#native ??= this.#openNative({ seals: true });
      return this.#native.seal(body, { nonce: this.#nextNonce(), associated: header, into });
    }
    const { ciphertext, tag } = seal(body, this.#parameters(header));
    into.set(ciphertext);
    into.set(tag, body.length);
  }

  /**
   * Opens what {@linkcode seal} made; the result is a new buffer, unless it may be in place. Gives a promise if
   * {@linkcode isAsync} for the body's size. Nothing is given before the body is known to be authentic.
   *
   * @throws {ProtocolError} If it is not the very next frame, unchanged. The cipher is of no use afterwards.
   */
  open(
    sealed: Uint8Array<ArrayBuffer>,
    { header, inPlace = false }: OpenPlace,
  ): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>> {
    this.#countFrame();
    const size = sealed.length - this.overhead;
    if (size < 0) {
      throw new ProtocolError(`Cannot open frame: ${sealed.length} bytes are less than sealing adds`);
    }
    if (this.#plain) return this.#openPlain(sealed, { header, inPlace });
    if (this.isAsync(size)) return this.#openAsync(header, sealed);
    if (this.#provider === "libcrypto") {
      this.#native ??= this.#openNative({ seals: false });
      const into = inPlace ? sealed.subarray(0, size) : new Uint8Array(size);
      const fits = this.#native.open(sealed, { nonce: this.#nextNonce(), associated: header, into });
      if (!fits) throw new ProtocolError("Cannot decrypt: the authentication tag does not fit");
      return into;
    }
    return open(sealed, this.#parameters(header));
  }

  /** Clears the key and frees what is held outside of the heap. Nothing is sealed or opened afterwards. */
  close(): void {
    this.#closed = true;
    this.#native?.close();
    this.#native = undefined;
    this.#webKey = undefined;
    this.#key.fill(0);
  }

  #openNative({ seals }: { seals: boolean }): LibcryptoAead {
    return new LibcryptoAead(opensslNames[this.#aead], { key: this.#key, seals });
  }

  /** Moves to the next frame's key. The counter itself moves when it is used. */
  #countFrame(): void {
    assert(!this.#closed, "a closed cipher is not used");
    if (this.#framesUntilRekey === 0) {
      if (!this.#plain) {
        const old = this.#key;
        this.#key = rekeyed(this.#aead, old);
        old.fill(0);
        this.#webKey = undefined;
        this.#native?.setKey(this.#key);
      }
      this.#framesUntilRekey = this.#rekeyAfterFrames;
    }
    this.#framesUntilRekey--;
  }

  #parameters(header: Uint8Array) {
    return { aead: this.#aead, key: this.#key, nonce: this.#nextNonce(), associated: header };
  }

  #nextNonce(): Uint8Array<ArrayBuffer> {
    assert(this.#counter < Number.MAX_SAFE_INTEGER, "a nonce is used once");
    return nonceOf(this.#aead, this.#counter++);
  }

  async #sealAsync(body: Uint8Array, { header, into }: SealPlace): Promise<void> {
    const parameters = this.#webParameters(header);
    const key = await this.#importKey();
    into.set(new Uint8Array(await crypto.subtle.encrypt(parameters, key, body as Uint8Array<ArrayBuffer>)));
  }

  async #openAsync(
    header: Uint8Array,
    sealed: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const parameters = this.#webParameters(header);
    const key = await this.#importKey();
    try {
      return new Uint8Array(
        await crypto.subtle.decrypt(parameters, key, sealed),
      );
    } catch (cause) {
      throw new ProtocolError("Cannot decrypt: the authentication tag does not fit", { cause });
    }
  }

  #webParameters(header: Uint8Array): AesGcmParams {
    const additionalData = new Uint8Array(header);
    return { name: "AES-GCM", iv: this.#nextNonce(), additionalData, tagLength: TAG_SIZE * 8 };
  }

  #importKey(): Promise<CryptoKey> {
    this.#webKey ??= crypto.subtle.importKey("raw", this.#key, "AES-GCM", false, ["encrypt", "decrypt"]);
    return this.#webKey;
  }

  #openPlain(sealed: Uint8Array<ArrayBuffer>, { header, inPlace }: OpenPlace): Uint8Array<ArrayBuffer> {
    const size = sealed.length - CRC_SIZE;
    const body = inPlace ? sealed.subarray(0, size) : sealed.slice(0, size);
    const expected = this.#checksum(header, body);
    for (let i = 0; i < CRC_SIZE; i++) {
      if (sealed[size + i] !== expected[i]) {
        throw new ProtocolError("Cannot check frame: its checksum does not fit");
      }
    }
    return body;
  }

  #checksum(header: Uint8Array, body: Uint8Array): Uint8Array<ArrayBuffer> {
    const counter = nonceOf("ChaChaPoly", this.#counter++).subarray(4);
    const checksum = new Uint8Array(CRC_SIZE);
    new DataView(checksum.buffer).setUint32(0, crc32(body, crc32(header, crc32(counter))), true);
    return checksum;
  }
}
