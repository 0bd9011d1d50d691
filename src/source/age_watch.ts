/**
 * Files that will enter or leave the set by growing older. A bounded number of them is remembered, those that are due
 * first; of all others only the time is known when the first of them is due: then everything is looked at again.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";
import type { Hint } from "../intercept/interceptor.ts";

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

  /** When something is due next; `Infinity` if nothing is. */
  get nextDueMs(): number {
    let nextMs = this.#forgottenDueMs;
    for (const atMs of this.#dueMs.values()) if (atMs < nextMs) nextMs = atMs;
    return nextMs;
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

/** What is done with files that changed sides. */
interface AgeLooker {
  take(hints: Hint[]): void;
  verify(): unknown;
}

/** Has files looked at when they changed sides, until the signal aborts. */
export async function lookAtAges({ ages, clock, replicators, signal }: {
  ages: AgeWatch;
  clock: Clock;
  replicators: () => readonly AgeLooker[];
  signal: AbortSignal;
}): Promise<void> {
  let scannedMs = -Infinity;
  let isScanDue = false;
  while (!signal.aborted) {
    const { paths, isMore } = ages.take(clock.nowMs());
    const hints = paths.map((path): Hint => ({ kind: "look", path }));
    if (hints.length > 0) { for (const replicator of replicators()) replicator.take(hints); }
    isScanDue ||= isMore;
    // Looking at everything costs: what is due soon after the last time waits.
    if (isScanDue && clock.monotonicMs() - scannedMs >= limits.ageScanEveryMs) {
      isScanDue = false;
      scannedMs = clock.monotonicMs();
      for (const replicator of replicators()) void replicator.verify();
    }
    const waitMs = ages.nextDueMs - clock.nowMs();
    await clock.sleep(Math.min(Math.max(waitMs, limits.ageTickMinMs), limits.ageTickMs), signal);
  }
}
