/**
 * What a running source answers about its set: changes of the rules, and the removal of leftovers.
 * @module
 */
import { checkRelativePath } from "../base/path.ts";
import type { ControlHandlers, SetText } from "../control/api.ts";
import type { SetChange } from "../rules/set_lines.ts";
import type { Manager } from "../source/manager.ts";
import type { SetKeeper } from "../source/set_keeper.ts";
import type { SetScope } from "../source/set_scope.ts";
import { type ExplainParts, explainPath } from "./explain_path.ts";

/** The parts of a running source that its set is about. */
export interface SetParts {
  set: string;
  root: string;
  keeper: SetKeeper;
  scope: SetScope;
  manager: Pick<Manager, "scopeChanged" | "purge" | "explain">;
}

/** Answers `set`, `purge` and `explain`. */
export function setHandlers(parts: SetParts): Pick<ControlHandlers, "set" | "purge" | "explain"> {
  return {
    set: (change) => Promise.resolve(changeSet(parts, change)),
    purge: (request) => parts.manager.purge(request),
    explain: ({ path }) => {
      checkRelativePath(path);
      const targets: ExplainParts["targets"] = (entry) => parts.manager.explain(entry);
      return Promise.resolve(explainPath(path, { ...parts, targets, isRunning: true }));
    },
  };
}

function changeSet({ set, root, keeper, scope, manager }: SetParts, change: SetChange): SetText {
  // On disk before it counts: after a crash the same rules hold.
  if (keeper.change(change)) {
    scope.exchange(keeper.rules());
    manager.scopeChanged();
  }
  return { set, root, lines: [...keeper.lines] };
}
