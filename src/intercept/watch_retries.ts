/**
 * Tries now and then to watch what could not be watched, so that a gap ends when its cause does.
 * @module
 */
import { limits } from "../base/limits.ts";
import type { UnheardNodes } from "./unheard.ts";
import { REFUSED, type WatchTree } from "./watch_tree.ts";

/** What trying needs. */
export interface WatchRetriesOptions {
  unheard: UnheardNodes;
  /** Looks at a place where a directory may be, and watches it. */
  adopt: (parent: number, name: string) => void;
}

/** Tries of one tree. */
export class WatchRetries {
  readonly #tree: WatchTree;
  readonly #options: WatchRetriesOptions;
  /** Nodes to be tried; the last comes first. */
  #nodes: number[] = [];
  #begunMs = performance.now();
  /** Whether a place is being looked at because of a try, and not because something was heard. */
  isAtWork = false;

  constructor(tree: WatchTree, options: WatchRetriesOptions) {
    this.#tree = tree;
    this.#options = options;
  }

  /** Whether there are some to be tried now. */
  get areDue(): boolean {
    return this.#nodes.length > 0;
  }

  /** Tries some, until `endMs` of `performance.now()`. */
  work(endMs: number): void {
    const nowMs = performance.now();
    if (!this.areDue && nowMs - this.#begunMs >= limits.pollEveryMs) {
      this.#begunMs = nowMs;
      this.#nodes = this.#options.unheard.chooseForRetry();
    }
    this.isAtWork = true;
    while (this.areDue && performance.now() < endMs) this.#try(this.#nodes.pop()!);
    this.isAtWork = false;
  }

  #try(node: number): void {
    if (!this.#isRefused(node) || this.#tree.inLimbo(node)) return;
    const { unheard, adopt } = this.#options;
    const metLimit = unheard.of("watch-limit").has(node);
    adopt(this.#tree.parent(node), this.#tree.name(node));
    // Where one meets the limit all do. Once one does not, the others may not either.
    if (!metLimit) return;
    if (this.#isRefused(node)) this.#nodes = [];
    else if (!this.areDue) this.#nodes = [...unheard.of("watch-limit")].reverse();
  }

  #isRefused(node: number): boolean {
    return this.#tree.exists(node) && this.#tree.wd(node) === REFUSED;
  }
}
