/**
 * Large files waiting to be sent, and those on their way: a bounded number at a time, live ones first, each path once.
 * @module
 */
import { limits } from "../base/limits.ts";
import type { Priority } from "./lane.ts";
import type { Tickets } from "./tickets.ts";

interface Wanted {
  path: string;
  priority: Priority;
  hold: Disposable;
}

/** How files are sent, and what comes after. */
export interface TransfersOptions {
  tickets: Tickets;
  /** Sends one file; never throws. */
  send: (path: string, priority: Priority) => Promise<void>;
  /** The path became dirty while it was under way. */
  onDirtyAgain: (path: string) => void;
  onIdle: () => void;
}

/** Large files of one lane. */
export class Transfers {
  readonly #options: TransfersOptions;
  readonly #waiting: Record<Priority, Map<string, Wanted>> = { live: new Map(), mirror: new Map() };
  readonly #running = new Map<string, { again: boolean }>();

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

  isRunning(path: string): boolean {
    return this.#running.has(path);
  }

  /** Asks for a file to be sent. One that is on its way is looked at again afterwards. */
  add(path: string, priority: Priority): void {
    const running = this.#running.get(path);
    if (running) {
      running.again = true;
      return;
    }
    if (this.#waiting.live.has(path) || (priority === "mirror" && this.#waiting.mirror.has(path))) return;
    // A live change of a file that the mirror would send later: it goes now.
    const earlier = this.#waiting.mirror.get(path);
    this.#waiting.mirror.delete(path);
    const hold = earlier?.hold ?? this.#options.tickets.hold(this.#options.tickets.take());
    this.#waiting[priority].set(path, { path, priority, hold });
    this.#start();
  }

  /** Forgets what waits; what is on its way ends by itself. */
  clear(): void {
    for (const waiting of Object.values(this.#waiting)) {
      for (const { hold } of waiting.values()) hold[Symbol.dispose]();
      waiting.clear();
    }
  }

  #start(): void {
    while (this.#running.size < limits.transfersMax) {
      const wanted = first(this.#waiting.live) ?? first(this.#waiting.mirror);
      if (!wanted) return;
      this.#waiting[wanted.priority].delete(wanted.path);
      this.#run(wanted);
    }
  }

  async #run({ path, priority, hold }: Wanted): Promise<void> {
    const running = { again: false };
    this.#running.set(path, running);
    await this.#options.send(path, priority);
    this.#running.delete(path);
    if (running.again) this.#options.onDirtyAgain(path);
    hold[Symbol.dispose]();
    this.#start();
    this.#options.onIdle();
  }
}

function first(waiting: Map<string, Wanted>): Wanted | undefined {
  for (const wanted of waiting.values()) return wanted;
}
