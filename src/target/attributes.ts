/**
 * Sets the attributes that an op says, as far as this system, this user and this file system can.
 * @module
 */
import type { AttributeChange, FileSystemAbilities, Tree } from "../sys/file_system.ts";
import { setXattrs, type XattrHolder } from "../sys/xattrs.ts";
import { isOpTrouble, type OpTrouble, troubleOf } from "./trouble.ts";

/** What can be given attributes: an open file, or an entry by its path. */
export interface Attributable extends XattrHolder {
  setAttributes(change: AttributeChange): void;
}

/** An entry of a tree. */
export function entryOf(tree: Tree, path: string): Attributable {
  return {
    setAttributes: (change) => tree.setAttributes(path, change),
    xattrs: () => tree.xattrs(path),
    setXattr: (name, value) => tree.setXattr(path, name, value),
  };
}

/**
 * Sets attributes. Without the ability owners are left out quietly: they are not sent then.
 *
 * @returns Why some extended attributes could not be set; all else was set then.
 * @throws {SystemError} If another attribute cannot be set, or the machine is in trouble.
 */
export function setAttributes(
  entry: Attributable,
  { xattrs, ...change }: AttributeChange,
  abilities: Pick<FileSystemAbilities, "ownership" | "xattrs">,
): OpTrouble | undefined {
  const { mode, mtimeNs } = change;
  entry.setAttributes(abilities.ownership ? change : { mode, mtimeNs });
  if (!xattrs || !abilities.xattrs) return undefined;
  try {
    // After owner, mode and contents: each of them takes capabilities away, or changes an access control list.
    setXattrs(entry, xattrs);
  } catch (error) {
    if (!isOpTrouble(error)) throw error;
    return troubleOf(error);
  }
}
