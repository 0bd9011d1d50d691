/**
 * The one door to libc; with libcrypto.ts and libxxhash.ts the only `Deno.dlopen` of the program. It opens on first
 * use, so that this module can be imported on every system.
 *
 * What a caller must keep:
 * - Pointers are `usize`, given as Number addresses ({@linkcode addressOf}). An address does not keep its buffer
 *   alive: hold the buffer in a field or in a variable that is used after the call. Parameters of type `buffer` take a
 *   `Uint8Array` itself and keep it alive for the call.
 * - A call that fails returns −1. {@linkcode errno} must be read in the same function right after the call. After a
 *   `…Later` call (one that runs on another thread and gives a promise) errno is lost.
 * - No error may go uncaught while a `…Later` call is pending: the runtime would crash. Wake it first (`eventfd`).
 * - Each Worker has its own instance of this module, and by that its own place of errno.
 *
 * Numbers are those of 64-bit Linux on x86-64 and arm64; where the two differ the constant is chosen at start.
 * @module
 */
import { SystemError } from "../base/errors.ts";
import { pathToBytes } from "../base/path.ts";
import { errnoName, systemError } from "./errno.ts";

const arm = Deno.build.arch === "aarch64";

/** Flags of `open(2)`. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DIRECTORY: arm ? 0o40000 : 0o200000,
  NOFOLLOW: arm ? 0o100000 : 0o400000,
  NOATIME: 0o1000000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
} as const;

/** Flags and the special descriptor of the `*at()` calls. */
export const AT = {
  FDCWD: -100,
  SYMLINK_NOFOLLOW: 0x100,
  REMOVEDIR: 0x200,
  NO_AUTOMOUNT: 0x800,
  EMPTY_PATH: 0x1000,
} as const;

/** Where `lseek(2)` goes: to the next data, or to the next hole. */
export const SEEK = { DATA: 3, HOLE: 4 } as const;

/** Flags of `fallocate(2)`. */
export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2 } as const;

/** Events of `poll(2)`. */
export const POLL = { IN: 1, PRI: 2, OUT: 4, ERR: 8, HUP: 16, NVAL: 32 } as const;

const descriptor = "i32",
  address = "usize",
  flags = "i32",
  size = "u32",
  offset = "i64",
  result = "i32" as const;

/** The calls, and how they are called. Counts are below 2^31, so that every result but an offset is a plain number. */
const calls = {
  openat: { parameters: [descriptor, address, flags, "u32"], result },
  /** `openat2` has no function in libc: 437, directory, path, how, 24. */
  syscallOpenat2: { name: "syscall", parameters: ["i64", "i64", address, address, "i64"], result },
  /** `mknodat`, which older libcs have under another name: its number, directory, path, type and mode, device. */
  syscallMknodat: { name: "syscall", parameters: ["i64", "i64", address, "i64", "i64"], result },
  /** `listxattrat`, which libc does not have yet: its number, directory, path, flags, names, their size. */
  syscallListxattrat: { name: "syscall", parameters: ["i64", "i64", address, "i64", address, "i64"], result },
  close: { parameters: [descriptor], result },
  dup3: { parameters: [descriptor, descriptor, flags], result },
  read: { parameters: [descriptor, "buffer", size], result },
  write: { parameters: [descriptor, "buffer", size], result },
  pread: { parameters: [descriptor, "buffer", size, offset], result },
  pwrite: { parameters: [descriptor, "buffer", size, offset], result },
  statx: { parameters: [descriptor, address, flags, "u32", address], result },
  getdents64: { parameters: [descriptor, address, size], result },
  mkdirat: { parameters: [descriptor, address, "u32"], result },
  unlinkat: { parameters: [descriptor, address, flags], result },
  renameat2: { parameters: [descriptor, address, descriptor, address, "u32"], result },
  linkat: { parameters: [descriptor, address, descriptor, address, flags], result },
  symlinkat: { parameters: [address, descriptor, address], result },
  readlinkat: { parameters: [descriptor, address, address, size], result },
  faccessat: { parameters: [descriptor, address, "i32", flags], result },
  fchmod: { parameters: [descriptor, "u32"], result },
  fchmodat: { parameters: [descriptor, address, "u32", flags], result },
  fchown: { parameters: [descriptor, "u32", "u32"], result },
  fchownat: { parameters: [descriptor, address, "u32", "u32", flags], result },
  futimens: { parameters: [descriptor, address], result },
  utimensat: { parameters: [descriptor, address, address, flags], result },
  llistxattr: { parameters: [address, address, "u64"], result },
  lgetxattr: { parameters: [address, address, address, "u64"], result },
  lsetxattr: { parameters: [address, address, "buffer", "u64", flags], result },
  lremovexattr: { parameters: [address, address], result },
  flistxattr: { parameters: [descriptor, address, "u64"], result },
  fgetxattr: { parameters: [descriptor, address, address, "u64"], result },
  fsetxattr: { parameters: [descriptor, address, "buffer", "u64", flags], result },
  fremovexattr: { parameters: [descriptor, address], result },
  ftruncate: { parameters: [descriptor, offset], result },
  /** Its result is an offset, and so a bigint. */
  lseek: { parameters: [descriptor, offset, "i32"], result: "i64" },
  fallocate: { parameters: [descriptor, flags, offset, offset], result },
  fsync: { parameters: [descriptor], result },
  fdatasync: { parameters: [descriptor], result },
  syncfs: { parameters: [descriptor], result },
  fstatfs: { parameters: [descriptor, address], result },
  copy_file_range: { parameters: [descriptor, address, descriptor, address, size, "u32"], result },
  /** `ioctl` with a number as its argument, as FICLONE wants. */
  ioctl: { parameters: [descriptor, "u32", "i64"], result },
  flock: { parameters: [descriptor, flags], result },
  /** `fcntl` with a number or an address as its argument. */
  fcntl: { parameters: [descriptor, "i32", "i64"], result },
  /** Its result, the handler before, is of no use here. */
  signal: { parameters: ["i32", address], result },
  malloc_trim: { parameters: ["i64"], result },
  geteuid: { parameters: [], result: "u32" },
  eventfd: { parameters: ["u32", flags], result },
  poll: { parameters: [address, "u64", "i32"], result },
  /** `poll` on another thread. Its array of `struct pollfd` must be kept alive until the promise settles. */
  pollLater: { name: "poll", parameters: [address, "u64", "i32"], result, nonblocking: true },
  inotify_init1: { parameters: [flags], result },
  inotify_add_watch: { parameters: [descriptor, address, "u32"], result },
  inotify_rm_watch: { parameters: [descriptor, "i32"], result },
  fanotify_init: { parameters: ["u32", "u32"], result },
  fanotify_mark: { parameters: [descriptor, "u32", "u64", descriptor, address], result },
  name_to_handle_at: { parameters: [descriptor, address, address, address, flags], result },
  open_by_handle_at: { parameters: [descriptor, address, flags], result },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

/** The calls of libc, by name. 64-bit arguments are Numbers too, which is faster than bigint and exact below 2^53. */
export type Libc = {
  readonly [Name in Exclude<keyof typeof calls, "__errno_location">]: (
    ...args: Arguments<(typeof calls)[Name]["parameters"]>
  ) => Result<(typeof calls)[Name]>;
};

type Result<Call> = Call extends { nonblocking: true } ? Promise<number>
  : Call extends { result: "i64" } ? bigint
  : number;

type Arguments<Parameters extends readonly string[]> = {
  -readonly [Index in keyof Parameters]: Parameters[Index] extends "buffer" ? Uint8Array : number;
};

let opened: Libc | undefined;
let errnoPlace: Int32Array | undefined;

/**
 * The calls of this system's libc, opened on first use.
 *
 * @throws {SystemError} `ENOSYS` if this is not 64-bit Linux with glibc, or if the process may not use FFI.
 */
export function libc(): Libc {
  return opened ?? openLibc();
}

/** The errno of the last call of this thread. Read it in the same function, right after the call that failed. */
export function errno(): number {
  return errnoPlace![0];
}

/** The error for the last failed call of this thread, under the rules of {@linkcode errno}. */
export function lastError(verb: string, path: string): SystemError {
  return systemError(errnoName(errno()), verb, path);
}

/** Address of a buffer's first byte. It is valid as long as something else keeps the buffer alive. */
export function addressOf(bytes: Uint8Array<ArrayBuffer>): number {
  return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)));
}

