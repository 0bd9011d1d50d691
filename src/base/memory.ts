/**
 * Keeps the memory of a daemon near what it needs. The engine collects garbage when its own heap asks for it, and most of
 * ours lies outside of that heap (buffers of messages and tables): without help a daemon would for ever be as large as
 * in its first mirror.
 * @module
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { limits } from "./limits.ts";

/** Collects garbage when the process has grown. */
export class MemoryKeeper {
  readonly #collect: () => void;
  readonly #giveBack: () => void;
  readonly #residentBytes: () => number;
  #leastBytes: number;
  #seenBytes = 0;
  #pauseMs: number = limits.memoryCheckMs;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param options.giveBack Gives the system back what was freed, once garbage was collected. @default nobody does
   * @param options.collect For tests, as is `residentBytes`.
   */
  constructor(
    options: { giveBack?: () => void; collect?: () => void; residentBytes?: () => number } = {},
  ) {
    this.#collect = options.collect ?? engineCollector();
    this.#giveBack = options.giveBack ?? (() => {});
    this.#residentBytes = options.residentBytes ?? (() => Deno.memoryUsage().rss);
    this.#leastBytes = this.#residentBytes();
  }

  /** Looks, and collects if the process has grown by more than `limits.memorySlackBytes` since it was smallest. */
  check(): void {
    if (this.#residentBytes() < this.#leastBytes + limits.memorySlackBytes) return;
    this.#collect();
    this.#giveBack();
    // What is left is needed: it is the new least, or every check would collect in vain.
    this.#leastBytes = this.#residentBytes();
  }

  /** Checks from now on: often while the process grows, and ever more rarely while it does not. */
  start(): void {
    this.#timer = setTimeout(() => {
      this.step();
      this.start();
    }, this.#pauseMs);
  }

  /** Checks no more. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  /**
   * Checks, and tells how many milliseconds the next check may wait. Waking up costs more than looking: ten times a
   * second it was most of what an idle daemon did.
   */
  step(): number {
    this.check();
    const residentBytes = this.#residentBytes();
    const hasGrown = residentBytes > this.#seenBytes + GROWTH_BYTES;
    this.#seenBytes = residentBytes;
    return this.#pauseMs = hasGrown
      ? limits.memoryCheckMs
      : Math.min(this.#pauseMs * 2, limits.memoryCheckIdleMs);
  }
}

/** What a process grows by between two checks, at least, when it does something. */
const GROWTH_BYTES = limits.memorySlackBytes / 16;

/** The engine gives its collector away only under a flag. */
function engineCollector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}
