/**
 * The control commands of a running daemon: what each takes and answers.
 * @module
 */
import type {
  CommitMode,
  CommitStatus,
  DaemonStatus,
  FlowStatus,
  FlushResult,
  GuardStatus,
  HoldResult,
  PromotionResult,
  PurgeRequest,
  PurgeResult,
  VerifyResult,
} from "../base/status.ts";
import type { Explanation } from "../base/explanation.ts";
import type { SetChange, SetLine } from "../rules/set_lines.ts";

/** Arguments of `flush`. */
export interface FlushRequest {
  /** After that many milliseconds the daemon answers `committed: false`. */
  timeoutMs: number;
}

/** Arguments of `verify`. */
export interface VerifyArguments {
  /** Heal what differs. */
  repair: boolean;
  /** Compare contents, too. */
  contents: boolean;
}

/** Arguments of `guard`: a decision. */
export interface GuardDecision {
  id: string;
  state: "confirmed" | "refused";
}

/** The rules of a set as they are after what was asked. */
export interface SetText {
  set: string;
  root: string;
  lines: SetLine[];
}

/** Arguments of `explain`. */
export interface ExplainRequest {
  /** Relative to the root of the set. */
  path: string;
}

/** Arguments of `hold`. */
export interface HoldRequest extends ResumeRequest {
  /** After that many milliseconds the daemon answers, though something may still be on its way. */
  timeoutMs: number;
}

/** Arguments of `resume`. */
export interface ResumeRequest {
  /** As the user named it; all, if it is left out. */
  target?: string;
}

/** Arguments of `hold-replica`. */
export interface HoldReplicaRequest {
  /** Name of the replica. */
  name: string;
}

/** Arguments of `promote`. */
export interface PromoteRequest {
  /** Name of the replica. */
  name: string;
  /** A connected source is cut off. */
  force: boolean;
}

/** Arguments of `commit`. */
export interface CommitRequest {
  /** The new mode; it stays as it is if that is left out. */
  mode?: Exclude<CommitMode, "remote">;
}

/** Arguments of `flow`: what is left out stays as it is. */
export interface FlowRequest {
  /** As the user named it; all, if it is left out. */
  target?: string;
  /** Bytes a second; 0 is as fast as it goes. */
  limitRate?: number;
  sendWhen?: string;
}

/** Arguments of `connect` and `disconnect`. */
export interface TargetRequest {
  /** A target's name, with an absolute path; or a join token. */
  target: string;
}

/** Answer to `connect` and `disconnect`. */
export interface TargetsResult {
  /** Labels of all targets of the set, in the order of their connection. */
  targets: string[];
}

/** Control commands: name → what it takes and what it answers. */
export interface ControlCommands {
  status: { args: Record<string, never>; result: DaemonStatus };
  flush: { args: FlushRequest; result: FlushResult };
  guard: { args: GuardDecision; result: GuardStatus };
  verify: { args: VerifyArguments; result: VerifyResult };
  set: { args: SetChange; result: SetText };
  explain: { args: ExplainRequest; result: Explanation };
  purge: { args: PurgeRequest; result: PurgeResult };
  hold: { args: HoldRequest; result: HoldResult };
  resume: { args: ResumeRequest; result: HoldResult };
  /** Of a target server. The replica stays as it is until the connection that asked ends. */
  "hold-replica": { args: HoldReplicaRequest; result: null };
  promote: { args: PromoteRequest; result: PromotionResult };
  /** Takes a promotion back; the answer says whether there was one. */
  demote: { args: HoldReplicaRequest; result: boolean };
  /** Of a source with a local target, in the state directory of that: it closes the replica. */
  "let-go": { args: Record<string, never>; result: null };
  commit: { args: CommitRequest; result: CommitStatus };
  flow: { args: FlowRequest; result: { targets: FlowStatus[] } };
  connect: { args: TargetRequest; result: TargetsResult };
  disconnect: { args: TargetRequest; result: TargetsResult };
}

/** Answers the commands of one daemon. A daemon may leave out what it has no answer to. */
export type ControlHandlers = {
  [Name in keyof ControlCommands]?: (
    args: ControlCommands[Name]["args"],
    signal: AbortSignal,
  ) => Promise<ControlCommands[Name]["result"]>;
};
