/**
 * Ops: replicated changes, with all parameters. The encoding is the same on the wire and at rest.
 *
 * ```
 *  0      1      2              6
 * ┌──────┬──────┬──────────────┬──────────────────────────────┬───────────────┐
 * │ kind │ zero │ body size u32│ fields of the kind, in order │ optional …    │
 * └──────┴──────┴──────────────┴──────────────────────────────┴───────────────┘
 * path        u16 size, raw bytes
 * attributes  u16 presence bits, then each present field in order of its bit:
 *             1 mode u16 · 2 uid u32 · 4 gid u32 · 8 mtime i64 ns
 *             16 extended attributes: count u16, each name (as a path) and value (as data)      (32… are free)
 * data        u32 size, bytes
 * flag        u8, 0 or 1
 * optional    tag u8, u32 size, bytes; a reader skips tags that it does not know (tags below 128) or
 *             ends the session (128 and above)
 * ```
 *
 * The table of fields is in docs/WIRE.md §5.
 * @module
 */
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { checkRelativePath, pathFromBytes, pathToBytes, quote } from "../base/path.ts";
import {
  type AttributeChange,
  deviceNumbers,
  isDevice,
  type NodeKind,
  type Xattr,
} from "../sys/file_system.ts";
import { isReplicatedXattr } from "../sys/xattrs.ts";

/** What a transfer starts from, and how it becomes the live file. */
export type TransferBase =
  /** Nothing: blocks make the whole file, which then takes the name by rename. */
  | "empty"
  /** A copy of the live file: blocks replace parts of it, then it takes the name by rename. */
  | "copy"
  /** The live file itself: blocks are journaled, then written in place (docs/DISK.md §4). */
  | "patch";

/** One replicated change. Paths are relative to the replica's root. */
export type Op =
  /** A whole small file. */
  | { kind: "file"; path: string; attributes: AttributeChange; data: Uint8Array }
  /** Begins the next version of a large file. `transfer` names it until `close` or `abandon`. */
  | { kind: "open"; transfer: number; path: string; base: TransferBase }
  /** Bytes of an open transfer. */
  | { kind: "block"; transfer: number; offset: number; data: Uint8Array }
  /** Makes `size` bytes of an open transfer a hole: zeros that take no room. */
  | { kind: "hole"; transfer: number; offset: number; size: number }
  /** Ends a transfer: cuts or extends to `size`, sets attributes, makes it live. */
  | { kind: "close"; transfer: number; path: string; size: number; attributes: AttributeChange }
  /** Throws an open transfer away, or with {@linkcode ALL_TRANSFERS} every one: their source is gone. */
  | { kind: "abandon"; transfer: number }
  | { kind: "mkdir"; path: string; attributes: AttributeChange }
  | { kind: "symlink"; path: string; target: string; attributes: AttributeChange }
  /** A FIFO, a socket or a device node; `device` as in `Stat`. */
  | { kind: "node"; path: string; node: NodeKind; device: string; attributes: AttributeChange }
  /** Moves an entry with everything below it. `exchange` swaps the two. */
  | { kind: "rename"; path: string; to: string; exchange: boolean }
  /** Gives what is at `path`, anything but a directory, a further name, in the place of what had it. */
  | { kind: "link"; path: string; to: string }
  /** Removes anything but a directory. */
  | { kind: "unlink"; path: string }
  /** Removes a directory that must be empty. */
  | { kind: "rmdir"; path: string }
  | { kind: "attributes"; path: string; attributes: AttributeChange };

/** Name of a kind of op. */
export type OpKind = Op["kind"];

/** In `abandon`: every open transfer. No transfer has this number. */
export const ALL_TRANSFERS = 0;

/** Bytes before an op's body. */
export const OP_HEADER_SIZE = 6;

const kindCodes: Record<OpKind, number> = {
  file: 1,
  open: 2,
  block: 3,
  close: 4,
  abandon: 5,
  mkdir: 6,
  symlink: 7,
  rename: 8,
  unlink: 9,
  rmdir: 10,
  attributes: 11,
  node: 12,
  hole: 13,
  link: 14,
};
const kindNames = new Map(Object.entries(kindCodes).map(([name, code]) => [code, name as OpKind]));

const baseCodes: Record<TransferBase, number> = { empty: 0, copy: 1, patch: 2 };
const baseNames: TransferBase[] = ["empty", "copy", "patch"];

const nodeCodes: Record<NodeKind, number> = { fifo: 1, socket: 2, block: 3, character: 4 };
const nodeNames = new Map(Object.entries(nodeCodes).map(([name, code]) => [code, name as NodeKind]));

/** Tags below this one may be skipped by a reader that does not know them. */
const REQUIRED_TAG_MIN = 128;

/** All kinds, for tables that must name each. */
export const opKinds = Object.keys(kindCodes) as OpKind[];

