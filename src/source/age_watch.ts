/**
 * Files that will enter or leave the set by growing older. A bounded number of them is remembered, those that are due
 * first; of all others only the time is known when the first of them is due: then everything is looked at again.
 * @module
 */
import { limits } from "../base/limits.ts";

/** What became due. */
export interface DueAges {
  paths: string[];
  /** Whether files that were not remembered may be due, too. */
  isMore: boolean;
}

/** Times at which files change sides. */
export class AgeWatch {
  readonly #max: number;
  readonly #dueMs = new Map<string, number>();
  /** Earliest time at which a file that is not remembered may be due. */
  #forgottenDueMs = Infinity;

  constructor(max: number = limits.agesWatchedMax) {
    this.#max = max;
  }

  /** A file will change sides at this time of the wall clock. */
  note(path: string, atMs: number): void {
    if (this.#dueMs.has(path) || this.#dueMs.size < this.#max) this.#dueMs.set(path, atMs);
    else if (atMs < this.#forgottenDueMs) this.#makeRoom(path, atMs);
  }

  /** Takes what is due by now. */
  take(nowMs: number): DueAges {
    const paths: string[] = [];
    for (const [path, atMs] of this.#dueMs) if (atMs <= nowMs) paths.push(path);
    for (const path of paths) this.#dueMs.delete(path);
    const isMore = this.#forgottenDueMs <= nowMs;
    // The scan that follows tells of all that are still to come.
    if (isMore) this.#forgottenDueMs = Infinity;
    return { paths, isMore };
  }

  /** Forgets all: the rules changed, and everything is looked at again. */
  clear(): void {
    this.#dueMs.clear();
    this.#forgottenDueMs = Infinity;
  }

  /** Forgets the later half, so that what is due sooner is known by name. */
  #makeRoom(path: string, atMs: number): void {
    const times = Float64Array.from([...this.#dueMs.values(), atMs]).sort();
    const middleMs = times[times.length >> 1];
    for (const [each, eachMs] of this.#dueMs) if (eachMs >= middleMs) this.#forget(each, eachMs);
    if (atMs < middleMs) this.#dueMs.set(path, atMs);
    else this.#forget(path, atMs);
  }

  #forget(path: string, atMs: number): void {
    this.#dueMs.delete(path);
    this.#forgottenDueMs = Math.min(this.#forgottenDueMs, atMs);
  }
}
