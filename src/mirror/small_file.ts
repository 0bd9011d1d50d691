/**
 * Files that fit one op: they are read whole, as they were at one moment.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { OpenFile, Stat, Tree } from "../sys/file_system.ts";
import { pageAligned } from "../sys/libc.ts";
import { hashBytes } from "./signature.ts";
import { digestXattrs, fittingXattrs } from "./xattrs.ts";

/** A file that went out as one op. */
export interface SmallFile {
  /** Attributes from before the last reading; `size` is that of `data`. */
  stat: Stat;
  /** Contents; valid until the next small file is read. */
  data: Uint8Array;
  /** It changed while it was read, each time. */
  restless: boolean;
}

const smallFileBuffer = lazily(() => pageAligned(limits.opDataSizeMax));

/**
 * Reads a file that fits one op, as it was at one moment if it ever rests. `undefined` if it has grown too large.
 *
 * @param xattrs Whether extended attributes are read, too.
 * @throws {SystemError} If it cannot be opened or read.
 */
export function readSmallFile(tree: Tree, path: string, xattrs = false): SmallFile | undefined {
  using file = tree.open(path, { access: "read" });
  const buffer = smallFileBuffer();
  for (let pass = 1;; pass++) {
    const stat = look(file, xattrs);
    if (stat.size > buffer.length) return undefined;
    // Just its size: whether it has grown, its attributes tell, and asking for its end costs a call more.
    const size = file.read(buffer.subarray(0, stat.size), 0);
    const rested = isSameVersion(stat, file.stat()) && size === stat.size;
    if (rested || pass >= limits.readPassesMax) {
      return { stat: { ...stat, size }, data: buffer.subarray(0, size), restless: !rested };
    }
  }
}

/** Whether two looks at an open file saw the same version of it. */
export function isSameVersion(a: Readonly<Stat>, b: Readonly<Stat>): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

/** Attributes of an open file, extended ones, too, if they fit an op. */
export function look(file: OpenFile, xattrs: boolean): Stat {
  const stat = file.stat();
  if (xattrs) stat.xattrs = fittingXattrs(file.xattrs());
  return stat;
}

/** Hash of a small file's contents, and of its extended attributes if they were read. */
export function hashVersion({ data, stat }: Pick<SmallFile, "data" | "stat">): Uint8Array<ArrayBuffer> {
  const hash = new Uint8Array(16 + 8);
  hash.set(hashBytes(data));
  new DataView(hash.buffer).setBigUint64(16, digestXattrs(stat.xattrs), true);
  return hash;
}

/** {@linkcode hashVersion} of a file as it is now; `undefined` if it is no small one any more. */
export function hashSmallFile(tree: Tree, path: string, xattrs: boolean): Uint8Array | undefined {
  try {
    const small = readSmallFile(tree, path, xattrs);
    return small && hashVersion(small);
  } catch (error) {
    if (errorCode(error)) return undefined;
    throw error;
  }
}

function lazily<T>(make: () => T): () => T {
  let value: T | undefined;
  return () => value ??= make();
}
