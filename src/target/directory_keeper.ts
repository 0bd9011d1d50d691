/**
 * Keeps directories as the source made them while entries in them come and go: each change of a name in a directory
 * sets its mtime to now, and a directory without write permission must be opened up for us for a moment. What a
 * directory had is remembered before the first change of a group and put back after the last one, unless an op of the
 * group says otherwise.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { isWithin, movePath, parentPath } from "../base/path.ts";
import type { AttributeChange, Tree } from "../sys/file_system.ts";
import { attempt } from "./trouble.ts";

/** Write and search by the owner: what we need to change names in a directory. */
const OWN_ACCESS = 0o300;

/** Remembers and restores attributes of directories. */
export class DirectoryKeeper {
  readonly #live: Tree;
  /** What each directory gets back. */
  readonly #kept = new Map<string, { mtimeNs: bigint; mode?: number }>();

  constructor(live: Tree) {
    this.#live = live;
  }

  /** To be called before a name in `directory` changes. */
  beforeChange(directory: string): void {
    if (this.#kept.has(directory)) return;
    const stat = this.#live.stat(directory);
    if (stat?.kind === "directory") this.#kept.set(directory, { mtimeNs: stat.mtimeNs });
  }

  /** To be called after an op set attributes of `path`: they are what remains. */
  named(path: string, change: AttributeChange): void {
    const kept = this.#kept.get(path);
    if (kept === undefined) return;
    if (change.mtimeNs !== undefined) kept.mtimeNs = change.mtimeNs;
    if (change.mode !== undefined && kept.mode !== undefined) {
      kept.mode = change.mode;
      // The op closed it again, but later ones of the group may need it.
      attempt(() => this.#live.setAttributes(path, { mode: change.mode! | OWN_ACCESS }));
    }
  }

  /** To be called after a rename: what is remembered of directories moves along. */
  moved(from: string, to: string, { exchange }: { exchange: boolean }): void {
    const renamed = [...this.#kept].filter(([path]) => isWithin(path, from) || isWithin(path, to));
    for (const [path] of renamed) this.#kept.delete(path);
    for (const [path, kept] of renamed) {
      if (isWithin(path, from)) this.#kept.set(movePath(path, from, to), kept);
      else if (exchange) this.#kept.set(movePath(path, to, from), kept);
    }
  }

  /**
   * Calls `action`; if it fails for lack of permission, opens up our own directories on the way to `paths` and calls
   * it again.
   */
  withAccess<T>(paths: string[], action: () => T): T {
    try {
      return action();
    } catch (error) {
      if (errorCode(error) !== "EACCES" || !this.#openUp(paths)) throw error;
    }
    return action();
  }

  /** Gives every remembered directory back what it had. Inner ones first: an outer one may be closed by it. */
  restore(): void {
    for (const [path, kept] of [...this.#kept].sort(([a], [b]) => b.length - a.length)) {
      attempt(() => this.#live.setAttributes(path, kept));
    }
  }

  /** The group is recorded: nothing is to be given back any more. */
  forget(): void {
    this.#kept.clear();
  }

  #openUp(paths: string[]): boolean {
    let opened = false;
    for (const path of paths) {
      for (const directory of ancestors(path)) opened = this.#openUpOne(directory) || opened;
    }
    return opened;
  }

  #openUpOne(directory: string): boolean {
    let opened = false;
    attempt(() => {
      const stat = this.#live.stat(directory);
      if (stat?.kind !== "directory" || (stat.mode & OWN_ACCESS) === OWN_ACCESS) return;
      this.#live.setAttributes(directory, { mode: stat.mode | OWN_ACCESS });
      this.#kept.set(directory, {
        mtimeNs: this.#kept.get(directory)?.mtimeNs ?? stat.mtimeNs,
        mode: stat.mode,
      });
      opened = true;
    });
    return opened;
  }
}

/** The root, then each directory on the way to `path`, then `path` itself: a directory that moves needs it too. */
function ancestors(path: string): string[] {
  const found = [path];
  for (let at = path; at !== "";) found.push(at = parentPath(at));
  return found.reverse();
}
