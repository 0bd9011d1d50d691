/**
 * Compression of single messages.
 *
 * ```
 * compressed body   original size u32 ‖ its first 9 bytes ‖ zstd frame, raw deflate or brotli stream of the rest
 * kind (in the frame's flags)   0 none · 1 zstd · 2 deflate · 3 brotli
 * ```
 *
 * The original size stands in front because the runtime's zstd and brotli give what they have, without an error, when
 * the stream is cut off; and it bounds what is decompressed.
 *
 * The first bytes are left as they are since type and sequence are what ops to several targets differ in: the rest is
 * compressed once for all of them.
 *
 * Whether a message is compressed at all is decided by what it costs in time (docs/WIRE.md §3):
 *
 * | message                                           | compressed                                        |
 * | ------------------------------------------------- | ------------------------------------------------- |
 * | nothing is known of the line yet                  | yes                                               |
 * | small, and nothing waits to be written            | yes: the processor has nothing better to do       |
 * | any other                                         | if that takes less time than the saved bytes would |
 * @module
 */
import {
  brotliCompressSync,
  brotliDecompressSync,
  constants,
  deflateRawSync,
  inflateRawSync,
  zstdCompressSync,
  zstdDecompressSync,
} from "node:zlib";
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { SharedCompressions } from "./shared_compressions.ts";

/** A compression by the name that the command line uses. */
export type CompressionName = "zstd" | "deflate" | "brotli" | "none";

/** All of them; the first is the default. */
export const compressionNames: readonly CompressionName[] = ["zstd", "deflate", "brotli", "none"];

/** Smaller messages gain less than the call costs. */
const COMPRESS_SIZE_MIN = 128;
/** Of a larger message a piece of this size is tried first. */
const PROBE_SIZE = 8 * 1024;
/** Compression pays if it saves at least this part. */
const SAVING_MIN = 1 / 16;
/** After a message that did not pay, this many bytes are sent as they are; twice as many each further time. */
const SKIP_BYTES_MIN = 64 * 1024;
const SKIP_BYTES_MAX = 4 * 1024 * 1024;

/** A message below this size is compressed without counting if the line is idle. */
const LONE_SIZE_MAX = 16 * 1024;
/** The choice changes only for a gain of this part, so that it does not change with every message. */
const HYSTERESIS = 0.1;
/** After so many bytes as they are, one message is compressed to learn whether the data has changed. */
const TRIAL_BYTES = 8 * 1024 * 1024;
/** A measured message weighs as much as the past at this size. */
const WEIGHT_SIZE = 512 * 1024;
/** A message that took longer than this many times the usual was held up by something else. */
const OUTLIER_FACTOR = 4;
/** What is taken for the saving until it is measured. */
const USUAL_RATIO = 0.4;

const SIZE_FIELD_SIZE = 4;
/** Bytes in front of a message that are not compressed: its type and the sequence of its first op (message.ts). */
const LEAD_SIZE = 9;

interface Codec {
  kind: number;
  /** Milliseconds per byte, until it is measured. */
  usualPace: number;
  compress(bytes: Uint8Array): Uint8Array;
  /** Throws if there are more than `sizeMax` bytes. */
  decompress(bytes: Uint8Array, sizeMax: number): Uint8Array;
}

// The fastest level of each: replication must not wait for the compressor.
const codecs: Record<Exclude<CompressionName, "none">, Codec> = {
  zstd: {
    kind: 1,
    usualPace: 1 / 250_000,
    compress: (bytes) => zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }),
    decompress: (bytes, sizeMax) => zstdDecompressSync(bytes, { maxOutputLength: sizeMax }),
  },
  deflate: {
    kind: 2,
    usualPace: 1 / 80_000,
    compress: (bytes) => deflateRawSync(bytes, { level: 1 }),
    decompress: (bytes, sizeMax) => inflateRawSync(bytes, { maxOutputLength: sizeMax }),
  },
  brotli: {
    kind: 3,
    usualPace: 1 / 120_000,
    // Quality 0 is slower than 1 here, and 1 compresses better.
    compress: (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
    decompress: (bytes, sizeMax) => brotliDecompressSync(bytes, { maxOutputLength: sizeMax }),
  },
};
const codecsByKind = new Map(Object.values(codecs).map((codec) => [codec.kind, codec]));

