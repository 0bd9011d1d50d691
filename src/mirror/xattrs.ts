/**
 * Extended attributes: read where they may have changed, and as one number, so that index and listings need not hold
 * them.
 * @module
 */
import { ByteWriter } from "../base/bytes.ts";
import { encodeXattrs } from "../ops/op.ts";
import { limits } from "../base/limits.ts";
import type { Held } from "../ops/held.ts";
import type { FileSystemAbilities, Stat, Tree, Xattr } from "../sys/file_system.ts";
import { hashBytes } from "./signature.ts";

/** 64 bits of the XXH128 of their encoding; 0 of none, and of those that nobody looked at. */
export function digestXattrs(xattrs: readonly Xattr[] | undefined): bigint {
  if (!xattrs || xattrs.length === 0) return 0n;
  const writer = new ByteWriter(256);
  encodeXattrs(xattrs, writer);
  const digest = hashBytes(writer.take());
  return new DataView(digest.buffer, digest.byteOffset).getBigUint64(0, true) || 1n;
}

/** Extended attributes if they fit an op. Of an entry that has more none is sent: a problem of that entry. */
export function fittingXattrs(xattrs: readonly Xattr[]): readonly Xattr[] | undefined {
  let size = 0;
  for (const { name, value } of xattrs) size += 3 * name.length + value.length;
  return size <= limits.xattrsSizeMax ? xattrs : undefined;
}

/** What is said of an entry that has more. */
export function xattrsTooLarge(): Error {
  return new Error(`its extended attributes are larger than ${limits.xattrsSizeMax} bytes`);
}

/** What looking at extended attributes needs. */
export interface XattrContext {
  tree: Pick<Tree, "xattrs">;
  policy: { abilities: Pick<FileSystemAbilities, "xattrs"> };
  /** Told of what was read. @default nobody is */
  xattrsRead?: (xattrs: readonly Xattr[]) => void;
}

/**
 * An entry's attributes with the extended ones, unless the other side cannot hold them, or is known to have this very
 * version.
 *
 * @throws {SystemError} If they cannot be read.
 */
export function withXattrs<S extends Readonly<Stat>>(
  { tree, policy, xattrsRead }: XattrContext,
  path: string,
  stat: S,
  held: Held | undefined,
): S {
  if (!policy.abilities.xattrs || (held && isKnown(stat, held))) return stat;
  const xattrs = tree.xattrs(path);
  xattrsRead?.(xattrs);
  return { ...stat, xattrs: fittingXattrs(xattrs) };
}

/** Whether this very version of an entry was sent: nothing of it needs to be looked at. */
export function isKnown(disk: Readonly<Stat>, held: Held): boolean {
  return held.trusted && held.ctimeNs === disk.ctimeNs && held.ino === disk.ino && held.dev === disk.dev;
}
