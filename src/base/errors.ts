/**
 * The few classes of trouble, and who acts on each (ARCHITECTURE.md, "Errors").
 *
 * Messages read `Cannot <verb> <what>: <state found>`, strings quoted, no final period.
 * @module
 */

/** The peer broke the protocol: the session closes, backs off and reconnects. */
export class ProtocolError extends Error {
  override name = "ProtocolError";
}

/** The peer said no for a reason that trying again will not change (wrong key, wrong version). */
export class RefusedError extends Error {
  override name = "RefusedError";
}

/** Worth trying again: the line broke, a disk is full, a name could not be resolved. */
export class TransientError extends Error {
  override name = "TransientError";
}

/** Bytes at rest are not what was written. Never repaired silently. */
export class CorruptionError extends Error {
  override name = "CorruptionError";
}

/** The command line, a rule or a name given by the user cannot be used: exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** The command was understood but cannot be done: exit code 1. */
export class CommandError extends Error {
  override name = "CommandError";
}

/** A system call failed. `code` is the errno's name, for example `ENOENT`. */
export class SystemError extends Error {
  override name = "SystemError";
  /** Errno's name: `ENOENT`, `EACCES`, … or `E<number>` for one without a name here. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** One file among many that could not be read or applied: counted, listed, and the run goes on. */
export interface Problem {
  /** Path relative to the root of the set or replica. */
  path: string;
  /** What was tried: `read`, `write`, `rename`, … */
  op: string;
  /** Why it failed, in words. */
  reason: string;
}

/** Stops the process if `condition` is false: our own bug, never the world's fault. */
export function assert(condition: unknown, whatMustHold: string): asserts condition {
  if (!condition) throw new Error(`Invariant broken: ${whatMustHold}`);
}

/**
 * Does something with bytes at rest.
 *
 * @param wayOut What the user can do should they be damaged: it ends the message.
 */
export function withWayOut<T>(wayOut: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    throw new CorruptionError(`${error.message}; ${wayOut}`, { cause: error });
  }
}

/** The errno name of an error thrown by `sys/`, by Deno or by Node, or `""` if it has none. */
export function errorCode(error: unknown): string {
  if (error instanceof SystemError) return error.code;
  const code = (error as { code?: unknown })?.code;
  return typeof code === "string" ? code : "";
}

/** The message of anything that was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
