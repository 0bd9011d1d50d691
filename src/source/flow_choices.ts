/**
 * Chooses when and how fast targets are sent to, while they run and for later.
 * @module
 */
import { CommandError, reasonOf, UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { FlowStatus } from "../base/status.ts";
import type { Throttle } from "../wire/throttle.ts";
import { type FlowBounds, parseFlowRules } from "./flow_rules.ts";
import type { Replicator } from "./replicator.ts";

/** What may be chosen of a target; what is left out stays as it is. */
export interface FlowChange {
  /** Bytes a second; 0 is as fast as it goes. */
  limitRate?: number;
  sendWhen?: string;
}

/** Where it is kept what was chosen, over restarts. */
export interface FlowRecord {
  of(target: string): Required<FlowChange>;
  choose(target: string, change: FlowChange): void;
}

/** What a choice is about. */
export interface FlowSubject {
  /** All targets of the set; without a throttle where there is no line. */
  targets: { label: string; throttle?: Throttle }[];
  /** Their replicators, if they run. */
  replicators: Replicator[];
  record: FlowRecord;
  bounds: FlowBounds;
}

/**
 * Changes the flow to one target or all, if anything is to be changed.
 *
 * @param chosen As the user named it; `undefined` is every target.
 * @returns How it is then.
 * @throws {UsageError} If the set has no such target, or the rules cannot be read.
 * @throws {CommandError} If a local target was to have a rate.
 */
export function chooseFlow(
  { targets, replicators, record, bounds }: FlowSubject,
  chosen: string | undefined,
  change: FlowChange,
): FlowStatus[] {
  const meant = targets.filter(({ label }) => chosen === undefined || label === chosen);
  if (meant.length === 0) {
    const known = targets.map(({ label }) => quote(label)).join(", ");
    throw new UsageError(`Cannot find target ${quote(chosen!)}: the targets are ${known}`);
  }
  const local = meant.find(({ throttle }) => throttle === undefined);
  if (local && change.limitRate) {
    throw new CommandError(`Cannot limit the rate to ${quote(local.label)}: it is local, there is no line`);
  }
  if (change.sendWhen !== undefined) checkRules(change.sendWhen, bounds);
  return meant.map(({ label, throttle }) => {
    record.choose(label, change);
    const replicator = replicators.find(({ target }) => target === label);
    applyFlow(record.of(label), { throttle, replicator, bounds });
    const { limitRate, sendWhen } = record.of(label);
    return { target: label, limitRate, sendWhen, reason: replicator?.flow.reason ?? "" };
  });
}

function checkRules(text: string, bounds: FlowBounds): void {
  try {
    parseFlowRules(text, bounds);
  } catch (error) {
    throw new UsageError(`Cannot send when ${quote(text)}: ${reasonOf(error)}`);
  }
}

/** Makes what was chosen so. */
export function applyFlow(
  { limitRate, sendWhen }: Required<FlowChange>,
  { throttle, replicator, bounds }: {
    throttle: Throttle | undefined;
    replicator: Replicator | undefined;
    bounds: FlowBounds;
  },
): void {
  if (throttle) throttle.bytesPerSecond = limitRate || undefined;
  if (replicator) replicator.flow.rules = parseFlowRules(sendWhen, bounds);
}
