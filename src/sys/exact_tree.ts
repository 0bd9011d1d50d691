/**
 * A tree on a file system that takes other names for the same: that ignores case, or the form of accented letters, or
 * changes a name that it is given. There only the very name that a directory lists is an entry: another spelling of it
 * is none, so that nothing is read, overwritten or removed in the place of its twin; and a name that would not be listed
 * as it was given is not made.
 *
 * Costs a listing of each directory on the way, kept until names in it change or {@linkcode Tree.forgetDirectories}.
 * @module
 */
import { joinPath, parentPath, quote } from "../base/path.ts";
import { errorCode, SystemError } from "../base/errors.ts";
import { systemError } from "./errno.ts";
import type {
  AttributeChange,
  DirectoryEntry,
  FileUse,
  NodeKind,
  OpenFile,
  OpenOptions,
  RenameOptions,
  Stat,
  Tree,
  Xattr,
} from "./file_system.ts";

/** How a name is made. */
interface Making<T> {
  make: () => T;
  /** @default removes the name */
  undo?: (made: T) => void;
  /** What is about to get the name, if it has another one now: that may be a spelling of it. */
  moved?: () => Stat | undefined;
}

/** See the module's text. */
export class ExactTree implements Tree {
  readonly rootPath: string;
  readonly #inner: Tree;
  /** Names that directories list. */
  readonly #names = new Map<string, ReadonlySet<string>>();

  constructor(inner: Tree) {
    this.#inner = inner;
    this.rootPath = inner.rootPath;
  }

  stat(path: string): Stat | undefined {
    const stat = this.#inner.stat(path);
    return stat && this.#has(path) ? stat : undefined;
  }

  statDirectory(path: string): Stat | undefined {
    const stat = this.#inner.statDirectory(path);
    return stat && this.#has(path) ? stat : undefined;
  }

  list(path: string): DirectoryEntry[] {
    return this.#at(path, "list").list(path);
  }

  scan(path: string, visit: (name: string, stat: Readonly<Stat> | undefined) => void): void {
    this.#at(path, "list").scan(path, visit);
  }

