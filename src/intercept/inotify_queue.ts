/**
 * One inotify instance: its descriptor, its watches and its queue of events, without any notion of a tree.
 *
 * ```text
 *   struct inotify_event   wd i32 | mask u32 | cookie u32 | length u32 | name, NUL-padded to length
 * ```
 *
 * A directory is never watched by its path alone: between two calls every path may lead elsewhere. Its parent is
 * opened, *proven* (watching what the descriptor refers to gives the parent's own watch descriptor), and the child is
 * then reached through that descriptor by `/proc/self/fd`.
 * @module
 */
import { errorCode, type SystemError } from "../base/errors.ts";
import { pathFromBytes } from "../base/path.ts";
import {
  addressOf,
  AT,
  errno,
  lastError,
  type Libc,
  libc,
  O,
  pageAligned,
  PathBuffer,
  POLL,
} from "../sys/libc.ts";
import { errnoName, systemError } from "../sys/errno.ts";
import { withEntryBuffer } from "../sys/linux_entries.ts";

/** Bits of an event's mask and of a watch, inotify(7). */
export const IN = {
  MODIFY: 0x2,
  ATTRIB: 0x4,
  CLOSE_WRITE: 0x8,
  MOVED_FROM: 0x40,
  MOVED_TO: 0x80,
  CREATE: 0x100,
  DELETE: 0x200,
  DELETE_SELF: 0x400,
  MOVE_SELF: 0x800,
  UNMOUNT: 0x2000,
  Q_OVERFLOW: 0x4000,
  IGNORED: 0x8000,
  ONLYDIR: 0x0100_0000,
  DONT_FOLLOW: 0x0200_0000,
  MASK_ADD: 0x2000_0000,
  EXCL_UNLINK: 0x0400_0000,
  ISDIR: 0x4000_0000,
} as const;

/**
 * What is heard of a directory. `EXCL_UNLINK`: writes to a file that has no name any more are not ours. `MASK_ADD`:
 * watching a directory again, as proving it does, would otherwise clear its mask for a moment, and the kernel drops
 * what happens in that moment.
 */
const heard = IN.MODIFY | IN.ATTRIB | IN.CLOSE_WRITE | IN.MOVED_FROM | IN.MOVED_TO | IN.CREATE | IN.DELETE |
  IN.EXCL_UNLINK | IN.ONLYDIR | IN.MASK_ADD;

/** The root has no watched parent that would tell of its end. */
const heardOfRoot = heard | IN.DELETE_SELF | IN.MOVE_SELF;

const READ_SIZE = 256 * 1024;
const EVENT_SIZE = 16;
const DT_UNKNOWN = 0;
const DT_DIR = 4;

/** The event that {@linkcode InotifyQueue.next} read last. */
export interface InotifyEvent {
  wd: number;
  mask: number;
  cookie: number;
  /** Name in the watched directory; `""` if the event is about the directory itself. */
  name: string;
}

/** Whether an error says that no further inotify instance can be had now. */
export function isInstanceLimit(error: unknown): boolean {
  return ["EMFILE", "ENFILE"].includes(errorCode(error));
}

/** An inotify instance with what it takes to wait for it and to wake that wait. */
export class InotifyQueue {
  /** The event read last; overwritten by the next one. */
  readonly event: InotifyEvent = { wd: 0, mask: 0, cookie: 0, name: "" };
  /** Errno's name of the last {@linkcode watchBelow} or {@linkcode openProven} that gave a negative number. */
  failure = "";

  readonly #libc: Libc;
  readonly #inotify: number;
  readonly #waker: number;
  /** The table of mounts, which is told of by `POLLPRI`; −1 where it cannot be had. */
  readonly #mounts: number;
  // Rooted here: libc and a thread that polls know their addresses only.
  readonly #polled = pageAligned(24);
  readonly #polledMounts = pageAligned(8);
  readonly #events = pageAligned(READ_SIZE);
  readonly #words = new DataView(this.#events.buffer, this.#events.byteOffset, READ_SIZE);
  readonly #path = new PathBuffer();
  readonly #one = new Uint8Array(new BigUint64Array([1n]).buffer);
  readonly #woken = new Uint8Array(8);
  #haveMountsChanged = false;
  #closed = false;
  #filled = 0;
  #at = 0;

