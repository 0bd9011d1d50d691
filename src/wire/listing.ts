/**
 * Entries of a `listing` as bytes. They come directory by directory, so each says only what differs from the one before
 * it: about 22 bytes an entry.
 *
 * ```
 *  0       1
 * ┌───────┬─────────────┬──────┬──────┬──────────────┬────────┬─────────┬────────┐
 * │ flags │ [directory] │ name │ size │ mtime i64 ns │ [mode] │ [owner] │ [link] │
 * └───────┴─────────────┴──────┴──────┴──────────────┴────────┴─────────┴────────┘
 *
 *  flags      kind in bits 0–2; what is there: bit 3 directory, bit 4 mode, bit 5 owner, else as in the entry before;
 *             bit 6 xattrs, bit 7 file
 *  directory  path
 *  name       varint size, raw bytes; empty for the root itself
 *  size       varint
 *  mode       u16
 *  owner      uid u32 · gid u32
 *  xattrs     digest i64
 *  file       number i64, of one that has several names
 *  link       target bytes16, of a symlink only
 * ```
 *
 * Before the first entry stand the root, mode 0 and owner 0.
 * @module
 */
import type { ByteReader, ByteWriter } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { isName, joinPath, pathFromBytes, pathToBytes, quote } from "../base/path.ts";
import { decodePath, encodePath } from "../ops/op.ts";
import { isDevice, type Kind } from "../sys/file_system.ts";

/** An entry of the receiver's tree, as listed for comparison. */
export interface ListedEntry {
  path: string;
  kind: Kind;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeNs: bigint;
  /** What it leads to, as in `Held`. */
  linkTarget: string;
  /** Digest of its extended attributes. @default {0n}, of none */
  xattrDigest?: bigint;
  /** Number of the file, of one that has several names. @default {undefined}, it has one */
  file?: bigint;
}

const kindCodes: Record<Kind, number> = {
  file: 1,
  directory: 2,
  symlink: 3,
  fifo: 4,
  socket: 5,
  block: 6,
  character: 7,
};
const kindNames: (Kind | undefined)[] = [];
for (const [name, code] of Object.entries(kindCodes)) kindNames[code] = name as Kind;

const KIND_MASK = 0x07;
const HAS_DIRECTORY = 0x08;
const HAS_MODE = 0x10;
const HAS_OWNER = 0x20;
const HAS_XATTRS = 0x40;
const HAS_FILE = 0x80;
/** Bytes of the shortest entry. */
const ENTRY_SIZE_MIN = 11;

/** What an entry leaves out when it is as in the one before. */
interface Shared {
  directory: string;
  /** Its bytes. */
  directorySize: number;
  mode: number;
  uid: number;
  gid: number;
}

function nothingShared(): Shared {
  return { directory: "", directorySize: 0, mode: 0, uid: 0, gid: 0 };
}

/**
 * Appends a list of entries, each directory's best together.
 *
 * @throws {RangeError} If a path is too long.
 */
export function encodeListedEntries(entries: readonly ListedEntry[], writer: ByteWriter): void {
  writer.u32(entries.length);
  const shared = nothingShared();
  for (const entry of entries) encodeEntry(entry, shared, writer);
}

/**
 * Reads a list of entries.
 *
 * @throws {ProtocolError} If the bytes are none, or a path leaves its root.
 */
export function decodeListedEntries(reader: ByteReader): ListedEntry[] {
  const count = reader.u32();
  if (count * ENTRY_SIZE_MIN > reader.left) {
    throw new ProtocolError(`Cannot decode listing: ${count} entries cannot follow`);
  }
  const shared = nothingShared();
  const entries: ListedEntry[] = [];
  for (let i = 0; i < count; i++) entries.push(decodeEntry(reader, shared));
  return entries;
}

function encodeEntry(entry: ListedEntry, shared: Shared, writer: ByteWriter): void {
  const { path, kind, mode, uid, gid, linkTarget } = entry;
  const nameStart = path.lastIndexOf("/") + 1;
  const directorySize = Math.max(0, nameStart - 1);
  const isElsewhere = shared.directory.length !== directorySize || !path.startsWith(shared.directory);
  const isOtherMode = shared.mode !== mode;
  const isOtherOwner = shared.uid !== uid || shared.gid !== gid;
  writer.u8(
    kindCodes[kind] | (isElsewhere ? HAS_DIRECTORY : 0) | (isOtherMode ? HAS_MODE : 0) |
      (isOtherOwner ? HAS_OWNER : 0) | (entry.xattrDigest ? HAS_XATTRS : 0) |
      (entry.file === undefined ? 0 : HAS_FILE),
  );
  if (isElsewhere) encodePath(shared.directory = path.slice(0, directorySize), writer);
  encodeName(path.slice(nameStart), writer);
  writer.varint(entry.size).i64(entry.mtimeNs);
  if (isOtherMode) writer.u16(shared.mode = mode);
  if (isOtherOwner) writer.u32(shared.uid = uid).u32(shared.gid = gid);
  if (entry.xattrDigest) writer.i64(BigInt.asIntN(64, entry.xattrDigest));
  if (entry.file !== undefined) writer.i64(BigInt.asIntN(64, entry.file));
  if (kind === "symlink" || isDevice(kind)) encodePath(linkTarget, writer);
}

function decodeEntry(reader: ByteReader, shared: Shared): ListedEntry {
  const flags = reader.u8();
  const kind = kindNames[flags & KIND_MASK];
  if (kind === undefined) throw new ProtocolError("Cannot decode listing: a kind is unknown");
  const path = decodeEntryPath(reader, flags, shared);
  const [size, mtimeNs] = [reader.varint(), reader.i64()];
  if (flags & HAS_MODE) shared.mode = reader.u16();
  if (flags & HAS_OWNER) {
    shared.uid = reader.u32();
    shared.gid = reader.u32();
  }
  const { mode, uid, gid } = shared;
  const xattrDigest = flags & HAS_XATTRS ? BigInt.asUintN(64, reader.i64()) : 0n;
  const file = flags & HAS_FILE ? BigInt.asUintN(64, reader.i64()) : undefined;
  const linkTarget = kind === "symlink" || isDevice(kind) ? pathFromBytes(reader.bytes16()) : "";
  const entry: ListedEntry = { path, kind, mode, uid, gid, size, mtimeNs, linkTarget };
  if (xattrDigest !== 0n) entry.xattrDigest = xattrDigest;
  if (file !== undefined) entry.file = file;
  return entry;
}

function encodeName(name: string, writer: ByteWriter): void {
  const size = writer.size;
  if (writer.varint(name.length).ascii(name)) return;
  writer.cut(size);
  const bytes = pathToBytes(name);
  writer.varint(bytes.length).raw(bytes);
}

/** Reads a directory, if another one comes, and the name in it. Joined they are a path as `decodePath` takes it. */
function decodeEntryPath(reader: ByteReader, flags: number, shared: Shared): string {
  if (flags & HAS_DIRECTORY) {
    const before = reader.offset;
    shared.directory = decodePath(reader);
    shared.directorySize = reader.offset - before - 2;
  }
  const { directory, directorySize } = shared;
  const bytes = reader.raw(reader.varint());
  if (bytes.length === 0 && directory === "") return "";
  if (directorySize + 1 + bytes.length > limits.pathSizeMax) {
    throw new ProtocolError(`Cannot decode listing: a path in ${quote(directory)} is too long`);
  }
  const name = pathFromBytes(bytes);
  if (!isName(name)) throw new ProtocolError(`Cannot decode listing: ${quote(name)} is no name`);
  return joinPath(directory, name);
}
