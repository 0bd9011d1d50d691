/**
 * Records of a transaction log, one after the other behind the head of a segment (docs/DISK.md, "Transaction log").
 *
 * ```
 * segment   "USTXLOG1" | record | record | …
 * record    size u32 | crc u32 | sequence u53 | payload (`size` bytes)
 * ```
 *
 * The checksum (CRC-32 of zlib) covers all of a record but itself. Whatever a torn write, a lost page or a flipped bit
 * leaves is no record: reading ends before it.
 * @module
 */
import { crc32 } from "node:zlib";
import { ByteReader, ByteWriter, equalBytes, utf8 } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";

/** Begins every segment. */
export const SEGMENT_HEAD = utf8("USTXLOG1");

const RECORD_HEAD_SIZE = 16;

/** One record. */
export interface LogRecord {
  /** Counts from 1 without gaps, over all segments. */
  sequence: number;
  /** A view of the segment's bytes. */
  payload: Uint8Array;
}

/** Bytes of a record with a payload of this size. */
export function recordSize(payloadSize: number): number {
  return RECORD_HEAD_SIZE + payloadSize;
}

/** Appends a record. */
export function encodeRecord({ sequence, payload }: LogRecord, writer: ByteWriter): void {
  const at = writer.size;
  writer.u32(payload.length).u32(0).u53(sequence).raw(payload);
  writer.patchU32(at + 4, checksum(writer.view().subarray(at)));
}

/**
 * Reads the records of one segment, up to the first bytes that are none.
 *
 * @param firstSequence That the first record must have.
 * @returns The offset behind the last record; less than the length if there is something else behind it.
 */
export function* readRecords(bytes: Uint8Array, firstSequence: number): Generator<LogRecord, number> {
  if (!equalBytes(bytes.subarray(0, SEGMENT_HEAD.length), SEGMENT_HEAD)) return 0;
  let at = SEGMENT_HEAD.length;
  for (let expected = firstSequence;; expected++) {
    const record = readRecord(bytes.subarray(at));
    if (record?.sequence !== expected) return at;
    yield record;
    at += recordSize(record.payload.length);
  }
}

function readRecord(bytes: Uint8Array): LogRecord | undefined {
  if (bytes.length < RECORD_HEAD_SIZE) return undefined;
  const reader = new ByteReader(bytes);
  const [size, crc] = [reader.u32(), reader.u32()];
  if (size > limits.logPayloadSizeMax || bytes.length < recordSize(size)) return undefined;
  if (checksum(bytes.subarray(0, recordSize(size))) !== crc) return undefined;
  return { sequence: reader.u53(), payload: reader.raw(size) };
}

/** Of a whole record. */
function checksum(record: Uint8Array): number {
  return crc32(record.subarray(8), crc32(record.subarray(0, 4)));
}
