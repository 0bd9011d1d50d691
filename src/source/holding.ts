/**
 * Hold and resume: while a target is held its image stays as it is, so that a backup program can read it; changes wait
 * on the source and are sent afterwards, in order (FEATURES Q10).
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { HeldTarget, HoldResult } from "../base/status.ts";
import type { Replicator } from "./replicator.ts";

/** Where it is kept what is held, over restarts. */
export interface HoldRecord {
  /** ISO 8601; `""` if it is not held. */
  since(target: string): string;
  add(target: string, nowMs: number): void;
  remove(target: string): void;
}

/** What is to be held or resumed. */
export interface HoldSubject {
  /** As the user named it; `undefined` is every target. */
  target: string | undefined;
  /** All targets of the set. */
  targets: string[];
  /** Their replicators, if they run. */
  replicators: Replicator[];
}

/**
 * Holds targets. From the call on nothing further is sent; resolves when what was on its way is acked, so that the image
 * is at rest, or when the signal aborts.
 *
 * @throws {UsageError} If the set has no such target.
 */
export async function hold(
  subject: HoldSubject,
  record: HoldRecord,
  { nowMs, signal }: { nowMs: number; signal: AbortSignal },
): Promise<HoldResult> {
  const chosen = choose(subject);
  for (const target of chosen) record.add(target, nowMs);
  const running = subject.replicators.filter(({ target }) => chosen.includes(target));
  for (const replicator of running) replicator.hold(record.since(replicator.target));
  await Promise.all(running.map((replicator) => replicator.quiet(signal)));
  return resultOf(chosen, record, running);
}

/** Resumes targets: what waited is sent. @throws {UsageError} If the set has no such target. */
export function resume(subject: HoldSubject, record: HoldRecord): HoldResult {
  const chosen = choose(subject);
  for (const target of chosen) record.remove(target);
  const running = subject.replicators.filter(({ target }) => chosen.includes(target));
  for (const replicator of running) replicator.resume();
  return resultOf(chosen, record, running);
}

function choose({ target, targets }: HoldSubject): string[] {
  if (target === undefined) return targets;
  if (targets.includes(target)) return [target];
  const known = targets.map(quote).join(", ");
  throw new UsageError(`Cannot hold or resume ${quote(target)}: the targets are ${known}`);
}

function resultOf(chosen: string[], record: HoldRecord, running: Replicator[]): HoldResult {
  const quiet = new Set(running.filter(({ isQuiet }) => isQuiet).map(({ target }) => target));
  const targets = chosen.map((target): HeldTarget => ({
    target,
    heldSince: record.since(target),
    // Nothing is sent without its root; what was on its way before is not known.
    isQuiet: quiet.has(target),
  }));
  return { targets };
}
