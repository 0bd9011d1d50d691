/**
 * Keeps a replica as it is for as long as somebody reads it.
 *
 * - While a server runs on its root, the server holds it. The hold ends with our connection, so also when we die.
 * - Else we take the root's lock, so that no server can start, and the replica's, so that no source keeps it as its local
 *   target; then we recover what a dead process left. Both locks are shared with others who only read.
 * @module
 */
import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import { CommandError, reasonOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { quote } from "../base/path.ts";
import { ControlConnection } from "../control/connection.ts";
import { controlSocketIn } from "../control/socket_path.ts";
import { acquireLock, type Lock, LockedError } from "../store/lock_file.ts";
import type { FileSystem } from "../sys/file_system.ts";
import type { ReplicaPlaces } from "../target/places.ts";
import { openReplica } from "../target/replica.ts";

/** Which replica, and how to wait for it. */
export interface HoldOptions {
  /** Of the replica. */
  name: string;
  /** What it is held for, in messages. @default {"export"} */
  verb?: string;
  places: ReplicaPlaces;
  /** State directory of the server. */
  state: string;
  /** State directory in the root, where the lock is that every server of it has. */
  rootState: string;
  fileSystem: FileSystem;
  /** Milliseconds until it must be at rest. */
  timeoutMs: number;
  clock: Clock;
  signal: AbortSignal;
}

/** A replica that stays as it is. Disposing lets it go on. */
export interface HeldReplica extends Disposable {
  /** Aborts when it may change from now on. Its reason is a {@linkcode CommandError}. */
  readonly lost: AbortSignal;
  /** Makes sure that it has stayed as it was up to now. @throws {CommandError} If that is not sure. */
  confirm(): Promise<void>;
}

/**
 * Brings a replica to rest and keeps it so.
 *
 * @throws {CommandError} If it cannot be had in time.
 * @throws {CorruptionError | SystemError} If what a dead process left cannot be recovered.
 */
export async function holdReplica(options: HoldOptions): Promise<HeldReplica> {
  const { name, verb = "export", clock, signal, state, timeoutMs } = options;
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    const connection = await ControlConnection.open(controlSocketIn(state));
    if (connection !== undefined) return await heldByServer(connection, options);
    try {
      return lockedByUs(options);
    } catch (error) {
      if (!(error instanceof LockedError)) throw error;
      if (clock.monotonicMs() < deadlineMs) {
        await clock.sleep(limits.holdRetryMs, signal);
        continue;
      }
      throw new CommandError(reasonOf(error).replace(/^Cannot start/, `Cannot ${verb} ${quote(name)}`), {
        cause: error,
      });
    }
  }
}

async function heldByServer(connection: ControlConnection, options: HoldOptions): Promise<HeldReplica> {
  const { name, timeoutMs, signal } = options;
  try {
    await connection.ask("hold-replica", { name }, { timeoutMs, signal });
  } catch (error) {
    connection[Symbol.dispose]();
    signal.throwIfAborted();
    const reason = reasonOf(error).replace(/^Cannot (?:run|hold) ".*?": /s, "");
    throw new CommandError(`Cannot hold ${quote(name)}: ${reason}`, { cause: error });
  }
  const lost = new AbortController();
  connection.ended.addEventListener("abort", () => {
    lost.abort(
      new CommandError(`Cannot go on exporting ${quote(name)}: the server has ended, so it may change now`),
    );
  });
  return {
    lost: lost.signal,
    // An answer on the same connection: it stood until now, and the hold with it.
    confirm: async () => void await connection.ask("status", {}, { timeoutMs, signal }),
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}

/** @throws {LockedError} If another process has one of the locks. */
function lockedByUs({ places, rootState, fileSystem }: HoldOptions): HeldReplica {
  using locks = new DisposableStack();
  locks.use(acquireLock(join(rootState, "server.lock"), { shared: true }));
  const path = join(places.stateDirectory, "replica.lock");
  const alone = locks.use(acquireAlone(path));
  if (alone === undefined) {
    // Whoever shares it has recovered the replica before.
    locks.use(acquireLock(path, { shared: true }));
  } else {
    openReplica({ ...places, fileSystem, create: false }).close();
    alone.share();
  }
  const kept = locks.move();
  // Nobody can take them from us.
  const lost = new AbortController().signal;
  return { lost, confirm: () => Promise.resolve(), [Symbol.dispose]: () => kept.dispose() };
}

function acquireAlone(path: string): Lock | undefined {
  try {
    return acquireLock(path);
  } catch (error) {
    if (error instanceof LockedError) return undefined;
    throw error;
  }
}
