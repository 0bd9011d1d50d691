/**
 * Random changes of a real tree, each with the hints that a watcher which misses nothing would give; and what else may
 * happen to a source and its target. A change that is not possible does nothing, so that any part of a history is one.
 *
 * Watchers name a change in one of two ways: by paths of when it happened (inotify), or by the directory that it was
 * in and a name, of which the path is that of when it is heard of (fanotify).
 * @module
 */
import fc from "fast-check";
import {
  appendFileSync,
  chmodSync,
  closeSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { errorCode } from "../../src/base/errors.ts";
import { baseName, isWithin, joinPath, parentPath } from "../../src/base/path.ts";
import type { Hint } from "../../src/intercept/interceptor.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { lookBelow, type LoopbackTarget, moved } from "../testing/loopback.ts";

/** A change of the tree. */
export type TreeAction =
  | { do: "write" | "save"; path: string; size: number }
  | { do: "append"; path: string; size: number }
  | { do: "patch"; path: string; at: number; size: number }
  | { do: "truncate"; path: string; size: number }
  | { do: "chmod"; path: string; mode: number }
  | { do: "chown"; path: string; id: number }
  | { do: "utimens"; path: string }
  /** Of size 0: the attribute is removed. */
  | { do: "setfattr"; path: string; name: string; size: number }
  | { do: "mkdir" | "unlink" | "rmtree" | "symlink" | "mksocket"; path: string }
  | { do: "rename"; path: string; to: string; paired: boolean }
  | { do: "link" | "swap" | "exchange"; path: string; to: string }
  | { do: "rotate"; path: string };

/** What happens besides. */
export type WorldAction =
  /** The source hears so many of the hints that wait. */
  | { do: "hear"; count: number }
  /** Hints that wait are lost, which the interceptor notices. */
  | { do: "overflow" }
  /** The event loop turns so often. */
  | { do: "turn"; count: number }
  | TargetAction
  | { do: "restart source"; saves: boolean }
  | { do: "settle" };

/** What befalls a target, or the line to it. */
export type TargetAction =
  | { do: "cut"; after: number; keepsTail: boolean }
  | { do: "delay"; turns: number }
  | { do: "crash target" }
  | { do: "crash target at call"; call: number; phase: "before" | "after" };

/** What waits to be heard: its hints, as they are when it is heard. */
export type Unheard = () => Hint[];

/** Paths that a watcher tells: of when a change happened, or of when it is heard of. */
export type Naming = "then" | "now";

/** One step of a history. */
export type Action = TreeAction | WorldAction;

/** Plain objects, so that a counterexample reads well. */
export function record<T>(model: { [Name in keyof T]: fc.Arbitrary<T[Name]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const KiB = 1024;
const name = fc.constantFrom("a", "b", "c");
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));
const smallSize = fc.constantFrom(0, 1, 10, 100);
/** Sizes round those from which files are compared by blocks, travel in blocks and are patched in place. */
const anySize = fc.oneof(
  { weight: 5, arbitrary: smallSize },
  { weight: 2, arbitrary: fc.constantFrom(70 * KiB, 300 * KiB, 600 * KiB, 1100 * KiB) },
);

/** Changes of a tree of a few names. */
export const treeAction: fc.Arbitrary<TreeAction> = fc.oneof(
  { weight: 6, arbitrary: record({ do: fc.constantFrom("write", "save"), path, size: anySize }) },
  { weight: 2, arbitrary: record({ do: fc.constant("append"), path, size: anySize }) },
  {
    weight: 2,
    arbitrary: record({
      do: fc.constant("patch"),
      path,
      at: fc.constantFrom(0, 5, 65_000, 290_000, 1_000_000),
      size: fc.constantFrom(1, 10, 5000),
    }),
  },
  { weight: 1, arbitrary: record({ do: fc.constant("truncate"), path, size: anySize }) },
  {
    weight: 1,
    arbitrary: record({ do: fc.constant("chmod"), path, mode: fc.constantFrom(0o600, 0o755, 0o4711) }),
  },
  { weight: 1, arbitrary: record({ do: fc.constant("chown"), path, id: fc.constantFrom(0, 1234) }) },
  { weight: 1, arbitrary: record({ do: fc.constant("utimens"), path }) },
  {
    weight: 2,
    arbitrary: record({
      do: fc.constant("setfattr"),
      path,
      name: fc.constantFrom("a", "b"),
      size: fc.constantFrom(0, 1, 9),
    }),
  },
  {
    weight: 6,
    arbitrary: record({
      do: fc.constantFrom("mkdir", "mkdir", "unlink", "rmtree", "symlink", "mksocket"),
      path,
    }),
  },
  { weight: 6, arbitrary: record({ do: fc.constant("rename"), path, to: path, paired: fc.boolean() }) },
  { weight: 2, arbitrary: record({ do: fc.constantFrom("link", "swap", "exchange"), path, to: path }) },
  { weight: 1, arbitrary: record({ do: fc.constant("rotate"), path }) },
) as fc.Arbitrary<TreeAction>;

/** What else may happen. */
export const worldAction: fc.Arbitrary<WorldAction> = fc.oneof(
  { weight: 6, arbitrary: record({ do: fc.constant("hear"), count: fc.constantFrom(1, 2, 5, 100) }) },
  { weight: 2, arbitrary: record({ do: fc.constant("overflow") }) },
  {
    weight: 8,
    arbitrary: record({ do: fc.constant("turn"), count: fc.constantFrom(1, 2, 3, 5, 10, 40) }),
  },
  {
    weight: 3,
    arbitrary: record({
      do: fc.constant("cut"),
      after: fc.constantFrom(0, 0, 1, 2, 3, 5, 8),
      keepsTail: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: record({ do: fc.constant("delay"), turns: fc.constantFrom(1, 2, 5) }) },
  { weight: 2, arbitrary: record({ do: fc.constant("restart source"), saves: fc.boolean() }) },
  { weight: 1, arbitrary: record({ do: fc.constant("crash target") }) },
  {
    weight: 2,
    arbitrary: record({
      do: fc.constant("crash target at call"),
      call: fc.integer({ min: 1, max: 25 }),
      phase: fc.constantFrom("before", "after"),
    }),
  },
  { weight: 1, arbitrary: record({ do: fc.constant("settle") }) },
) as fc.Arbitrary<WorldAction>;

/** Histories of a tree and of the world around it. */
export const history: fc.Arbitrary<Action[]> = fc.array(
  fc.oneof({ weight: 3, arbitrary: treeAction }, { weight: 2, arbitrary: worldAction }),
  { minLength: 1, maxLength: 70, size: "max" },
);

/** Does changes in a tree. */
export class TreeActor {
  readonly #root: string;
  readonly #naming: Naming;
  #number = 0;

  /** @param root Absolute path. */
  constructor(root: string, naming: Naming) {
    this.#root = root;
    this.#naming = naming;
  }

  /** Does one; gives what is to be heard of it, nothing if it is not possible. */
  act(action: TreeAction): Unheard[] {
    const hints = new Hints(this.#naming === "now" ? (path) => this.#handleOf(path) : fixed);
    try {
      this.#act(action, hints);
    } catch (error) {
      // The system refuses what is not possible; our own mistakes are no errors of the system.
      if (errorCode(error) === "") throw error;
    }
    return hints.unheard;
  }

  /** A path that follows the directory which it is in now: `undefined` once that is gone. */
  #handleOf(path: string): PathWhenHeard {
    const { ino } = lstatSync(this.#at(parentPath(path)));
    return () => {
      const directory = this.#findDirectory(ino, "");
      return directory === undefined ? undefined : joinPath(directory, baseName(path));
    };
  }

  #findDirectory(ino: number, at: string): string | undefined {
    if (lstatSync(this.#at(at)).ino === ino) return at;
    for (const entry of readdirSync(this.#at(at), { withFileTypes: true })) {
      const found = entry.isDirectory() ? this.#findDirectory(ino, joinPath(at, entry.name)) : undefined;
      if (found !== undefined) return found;
    }
  }

  #act(action: TreeAction, hints: Hints): void {
    const at = this.#at(action.path);
    const look = (path: string) => hints.look(path);
    switch (action.do) {
      case "write":
        this.#refuseLink(at);
        writeFileSync(at, this.#bytes(action.size));
        return look(action.path);
      case "save":
        writeFileSync(this.#at("tmp"), this.#bytes(action.size));
        look("tmp");
        return this.#rename("tmp", action.path, hints);
      case "append":
        this.#refuseLink(at);
        appendFileSync(at, this.#bytes(action.size));
        return look(action.path);
      case "patch":
        return this.#patch(action, look);
      case "truncate":
        this.#refuseLink(at);
        truncateSync(at, action.size);
        return look(action.path);
      case "chmod":
        this.#refuseLink(at);
        chmodSync(at, lstatSync(at).isDirectory() ? action.mode | 0o700 : action.mode);
        return look(action.path);
      case "chown":
        lchownSync(at, action.id, action.id);
        return look(action.path);
      case "utimens": {
        const time = 1_600_000_000 + ++this.#number;
        lutimesSync(at, time, time);
        return look(action.path);
      }
      case "mkdir":
        mkdirSync(at);
        return look(action.path);
      case "unlink":
        unlinkSync(at);
        return look(action.path);
      case "rmtree":
        return this.#removeAll(action.path, look);
      case "symlink":
        symlinkSync(`target ${++this.#number}`, at);
        return look(action.path);
      case "setfattr": {
        using tree = systemFileSystem().openTree(this.#root);
        const value = action.size === 0 ? undefined : new Uint8Array(action.size).fill(++this.#number);
        tree.setXattr(action.path, `user.${action.name}`, value);
        return look(action.path);
      }
      case "mksocket": {
        using tree = systemFileSystem().openTree(this.#root);
        tree.makeNode(action.path, "socket", "", 0o640);
        return look(action.path);
      }
      case "rename":
        return this.#rename(action.path, action.to, hints, action.paired);
      case "link":
        linkSync(at, this.#at(action.to));
        return look(action.to);
      case "swap":
        return this.#swap(action.path, action.to, hints);
      case "exchange":
        return this.#exchange(action.path, action.to, hints);
      case "rotate":
        this.#rename(action.path, `${action.path}.1`, hints);
        writeFileSync(at, this.#bytes(20));
        return look(action.path);
    }
  }

  #at(path: string): string {
    return `${this.#root}/${path}`;
  }

  /** Bytes that were never written before. */
  #bytes(size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    let state = ++this.#number * 2_654_435_761;
    for (let i = 0; i < size; i++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
      bytes[i] = state >>> 24;
    }
    return bytes;
  }

  #patch({ path, at, size }: TreeAction & { do: "patch" }, look: (path: string) => void): void {
    this.#refuseLink(this.#at(path));
    const file = openSync(this.#at(path), "r+");
    try {
      writeSync(file, this.#bytes(size), 0, size, at);
    } finally {
      closeSync(file);
    }
    look(path);
  }

  #rename(from: string, to: string, hints: Hints, paired = true): void {
    const isDirectory = lstatSync(this.#at(from)).isDirectory();
    renameSync(this.#at(from), this.#at(to));
    if (paired) return hints.moved(from, to, isDirectory);
    hints.look(from);
    if (isDirectory) hints.lookBelow(to);
    else hints.look(to);
  }

  /** Both names change at once: renameat2(2) with RENAME_EXCHANGE. */
  #exchange(a: string, b: string, hints: Hints): void {
    const [isDirectory, isOther] = [a, b].map((path) => lstatSync(this.#at(path)).isDirectory());
    using tree = systemFileSystem().openTree(this.#root);
    tree.rename(a, b, { exchange: true });
    hints.moved(a, b, isDirectory);
    hints.moved(b, a, isOther);
  }

  #swap(a: string, b: string, hints: Hints): void {
    lstatSync(this.#at(b));
    // Neither may lie within the other.
    if (isWithin(a, b) || isWithin(b, a)) return;
    this.#rename(a, "swapped", hints);
    this.#rename(b, a, hints);
    this.#rename("swapped", b, hints);
  }

  #removeAll(path: string, look: (path: string) => void): void {
    if (lstatSync(this.#at(path)).isDirectory()) {
      for (const name of readdirSync(this.#at(path))) this.#removeAll(`${path}/${name}`, look);
      rmdirSync(this.#at(path));
    } else {
      unlinkSync(this.#at(path));
    }
    look(path);
  }

  /** Links point to nothing; following one would leave the tree. */
  #refuseLink(at: string): void {
    const found = lstatSync(at, { throwIfNoEntry: false });
    if (found?.isSymbolicLink()) throw Object.assign(new Error("it is a link"), { code: "ELOOP" });
  }
}

/** A path as it is when it is asked for. */
type PathWhenHeard = () => string | undefined;

function fixed(path: string): PathWhenHeard {
  return () => path;
}

/** Gathers what is to be heard of one action. */
class Hints {
  readonly unheard: Unheard[] = [];
  readonly #pathWhenHeard: (path: string) => PathWhenHeard;

  constructor(pathWhenHeard: (path: string) => PathWhenHeard) {
    this.#pathWhenHeard = pathWhenHeard;
  }

  look(path: string): void {
    this.#add([path], ([now]) => ({ kind: "look", path: now }));
  }

  lookBelow(path: string): void {
    this.#add([path], ([now]) => lookBelow(now));
  }

  moved(from: string, to: string, directory: boolean): void {
    this.#add([from, to], ([fromNow, toNow]) => moved(fromNow, toNow, directory));
  }

  #add(paths: string[], hint: (now: string[]) => Hint): void {
    const asked = paths.map(this.#pathWhenHeard);
    this.unheard.push(() => {
      const now = asked.map((path) => path());
      const known = now.filter((path) => path !== undefined);
      if (known.length === now.length) return [hint(known)];
      // Where one of its directories is gone, a rename is a change at the other.
      return known.map((path) => lookBelow(path));
    });
  }
}

/** Lets it happen. */
export function befall(target: LoopbackTarget, action: TargetAction): void {
  switch (action.do) {
    case "cut":
      target.faults = { ...target.faults, cutAfter: action.after, keepsTail: action.keepsTail };
      return;
    case "delay":
      target.faults = { ...target.faults, delayTurns: action.turns };
      return;
    case "crash target":
      return target.crash();
    case "crash target at call":
      return target.crashAt(action.call, action.phase);
  }
}

/** Whether an action changes the tree. */
export function isTreeAction(action: { do: string }): action is TreeAction {
  return "path" in action;
}
