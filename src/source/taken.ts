/**
 * Names that other files took, and files under way from one name to another: when the target must not lose what it
 * holds at a name, since it may live on elsewhere (resting.ts).
 * @module
 */
import { isWithin, parentPath } from "../base/path.ts";
import type { Held } from "../ops/held.ts";
import { sameFile, type Stat } from "../sys/file_system.ts";
import { type Batch, statOrUndefined } from "./batch.ts";
import type { DetectContext } from "./detect_context.ts";
import type { Index } from "./index.ts";

/** Whether the target holds something at this path that may live on elsewhere, since another file has the name now. */
export function isTaken(index: Index, path: string, stat: Readonly<Stat>): boolean {
  const held = index.get(path);
  if (!held || held.ino === 0n || stat.ino === 0n || sameFile(held, stat)) return false;
  return holdsData(index, path, held);
}

/** Whether losing what the target holds at this path would cost data, should it live on elsewhere. */
export function holdsData(index: Index, path: string, held: Held): boolean {
  if (held.kind === "directory") return index.countChildren(path) > 0;
  return held.kind === "file" && held.size > 0;
}

/** Whether a name, or a directory above it, rests: everything below is looked at when it has. */
export function restsAbove({ resting }: Pick<DetectContext, "resting">, path: string): boolean {
  if (!resting || resting.size === 0) return false;
  for (let above = path; above !== ""; above = parentPath(above)) if (resting.has(above)) return true;
  return false;
}

/**
 * Lets a name rest.
 *
 * @param stat Of what took it; `undefined` if it is gone.
 * @returns `false` if it cannot, and is to be dealt with now.
 */
export function letRest(
  { index, resting }: Pick<DetectContext, "index" | "resting">,
  path: string,
  stat: Readonly<Stat> | undefined,
  batch: Batch,
): boolean {
  const areDirectories = stat?.kind === "directory" && index.isDirectory(path);
  if (!resting?.add(path, stat ? "taken" : "gone", batch.tickets.of(path), areDirectories)) return false;
  batch.restsIn.add(parentPath(path));
  return true;
}

/**
 * Whether an entry can be what the index holds under another name. A number of a deleted file is soon given to a new
 * one, and a file that was being written when it was last looked at must not appear half under its final name
 * (DESIGN §3.6): so a file must look the same.
 */
export function looksMoved(stat: Readonly<Stat>, held: Held): boolean {
  if (stat.kind !== held.kind) return false;
  if (stat.kind === "directory") return true;
  return stat.size === held.size && stat.mtimeNs === held.mtimeNs;
}

/**
 * Whether this file, about to be sent, is one that the target holds already under another name, and is not at both. It
 * changed places while the batch was worked off: another look finds where it is.
 */
export function isUnderWay(
  { index, tree }: Pick<DetectContext, "index" | "tree">,
  path: string,
  stat: Readonly<Stat>,
): boolean {
  if (stat.linkCount > 1) return false;
  const held = index.get(path);
  // One of several names that the target has of it stayed.
  if (held && sameFile(held, stat)) return false;
  const from = index.findByIdentity(stat.dev, stat.ino);
  if (from === undefined || from === path || isWithin(from, path) || isWithin(path, from)) return false;
  if (!looksMoved(stat, index.get(from)!)) return false;
  // Under a path may stand another directory than when it was opened.
  tree.forgetDirectories();
  const standing = statOrUndefined(tree, from);
  if (!standing || !sameFile(standing, stat)) return true;
  // One directory may be mounted at two places: then it left neither. Or it went back.
  const now = statOrUndefined(tree, path);
  return !now || !sameFile(now, stat);
}
