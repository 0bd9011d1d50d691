/**
 * The bytes of a tar archive: ustar headers, and pax records for what does not fit in them (POSIX.1-2017, pax,
 * "ustar Interchange Format" and "pax Extended Header").
 *
 * ```
 * entry      [pax header ▸ records, padded] [GNU long name ▸ name, padded] header ▸ contents, padded      to 512 each
 * header     0    100  108  116  124   136    148       156   157       257         265    297    329    337    345     500
 *            name mode uid  gid  size  mtime  checksum  type  linkname  "ustar"0"00" uname  gname  major  minor  prefix  0…
 * record     "LENGTH KEYWORD=VALUE\n"        LENGTH is decimal and counts the whole record
 * end        two blocks of zeros, then zeros up to a whole record of 10,240 bytes
 * ```
 *
 * We write it ourselves because names are raw bytes here: the libraries that stream (`tar-stream`, `tar`, `@std/tar`)
 * take names as strings, encode them as UTF-8, and write no extended attributes or none but strings.
 *
 * How names survive, as tried with GNU tar 1.34 and bsdtar 3.6 in several locales:
 * - ASCII that fits stands in the header; Unicode, and what is too long, in the records `path` and `linkpath`.
 * - A name that is not UTF-8 stands in the header as it is. Where it does not fit, it goes into a GNU long name (`L`,
 *   `K`): readers take those bytes as they are, while bsdtar drops a link whose `linkpath` is not UTF-8, and GNU tar
 *   warns of `hdrcharset=BINARY`.
 * - ACLs become text (`SCHILY.acl.access`): as a raw attribute neither of the two restores them.
 * @module
 */
import { concatBytes, utf8 } from "../base/bytes.ts";
import { pathToBytes } from "../base/path.ts";
import type { Xattr } from "../sys/file_system.ts";
import { aclText } from "./acl_text.ts";

/** Bytes that everything in an archive is a multiple of. */
export const BLOCK_SIZE = 512;
/** Bytes that a whole archive is a multiple of, and that a tape is written in. */
export const RECORD_SIZE = 20 * BLOCK_SIZE;

const NAME_SIZE = 100, PREFIX_SIZE = 155;
const SECOND_NS = 1_000_000_000n;
/** Where ACLs stand among the extended attributes, and the records that they become. */
const aclRecords: Record<string, string> = {
  "system.posix_acl_access": "SCHILY.acl.access",
  "system.posix_acl_default": "SCHILY.acl.default",
};

/** What an entry of an archive is. `link` is a further name of an entry before it. */
export type TarKind = "file" | "link" | "symlink" | "character" | "block" | "directory" | "fifo";

const typeFlags: Record<TarKind, string> = {
  file: "0",
  link: "1",
  symlink: "2",
  character: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

/** An entry of an archive. */
export interface TarEntry {
  kind: TarKind;
  /** Relative path as everywhere (base/path.ts); the root is `""` and stands as `./`. */
  path: string;
  /** Permission bits: `0o7777`. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of contents that follow. 0 for all but files. */
  size: number;
  /** Nanoseconds since 1970, also before. */
  mtimeNs: bigint;
  /** Target of a symbolic link, or path of the first name of a hard link. @default {""} */
  linkPath?: string;
  /** Numbers of a device node. @default 0, 0 */
  device?: { major: number; minor: number };
  /** Extended attributes by their full names, ACLs among them. @default none */
  xattrs?: readonly Xattr[];
}

/** Bytes of zeros that follow contents of `size` bytes. */
export function paddingSize(size: number): number {
  return (BLOCK_SIZE - size % BLOCK_SIZE) % BLOCK_SIZE;
}

/** Bytes that end an archive which is `size` bytes long so far. */
export function encodeTarEnd(size: number): Uint8Array<ArrayBuffer> {
  const least = size + 2 * BLOCK_SIZE;
  return new Uint8Array(Math.ceil(least / RECORD_SIZE) * RECORD_SIZE - size);
}

/** Everything of an entry that stands before its contents. */
export function encodeTarEntry(entry: TarEntry): Uint8Array<ArrayBuffer> {
  const header = new Header(typeFlags[entry.kind]);
  const records = new Records();
  const longNames: Uint8Array[] = [];
  const { kind, path, mode, uid, gid, size, mtimeNs, linkPath = "", device, xattrs = [] } = entry;
  const name = pathToBytes(kind === "directory" ? `${path || "."}/` : path);
  const nameFits = header.name(name);
  if (!path.isWellFormed()) longNames.push(...nameFits ? [] : [encodeLongName("L", name)]);
  else if (!nameFits || isForeign(name)) records.add("path", name);
  const link = pathToBytes(linkPath);
  const linkFits = header.bytes(157, NAME_SIZE, link);
  if (!linkPath.isWellFormed()) longNames.push(...linkFits ? [] : [encodeLongName("K", link)]);
  else if (!linkFits || isForeign(link)) records.add("linkpath", link);
  header.number(100, 8, mode);
  if (!header.number(108, 8, uid)) records.addText("uid", `${uid}`);
  if (!header.number(116, 8, gid)) records.addText("gid", `${gid}`);
  if (!header.number(124, 12, size)) records.addText("size", `${size}`);
  const isWhole = mtimeNs >= 0n && mtimeNs % SECOND_NS === 0n;
  const seconds = mtimeNs >= 0n ? Number(mtimeNs / SECOND_NS) : 0;
  if (!header.number(136, 12, seconds) || !isWhole) records.addText("mtime", decimalSeconds(mtimeNs));
  if (device !== undefined) {
    header.number(329, 8, device.major);
    header.number(337, 8, device.minor);
  }
  for (const xattr of xattrs) addXattr(records, xattr);
  return concatBytes(...records.blocks(), ...longNames, header.finish());
}

/** Seconds as a decimal fraction: POSIX has no other form for times with parts of seconds, or before 1970. */
function decimalSeconds(ns: bigint): string {
  const size = ns < 0n ? -ns : ns;
  const digits = `${size % SECOND_NS}`.padStart(9, "0").replace(/0+$/, "");
  return `${ns < 0n ? "-" : ""}${size / SECOND_NS}${digits === "" ? "" : "."}${digits}`;
}

function addXattr(records: Records, { name, value }: Xattr): void {
  const text = name in aclRecords ? aclText(value) : undefined;
  if (text !== undefined) return records.addText(aclRecords[name], text);
  // As GNU tar writes it: an equals sign would end the keyword.
  const keyword = name.replaceAll("%", "%25").replaceAll("=", "%3D");
  records.add(`SCHILY.xattr.${keyword}`, value);
}

/** Whether a name has bytes that the header's character set, which is ASCII, does not have. */
function isForeign(name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) if (name[i] > 0x7f) return true;
  return false;
}

