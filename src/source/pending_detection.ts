/**
 * What detection leaves alone, since a program on the target uses a file (pending.ts): the path that waits, and what its
 * file became or was replaced by, so that a rename is still one when it can be sent.
 * @module
 */
import { sameFile, type Stat } from "../sys/file_system.ts";
import { type Batch, identity, statOrUndefined } from "./batch.ts";
import type { DetectContext } from "./detect_context.ts";

type WaitContext = Pick<DetectContext, "index" | "pending" | "tree">;

/** Whether nothing is to be sent of an entry now that the disk has. */
export function mustWait({ index, pending, tree }: WaitContext, path: string, stat: Readonly<Stat>): boolean {
  if (pending.size === 0 || path === "") return false;
  if (pending.covers(path)) return true;
  const from = index.findByIdentity(stat.dev, stat.ino);
  if (from === undefined || from === path) return false;
  const cause = pending.covers(from) ? from : pending.below(from);
  if (cause === undefined) return false;
  const standing = statOrUndefined(tree, from);
  // One more name of the file: the one that waits stays.
  if (standing && sameFile(standing, stat)) return false;
  pending.addBehind(path, cause, { coversBelow: true });
  if (from !== cause) pending.addBehind(from, cause, { coversBelow: true });
  return true;
}

/** Whether nothing is to be sent now of an entry that the disk has no more. */
export function mustWaitGone({ index, pending }: WaitContext, path: string, batch: Batch): boolean {
  if (pending.size === 0) return false;
  if (pending.covers(path)) return true;
  const held = index.get(path);
  const to = held && held.ino !== 0n ? batch.byIdentity.get(identity(held)) : undefined;
  if (to === undefined || to === path || !pending.covers(to)) return false;
  // It is to replace what waits there.
  pending.addBehind(path, to, { coversBelow: true });
  return true;
}
