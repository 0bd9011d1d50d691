/**
 * Looks regularly at the parts of a tree that nothing is heard of: directories beyond the watch limit, unreadable ones, …
 * (intercept/gap.ts). One part after the other, at the pace of the mirror, and never more than a tenth of the time.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";

/** What polling needs. */
export interface PollingOptions {
  /** Directories that are not heard of, each with everything below. */
  unheard: () => Iterable<string>;
  /** Has everything at and below this path looked at. Resolves when that was done, or never. */
  look: (path: string) => Promise<unknown>;
  /** Has single files looked at of which nothing may tell: what could not be read, what has names outside. */
  lookAtUnheardFiles: () => void;
  clock: Clock;
}

/** Polls until its signal aborts. */
export class Polling {
  readonly #options: PollingOptions;

  constructor(options: PollingOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, look } = this.#options;
    const stopped = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    let pauseMs: number = limits.pollEveryMs;
    while (!signal.aborted) {
      await clock.sleep(pauseMs, signal);
      const begunMs = clock.monotonicMs();
      this.#options.lookAtUnheardFiles();
      for (const path of this.#paths()) {
        if (signal.aborted) return;
        await Promise.race([look(path), stopped]);
      }
      pauseMs = Math.max(limits.pollEveryMs, (clock.monotonicMs() - begunMs) * limits.pollRestFactor);
    }
  }

  /** Has all of it looked at now, without waiting for the end: what waits for earlier work waits for it. */
  lookNow(): void {
    this.#options.lookAtUnheardFiles();
    for (const path of this.#paths()) this.#options.look(path);
  }

  /** What is not heard of; `""` for everything if that is too much to be looked at one by one. */
  #paths(): string[] {
    const paths: string[] = [];
    for (const path of this.#options.unheard()) {
      if (path === "" || paths.length === limits.polledPathsMax) return [""];
      paths.push(path);
    }
    return paths;
  }
}
