/**
 * Time that passes when it is told to. While it is installed, the timers, clocks and chance of this thread are its own:
 * what is simulated runs the same way each time, and pauses of minutes take none.
 * @module
 */
import { type Clock, yieldToEvents } from "../../src/base/clock.ts";
import { Random } from "./random.ts";

interface Timer {
  id: number;
  dueMs: number;
  run: () => void;
}

/** What asking for the time takes, in milliseconds: so that work which keeps its slices short lets others in. */
const ASKING_MS = 0.02;
const START_MS = Date.UTC(2026, 0, 1);

/** Simulated time. */
export class SimulatedTime implements Disposable {
  #nowMs = 0;
  #ids = 0;
  #timers: Timer[] = [];
  readonly #real = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    now: performance.now,
    dateNow: Date.now,
    random: Math.random,
  };
  readonly clock: Clock = {
    nowMs: () => START_MS + this.#nowMs,
    monotonicMs: () => this.#nowMs,
    sleep: (ms, signal) => this.#sleep(ms, signal),
  };

  /** Takes the place of the machine's time. @param seed Of `Math.random`. */
  constructor(seed: number) {
    const random = new Random(seed);
    Object.assign(globalThis, {
      setTimeout: (run: () => void, ms = 0) => this.#add(run, ms),
      clearTimeout: (id: number | undefined) => this.#remove(id),
    });
    performance.now = () => this.#nowMs += ASKING_MS;
    Date.now = () => START_MS + Math.floor(this.#nowMs);
    Math.random = () => random.next();
  }

  /** Lets `ms` pass, and all that is due happen, in order; each moment has its turns of the event loop. */
  async pass(ms: number, turns = 1): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      for (let turn = 0; turn < turns; turn++) await yieldToEvents();
      const next = this.#takeDue(endMs);
      if (!next) break;
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.run();
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
    await yieldToEvents();
  }

  /** Gives the machine its time back. */
  [Symbol.dispose](): void {
    const { setTimeout, clearTimeout, now, dateNow, random } = this.#real;
    Object.assign(globalThis, { setTimeout, clearTimeout });
    performance.now = now;
    Date.now = dateNow;
    Math.random = random;
  }

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const end = () => {
        this.#remove(id);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const id = this.#add(end, ms);
      signal?.addEventListener("abort", end, { once: true });
    });
  }

  #add(run: () => void, ms: number): number {
    const timer = { id: ++this.#ids, dueMs: this.#nowMs + Math.max(0, ms), run };
    this.#timers.push(timer);
    return timer.id;
  }

  #remove(id: number | undefined): void {
    this.#timers = this.#timers.filter((timer) => timer.id !== id);
  }

  #takeDue(endMs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= endMs && (!first || timer.dueMs < first.dueMs)) first = timer;
    }
    if (first) this.#remove(first.id);
    return first;
  }
}