const PAGE_SIZE = 4096;

/**
 * A zeroed buffer whose first byte lies on a page boundary, if libc can be had: the kernel copies into such a one
 * several times faster.
 */
export function pageAligned(size: number): Uint8Array<ArrayBuffer> {
  const roomy = new Uint8Array(size + PAGE_SIZE);
  const past = Deno.build.os === "linux" ? addressOf(roomy) % PAGE_SIZE : 0;
  const skip = past === 0 ? 0 : PAGE_SIZE - past;
  return roomy.subarray(skip, skip + size);
}

/** A buffer that hands paths to libc as NUL-terminated bytes. */
export class PathBuffer {
  #bytes: Uint8Array<ArrayBuffer>;
  #address: number;

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity);
    this.#address = addressOf(this.#bytes);
  }

  /** Address of the path stored last. */
  get address(): number {
    return this.#address;
  }

  /**
   * Stores a path and gives its address, valid until the next call. Lone surrogates become the raw bytes that they
   * stand for (base/path.ts).
   *
   * @throws {SystemError} `EINVAL` if the path holds a NUL.
   */
  put(path: string): number {
    if (path.includes("\0")) throw systemError("EINVAL", "use path", path);
    // A UTF-16 unit becomes at most three bytes.
    if (path.length * 3 + 1 > this.#bytes.length) this.#grow(path.length * 3 + 1);
    const bytes = this.#bytes;
    if (path.isWellFormed()) {
      bytes[textEncoder.encodeInto(path, bytes).written] = 0;
    } else {
      const raw = pathToBytes(path);
      bytes.set(raw);
      bytes[raw.length] = 0;
    }
    return this.#address;
  }

  #grow(capacity: number): void {
    this.#bytes = new Uint8Array(capacity * 2);
    this.#address = addressOf(this.#bytes);
  }
}

const textEncoder = new TextEncoder();

function openLibc(): Libc {
  if (Deno.build.os !== "linux") throw new SystemError("ENOSYS", "Cannot open libc: not a Linux system");
  let library: Deno.DynamicLibrary<typeof calls>;
  try {
    library = Deno.dlopen("libc.so.6", calls);
  } catch (error) {
    const reason = (error as Error).message;
    throw new SystemError("ENOSYS", `Cannot open libc "libc.so.6" (glibc 2.30 or later): ${reason}`);
  }
  const place = library.symbols.__errno_location();
  errnoPlace = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(place!, 4));
  opened = library.symbols as unknown as Libc;
  return opened;
}
