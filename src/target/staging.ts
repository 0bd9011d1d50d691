/**
 * The staging directory: where new versions and patch journals are built before they become live. A name there says
 * what it is: `f…` a whole file, `l…` a symbolic link, `n…` a node, `h…` a further name of a live file, `t…` a transfer, `p…` a patch journal. Only what the catalog
 * names outlives a crash; recovery removes the rest. No name is used twice: that a name of the catalog is gone says
 * that it was made live.
 * @module
 */
import type { Op } from "../ops/op.ts";
import type { OpenFile, Tree } from "../sys/file_system.ts";
import { attempt } from "./trouble.ts";

/** What a staged name holds. */
export type StagedKind = "f" | "l" | "n" | "h" | "t" | "p";

/** The staging directory of one replica. */
export class Staging {
  readonly tree: Tree;
  /** Sets the names of this opening apart from those of all others. */
  readonly #opening = crypto.getRandomValues(new Uint8Array(6)).toHex();
  #lastNumber = 0;

  constructor(tree: Tree) {
    this.tree = tree;
  }

  /** Creates an empty file, mode 0600. */
  create(kind: StagedKind): { name: string; file: OpenFile } {
    const name = this.#newName(kind);
    return { name, file: this.tree.open(name, { access: "create", mode: 0o600 }) };
  }

  /** Creates a symbolic link. */
  createLink(target: string): string {
    const name = this.#newName("l");
    this.tree.makeSymlink(name, target);
    return name;
  }

  /** Creates a node. */
  createNode({ node, device }: Op & { kind: "node" }): string {
    const name = this.#newName("n");
    this.tree.makeNode(name, node, device, 0o600);
    return name;
  }

  /** Gives what is at a path of another tree a further name here. */
  createFurtherName(of: Tree, path: string): string {
    const name = this.#newName("h");
    of.link(path, name, { into: this.tree });
    return name;
  }

  /** Removes a name, if it is there. */
  remove(name: string): void {
    attempt(() => this.tree.unlink(name));
  }

  /** Removes every name that is not in `kept`. */
  clean(kept: ReadonlySet<string>): void {
    for (const { name } of this.tree.list("")) if (!kept.has(name)) this.remove(name);
  }

  /** Removes what the catalog never names: whole files, links, nodes and further names. For a full disk, on which it cannot be asked. */
  cleanUnnamed(): void {
    for (const { name } of this.tree.list("")) if (/^[flnh]-/.test(name)) this.remove(name);
  }

  #newName(kind: StagedKind): string {
    return `${kind}-${this.#opening}-${(++this.#lastNumber).toString(36)}`;
  }
}
