/**
 * Names of files that have several: an event names one of them, and what happened shows at all.
 * @module
 */
import { limits } from "../base/limits.ts";
import type { Stat } from "../sys/file_system.ts";

/** Known names of hard-linked files, by identity. Bounded: those beyond are left to the verification scan. */
export class Links {
  readonly #paths = new Map<string, Set<string>>();
  #count = 0;

  /** Keeps a name of a file, if it has several. */
  note(path: string, stat: Readonly<Stat>): void {
    if (!isLinked(stat) || this.#count >= limits.linkedPathsMax) return;
    const key = keyOf(stat);
    let paths = this.#paths.get(key);
    if (!paths) this.#paths.set(key, paths = new Set());
    if (paths.has(path)) return;
    paths.add(path);
    this.#count++;
  }

  /** Other names of this file, as far as they are known. Some may not name it any more: see {@linkcode forget}. */
  others(path: string, stat: Readonly<Stat>): string[] {
    if (!isLinked(stat)) return [];
    return [...this.#paths.get(keyOf(stat)) ?? []].filter((other) => other !== path);
  }

  /** The path does not name this file any more. */
  forget(path: string, stat: Readonly<Stat>): void {
    const key = keyOf(stat);
    const paths = this.#paths.get(key);
    if (!paths?.delete(path)) return;
    this.#count--;
    if (paths.size === 0) this.#paths.delete(key);
  }
}

function isLinked({ kind, linkCount }: Readonly<Stat>): boolean {
  return kind === "file" && linkCount > 1;
}

function keyOf({ dev, ino }: Readonly<Stat>): string {
  return `${dev}:${ino}`;
}
