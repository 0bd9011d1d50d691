/**
 * Verification of one lane, as users ask for it and in the background, and what it needs of the rest of the lane.
 * @module
 */
import { limits } from "../base/limits.ts";
import type { Agenda } from "./agenda.ts";
import type { Bell } from "./bell.ts";
import type { Condition } from "./condition.ts";
import type { DetectContext } from "./detect_context.ts";
import type { Doubts } from "./doubts.ts";
import type { FlowGate } from "./flow_gate.ts";
import { Patience } from "./patience.ts";
import { Patrol } from "./patrol.ts";
import type { PendingPaths } from "./pending.ts";
import type { Problems } from "./problems.ts";
import type { ReplicatorOptions } from "./replicator_options.ts";
import type { Requests } from "./requests.ts";
import type { Stream } from "./stream.ts";
import { Verification } from "./verification.ts";

/** The parts of a replicator that verification concerns. */
export interface LaneVerificationOptions {
  context: DetectContext;
  options: ReplicatorOptions;
  agenda: Agenda;
  bell: Bell;
  condition: Condition;
  doubts: Doubts;
  flow: FlowGate;
  problems: Problems;
  pending: PendingPaths;
  requests: Requests;
  stream: Stream;
  settled: (signal: AbortSignal) => Promise<boolean>;
  /** What the index says of the contents of a file is not so. */
  distrust: (path: string) => void;
}

/** Makes verification on request, and the patrol that uses it. */
export function verificationOf(parts: LaneVerificationOptions): {
  verification: Verification;
  patrol: Patrol;
} {
  const { agenda, bell, condition, context, doubts, options, problems, requests, stream } = parts;
  const { clock, heard = () => Promise.resolve(true), onChange = () => {} } = options;
  const patience = new Patience({
    clock,
    trouble: () => condition.trouble,
    isReady: () => condition.isMirrored,
    settled: parts.settled,
  });
  const verification = new Verification({
    ...context,
    target: options.target,
    clock,
    heard,
    requests,
    problems,
    pending: parts.pending,
    reachable: (signal) => patience.reachable(signal),
    settled: (signal) => patience.settled(signal),
    hurry: () => parts.flow.hurry(),
    doubt: (paths) => {
      doubts.add(paths);
      bell.ring();
    },
    distrust: parts.distrust,
    lookAgain: (path) => agenda.markDirty(path),
    deletionsWait: () => condition.deletionsWait,
    onVerified: ({ contents }, report) => patrol.noteVerified({ ...report, contents }),
  });
  const patrol = new Patrol({
    policy: options.patrol?.policy ??
      { everyMs: undefined, rateBytes: limits.verifyRateBytes, foreign: "repair" },
    store: options.patrol?.store,
    verification,
    index: context.index,
    scope: context.scope,
    problems,
    clock,
    replicaId: () => stream.hello.replicaId,
    obstacle: () => condition.trouble || (condition.isMirrored ? "" : "it is mirroring"),
    isQuiet: () => condition.isAtRest,
    deletionsWait: () => condition.deletionsWait,
    onChange,
  });
  return { verification, patrol };
}
