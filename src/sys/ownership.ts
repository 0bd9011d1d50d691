/**
 * Owners under other numbers: a file system on which what the source calls 1000 belongs to, say, 1007, because the user
 * of that name has that number here. Whoever works with it reads and sets the source's numbers only; files and access
 * control lists have this machine's.
 *
 * ```
 * source's number   1000 ⇄ 1007   here       of the map
 *                   1007 ⇄ 1007 + 2^31       of no map, but taken here by another of the source's
 *                   5    ⇄ 5                 all others
 * ```
 *
 * What must hold here: the two directions are each other's reverse for every number below 2^31, so that a tree that was
 * made equal is found equal, and nobody is given what belongs to somebody else.
 * @module
 */
import { isAcl, mapAcl } from "./acl.ts";
import type {
  AttributeChange,
  DataRange,
  DirectoryEntry,
  FileSystem,
  FileUse,
  NodeKind,
  OpenFile,
  OpenOptions,
  RenameOptions,
  Stat,
  Tree,
  Xattr,
} from "./file_system.ts";

/** Pairs of numbers, the source's before this machine's. It can be posted to a Worker. */
export interface OwnerMap {
  users: [source: number, here: number][];
  groups: [source: number, here: number][];
}

type OwnerKind = keyof OwnerMap;

/** Beyond what machines give to accounts. */
const ELSEWHERE = 2 ** 31;

/** A map that can be exchanged while file systems use it. */
export class Owners {
  #here!: Record<OwnerKind, Map<number, number>>;
  #source!: Record<OwnerKind, Map<number, number>>;

  /** @param map What it does not name keeps its number. */
  constructor(map: OwnerMap = { users: [], groups: [] }) {
    this.replace(map);
  }

  /** Goes by another map from now on. What files have already stays. */
  replace({ users, groups }: OwnerMap): void {
    this.#here = { users: new Map(users), groups: new Map(groups) };
    this.#source = { users: reversed(users), groups: reversed(groups) };
  }

  /** The number here of one of the source's. */
  toHere(kind: OwnerKind, source: number): number {
    const here = this.#here[kind].get(source);
    if (here !== undefined) return here;
    return this.#source[kind].has(source) ? source + ELSEWHERE : source;
  }

  /** The source's number of one that is found here. */
  toSource(kind: OwnerKind, here: number): number {
    const source = this.#source[kind].get(here);
    if (source !== undefined) return source;
    const low = here - ELSEWHERE;
    if (this.#source[kind].has(low) && !this.#here[kind].has(low)) return low;
    // Somebody's of this machine, whose number the source knows as another's.
    return this.#here[kind].has(here) && here < ELSEWHERE ? here + ELSEWHERE : here;
  }
}

function reversed(pairs: [number, number][]): Map<number, number> {
  return new Map(pairs.map(([source, here]) => [here, source]));
}

/** A file system of this machine that is spoken to in the source's numbers. */
export function ownedFileSystem(inner: FileSystem, owners: Owners): FileSystem {
  return {
    name: inner.name,
    abilities: inner.abilities,
    tellsFileUse: inner.tellsFileUse,
    openTree: (rootPath, options) => new OwnedTree(inner.openTree(rootPath, options), owners),
  };
}

class Translation {
  readonly #owners: Owners;

  constructor(owners: Owners) {
    this.#owners = owners;
  }

  stat(stat: Readonly<Stat>): Stat {
    const owners = this.#owners;
    const uid = owners.toSource("users", stat.uid), gid = owners.toSource("groups", stat.gid);
    return { ...stat, uid, gid };
  }

  change(change: AttributeChange): AttributeChange {
    const { uid, gid } = change;
    const mapped = { ...change };
    if (uid !== undefined) mapped.uid = this.#owners.toHere("users", uid);
    if (gid !== undefined) mapped.gid = this.#owners.toHere("groups", gid);
    return mapped;
  }

