/**
 * Wakes whoever waits for something to happen.
 * @module
 */

/** One bell, heard by all who wait. */
export class Bell {
  #waiting: (() => void)[] = [];
  #count = 0;
  readonly #onRing: () => void;

  /** @param onRing Called at each ring, too. */
  constructor(onRing: () => void = () => {}) {
    this.#onRing = onRing;
  }

  /** Times that it rang: tells whether something happened while one was not waiting. */
  get count(): number {
    return this.#count;
  }

  ring(): void {
    this.#count++;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
    this.#onRing();
  }

  /** Resolves at the next ring. */
  rung(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
