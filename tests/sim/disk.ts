/**
 * A disk in memory that forgets what was not synced: a {@linkcode FileSystem} whose power can be cut.
 *
 * What survives is chosen at random among what a journaling file system may leave:
 *
 * - Names and attributes change in the order of the calls, and a cut leaves any moment between the last sync of a
 *   directory (or of everything) and now. Attributes of a file that was synced are those of then, at least.
 * - Contents of a file are those of its last sync, with any of the later writes, each whole, in part or not at all.
 *
 * So a rename may survive whose file has no contents, which is what a missing sync shows up by.
 * @module
 */
import { SystemError } from "../../src/base/errors.ts";
import {
  type AttributeChange,
  type DataRange,
  type DirectoryEntry,
  type FileSystem,
  type FileUse,
  isDevice,
  isNode,
  type Kind,
  type NodeKind,
  type OpenFile,
  type OpenOptions,
  type RenameOptions,
  type Stat,
  type Tree,
  type Xattr,
} from "../../src/sys/file_system.ts";
import { linuxFileSystem } from "../../src/sys/linux.ts";
import type { Random } from "./random.ts";

/** What a directory entry leads to. */
interface Inode {
  readonly number: bigint;
  readonly kind: Kind;
  readonly target: string;
  mode: number;
  uid: number;
  gid: number;
  /** In order of name. */
  xattrs: readonly Xattr[];
  mtimeNs: bigint;
  ctimeNs: bigint;
  /** Names that it has. */
  linkCount: number;
  data: Uint8Array;
  /** Contents as of the last sync, and what was written since. */
  synced: Uint8Array;
  writes: ({ offset: number; bytes: Uint8Array } | { size: number })[];
  /** Of a directory. */
  entries: Map<string, Inode>;
  parent: Inode | undefined;
}

/** Names and attributes of all that is reachable, at one moment. */
type Moment = Map<
  Inode,
  Pick<Inode, "mode" | "uid" | "gid" | "xattrs" | "mtimeNs" | "ctimeNs" | "linkCount" | "parent"> & {
    entries: Map<string, Inode>;
  }
>;

const NO_BYTES = new Uint8Array(0);
const PAGE_SIZE = 4096;
/** Moments kept; with more of them a cut leaves one of the last. */
const MOMENTS_MAX = 200;

/** One disk. Paths of its trees are those of the roots, and mean nothing to the machine. */
export class SimulatedDisk implements FileSystem {
  readonly name = "linux";
  readonly abilities: FileSystem["abilities"];
  readonly tellsFileUse = true;
  readonly device: number;
  readonly #nowMs: () => number;
  #inodes = 1n;
  #top: Inode;
  /** Moments since the last sync of names, the first of which is durable. */
  #moments: Moment[] = [];
  /** Goes up when the power is cut: what was open before is of no use. */
  life = 0;
  /** Files that a program on this machine has open. */
  readonly inUse = new Set<Inode>();

  /**
   * @param options.nowMs Wall clock, milliseconds.
   * @param options.syncAll See `FileSystemAbilities`. @default {true}
   */
  constructor(
    { nowMs, device, syncAll = true }: { nowMs: () => number; device: number; syncAll?: boolean },
  ) {
    this.abilities = { ...linuxFileSystem().abilities, syncAll };
    this.#nowMs = nowMs;
    this.device = device;
    this.#top = this.make("directory", 0o755, undefined);
    this.#moments = [this.#moment()];
  }

  /** Opens a directory as a tree, and makes it first if it is not there. */
  openTree(rootPath: string): SimulatedTree {
    let at = this.#top;
    for (const name of rootPath.split("/").filter(Boolean)) {
      let next = at.entries.get(name);
      if (!next) {
        at.entries.set(name, next = this.make("directory", 0o755, at));
        this.syncNames();
      }
      if (next.kind !== "directory") fail("ENOTDIR", "open", rootPath);
      at = next;
    }
    return new SimulatedTree(this, rootPath, at);
  }