  xattrs(xattrs: Xattr[]): Xattr[] {
    return xattrs.map(({ name, value }) => ({
      name,
      value: isAcl(name) ? mapAcl(value, (kind, id) => this.#owners.toSource(kind, id)) : value,
    }));
  }

  xattr(name: string, value: Uint8Array | undefined): Uint8Array | undefined {
    if (value === undefined || !isAcl(name)) return value;
    return mapAcl(value, (kind, id) => this.#owners.toHere(kind, id));
  }
}

class OwnedTree implements Tree {
  readonly rootPath: string;
  readonly #inner: Tree;
  readonly #owners: Owners;
  readonly #translation: Translation;

  constructor(inner: Tree, owners: Owners) {
    this.#inner = inner;
    this.rootPath = inner.rootPath;
    this.#owners = owners;
    this.#translation = new Translation(owners);
  }

  stat(path: string): Stat | undefined {
    const stat = this.#inner.stat(path);
    return stat && this.#translation.stat(stat);
  }

  statDirectory(path: string): Stat | undefined {
    const stat = this.#inner.statDirectory(path);
    return stat && this.#translation.stat(stat);
  }

  list(path: string): DirectoryEntry[] {
    return this.#inner.list(path);
  }

  scan(path: string, visit: (name: string, stat: Readonly<Stat> | undefined) => void): void {
    this.#inner.scan(path, (name, stat) => visit(name, stat && this.#translation.stat(stat)));
  }

  open(path: string, options: OpenOptions): OpenFile {
    return new OwnedFile(this.#inner.open(path, options), this.#translation);
  }

  readLink(path: string): string {
    return this.#inner.readLink(path);
  }

  makeDirectory(path: string, mode: number): void {
    this.#inner.makeDirectory(path, mode);
  }

  makeSymlink(path: string, target: string): void {
    this.#inner.makeSymlink(path, target);
  }

  makeNode(path: string, kind: NodeKind, device: string, mode: number): void {
    this.#inner.makeNode(path, kind, device, mode);
  }

  link(path: string, name: string, { into }: { into?: Tree } = {}): void {
    this.#inner.link(path, name, { into: into instanceof OwnedTree ? into.#inner : into });
  }

  useOf(path: string): FileUse | undefined {
    return this.#inner.useOf(path);
  }

  unlink(path: string): void {
    this.#inner.unlink(path);
  }

  removeDirectory(path: string): void {
    this.#inner.removeDirectory(path);
  }

  rename(from: string, to: string, options: RenameOptions & { into?: Tree } = {}): void {
    const { exchange, into } = options;
    this.#inner.rename(from, to, { exchange, into: into instanceof OwnedTree ? into.#inner : into });
  }

  setAttributes(path: string, change: AttributeChange): void {
    this.#inner.setAttributes(path, this.#translation.change(change));
  }

  xattrs(path: string): Xattr[] {
    return this.#translation.xattrs(this.#inner.xattrs(path));
  }

  setXattr(path: string, name: string, value: Uint8Array | undefined): void {
    this.#inner.setXattr(path, name, this.#translation.xattr(name, value));
  }

  syncDirectory(path: string): void {
    this.#inner.syncDirectory(path);
  }

  syncAll(): void {
    this.#inner.syncAll();
  }

  space(): { freeBytes: number; totalBytes: number } {
    return this.#inner.space();
  }

  fileSystemId(): string {
    return this.#inner.fileSystemId();
  }

  forgetDirectories(): void {
    this.#inner.forgetDirectories();
  }

  subtree(path: string): Tree {
    return new OwnedTree(this.#inner.subtree(path), this.#owners);
  }

  close(): void {
    this.#inner.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

class OwnedFile implements OpenFile {
  readonly #inner: OpenFile;
  readonly #translation: Translation;

  constructor(inner: OpenFile, translation: Translation) {
    this.#inner = inner;
    this.#translation = translation;
  }

  stat(): Stat {
    return this.#translation.stat(this.#inner.stat());
  }

  read(buffer: Uint8Array<ArrayBuffer>, offset: number): number {
    return this.#inner.read(buffer, offset);
  }

  write(bytes: Uint8Array, offset: number): void {
    this.#inner.write(bytes, offset);
  }

  truncate(size: number): void {
    this.#inner.truncate(size);
  }

  nextData(offset: number): DataRange | undefined {
    return this.#inner.nextData(offset);
  }

  punch(offset: number, size: number): void {
    this.#inner.punch(offset, size);
  }

  setAttributes(change: AttributeChange): void {
    this.#inner.setAttributes(this.#translation.change(change));
  }

  xattrs(): Xattr[] {
    return this.#translation.xattrs(this.#inner.xattrs());
  }

  setXattr(name: string, value: Uint8Array | undefined): void {
    this.#inner.setXattr(name, this.#translation.xattr(name, value));
  }

  sync(): void {
    this.#inner.sync();
  }

  copyFrom(from: OpenFile): void {
    this.#inner.copyFrom(from instanceof OwnedFile ? from.#inner : from);
  }

  close(): void {
    this.#inner.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
