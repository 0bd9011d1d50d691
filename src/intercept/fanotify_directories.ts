/**
 * Tells where directories are that fanotify names by handles. The kernel is asked: a handle is opened and
 * `/proc/self/fd` says where that is *now*. A tree of our own would drift, since the kernel merges renames
 * (`fanotify_queue.ts`).
 *
 * What was learned is kept until a directory is renamed; after that everything is asked anew when it is needed.
 * @module
 */
import { isWithin, joinPath, pathFromBytes } from "../base/path.ts";
import { limits } from "../base/limits.ts";
import { errnoName, systemError } from "../sys/errno.ts";
import { addressOf, AT, errno, libc, O, PathBuffer } from "../sys/libc.ts";
import { StatBuffer } from "../sys/linux_stat.ts";
import { type FanotifyQueue, keyOfPath, keyWords, type Record } from "./fanotify_queue.ts";

/** A part of the tree that can be heard: what the root leads to, or something mounted below. */
export interface Part {
  /** Relative to the root; `""` is the root's own. */
  path: string;
  /** Key of what is mounted there. Its first two words are the identity of the file system. */
  key: Int32Array;
  /** A file is mounted over another one: what is heard of it names it by a place elsewhere. */
  isFile: boolean;
}

/** Where a directory is: a path below the root in one part. A directory that is mounted twice has two places. */
export interface Place {
  path: string;
  part: Part;
  /** The path is that of a directory above: its own is longer than the kernel tells. */
  isAbove: boolean;
}

/** A directory that was asked for. */
interface Known {
  key: Int32Array;
  generation: number;
  places: Place[];
  /** Another one with the same hash. */
  next: Known | undefined;
}

/** Longer paths are not told by the kernel, which uses a page for it. */
const LINK_SIZE = 4096;
const DELETED = " (deleted)";
const goneErrors = new Set(["ESTALE", "ENOENT"]);
const nowhere: Place[] = [];

/** The directories of one root. Owns a descriptor of it. */
export class FanotifyDirectories implements Disposable {
  /** What {@linkcode setParts} was given last. */
  parts: readonly Part[] = [];
  readonly #queue: FanotifyQueue;
  readonly #isExcluded: ((path: string) => boolean) | undefined;
  readonly #root: number;
  /** Absolute path of the root, without symbolic links. */
  #rootPath: string;
  readonly #key: Int32Array;
  readonly #path = new PathBuffer();
  readonly #empty = new PathBuffer(256);
  readonly #link = new Uint8Array(LINK_SIZE);
  readonly #linkAddress = addressOf(this.#link);
  readonly #stat = new StatBuffer();
  #fileParts: Part[] = [];
  #generation = 0;
  #known = new Map<number, Known>();
  #knownBefore = new Map<number, Known>();
  #last: Known | undefined;
  #trouble = "";
  #isTooLong = false;