  /** Cuts the power: what is open is lost, and of what was not synced what chance wills. */
  cutPower(random: Random): void {
    this.life++;
    const moment = this.#moments[random.below(this.#moments.length)];
    for (const [inode, { entries, ...attributes }] of moment) {
      Object.assign(inode, attributes);
      inode.entries = new Map(entries);
      if (inode.kind === "file") this.#loseWrites(inode, random);
    }
    this.#moments = [this.#moment()];
  }

  #loseWrites(inode: Inode, random: Random): void {
    let data = inode.synced;
    for (const write of inode.writes) {
      const fate = random.below(3);
      if (fate === 0) continue;
      if ("size" in write) {
        data = resized(data, write.size);
      } else {
        const size = fate === 1 ? write.bytes.length : write.bytes.length >> 1;
        data = written(data, write.bytes.subarray(0, size), write.offset);
      }
    }
    inode.data = inode.synced = data;
    inode.writes = [];
  }

  // ——— For trees and files ———

  nowNs(): bigint {
    return BigInt(Math.round(this.#nowMs() * 1000)) * 1000n;
  }

  make(kind: Inode["kind"], mode: number, parent: Inode | undefined, target = ""): Inode {
    const now = this.nowNs();
    return {
      number: this.#inodes++,
      kind,
      target,
      mode,
      xattrs: [],
      uid: 0,
      gid: 0,
      mtimeNs: now,
      ctimeNs: now,
      linkCount: 1,
      data: NO_BYTES,
      synced: NO_BYTES,
      writes: [],
      entries: new Map(),
      parent,
    };
  }

  /** Names or attributes changed. */
  noteNames(): void {
    this.#moments.push(this.#moment());
    if (this.#moments.length > MOMENTS_MAX) this.#moments.splice(1, this.#moments.length - MOMENTS_MAX);
  }

  /** Names and attributes survive from now on. */
  syncNames(): void {
    this.#moments = [this.#moment()];
  }

  /** A file's contents and attributes survive from now on; its name need not. */
  syncFile(inode: Inode): void {
    inode.synced = inode.data;
    inode.writes = [];
    const { mode, uid, gid, xattrs, mtimeNs, ctimeNs } = inode;
    for (const moment of this.#moments) {
      const known = moment.get(inode);
      if (known) Object.assign(known, { mode, uid, gid, xattrs, mtimeNs, ctimeNs });
    }
  }

  syncAll(): void {
    for (const inode of this.#moment().keys()) this.syncFile(inode);
    this.syncNames();
  }

  #moment(): Moment {
    const moment: Moment = new Map();
    const waiting = [this.#top];
    for (let inode = waiting.pop(); inode; inode = waiting.pop()) {
      const { mode, uid, gid, xattrs, mtimeNs, ctimeNs, linkCount, entries, parent } = inode;
      moment.set(inode, {
        mode,
        uid,
        gid,
        xattrs,
        mtimeNs,
        ctimeNs,
        linkCount,
        parent,
        entries: new Map(entries),
      });
      waiting.push(...entries.values());
    }
    return moment;
  }
}

/** A tree of it. */
export class SimulatedTree implements Tree {
  readonly rootPath: string;
  readonly disk: SimulatedDisk;
  readonly root: Inode;
  readonly #life: number;
  #isClosed = false;

  constructor(disk: SimulatedDisk, rootPath: string, root: Inode) {
    this.disk = disk;
    this.rootPath = rootPath;
    this.root = root;
    this.#life = disk.life;
  }

  stat(path: string): Stat | undefined {
    const inode = this.#find(path);
    return inode && statOf(inode, this.disk);
  }

  statDirectory(path: string): Stat | undefined {
    const stat = this.stat(path);
    return stat?.kind === "directory" ? stat : undefined;
  }

  list(path: string): DirectoryEntry[] {
    return [...this.#directory("list", path).entries].map(([name, { kind }]) => ({ name, kind }));
  }

  scan(path: string, visit: (name: string, stat: Readonly<Stat> | undefined) => void): void {
    for (const [name, inode] of [...this.#directory("scan", path).entries]) {
      visit(name, statOf(inode, this.disk));
    }
  }

  open(path: string, { access, mode = 0o600 }: OpenOptions): OpenFile {
    const { directory, name } = this.#place("open", path);
    let inode = directory.entries.get(name);
    if (access === "create") {
      if (inode) fail("EEXIST", "create", path);
      inode = this.disk.make("file", mode, directory);
      this.#put(directory, name, inode);
    }
    if (!inode) fail("ENOENT", "open", path);
    if (inode.kind === "directory") fail("EISDIR", "open", path);
    if (inode.kind === "symlink") fail("ELOOP", "open", path);
    if (isNode(inode.kind)) fail("EINVAL", "open", path);
    return new SimulatedFile(this.disk, inode, path, access !== "read");
  }

  useOf(path: string): FileUse | undefined {
    const inode = this.#find(path);
    return inode?.kind === "file" && this.disk.inUse.has(inode) ? "open" : undefined;
  }

  readLink(path: string): string {
    const inode = this.#existing("read link", path);
    return inode.kind === "symlink" ? inode.target : fail("EINVAL", "read link", path);
  }

  makeDirectory(path: string, mode: number): void {
    this.#add("make directory", path, (parent) => this.disk.make("directory", mode, parent));
  }

  makeSymlink(path: string, target: string): void {
    this.#add("make link", path, (parent) => this.disk.make("symlink", 0o777, parent, target));
  }

  makeNode(path: string, kind: NodeKind, device: string, mode: number): void {
    this.#add(`make ${kind}`, path, (parent) => this.disk.make(kind, mode, parent, device));
  }

  link(path: string, to: string, { into = this as Tree }: { into?: Tree } = {}): void {
    const inode = this.#existing("link", path);
    const { directory, name } = (into as SimulatedTree).#place("link", to);
    if (directory.entries.has(name)) fail("EEXIST", "link", to);
    if (inode.kind === "directory") fail("EPERM", "link", path);
    inode.linkCount++;
    inode.ctimeNs = this.disk.nowNs();
    this.#put(directory, name, inode);
  }

  unlink(path: string): void {
    const { directory, name } = this.#place("remove", path);
    const inode = directory.entries.get(name) ?? fail("ENOENT", "remove", path);
    if (inode.kind === "directory") fail("EISDIR", "remove", path);
    this.#drop(directory, name);
  }

  removeDirectory(path: string): void {
    const { directory, name } = this.#place("remove", path);
    const inode = directory.entries.get(name) ?? fail("ENOENT", "remove", path);
    if (inode.kind !== "directory") fail("ENOTDIR", "remove", path);
    if (inode.entries.size > 0) fail("ENOTEMPTY", "remove", path);
    this.#drop(directory, name);
  }

  rename(
    from: string,
    to: string,
    { exchange = false, into = this as Tree }: RenameOptions & { into?: Tree } = {},
  ): void {
    const source = this.#place("rename", from);
    const target = (into as SimulatedTree).#place("rename", to);
    const moved = source.directory.entries.get(source.name) ?? fail("ENOENT", "rename", from);
    const standing = target.directory.entries.get(target.name);
    if (exchange && !standing) fail("ENOENT", "rename", to);
    if (isBelow(target.directory, moved)) fail("EINVAL", "rename", from);
    if (standing && isBelow(source.directory, standing)) {
      fail(exchange ? "EINVAL" : "ENOTEMPTY", "rename", to);
    }
    if (standing === moved) return;
    if (standing && !exchange) {
      if (standing.kind === "directory" && moved.kind !== "directory") fail("EISDIR", "rename", to);
      if (standing.kind !== "directory" && moved.kind === "directory") fail("ENOTDIR", "rename", to);
      if (standing.entries.size > 0) fail("ENOTEMPTY", "rename", to);
    }
    if (standing && !exchange) this.#loseName(standing);
    source.directory.entries.delete(source.name);
    target.directory.entries.set(target.name, moved);
    moved.parent = target.directory;
    if (exchange && standing) {
      source.directory.entries.set(source.name, standing);
      standing.parent = source.directory;
      standing.ctimeNs = this.disk.nowNs();
    }
    moved.ctimeNs = this.disk.nowNs();
    this.#touch(source.directory);
    this.#touch(target.directory);
    this.disk.noteNames();
  }

  setAttributes(path: string, change: AttributeChange): void {
    applyChange(this.#existing("set attributes of", path), change, this.disk);
  }

  xattrs(path: string): Xattr[] {
    return [...this.#existing("read attributes of", path).xattrs];
  }

  setXattr(path: string, name: string, value: Uint8Array | undefined): void {
    changeXattr(this.#existing("set attributes of", path), name, value, this.disk);
  }

  syncDirectory(path: string): void {
    this.#directory("sync", path);
    this.disk.syncNames();
  }

  syncAll(): void {
    this.#check();
    this.disk.syncAll();
  }

  space(): { freeBytes: number; totalBytes: number } {
    return { freeBytes: 2 ** 40, totalBytes: 2 ** 41 };
  }

  fileSystemId(): string {
    return "simulated";
  }

  forgetDirectories(): void {}

  subtree(path: string): Tree {
    return new SimulatedTree(this.disk, `${this.rootPath}/${path}`, this.#directory("open", path));
  }

  close(): void {
    this.#isClosed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #check(): void {
    if (this.#isClosed || this.disk.life !== this.#life) fail("EBADF", "use", this.rootPath);
  }

  #find(path: string): Inode | undefined {
    this.#check();
    let at: Inode | undefined = this.root;
    for (const name of path.split("/").filter(Boolean)) {
      if (at?.kind === "symlink") fail("ELOOP", "use", path);
      at = at?.kind === "directory" ? at.entries.get(name) : undefined;
    }
    return at;
  }

  #existing(verb: string, path: string): Inode {
    return this.#find(path) ?? fail(this.#whyMissing(path), verb, path);
  }

  #whyMissing(path: string): string {
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      const above = this.#find(path.slice(0, end));
      if (above) return above.kind === "directory" ? "ENOENT" : "ENOTDIR";
    }
    return "ENOENT";
  }

  #directory(verb: string, path: string): Inode {
    const inode = this.#existing(verb, path);
    if (inode.kind === "symlink") fail("ELOOP", verb, path);
    return inode.kind === "directory" ? inode : fail("ENOTDIR", verb, path);
  }

  #place(verb: string, path: string): { directory: Inode; name: string } {
    const slash = path.lastIndexOf("/");
    return {
      directory: this.#directory(verb, slash < 0 ? "" : path.slice(0, slash)),
      name: path.slice(slash + 1),
    };
  }

  #add(verb: string, path: string, make: (parent: Inode) => Inode): void {
    const { directory, name } = this.#place(verb, path);
    if (directory.entries.has(name)) fail("EEXIST", verb, path);
    this.#put(directory, name, make(directory));
  }

  #put(directory: Inode, name: string, inode: Inode): void {
    directory.entries.set(name, inode);
    this.#touch(directory);
    this.disk.noteNames();
  }

  #drop(directory: Inode, name: string): void {
    this.#loseName(directory.entries.get(name)!);
    directory.entries.delete(name);
    this.#touch(directory);
    this.disk.noteNames();
  }

  #loseName(inode: Inode): void {
    inode.linkCount--;
    inode.ctimeNs = this.disk.nowNs();
  }

  #touch(directory: Inode): void {
    directory.mtimeNs = directory.ctimeNs = this.disk.nowNs();
  }
}

