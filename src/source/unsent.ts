/**
 * What a source has changed and no ack has told of: its tree compared with the index as it was saved.
 * @module
 */
import { joinPath } from "../base/path.ts";
import type { Held } from "../ops/held.ts";
import type { Stat, Tree } from "../sys/file_system.ts";
import type { Index } from "./index.ts";
import { RESERVED_NAME } from "./detect_context.ts";
import type { Scope } from "./scope.ts";

/** Changes that the target is not known to have. */
export interface Unsent {
  /** Entries that are new, or other ones than the target is known to hold. Of directories only new ones. */
  changed: string[];
  /** Entries that are gone here; of a directory that is gone it alone. */
  removed: string[];
  /** Of entries whose contents the target holds, attributes that it does not; those of files are in `changed`, too. */
  attributes: UnsentAttributes[];
}

/** Attributes that an entry has here. */
export interface UnsentAttributes {
  path: string;
  mode: number;
  uid: number;
  gid: number;
}

/**
 * Looks through the whole tree.
 *
 * @param index As saved: what the target held durably at its last ack that was noted.
 */
export function unsentChanges(tree: Tree, index: Index, scope: Scope): Unsent {
  const unsent: Unsent = { changed: [], removed: [], attributes: [] };
  const below = [""];
  for (let directory = below.pop(); directory !== undefined; directory = below.pop()) {
    const names = new Set<string>();
    const at = directory;
    tree.scan(at, (name, stat) => {
      names.add(name);
      const path = joinPath(at, name);
      if (name === RESERVED_NAME || !stat || scope.standing(path, stat) === "out") return;
      if (stat.kind === "directory") below.push(path);
      const held = index.get(path);
      if (!isKnown(stat, held)) unsent.changed.push(path);
      if (held && differsInAttributes(stat, held)) {
        unsent.attributes.push({ path, mode: stat.mode, uid: stat.uid, gid: stat.gid });
      }
    });
    for (const name of index.children(at)) if (!names.has(name)) unsent.removed.push(joinPath(at, name));
  }
  unsent.changed.sort();
  unsent.removed.sort();
  unsent.attributes.sort((a, b) => a.path < b.path ? -1 : 1);
  return unsent;
}

/** Whether the target is known to hold this very version. */
function isKnown(stat: Readonly<Stat>, held: Held | undefined): boolean {
  if (!held || held.kind !== stat.kind) return false;
  if (stat.kind === "directory") return true;
  // No device number: the same file system may have another one after a boot.
  const isSame = held.ino !== 0n && held.ino === stat.ino && held.ctimeNs === stat.ctimeNs;
  return held.trusted && isSame && held.size === stat.size;
}

function differsInAttributes(stat: Readonly<Stat>, held: Held): boolean {
  if (held.kind !== stat.kind || stat.kind === "symlink") return false;
  const hasSameContents = stat.kind === "directory" ||
    (held.size === stat.size && held.mtimeNs === stat.mtimeNs);
  return hasSameContents && (held.mode !== stat.mode || held.uid !== stat.uid || held.gid !== stat.gid);
}
