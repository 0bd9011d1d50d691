/**
 * Evidence for deletions: whether the root that a path names is the directory that was opened. What is gone because
 * the root was unmounted, removed or exchanged was not deleted by anybody (DESIGN §3.8).
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { type FileSystem, sameFile, type Stat, type Tree } from "../sys/file_system.ts";

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

  /** Identity of the root, for comparison with an earlier run. */
  get identity(): string {
    return String(this.#opened.ino);
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