/** Paths that an op changes: none, one or (for a rename) two. Of a link it is the further name. */
export function opPaths(op: Op): string[] {
  if (op.kind === "rename") return [op.path, op.to];
  if (op.kind === "link") return [op.to];
  return "path" in op ? [op.path] : [];
}

/** Appends an op's encoding. `data` is copied into the writer. */
export function encodeOp(op: Op, writer: ByteWriter): void {
  writer.u8(kindCodes[op.kind]).u8(0);
  const sizeAt = writer.size;
  writer.u32(0);
  const bodyAt = writer.size;
  encodeFields(op, writer);
  writer.patchU32(sizeAt, writer.size - bodyAt);
}

/**
 * Decodes one op and moves the reader behind it. `data` is a view of the reader's bytes.
 *
 * @throws {ProtocolError} If the bytes are not an op, a path leaves its root, or a required field is unknown.
 */
export function decodeOp(reader: ByteReader): Op {
  const code = reader.u8();
  if (reader.u8() !== 0) throw new ProtocolError(`Cannot decode op: the byte after its kind is not zero`);
  const body = new ByteReader(reader.raw(reader.u32()));
  const kind = kindNames.get(code);
  if (kind === undefined) throw new ProtocolError(`Cannot decode op: kind ${code} is unknown`);
  const op = decodeFields(kind, body);
  skipOptionalFields(body);
  return op;
}

function encodeFields(op: Op, writer: ByteWriter): void {
  switch (op.kind) {
    case "file":
      encodePath(op.path, writer);
      encodeAttributes(op.attributes, writer);
      writer.bytes32(op.data);
      break;
    case "open":
      writer.u32(op.transfer).u8(baseCodes[op.base]);
      encodePath(op.path, writer);
      break;
    case "block":
      writer.u32(op.transfer).u53(op.offset).bytes32(op.data);
      break;
    case "hole":
      writer.u32(op.transfer).u53(op.offset).u53(op.size);
      break;
    case "close":
      writer.u32(op.transfer).u53(op.size);
      encodePath(op.path, writer);
      encodeAttributes(op.attributes, writer);
      break;
    case "abandon":
      writer.u32(op.transfer);
      break;
    case "mkdir":
    case "attributes":
      encodePath(op.path, writer);
      encodeAttributes(op.attributes, writer);
      break;
    case "symlink":
      encodePath(op.path, writer);
      encodePath(op.target, writer);
      encodeAttributes(op.attributes, writer);
      break;
    case "node": {
      const [major, minor] = deviceNumbers(op.device);
      writer.u8(nodeCodes[op.node]).u32(major).u32(minor);
      encodePath(op.path, writer);
      encodeAttributes(op.attributes, writer);
      break;
    }
    case "rename":
      writer.flag(op.exchange);
      encodePath(op.path, writer);
      encodePath(op.to, writer);
      break;
    case "link":
      encodePath(op.path, writer);
      encodePath(op.to, writer);
      break;
    case "unlink":
    case "rmdir":
      encodePath(op.path, writer);
      break;
  }
}

function decodeFields(kind: OpKind, reader: ByteReader): Op {
  switch (kind) {
    case "file": {
      const path = decodeEntryPath(reader);
      return { kind, path, attributes: decodeAttributes(reader), data: reader.bytes32() };
    }
    case "open": {
      const transfer = decodeTransfer(reader);
      const base = baseNames[reader.u8()];
      if (base === undefined) throw new ProtocolError("Cannot decode op: the base of a transfer is unknown");
      return { kind, transfer, base, path: decodeEntryPath(reader) };
    }
    case "block":
      return { kind, transfer: decodeTransfer(reader), offset: reader.u53(), data: reader.bytes32() };
    case "hole":
      return { kind, transfer: decodeTransfer(reader), offset: reader.u53(), size: reader.u53() };
    case "close": {
      const transfer = decodeTransfer(reader);
      const size = reader.u53();
      const path = decodeEntryPath(reader);
      return { kind, transfer, size, path, attributes: decodeAttributes(reader) };
    }
    case "abandon":
      return { kind, transfer: reader.u32() };
    case "mkdir":
    case "attributes": {
      // The root's own attributes are replicated too: its path is "".
      const path = kind === "mkdir" ? decodeEntryPath(reader) : decodePath(reader);
      return { kind, path, attributes: decodeAttributes(reader) };
    }
    case "symlink": {
      const path = decodeEntryPath(reader);
      const target = decodeLinkTarget(reader);
      return { kind, path, target, attributes: decodeAttributes(reader) };
    }
    case "node": {
      const node = nodeNames.get(reader.u8());
      if (node === undefined) throw new ProtocolError("Cannot decode op: the kind of a node is unknown");
      const [major, minor] = [reader.u32(), reader.u32()];
      const device = isDevice(node) ? `${major}:${minor}` : "";
      return { kind, node, device, path: decodeEntryPath(reader), attributes: decodeAttributes(reader) };
    }
    case "rename": {
      const exchange = reader.flag();
      return { kind, exchange, path: decodeEntryPath(reader), to: decodeEntryPath(reader) };
    }
    case "link":
      return { kind, path: decodeEntryPath(reader), to: decodeEntryPath(reader) };
    case "unlink":
    case "rmdir":
      return { kind, path: decodeEntryPath(reader) };
  }
}

