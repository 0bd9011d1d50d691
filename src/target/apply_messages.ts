/**
 * What the main thread and the applying Worker say to each other beside the messages of the session, which travel as
 * bare `Uint8Array`s and belong to the session attached last.
 *
 * ```
 * main thread                        Worker
 *   open ────────────────────────────▶ opened | failed
 *   attach, bytes… ──────────────────▶ bytes…, applied…, ended
 *   room ────────────────────────────▶            (answers were taken)
 *   detach ──────────────────────────▶ detached   (after the last bytes)
 *   hold ────────────────────────────▶ held       (nothing is applied from then on)
 *   release ─────────────────────────▶
 *   stats, close ────────────────────▶ stats, closed
 * shared     Int32Array: messages posted · bytes of answers taken · whether the Worker waits for room
 * ```
 * @module
 */
import { CommandError, CorruptionError, ProtocolError, SystemError, TransientError } from "../base/errors.ts";
import { errorCode, reasonOf } from "../base/errors.ts";
import type { FileSystemChoice } from "../sys/system.ts";
import type { KeepAside } from "./kept_aside.ts";
import type { OwnerChoice } from "./replica_owners.ts";
import type { OpenFileRule } from "./open_files.ts";
import type { FullReplicaStats } from "./replica_stats.ts";

/** Which replica the Worker opens. */
export interface ApplyPlace {
  /** Absolute path of the live tree. */
  replicaRoot: string;
  /** Absolute path of our state of it, on the same file system. */
  stateDirectory: string;
  /** Make them if they are not there. */
  create: boolean;
  /** Program and version, told to the sender. */
  agent: string;
  /** @default {"auto"} */
  fileSystem?: FileSystemChoice;
  /** What is kept before it is lost. @default nothing */
  keepAside?: KeepAside;
  /** Under which numbers what the sender's users own lies here. @default {"number"} */
  owners?: OwnerChoice;
  /** What becomes of files that other programs use. @default {"replace"} */
  openFiles?: OpenFileRule;
}

/** Places in the shared counters. */
export const POSTED = 0;
export const TAKEN_BYTES = 1;
export const WAITS_FOR_ROOM = 2;

/** Main thread to Worker. */
export type ApplyRequest =
  | { kind: "open"; place: ApplyPlace; shared: SharedArrayBuffer }
  | { kind: "attach" }
  | { kind: "detach" }
  | { kind: "room" }
  /** `reason` is told to the sender. */
  | { kind: "hold"; reason: string }
  | { kind: "release" }
  | { kind: "stats" }
  | { kind: "close" };

/** Worker to main thread. */
export type ApplyReply =
  | { kind: "opened"; replicaId: string }
  /** The replica cannot be opened, or went wrong for good. The Worker does nothing more. */
  | { kind: "failed"; error: PortableError }
  /** Bytes of the session's messages that are applied or answered. */
  | { kind: "applied"; bytes: number }
  /** The session did something that it may not, or met trouble. Nothing more of it is taken. */
  | { kind: "ended"; error: PortableError }
  | { kind: "detached" }
  /** `trouble` says why it cannot be held, or `""`. */
  | { kind: "held"; trouble: string }
  | { kind: "stats"; stats: FullReplicaStats }
  | { kind: "closed" };

/** An error on its way between threads. */
export interface PortableError {
  name: string;
  code: string;
  message: string;
}

/** Takes an error apart. */
export function portableError(error: unknown): PortableError {
  return {
    name: error instanceof Error ? error.name : "Error",
    code: errorCode(error),
    message: reasonOf(error),
  };
}

/** Puts an error together again, of its class where the other thread's knows it. */
export function revivedError({ name, code, message }: PortableError): Error {
  if (name === "SystemError") return new SystemError(code, message);
  const known = { CommandError, CorruptionError, ProtocolError, TransientError }[name];
  return known === undefined ? new Error(`${name}: ${message}`) : new known(message);
}
