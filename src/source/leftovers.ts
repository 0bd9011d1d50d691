/**
 * What the target holds and the set has no more: nobody deleted it, so it stays, marked in the index, until somebody
 * asks for its removal or the rules take it in again.
 * @module
 */
import { limits } from "../base/limits.ts";
import { isWithin } from "../base/path.ts";
import type { LeftoverStatus } from "../base/status.ts";
import type { Held } from "../ops/held.ts";
import type { Stat } from "../sys/file_system.ts";
import { type DetectContext, standingOf } from "./detect_context.ts";
import type { Index } from "./index.ts";
import { type Standing, unknownFacts } from "./scope.ts";

/** Keeps the marks of one target's index. */
export class Leftovers {
  readonly #context: DetectContext;

  constructor(context: DetectContext) {
    this.#context = context;
  }

  /** How the entry that the disk has at a path stands. What the target holds there is marked accordingly. */
  standing(path: string, stat: Readonly<Stat> | undefined): Standing {
    const standing = standingOf(path, stat ?? unknownFacts, this.#context);
    const { index } = this.#context;
    if (standing === "out") {
      index.markLeftover(path, true);
      this.#context.solved(path);
    } else if (index.hasLeftovers) index.markLeftover(path, false);
    return standing;
  }

  /** Whether what the target holds stays though the disk has nothing there. */
  stays(path: string, held: Held): boolean {
    if (held.isLeftover) return true;
    if (standingOf(path, held, this.#context) !== "out") return false;
    this.#context.index.markLeftover(path, true);
    return true;
  }
}

/** Nothing is left over. */
export const noLeftovers: LeftoverStatus = { count: 0, paths: [] };

/** Counts leftovers for `status`, not oftener than it makes sense: it takes a walk over the index. */
export class LeftoverCount {
  #status = noLeftovers;
  #takenMs = -Infinity;

  /** As counted lately. */
  take(index: Index): LeftoverStatus {
    if (!index.hasLeftovers) return noLeftovers;
    return performance.now() - this.#takenMs < limits.leftoversCountMs ? this.#status : this.count(index);
  }

  /** As it is now; see {@linkcode leftoversIn}. */
  count(index: Index, paths?: string[]): LeftoverStatus {
    let count = 0;
    const named: string[] = [];
    for (const { path, entryCount } of leftoversIn(index, paths)) {
      count += entryCount;
      if (named.length < limits.leftoversNamedMax) named.push(path);
    }
    const status = { count, paths: named.sort() };
    if (!paths) [this.#status, this.#takenMs] = [status, performance.now()];
    return status;
  }
}

/** Leftovers of an index: all, or those at these paths and below. */
export function* leftoversIn(index: Index, paths?: string[]): Iterable<{ path: string; entryCount: number }> {
  for (const leftover of index.leftovers()) {
    if (!paths || paths.some((above) => isWithin(leftover.path, above))) yield leftover;
  }
}
