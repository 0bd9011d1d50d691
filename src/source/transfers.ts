/**
 * Large files waiting to be sent, and those on their way: a bounded number at a time, live ones first, each path once.
 * @module
 */
import { limits } from "../base/limits.ts";
import type { Priority } from "./lane.ts";
import type { Ticket, Tickets } from "./tickets.ts";

interface Wanted {
  path: string;
  priority: Priority;
  /** The oldest of those that it was asked for with. */
  ticket: Ticket;
  /** When it was asked for, as the clock has it. */
  sinceMs: number;
  holds: Disposable[];
}

interface Running {
  wanted: Wanted;
  /** The oldest ticket of those that asked meanwhile. */
  again: Ticket | undefined;
  ended: Promise<void>;
}

/** How files are sent, and what comes after. */
export interface TransfersOptions {
  tickets: Tickets;
  nowMs: () => number;
  /** Sends one file; never throws. */
  send: (path: string, priority: Priority, ticket: Ticket) => Promise<void>;
  /** The path became dirty while it was under way. */
  onDirtyAgain: (path: string, ticket: Ticket) => void;
  onIdle: () => void;
}

/** Large files of one lane. */
export class Transfers {
  readonly #options: TransfersOptions;
  readonly #waiting: Record<Priority, Map<string, Wanted>> = { live: new Map(), mirror: new Map() };
  readonly #running = new Map<string, Running>();

  constructor(options: TransfersOptions) {
    this.#options = options;
  }

  /** Files waiting. */
  get waitingCount(): number {
    return this.#waiting.live.size + this.#waiting.mirror.size;
  }

  /** Files waiting and on their way. */
  get count(): number {
    return this.waitingCount + this.#running.size;
  }

  /** Whether every file that the first look at everything found was sent; others wait for it with ticket 0. */
  get isFirstLookDone(): boolean {
    for (const { wanted } of this.#running.values()) if (wanted.ticket === 0) return false;
    for (const waiting of [this.#waiting.mirror, this.#waiting.live]) {
      for (const { ticket } of waiting.values()) if (ticket === 0) return false;
    }
    return true;
  }

  /** Since when the oldest change waits, or is on its way, that is not the mirror's; `undefined` if there is none. */
  get oldestSinceMs(): number | undefined {
    let oldest: number | undefined = this.#waiting.live.values().next().value?.sinceMs;
    for (const { wanted: { priority, sinceMs } } of this.#running.values()) {
      if (priority === "live") oldest = Math.min(oldest ?? sinceMs, sinceMs);
    }
    return oldest;
  }

  isRunning(path: string): boolean {
    return this.#running.has(path);
  }

  /** Asks for a file to be sent. One that is on its way is looked at again afterwards. */
  add(path: string, priority: Priority, ticket: Ticket): void {
    const running = this.#running.get(path);
    if (running) {
      running.again = Math.min(running.again ?? ticket, ticket);
      running.wanted.holds.push(this.#options.tickets.hold(ticket));
      return;
    }
    const { live, mirror } = this.#waiting;
    const wanted = live.get(path) ?? mirror.get(path) ??
      { path, priority, ticket, sinceMs: this.#options.nowMs(), holds: [] };
    wanted.ticket = Math.min(wanted.ticket, ticket);
    wanted.holds.push(this.#options.tickets.hold(ticket));
    // A live change of a file that the mirror would send later: it goes now.
    if (priority === "live" && wanted.priority === "mirror") {
      wanted.priority = "live";
      wanted.sinceMs = this.#options.nowMs();
    }
    mirror.delete(path);
    this.#waiting[wanted.priority].set(path, wanted);
    this.#start();
  }

  /** Forgets what waits; what is on its way ends by itself. */
  clear(): void {
    for (const waiting of Object.values(this.#waiting)) {
      for (const wanted of waiting.values()) release(wanted);
      waiting.clear();
    }
  }

  /** Forgets what waits, and resolves when nothing is on its way any more. */
  async end(): Promise<void> {
    this.clear();
    while (this.#running.size > 0) {
      await Promise.all([...this.#running.values()].map(({ ended }) => ended));
      this.clear();
    }
  }

  #start(): void {
    while (this.#running.size < limits.transfersMax) {
      const wanted = first(this.#waiting.live) ?? first(this.#waiting.mirror);
      if (!wanted) return;
      this.#waiting[wanted.priority].delete(wanted.path);
      const running: Running = { wanted, again: undefined, ended: Promise.resolve() };
      this.#running.set(wanted.path, running);
      running.ended = this.#run(running);
    }
  }

  async #run(running: Running): Promise<void> {
    const { wanted } = running;
    const { path, priority, ticket } = wanted;
    await this.#options.send(path, priority, ticket);
    this.#running.delete(path);
    if (running.again !== undefined) this.#options.onDirtyAgain(path, running.again);
    release(wanted);
    this.#start();
    this.#options.onIdle();
  }
}

function release({ holds }: Wanted): void {
  for (const hold of holds) hold[Symbol.dispose]();
}

function first(waiting: Map<string, Wanted>): Wanted | undefined {
  for (const wanted of waiting.values()) return wanted;
}
