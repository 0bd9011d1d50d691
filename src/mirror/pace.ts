/**
 * How long work lets others have their turns.
 * @module
 */
import { yieldToEvents, yieldToSockets } from "../base/clock.ts";
import { limits } from "../base/limits.ts";

/** Gives the event loop its turns during long work, and the sockets theirs. */
export class Pace {
  #since = performance.now();
  #heardAt = this.#since;

  /** Yields if the slice is used up. */
  async keep(): Promise<void> {
    const now = performance.now();
    if (now - this.#since < limits.sliceMs) return;
    const hears = now - this.#heardAt >= limits.socketsMs;
    await (hears ? yieldToSockets() : yieldToEvents());
    this.#since = performance.now();
    if (hears) this.#heardAt = this.#since;
  }
}
