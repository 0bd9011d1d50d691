/**
 * Gives a tree that is in place to other numbers: what a replica holds under the source's becomes its users' here, once
 * their accounts were rebuilt (`rebuild.ts`).
 * @module
 */
import { setTimeout } from "node:timers/promises";
import { errorCode, type Problem, reasonOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { joinPath } from "../base/path.ts";
import { isAcl, mapAcl } from "../sys/acl.ts";
import type { Stat, Tree, Xattr } from "../sys/file_system.ts";
import { type OwnerMap, Owners } from "../sys/ownership.ts";

/** What was done. */
export interface AssignedOwners {
  /** Entries that belong to others now, or whose lists name others. */
  changedCount: number;
  /** Entries that could not be changed. */
  problems: Problem[];
}

/** A change of owner clears it, as it does set-id bits. */
const CAPABILITY = "security.capability";

/**
 * Changes owners, and whom access control lists name, by a map; everything else stays, times of modification included.
 *
 * Not to be done twice: numbers that were mapped would be taken for the source's. The caller remembers that it was
 * done, and what a call that was cut short had done is told by nothing but the tree.
 *
 * @param tree Speaks in the numbers of the disk.
 */
export async function assignOwners(
  tree: Tree,
  map: OwnerMap,
  { signal, isExcluded = () => false }: { signal?: AbortSignal; isExcluded?: (path: string) => boolean } = {},
): Promise<AssignedOwners> {
  const result: AssignedOwners = { changedCount: 0, problems: [] };
  if (map.users.length + map.groups.length === 0) return result;
  const owners = new Owners(map);
  let sliceEndMs = performance.now() + limits.sliceMs;
  const pending = [""];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    signal?.throwIfAborted();
    const entry = path;
    try {
      const stat = tree.stat(entry);
      if (!stat) continue;
      if (assignOne(tree, entry, stat, owners)) result.changedCount++;
      if (stat.kind !== "directory") continue;
      for (const { name } of tree.list(entry)) {
        const below = joinPath(entry, name);
        if (!isExcluded(below)) pending.push(below);
      }
    } catch (error) {
      if (!errorCode(error)) throw error;
      result.problems.push({ path: entry, op: "owner", reason: reasonOf(error) });
    }
    if (performance.now() < sliceEndMs) continue;
    await setTimeout(0);
    sliceEndMs = performance.now() + limits.sliceMs;
  }
  return result;
}

/** @returns Whether anything had to be changed. */
function assignOne(tree: Tree, path: string, stat: Stat, owners: Owners): boolean {
  const uid = owners.toHere("users", stat.uid), gid = owners.toHere("groups", stat.gid);
  const xattrs = tree.xattrs(path);
  const lists = xattrs.flatMap((xattr) => mapped(xattr, owners));
  const isOther = uid !== stat.uid || gid !== stat.gid;
  if (!isOther && lists.length === 0) return false;
  if (isOther) {
    const mode = stat.kind === "symlink" ? {} : { mode: stat.mode };
    tree.setAttributes(path, { uid, gid, ...mode });
    const capability = xattrs.find(({ name }) => name === CAPABILITY);
    if (capability) tree.setXattr(path, CAPABILITY, capability.value);
  }
  for (const { name, value } of lists) tree.setXattr(path, name, value);
  return true;
}

/** A list that names others under the map; none if it does not, or is no list. */
function mapped({ name, value }: Xattr, owners: Owners): Xattr[] {
  if (!isAcl(name)) return [];
  let isOther = false;
  const changed = mapAcl(value, (kind, id) => {
    const here = owners.toHere(kind, id);
    isOther ||= here !== id;
    return here;
  });
  return isOther ? [{ name, value: changed }] : [];
}
