/**
 * The journal of an in-place patch. What replaces parts of a live file stands here, durably and announced in
 * the catalog, before the first of them is written into the file; so a patch that a crash cut short is redone.
 *
 * ```
 *  0          8
 * ┌──────────┬─────────┬─────────┬───┬───────┐
 * │ USPATCH1 │ record  │ record  │ … │ close │
 * └──────────┴─────────┴─────────┴───┴───────┘
 * record   type u8 · body size u32 · CRC-32 of the body u32 · body
 * extent   (type 1) offset u64, bytes
 * hole     (type 3) offset u64, size u64
 * close    (type 2) size of the file u64, attributes as in ops/op.ts
 * ```
 *
 * A journal is *complete* if it ends with a `close` and each CRC is right. Extents and holes apply in their order. To
 * apply a complete journal twice is the same as once.
 * @module
 */
import { crc32 } from "node:zlib";
import { ByteReader, ByteWriter, equalBytes, utf8 } from "../base/bytes.ts";
import { CorruptionError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { decodeAttributes, encodeAttributes } from "../ops/op.ts";
import type { AttributeChange, OpenFile } from "../sys/file_system.ts";

const MAGIC = utf8("USPATCH1");
const RECORD_HEADER_SIZE = 9;
const BODY_SIZE_MAX = limits.opDataSizeMax + 1024;
const EXTENT = 1;
const CLOSE = 2;
const HOLE = 3;

/** How a patched file ends up. */
export interface PatchEnd {
  /** Bytes of the file. */
  size: number;
  attributes: AttributeChange;
}

/** Begins a journal in an empty file; gives its size. */
export function beginJournal(journal: OpenFile): number {
  journal.write(MAGIC, 0);
  return MAGIC.length;
}

/** Appends an extent to a journal of `size` bytes; gives its new size. What stands behind `size` is overwritten. */
export function appendExtent(
  journal: OpenFile,
  size: number,
  extent: { offset: number; data: Uint8Array },
): number {
  const body = new ByteWriter(extent.data.length + 8).u53(extent.offset).raw(extent.data);
  return appendRecord(journal, size, { type: EXTENT, body: body.view() });
}

/** Appends a hole, as {@linkcode appendExtent} does an extent. */
export function appendHole(
  journal: OpenFile,
  size: number,
  hole: { offset: number; size: number },
): number {
  const body = new ByteWriter(16).u53(hole.offset).u53(hole.size);
  return appendRecord(journal, size, { type: HOLE, body: body.view() });
}

/** Completes a journal of `size` bytes; gives its new size, at which it is cut. */
export function closeJournal(journal: OpenFile, size: number, end: PatchEnd): number {
  const body = new ByteWriter().u53(end.size);
  encodeAttributes(end.attributes, body);
  const closedSize = appendRecord(journal, size, { type: CLOSE, body: body.view() });
  // A replay after a crash may have left a longer journal.
  journal.truncate(closedSize);
  return closedSize;
}

/**
 * Applies a complete journal to a live file, contents and size; the attributes are the caller's to set.
 *
 * @throws {CorruptionError} If the journal is not complete; the file may be changed in part then, so check with
 * {@linkcode readJournalEnd} first where that can be.
 */
export function applyJournal(journal: OpenFile, live: OpenFile): PatchEnd {
  const end = walkJournal(journal, live);
  if (end === undefined) throw new CorruptionError("Cannot apply patch: its journal is not complete");
  live.truncate(end.size);
  return end;
}

/** The end of a complete journal, each CRC checked; `undefined` if it is not complete. */
export function readJournalEnd(journal: OpenFile): PatchEnd | undefined {
  return walkJournal(journal, { write: () => {}, punch: () => {} });
}

function appendRecord(journal: OpenFile, size: number, record: { type: number; body: Uint8Array }): number {
  const { type, body } = record;
  const bytes = new ByteWriter(RECORD_HEADER_SIZE + body.length);
  bytes.u8(type).u32(body.length).u32(crc32(body)).raw(body);
  journal.write(bytes.view(), size);
  return size + bytes.size;
}

/** Does what stands in a journal to `into`; gives its end if it is complete. */
function walkJournal(journal: OpenFile, into: Pick<OpenFile, "write" | "punch">): PatchEnd | undefined {
  const magic = new Uint8Array(MAGIC.length);
  if (journal.read(magic, 0) < magic.length || !equalBytes(magic, MAGIC)) return undefined;
  const size = journal.stat().size;
  for (let at = MAGIC.length; at < size;) {
    const record = readRecord(journal, at);
    if (record === undefined) return undefined;
    at += RECORD_HEADER_SIZE + record.body.length;
    const reader = new ByteReader(record.body);
    if (record.type === EXTENT) {
      const offset = reader.u53();
      into.write(reader.raw(reader.left), offset);
    } else if (record.type === HOLE) {
      into.punch(reader.u53(), reader.u53());
    } else {
      const end = { size: reader.u53(), attributes: decodeAttributes(reader) };
      return at === size ? end : undefined;
    }
  }
  return undefined;
}

function readRecord(journal: OpenFile, at: number): { type: number; body: Uint8Array } | undefined {
  const header = new Uint8Array(RECORD_HEADER_SIZE);
  if (journal.read(header, at) < header.length) return undefined;
  const reader = new ByteReader(header);
  const [type, bodySize, crc] = [reader.u8(), reader.u32(), reader.u32()];
  if (![EXTENT, CLOSE, HOLE].includes(type) || bodySize < 8 || bodySize > BODY_SIZE_MAX) return undefined;
  const body = new Uint8Array(bodySize);
  if (journal.read(body, at + RECORD_HEADER_SIZE) < bodySize || crc32(body) !== crc) return undefined;
  return { type, body };
}
