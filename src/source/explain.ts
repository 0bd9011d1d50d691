/**
 * Explains a path: whether it is in the set and by what, and how each target stands with it.
 * @module
 */
import { limits } from "../base/limits.ts";
import { joinPath } from "../base/path.ts";
import type { DecidingRule, ExplainedState, Explanation, TargetExplanation } from "../base/explanation.ts";
import type { PendingStatus } from "../base/status.ts";
import { planEntry, type PlanPolicy } from "../mirror/plan.ts";
import type { Held } from "../ops/held.ts";
import { fitsOp } from "../ops/op.ts";
import type { PlacedRule } from "../rules/set_lines.ts";
import type { Stat } from "../sys/file_system.ts";
import { RESERVED_NAME } from "./detect_context.ts";
import { unknownFacts } from "./scope.ts";
import type { SetScope } from "./set_scope.ts";

/** What is known of a path on the source's side. */
export interface ExplainedEntry {
  path: string;
  /** `undefined` if the disk has nothing there. */
  stat: Readonly<Stat> | undefined;
  linkTarget: string;
  /** Why the disk could not be asked, `""` if it could. */
  trouble: string;
}

/** What a target's side knows of a path. */
export interface TargetView {
  held: Held | undefined;
  policy: PlanPolicy;
  /** Why it could not be replicated, if that was so. */
  problem?: string;
  /** A program on the target uses a file, which it waits for. */
  pending?: PendingStatus;
  /** Something about it is on its way. */
  isUnacked: boolean;
  /** Why the target may be behind, `""` if it is live. */
  waitsFor: string;
}

/** The source's part of an explanation. `state` is `pending` for what is in the set: the targets know better. */
export function explainEntry(
  { path, stat, trouble }: ExplainedEntry,
  scope: SetScope,
  placed: readonly PlacedRule[],
): Pick<Explanation, "state" | "reason" | "rule"> {
  const never = (reason: string) => ({ state: "never" as const, reason, rule: null });
  if (path === "") return { state: "pending", reason: "", rule: null };
  if (path.split("/").includes(RESERVED_NAME)) return never(`the name "${RESERVED_NAME}" is reserved`);
  if (!fitsOp(path)) return never(`its path is longer than ${limits.pathSizeMax} bytes`);
  const facts = stat ?? unknownFacts;
  const { standing, keptOut, verdict } = scope.explain(path, facts);
  if (keptOut) {
    return { ...never(keptOut.reason), ...(keptOut.isByOption ? { state: "excluded" as const } : {}) };
  }
  const rule = verdict.rule < 0 ? null : decidingRule(path, verdict.rule, { scope, placed });
  if (standing === "out") return { state: "excluded", reason: "", rule };
  if (standing === "passage") {
    return {
      state: "passage",
      reason: "it exists on a target as far as something in it is in the set",
      rule,
    };
  }
  if (trouble !== "") return { state: "failed", reason: trouble, rule };
  return { state: "pending", reason: "", rule };
}

/** How a target stands with a path; `isIn` is whether it is in the set. */
export function explainOnTarget(
  target: string,
  { stat, linkTarget, isIn }: Pick<ExplainedEntry, "stat" | "linkTarget"> & { isIn: boolean },
  { held, policy, problem, pending, isUnacked, waitsFor }: TargetView,
): TargetExplanation {
  const say = (state: TargetExplanation["state"], reason = "") => ({ target, state, reason });
  if (problem !== undefined) return say("failed", problem);
  if (pending) return say("pending", `${pending.reason}; it has waited since ${pending.since}`);
  if (!isIn || held?.isLeftover) return held ? say("leftover", "it stays until it is purged") : say("absent");
  if (!stat && !held) return isUnacked ? say("pending", "its removal is on its way") : say("absent");
  if (!stat) return say("pending", waitsFor || "it will be removed");
  const step = planEntry(stat, held, policy, linkTarget);
  if (step.do !== "nothing" && step.do !== "adopt") return say("pending", waitsFor || "it will be sent");
  return isUnacked ? say("pending", waitsFor || "it is on its way") : say("replicated");
}

/** All in all. */
export function sumUp(
  entry: Pick<Explanation, "state" | "reason">,
  stat: Readonly<Stat> | undefined,
  targets: readonly TargetExplanation[],
): { state: ExplainedState; reason: string } {
  if (entry.state !== "pending") return entry;
  for (const state of ["failed", "pending"] as const) {
    const found = targets.find((target) => target.state === state);
    if (found) return { state, reason: found.reason };
  }
  if (!stat) return { state: "absent", reason: "the source has no such entry" };
  const unknown = targets.find((target) => target.state === "unknown");
  return unknown ? { state: "pending", reason: unknown.reason } : { state: "replicated", reason: "" };
}

/** The rule with the topmost path that it decided on. */
function decidingRule(
  path: string,
  rule: number,
  { scope, placed }: { scope: SetScope; placed: readonly PlacedRule[] },
): DecidingRule {
  const { lineNumber, line } = placed[rule];
  let matched = "";
  for (const name of path.split("/")) {
    if (scope.explain(matched, unknownFacts).verdict.rule === rule) break;
    matched = joinPath(matched, name);
  }
  return { line: lineNumber, text: line.text, origin: line.origin, matched };
}
