/**
 * The staging directory: where new versions and patch journals are built before they become live. A name there says
 * what it is: `f…` a whole file, `l…` a symbolic link, `t…` a transfer, `p…` a patch journal. Only what the catalog
 * names outlives a crash; recovery removes the rest.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import type { OpenFile, Tree } from "../sys/file_system.ts";
import { attempt } from "./trouble.ts";

/** What a staged name holds. */
export type StagedKind = "f" | "l" | "t" | "p";

/** The staging directory of one replica. */
export class Staging {
  readonly tree: Tree;
  #lastNumber = 0;

  constructor(tree: Tree) {
    this.tree = tree;
  }

  /** Creates an empty file, mode 0600. */
  create(kind: StagedKind): { name: string; file: OpenFile } {
    const create = (name: string) => this.tree.open(name, { access: "create", mode: 0o600 });
    return this.#withNewName(kind, create);
  }

  /** Creates a symbolic link. */
  createLink(target: string): string {
    return this.#withNewName("l", (name) => this.tree.makeSymlink(name, target)).name;
  }

  /** Removes a name, if it is there. */
  remove(name: string): void {
    attempt(() => this.tree.unlink(name));
  }

  /** Removes every name that is not in `kept`. */
  clean(kept: ReadonlySet<string>): void {
    for (const { name } of this.tree.list("")) if (!kept.has(name)) this.remove(name);
  }

  /** Removes what the catalog never names: whole files and links. For a full disk, on which it cannot be asked. */
  cleanUnnamed(): void {
    for (const { name } of this.tree.list("")) if (/^[fl]/.test(name)) this.remove(name);
  }

  #withNewName<T>(kind: StagedKind, make: (name: string) => T): { name: string; file: T } {
    for (;;) {
      const name = `${kind}${(++this.#lastNumber).toString(36)}`;
      try {
        return { name, file: make(name) };
      } catch (error) {
        // A transfer of an earlier run has it.
        if (errorCode(error) !== "EEXIST") throw error;
      }
    }
  }
}
