/**
 * One fanotify group: its descriptor, its marks and its queue of events, without any notion of a tree.
 *
 * ```text
 *   event    length u32 | version u8 | - u8 | header length u16 | mask u64 | fd i32 | pid i32 | records
 *   record   type u8 | - u8 | length u16 | fsid 2 × i32 | handle size u32 | handle type i32 | handle | name, NUL
 * ```
 *
 * A record names a directory by its *handle* (`open_by_handle_at(2)`) and, but for that of the target, a name in it.
 * The part of it from `fsid` to the end of the handle is the same for the same directory, whatever it is called: its
 * key. All of it lies on boundaries of 4 bytes, and numbers are read as the little-endian words that they are.
 *
 * The kernel merges an event into an equal one that was not read yet, unless another process caused it. So events say
 * that something happened at a place, not how often, and renames do not come in the order in which they were made.
 * @module
 */
import { SystemError } from "../base/errors.ts";
import { pathFromBytes } from "../base/path.ts";
import { addressOf, AT, lastError, type Libc, libc, O, pageAligned, PathBuffer, POLL } from "../sys/libc.ts";

/** Bits of an event's mask and of a mark, fanotify_mark(2). */
export const FAN = {
  MODIFY: 0x2,
  ATTRIB: 0x4,
  CLOSE_WRITE: 0x8,
  CREATE: 0x100,
  DELETE: 0x200,
  Q_OVERFLOW: 0x4000,
  RENAME: 0x1000_0000,
  ONDIR: 0x4000_0000,
} as const;

/** Flags of fanotify_init(2). */
const INIT = {
  CLOEXEC: 0x1,
  NONBLOCK: 0x2,
  UNLIMITED_QUEUE: 0x10,
  UNLIMITED_MARKS: 0x20,
  REPORT_FID: 0x200,
  REPORT_DIR_FID: 0x400,
  REPORT_NAME: 0x800,
  REPORT_TARGET_FID: 0x1000,
} as const;
const MARK = { ADD: 0x1, REMOVE: 0x2, FILESYSTEM: 0x100 } as const;

/** What is heard of a file system. Nothing of it comes of reading. */
const heard = FAN.MODIFY | FAN.ATTRIB | FAN.CLOSE_WRITE | FAN.CREATE | FAN.DELETE | FAN.RENAME | FAN.ONDIR;

/** Types of records. */
const RECORD = { TARGET: 1, PLACE: 2, OLD_PLACE: 10, NEW_PLACE: 12 } as const;

const FIONREAD = 0x541b;
const READ_SIZE = 256 * 1024;
const EVENT_SIZE = 24;
/** Bytes of a key before its handle: fsid, handle size, handle type. */
const KEY_HEAD_SIZE = 16;
/** Largest handle that a file system may make (`MAX_HANDLE_SZ`). */
const HANDLE_SIZE_MAX = 128;
/** Offset of `f_fsid` in `struct statfs`. */
const FSID_AT = 56;

/** Where a record of the last event stands in {@linkcode FanotifyQueue.words}; 0 if it has none of that type. */
export type Record = number;

/** The event that {@linkcode FanotifyQueue.next} read last. */
export interface FanotifyEvent {
  mask: number;
  pid: number;
  /** Directory and name; the name is `.` if the event is about the directory itself. */
  place: Record;
  /** Of a rename. */
  oldPlace: Record;
  newPlace: Record;
  /** The file or directory itself, without a name. */
  target: Record;
}

/** How a {@linkcode FanotifyQueue} is made. */
export interface FanotifyQueueOptions {
  /** Whether the kernel keeps as many events as come, at the expense of memory. @default {true} */
  unlimited?: boolean;
}

/** A fanotify group with what it takes to wait for it and to wake that wait. */
export class FanotifyQueue {
  /** The event read last; overwritten by the next one. */
  readonly event: FanotifyEvent = { mask: 0, pid: 0, place: 0, oldPlace: 0, newPlace: 0, target: 0 };

