/**
 * Random changes of a real tree, each with the hints that a watcher which misses nothing would give; and what else may
 * happen to a source and its target. A change that is not possible does nothing, so that any part of a history is one.
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
import type { Hint } from "../../src/intercept/interceptor.ts";
import { lookBelow, moved } from "../testing/loopback.ts";

/** A change of the tree. */
export type TreeAction =
  | { do: "write" | "save"; path: string; size: number }
  | { do: "append"; path: string; size: number }
  | { do: "patch"; path: string; at: number; size: number }
  | { do: "truncate"; path: string; size: number }
  | { do: "chmod"; path: string; mode: number }
  | { do: "chown"; path: string; id: number }
  | { do: "utimens"; path: string }
  | { do: "mkdir" | "unlink" | "rmtree" | "symlink"; path: string }
  | { do: "rename"; path: string; to: string; paired: boolean }
  | { do: "link" | "swap"; path: string; to: string }
  | { do: "rotate"; path: string };

/** What happens besides. */
export type WorldAction =
  /** The source hears so many of the hints that wait. */
  | { do: "hear"; count: number }
  /** Hints that wait are lost, which the interceptor notices. */
  | { do: "overflow" }
  /** The event loop turns so often. */
  | { do: "turn"; count: number }
  | { do: "cut"; after: number; keepsTail: boolean }
  | { do: "delay"; turns: number }
  | { do: "restart source"; saves: boolean }
  | { do: "crash target" }
  | { do: "crash target at call"; call: number; phase: "before" | "after" }
  | { do: "settle" };

/** One step of a history. */
export type Action = TreeAction | WorldAction;

/** Plain objects, so that a counterexample reads well. */
function record<T>(model: { [Name in keyof T]: fc.Arbitrary<T[Name]> }): fc.Arbitrary<T> {
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

const treeAction: fc.Arbitrary<TreeAction> = fc.oneof(
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
    weight: 6,
    arbitrary: record({ do: fc.constantFrom("mkdir", "mkdir", "unlink", "rmtree", "symlink"), path }),
  },
  { weight: 6, arbitrary: record({ do: fc.constant("rename"), path, to: path, paired: fc.boolean() }) },
  { weight: 2, arbitrary: record({ do: fc.constantFrom("link", "swap", "swap"), path, to: path }) },
  { weight: 1, arbitrary: record({ do: fc.constant("rotate"), path }) },
) as fc.Arbitrary<TreeAction>;

const worldAction: fc.Arbitrary<WorldAction> = fc.oneof(
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
  { minLength: 1, maxLength: 70 },
);

/** Does changes in a tree. */
export class TreeActor {
  readonly #root: string;
  #number = 0;

  /** @param root Absolute path. */
  constructor(root: string) {
    this.#root = root;
  }

  /** Does one; gives its hints, none if it is not possible. */
  act(action: TreeAction): Hint[] {
    const hints: Hint[] = [];
    try {
      this.#act(action, hints);
    } catch (error) {
      // The system refuses what is not possible; our own mistakes are no errors of the system.
      if (errorCode(error) === "") throw error;
    }
    return hints;
  }

  #act(action: TreeAction, hints: Hint[]): void {
    const at = this.#at(action.path);
    const look = (path: string) => void hints.push({ kind: "look", path });
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
      case "rename":
        return this.#rename(action.path, action.to, hints, action.paired);
      case "link":
        linkSync(at, this.#at(action.to));
        return look(action.to);
      case "swap":
        return this.#swap(action.path, action.to, hints);
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

  #rename(from: string, to: string, hints: Hint[], paired = true): void {
    const isDirectory = lstatSync(this.#at(from)).isDirectory();
    renameSync(this.#at(from), this.#at(to));
    if (paired) hints.push(moved(from, to, isDirectory));
    else hints.push({ kind: "look", path: from }, isDirectory ? lookBelow(to) : { kind: "look", path: to });
  }

  #swap(a: string, b: string, hints: Hint[]): void {
    lstatSync(this.#at(b));
    // Neither may lie within the other.
    if (`${a}/`.startsWith(`${b}/`) || `${b}/`.startsWith(`${a}/`)) return;
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

/** Whether an action changes the tree. */
export function isTreeAction(action: Action): action is TreeAction {
  return "path" in action;
}
