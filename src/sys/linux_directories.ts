/**
 * Directories below a root, reached so that nothing leads out of it: the root is a descriptor, and a path is resolved
 * from it by `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS` (and `RESOLVE_NO_XDEV` if
 * mounts are refused), or, on kernels before 5.6, one part at a time with `O_NOFOLLOW`. A path longer than the kernel
 * takes at once is resolved piece by piece.
 *
 * The last directories used stay open, so that many calls in one directory cost one resolution. They are held by
 * identity: a directory that others moved is still reached under its old path until {@linkcode forget}.
 *
 * Functions give a descriptor, or −errno.
 * @module
 */
import { isWithin } from "../base/path.ts";
import { addressOf, AT, errno, libc, O, PathBuffer } from "./libc.ts";
import { kindOfType, StatBuffer } from "./linux_stat.ts";

const OPENAT2 = 437;
const RESOLVE_NO_XDEV = 0x01,
  RESOLVE_NO_MAGICLINKS = 0x02,
  RESOLVE_NO_SYMLINKS = 0x04,
  RESOLVE_BENEATH = 0x08;
const HOW_SIZE = 24;
const EBADF = 9, EAGAIN = 11, EINVAL = 22, ENOTDIR = 20, ELOOP = 40, EXDEV = 18;

/** Directories kept open by one tree. The one not used for longest is closed for a new one. */
const OPEN_DIRECTORIES_MAX = 64;
/** Times that a resolution disturbed by renames is tried again; then it fails with `EAGAIN`. */
const DISTURBED_TRIES_MAX = 64;
/** UTF-16 units of a path given to the kernel at once: even at three bytes each they stay below its 4,096. */
const PIECE_LENGTH_MAX = 1_300;

/** How {@linkcode LinuxDirectories} resolves. */
export interface ResolveOptions {
  /** Refuse mounts below the root. */
  confined: boolean;
  /** Use `openat2`; otherwise one part at a time. */
  openat2: boolean;
}

let herePath: PathBuffer | undefined;

/** Whether this kernel has `openat2` and lets this process use it. */
export function hasOpenat2(): boolean {
  herePath ??= new PathBuffer();
  const how = new OpenHow();
  const found = how.open(AT.FDCWD, herePath.put("."), O.PATH | O.DIRECTORY, 0);
  if (found >= 0) libc().close(found);
  return found >= 0;
}

/** The directories below one root. Owns the root's descriptor. */
export class LinuxDirectories {
  readonly options: Readonly<ResolveOptions>;
  readonly #how: OpenHow;
  readonly #path = new PathBuffer();
  readonly #statBuffer = new StatBuffer();
  /** Descriptors by path, that used last at the end. */
  readonly #open = new Map<string, number>();
  #root: number;
  #generation = 0;
  #lastPath = "";
  #last: number;

  constructor(root: number, options: ResolveOptions) {
    this.options = options;
    this.#how = new OpenHow(options.confined ? RESOLVE_NO_XDEV : 0);
    this.#root = root;
    this.#last = root;
  }

