/**
 * Whether another program uses a file, asked of the kernel by a *write lease* (fcntl(2), F_SETLEASE), which it grants
 * only while nobody else has the file open. The lease is given up at once: it ends with the descriptor that asked.
 *
 * What the kernel looks at (`check_conflicting_open`, fs/locks.c) is the inode's counts of open files that may write
 * and that may read, over all processes, containers and names of the file:
 *
 * - A descriptor counts, whatever it was opened for, and so does every mapping (`mmap`) after its descriptor was closed,
 *   a program that runs and its libraries: each keeps its open file. `O_PATH` descriptors do not count.
 * - A lock (`flock`, `fcntl`) needs an open file: where a lease is granted nobody holds one.
 * - Our own descriptors count too. So a refusal does not count where we have the file open ourselves: then, and where
 *   leases cannot be had (of a file of another user without `CAP_LEASE`, on a file system without them), locks
 *   alone tell. In that case whoever has the file open without a lock is not noticed.
 * - Whoever opens the file within these few microseconds waits for their end; with `O_NONBLOCK` it gets `EWOULDBLOCK`.
 *   The kernel then tells us by `SIGIO`, which would end the process if it were not ignored.
 *
 * ```
 * struct flock   type i16 @0 · whence i16 @2 · start i64 @8 · size i64 @16 · pid i32 @24        32 bytes
 * ```
 * @module
 */
import { errorCode } from "../base/errors.ts";
import type { FileUse, Stat } from "./file_system.ts";
import { addressOf, errno, libc } from "./libc.ts";

const F_SETLEASE = 1024, F_OFD_GETLK = 36, F_WRLCK = 1, F_UNLCK = 2;
const LOCK_EX = 2, LOCK_NB = 4;
const EAGAIN = 11;
const SIGIO = 29, SIG_IGN = 1;

let lock: { bytes: Uint8Array<ArrayBuffer>; type: Int16Array; address: number } | undefined;
let ignoresSignal = false;

/**
 * How another program uses an open file, `undefined` if none does.
 *
 * @param descriptor Opened for reading, for this question alone: the caller closes it right after.
 * @param stat Identity of the file, asked for only if somebody uses it.
 */
export function useOfOpen(
  descriptor: number,
  stat: () => Pick<Stat, "dev" | "ino">,
): FileUse | undefined {
  ignoreSignal();
  if (libc().fcntl(descriptor, F_SETLEASE, F_WRLCK) === 0) return undefined;
  const isRefused = errno() === EAGAIN;
  if (isLocked(descriptor)) return "locked";
  return isRefused && !isOpenHere(descriptor, stat()) ? "open" : undefined;
}

/** Whether another program holds a lock on any part of an open file. */
function isLocked(descriptor: number): boolean {
  if (libc().flock(descriptor, LOCK_EX | LOCK_NB) < 0 && errno() === EAGAIN) return true;
  lock ??= makeLock();
  lock.bytes.fill(0);
  lock.type[0] = F_WRLCK;
  // Where the system does not know the question nobody is said to hold one.
  return libc().fcntl(descriptor, F_OFD_GETLK, lock.address) === 0 && lock.type[0] !== F_UNLCK;
}

function makeLock() {
  const bytes = new Uint8Array(32);
  return { bytes, type: new Int16Array(bytes.buffer, 0, 1), address: addressOf(bytes) };
}

/** Whether this process, any thread of it, has the file open beside `descriptor`. */
function isOpenHere(descriptor: number, file: Pick<Stat, "dev" | "ino">): boolean {
  const directory = "/proc/self/fd";
  for (const { name } of Deno.readDirSync(directory)) {
    if (Number(name) === descriptor) continue;
    try {
      const { dev, ino } = Deno.statSync(`${directory}/${name}`);
      if (dev === file.dev && ino !== null && BigInt(ino) === file.ino) return true;
    } catch (error) {
      // Closed meanwhile, or one that cannot be asked: none of ours in a replica.
      if (!errorCode(error)) throw error;
    }
  }
  return false;
}

function ignoreSignal(): void {
  if (ignoresSignal) return;
  libc().signal(SIGIO, SIG_IGN);
  ignoresSignal = true;
}
