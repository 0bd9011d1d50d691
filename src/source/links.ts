/**
 * Names of files (symbolic links, too) that have several: an event names one of them, and what happened shows at all. A file that has more
 * names than are known may be written through one outside the tree, of which nothing is heard: see
 * {@linkcode Links.outside}.
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";
import type { Stat } from "../sys/file_system.ts";
import { identity } from "./batch.ts";

/** A file with several names. */
interface LinkedFile extends Pick<Stat, "dev" | "ino"> {
  readonly paths: Set<string>;
  /** Names that it had when it was last looked at, known or not. */
  linkCount: number;
}

/** A known name of a file that has others. */
export interface OutsideName extends Pick<Stat, "dev" | "ino"> {
  path: string;
}

/** Known names of hard-linked files, by identity. Bounded: those beyond are left to the verification scan. */
export class Links {
  readonly #files = new Map<string, LinkedFile>();
  /** Files with more names than are known. */
  readonly #outside = new Set<string>();
  #count = 0;
  /** Since when there are files with more names than are known, wall clock. */
  outsideSinceMs = 0;

  /** Files with more names than are known: one or more of them lie outside the tree, or were not met yet. */
  get outsideCount(): number {
    return this.#outside.size;
  }

  /** Keeps a name of a file, if it has several. */
  note(path: string, stat: Readonly<Stat>): void {
    if (!isLinked(stat) || this.#count >= limits.linkedPathsMax) return;
    const key = identity(stat);
    let file = this.#files.get(key);
    if (!file) this.#files.set(key, file = { dev: stat.dev, ino: stat.ino, paths: new Set(), linkCount: 0 });
    if (!file.paths.has(path)) {
      file.paths.add(path);
      this.#count++;
    }
    file.linkCount = stat.linkCount;
    this.#judge(key, file);
  }

  /** Other names of this file, as far as they are known. Some may not name it any more: see {@linkcode forget}. */
  others(path: string, stat: Readonly<Stat>): string[] {
    if (!isLinked(stat)) return [];
    return [...this.#files.get(identity(stat))?.paths ?? []].filter((other) => other !== path);
  }

  /** The path does not name this file any more. */
  forget(path: string, stat: Readonly<Pick<Stat, "dev" | "ino">>): void {
    const key = identity(stat);
    const file = this.#files.get(key);
    if (!file?.paths.delete(path)) return;
    this.#count--;
    if (file.paths.size > 0) return this.#judge(key, file);
    this.#files.delete(key);
    this.#outside.delete(key);
  }

  /** A name each of files with names outside, `max` of them; the next call begins with others. */
  outside(max: number): OutsideName[] {
    const names: OutsideName[] = [];
    for (const key of [...this.#outside].slice(0, max)) {
      this.#outside.delete(key);
      this.#outside.add(key);
      const { dev, ino, paths } = this.#files.get(key)!;
      const [path] = paths;
      names.push({ path, dev, ino });
    }
    return names;
  }

  #judge(key: string, { paths, linkCount }: LinkedFile): void {
    if (linkCount <= paths.size) this.#outside.delete(key);
    else if (!this.#outside.has(key)) {
      if (this.#outside.size === 0) this.outsideSinceMs = systemClock.nowMs();
      this.#outside.add(key);
    }
  }
}

/** Whether a file, or a symbolic link, has several names. */
export function isLinked({ kind, linkCount }: Readonly<Stat>): boolean {
  return kind !== "directory" && linkCount > 1;
}