/** An entry that holds a name for the next one (tar(5) of GNU tar, `@LongLink`). */
function encodeLongName(type: "L" | "K", name: Uint8Array): Uint8Array {
  const header = new Header(type);
  // The name ends in a NUL, which counts.
  const size = name.length + 1;
  header.bytes(0, NAME_SIZE, utf8("././@LongLink"));
  header.number(124, 12, size);
  return concatBytes(header.finish(), name, new Uint8Array(1 + paddingSize(size)));
}

const paxHeaderName = utf8("././@PaxHeader");

/** Records of a pax header. */
class Records {
  readonly #parts: Uint8Array[] = [];
  #size = 0;

  add(keyword: string, value: Uint8Array): void {
    const key = pathToBytes(keyword);
    const length = recordLength(key.length + value.length);
    this.#push(concatBytes(utf8(`${length} `), key, utf8("="), value, utf8("\n")));
  }

  /** A record of ASCII alone. */
  addText(keyword: string, value: string): void {
    this.#push(utf8(`${recordLength(keyword.length + value.length)} ${keyword}=${value}\n`));
  }

  /** Header and records, or nothing if there is no record. */
  blocks(): Uint8Array[] {
    if (this.#size === 0) return [];
    const header = new Header("x");
    header.bytes(0, NAME_SIZE, paxHeaderName);
    header.number(100, 8, 0o644);
    header.number(124, 12, this.#size);
    return [header.finish(), ...this.#parts, new Uint8Array(paddingSize(this.#size))];
  }

  #push(record: Uint8Array): void {
    this.#parts.push(record);
    this.#size += record.length;
  }
}

/** Length of a record whose keyword and value have so many bytes: it counts its own digits. */
function recordLength(size: number): number {
  const rest = size + " =\n".length;
  const almost = rest + `${rest}`.length;
  // With its digits it may have one digit more.
  return rest + `${almost}`.length;
}

/** Fields of numbers: where they begin and how large they are. */
const numberFields = [[100, 8], [108, 8], [116, 8], [124, 12], [136, 12], [329, 8], [337, 8]] as const;

/** A header of nothing, which each begins as. */
const emptyHeader = new Uint8Array(BLOCK_SIZE);
emptyHeader.set(utf8("ustar\x0000"), 257);
for (const [at, size] of numberFields) emptyHeader.fill(0x30, at, at + size - 1);

/** One ustar header. What does not fit is cut, and told, so that records can say it. */
class Header {
  readonly #block = emptyHeader.slice();

  constructor(type: string) {
    this.#block[156] = type.charCodeAt(0);
  }

  /** Bytes of any kind. False if they do not fit. */
  bytes(at: number, size: number, value: Uint8Array): boolean {
    const fits = value.length <= size;
    this.#block.set(fits ? value : value.subarray(0, size), at);
    return fits;
  }

  /** An octal number that ends in a NUL. False if it does not fit: then the largest that does stands there. */
  number(at: number, size: number, value: number): boolean {
    const max = 8 ** (size - 1) - 1;
    let rest = Math.min(value, max);
    for (let digit = at + size - 2; digit >= at; digit--) {
      this.#block[digit] = 0x30 + rest % 8;
      rest = Math.floor(rest / 8);
    }
    return value <= max;
  }

  /** A name, parted in two at a slash where that makes it fit. False if it does not fit. */
  name(name: Uint8Array): boolean {
    if (this.bytes(0, NAME_SIZE, name)) return true;
    // Not at its last byte: the slash that ends a directory's name stays with it.
    const slash = name.subarray(0, Math.min(PREFIX_SIZE + 1, name.length - 1)).lastIndexOf(0x2f);
    if (slash <= 0 || name.length - slash - 1 > NAME_SIZE) return false;
    this.#block.fill(0, 0, NAME_SIZE);
    this.bytes(0, NAME_SIZE, name.subarray(slash + 1));
    this.bytes(345, PREFIX_SIZE, name.subarray(0, slash));
    return true;
  }

  finish(): Uint8Array {
    // The checksum counts its own eight bytes as spaces.
    let sum = 8 * 0x20;
    for (let i = 0; i < BLOCK_SIZE; i++) sum += this.#block[i];
    this.number(148, 7, sum);
    this.#block[155] = 0x20;
    return this.#block;
  }
}
