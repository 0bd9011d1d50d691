/**
 * Counters and meters for `status` and progress.
 * @module
 */

/** Counts by name, for example ops by kind. Exact; below 2^53 each. */
export class CountTable {
  readonly #counts = new Map<string, number>();

  /** Adds to a count. */
  add(name: string, count = 1): void {
    this.#counts.set(name, this.get(name) + count);
  }

  /** A count; 0 if nothing was ever added. */
  get(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  /** Sum of all counts. */
  get total(): number {
    let total = 0;
    for (const count of this.#counts.values()) total += count;
    return total;
  }

  /** Counts that are not 0, as `status --json` shows them. */
  toJSON(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }
}

/** What {@linkcode RateMeter} remembers of the past. */
const SAMPLES_MAX = 32;

/** Measures the growth of a number a second over the last few seconds. */
export class RateMeter {
  readonly #windowMs: number;
  readonly #samples: { atMs: number; value: number }[] = [];

  /** @param windowMs How far back it looks. */
  constructor(windowMs = 5_000) {
    this.#windowMs = windowMs;
  }

  /** Takes the value that the number has at a (monotonic) time. Calls closer together than a 32nd of the window merge. */
  sample(atMs: number, value: number): void {
    const samples = this.#samples;
    const beforeLast = samples.at(-2);
    if (beforeLast !== undefined && atMs - beforeLast.atMs < this.#windowMs / SAMPLES_MAX) samples.pop();
    samples.push({ atMs, value });
    while (samples.length > SAMPLES_MAX || (samples.length > 2 && samples[1].atMs <= atMs - this.#windowMs)) {
      samples.shift();
    }
  }

  /** Growth a second over the window, or `undefined` before two samples are there. */
  get perSecond(): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return undefined;
    return (last.value - first.value) * 1_000 / (last.atMs - first.atMs);
  }
}
