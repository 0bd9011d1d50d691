/**
 * One pass: makes a receiver equal to a tree and ends. This is `mirror`, and with the roles exchanged `restore`.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { type Problem, RefusedError, TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import type { LeftoverStatus } from "../base/status.ts";
import { AGENT } from "../base/version.ts";
import type { Tree } from "../sys/file_system.ts";
import { Index } from "./index.ts";
import type { Scope } from "./scope.ts";
import { Replicator } from "./replicator.ts";
import type { ReplicatorOptions } from "./replicator_options.ts";

/** What a pass needs. */
export interface OnePassOptions {
  /** The receiver, for messages. */
  target: string;
  tree: Tree;
  connect: ReplicatorOptions["connect"];
  policy: ReplicatorOptions["policy"];
  /** Paths to make equal, with everything below. @default {[""]} everything */
  roots?: string[];
  scope?: Scope;
  /** See `ReplicatorOptions`. */
  keepsTargetOut?: boolean;
  /** What the receiver holds and the set has not is removed, too. @default {false} */
  purgesLeftovers?: boolean;
  rootStands: () => boolean;
  /** See {@linkcode ReplicatorOptions.accounts}. @default none are told */
  accounts?: ReplicatorOptions["accounts"];
  mounts?: ReplicatorOptions["mounts"];
  /** See {@linkcode ReplicatorOptions.guards}. @default nothing is guarded */
  guards?: ReplicatorOptions["guards"];
  /** Compares the contents of files that look equal, too. @default {false} */
  comparesContents?: boolean;
  /** Only tells what would be done. */
  onPlanned?: (action: string, path: string, bytes: number) => void;
  onKept?: (path: string, reason: string) => void;
  onProgress?: (progress: PassProgress) => void;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
}

/** How far a pass has come. */
export interface PassProgress {
  /** Directory entries looked at. */
  entriesSeen: number;
  /** Files sent. */
  filesSent: number;
  /** Large files that wait or are on their way. */
  filesWaiting: number;
  /** File bytes sent, before compression. */
  bytesSent: number;
}

/** What a pass did. */
export interface PassSummary {
  /** Files whose contents were sent. */
  files: number;
  /** Directory entries looked at. */
  entries: number;
  /** Ops sent, by kind. */
  ops: Record<string, number>;
  /** Bytes read from files. */
  bytesRead: number;
  /** File bytes in the ops, before compression. */
  dataBytes: number;
  /** Bytes on the line, both ways. */
  bytesSent: number;
  bytesReceived: number;
  /** Files that looked equal and whose contents were compared, bytes of them, and those that differed. */
  compared?: { files: number; bytes: number; differing: number };
  problems: Problem[];
  /** Why nothing was removed, `""` if deletions were not held back. */
  heldBack: string;
  /** What the receiver holds and the set has not. */
  leftovers: LeftoverStatus;
  /** Whether that was a guard, which the user can overrule. */
  guarded: boolean;
}

/** Time between two reports of progress. */
const PROGRESS_EVERY_MS = 100;

/**
 * Runs a pass to its end.
 *
 * @throws {RefusedError} If the receiver says no. @throws {TransientError} If it cannot be reached.
 */
export async function runOnePass(options: OnePassOptions): Promise<PassSummary> {
  const { onProgress } = options;
  using stop = stopOn(options.signal);
  let wasConnected = false;
  const planned = new Set<string>();
  const replicator: Replicator = new Replicator({
    ...options,
    // Nobody comes back to use them.
    policy: { ...options.policy, keepsSignatures: false },
    index: new Index(),
    agent: AGENT,
    isOnePass: true,
    signal: stop.signal,
    planned: options.onPlanned && ((action, path, bytes) => {
      planned.add(path);
      options.onPlanned!(action, path, bytes);
    }),
    kept: options.onKept,
    connect: async (signal) => {
      const session = await options.connect(signal);
      wasConnected = true;
      return session;
    },
    givesUp: (error, attempts) => {
      const worthTrying = error instanceof TransientError && !(error instanceof RefusedError);
      return !worthTrying || !wasConnected || attempts > limits.reconnectAttemptsMax;
    },
  });
  const running = replicator.run();
  const telling = setInterval(() => onProgress?.(progressOf(replicator)), PROGRESS_EVERY_MS);
  try {
    // What changed while the mirror went over it is settled, too.
    const done = await replicator.mirrored() && await replicator.settled();
    if (!done && !replicator.deletionsWait) await running;
    if (done && options.purgesLeftovers && await replicator.decisions.purge() > 0) await replicator.settled();
    options.signal.throwIfAborted();
    const compared = done && options.comparesContents
      ? await compareContents(replicator, options, planned)
      : undefined;
    onProgress?.(progressOf(replicator));
    return { ...summaryOf(replicator), ...compared && { compared } };
  } finally {
    clearInterval(telling);
    stop.abort();
    await running.catch(() => {});
  }
}

/** Compares what sizes and times called equal; what differs is sent, or planned. */
async function compareContents(
  replicator: Replicator,
  { onPlanned, signal, clock }: OnePassOptions,
  planned: Set<string>,
): Promise<PassSummary["compared"]> {
  const request = { repair: onPlanned === undefined, without: planned };
  const { files, bytes, differences } = await replicator.verification.runContents(request, signal);
  for (const { path, state, reason } of differences) {
    onPlanned?.("update", path, 0);
    if (state === "standing") {
      const problem = { path, op: "verify", reason };
      replicator.problems.add(problem, clock.nowMs());
    }
  }
  return { files, bytes, differing: differences.length };
}

function progressOf(replicator: Replicator): PassProgress {
  const { opsSent, dataBytes } = replicator.lane.stats;
  return {
    entriesSeen: replicator.entriesSeen,
    filesSent: (opsSent.file ?? 0) + (opsSent.close ?? 0),
    filesWaiting: replicator.transfersCount,
    bytesSent: dataBytes,
  };
}

function summaryOf(replicator: Replicator): PassSummary {
  const { opsSent, dataBytes } = replicator.lane.stats;
  const { bytesSent, bytesReceived } = replicator.sessionStats;
  return {
    files: (opsSent.file ?? 0) + (opsSent.close ?? 0),
    entries: replicator.entriesSeen,
    ops: { ...opsSent },
    bytesRead: replicator.bytesRead,
    dataBytes,
    bytesSent,
    bytesReceived,
    problems: replicator.problems.list().map(({ path, op, reason }) => ({ path, op, reason })),
    heldBack: replicator.deletionsWait,
    leftovers: replicator.decisions.leftovers(),
    guarded: replicator.guardReason !== "",
  };
}

/** A signal that follows another one and can be aborted by itself. */
function stopOn(signal: AbortSignal): Disposable & { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  const abort = () => controller.abort();
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  return {
    signal: controller.signal,
    abort,
    [Symbol.dispose]: () => signal.removeEventListener("abort", abort),
  };
}
