/**
 * Keeps what a failback is about to replace or remove: it gets a further name in a directory beside the tree, or, where
 * that cannot be and where others may still change it, a copy.
 *
 * What must hold here:
 * - What changed here after it was looked at is kept, too, whatever was found then; what this failback made itself is not.
 * - Nothing that is kept takes the place of something else: a further version is `NAME.~2~`, `NAME.~3~`, …
 * - What is kept is durable before it is lost in the tree.
 * @module
 */
import { mkdirSync } from "node:fs";
import { errorCode, SystemError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { joinPath, parentPath, quote } from "../base/path.ts";
import {
  type FileSystem,
  leadsTo,
  type NodeKind,
  sameFile,
  type Stat,
  type Tree,
} from "../sys/file_system.ts";
import { entryOf, setAttributes } from "./attributes.ts";
import type { LossReason } from "./install.ts";

/** What is kept, and where. */
export interface KeepAside {
  /** Absolute path of the directory; made when the first entry is kept. */
  directory: string;
  /** Paths worth keeping; `undefined`: all. */
  paths: string[] | undefined;
  /** When they were looked for: what has a later change time (ns since 1970) is kept, too. */
  lookedAtNs: bigint;
}

/** What an entry was when it was made. */
type Made = Pick<Stat, "dev" | "ino" | "size" | "mtimeNs">;

/** Keeps entries of one tree. */
export class KeptAside implements Disposable {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #paths: ReadonlySet<string> | undefined;
  readonly #lookedAtNs: bigint;
  /** What the failback itself has brought. Bounded: of what is not remembered more is kept than need be. */
  readonly #made = new Map<string, Made>();
  readonly #making = new Set<string>();
  #aside: Tree | undefined;

  constructor({ directory, paths, lookedAtNs }: KeepAside, fileSystem: FileSystem) {
    this.#fileSystem = fileSystem;
    this.#directory = directory;
    this.#paths = paths && new Set(paths);
    this.#lookedAtNs = lookedAtNs;
  }

  /**
   * Keeps what is at a path, before it is lost there. What was kept already stays as it is.
   *
   * @throws {SystemError} If it cannot be kept: then it must not be lost.
   */
  keep(live: Tree, path: string, reason: LossReason): void {
    const stat = live.stat(path);
    if (stat && this.#isWorthKeeping(path, stat)) this.#save(live, path, stat, reason);
    if (reason === "removed") this.#made.delete(path);
    else this.#making.add(path);
  }

  /** A group was applied: what it made is known as ours. */
  noteMade(live: Tree): void {
    for (const path of this.#making) {
      const stat = live.stat(path);
      this.#made.delete(path);
      if (!stat || this.#made.size >= limits.failbackMadeMax) continue;
      const { dev, ino, size, mtimeNs } = stat;
      this.#made.set(path, { dev, ino, size, mtimeNs });
    }
    this.#making.clear();
  }

  [Symbol.dispose](): void {
    this.#aside?.close();
  }

  #isWorthKeeping(path: string, stat: Stat): boolean {
    const made = this.#made.get(path);
    if (made) return !sameFile(made, stat) || made.size !== stat.size || made.mtimeNs !== stat.mtimeNs;
    if (!this.#paths || this.#paths.has(path)) return true;
    // A directory changes with what is in it, which is kept by itself.
    return stat.kind !== "directory" && stat.ctimeNs >= this.#lookedAtNs;
  }

  #save(live: Tree, path: string, stat: Stat, reason: LossReason): void {
    const aside = this.#open();
    aside.forgetDirectories();
    const parent = this.#makeParents(aside, parentPath(path));
    const wanted = joinPath(parent, path.slice(path.lastIndexOf("/") + 1));
    if (stat.kind === "directory") return void this.#makeDirectory(aside, wanted);
    const name = freeName(wanted, (each) => {
      const there = aside.stat(each);
      return there === undefined || isVersion(there, stat) ? { isDone: there !== undefined } : undefined;
    });
    if (name.isDone) return;
    if (!this.#link(live, path, { aside, to: name.path, stat, reason })) {
      this.#copy(live, path, { aside, to: name.path, stat });
    }
    aside.syncDirectory(parent);
  }

  /** Gives it a further name, if nobody can change it by another one. @returns Whether that could be. */
  #link(
    live: Tree,
    path: string,
    { aside, to, stat, reason }: { aside: Tree; to: string; stat: Stat; reason: LossReason },
  ): boolean {
    if (reason === "patched" || stat.linkCount !== 1) return false;
    try {
      live.link(path, to, { into: aside });
      return true;
    } catch (error) {
      if (["EXDEV", "EMLINK", "EPERM", "ENOTSUP"].includes(errorCode(error))) return false;
      throw error;
    }
  }

  #copy(live: Tree, path: string, { aside, to, stat }: { aside: Tree; to: string; stat: Stat }): void {
    const { abilities } = this.#fileSystem;
    const { mode, uid, gid, mtimeNs } = stat;
    const xattrs = abilities.xattrs ? live.xattrs(path) : undefined;
    if (stat.kind === "file") {
      using from = live.open(path, { access: "read" });
      using file = aside.open(to, { access: "create" });
      file.copyFrom(from);
      setAttributes(file, { mode, uid, gid, mtimeNs, xattrs }, abilities);
      return file.sync();
    }
    const target = leadsTo(live, path, stat);
    if (stat.kind === "symlink") aside.makeSymlink(to, target);
    else aside.makeNode(to, stat.kind as NodeKind, target, mode);
    const change = stat.kind === "symlink" ? { uid, gid, mtimeNs } : { mode, uid, gid, mtimeNs, xattrs };
    setAttributes(entryOf(aside, to), change, abilities);
  }

  /** Makes directories as far as they are missing. @returns Where they are: a file may have the name already. */
  #makeParents(aside: Tree, path: string): string {
    if (path === "") return "";
    const parent = this.#makeParents(aside, parentPath(path));
    return this.#makeDirectory(aside, joinPath(parent, path.slice(path.lastIndexOf("/") + 1)));
  }

  #makeDirectory(aside: Tree, wanted: string): string {
    const { path, isDone } = freeName(wanted, (each) => {
      const there = aside.stat(each);
      return there === undefined || there.kind === "directory" ? { isDone: there !== undefined } : undefined;
    });
    if (isDone) return path;
    aside.makeDirectory(path, 0o700);
    aside.syncDirectory(parentPath(path));
    return path;
  }

  #open(): Tree {
    if (this.#aside) return this.#aside;
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    return this.#aside = this.#fileSystem.openTree(this.#directory);
  }
}

/** Whether an entry is the same version as another one: kept before, by a run that was broken off. */
function isVersion(there: Stat, stat: Stat): boolean {
  if (sameFile(there, stat)) return true;
  return there.kind === stat.kind && there.size === stat.size && there.mtimeNs === stat.mtimeNs;
}

/** The first of `wanted`, `wanted.~2~`, … that can be taken, or has been. */
function freeName(
  wanted: string,
  look: (path: string) => { isDone: boolean } | undefined,
): { path: string; isDone: boolean } {
  for (let version = 1; version <= limits.keptVersionsMax; version++) {
    const path = version === 1 ? wanted : `${wanted}.~${version}~`;
    const found = look(path);
    if (found) return { path, ...found };
  }
  throw new SystemError("EEXIST", `Cannot keep ${quote(wanted)}: too many versions of it are kept`);
}
