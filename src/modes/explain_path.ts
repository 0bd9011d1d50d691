/**
 * Explains one path of a set, by what the running source knows or by what it left on disk.
 * @module
 */
import { reasonOf } from "../base/errors.ts";
import type { Explanation, TargetExplanation } from "../base/explanation.ts";
import { type ExplainedEntry, explainEntry, sumUp } from "../source/explain.ts";
import type { SetKeeper } from "../source/set_keeper.ts";
import type { SetScope } from "../source/set_scope.ts";
import { systemFileSystem } from "../sys/system.ts";
import { leadsTo } from "../sys/file_system.ts";

/** What explaining needs. */
export interface ExplainParts {
  set: string;
  root: string;
  keeper: SetKeeper;
  scope: SetScope;
  /** How each target stands with an entry; `isIn` is whether it is in the set. */
  targets: (entry: ExplainedEntry & { isIn: boolean }) => TargetExplanation[];
  isRunning: boolean;
}

/** Explains the entry at a path relative to the root. */
export function explainPath(path: string, parts: ExplainParts): Explanation {
  const { set, root, keeper, scope, isRunning } = parts;
  const entry = readEntry(root, path);
  const own = explainEntry(entry, scope, keeper.placed());
  const isIn = own.state === "pending" || own.state === "failed" || own.state === "passage";
  const targets = parts.targets({ ...entry, isIn });
  const { state, reason } = sumUp(own, entry.stat, targets);
  return { set, root, path, state, reason, rule: own.rule, targets, isRunning };
}

function readEntry(root: string, path: string): ExplainedEntry {
  try {
    using tree = systemFileSystem().openTree(root);
    const stat = tree.stat(path);
    const linkTarget = stat ? leadsTo(tree, path, stat) : "";
    if (stat) stat.xattrs = tree.xattrs(path);
    return { path, stat, linkTarget, trouble: "" };
  } catch (error) {
    return { path, stat: undefined, linkTarget: "", trouble: reasonOf(error) };
  }
}
