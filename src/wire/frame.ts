/**
 * Frames: what travels after the handshake.
 *
 * ```
 *  0             4      5       6
 * ┌─────────────┬──────┬───────┬──────────────────────────────┐
 * │ length u32  │ type │ flags │ sealed body, `length` bytes  │
 * └─────────────┴──────┴───────┴──────────────────────────────┘
 *  length   bytes behind the header: body and what sealing adds (cipher.ts); body ≤ limits.frameBodySizeMax
 *  type     1 message · 2 ping · 3 pong · 4 close
 *  flags    bits 0–2: compression of a message (compress.ts); the others are zero
 *
 *  body of a message: the message, compressed as the flags say · of ping and pong: empty
 *  body of close:     code u8 (0 in order, 1 refused), reason: u16 size, UTF-8
 * ```
 *
 * The header is authenticated with the body. A header that cannot be right ends the session before anything is
 * allocated for it.
 * @module
 */
import { ByteReader, ByteWriter, text, utf8 } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { pageAligned } from "../sys/libc.ts";

/** Bytes before a frame's sealed body. */
export const FRAME_HEADER_SIZE = 6;

const frameTypeCodes = { message: 1, ping: 2, pong: 3, close: 4 } as const;
const frameTypeNames = new Map(
  Object.entries(frameTypeCodes).map(([name, code]) => [code as number, name as FrameType]),
);
/** Bits of the flags that mean something. */
const FLAGS_MASK = 0b111;
/** A read is worth its call with this much room. */
const ROOM_MIN = limits.readSize / 2;

/** What a frame is for. */
export type FrameType = keyof typeof frameTypeCodes;

/** What stands in a header. */
export interface FrameHeader {
  type: FrameType;
  /** Compression of a message; 0 otherwise. */
  flags: number;
  /** Bytes behind the header. */
  sealedSize: number;
}

/** A whole frame as it came, not yet authenticated. */
export interface SealedFrame extends FrameHeader {
  /** The six bytes of the header. A copy. */
  header: Uint8Array<ArrayBuffer>;
  /** A view, valid until the decoder's next `room` or `push`. It may be overwritten. */
  sealed: Uint8Array<ArrayBuffer>;
}

/** How a session ends. */
export interface CloseBody {
  /** Whether the peer is turned away rather than the work being done. */
  refused: boolean;
  /** For people. */
  reason: string;
}

/** Encodes a header. */
export function encodeFrameHeader(header: FrameHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME_HEADER_SIZE);
  encodeFrameHeaderInto(bytes, header);
  return bytes;
}

/** Encodes a header into the six bytes given. */
export function encodeFrameHeaderInto(bytes: Uint8Array, { type, flags, sealedSize }: FrameHeader): void {
  bytes[0] = sealedSize;
  bytes[1] = sealedSize >>> 8;
  bytes[2] = sealedSize >>> 16;
  bytes[3] = sealedSize >>> 24;
  bytes[4] = frameTypeCodes[type];
  bytes[5] = flags;
}

/**
 * Decodes a header.
 *
 * @param overhead Bytes that sealing adds.
 * @throws {ProtocolError} If the length, the type or the flags cannot be right.
 */
export function decodeFrameHeader(header: Uint8Array, overhead: number): FrameHeader {
  const reader = new ByteReader(header);
  const sealedSize = reader.u32();
  const code = reader.u8();
  const flags = reader.u8();
  const bodySize = sealedSize - overhead;
  if (bodySize < 0 || bodySize > limits.frameBodySizeMax) {
    throw new ProtocolError(`Cannot read frame: its length ${sealedSize} is not allowed`);
  }
  const type = frameTypeNames.get(code);
  if (type === undefined) throw new ProtocolError(`Cannot read frame: type ${code} is unknown`);
  if ((flags & ~FLAGS_MASK) !== 0 || (flags !== 0 && type !== "message")) {
    throw new ProtocolError(`Cannot read frame: flags ${flags} are unknown`);
  }
  return { type, flags, sealedSize };
}

/** Encodes the body of a close frame. A long reason is cut off. */
export function encodeCloseBody({ refused, reason }: CloseBody): Uint8Array<ArrayBuffer> {
  return new ByteWriter().u8(refused ? 1 : 0).bytes16(cutReason(reason)).take();
}

