/**
 * Names and paths. On disk and on the wire a path is raw bytes; in memory it is a string in which a byte that is
 * not valid UTF-8 stands as a lone surrogate U+DC80…U+DCFF (as Python's `surrogateescape` does). The mapping loses
 * nothing in either direction, so a path can be a Map key, be matched by a rule, and be printed.
 *
 * Paths inside a set or replica are relative to its root, without leading or trailing slash; the root is `""`.
 * @module
 */
import { ByteWriter, utf8 } from "./bytes.ts";
import { ProtocolError } from "./errors.ts";

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Longer names are left to the decoder, which is the quicker one then. */
const SHORT_SIZE = 64;

/** Decodes a name or path; see the module's text for bytes that are not UTF-8. */
export function pathFromBytes(bytes: Uint8Array): string {
  if (bytes.length <= SHORT_SIZE && isAscii(bytes)) {
    return String.fromCharCode.apply(null, bytes as unknown as number[]);
  }
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return decodeEscaping(bytes);
  }
}

function isAscii(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] > 0x7f) return false;
  return true;
}

/** Encodes a path as raw bytes, exactly those that {@linkcode pathFromBytes} was given. */
export function pathToBytes(path: string): Uint8Array<ArrayBuffer> {
  if (path.isWellFormed()) return utf8(path);
  const bytes = new ByteWriter(path.length);
  let plain = "";
  for (const symbol of path) {
    const code = symbol.codePointAt(0)!;
    if (code >= 0xdc80 && code <= 0xdcff) {
      bytes.raw(utf8(plain)).u8(code - 0xdc00);
      plain = "";
    } else {
      plain += symbol;
    }
  }
  return bytes.raw(utf8(plain)).take();
}

/** Joins a directory's path and a name below it. */
export function joinPath(directory: string, name: string): string {
  return directory === "" ? name : `${directory}/${name}`;
}

/** The directory that holds `path`; `""` for what lies in the root. */
export function parentPath(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Whether `path` is `directory` itself or lies below it. */
export function isWithin(path: string, directory: string): boolean {
  return directory === "" || path === directory ||
    (path.startsWith(directory) && path[directory.length] === "/");
}

/** `path` moved along when directory `from` was renamed to `to`; `path` must lie within `from`. */
export function movePath(path: string, from: string, to: string): string {
  return to + path.slice(from.length);
}

/** Whether `name` can be the name of an entry: not empty, `.` or `..`, without slash and NUL. */
export function isName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !name.includes("/") && !name.includes("\0");
}

/**
 * Refuses a relative path that could name something outside its root: absolute, with an empty, `.` or `..` part, or
 * with a NUL.
 *
 * @throws {ProtocolError} If the path is such a one. The root (`""`) is allowed.
 */
export function checkRelativePath(path: string): void {
  if (path === "") return;
  if (path.includes("\0")) throw new ProtocolError(`Cannot use path ${quote(path)}: it holds a NUL`);
  for (const part of path.split("/")) {
    if (part === "" || part === "." || part === "..") {
      throw new ProtocolError(`Cannot use path ${quote(path)}: it leaves its root`);
    }
  }
}

/** Characters that would steer a terminal, turn the reading direction, break a line or stand for something else. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

/** A path for people: quoted, control characters and stray bytes escaped. Two paths never look alike by escapes. */
export function quote(path: string): string {
  let shown = "";
  for (const symbol of path) {
    const code = symbol.codePointAt(0)!;
    if (code >= 0xdc80 && code <= 0xdcff) shown += `\\x${(code - 0xdc00).toString(16)}`;
    else if (code < 0x20 || symbol === '"' || symbol === "\\") shown += JSON.stringify(symbol).slice(1, -1);
    else if (unprintable.test(symbol)) shown += `\\u{${code.toString(16)}}`;
    else shown += symbol;
  }
  return `"${shown}"`;
}

function decodeEscaping(bytes: Uint8Array): string {
  let decoded = "";
  let at = 0;
  while (at < bytes.length) {
    const size = sequenceSize(bytes, at);
    if (size === 0) decoded += String.fromCharCode(0xdc00 + bytes[at++]);
    else decoded += strictDecoder.decode(bytes.subarray(at, at += size));
  }
  return decoded;
}

/** Size of the valid UTF-8 sequence at `at`, or 0 if there is none. */
function sequenceSize(bytes: Uint8Array, at: number): number {
  const first = bytes[at];
  if (first < 0x80) return 1;
  const size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (size === 0 || at + size > bytes.length) return 0;
  try {
    strictDecoder.decode(bytes.subarray(at, at + size));
    return size;
  } catch {
    return 0;
  }
}
