/**
 * A slow, obvious file system in memory, and a source on it that says what it did as stacked ops.
 * @module
 */
import { assert } from "../../src/base/errors.ts";
import { isWithin, movePath, parentPath } from "../../src/base/path.ts";
import type { StackedOp, StackedOpOf } from "../../src/ops/stacked.ts";
import type { AttributeChange } from "../../src/sys/file_system.ts";

interface Node {
  kind: "file" | "directory" | "symlink";
  /** Number of the file, which another one may get when this one is gone. */
  file: number;
  bytes: number[];
  attributes: AttributeChange;
  /** Whether contents changed after attributes were set last. */
  isWritten: boolean;
  target: string;
}

/** What a random change of the source is. */
export type SourceAction =
  | { do: "write"; path: string; at: number; size: number }
  | { do: "truncate"; path: string; size: number }
  | { do: "chmod" | "touch" | "settle"; path: string }
  | { do: "mkdir" | "remove" | "symlink"; path: string }
  | { do: "rename" | "exchange" | "link"; path: string; to: string }
  | { do: "hold" };

/** A tree. An op that does not fit it is an error: so every barrier that was crossed is one. */
export class ModelFiles {
  protected readonly nodes = new Map<string, Node>();

  /** Does an op; `data` is what was read for a write, `undefined` if nothing could be. */
  apply(op: StackedOp, data?: number[]): void {
    switch (op.kind) {
      case "create":
        return this.#add(op.path, newNode("file", op));
      case "symlink":
        return this.#add(op.path, { ...newNode("symlink", op), target: op.target });
      case "mkdir":
        return this.#add(op.path, newNode("directory", { ...op, file: 0 }));
      case "write":
        return this.#write(this.#file(op.path), op.start, data);
      case "truncate":
        this.#resize(this.#file(op.path), op.lowest);
        return this.#resize(this.#file(op.path), op.size);
      case "attributes": {
        const node = this.node(op.path);
        Object.assign(node.attributes, op.attributes);
        node.isWritten = false;
        return;
      }
      case "link":
        return this.#add(op.to, this.#file(op.path));
      case "unlink":
        assert(this.node(op.path).kind !== "directory", `${op.path} is a directory`);
        return void this.nodes.delete(op.path);
      case "rmdir":
        assert(this.node(op.path).kind === "directory", `${op.path} is no directory`);
        assert(this.below(op.path).length === 0, `${op.path} is not empty`);
        return void this.nodes.delete(op.path);
      case "rename":
        return this.#rename(op);
      case "hold":
        return;
    }
  }

  has(path: string): boolean {
    return this.nodes.has(path);
  }

  /** All names of the file that has this one. */
  namesLike(path: string): string[] {
    const named = this.nodes.get(path);
    return [...this.nodes].filter(([, node]) => node === named).map(([name]) => name);
  }

  /** One line an entry; hard links of one file name the first of them, unless `withLinks` is false. */
  lines(withLinks = true): string[] {
    const names = [...this.nodes.keys()].sort();
    return names.map((path) => {
      const node = this.node(path);
      const first = names.find((name) => this.nodes.get(name) === node);
      const { mode, mtimeNs } = node.attributes;
      return `${path} ${node.kind} ${withLinks ? first : ""} ${mode} ${
        node.isWritten ? "written" : mtimeNs
      } ${node.target}` +
        `[${node.bytes}]`;
    });
  }

  /** Bytes `start` to `end` of a file, fewer at its end. */
  read(path: string, start: number, end: number): number[] {
    return this.#file(path).bytes.slice(start, end);
  }

  /** Every byte of every file: path, number of the file, offset and value. */
  *allBytes(): Iterable<{ path: string; file: number; at: number; value: number }> {
    for (const [path, { file, bytes }] of this.nodes) {
      for (const [at, value] of bytes.entries()) yield { path, file, at, value };
    }
  }

  protected node(path: string): Node {
    const node = this.nodes.get(path);
    assert(node !== undefined, `${path} is not there`);
    return node;
  }

  protected below(path: string): string[] {
    return [...this.nodes.keys()].filter((name) => name !== path && isWithin(name, path));
  }

  #file(path: string): Node {
    const node = this.node(path);
    assert(node.kind === "file", `${path} is no file`);
    return node;
  }

  #add(path: string, node: Node): void {
    assert(!this.nodes.has(path), `${path} is there already`);
    const parent = parentPath(path);
    assert(parent === "" || this.node(parent).kind === "directory", `${parent} is no directory`);
    this.nodes.set(path, node);
  }

  #write(node: Node, start: number, data: number[] | undefined): void {
    node.isWritten = true;
    if (data === undefined || data.length === 0) return;
    if (node.bytes.length < start) this.#resize(node, start);
    for (const [index, byte] of data.entries()) node.bytes[start + index] = byte;
  }

  #resize(node: Node, size: number): void {
    node.isWritten = true;
    while (node.bytes.length < size) node.bytes.push(0);
    node.bytes.length = size;
  }

  #rename({ path, to, exchange }: StackedOpOf<"rename">): void {
    this.node(path);
    if (exchange) {
      this.node(to);
      this.#move(path, "*");
      this.#move(to, path);
      return this.#move("*", to);
    }
    assert(this.below(to).length === 0, `${to} is not empty`);
    const parent = parentPath(to);
    assert(parent === "" || this.node(parent).kind === "directory", `${parent} is no directory`);
    this.nodes.delete(to);
    this.#move(path, to);
  }

  #move(from: string, to: string): void {
    for (const path of [from, ...this.below(from)]) {
      const node = this.node(path);
      this.nodes.delete(path);
      this.nodes.set(movePath(path, from, to), node);
    }
  }
}

