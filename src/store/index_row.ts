/**
 * One entry of the index at rest, and what the store needs of an index to save and load it.
 *
 * ```
 *  0         4      5       6      8     12    16       24         32         40      48      56          58
 * ┌─────────┬──────┬───────┬──────┬─────┬─────┬────────┬──────────┬──────────┬───────┬───────┬───────────┬──────┬─────────────┐
 * │ parent  │ kind │ flags │ mode │ uid │ gid │ size   │ mtime ns │ ctime ns │ ino   │ dev   │ name size │ name │ link target │
 * │ u32     │ u8   │ u8    │ u16  │ u32 │ u32 │ u53    │ i64      │ i64      │ i64   │ u53   │ u16       │      │ up to end   │
 * └─────────┴──────┴───────┴──────┴─────┴─────┴────────┴──────────┴──────────┴───────┴───────┴───────────┴──────┴─────────────┘
 * kind   1 file · 2 directory · 3 symlink · 4 fifo · 5 socket · 6 block · 7 character
 * flags  1 trusted · 2 has a signature · 4 leftover
 * ```
 *
 * `parent` is the id of the directory's row. The root's id is {@linkcode ROOT_ID}; its parent is 0 and its name empty.
 * @module
 */
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { CorruptionError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Signature } from "../ops/held.ts";
import type { Kind } from "../sys/file_system.ts";

/** Id of the root's row, whether or not the row exists. */
export const ROOT_ID = 1;

/** Kinds by their code; code 0 is no kind. */
export const kindsByCode: readonly (Kind | undefined)[] = [
  undefined,
  "file",
  "directory",
  "symlink",
  "fifo",
  "socket",
  "block",
  "character",
];

/** Codes by kind. */
export const codesByKind: Readonly<Record<Kind, number>> = {
  file: 1,
  directory: 2,
  symlink: 3,
  fifo: 4,
  socket: 5,
  block: 6,
  character: 7,
};

/** Code of a directory, which the table asks for often. */
export const DIRECTORY_CODE = codesByKind.directory;

const TRUSTED = 1;
const HAS_SIGNATURE = 2;
const LEFTOVER = 4;
const HAS_XATTRS = 8;
const HAS_LINKS = 16;
const FLAGS_MAX = 31;

/** One entry of the index with its place in the tree. */
export interface IndexRow {
  parent: number;
  /** Raw bytes, without slash. */
  name: Uint8Array;
  kindCode: number;
  trusted: boolean;
  hasSignature: boolean;
  /** @default {false} */
  isLeftover?: boolean;
  /** Digest of extended attributes. @default {0n} */
  xattrDigest?: bigint;
  /** As in `Held`. @default {0}, of none */
  linkGroup?: number;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeNs: bigint;
  ctimeNs: bigint;
  dev: number;
  ino: bigint;
  /** Raw bytes; empty unless a symbolic link. */
  linkTarget: Uint8Array;
}

/** What one row becomes. */
export type IndexChange =
  /** `signature`: `undefined` leaves the stored one as it is, `null` deletes it. */
  | { id: number; kind: "write"; row: IndexRow; signature: Signature | null | undefined }
  /** The entry and its signature are gone. */
  | { id: number; kind: "delete" }
  /** The row, if there is one, stays but is not trusted any more. */
  | { id: number; kind: "distrust" };

/** What the store needs of an index; `source/index.ts` is one. */
export interface PersistentIndex {
  /** The last sequence that the target has acked. */
  readonly acknowledged: number;

  /** Whether rows saved earlier no longer belong to this index: the store empties itself first. */
  readonly startsOver: boolean;
  /** Everything that differs from what was last saved, as of the acked sequence. */
  changes(): Iterable<IndexChange>;
  /** Called when the changes are in the database for good: they need not be kept any more. */
  changesSaved(): void;
  /** Empties the index. */
  clear(): void;
  /** Empties the index and makes room for rows up to this id (which may be nonsense), before they are restored. */
  beginRestore(lastId: number): void;
  /** Takes one loaded row, in any order of ids. Keeps none of its buffers. */
  restoreRow(id: number, row: IndexRow): void;
  /**
   * Ends loading: from here on the index is what was saved.
   *
   * @returns What is wrong with the rows (orphan, cycle, two of one name), or `undefined` if they are a tree.
   */
  finishRestore(acknowledged: number): string | undefined;
  /** Tells the index where saved signatures are read from. */
  readSignaturesWith(read: (id: number) => Signature | undefined): void;
}

