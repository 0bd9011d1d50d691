/**
 * Whether an entry is what the index has: the quick way of scans and verification, which most entries take.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { planEntry, type PlanPolicy } from "../mirror/plan.ts";
import type { Held } from "../ops/held.ts";
import type { Stat, Tree } from "../sys/file_system.ts";
import { withXattrsOrUndefined } from "./batch.ts";

/** What comparing needs. */
export interface AsHeldContext {
  tree: Pick<Tree, "xattrs" | "readLink">;
  policy: PlanPolicy;
}

/**
 * Compares an entry with what the target is believed to hold.
 *
 * @returns `undefined` if it differs, or cannot be looked at. Else its attributes, the extended ones too if it is only
 * to be *adopted*: equal by what can be seen, but not known to be this version.
 */
export function seenAsHeld(
  context: AsHeldContext,
  path: string,
  seen: Readonly<Stat>,
  held: Held,
): { stat: Readonly<Stat>; isAdopted: boolean } | undefined {
  const stat = withXattrsOrUndefined(context, path, seen, held);
  if (!stat) return undefined;
  // A link's target is read when anything else about it differs; changing it makes a new inode.
  const leads = stat.kind === "symlink" ? held.linkTarget : stat.device;
  const step = planEntry(stat, held, context.policy, leads);
  if (step.do === "nothing") return { stat, isAdopted: false };
  const isEqual = step.do === "adopt" &&
    (stat.kind !== "symlink" || leadsTo(context.tree, path, held.linkTarget));
  return isEqual ? { stat, isAdopted: true } : undefined;
}

function leadsTo(tree: Pick<Tree, "readLink">, path: string, target: string): boolean {
  try {
    return tree.readLink(path) === target;
  } catch (error) {
    if (!errorCode(error)) throw error;
    return false;
  }
}