/** Whether a path can stand in an op. A longer one is a problem of its entry. */
export function fitsOp(path: string): boolean {
  // A unit of UTF-16 takes three bytes at most.
  return path.length * 3 <= limits.pathSizeMax || pathToBytes(path).length <= limits.pathSizeMax;
}

/**
 * Appends a path as the module's drawing says.
 *
 * @throws {RangeError} If it does not fit (see {@linkcode fitsOp}).
 */
export function encodePath(path: string, writer: ByteWriter): void {
  writer.bytes16(pathToBytes(path));
}

/**
 * Reads a path; the root is `""`.
 *
 * @throws {ProtocolError} If it leaves its root.
 */
export function decodePath(reader: ByteReader): string {
  const path = pathFromBytes(reader.bytes16());
  checkRelativePath(path);
  return path;
}

/** Number of one transfer. */
function decodeTransfer(reader: ByteReader): number {
  const transfer = reader.u32();
  if (transfer === ALL_TRANSFERS) throw new ProtocolError("Cannot decode op: it names no transfer");
  return transfer;
}

/** Target of a symbolic link: anything that the system would take, it is never followed. */
function decodeLinkTarget(reader: ByteReader): string {
  const target = pathFromBytes(reader.bytes16());
  if (target === "" || target.includes("\0")) {
    throw new ProtocolError(`Cannot decode op: ${quote(target)} is no target of a symbolic link`);
  }
  return target;
}

function decodeEntryPath(reader: ByteReader): string {
  const path = decodePath(reader);
  if (path === "") throw new ProtocolError("Cannot decode op: it names the root itself");
  return path;
}

/** Appends attributes as the module's drawing says. */
export function encodeAttributes(change: AttributeChange, writer: ByteWriter): void {
  const { mode, uid, gid, mtimeNs, xattrs } = change;
  writer.u16(
    (mode === undefined ? 0 : 1) | (uid === undefined ? 0 : 2) | (gid === undefined ? 0 : 4) |
      (mtimeNs === undefined ? 0 : 8) | (xattrs === undefined ? 0 : 16),
  );
  if (mode !== undefined) writer.u16(mode);
  if (uid !== undefined) writer.u32(uid);
  if (gid !== undefined) writer.u32(gid);
  if (mtimeNs !== undefined) writer.i64(mtimeNs);
  if (xattrs !== undefined) encodeXattrs(xattrs, writer);
}

/** Appends extended attributes as the module's drawing says. */
export function encodeXattrs(xattrs: readonly Xattr[], writer: ByteWriter): void {
  writer.u16(xattrs.length);
  for (const { name, value } of xattrs) {
    encodePath(name, writer);
    writer.bytes32(value);
  }
}

/** Reads attributes. @throws {ProtocolError} If an unknown one is present. */
export function decodeAttributes(reader: ByteReader): AttributeChange {
  const present = reader.u16();
  if (present > 31) throw new ProtocolError("Cannot decode op: an attribute is unknown");
  const change: AttributeChange = {};
  if (present & 1) change.mode = reader.u16() & 0o7777;
  if (present & 2) change.uid = reader.u32();
  if (present & 4) change.gid = reader.u32();
  if (present & 8) change.mtimeNs = reader.i64();
  if (present & 16) change.xattrs = decodeXattrs(reader);
  return change;
}

/** Reads extended attributes. @throws {ProtocolError} If one has no name, or one that is not replicated. */
function decodeXattrs(reader: ByteReader): Xattr[] {
  const count = reader.u16();
  const xattrs: Xattr[] = [];
  for (let i = 0; i < count; i++) {
    const name = pathFromBytes(reader.bytes16());
    if (!isReplicatedXattr(name) || name.includes("\0")) {
      throw new ProtocolError(`Cannot decode op: ${quote(name)} is no extended attribute that is replicated`);
    }
    // A copy: the value may outlive the message.
    xattrs.push({ name, value: reader.bytes32().slice() });
  }
  return xattrs;
}

/** Skips the optional fields at an encoding's end. @throws {ProtocolError} If one is required and unknown. */
export function skipOptionalFields(reader: ByteReader): void {
  while (reader.left > 0) {
    const tag = reader.u8();
    reader.bytes32();
    if (tag >= REQUIRED_TAG_MIN) {
      throw new ProtocolError(`Cannot decode op: required field ${tag} is unknown`);
    }
  }
}
