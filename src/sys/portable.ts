/**
 * Files through Deno's own calls, for every system. What it cannot do is told by its abilities: names must be
 * Unicode, times have milliseconds, entries cannot be exchanged, and a directory above a path is checked for symbolic
 * links *before* it is used, which a local user who swaps directories at that moment can outrun.
 *
 * Windows has neither modes nor owners: setting them is left out there. Names that Windows would read as something
 * else (`a\b`, `a:stream`, `con`, `a.`) are refused with `EINVAL`.
 * @module
 */
import { lchownSync, lutimesSync, statfsSync } from "node:fs";
import { SystemError } from "../base/errors.ts";
import { joinPath, parentPath } from "../base/path.ts";
import { systemError } from "./errno.ts";
import {
  type AttributeChange,
  type DirectoryEntry,
  type FileSystem,
  type NodeKind,
  type OpenOptions,
  type RenameOptions,
  type Stat,
  type Tree,
  type Xattr,
} from "./file_system.ts";
import { PortableFile } from "./portable_file.ts";
import { attempt, codeOf, toDate, toStat } from "./portable_stat.ts";

const isWindows = Deno.build.os === "windows";
/** Names that Windows keeps for devices, and characters that it does not take or reads as something else. */
const windowsReserved = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)|[\\:*?"<>|]|[. ]$/i;

/** The file system by Deno's calls. */
export function portableFileSystem(): FileSystem {
  return {
    name: "portable",
    abilities: {
      rawNames: false,
      nanoseconds: false,
      ownership: !isWindows && Deno.uid() === 0,
      modes: !isWindows,
      links: true,
      nodes: false,
      xattrs: false,
      exchange: false,
      confined: false,
      syncAll: false,
    },
    tellsFileUse: false,
    openTree(rootPath, { confined = false } = {}): Tree {
      const absolute = attempt("open directory", rootPath, () => Deno.realPathSync(rootPath));
      if (!attempt("open directory", absolute, () => Deno.statSync(absolute)).isDirectory) {
        throw systemError("ENOTDIR", "open directory", absolute);
      }
      return new PortableTree(absolute, confined);
    },
  };
}

class PortableTree implements Tree {
  readonly rootPath: string;
  readonly #confined: boolean;
  readonly #rootDevice: number;
  #closed = false;

  constructor(rootPath: string, confined: boolean) {
    this.rootPath = rootPath;
    this.#confined = confined;
    this.#rootDevice = attempt("open directory", rootPath, () => Deno.lstatSync(rootPath)).dev;
  }

  stat(path: string): Stat | undefined {
    try {
      const full = this.#enter(path, "stat");
      return attempt("stat", full, () => toStat(Deno.lstatSync(full)));
    } catch (error) {
      if (error instanceof SystemError && (error.code === "ENOENT" || error.code === "ENOTDIR")) {
        return undefined;
      }
      throw error;
    }
  }

  statDirectory(path: string): Stat | undefined {
    const stat = this.stat(path);
    return stat?.kind === "directory" ? stat : undefined;
  }

  list(path: string): DirectoryEntry[] {
    const full = this.#enterDirectory(path, "list");
    const entries = attempt("list", full, () => [...Deno.readDirSync(full)]);
    return entries.map((entry) => ({
      name: entry.name,
      // Deno says nothing of what is neither file nor directory nor link.
      kind: entry.isSymlink ? "symlink" : entry.isDirectory ? "directory" : entry.isFile ? "file" : undefined,
    }));
  }

  scan(path: string, visit: (name: string, stat: Readonly<Stat> | undefined) => void): void {
    const full = this.#enterDirectory(path, "list");
    for (const { name } of attempt("list", full, () => [...Deno.readDirSync(full)])) {
      let stat: Stat | undefined;
      try {
        stat = toStat(Deno.lstatSync(joinFull(full, name)));
      } catch (error) {
        if (codeOf(error) === "ENOENT") continue;
      }
      visit(name, stat);
    }
  }

  open(path: string, options: OpenOptions): PortableFile {
    const full = this.#enter(path, "open");
    if (options.access === "create") return this.#create(full, options.mode);
    const found = attempt("open", full, () => Deno.lstatSync(full));
    this.#refuseOtherKinds(found, full);
    const write = options.access === "write";
    const file = new PortableFile(
      attempt("open", full, () => Deno.openSync(full, { read: true, write })),
      full,
    );
    // Something else may have taken the name since it was looked at.
    const opened = file.stat();
    if (opened.kind !== "file" || (found.ino !== null && opened.ino !== BigInt(found.ino))) {
      file.close();
      throw systemError("ELOOP", "open", full);
    }
    return file;
  }

  /** There is no call that tells. */
  useOf(_path: string): undefined {
    return undefined;
  }

  readLink(path: string): string {
    const full = this.#enter(path, "read link");
    return attempt("read link", full, () => Deno.readLinkSync(full));
  }

  makeDirectory(path: string, mode: number): void {
    const full = this.#enter(path, "make directory");
    attempt("make directory", full, () => {
      Deno.mkdirSync(full, isWindows ? {} : { mode: 0o700 });
      // Set apart, since the umask would take bits away.
      if (!isWindows) Deno.chmodSync(full, mode & 0o7777);
    });
  }

  xattrs(): Xattr[] {
    return [];
  }

  setXattr(path: string, name: string): void {
    throw systemError("ENOTSUP", `set ${name} of`, path);
  }

  makeNode(path: string, kind: NodeKind): void {
    throw systemError("ENOTSUP", `make ${kind}`, path);
  }

  makeSymlink(path: string, target: string): void {
    const full = this.#enter(path, "make link");
    if (!target.isWellFormed()) throw systemError("EILSEQ", "make link", full);
    attempt("make link", full, () => {
      if (isWindows) Deno.symlinkSync(target, full, { type: "file" });
      else Deno.symlinkSync(target, full);
    });
  }

  link(path: string, name: string, { into = this }: { into?: Tree } = {}): void {
    const full = this.#enter(path, "link");
    if (!(into instanceof PortableTree)) throw systemError("EXDEV", "link", full, name);
    const fullName = into.#enter(name, "link");
    attempt("link", full, () => Deno.linkSync(full, fullName));
  }

  unlink(path: string): void {
    const full = this.#enter(path, "remove");
    // Deno's remove takes empty directories too.
    if (attempt("remove", full, () => Deno.lstatSync(full)).isDirectory) {
      throw systemError("EISDIR", "remove", full);
    }
    attempt("remove", full, () => Deno.removeSync(full));
  }

  removeDirectory(path: string): void {
    const full = this.#enter(path, "remove directory");
    if (!attempt("remove directory", full, () => Deno.lstatSync(full)).isDirectory) {
      throw systemError("ENOTDIR", "remove directory", full);
    }
    attempt("remove directory", full, () => Deno.removeSync(full));
  }

  rename(from: string, to: string, options: RenameOptions & { into?: Tree } = {}): void {
    const into = options.into ?? this;
    const fullFrom = this.#enter(from, "rename");
    if (!(into instanceof PortableTree)) throw systemError("EXDEV", "rename", fullFrom, to);
    const fullTo = into.#enter(to, "rename");
    if (options.exchange) throw systemError("ENOTSUP", "exchange", fullFrom, fullTo);
    attempt("rename", fullFrom, () => Deno.renameSync(fullFrom, fullTo));
  }

  setAttributes(path: string, change: AttributeChange): void {
    const full = this.#enter(path, "set attributes of");
    const found = attempt("set attributes of", full, () => Deno.lstatSync(full));
    const { mode, uid, gid, mtimeNs } = change;
    attempt("set attributes of", full, () => {
      // Owner before mode: chown(2) takes the set-id bits away.
      if (!isWindows && (uid !== undefined || gid !== undefined)) {
        lchownSync(full, uid ?? found.uid!, gid ?? found.gid!);
      }
      if (!isWindows && mode !== undefined && !found.isSymlink) Deno.chmodSync(full, mode & 0o7777);
      if (mtimeNs === undefined) return;
      const accessed = found.atime ?? new Date();
      const modified = toDate(mtimeNs);
      if (!found.isSymlink) Deno.utimeSync(full, accessed, modified);
      else if (!isWindows) lutimesSync(full, accessed, modified);
    });
  }

  syncDirectory(path: string): void {
    const full = this.#enterDirectory(path, "sync directory");
    // Windows does not open directories; NTFS journals names by itself.
    if (isWindows) return;
    attempt("sync directory", full, () => {
      using directory = Deno.openSync(full);
      directory.syncSync();
    });
  }

  syncAll(): void {
    this.syncDirectory("");
  }

  space(): { freeBytes: number; totalBytes: number } {
    const { bavail, blocks, bsize } = attempt(
      "find the space of",
      this.rootPath,
      () => statfsSync(this.rootPath),
    );
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  }

  fileSystemId(): string {
    return "";
  }

  forgetDirectories(): void {
    // None is kept.
  }

  subtree(path: string): Tree {
    return new PortableTree(this.#enterDirectory(path, "open directory"), this.#confined);
  }

  close(): void {
    this.#closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #create(full: string, mode = 0o600): PortableFile {
    const options: Deno.OpenOptions = { read: true, write: true, createNew: true };
    if (!isWindows) options.mode = mode & 0o7777;
    const file = new PortableFile(attempt("open", full, () => Deno.openSync(full, options)), full);
    try {
      // The umask may have taken bits away that were asked for.
      if (!isWindows && file.stat().mode !== (mode & 0o7777)) file.setAttributes({ mode });
      return file;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  #refuseOtherKinds(found: Deno.FileInfo, full: string): void {
    if (found.isFile) return;
    throw systemError(found.isSymlink ? "ELOOP" : found.isDirectory ? "EISDIR" : "EINVAL", "open", full);
  }

  /** Full path of an entry, once the directories above it were checked. */
  #enter(path: string, verb: string): string {
    const full = joinFull(this.rootPath, path);
    if (this.#closed) throw systemError("EBADF", verb, full);
    if (!path.isWellFormed()) throw systemError("EILSEQ", verb, full);
    if (path === "") return full;
    if (!isUsablePath(path)) throw systemError("EINVAL", verb, full);
    this.#checkDirectories(parentPath(path), verb);
    return full;
  }

  /** Full path of a directory, itself checked too. */
  #enterDirectory(path: string, verb: string): string {
    const full = this.#enter(path, verb);
    this.#checkDirectories(path, verb);
    return full;
  }

  #checkDirectories(path: string, verb: string): void {
    let at = "";
    for (const part of path === "" ? [] : path.split("/")) {
      at = joinPath(at, part);
      const full = joinFull(this.rootPath, at);
      const found = attempt(verb, full, () => Deno.lstatSync(full));
      if (found.isSymlink) throw systemError("ELOOP", verb, full);
      if (!found.isDirectory) throw systemError("ENOTDIR", verb, full);
      if (this.#confined && found.dev !== this.#rootDevice) throw systemError("EXDEV", verb, full);
    }
  }
}

function joinFull(directory: string, path: string): string {
  return path === "" ? directory : directory.endsWith("/") ? directory + path : `${directory}/${path}`;
}

function isUsablePath(path: string): boolean {
  if (path.includes("\0")) return false;
  return path.split("/").every((part) =>
    part !== "" && part !== "." && part !== ".." && !(isWindows && windowsReserved.test(part))
  );
}
