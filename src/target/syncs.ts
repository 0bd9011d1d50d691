/**
 * What must be made durable: each file and directory by itself while they are few, the whole file system when they
 * are many (`limits.syncOneByOneMax`).
 * @module
 */
import { limits } from "../base/limits.ts";
import { parentPath } from "../base/path.ts";
import type { OpenFile, Tree } from "../sys/file_system.ts";
import { isAbsence, isOpTrouble } from "./trouble.ts";

/** Contents of staged files that a group wrote. Closes the files that it was given to own. */
export class ContentSyncs implements Disposable {
  readonly #tree: Tree;
  readonly #canSyncAll: boolean;
  readonly #owned: OpenFile[] = [];
  readonly #lent = new Set<OpenFile>();
  #all = false;
  #directory = false;

  constructor(tree: Tree, canSyncAll: boolean) {
    this.#tree = tree;
    this.#canSyncAll = canSyncAll;
  }

  /** A written file that nobody needs any more. */
  own(file: OpenFile): void {
    this.#owned.push(file);
    if (this.#owned.length <= limits.syncOneByOneMax) return;
    // Many: no descriptor is kept for each.
    if (this.#canSyncAll) this.#all = true;
    else this.#owned.forEach((each) => each.sync());
    this.#closeOwned();
  }

  /** A written file that stays open with its transfer. */
  lend(file: OpenFile): void {
    this.#lent.add(file);
  }

  /** A file that is closed by somebody else, and need not be synced. */
  forget(file: OpenFile | undefined): void {
    if (file !== undefined) this.#lent.delete(file);
  }

  /** A name in staging that must survive too. */
  staging(): void {
    this.#directory = true;
  }

  /** Makes all of it durable. */
  finish(): void {
    if (this.#all) this.#tree.syncAll();
    else for (const file of [...this.#owned, ...this.#lent]) file.sync();
    if (this.#directory && !this.#all) this.#tree.syncDirectory("");
    // Once they are live they must not seem to be in use.
    this.#closeOwned();
  }

  [Symbol.dispose](): void {
    this.#closeOwned();
  }

  #closeOwned(): void {
    for (const file of this.#owned) file.close();
    this.#owned.length = 0;
  }
}

/** What a group changed in the live tree. */
export class LiveSyncs implements Disposable {
  readonly #tree: Tree;
  readonly #canSyncAll: boolean;
  readonly #directories = new Set<string>();
  readonly #paths = new Set<string>();
  readonly #files: OpenFile[] = [];
  #all = false;

  constructor(tree: Tree, canSyncAll: boolean) {
    this.#tree = tree;
    this.#canSyncAll = canSyncAll;
  }

  /** A directory in which names changed, or whose attributes did. */
  directory(path: string): void {
    this.#directories.add(path);
  }

  /** A file whose attributes changed. */
  path(path: string): void {
    this.#paths.add(path);
  }

  /** A file that was written in place. It is closed here. */
  file(file: OpenFile): void {
    this.#files.push(file);
  }

  /** An entry that cannot be opened, such as a symbolic link, whose attributes changed. */
  unopenable(path: string): void {
    // A journal that has the directory's change has what came before it, too: without `syncfs` that is the best there is.
    if (this.#canSyncAll) this.#all = true;
    else this.#directories.add(parentPath(path));
  }

  /** Makes all of it durable: files first, then the directories that name them. */
  finish(): void {
    const count = this.#files.length + this.#paths.size + this.#directories.size;
    if (this.#all || (this.#canSyncAll && count > limits.syncOneByOneMax)) return this.#tree.syncAll();
    for (const file of this.#files) file.sync();
    for (const path of this.#paths) this.#syncOne(() => this.#syncFile(path));
    for (const path of this.#directories) this.#syncOne(() => this.#tree.syncDirectory(path));
  }

  [Symbol.dispose](): void {
    for (const file of this.#files) file.close();
  }

  #syncFile(path: string): void {
    using file = this.#tree.open(path, { access: "read" });
    file.sync();
  }

  /** What a later op of the group removed needs no sync; what we may not open is synced with all the rest. */
  #syncOne(sync: () => void): void {
    try {
      sync();
    } catch (error) {
      if (isAbsence(error)) return;
      if (!isOpTrouble(error)) throw error;
      if (this.#canSyncAll) this.#tree.syncAll();
    }
  }
}