function newNode(kind: Node["kind"], op: { file: number; attributes: AttributeChange }): Node {
  return { kind, file: op.file, bytes: [], attributes: { ...op.attributes }, isWritten: false, target: "" };
}

/** A source: does random changes and says which ops they were. Changes that are not possible do nothing. */
export class ModelSource extends ModelFiles {
  #lastValue = 0;
  #directories = 1_000;
  /** By the value of a byte: the only bytes that were ever given it. */
  readonly written = new Map<number, { file: number; start: number; end: number }>();

  act(action: SourceAction): StackedOp[] {
    switch (action.do) {
      case "write":
        return this.#writeTo(action);
      case "truncate":
        return this.#does(this.#isKind(action.path, "file"), () => [{
          kind: "truncate",
          path: action.path,
          file: this.node(action.path).file,
          lowest: action.size,
          size: action.size,
        }]);
      case "chmod":
      case "touch":
      case "settle":
        return this.#does(this.nodes.has(action.path), () => [this.#setAttributes(action.path, action.do)]);
      case "mkdir":
        return this.#does(this.#isFree(action.path), () => [
          { kind: "mkdir", path: action.path, attributes: { mode: this.#next() } },
        ]);
      case "symlink": {
        const named = { path: action.path, file: this.#freeNumber(), target: `to ${this.#next()}` };
        return this.#does(this.#isFree(action.path), () => [{ kind: "symlink", ...named, attributes: {} }]);
      }
      case "remove":
        return this.#does(this.nodes.has(action.path), () => this.#removal(action.path));
      case "link":
        return this.#does(this.#isKind(action.path, "file") && this.#isFree(action.to), () => [
          { kind: "link", path: action.path, file: this.node(action.path).file, to: action.to },
        ]);
      case "exchange":
        return this.#does(this.#canMove(action) && this.nodes.has(action.to), () => [
          { kind: "rename", path: action.path, to: action.to, exchange: true },
        ]);
      case "rename":
        return this.#does(this.#canReplace(action), () => [{
          kind: "rename",
          path: action.path,
          to: action.to,
          exchange: false,
          survivor: this.#survivor(action.to),
        }]);
      case "hold":
        return [{ kind: "hold" }];
    }
  }

  /** Number of the file at a path. */
  fileAt(path: string): number {
    return this.node(path).file;
  }

  #does(isPossible: boolean, make: () => StackedOp[]): StackedOp[] {
    const ops = isPossible ? make() : [];
    for (const op of ops) this.apply(op);
    return ops;
  }

  #writeTo({ path, at, size }: SourceAction & { do: "write" }): StackedOp[] {
    const file = this.nodes.get(path)?.file ?? this.#freeNumber();
    const created: StackedOp = { kind: "create", path, file, attributes: { mode: this.#next() } };
    const ops = this.#does(this.#isFree(path), () => [created]);
    if (!this.#isKind(path, "file")) return [];
    const op = { kind: "write" as const, path, file, start: at, end: at + size };
    const value = this.#next();
    this.apply(op, Array<number>(size).fill(value));
    this.written.set(value, { file, start: op.start, end: op.end });
    return [...ops, op];
  }

  #setAttributes(path: string, what: "chmod" | "touch" | "settle"): StackedOp {
    const node = this.node(path);
    const isDirectory = node.kind === "directory";
    if (isDirectory && node.file === 0) node.file = ++this.#directories;
    const attributes: AttributeChange = {};
    if (what !== "touch") attributes.mode = this.#next();
    if (what !== "chmod") attributes.mtimeNs = BigInt(this.#next());
    return { kind: "attributes", path, file: node.file, isDirectory, attributes };
  }

  #removal(path: string): StackedOp[] {
    if (!this.#isKind(path, "directory")) {
      return [{ kind: "unlink", path, file: this.node(path).file, survivor: this.#survivor(path) }];
    }
    return this.below(path).length === 0 ? [{ kind: "rmdir", path }] : [];
  }

  /** Another name of the file that loses this one. */
  #survivor(path: string): string | undefined {
    const lost = this.nodes.get(path);
    return [...this.nodes].find(([name, node]) => lost !== undefined && node === lost && name !== path)?.[0];
  }

  #canMove({ path, to }: { path: string; to: string }): boolean {
    return this.nodes.has(path) && !isWithin(to, path) && !isWithin(path, to);
  }

  #canReplace(action: { path: string; to: string }): boolean {
    const { path, to } = action;
    if (!this.#canMove(action) || this.nodes.get(path) === this.nodes.get(to)) return false;
    if (this.#isFree(to)) return true;
    const areBoth = this.#isKind(path, "directory") === this.#isKind(to, "directory");
    return this.nodes.has(to) && areBoth && this.below(to).length === 0;
  }

  #isFree(path: string): boolean {
    const parent = parentPath(path);
    return !this.nodes.has(path) && (parent === "" || this.#isKind(parent, "directory"));
  }

  #isKind(path: string, kind: Node["kind"]): boolean {
    return this.nodes.get(path)?.kind === kind;
  }

  /** The lowest number that no file has: so numbers are given again, as inode numbers are. */
  #freeNumber(): number {
    const taken = new Set([...this.nodes.values()].map(({ file }) => file));
    let file = 1;
    while (taken.has(file)) file++;
    return file;
  }

  #next(): number {
    return ++this.#lastValue;
  }
}
