/**
 * Places of which the consumer was told lately. It looks there later, when a directory may have gone elsewhere and
 * another may have come in its stead: so once a rename is heard, all that it may have met must be looked at again.
 *
 * A place is a directory in which something was told, or one of which everything below was.
 * @module
 */
import { limits } from "../base/limits.ts";
import { isWithin, parentPath } from "../base/path.ts";

/** Places told of within the last `recentlyHeardMs`, or up to twice as long ago. */
export class ToldPlaces {
  #lately = new Places();
  #before = new Places();
  #turnedMs = performance.now();

  /** Something in this directory was told. */
  inside(directory: string): void {
    this.#lately.inside(directory);
  }

  /** Everything below this directory was told. */
  below(directory: string): void {
    this.#lately.below(directory);
  }

  /** Whether anything told of may have been at or below this directory. */
  has(directory: string): boolean {
    return this.#lately.has(directory) || this.#before.has(directory);
  }

  /** Forgets what is long ago. Call now and then. */
  age(nowMs = performance.now()): void {
    if (nowMs - this.#turnedMs < limits.recentlyHeardMs) return;
    this.#turnedMs = nowMs;
    this.#before = this.#lately;
    this.#lately = new Places();
  }
}

class Places {
  readonly #inside = new Set<string>();
  readonly #below = new Set<string>();
  /** Beyond its bound the set counts as holding everything. */
  #isFull = false;

  inside(directory: string): void {
    if (!this.#isFull && this.#inside.size < limits.toldPlacesMax) this.#inside.add(directory);
    else this.#fill();
  }

  below(directory: string): void {
    if (!this.#isFull && this.#below.size < limits.toldPlacesMax) this.#below.add(directory);
    else this.#fill();
  }

  has(directory: string): boolean {
    if (this.#isFull) return true;
    for (let above = directory;; above = parentPath(above)) {
      if (this.#below.has(above)) return true;
      if (above === "") break;
    }
    for (const told of this.#inside) if (isWithin(told, directory)) return true;
    for (const told of this.#below) if (isWithin(told, directory)) return true;
    return false;
  }

  #fill(): void {
    this.#isFull = true;
    this.#inside.clear();
    this.#below.clear();
  }
}
