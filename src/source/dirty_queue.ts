/**
 * Paths to look at, in the order in which they became dirty. A path that is already waiting waits once: a file
 * rewritten 5,000 times is one entry. This is the stacked-up queue of a watching interceptor: a path, no data.
 * @module
 */
import { isWithin, movePath } from "../base/path.ts";
import { limits } from "../base/limits.ts";
import { type Ticket, Tickets } from "./tickets.ts";

/** A path to look at. */
export interface DirtyPath {
  path: string;
  ticket: Ticket;
  /** When it became dirty, for the lag in `status`. */
  sinceMs: number;
  /** Whether the ticket is that of other work. */
  inherits: boolean;
}

/** Dirty paths of one lane. */
export class DirtyQueue {
  readonly #paths = new Map<string, DirtyPath>();
  readonly #tickets: Tickets;
  /** Tickets of paths that are not in the order of the queue. */
  readonly #inherited = new Tickets();

  constructor(tickets: Tickets) {
    this.#tickets = tickets;
  }

  get size(): number {
    return this.#paths.size;
  }

  /** Whether a further path would go beyond the bound; then the whole tree is to be looked at instead. */
  get isFull(): boolean {
    return this.#paths.size >= limits.dirtyPathsMax;
  }

  /** The oldest ticket of a path, or `undefined` if none waits. */
  get oldestTicket(): Ticket | undefined {
    const oldest = this.#oldest;
    return oldest && Math.min(oldest.ticket, this.#inherited.oldest ?? Infinity);
  }

  /** Since when the oldest path waits. */
  get oldestSinceMs(): number | undefined {
    return this.#oldest?.sinceMs;
  }

  /** @param inherited Ticket of the work that leaves the rest of itself to this path. @default a new one */
  add(path: string, sinceMs: number, inherited?: Ticket): void {
    let dirty = this.#paths.get(path);
    if (!dirty) {
      this.#paths.set(path, dirty = { path, ticket: this.#tickets.take(), sinceMs, inherits: false });
    }
    if (inherited === undefined || inherited >= dirty.ticket) return;
    this.#endOf(dirty);
    this.#inherited.begin(inherited);
    dirty.ticket = inherited;
    dirty.inherits = true;
  }

  /** Adds the new names of the paths that wait below a directory that moved: their old names are stale. */
  move(from: string, to: string, inherited?: Ticket): void {
    const moved = [...this.#paths.values()].filter(({ path }) => isWithin(path, from) && path !== from);
    for (const { path, sinceMs } of moved) this.add(movePath(path, from, to), sinceMs, inherited);
  }

  /** Takes up to `count` paths, oldest first. The caller holds their oldest ticket from then on. */
  take(count: number): DirtyPath[] {
    const taken: DirtyPath[] = [];
    for (const dirty of this.#paths.values()) {
      if (taken.length >= count) break;
      taken.push(dirty);
    }
    for (const dirty of taken) {
      this.#paths.delete(dirty.path);
      this.#endOf(dirty);
    }
    return taken;
  }

  /** Forgets all paths, because everything is about to be looked at. */
  clear(): void {
    for (const dirty of this.#paths.values()) this.#endOf(dirty);
    this.#paths.clear();
  }

  #endOf({ ticket, inherits }: DirtyPath): void {
    if (inherits) this.#inherited.end(ticket);
  }

  get #oldest(): DirtyPath | undefined {
    return this.#paths.values().next().value;
  }
}