  /** Descriptor of a directory for `*at()` calls. It stays this object's: use it at once, do not close it. */
  find(path: string): number {
    if (path === this.#lastPath) return this.#last;
    if (path === "") return this.#root;
    let found = this.#open.get(path);
    if (found === undefined) {
      found = this.openFresh(path, O.PATH);
      if (found < 0) return found;
    } else {
      this.#open.delete(path);
    }
    this.#keep(path, found);
    return found;
  }

  /** Opens a directory with `flags` beside the usual ones. The descriptor is the caller's. */
  openFresh(path: string, flags: number): number {
    const all = flags | O.DIRECTORY | O.CLOEXEC;
    if (path === "") return this.#openPart(this.#root, ".", all);
    const known = this.#open.get(path);
    if (known !== undefined) return this.#openPart(known, ".", all);
    if (!isCleanPath(path)) return -EINVAL;
    if (this.options.openat2 && path.length <= PIECE_LENGTH_MAX) return this.#openPart(this.#root, path, all);
    return this.#walk(path, all);
  }

  /** Opens a name in a directory that {@linkcode find} gave, never following it nor crossing a refused mount. */
  openName(directory: number, nameAddress: number, options: { flags: number; mode: number }): number {
    const flags = options.flags | O.NOFOLLOW | O.CLOEXEC;
    if (this.options.confined && this.options.openat2) {
      return this.#how.open(directory, nameAddress, flags, options.mode);
    }
    const opened = libc().openat(directory, nameAddress, flags, options.mode);
    return opened < 0 ? -errno() : this.#refuseMount(opened, directory);
  }

  /** Counts the times that directories were forgotten. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Takes over a directory that was opened by {@linkcode openFresh}, for later calls.
   *
   * @param generation {@linkcode generation} before it was opened: if it is another one now, the path may name
   * something else.
   */
  adopt(path: string, descriptor: number, generation: number): void {
    const isCurrent = generation === this.#generation && path !== "" && !this.#open.has(path);
    if (isCurrent) this.#keep(path, descriptor);
    else libc().close(descriptor);
  }

  /** Closes what is kept open, save the root. */
  forget(): void {
    this.#generation++;
    for (const descriptor of this.#open.values()) libc().close(descriptor);
    this.#open.clear();
    this.#lastPath = "";
    this.#last = this.#root;
  }

  /** Closes what is kept open of a directory that moved or vanished. */
  forgetWithin(path: string): void {
    this.#generation++;
    for (const [known, descriptor] of this.#open) {
      if (!isWithin(known, path)) continue;
      libc().close(descriptor);
      this.#open.delete(known);
    }
    if (isWithin(this.#lastPath, path)) {
      this.#lastPath = "";
      this.#last = this.#root;
    }
  }

  /** Closes everything. Later calls give −EBADF. */
  close(): void {
    if (this.#root < 0) return;
    const root = this.#root;
    this.#root = -EBADF;
    this.forget();
    libc().close(root);
  }

  #keep(path: string, descriptor: number): void {
    if (this.#open.size >= OPEN_DIRECTORIES_MAX) this.#closeOldest();
    this.#open.set(path, descriptor);
    this.#lastPath = path;
    this.#last = descriptor;
  }

  #closeOldest(): void {
    const [path, descriptor] = this.#open.entries().next().value!;
    this.#open.delete(path);
    libc().close(descriptor);
  }

  #openPart(directory: number, part: string, flags: number): number {
    const opened = this.options.openat2
      ? this.#how.open(directory, this.#path.put(part), flags, 0)
      : this.#openOneName(directory, part, flags);
    const refused = opened === -1 && (flags & O.NOATIME) !== 0;
    // O_NOATIME is for the owner only (EPERM, 1).
    return refused ? this.#openPart(directory, part, flags & ~O.NOATIME) : opened;
  }

  /** Without `openat2`: `name` is one part of a path or `.`. */
  #openOneName(directory: number, name: string, flags: number): number {
    const opened = libc().openat(directory, this.#path.put(name), flags | O.NOFOLLOW, 0);
    if (opened < 0) {
      const failure = errno();
      if (failure !== ENOTDIR || !this.#statBuffer.ask(directory, this.#path.address)) return -failure;
      return kindOfType(this.#statBuffer.type) === "symlink" ? -ELOOP : -ENOTDIR;
    }
    return this.#refuseMount(opened, directory);
  }

  /** Without `openat2`, a mount is told by its other device. */
  #refuseMount(opened: number, directory: number): number {
    if (!this.options.confined || this.#deviceOf(opened) === this.#deviceOf(directory)) return opened;
    libc().close(opened);
    return -EXDEV;
  }

  #deviceOf(descriptor: number): number {
    return this.#statBuffer.askOpen(descriptor, this.#path.put("")) ? this.#statBuffer.dev : -1;
  }

  /** Resolves in pieces: each from the descriptor of the one before. */
  #walk(path: string, flags: number): number {
    const pieces = this.options.openat2 ? splitPath(path) : path.split("/");
    let at = this.#root;
    for (let i = 0; i < pieces.length; i++) {
      const isLast = i === pieces.length - 1;
      const next = this.#openPart(at, pieces[i], isLast ? flags : O.PATH | O.DIRECTORY | O.CLOEXEC);
      if (at !== this.#root) libc().close(at);
      if (next < 0) return next;
      at = next;
    }
    return at;
  }
}

/** Whether no part of a path is empty, `.` or `..`, and none holds a NUL. */
export function isCleanPath(path: string): boolean {
  return !/(?:^|\/)\.{0,2}(?:\/|$)|\0/.test(path);
}

/** Whether a name is a possible one: not empty, `.` or `..`, without NUL. */
export function isCleanName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !name.includes("\0");
}

/** Cuts a path at slashes into pieces short enough for the kernel; a part alone is never cut. */
function splitPath(path: string): string[] {
  const pieces: string[] = [];
  let piece = "";
  for (const part of path.split("/")) {
    const joined = piece === "" ? part : `${piece}/${part}`;
    if (piece !== "" && joined.length > PIECE_LENGTH_MAX) {
      pieces.push(piece);
      piece = part;
    } else {
      piece = joined;
    }
  }
  pieces.push(piece);
  return pieces;
}

/** `struct open_how`: flags u64 @0, mode u64 @8, resolve u64 @16. */
class OpenHow {
  readonly #bytes = new Uint8Array(256);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #address = addressOf(this.#bytes);

  constructor(resolve = 0) {
    const all = resolve | RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    this.#view.setUint32(16, all, true);
  }

  open(directory: number, pathAddress: number, flags: number, mode: number): number {
    this.#view.setUint32(0, flags, true);
    this.#view.setUint32(8, mode, true);
    const { syscallOpenat2 } = libc();
    for (let tries = 0; tries < DISTURBED_TRIES_MAX; tries++) {
      const opened = syscallOpenat2(OPENAT2, directory, pathAddress, this.#address, HOW_SIZE);
      if (opened >= 0) return opened;
      const failure = errno();
      if (failure !== EAGAIN) return -failure;
    }
    return -EAGAIN;
  }
}