  open(path: string, options: OpenOptions): OpenFile {
    if (options.access !== "create") return this.#at(path, "open").open(path, options);
    return this.#make(path, "create", {
      make: () => this.#inner.open(path, options),
      undo: (file) => {
        file.close();
        this.#inner.unlink(path);
      },
    });
  }

  useOf(path: string): FileUse | undefined {
    return this.#isOtherSpelling(path) ? undefined : this.#inner.useOf(path);
  }

  readLink(path: string): string {
    return this.#at(path, "read link").readLink(path);
  }

  makeDirectory(path: string, mode: number): void {
    this.#make(path, "make directory", {
      make: () => this.#inner.makeDirectory(path, mode),
      undo: () => this.#inner.removeDirectory(path),
    });
  }

  makeSymlink(path: string, target: string): void {
    this.#make(path, "make link", { make: () => this.#inner.makeSymlink(path, target) });
  }

  makeNode(path: string, kind: NodeKind, device: string, mode: number): void {
    this.#make(path, `make ${kind}`, { make: () => this.#inner.makeNode(path, kind, device, mode) });
  }

  link(path: string, name: string, { into }: { into?: Tree } = {}): void {
    const target = into ?? this;
    if (!(target instanceof ExactTree)) throw systemError("EXDEV", "link", this.#fullPath(path));
    const inner = this.#at(path, "link");
    target.#make(name, "link to", { make: () => inner.link(path, name, { into: target.#inner }) });
  }

  unlink(path: string): void {
    this.#at(path, "remove").unlink(path);
    this.#names.delete(parentPath(path));
  }

  removeDirectory(path: string): void {
    this.#at(path, "remove directory").removeDirectory(path);
    this.#names.clear();
  }

  rename(from: string, to: string, { exchange, into }: RenameOptions & { into?: Tree } = {}): void {
    const target = into ?? this;
    if (!(target instanceof ExactTree)) throw systemError("EXDEV", "rename", this.#fullPath(from));
    const inner = this.#at(from, "rename");
    if (exchange) target.#at(to, "rename");
    const make = () => inner.rename(from, to, { exchange, into: target.#inner });
    const undo = () => target.#inner.rename(to, from, { exchange, into: inner });
    const moved = () => exchange ? undefined : inner.stat(from);
    // What stands there is replaced, unless it is another spelling.
    if (target.#found(to) && target.#has(to)) make();
    else target.#make(to, "rename to", { make, undo, moved });
    this.#names.clear();
    target.#names.clear();
  }

  setAttributes(path: string, change: AttributeChange): void {
    this.#at(path, "set attributes of").setAttributes(path, change);
  }

  xattrs(path: string): Xattr[] {
    return this.#at(path, "read attributes of").xattrs(path);
  }

  setXattr(path: string, name: string, value: Uint8Array | undefined): void {
    this.#at(path, "set attributes of").setXattr(path, name, value);
  }

  syncDirectory(path: string): void {
    this.#at(path, "sync directory").syncDirectory(path);
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
    this.#names.clear();
    this.#inner.forgetDirectories();
  }

  subtree(path: string): Tree {
    return new ExactTree(this.#at(path, "open directory").subtree(path));
  }

  close(): void {
    this.#inner.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The tree, for a call on an entry, unless only another spelling of its path is there. */
  #at(path: string, verb: string): Tree {
    if (this.#isOtherSpelling(path)) throw systemError("ENOENT", verb, this.#fullPath(path));
    return this.#inner;
  }

  /** Whether the file system finds something by a path that is not listed as it is spelled. */
  #isOtherSpelling(path: string): boolean {
    return this.#found(path) !== undefined && !this.#has(path);
  }

  /** What the file system finds by a path; nothing where it is none, which the call itself will say. */
  #found(path: string): Stat | undefined {
    try {
      return this.#inner.stat(path);
    } catch (error) {
      if (errorCode(error)) return undefined;
      throw error;
    }
  }

  /** Whether an entry that is there is listed under this path, each part of it as it is spelled. */
  #has(path: string): boolean {
    if (path === "") return true;
    const parent = parentPath(path);
    if (!this.#has(parent)) return false;
    let names = this.#names.get(parent);
    if (!names) {
      names = new Set(this.#inner.list(parent).map(({ name }) => name));
      this.#names.set(parent, names);
    }
    return names.has(path.slice(parent === "" ? 0 : parent.length + 1));
  }

  /** Makes a name, unless another spelling of it is there, and takes it back if it is not listed as it was given. */
  #make<T>(path: string, verb: string, { make, undo, moved = () => undefined }: Making<T>): T {
    const parent = parentPath(path);
    if (this.#isOtherSpelling(parent)) throw systemError("ENOENT", verb, this.#fullPath(path));
    const standing = this.#found(path);
    if (standing && !this.#has(path)) {
      const own = moved();
      const isOwn = own !== undefined && own.ino !== 0n && own.ino === standing.ino;
      if (!isOwn) throw this.#refusal("EEXIST", verb, path, "another spelling of this name is there");
    }
    const made = make();
    this.#names.delete(parent);
    if (this.#has(path)) return made;
    if (undo) undo(made);
    else this.#inner.unlink(path);
    this.#names.delete(parent);
    throw this.#refusal("EILSEQ", verb, path, "it changes this name");
  }

  #refusal(code: string, verb: string, path: string, why: string): SystemError {
    const full = quote(this.#fullPath(path));
    return new SystemError(
      code,
      `Cannot ${verb} ${full}: the file system does not tell names apart as the source does, and ${why}`,
    );
  }

  #fullPath(path: string): string {
    return joinPath(this.rootPath, path);
  }
}