class SimulatedFile implements OpenFile {
  readonly #disk: SimulatedDisk;
  readonly inode: Inode;
  readonly #path: string;
  readonly #isWritable: boolean;
  readonly #life: number;
  #isClosed = false;

  constructor(disk: SimulatedDisk, inode: Inode, path: string, isWritable: boolean) {
    this.#disk = disk;
    this.inode = inode;
    this.#path = path;
    this.#isWritable = isWritable;
    this.#life = disk.life;
  }

  stat(): Stat {
    this.#check();
    return statOf(this.inode, this.#disk);
  }

  read(buffer: Uint8Array<ArrayBuffer>, offset: number): number {
    this.#check();
    const bytes = this.inode.data.subarray(offset, offset + buffer.length);
    buffer.set(bytes);
    return bytes.length;
  }

  write(bytes: Uint8Array, offset: number): void {
    this.#change({ offset, bytes: bytes.slice() }, (data) => written(data, bytes, offset));
  }

  truncate(size: number): void {
    this.#change({ size }, (data) => resized(data, size));
  }

  /** Each page of zeros is a hole. */
  nextData(offset: number): DataRange | undefined {
    this.#check();
    const { data } = this.inode;
    const found = data.subarray(offset).findIndex((byte) => byte !== 0);
    if (found < 0) return undefined;
    const start = offset + found;
    let end = pageOf(start) + PAGE_SIZE;
    while (end < data.length && data.subarray(end, end + PAGE_SIZE).some((byte) => byte !== 0)) {
      end += PAGE_SIZE;
    }
    return { start: Math.max(offset, pageOf(start)), end: Math.min(end, data.length) };
  }

  punch(offset: number, size: number): void {
    const end = Math.min(offset + size, this.inode.data.length);
    if (offset < end) this.write(new Uint8Array(end - offset), offset);
  }

  setAttributes(change: AttributeChange): void {
    this.#check();
    applyChange(this.inode, change, this.#disk);
  }

  xattrs(): Xattr[] {
    this.#check();
    return [...this.inode.xattrs];
  }

  setXattr(name: string, value: Uint8Array | undefined): void {
    this.#check();
    changeXattr(this.inode, name, value, this.#disk);
  }

  sync(): void {
    this.#check();
    this.#disk.syncFile(this.inode);
  }

  copyFrom(from: OpenFile): void {
    const { data } = (from as SimulatedFile).inode;
    this.#change({ offset: 0, bytes: data }, () => data.slice());
  }

  close(): void {
    this.#isClosed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #change(write: Inode["writes"][number], apply: (data: Uint8Array) => Uint8Array): void {
    this.#check();
    if (!this.#isWritable) fail("EBADF", "write", this.#path);
    this.inode.data = apply(this.inode.data);
    this.inode.writes.push(write);
    this.inode.mtimeNs = this.inode.ctimeNs = this.#disk.nowNs();
  }

  #check(): void {
    if (this.#isClosed || this.#disk.life !== this.#life) fail("EBADF", "use", this.#path);
  }
}

function pageOf(offset: number): number {
  return offset - offset % PAGE_SIZE;
}

function statOf(inode: Inode, { device }: SimulatedDisk): Stat {
  const { number, kind, mode, uid, gid, mtimeNs, ctimeNs, linkCount, data, target } = inode;
  const sizes: Partial<Record<Kind, number>> = { file: data.length, symlink: target.length, directory: 4096 };
  return {
    kind,
    mode,
    uid,
    gid,
    size: sizes[kind] ?? 0,
    mtimeNs,
    ctimeNs,
    dev: device,
    ino: number,
    linkCount,
    device: isDevice(kind) ? target : "",
  };
}

function applyChange(inode: Inode, change: AttributeChange, disk: SimulatedDisk): void {
  const { mode, uid, gid, mtimeNs } = change;
  if (mode !== undefined && inode.kind !== "symlink") inode.mode = mode;
  inode.uid = uid ?? inode.uid;
  inode.gid = gid ?? inode.gid;
  inode.mtimeNs = mtimeNs ?? inode.mtimeNs;
  inode.ctimeNs = disk.nowNs();
  disk.noteNames();
}

function changeXattr(
  inode: Inode,
  name: string,
  value: Uint8Array | undefined,
  disk: SimulatedDisk,
): void {
  const others = inode.xattrs.filter((each) => each.name !== name);
  inode.xattrs = value === undefined
    ? others
    : [...others, { name, value }].sort((a, b) => a.name < b.name ? -1 : 1);
  inode.ctimeNs = disk.nowNs();
  disk.noteNames();
}

function isBelow(inode: Inode | undefined, above: Inode): boolean {
  for (let at = inode; at; at = at.parent) if (at === above) return true;
  return false;
}

function resized(data: Uint8Array, size: number): Uint8Array {
  const changed = new Uint8Array(size);
  changed.set(data.subarray(0, size));
  return changed;
}

function written(data: Uint8Array, bytes: Uint8Array, offset: number): Uint8Array {
  const changed = resized(data, Math.max(data.length, offset + bytes.length));
  changed.set(bytes, offset);
  return changed;
}

function fail(code: string, verb: string, path: string): never {
  throw new SystemError(code, `Cannot ${verb} "${path}": the simulated disk says ${code}`);
}
