/**
 * Cursors over bytes. All numbers are little endian, all lengths are checked: a reader never runs past its end.
 * @module
 */
import { ProtocolError } from "./errors.ts";

const textEncoder = new TextEncoder();
// A byte order mark is a character like any other, else what was encoded would not come back.
const textDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bytes of the largest varint: 2^53 − 1. */
const VARINT_SIZE_MAX = 8;

/** Encodes a string as UTF-8. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return textEncoder.encode(text);
}

/** Decodes UTF-8; malformed bytes become U+FFFD. */
export function text(bytes: Uint8Array): string {
  return textDecoder.decode(bytes);
}

/** Bytes as lower-case hexadecimal. */
export function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}

/** Joins byte arrays into a new one. */
export function concatBytes(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const part of parts) size += part.length;
  const joined = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Whether two byte arrays hold the same bytes. Not for secrets: it stops at the first difference. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Appends numbers, strings and bytes to a growing buffer. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #size = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#size;
  }

  /** Bytes that fit before the buffer has to grow. */
  get capacity(): number {
    return this.#bytes.length;
  }

  u8(value: number): this {
    const at = this.#reserve(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#reserve(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.#reserve(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  /** One byte, 1 for true. */
  flag(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  /**
   * A whole number below 2^53 in eight bytes.
   *
   * @throws {RangeError} If it is none: the other end would refuse it, or take it for another.
   */
  u53(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`Cannot encode number: ${value}`);
    const at = this.#reserve(8);
    this.#view.setUint32(at, value % 0x1_0000_0000, true);
    this.#view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
    return this;
  }

  /**
   * A whole number below 2^53 in one byte for each seven bits, the low ones first; all bytes but the last have bit 7.
   *
   * @throws {RangeError} If it is none.
   */
  varint(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`Cannot encode number: ${value}`);
    for (; value > 0x7f; value = Math.floor(value / 0x80)) this.u8((value % 0x80) | 0x80);
    return this.u8(value);
  }

  i64(value: bigint): this {
    const at = this.#reserve(8);
    this.#view.setBigInt64(at, value, true);
    return this;
  }

  /** The bytes alone, without a length. */
  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** The text alone if it is plain ASCII; otherwise nothing is written, and it gives false. */
  ascii(text: string): boolean {
    const at = this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) {
        this.#size = at;
        return false;
      }
      this.#bytes[at + i] = code;
    }
    return true;
  }

  /** A two-byte length, then the bytes (at most 65,535). */
  bytes16(bytes: Uint8Array): this {
    if (bytes.length > 0xffff) {
      throw new RangeError(`Cannot encode ${bytes.length} bytes: at most 65,535 fit`);
    }
    return this.u16(bytes.length).raw(bytes);
  }

  /** A four-byte length, then the bytes. */
  bytes32(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes);
  }

  /** A two-byte length, then the string as UTF-8. */
  string16(value: string): this {
    return this.bytes16(utf8(value));
  }

  /** Overwrites four bytes written earlier at `at`. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  /** A view of what was written. Valid until the next write. */
  view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#size);
  }

  /** A copy of what was written. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#size);
  }

  /** Forgets what was written and keeps the buffer. */
  reset(): void {
    this.#size = 0;
  }

  /** Forgets what was written behind the first `size` bytes. */
  cut(size: number): void {
    this.#size = size;
  }

  /** Offset of `count` fresh bytes. Call it before naming the buffer: growing replaces that. */
  #reserve(count: number): number {
    const at = this.#size;
    const needed = at + count;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#size = needed;
    return at;
  }
}

/** Reads what {@linkcode ByteWriter} wrote. Byte results are views of the input, not copies. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = at;
  }

  /** Offset of the next byte. */
  get offset(): number {
    return this.#at;
  }

  /** Bytes not yet read. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** @throws {ProtocolError} If the byte is neither 0 nor 1. */
  flag(): boolean {
    const value = this.u8();
    if (value > 1) throw new ProtocolError(`Cannot decode flag: ${value} is neither 0 nor 1`);
    return value === 1;
  }

  /** @throws {ProtocolError} If the number is 2^53 or more. */
  u53(): number {
    const at = this.#take(8);
    const value = this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 0x1_0000_0000;
    if (!Number.isSafeInteger(value)) throw new ProtocolError("Cannot decode number: 2^53 or more");
    return value;
  }

  /** @throws {ProtocolError} If the number is 2^53 or more, or has more bytes than it needs. */
  varint(): number {
    let value = 0;
    for (let unit = 1, count = 0; count < VARINT_SIZE_MAX; unit *= 0x80, count++) {
      const byte = this.u8();
      value += (byte & 0x7f) * unit;
      if (byte > 0x7f) continue;
      if (!Number.isSafeInteger(value) || (byte === 0 && count > 0)) break;
      return value;
    }
    throw new ProtocolError("Cannot decode number: 2^53 or more, or written too long");
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), true);
  }

  raw(size: number): Uint8Array {
    const at = this.#take(size);
    return this.#bytes.subarray(at, at + size);
  }

  bytes16(): Uint8Array {
    return this.raw(this.u16());
  }

  bytes32(): Uint8Array {
    return this.raw(this.u32());
  }

  string16(): string {
    return text(this.bytes16());
  }

  /** @throws {ProtocolError} If bytes are left over. */
  end(): void {
    if (this.left > 0) throw new ProtocolError(`Cannot decode message: ${this.left} bytes left over`);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) {
      throw new ProtocolError(`Cannot decode message: ${count} bytes wanted, ${this.left} left`);
    }
    this.#at = at + count;
    return at;
  }
}
