/**
 * A consumer of hints as simple as one can be: it keeps a model of a tree by doing what each hint says and nothing
 * else. If the model equals the tree when all is quiet, the interceptor has told enough.
 * @module
 */
import type { Hint } from "../../src/intercept/interceptor.ts";
import { errorCode } from "../../src/base/errors.ts";
import { baseName, joinPath, parentPath, quote } from "../../src/base/path.ts";
import type { Stat, Tree } from "../../src/sys/file_system.ts";

class Entry {
  readonly children = new Map<string, Entry>();
  stat: Stat;

  constructor(stat: Stat) {
    this.stat = stat;
  }
}

/** What hints told of a tree. */
export class TreeModel {
  readonly #tree: Tree;
  readonly #watch: (directory: string) => void;
  #root: Entry;

  /**
   * Reads the whole tree once.
   *
   * @param watch Called before each directory is read.
   */
  constructor(tree: Tree, watch: (directory: string) => void) {
    this.#tree = tree;
    this.#watch = watch;
    this.#root = new Entry(tree.stat("")!);
    this.#lookBelow("");
  }

  apply(hints: Hint[]): void {
    this.#tree.forgetDirectories();
    for (const hint of hints) {
      if (hint.kind === "look") this.#look(hint.path);
      if (hint.kind === "look-below") this.#lookBelow(hint.path);
      if (hint.kind === "moved") this.#move(hint.from, hint.to, hint.directory);
    }
  }

  /** The first difference between the model and the tree, in words; `undefined` if they are equal. */
  difference(): string | undefined {
    this.#tree.forgetDirectories();
    const stat = this.#tree.stat("");
    if (!stat || !sameStat(stat, this.#root.stat)) return "the root differs";
    return this.#differenceBelow("", this.#root);
  }

  #differenceBelow(path: string, entry: Entry): string | undefined {
    const found = this.#read(path);
    for (const [name, child] of entry.children) {
      const stat = found.get(name);
      const childPath = joinPath(path, name);
      if (!stat) return `${quote(childPath)} is gone, the model has it`;
      if (!sameStat(stat, child.stat)) {
        return `${quote(childPath)} differs: ${shown(stat)}, model ${shown(child.stat)}`;
      }
      const below = stat.kind === "directory" ? this.#differenceBelow(childPath, child) : undefined;
      if (below) return below;
    }
    for (const name of found.keys()) {
      if (!entry.children.has(name)) return `${quote(joinPath(path, name))} is missing in the model`;
    }
  }

  /** What stands at a path; what was moved out of the tree while it was asked about is not in it. */
  #stat(path: string): Stat | undefined {
    try {
      return this.#tree.stat(path);
    } catch (error) {
      if (errorCode(error) !== "EXDEV") throw error;
      return undefined;
    }
  }

  #look(path: string): Entry | undefined {
    const stat = this.#stat(path);
    if (path === "") {
      if (stat) this.#root.stat = stat;
      return this.#root;
    }
    const parent = this.#find(parentPath(path)) ?? this.#look(parentPath(path));
    if (!parent) return;
    const name = baseName(path);
    if (!stat) {
      parent.children.delete(name);
      return;
    }
    const known = parent.children.get(name);
    if (known && known.stat.ino === stat.ino && known.stat.kind === stat.kind) {
      known.stat = stat;
      return known;
    }
    const entry = new Entry(stat);
    parent.children.set(name, entry);
    return entry;
  }

  #lookBelow(path: string): void {
    const entry = this.#look(path);
    if (!entry || entry.stat.kind !== "directory") return;
    this.#watch(path);
    const found = this.#read(path);
    for (const name of entry.children.keys()) if (!found.has(name)) entry.children.delete(name);
    for (const name of found.keys()) this.#lookBelow(joinPath(path, name));
  }

  #move(from: string, to: string, directory: boolean): void {
    const entry = this.#find(from);
    const parent = this.#find(parentPath(to));
    const stat = this.#tree.stat(to);
    if (entry && parent && stat && entry.stat.ino === stat.ino) {
      this.#find(parentPath(from))!.children.delete(baseName(from));
      parent.children.set(baseName(to), entry);
      return;
    }
    for (const path of [from, to]) {
      if (directory) this.#lookBelow(path);
      else this.#look(path);
    }
  }

  #find(path: string): Entry | undefined {
    let entry: Entry | undefined = this.#root;
    if (path === "") return entry;
    for (const name of path.split("/")) entry = entry?.children.get(name);
    return entry;
  }

  #read(path: string): Map<string, Stat> {
    const found = new Map<string, Stat>();
    try {
      this.#tree.scan(path, (name, stat) => {
        if (stat) found.set(name, { ...stat });
      });
    } catch { /* it vanished: another hint comes */ }
    return found;
  }
}

function sameStat(a: Stat, b: Stat): boolean {
  return a.kind === b.kind && a.size === b.size && a.mtimeNs === b.mtimeNs && a.mode === b.mode &&
    a.ino === b.ino;
}

function shown({ kind, size, mtimeNs, mode, ino }: Stat): string {
  return `${kind} ${size} ${mtimeNs} ${mode.toString(8)} ${ino}`;
}
