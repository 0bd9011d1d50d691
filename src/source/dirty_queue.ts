/**
 * Paths to look at, in the order in which they became dirty. A path that is already waiting waits once: a file
 * rewritten 5,000 times is one entry. This is the stacked-up queue of a watching interceptor: a path, no data.
 * @module
 */
import { isWithin, movePath } from "../base/path.ts";
import { limits } from "../base/limits.ts";

/** Order of arrival; see {@linkcode DirtyQueue.oldestTicket}. */
export type Ticket = number;

/** A path to look at. */
export interface DirtyPath {
  path: string;
  ticket: Ticket;
  /** When it became dirty, for the lag in `status`. */
  sinceMs: number;
}

/** Dirty paths of one lane. */
export class DirtyQueue {
  readonly #paths = new Map<string, DirtyPath>();
  readonly #nextTicket: () => Ticket;

  constructor(nextTicket: () => Ticket) {
    this.#nextTicket = nextTicket;
  }

  get size(): number {
    return this.#paths.size;
  }

  /** Whether a further path would go beyond the bound; then the whole tree is to be looked at instead. */
  get isFull(): boolean {
    return this.#paths.size >= limits.dirtyPathsMax;
  }

  /** Ticket of the oldest path, or `undefined` if none waits. */
  get oldestTicket(): Ticket | undefined {
    return this.#oldest?.ticket;
  }

  /** Since when the oldest path waits. */
  get oldestSinceMs(): number | undefined {
    return this.#oldest?.sinceMs;
  }

  add(path: string, sinceMs: number): void {
    if (!this.#paths.has(path)) this.#paths.set(path, { path, ticket: this.#nextTicket(), sinceMs });
  }

  /** Adds the new names of the paths that wait below a directory that moved: their old names are stale. */
  move(from: string, to: string): void {
    const moved = [...this.#paths.values()].filter(({ path }) => isWithin(path, from) && path !== from);
    for (const { path, sinceMs } of moved) this.add(movePath(path, from, to), sinceMs);
  }

  /** Takes up to `count` paths, oldest first. */
  take(count: number): DirtyPath[] {
    const taken: DirtyPath[] = [];
    for (const dirty of this.#paths.values()) {
      if (taken.length >= count) break;
      taken.push(dirty);
    }
    for (const { path } of taken) this.#paths.delete(path);
    return taken;
  }

  clear(): void {
    this.#paths.clear();
  }

  get #oldest(): DirtyPath | undefined {
    for (const dirty of this.#paths.values()) return dirty;
  }
}
