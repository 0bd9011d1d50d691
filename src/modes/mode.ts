/**
 * What every subcommand is: a module with its help and a `run` that is given its world and returns an exit code.
 * @module
 */
import type { Clock } from "../base/clock.ts";

/** Exit codes by what they mean. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  /** Done, but some files could not be read or applied; they were listed. */
  partial: 3,
  interrupted: 130,
} as const;

/** How a command ended. */
export type ExitCode = typeof exitCodes[keyof typeof exitCodes];

/** The world of a command. */
export interface Io {
  /** Writes text; the caller puts line feeds in. Silently does nothing when nobody reads any more. */
  stdout(text: string): void;
  stderr(text: string): void;
  /**
   * Writes bytes to stdout, all of them, and keeps their buffer until then.
   *
   * @throws {Error} If they cannot be written: nobody reads any more, the disk is full.
   */
  writeStdout(bytes: Uint8Array): Promise<void>;
  /** Whether a person looks at stdout. */
  stdoutIsTerminal: boolean;
  /** Width of the terminal in characters; 80 where there is none. */
  columns: number;
  clock: Clock;
  /** Aborts when the process is asked to stop; `reason` is an {@linkcode Interruption}. */
  signal: AbortSignal;
  /** An environment variable. */
  env(name: string): string | undefined;
}

/** A subcommand. */
export interface Mode {
  /** Text of `help COMMAND`, with its line feed at the end. */
  help: string;
  /**
   * Runs the command.
   *
   * @throws {UsageError} If the arguments cannot be used (exit code 2). Whatever else it throws is exit code 1, or 130
   * if `io.signal` was aborted.
   */
  run(args: string[], io: Io): Promise<ExitCode>;
}

/** Why `io.signal` aborted. */
export class Interruption extends Error {
  override name = "Interruption";
  /** The signal that the process got. */
  readonly signalName: Deno.Signal;

  constructor(signalName: Deno.Signal) {
    super(`Cannot go on: stopped by ${signalName}`);
    this.signalName = signalName;
  }
}

/** The exit code of a daemon that stopped cleanly because it was asked to: 130 after Ctrl-C, else 0. */
export function stoppedExitCode(signal: AbortSignal): ExitCode {
  const reason: unknown = signal.reason;
  const byHand = reason instanceof Interruption && reason.signalName === "SIGINT";
  return byHand ? exitCodes.interrupted : exitCodes.done;
}

/** Writes a value as JSON, one line. */
export function printJson(io: Pick<Io, "stdout">, value: unknown): void {
  io.stdout(JSON.stringify(value) + "\n");
}
