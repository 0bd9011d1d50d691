/**
 * Evidence for deletions: whether the root that a path names is the directory that was opened. What is gone because
 * the root was unmounted, removed or exchanged was not deleted by anybody (DESIGN §3.8).
 * @module
 */
import { errorCode } from "../base/errors.ts";
import type { GuardStatus } from "../base/status.ts";
import { type FileSystem, sameFile, type Stat, type Tree } from "../sys/file_system.ts";

/** Name by which users decide about an exchanged root. */
export const ROOT_GUARD = "root";

/** What a user decides about where the root is another directory than the set was made with. */
export function exchangedRootStatus(sinceMs: number, entriesCount: number): GuardStatus {
  return {
    id: ROOT_GUARD,
    kind: "root",
    state: "waiting",
    count: entriesCount,
    of: entriesCount,
    paths: [""],
    since: new Date(sinceMs).toISOString(),
  };
}

/** Whether two identities, of two runs, are of the same root. What one of them does not tell is not compared. */
export function isSameRoot(known: string, identity: string): boolean {
  const [knownIno, knownMadeMs = "0", knownFileSystem = ""] = known.split(":");
  const [ino, madeMs = "0", fileSystem = ""] = identity.split(":");
  return knownIno === ino &&
    (knownMadeMs === madeMs || knownMadeMs === "0" || madeMs === "0") &&
    (knownFileSystem === fileSystem || knownFileSystem === "" || fileSystem === "");
}

/** An opened root and its identity. */
export class RootGuard {
  readonly tree: Tree;
  readonly #fileSystem: FileSystem;
  readonly #opened: Stat;

  /** @throws {SystemError} If the root cannot be opened. */
  constructor(fileSystem: FileSystem, rootPath: string) {
    this.#fileSystem = fileSystem;
    this.tree = fileSystem.openTree(rootPath);
    this.#opened = this.tree.stat("")!;
  }

  /**
   * Identity of the root, for {@linkcode isSameRoot} in a later run: inode number, when the directory was made, and its
   * file system. The number alone is that of every root of a file system, and several are made within one second; the
   * device's may be another one after each boot.
   */
  get identity(): string {
    const madeMs = Deno.statSync(this.tree.rootPath).birthtime?.getTime() ?? 0;
    return `${this.#opened.ino}:${madeMs}:${this.tree.fileSystemId()}`;
  }

  /** Whether the path still names the directory that was opened. */
  stands(): boolean {
    try {
      using now = this.#fileSystem.openTree(this.tree.rootPath);
      return sameFile(now.stat("")!, this.#opened) || this.#opened.ino === 0n;
    } catch (error) {
      if (errorCode(error)) return false;
      throw error;
    }
  }
}
