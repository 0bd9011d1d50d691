/**
 * Hints on their way to the consumer: in the order in which they were heard, each `look` once.
 *
 * A second `look` at the same path says nothing new while the consumer has not been told of the first one, unless a
 * rename stands between them: then the same path may mean another file.
 * @module
 */
import type { Hint } from "./interceptor.ts";

/** Gathers hints for one delivery. */
export class HintBatch {
  #hints: Hint[] = [];
  readonly #looks = new Set<string>();
  readonly #looksBelow = new Set<string>();

  /** Hints gathered. */
  get size(): number {
    return this.#hints.length;
  }

  look(path: string): void {
    if (this.#looks.has(path)) return;
    this.#looks.add(path);
    this.#hints.push({ kind: "look", path });
  }

  lookBelow(path: string, reason: string): void {
    if (this.#looksBelow.has(path)) return;
    this.#looksBelow.add(path);
    this.#hints.push({ kind: "look-below", path, reason });
  }

  moved(from: string, to: string, directory: boolean): void {
    this.#forgetSeen();
    this.#hints.push({ kind: "moved", from, to, directory });
  }

  rootGone(reason: string): void {
    this.#hints.push({ kind: "root-gone", reason });
  }

  /** The hints so far; the batch is empty afterwards. */
  take(): Hint[] {
    const taken = this.#hints;
    this.#hints = [];
    this.#forgetSeen();
    return taken;
  }

  #forgetSeen(): void {
    this.#looks.clear();
    this.#looksBelow.clear();
  }
}