/** Encodes a row as the module's drawing says. */
export function encodeIndexRow(row: IndexRow): Uint8Array<ArrayBuffer> {
  rowWriter.reset();
  rowWriter.u32(row.parent).u8(row.kindCode)
    .u8(
      (row.trusted ? TRUSTED : 0) | (row.hasSignature ? HAS_SIGNATURE : 0) | (row.isLeftover ? LEFTOVER : 0) |
        (row.xattrDigest ? HAS_XATTRS : 0) | (row.linkGroup ? HAS_LINKS : 0),
    )
    .u16(row.mode).u32(row.uid).u32(row.gid).u53(row.size)
    .i64(row.mtimeNs).i64(row.ctimeNs).i64(BigInt.asIntN(64, row.ino)).u53(row.dev)
    .bytes16(row.name);
  if (row.xattrDigest) rowWriter.i64(BigInt.asIntN(64, row.xattrDigest));
  if (row.linkGroup) rowWriter.i64(BigInt(row.linkGroup));
  rowWriter.raw(row.linkTarget);
  return rowWriter.take();
}

const rowWriter = new ByteWriter(512);

/**
 * Decodes what {@linkcode encodeIndexRow} made of the row with this id. Name and link target are views of `bytes`.
 *
 * @throws {CorruptionError} If the bytes are too few, or a kind, flag, id or name cannot be. The message says only what was found.
 */
export function decodeIndexRow(id: number, bytes: Uint8Array): IndexRow {
  if (id < ROOT_ID || id > limits.indexEntriesMax) throw new CorruptionError("id out of range");
  if (bytes.length < 58) throw new CorruptionError(`row of ${bytes.length} bytes`);
  const reader = new ByteReader(bytes);
  const parent = reader.u32();
  const kindCode = reader.u8();
  const flags = reader.u8();
  if (kindsByCode[kindCode] === undefined) throw new CorruptionError(`kind ${kindCode}`);
  if (flags > FLAGS_MAX) throw new CorruptionError(`flags ${flags}`);
  const mode = reader.u16();
  const uid = reader.u32();
  const gid = reader.u32();
  const size = reader.u53();
  const mtimeNs = reader.i64();
  const ctimeNs = reader.i64();
  const ino = BigInt.asUintN(64, reader.i64());
  const dev = reader.u53();
  const nameSize = reader.u16();
  if (nameSize > reader.left) throw new CorruptionError(`name of ${nameSize} bytes in ${reader.left}`);
  const name = reader.raw(nameSize);
  if (!isPlaceFor(id, parent, name)) throw new CorruptionError(`parent ${parent}, name of ${nameSize} bytes`);
  const xattrDigest = flags & HAS_XATTRS ? readNumber(reader, "digest") : 0n;
  const linkGroup = flags & HAS_LINKS ? Number(readNumber(reader, "link group")) : 0;
  const linkTarget = reader.raw(reader.left);
  const trusted = (flags & TRUSTED) !== 0;
  const hasSignature = (flags & HAS_SIGNATURE) !== 0;
  const isLeftover = (flags & LEFTOVER) !== 0;
  return {
    parent,
    name,
    kindCode,
    trusted,
    hasSignature,
    ...(isLeftover ? { isLeftover } : undefined),
    ...(xattrDigest !== 0n ? { xattrDigest: BigInt.asUintN(64, xattrDigest) } : undefined),
    ...(linkGroup !== 0 ? { linkGroup } : undefined),
    mode,
    uid,
    gid,
    size,
    mtimeNs,
    ctimeNs,
    dev,
    ino,
    linkTarget,
  };
}

/** Whether a row can have this parent and name: the root has none, every other has a name of one part. */
function isPlaceFor(id: number, parent: number, name: Uint8Array): boolean {
  if (id === ROOT_ID) return parent === 0 && name.length === 0;
  if (parent < ROOT_ID || name.length === 0 || name.includes(0) || name.includes(0x2f)) return false;
  return !(name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e)));
}

/** A number of eight bytes that a flag has announced. */
function readNumber(reader: ByteReader, what: string): bigint {
  if (reader.left < 8) throw new CorruptionError(`${what} of ${reader.left} bytes`);
  return reader.i64();
}