  /** @throws {SystemError} If there is no directory at `root`, or if its handle cannot be opened. */
  constructor(root: string, queue: FanotifyQueue, isExcluded?: (path: string) => boolean) {
    this.#queue = queue;
    this.#isExcluded = isExcluded;
    const flags = O.RDONLY | O.DIRECTORY | O.CLOEXEC;
    this.#root = libc().openat(AT.FDCWD, this.#path.put(root), flags, 0);
    if (this.#root < 0) throw systemError(errnoName(errno()), "watch", root);
    try {
      this.#key = keyOfPath(this.rootByDescriptor, root);
    } catch (error) {
      this.close();
      throw error;
    }
    this.#rootPath = this.#pathOf(this.#root) ?? root;
    this.parts = [{ path: "", key: this.#key, isFile: false }];
  }

  /** A path that leads to the root whatever it is called. */
  get rootByDescriptor(): string {
    return `/proc/self/fd/${this.#root}`;
  }

  /** Absolute path of the root, without symbolic links. */
  get rootPath(): string {
    return this.#rootPath;
  }

  /** Why something could not be asked for; then events may have passed unheard. Empties it. */
  takeTrouble(): string {
    const trouble = this.#trouble;
    this.#trouble = "";
    return trouble;
  }

  /** Absolute path of a place. */
  absolute(path: string): string {
    if (path === "") return this.#rootPath;
    return this.#rootPath === "/" ? `/${path}` : `${this.#rootPath}/${path}`;
  }

  /** Path below the root of an absolute one; `undefined` if it is not below. */
  relative(absolute: string): string | undefined {
    if (absolute === this.#rootPath) return "";
    // The kernel says "(unreachable)…" of what this process cannot reach.
    if (this.#rootPath === "/") return absolute.startsWith("/") ? absolute.slice(1) : undefined;
    return isWithin(absolute, this.#rootPath) ? absolute.slice(this.#rootPath.length + 1) : undefined;
  }

  /** Takes the parts mounted below the root. The root's own part is added. */
  setParts(mounted: Part[]): void {
    this.parts = [{ path: "", key: this.#key, isFile: false }, ...mounted.filter(({ isFile }) => !isFile)];
    this.#fileParts = mounted.filter(({ isFile }) => isFile);
    this.forgetPaths();
  }

  /** A directory was renamed, or rules changed: what is known of paths may not hold any more. */
  forgetPaths(): void {
    this.#generation++;
  }

  /**
   * Whether `root` still leads to the directory that was opened, under the name that it had; `"renamed"` if the name is
   * another one by now: then events may have passed unheard.
   */
  rootStands(root: string): boolean | "renamed" {
    if (!this.#stat.askOpen(this.#root, this.#empty.put(""))) return false;
    const { dev, ino } = this.#identity();
    const opened = libc().openat(AT.FDCWD, this.#path.put(root), O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
    if (opened < 0) return false;
    const isThere = this.#stat.askOpen(opened, this.#empty.put(""));
    const now = this.#identity();
    libc().close(opened);
    if (!isThere || now.ino !== ino || now.dev !== dev) return false;
    const path = this.#pathOf(this.#root);
    if (path === undefined) return false;
    if (path === this.#rootPath) return true;
    this.#rootPath = path;
    this.forgetPaths();
    return "renamed";
  }

  /** Whether a record is about the root itself. */
  isRoot(record: Record): boolean {
    return record !== 0 && this.#isKey(this.#key, this.#queue.keyAt(record));
  }

  /** Paths at which a file that a record is about is mounted over another one. */
  filesMounted(record: Record): string[] {
    if (record === 0 || this.#fileParts.length === 0) return [];
    const at = this.#queue.keyAt(record);
    return this.#fileParts.filter(({ key }) => this.#isKey(key, at)).map(({ path }) => path);
  }

  /** Where the directory of a record is; nowhere if it is outside, excluded or removed. */
  find(record: Record): readonly Place[] {
    const at = this.#queue.keyAt(record);
    const last = this.#last;
    if (last && last.generation === this.#generation && this.#isKey(last.key, at)) return last.places;
    const known = this.#look(at);
    if (known.generation !== this.#generation) {
      known.places = this.findNow(record);
      if (this.#trouble === "") known.generation = this.#generation;
    }
    this.#last = known;
    return known.places;
  }

  /** As {@linkcode find}, of a file too, and without keeping it. */
  findNow(record: Record): Place[] {
    const { words } = this.#queue;
    const at = this.#queue.keyAt(record);
    let places = nowhere;
    for (const part of this.parts) {
      if (part.key[0] !== words[at] || part.key[1] !== words[at + 1]) continue;
      const place = this.#findIn(part, record);
      if (place) places = [...places, place];
    }
    return places;
  }

  close(): void {
    libc().close(this.#root);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #findIn(part: Part, record: Record): Place | undefined {
    const mount = part.path === "" ? this.#root : this.#openPart(part);
    // Unmounted: that is told otherwise.
    if (mount < 0) return undefined;
    const opened = this.#queue.openRecord(record, mount);
    const failure = opened < 0 ? errnoName(errno()) : "";
    if (mount !== this.#root) libc().close(mount);
    if (opened < 0) {
      if (!goneErrors.has(failure)) this.#trouble = `a directory could not be opened (${failure})`;
      return undefined;
    }
    const found = this.#nameable(opened);
    libc().close(opened);
    // What another mount of the same file system shows is told under that one's name, or is outside.
    const path = found && this.relative(found.path);
    if (path === undefined || !isWithin(path, part.path) || this.#isOutside(path)) return undefined;
    return { path, part, isAbove: found!.isAbove };
  }

  #openPart(part: Part): number {
    const flags = O.RDONLY | O.DIRECTORY | O.CLOEXEC | O.NONBLOCK;
    return libc().openat(AT.FDCWD, this.#path.put(this.absolute(part.path)), flags, 0);
  }

  /** Path of what is open, or of the lowest directory above it of which the path can be told. */
  #nameable(descriptor: number): { path: string; isAbove: boolean } | undefined {
    let path = this.#pathOf(descriptor);
    if (!this.#isTooLong) return path === undefined ? undefined : { path, isAbove: false };
    let at = descriptor;
    while (this.#isTooLong) {
      const above = libc().openat(at, this.#path.put(".."), O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
      const failure = above < 0 ? errnoName(errno()) : "";
      if (at !== descriptor) libc().close(at);
      if (failure !== "") {
        this.#trouble = `a directory could not be found (${failure})`;
        return undefined;
      }
      at = above;
      path = this.#pathOf(at);
    }
    libc().close(at);
    return path === undefined ? undefined : { path, isAbove: true };
  }

  /** Absolute path of what is open; `undefined` if it was removed, or is too long. */
  #pathOf(descriptor: number): string | undefined {
    const name = this.#path.put(`/proc/self/fd/${descriptor}`);
    const size = libc().readlinkat(AT.FDCWD, name, this.#linkAddress, LINK_SIZE);
    this.#isTooLong = size < 0 && errno() === ENAMETOOLONG;
    if (size < 0) return undefined;
    const path = pathFromBytes(this.#link.subarray(0, size));
    return path.endsWith(DELETED) && !this.#isAt(descriptor, path) ? undefined : path;
  }

  /** Whether what is open has this very path: its name may end with "(deleted)". */
  #isAt(descriptor: number, path: string): boolean {
    if (!this.#stat.askOpen(descriptor, this.#empty.put(""))) return false;
    const { dev, ino } = this.#identity();
    if (!this.#stat.ask(AT.FDCWD, this.#path.put(path))) return false;
    const now = this.#identity();
    return now.ino === ino && now.dev === dev;
  }

  #identity(): { dev: number; ino: bigint } {
    return { dev: this.#stat.dev, ino: this.#stat.ino };
  }

  #isOutside(path: string): boolean {
    if (!this.#isExcluded || path === "") return false;
    let above = "";
    for (const name of path.split("/")) {
      above = joinPath(above, name);
      if (this.#isExcluded(above)) return true;
    }
    return false;
  }

  // ——— What is known ———

  /** The entry of a key; a new one is of no generation. */
  #look(at: number): Known {
    const { words } = this.#queue;
    const hash = hashKey(words, at);
    let first = this.#known.get(hash);
    if (!first && (first = this.#knownBefore.get(hash))) this.#keep(hash, first);
    for (let known = first; known; known = known.next) if (this.#isKey(known.key, at)) return known;
    const key = words.slice(at, at + keyWords(words, at));
    const added = { key, generation: -1, places: nowhere, next: first };
    this.#keep(hash, added);
    return added;
  }

  #keep(hash: number, known: Known): void {
    if (this.#known.size >= limits.knownHandlesMax) {
      this.#knownBefore = this.#known;
      this.#known = new Map();
    }
    this.#known.set(hash, known);
  }

  #isKey(key: Int32Array, at: number): boolean {
    const { words } = this.#queue;
    for (let i = 0; i < key.length; i++) if (key[i] !== words[at + i]) return false;
    return true;
  }
}

const ENAMETOOLONG = 36;

function hashKey(words: Int32Array, at: number): number {
  const count = keyWords(words, at);
  let hash = 0;
  for (let i = 0; i < count; i++) {
    hash = Math.imul(hash ^ words[at + i], 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}
