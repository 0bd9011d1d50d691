/**
 * A lock that one process holds at a time, or several share. The kernel keeps it (`flock(2)`), so that it is free the
 * moment its holder dies, however it dies. The file itself stays: removing it would let two processes lock two files of
 * one name.
 *
 * ```
 * { "pid": 4711, "startedAt": "2026-11-22T10:20:51.123Z" }      while held; empty afterwards
 * ```
 * @module
 */
import { CommandError } from "../base/errors.ts";
import { text, utf8 } from "../base/bytes.ts";
import { quote } from "../base/path.ts";

/** Who holds a lock. */
export interface LockHolder {
  pid: number;
  /** ISO 8601. */
  startedAt: string;
}

/** Another process, or this one, holds the lock. */
export class LockedError extends CommandError {}

/** A held lock; disposing frees it. */
export interface Lock extends Disposable {
  readonly path: string;
  /**
   * Lets others hold it shared, too. What was alone stays safe from everybody who wants to be alone.
   *
   * @throws {LockedError} If somebody took it in this very moment; then it is free.
   */
  share(): void;
}

/** How {@linkcode acquireLock} takes a lock. */
export interface AcquireOptions {
  /** Together with others who share it, while nobody holds it alone. @default {false} */
  shared?: boolean;
}

/**
 * Takes a lock at once or not at all. Creates the file (0600), not its directory.
 *
 * @throws {LockedError} If another process, or this one, holds it.
 */
export function acquireLock(path: string, { shared = false }: AcquireOptions = {}): Lock {
  const file = Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 });
  try {
    if (!file.tryLockSync(!shared)) throw alreadyHeld(path);
    writeHolder(file, { pid: Deno.pid, startedAt: new Date().toISOString() });
  } catch (error) {
    file.close();
    throw error;
  }
  let isHeld = true;
  return {
    path,
    share() {
      if (file.tryLockSync(false)) return;
      // What stands in the file is by another already.
      isHeld = false;
      file.close();
      throw alreadyHeld(path);
    },
    [Symbol.dispose]() {
      if (isHeld) free(file);
      isHeld = false;
    },
  };
}

function free(file: Deno.FsFile): void {
  file.truncateSync(0);
  // Closing frees the lock.
  file.close();
}

function writeHolder(file: Deno.FsFile, holder: LockHolder): void {
  file.truncateSync(0);
  file.writeSync(utf8(JSON.stringify(holder) + "\n"));
}

function alreadyHeld(path: string): LockedError {
  const holder = loadHolder(path);
  const who = holder === undefined ? "another understudy" : `another understudy (pid ${holder.pid})`;
  return new LockedError(`Cannot start: ${who} uses ${quote(path)}`);
}

/** What stands in the file. It is for people: a holder that is just starting may not have written it yet. */
function loadHolder(path: string): LockHolder | undefined {
  try {
    const holder = JSON.parse(text(Deno.readFileSync(path)));
    return Number.isSafeInteger(holder?.pid) ? holder : undefined;
  } catch {
    return undefined;
  }
}
