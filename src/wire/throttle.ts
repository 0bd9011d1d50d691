/**
 * Lets bytes pass at a rate, over all sessions with one target: what was not used of a moment is lost, but for a burst of
 * `limits.throttleBurstMs`. The rate may be changed at any time.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";

/** One direction of the way to one target. */
export class Throttle {
  /** Bytes a second; `undefined` is as fast as it goes. */
  bytesPerSecond: number | undefined;
  readonly #clock: Pick<Clock, "monotonicMs" | "sleep">;
  /** When everything that passed so far has had its time. */
  #freeAtMs = -Infinity;

  constructor(clock: Pick<Clock, "monotonicMs" | "sleep">, bytesPerSecond?: number) {
    this.#clock = clock;
    this.bytesPerSecond = bytesPerSecond;
  }

  /** Milliseconds for a byte at the least; 0 if nothing holds bytes up. */
  get pace(): number {
    return this.bytesPerSecond === undefined ? 0 : 1_000 / this.bytesPerSecond;
  }

  /** Bytes that go in `ms`, or `most` if those are fewer. */
  bytesIn(ms: number, most = Infinity): number {
    if (this.bytesPerSecond === undefined) return most;
    return Math.min(most, Math.ceil(this.bytesPerSecond * ms / 1_000));
  }

  /** Resolves when so many bytes may pass, or the signal aborts. At once if there is no limit. */
  pass(bytes: number, signal?: AbortSignal): Promise<void> | undefined {
    if (this.bytesPerSecond === undefined) return undefined;
    const nowMs = this.#clock.monotonicMs();
    const beginsMs = Math.max(this.#freeAtMs, nowMs - limits.throttleBurstMs);
    this.#freeAtMs = beginsMs + bytes * this.pace;
    const waitMs = this.#freeAtMs - nowMs;
    return waitMs <= 0 ? undefined : this.#clock.sleep(waitMs, signal);
  }
}
