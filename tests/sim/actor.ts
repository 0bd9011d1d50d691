/**
 * Random changes of a simulated tree, each with the hints that a watcher which misses nothing would give.
 * @module
 */
import { SystemError } from "../../src/base/errors.ts";
import { joinPath } from "../../src/base/path.ts";
import type { Hint } from "../../src/intercept/interceptor.ts";
import type { Tree } from "../../src/sys/file_system.ts";
import type { TreeAction } from "../source/tree_actions.ts";
import { lookBelow, moved } from "../testing/loopback.ts";
import type { SimulatedTree } from "./disk.ts";
import { Random } from "./random.ts";

/** Does changes. */
export class SimulatedActor {
  readonly #tree: SimulatedTree;
  #number = 0;
  #hints: Hint[] = [];

  constructor(tree: SimulatedTree) {
    this.#tree = tree;
  }

  /** Does one; gives what is to be heard of it. One that is not possible does nothing, or a part. */
  act(action: TreeAction): Hint[] {
    this.#hints = [];
    try {
      this.#act(action);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
    return this.#hints;
  }

  #act(action: TreeAction): void {
    const tree = this.#tree;
    const { path } = action;
    switch (action.do) {
      case "write":
        return this.#write(path, action.size);
      case "save":
        this.#write("tmp", action.size);
        return this.#rename("tmp", path);
      case "append":
        return this.#change(path, (file, size) => file.write(this.#bytes(action.size), size));
      case "patch":
        return this.#change(path, (file) => file.write(this.#bytes(action.size), action.at));
      case "truncate":
        return this.#change(path, (file) => file.truncate(action.size));
      case "chmod":
        tree.setAttributes(path, {
          mode: tree.stat(path)?.kind === "directory" ? action.mode | 0o700 : action.mode,
        });
        return this.#look(path);
      case "chown":
        tree.setAttributes(path, { uid: action.id, gid: action.id });
        return this.#look(path);
      case "utimens":
        tree.setAttributes(path, { mtimeNs: 1_600_000_000_000_000_000n + BigInt(++this.#number) });
        return this.#look(path);
      case "mkdir":
        tree.makeDirectory(path, 0o755);
        return this.#look(path);
      case "unlink":
        tree.unlink(path);
        return this.#look(path);
      case "rmtree":
        return this.#removeAll(path);
      case "symlink":
        tree.makeSymlink(path, `target ${++this.#number}`);
        return this.#look(path);
      case "setfattr":
        tree.setXattr(path, `user.${action.name}`, action.size === 0 ? undefined : this.#bytes(action.size));
        return this.#look(path);
      case "mksocket":
        tree.makeNode(path, "socket", "", 0o640);
        return this.#look(path);
      case "rename":
        return this.#rename(path, action.to, action.paired);
      case "link":
        tree.link(path, action.to);
        return this.#look(action.to);
      case "exchange":
        return this.#exchange(path, action.to);
      case "swap":
        this.#rename(path, "swapped");
        this.#rename(action.to, path);
        return this.#rename("swapped", action.to);
      case "rotate":
        this.#rename(path, `${path}.1`);
        return this.#write(path, 20);
    }
  }

  #look(path: string): void {
    this.#hints.push({ kind: "look", path });
  }

  #write(path: string, size: number): void {
    const tree = this.#tree;
    if (!tree.stat(path)) tree.open(path, { access: "create", mode: 0o644 }).close();
    this.#change(path, (file) => {
      file.truncate(0);
      file.write(this.#bytes(size), 0);
    });
  }

  #change(path: string, change: (file: ReturnType<Tree["open"]>, size: number) => void): void {
    using file = this.#tree.open(path, { access: "write" });
    change(file, file.stat().size);
    this.#look(path);
  }

  #rename(from: string, to: string, paired = true): void {
    const tree = this.#tree;
    const isDirectory = tree.stat(from)?.kind === "directory";
    tree.rename(from, to);
    if (paired) return void this.#hints.push(moved(from, to, isDirectory));
    this.#look(from);
    if (isDirectory) this.#hints.push(lookBelow(to));
    else this.#look(to);
  }

  #exchange(a: string, b: string): void {
    const tree = this.#tree;
    const [isDirectory, isOther] = [a, b].map((path) => tree.stat(path)?.kind === "directory");
    tree.rename(a, b, { exchange: true });
    this.#hints.push(moved(a, b, isDirectory), moved(b, a, isOther));
  }

  #removeAll(path: string): void {
    const tree = this.#tree;
    if (tree.stat(path)?.kind === "directory") {
      for (const { name } of tree.list(path)) this.#removeAll(joinPath(path, name));
      tree.removeDirectory(path);
    } else {
      tree.unlink(path);
    }
    this.#look(path);
  }

  /** Bytes that were never written before. */
  #bytes(size: number): Uint8Array {
    const random = new Random(++this.#number);
    const bytes = new Uint8Array(size);
    const words = new Uint32Array(bytes.buffer, 0, size >> 2);
    for (let i = 0; i < words.length; i++) words[i] = random.below(2 ** 32);
    for (let i = size & ~3; i < size; i++) bytes[i] = random.below(256);
    return bytes;
  }
}
