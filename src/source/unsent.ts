/**
 * What a source has changed and no ack has told of: its tree compared with the index as it was saved.
 * @module
 */
import { joinPath } from "../base/path.ts";
import type { Held } from "../ops/held.ts";
import { sameFile, type Stat, type Tree } from "../sys/file_system.ts";
import type { Index } from "./index.ts";
import { RESERVED_NAME } from "./detect_context.ts";
import type { Scope } from "./scope.ts";

/** Changes that the target is not known to have. */
export interface Unsent {
  /** Entries that are new, or other ones than the target is known to hold. Of directories only new ones. */
  changed: string[];
  /** Entries that are gone here; of a directory that is gone it alone. */
  removed: string[];
}

/**
 * Looks through the whole tree.
 *
 * @param index As saved: what the target held durably at its last ack that was noted.
 */
export function unsentChanges(tree: Tree, index: Index, scope: Scope): Unsent {
  const unsent: Unsent = { changed: [], removed: [] };
  const below = [""];
  for (let directory = below.pop(); directory !== undefined; directory = below.pop()) {
    const names = new Set<string>();
    const at = directory;
    tree.scan(at, (name, stat) => {
      names.add(name);
      const path = joinPath(at, name);
      if (name === RESERVED_NAME || !stat || scope.standing(path, stat) === "out") return;
      if (stat.kind === "directory") below.push(path);
      if (!isKnown(stat, index.get(path))) unsent.changed.push(path);
    });
    for (const name of index.children(at)) if (!names.has(name)) unsent.removed.push(joinPath(at, name));
  }
  unsent.changed.sort();
  unsent.removed.sort();
  return unsent;
}

/** Whether the target is known to hold this very version. */
function isKnown(stat: Readonly<Stat>, held: Held | undefined): boolean {
  if (!held || held.kind !== stat.kind) return false;
  if (stat.kind === "directory") return true;
  return held.trusted && sameFile(held, stat) && held.ctimeNs === stat.ctimeNs && held.size === stat.size;
}