/** @throws {ProtocolError} If the bytes are not the body of a close frame. */
export function decodeCloseBody(body: Uint8Array): CloseBody {
  const reader = new ByteReader(body);
  const code = reader.u8();
  const reason = reader.bytes16();
  reader.end();
  if (code > 1) throw new ProtocolError(`Cannot read close frame: code ${code} is unknown`);
  return { refused: code === 1, reason: printable(reason) };
}

/** A reason as bytes, cut to what the peer accepts. */
export function cutReason(reason: string): Uint8Array<ArrayBuffer> {
  return utf8(reason).subarray(0, limits.refusalReasonSizeMax);
}

/** A reason from the peer, safe to print: one line, without control characters, bounded. */
export function printable(bytes: Uint8Array): string {
  // deno-lint-ignore no-control-regex -- these are what must not reach a terminal
  return text(bytes.subarray(0, limits.refusalReasonSizeMax)).replace(/[\u0000-\u001f\u007f-\u009f]/g, "?");
}

/**
 * Finds frames in a byte stream that may be split anywhere. Read into {@linkcode room}, then {@linkcode advance}; or
 * {@linkcode push} bytes that are elsewhere.
 *
 * Bytes are seldom moved: when the buffer holds two frames of a size, it is read up to the end of the second one, and
 * the next read begins at the front.
 */
export class FrameDecoder {
  readonly #overhead: number;
  #buffer = pageAligned(limits.readSize);
  #start = 0;
  #end = 0;

  /** @param overhead Bytes that sealing adds. */
  constructor(overhead: number) {
    this.#overhead = overhead;
  }

  /** Bytes of a frame that is not whole yet. */
  get pendingSize(): number {
    return this.#end - this.#start;
  }

  /** Where the next bytes of the stream go. Never empty. */
  room(): Uint8Array<ArrayBuffer> {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    const frameEnd = this.#start + (this.#nextFrameSize() ?? 0);
    if (this.#endsBuffer(frameEnd)) return this.#buffer.subarray(this.#end, frameEnd);
    if (this.#buffer.length - this.#end < ROOM_MIN) this.#moveToFront();
    return this.#buffer.subarray(this.#end);
  }

  /** Whether the unfinished frame is the last of its size that fits: what came behind it would have to be moved. */
  #endsBuffer(frameEnd: number): boolean {
    const size = frameEnd - this.#start;
    const { length } = this.#buffer;
    return size > ROOM_MIN && this.#end < frameEnd && frameEnd <= length && frameEnd + size > length;
  }

  /** Says that `count` bytes were read into {@linkcode room}. */
  advance(count: number): void {
    this.#end += count;
  }

  /** Takes a copy of bytes of the stream. Call {@linkcode next} until it gives `undefined` after each. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const room = this.room();
      const part = bytes.subarray(at, at + room.length);
      room.set(part);
      this.advance(part.length);
      at += part.length;
    }
  }

  /**
   * The next whole frame, or `undefined` until more bytes come.
   *
   * @throws {ProtocolError} If a header cannot be right, as soon as its six bytes are there.
   */
  next(): SealedFrame | undefined {
    const size = this.#nextFrameSize();
    if (size === undefined || this.pendingSize < size) return undefined;
    const header = this.#buffer.slice(this.#start, this.#start + FRAME_HEADER_SIZE);
    const sealed = this.#buffer.subarray(this.#start + FRAME_HEADER_SIZE, this.#start + size);
    this.#start += size;
    return { ...decodeFrameHeader(header, this.#overhead), header, sealed };
  }

  /** Size of the frame at the start with its header, or `undefined` if its header is not whole yet. */
  #nextFrameSize(): number | undefined {
    if (this.pendingSize < FRAME_HEADER_SIZE) return undefined;
    const header = this.#buffer.subarray(this.#start, this.#start + FRAME_HEADER_SIZE);
    return FRAME_HEADER_SIZE + decodeFrameHeader(header, this.#overhead).sealedSize;
  }

  /** Moves the unfinished frame to the front of a buffer that holds it wholly, and as much again or a read's worth. */
  #moveToFront(): void {
    const size = this.#nextFrameSize() ?? 0;
    const needed = size + Math.max(size, limits.readSize);
    if (needed > this.#buffer.length) {
      const grown = pageAligned(needed);
      grown.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = grown;
    } else {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    }
    this.#end -= this.#start;
    this.#start = 0;
  }
}
