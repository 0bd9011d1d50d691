/**
 * The control commands of a running daemon: what each takes and answers.
 * @module
 */
import type { DaemonStatus, FlushResult, VerifyResult } from "../base/status.ts";

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

/** Control commands: name → what it takes and what it answers. */
export interface ControlCommands {
  status: { args: Record<string, never>; result: DaemonStatus };
  flush: { args: FlushRequest; result: FlushResult };
  verify: { args: VerifyArguments; result: VerifyResult };
}

/** Answers the commands of one daemon. A daemon may leave out what it has no answer to. */
export type ControlHandlers = {
  [Name in keyof ControlCommands]?: (
    args: ControlCommands[Name]["args"],
    signal: AbortSignal,
  ) => Promise<ControlCommands[Name]["result"]>;
};
