/**
 * Keeps what a failback is about to replace or remove: it gets a further name in a directory beside the tree, or, where
 * that cannot be and where it is changed in place, a copy.
 * @module
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { errorCode } from "../base/errors.ts";
import type { FileSystem, Tree } from "../sys/file_system.ts";
import type { LossReason } from "./install.ts";

/** What is kept, and where. */
export interface KeepAside {
  /** Absolute path of the directory; made when the first entry is kept. */
  directory: string;
  /** Paths worth keeping; `undefined`: all. */
  paths: string[] | undefined;
}

/** Keeps entries of one tree. */
export class KeptAside implements Disposable {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #paths: ReadonlySet<string> | undefined;
  #aside: Tree | undefined;

  constructor({ directory, paths }: KeepAside, fileSystem: FileSystem) {
    this.#fileSystem = fileSystem;
    this.#directory = directory;
    this.#paths = paths && new Set(paths);
  }

  /**
   * Keeps what is at a path, before it is lost there. What was kept once under this path stays.
   *
   * @throws {SystemError} If it cannot be kept: then it must not be lost.
   */
  keep(live: Tree, path: string, reason: LossReason): void {
    if (this.#paths && !this.#paths.has(path)) return;
    const stat = live.stat(path);
    if (!stat) return;
    const aside = this.#open();
    if (stat.kind === "directory") return void mkdirSync(`${this.#directory}/${path}`, { recursive: true });
    mkdirSync(dirname(`${this.#directory}/${path}`), { recursive: true });
    aside.forgetDirectories();
    if (aside.stat(path)) return;
    try {
      if (reason !== "patched") return live.link(path, path, { into: aside });
    } catch (error) {
      const isHopeless = !["EXDEV", "EMLINK", "EPERM", "ENOTSUP"].includes(errorCode(error));
      if (isHopeless || stat.kind !== "file") throw error;
    }
    using from = live.open(path, { access: "read" });
    using to = aside.open(path, { access: "create" });
    to.copyFrom(from);
    const { mode, mtimeNs, uid, gid } = stat;
    to.setAttributes({ mode, mtimeNs, ...(this.#fileSystem.abilities.ownership ? { uid, gid } : {}) });
    to.sync();
  }

  [Symbol.dispose](): void {
    this.#aside?.close();
  }

  #open(): Tree {
    if (!this.#aside) {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      this.#aside = this.#fileSystem.openTree(this.#directory);
    }
    return this.#aside;
  }
}
