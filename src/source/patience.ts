/**
 * Waiting for a target that may be away or stuck: as long as there is hope, and no longer.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";

/** What is waited for. */
export interface PatienceOptions {
  clock: Clock;
  /** Why the target cannot be reached now, `""` if it can. */
  trouble: () => string;
  /** Whether it can be asked; while it cannot and there is no trouble, it is on its way there (mirroring). */
  isReady: () => boolean;
  settled: (signal: AbortSignal) => Promise<unknown>;
}

/** Pause between two looks. */
const LOOK_MS = 200;

/** Waits for one target. */
export class Patience {
  readonly #options: PatienceOptions;

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  /** Waits until the target can be asked. @returns Why that is not so after `limits.verifyPatienceMs`, else `""`. */
  async reachable(signal: AbortSignal): Promise<string> {
    const { clock, trouble, isReady } = this.#options;
    const watch = this.#watch();
    while (!isReady() || trouble() !== "") {
      if (signal.aborted) return "it was called off";
      if (watch.isOver()) return trouble();
      await clock.sleep(LOOK_MS, signal);
    }
    return "";
  }

  /** Waits until all is settled. @throws {TransientError} If the target was in trouble for `limits.verifyPatienceMs`. */
  async settled(signal: AbortSignal): Promise<void> {
    const { clock, settled, trouble } = this.#options;
    const stop = new AbortController();
    const over = AbortSignal.any([signal, stop.signal]);
    const watch = this.#watch();
    const settling = settled(over).finally(() => stop.abort());
    while (!over.aborted) {
      await clock.sleep(LOOK_MS, over);
      if (!watch.isOver()) continue;
      stop.abort();
      await settling;
      throw new TransientError(`Cannot go on: ${trouble()}`);
    }
    await settling;
  }

  /** Tells whether there was trouble without a pause for as long as one waits. */
  #watch(): { isOver: () => boolean } {
    const { clock, trouble } = this.#options;
    let sinceMs: number | undefined;
    return {
      isOver: () => {
        if (trouble() === "") {
          sinceMs = undefined;
          return false;
        }
        sinceMs ??= clock.monotonicMs();
        return clock.monotonicMs() - sinceMs > limits.verifyPatienceMs;
      },
    };
  }
}
