/**
 * Time, behind an interface so that tests and simulations own it.
 * @module
 */
import { setImmediate } from "node:timers";

/** Where the program gets its time from. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. For people and for retention, never for order. */
  nowMs(): number;
  /** Monotonic milliseconds with fractions. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once (without throwing) when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The machine's clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const stop = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", stop);
        resolve();
      }, ms);
      signal?.addEventListener("abort", stop, { once: true });
    });
  },
};

/** Lets pending events, timers and I/O of this thread run once. */
export function yieldToEvents(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The loop looks at its sockets when it goes to sleep, and otherwise in every 61st turn only. */
const TURNS_UNTIL_SOCKETS = 64;

/**
 * Lets everything pending run once, and what waits at sockets too; takes about 0.3 ms. {@linkcode yieldToEvents} keeps
 * the loop turning, so that who yields by it alone hears nothing from a socket for dozens of slices of work.
 */
export async function yieldToSockets(): Promise<void> {
  for (let turn = 0; turn < TURNS_UNTIL_SOCKETS; turn++) await yieldToEvents();
}