  readonly #libc: Libc;
  readonly #group: number;
  readonly #waker: number;
  readonly #mounts: number;
  // Rooted here: libc and a thread that polls know their addresses only.
  readonly #polled = pageAligned(24);
  readonly #polledMounts = pageAligned(8);
  readonly #events = pageAligned(READ_SIZE);
  /** The events read last, for records. */
  readonly words = new Int32Array(this.#events.buffer, this.#events.byteOffset, READ_SIZE / 4);
  readonly #address = addressOf(this.#events);
  readonly #path = new PathBuffer();
  readonly #count = pageAligned(8);
  readonly #one = new Uint8Array(new BigUint64Array([1n]).buffer);
  readonly #woken = new Uint8Array(8);
  #haveMountsChanged = true;
  #closed = false;
  #readCount = 0;
  #filled = 0;
  #at = 0;

  /** @throws {SystemError} If there can be no such group here: not Linux, too old a kernel, or no right to it. */
  constructor({ unlimited = true }: FanotifyQueueOptions = {}) {
    this.#libc = libc();
    using undo = new DisposableStack();
    const opened = (descriptor: number, what: string) => {
      if (descriptor < 0) throw explained(lastError("watch with", what));
      undo.defer(() => this.#libc.close(descriptor));
      return descriptor;
    };
    const flags = INIT.CLOEXEC | INIT.NONBLOCK | INIT.UNLIMITED_MARKS | INIT.REPORT_FID |
      INIT.REPORT_DIR_FID |
      INIT.REPORT_NAME | INIT.REPORT_TARGET_FID | (unlimited ? INIT.UNLIMITED_QUEUE : 0);
    this.#group = opened(this.#libc.fanotify_init(flags, O.CLOEXEC), "fanotify");
    this.#waker = opened(this.#libc.eventfd(0, O.CLOEXEC | O.NONBLOCK), "eventfd");
    const mountinfo = this.#path.put("/proc/self/mountinfo");
    this.#mounts = opened(this.#libc.openat(AT.FDCWD, mountinfo, O.CLOEXEC, 0), "/proc/self/mountinfo");
    undo.move();
    putPolled(this.#polled, 0, this.#group, POLL.IN);
    putPolled(this.#polled, 8, this.#waker, POLL.IN);
    putPolled(this.#polled, 16, this.#mounts, POLL.PRI);
    putPolled(this.#polledMounts, 0, this.#mounts, POLL.PRI);
  }

  // ——— Marks ———

  /**
   * Hears of everything in the file system that a path leads to.
   *
   * @throws {SystemError} If the file system has no handles, or handles that lead nowhere.
   */
  mark(path: string): void {
    const marked = this.#libc.fanotify_mark(
      this.#group,
      MARK.ADD | MARK.FILESYSTEM,
      heard,
      AT.FDCWD,
      this.#path.put(path),
    );
    if (marked < 0) throw explained(lastError("watch", path));
  }

  /** Ends what {@linkcode mark} began, if the path still leads to that file system. */
  unmark(path: string): void {
    this.#libc.fanotify_mark(
      this.#group,
      MARK.REMOVE | MARK.FILESYSTEM,
      heard,
      AT.FDCWD,
      this.#path.put(path),
    );
  }

  // ——— Waiting ———

  /** Resolves when events wait, mounts changed, after {@linkcode wake}, or after `timeoutMs`. One wait at a time. */
  async wait(timeoutMs: number): Promise<void> {
    await this.#libc.pollLater(addressOf(this.#polled), 3, timeoutMs);
    this.#libc.read(this.#waker, this.#woken, 8);
    if (revents(this.#polled, 16) !== 0) this.#haveMountsChanged = true;
  }

  /** Ends the wait in progress, or the next one. */
  wake(): void {
    if (!this.#closed) this.#libc.write(this.#waker, this.#one, 8);
  }

  /** Whether something was mounted or unmounted since the last call; `true` at the first. */
  mountsChanged(): boolean {
    // The kernel says it once for each descriptor.
    const changed = this.#libc.poll(addressOf(this.#polledMounts), 1, 0) > 0 || this.#haveMountsChanged;
    this.#haveMountsChanged = false;
    return changed;
  }

  // ——— Events ———

  /** Events read so far, taken or not. */
  get readCount(): number {
    return this.#readCount;
  }

  /** Events that wait to be read. */
  waitingCount(): number {
    // The kernel tells it as the size that the events would have without records.
    if (this.#libc.ioctl(this.#group, FIONREAD, addressOf(this.#count)) < 0) return 0;
    return new DataView(this.#count.buffer, this.#count.byteOffset).getInt32(0, true) / EVENT_SIZE;
  }

  /** Reads waiting events, up to 256 KiB of them. `false` if there are none. All earlier ones must have been taken. */
  fill(): boolean {
    const size = this.#libc.read(this.#group, this.#events, READ_SIZE);
    this.#at = 0;
    this.#filled = Math.max(size, 0);
    for (let at = 0; at < this.#filled; at += this.words[at >> 2]) this.#readCount++;
    return size > 0;
  }

  /** Takes the next event read by {@linkcode fill} into {@linkcode event}. `false` if there is none left. */
  next(): boolean {
    const { words, event } = this;
    const at = this.#at >> 2;
    if (this.#at >= this.#filled) return false;
    event.mask = words[at + 2];
    event.pid = words[at + 5];
    event.place =
      event.oldPlace =
      event.newPlace =
      event.target =
        0;
    const end = this.#at + words[at];
    for (let record = this.#at + EVENT_SIZE; record < end;) {
      const head = words[record >> 2];
      const type = head & 0xff;
      if (type === RECORD.PLACE) event.place = record;
      else if (type === RECORD.TARGET) event.target = record;
      else if (type === RECORD.OLD_PLACE) event.oldPlace = record;
      else if (type === RECORD.NEW_PLACE) event.newPlace = record;
      record += head >>> 16;
    }
    this.#at = end;
    return true;
  }

  /** The name in a record of the last event. */
  name(record: Record): string {
    const start = record + 4 + KEY_HEAD_SIZE + this.words[(record >> 2) + 3];
    let end = start;
    while (this.#events[end] !== 0) end++;
    return pathFromBytes(this.#events.subarray(start, end));
  }

  /** Where the key of a record begins, in words. */
  keyAt(record: Record): number {
    return (record >> 2) + 1;
  }

  /** Opens what a record of the last event is about, by a descriptor of the same file system. −1 if it is gone. */
  openRecord(record: Record, mountDescriptor: number): number {
    return this.#libc.open_by_handle_at(mountDescriptor, this.#address + record + 12, O.PATH | O.CLOEXEC);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Closes all descriptors; a second time does nothing. No wait may be in progress. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const descriptor of [this.#group, this.#waker, this.#mounts]) this.#libc.close(descriptor);
  }
}

/** Words of a key that begins at `at`. */
export function keyWords(words: Int32Array, at: number): number {
  return (KEY_HEAD_SIZE + words[at + 2] + 3) >> 2;
}

/**
 * Makes the key of what a path leads to, as records have it, and proves that its handle can be opened.
 *
 * @param shown The path that an error names.
 * @throws {SystemError} If its file system has no handles that can be opened.
 */
export function keyOfPath(path: string, shown = path): Int32Array {
  const bytes = new Uint8Array(256);
  const key = new Int32Array(bytes.buffer);
  const address = addressOf(bytes);
  const { openat, close, fstatfs, name_to_handle_at, open_by_handle_at } = libc();
  const buffer = new PathBuffer();
  const failed = (): SystemError => explained(lastError("take a handle of", shown));
  const opened = openat(AT.FDCWD, buffer.put(path), O.RDONLY | O.NONBLOCK | O.CLOEXEC, 0);
  if (opened < 0) throw failed();
  try {
    // Used for both: 128 bytes lie behind the key.
    if (fstatfs(opened, address + 64) < 0) throw failed();
    const fsid = key.slice((64 + FSID_AT) >> 2, ((64 + FSID_AT) >> 2) + 2);
    bytes.fill(0);
    key.set(fsid);
    key[2] = HANDLE_SIZE_MAX;
    const mountId = address + 224;
    if (name_to_handle_at(opened, buffer.put(""), address + 8, mountId, AT.EMPTY_PATH) < 0) throw failed();
    const again = open_by_handle_at(opened, address + 8, O.PATH | O.CLOEXEC);
    if (again < 0) throw failed();
    close(again);
  } finally {
    close(opened);
  }
  return key.slice(0, keyWords(key, 0));
}

function putPolled(bytes: Uint8Array<ArrayBuffer>, at: number, descriptor: number, events: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setInt32(at, descriptor, true);
  view.setInt16(at + 4, events, true);
}

function revents(bytes: Uint8Array<ArrayBuffer>, at: number): number {
  return bytes[at + 6] | (bytes[at + 7] << 8);
}

/** What the codes of fanotify mean: other things than they do elsewhere. */
const meanings: { [code: string]: string | undefined } = {
  EPERM: "only root may (CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH)",
  EINVAL: "it takes Linux 5.17",
  ENOSYS: "this kernel has none",
  EOPNOTSUPP: "its file system has no handles to open",
  ENOTSUP: "its file system has no handles to open",
  ENODEV: "its file system has no identity",
  EXDEV: "it is a part of its file system only (a subvolume)",
  ESTALE: "its file system has no handles to open",
  EMFILE: "too many groups (fs.fanotify.max_user_groups)",
};

function explained(error: SystemError): SystemError {
  const meaning = meanings[error.code];
  if (meaning === undefined) return error;
  const what = error.message.slice(0, error.message.indexOf(": "));
  return new SystemError(error.code, `${what}: ${meaning} (${error.code})`);
}
