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
 * Why two ways for AES: the runtime's synchronous AES-GCM does 0.15 GB/s, WebCrypto 0.4–0.5 GB/s on another thread but
 * costs 90 µs a call. They meet at about 12 KiB.
 * @module
 */
import { crc32 } from "node:zlib";
import { assert, ProtocolError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { type AeadName, nonceOf, open, rekeyed, seal, TAG_SIZE } from "./aead.ts";
import type { CipherState } from "./noise.ts";

/** A transport cipher by the name that the command line uses. */
export type CipherName = "chacha20-poly1305" | "aes-256-gcm" | "none";

/** All of them; the first is the default. */
export const cipherNames: readonly CipherName[] = ["chacha20-poly1305", "aes-256-gcm", "none"];

/** Bodies of this size or more go to WebCrypto if the cipher is AES. */
const ASYNC_AES_SIZE_MIN = 12 * 1024;

const CRC_SIZE = 4;

/** How a direction of a session is protected. */
export interface TransportCipherOptions {
  /** Frames are not encrypted, only checked by CRC-32. @default {false} */
  plain?: boolean;
  /** @default {limits.rekeyAfterFrames} */
  rekeyAfterFrames?: number;
}

/** Bytes that sealing adds to a body. */
export function sealOverhead(options: Pick<TransportCipherOptions, "plain">): number {
  return options.plain ? CRC_SIZE : TAG_SIZE;
}

/**
 * One direction of a session, at either end: a sealer or an opener, never both.
 *
 * Calls may be asynchronous (big bodies under AES); then the next call is made only after the one before has settled,
 * or order would be lost.
 */
export class TransportCipher {
  /** Bytes that sealing adds. */
  readonly overhead: number;
  readonly #aead: AeadName;
  readonly #plain: boolean;
  readonly #rekeyAfterFrames: number;
  #key: Uint8Array<ArrayBuffer>;
  #webKey: Promise<CryptoKey> | undefined;
  #counter: number;
  #framesUntilRekey: number;

  /** Goes on with a key and counter of the handshake. */
  constructor(state: CipherState, options: TransportCipherOptions = {}) {
    this.#aead = state.aead;
    this.#key = state.exportKey();
    this.#counter = state.nonce;
    this.#plain = options.plain ?? false;
    this.#rekeyAfterFrames = options.rekeyAfterFrames ?? limits.rekeyAfterFrames;
    this.#framesUntilRekey = this.#rekeyAfterFrames;
    this.overhead = sealOverhead(options);
  }

  /** Seals a body; gives the parts of what goes behind the header, in order. A part may be the body itself. */
  seal(header: Uint8Array, body: Uint8Array): Uint8Array[] | Promise<Uint8Array[]> {
    this.#countFrame();
    if (this.#plain) return [body, this.#checksum(header, body)];
    if (this.#isAsync(body.length)) return this.#sealAsync(header, body);
    const { ciphertext, tag } = seal(body, this.#parameters(header));
    return [ciphertext, tag];
  }

  /**
   * Opens what {@linkcode seal} made; the result is a new buffer.
   *
   * @throws {ProtocolError} If it is not the very next frame, unchanged. The cipher is of no use afterwards.
   */
  open(header: Uint8Array, sealed: Uint8Array): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>> {
    this.#countFrame();
    if (this.#plain) return this.#openPlain(header, sealed);
    if (this.#isAsync(sealed.length - TAG_SIZE)) return this.#openAsync(header, sealed);
    return open(sealed, this.#parameters(header));
  }

  #isAsync(size: number): boolean {
    return this.#aead === "AESGCM" && size >= ASYNC_AES_SIZE_MIN;
  }

  /** Moves to the next frame's key. The counter itself moves when it is used. */
  #countFrame(): void {
    if (this.#framesUntilRekey === 0) {
      if (!this.#plain) {
        const old = this.#key;
        this.#key = rekeyed(this.#aead, old);
        old.fill(0);
        this.#webKey = undefined;
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

  async #sealAsync(header: Uint8Array, body: Uint8Array): Promise<Uint8Array[]> {
    const parameters = this.#webParameters(header);
    const key = await this.#importKey();
    return [new Uint8Array(await crypto.subtle.encrypt(parameters, key, body as Uint8Array<ArrayBuffer>))];
  }

  async #openAsync(header: Uint8Array, sealed: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    const parameters = this.#webParameters(header);
    const key = await this.#importKey();
    try {
      return new Uint8Array(
        await crypto.subtle.decrypt(parameters, key, sealed as Uint8Array<ArrayBuffer>),
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

  #openPlain(header: Uint8Array, sealed: Uint8Array): Uint8Array<ArrayBuffer> {
    const size = sealed.length - CRC_SIZE;
    if (size < 0) {
      throw new ProtocolError(`Cannot check frame: ${sealed.length} bytes are less than a checksum`);
    }
    // A copy: the buffer of the connection is used again.
    const body = new Uint8Array(sealed.subarray(0, size));
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