  /** @throws {SystemError} If this is not Linux, or no further inotify instance can be had (`EMFILE`). */
  constructor() {
    this.#libc = libc();
    this.#inotify = this.#libc.inotify_init1(O.CLOEXEC | O.NONBLOCK);
    if (this.#inotify < 0) throw lastError("watch with", "inotify");
    this.#waker = this.#libc.eventfd(0, O.CLOEXEC | O.NONBLOCK);
    if (this.#waker < 0) {
      const error = lastError("watch with", "eventfd");
      this.#libc.close(this.#inotify);
      throw error;
    }
    const mounts = this.#path.put("/proc/self/mountinfo");
    this.#mounts = this.#libc.openat(AT.FDCWD, mounts, O.RDONLY | O.CLOEXEC, 0);
    const polled = [[this.#inotify, POLL.IN], [this.#waker, POLL.IN], [this.#mounts, POLL.PRI]];
    for (const [i, [fd, events]] of polled.entries()) putPolled(this.#polled, i, fd, events);
    putPolled(this.#polledMounts, 0, this.#mounts, POLL.PRI);
  }

  /**
   * Watches the root by its path, which may lead through symbolic links.
   *
   * @throws {SystemError} If it cannot be watched.
   */
  watchRoot(path: string): number {
    const wd = this.#libc.inotify_add_watch(this.#inotify, this.#path.put(path), heardOfRoot);
    if (wd < 0) throw this.#watchError(path);
    return wd;
  }

  /** Whether `path` leads to the root that has this watch descriptor. */
  isRoot(path: string, wd: number): boolean {
    return this.#libc.inotify_add_watch(this.#inotify, this.#path.put(path), heardOfRoot) === wd;
  }

  /**
   * Opens a watched directory if its path still leads to it.
   *
   * @param listed Whether it is to be listed; otherwise no permission to read it is needed.
   * @returns The descriptor, or −1: see {@linkcode failure}, which is `ESTALE` if something else is there.
   */
  openProven(path: string, wd: number, options: { root: boolean; listed: boolean }): number {
    const follow = options.root ? 0 : O.NOFOLLOW;
    const flags = (options.listed ? O.RDONLY : O.PATH) | O.DIRECTORY | O.CLOEXEC | O.NONBLOCK | follow;
    const fd = this.#libc.openat(AT.FDCWD, this.#path.put(path), flags, 0);
    if (fd < 0) return this.#failed();
    const mask = options.root ? heardOfRoot : heard;
    const found = this.#libc.inotify_add_watch(this.#inotify, this.#path.put(`/proc/self/fd/${fd}`), mask);
    if (found === wd) return fd;
    if (found < 0) this.#failed();
    else this.failure = "ESTALE";
    this.#libc.close(fd);
    return -1;
  }

  /** Watches a directory by its name in an open one. Gives its watch descriptor, or −1: see {@linkcode failure}. */
  watchBelow(fd: number, name: string): number {
    const path = this.#path.put(`/proc/self/fd/${fd}/${name}`);
    const wd = this.#libc.inotify_add_watch(this.#inotify, path, heard | IN.DONT_FOLLOW);
    return wd < 0 ? this.#failed() : wd;
  }

  /** Ends a watch. The kernel answers with an `IGNORED` event. */
  unwatch(wd: number): void {
    this.#libc.inotify_rm_watch(this.#inotify, wd);
  }

  /** Calls `visit` for each name in an open directory that is, or may be, a directory. `false` if it cannot be read. */
  listDirectories(fd: number, visit: (name: string) => void): boolean {
    const ended = withEntryBuffer((buffer) =>
      buffer.readAll(fd, ({ type }) => {
        if (type === DT_DIR || type === DT_UNKNOWN) visit(buffer.name());
      })
    );
    if (ended !== 0) this.failure = errnoName(ended);
    return ended === 0;
  }

  /** Closes a descriptor that {@linkcode openProven} gave. */
  closeDirectory(fd: number): void {
    this.#libc.close(fd);
  }

  /** Whether something was mounted or unmounted since the last call, or since this was made. */
  mountsChanged(): boolean {
    const changed = this.#haveMountsChanged;
    this.#haveMountsChanged = false;
    // The poll that tells of it also takes it for told.
    return this.#libc.poll(addressOf(this.#polledMounts), 1, 0) > 0 || changed;
  }

  /**
   * Resolves when events wait, mounts changed, after {@linkcode wake}, or after `timeoutMs`. Only one wait at a time.
   */
  async wait(timeoutMs: number): Promise<void> {
    await this.#libc.pollLater(addressOf(this.#polled), 3, timeoutMs);
    if ((this.#polled[22] | this.#polled[23]) !== 0) this.#haveMountsChanged = true;
    this.#libc.read(this.#waker, this.#woken, 8);
  }

  /** Ends the wait in progress, or the next one. */
  wake(): void {
    if (!this.#closed) this.#libc.write(this.#waker, this.#one, 8);
  }

  /** Reads waiting events, up to 256 KiB of them. `false` if there are none. All earlier ones must have been taken. */
  fill(): boolean {
    const size = this.#libc.read(this.#inotify, this.#events, READ_SIZE);
    this.#at = 0;
    this.#filled = Math.max(size, 0);
    return size > 0;
  }

  /** Takes the next event read by {@linkcode fill} into {@linkcode event}. `false` if there is none left. */
  next(): boolean {
    const at = this.#at;
    if (at >= this.#filled) return false;
    const { event } = this;
    event.wd = this.#words.getInt32(at, true);
    event.mask = this.#words.getUint32(at + 4, true);
    event.cookie = this.#words.getUint32(at + 8, true);
    const length = this.#words.getUint32(at + 12, true);
    event.name = length === 0 ? "" : this.#name(this.#events, at + EVENT_SIZE);
    this.#at = at + EVENT_SIZE + length;
    return true;
  }

  /** Closes both descriptors; a second time does nothing. No wait may be in progress. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#libc.close(this.#inotify);
    this.#libc.close(this.#waker);
    if (this.#mounts >= 0) this.#libc.close(this.#mounts);
  }

  #name(bytes: Uint8Array, start: number): string {
    let end = start;
    while (bytes[end] !== 0) end++;
    return pathFromBytes(bytes.subarray(start, end));
  }

  #failed(): -1 {
    this.failure = errnoName(errno());
    return -1;
  }

  #watchError(path: string): SystemError {
    const code = errnoName(errno());
    return systemError(code, code === "ENOSPC" ? "watch (fs.inotify.max_user_watches)" : "watch", path);
  }
}

/** Writes `struct pollfd`: descriptor i32, events i16, revents i16. */
function putPolled(polled: Uint8Array<ArrayBuffer>, index: number, fd: number, events: number): void {
  const view = new DataView(polled.buffer, polled.byteOffset + index * 8, 8);
  view.setInt32(0, fd, true);
  view.setInt16(4, events, true);
}
