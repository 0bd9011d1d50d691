/**
 * Waiting for a state instead of sleeping.
 * @module
 */

/** How long to wait, and for what. */
export interface WaitOptions {
  /** What is waited for, as the error message says it: "the file on the target". */
  what: string;
  /** @default {10_000} */
  timeoutMs?: number;
  /** Pause between two looks, in milliseconds. @default {5} */
  intervalMs?: number;
}

/**
 * Looks again and again until `condition` returns something other than `undefined`, `null` or `false`, and returns that.
 * A condition that throws counts as not yet.
 *
 * @throws {Error} If the time is over; what the last look found or threw is in the message.
 */
export async function waitFor<T>(
  condition: () => T | undefined | null | false | Promise<T | undefined | null | false>,
  { what, timeoutMs = 10_000, intervalMs = 5 }: WaitOptions,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  while (true) {
    let found: unknown;
    try {
      const value = await condition();
      if (value !== undefined && value !== null && value !== false) return value;
      found = value;
    } catch (error) {
      found = error;
    }
    if (performance.now() >= deadline) {
      throw new Error(`Cannot wait for ${what}: not within ${timeoutMs} ms, last ${found}`);
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