/** A message as it goes into a frame. */
export interface CompressedMessage {
  /** For the frame's flags. */
  kind: number;
  /** The message itself if `kind` is 0, otherwise a new buffer. */
  body: Uint8Array;
  /** It was compressed for another target already. */
  isShared?: boolean;
}

/** What a message costs, either way. Pace is milliseconds per byte. */
export interface CompressionCosts {
  /** Whether messages are compressed now. */
  compressing: boolean;
  /** Of the compressor, per byte of the message. */
  compressPace: number;
  /** Bytes that remain of one. */
  ratio: number;
  /** Of the line, 0 if it holds nothing up. */
  linePace: number;
}

/** Whether compressing and sending less takes less time than sending as it is, with some favour for what is done now. */
export function isCompressionFaster(
  { compressing, compressPace, ratio, linePace }: CompressionCosts,
): boolean {
  const favour = compressing ? 1 + HYSTERESIS : 1 - HYSTERESIS;
  return compressPace + ratio * linePace < linePace * favour;
}

/** The line at the moment of sending. */
export interface LineState {
  /** Milliseconds per byte, `undefined` if unknown. */
  pace: number | undefined;
  /** Nothing waits to be written. */
  idle: boolean;
}

const UNKNOWN_LINE: LineState = { pace: undefined, idle: true };

/** Compresses the messages of one direction, and learns whether it pays. */
export class Compressor {
  readonly name: CompressionName;
  readonly #codec: Codec | undefined;
  readonly #shared: SharedCompressions | undefined;
  #skipBytes = SKIP_BYTES_MIN;
  /** Bytes still to be sent without a try. */
  #skipLeft = 0;
  #compressing = true;
  #pace: number;
  #ratio = USUAL_RATIO;
  #untriedBytes = 0;

  /** @param shared With the sessions to other targets. @default it compresses for itself */
  constructor(name: CompressionName, shared?: SharedCompressions) {
    this.name = name;
    this.#shared = shared;
    this.#codec = name === "none" ? undefined : codecs[name];
    this.#pace = this.#codec?.usualPace ?? 0;
  }

  /** Compresses a message, or leaves it as it is where that does not pay. */
  compress(message: Uint8Array, line: LineState = UNKNOWN_LINE): CompressedMessage {
    const codec = this.#codec;
    if (
      codec === undefined || message.length < COMPRESS_SIZE_MIN || !this.#isWorthIt(codec, message, line) ||
      this.#skips(message.length)
    ) {
      return { kind: 0, body: message };
    }
    const startMs = performance.now();
    const rest = message.subarray(LEAD_SIZE);
    const compressRest = () => compressIfItPays(codec, rest);
    const { stream, isShared } = this.#shared?.compress(codec.kind, rest, compressRest) ??
      { stream: compressRest(), isShared: false };
    this.#learn(stream !== undefined);
    if (stream === undefined) return { kind: 0, body: message };
    const body = new ByteWriter(SIZE_FIELD_SIZE + LEAD_SIZE + stream.length)
      .u32(message.length).raw(message.subarray(0, LEAD_SIZE)).raw(stream).view();
    this.#measure(message.length, { tookMs: performance.now() - startMs, remaining: body.length });
    return { kind: codec.kind, body, isShared };
  }

  #isWorthIt(codec: Codec, message: Uint8Array, { pace, idle }: LineState): boolean {
    if (pace === undefined || (idle && message.length < LONE_SIZE_MAX)) return true;
    const costs = { compressPace: this.#pace, ratio: this.#ratio, linePace: pace };
    this.#compressing = isCompressionFaster({ compressing: this.#compressing, ...costs });
    // On a line as fast as the compressor no data could make it pay.
    return this.#compressing || (pace > codec.usualPace && this.#isTrialDue(message.length));
  }

