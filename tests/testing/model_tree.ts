/**
 * A slow, obvious model of a replica: what a tree holds after ops, for comparison with the real one. It also makes
 * random ops that fit its state, as a source would send them.
 * @module
 */
import { isWithin, joinPath, movePath, parentPath } from "../../src/base/path.ts";
import type { Op } from "../../src/ops/op.ts";
import { file, mkdir, plain, rename, symlink, transfer } from "./receiver.ts";

type Entry = { kind: "directory"; mtimeNs: bigint } | { kind: "file"; contents: string } | {
  kind: "symlink";
  target: string;
};

/** A source of choices: a whole number from 0 to below `count`. */
export type Choose = (count: number) => number;

const names = ["a", "b", "c"];
const time = plain.mtimeNs!;

/** The model. */
export class ModelTree {
  readonly #entries = new Map<string, Entry>();
  #lastTransfer = 0;
  #lastContents = 0;

  /** One line an entry, as `snapshot()` gives it without the root. */
  lines(): string[] {
    return [...this.#entries].map(([path, entry]) => {
      if (entry.kind === "directory") return `${path} directory 755 ${entry.mtimeNs} `;
      if (entry.kind === "symlink") return `${path} symlink 777 ${time} ${entry.target}`;
      return `${path} file 644 ${time} ${entry.contents}`;
    }).sort();
  }

  /** All files by path. */
  files(): Map<string, string> {
    const found = new Map<string, string>();
    for (const [path, entry] of this.#entries) if (entry.kind === "file") found.set(path, entry.contents);
    return found;
  }

  /** Makes a random change; gives its ops, none of which fails. */
  step(choose: Choose): Op[] {
    const path = this.#randomPath(choose);
    const entry = this.#entries.get(path);
    switch (choose(10)) {
      case 0:
      case 1:
        return [...this.#clearDirectory(path), ...this.#writeFile(path)];
      case 2:
        return entry === undefined ? this.#makeDirectory(path) : this.#remove(path);
      case 3:
        return [...this.#clearDirectory(path), ...this.#link(path)];
      case 4:
        return [...this.#clearDirectory(path), ...this.#transferWhole(path)];
      case 5:
        return entry?.kind === "file" ? this.#change(path, entry, choose) : this.#makeDirectory(path);
      case 6:
      case 7:
        return this.#rename(path, this.#randomPath(choose));
      case 8:
        return this.#exchange(path, this.#randomPath(choose));
      default:
        return this.#remove(path);
    }
  }

  #randomPath(choose: Choose): string {
    let path = "";
    for (let depth = choose(3); depth >= 0; depth--) {
      path = joinPath(path, names[choose(names.length)]);
      if (this.#entries.get(path)?.kind !== "directory") break;
    }
    return path;
  }

  #newContents(): string {
    return `contents ${++this.#lastContents} of a file`;
  }

  #writeFile(path: string): Op[] {
    const contents = this.#newContents();
    this.#entries.set(path, { kind: "file", contents });
    return [file(path, contents)];
  }

  #link(path: string): Op[] {
    const target = `to ${++this.#lastContents}`;
    this.#entries.set(path, { kind: "symlink", target });
    return [symlink(path, target)];
  }

  #transferWhole(path: string): Op[] {
    const contents = this.#newContents();
    this.#entries.set(path, { kind: "file", contents });
    const middle = 5;
    const blocks: [number, string][] = [[middle, contents.slice(middle)], [0, contents.slice(0, middle)]];
    return transfer(++this.#lastTransfer, path, { blocks, size: contents.length });
  }

  /** Changes parts of a file, by a copy or in place. */
  #change(path: string, entry: Entry & { kind: "file" }, choose: Choose): Op[] {
    const size = Math.max(3, entry.contents.length + choose(5) - 2);
    const mark = `<${++this.#lastContents}>`;
    const padded = entry.contents.padEnd(size, "\0").slice(0, size);
    const at = choose(Math.max(1, size - mark.length));
    const contents = (padded.slice(0, at) + mark + padded.slice(at + mark.length)).slice(0, size);
    const base = choose(2) === 0 ? "patch" : "copy";
    this.#entries.set(path, { kind: "file", contents });
    return transfer(++this.#lastTransfer, path, { base, blocks: [[at, mark.slice(0, size - at)]], size });
  }

  #makeDirectory(path: string): Op[] {
    const entry = this.#entries.get(path);
    const ops = entry === undefined || entry.kind === "directory" ? [] : this.#remove(path);
    const mtimeNs = time + BigInt(++this.#lastContents);
    this.#entries.set(path, { kind: "directory", mtimeNs });
    return [...ops, mkdir(path, { mode: 0o755, mtimeNs })];
  }

  #clearDirectory(path: string): Op[] {
    return this.#entries.get(path)?.kind === "directory" ? this.#remove(path) : [];
  }

  #remove(path: string): Op[] {
    const ops: Op[] = [];
    const below = [...this.#entries.keys()].filter((each) => isWithin(each, path)).sort().reverse();
    for (const each of below) {
      ops.push({ kind: this.#entries.get(each)!.kind === "directory" ? "rmdir" : "unlink", path: each });
      this.#entries.delete(each);
    }
    // What is not there may be removed too.
    return ops.length > 0 ? ops : [{ kind: "unlink", path }];
  }

  #rename(from: string, to: string): Op[] {
    if (!this.#entries.has(from) || isWithin(to, from) || isWithin(from, to)) return [];
    const ops = this.#entries.has(to) ? this.#remove(to) : [];
    // A rename replaces a file by itself.
    if (this.#entries.get(from)!.kind !== "directory" && ops.length === 1 && ops[0].kind === "unlink") {
      ops.length = 0;
    }
    this.#move(from, to);
    return [...ops, rename(from, to)];
  }

  #exchange(from: string, to: string): Op[] {
    if (!this.#entries.has(from) || !this.#entries.has(to) || isWithin(to, from) || isWithin(from, to)) {
      return [];
    }
    this.#move(from, "*");
    this.#move(to, from);
    this.#move("*", to);
    return [rename(from, to, true)];
  }

  #move(from: string, to: string): void {
    for (const [path, entry] of [...this.#entries]) {
      if (!isWithin(path, from)) continue;
      this.#entries.delete(path);
      this.#entries.set(movePath(path, from, to), entry);
    }
  }

  /** Whether the parent of each entry is a directory: the model's own sanity. */
  isSound(): boolean {
    return [...this.#entries.keys()].every((path) =>
      parentPath(path) === "" || this.#entries.get(parentPath(path))?.kind === "directory"
    );
  }
}