  #isTrialDue(size: number): boolean {
    this.#untriedBytes += size;
    if (this.#untriedBytes < TRIAL_BYTES) return false;
    this.#untriedBytes = 0;
    return true;
  }

  #measure(size: number, { tookMs, remaining }: { tookMs: number; remaining: number }): void {
    const weight = size / (size + WEIGHT_SIZE);
    const pace = Math.min(tookMs / size, this.#pace * OUTLIER_FACTOR);
    this.#pace += (pace - this.#pace) * weight;
    this.#ratio += (remaining / size - this.#ratio) * weight;
  }

  #skips(size: number): boolean {
    if (this.#skipLeft <= 0) return false;
    this.#skipLeft -= size;
    return true;
  }

  #learn(paid: boolean): void {
    if (paid) {
      this.#skipBytes = SKIP_BYTES_MIN;
    } else {
      this.#skipLeft = this.#skipBytes;
      this.#skipBytes = Math.min(this.#skipBytes * 2, SKIP_BYTES_MAX);
    }
  }
}

/**
 * The message in a frame's body. The buffer is new unless `kind` is 0, which gives `body` itself.
 *
 * @throws {ProtocolError} If the kind is unknown, the stream broken, or the message larger than `limits.messageSizeMax`.
 */
export function decompress(
  { kind, body }: { kind: number; body: Uint8Array<ArrayBuffer> },
): Uint8Array<ArrayBuffer> {
  if (kind === 0) {
    if (body.length > limits.messageSizeMax) throw tooLarge(body.length);
    return body;
  }
  const codec = codecsByKind.get(kind);
  if (codec === undefined) throw new ProtocolError(`Cannot decompress: compression ${kind} is unknown`);
  const reader = new ByteReader(body);
  const size = reader.u32();
  if (size > limits.messageSizeMax) throw tooLarge(size);
  if (size < LEAD_SIZE) {
    throw new ProtocolError(`Cannot decompress: a message of ${size} bytes is not compressed`);
  }
  const lead = reader.raw(LEAD_SIZE);
  const rest = decompressAtMost(codec, { bytes: reader.raw(reader.left), sizeMax: size - LEAD_SIZE });
  if (rest.length !== size - LEAD_SIZE) {
    throw new ProtocolError(`Cannot decompress: ${LEAD_SIZE + rest.length} bytes came out, not ${size}`);
  }
  const message = new Uint8Array(size);
  message.set(lead);
  message.set(rest, LEAD_SIZE);
  return message;
}

function decompressAtMost(
  codec: Codec,
  { bytes, sizeMax }: { bytes: Uint8Array; sizeMax: number },
): Uint8Array {
  try {
    return codec.decompress(bytes, sizeMax);
  } catch (cause) {
    throw new ProtocolError("Cannot decompress: the stream is broken or longer than it says", { cause });
  }
}

function tooLarge(size: number): ProtocolError {
  return new ProtocolError(`Cannot read message: ${size} bytes are more than ${limits.messageSizeMax}`);
}

/** @returns The stream. */
function compressIfItPays(codec: Codec, message: Uint8Array): Uint8Array | undefined {
  if (message.length > 2 * PROBE_SIZE && !pays(codec.compress(probeOf(message)).length, PROBE_SIZE)) {
    return undefined;
  }
  const stream = codec.compress(message);
  return pays(stream.length + SIZE_FIELD_SIZE, message.length) ? stream : undefined;
}

/** A piece from the middle: the front of a message is headers and paths, which always compress. */
function probeOf(message: Uint8Array): Uint8Array {
  const at = (message.length - PROBE_SIZE) >>> 1;
  return message.subarray(at, at + PROBE_SIZE);
}

function pays(compressedSize: number, size: number): boolean {
  return compressedSize <= size * (1 - SAVING_MIN);
}
