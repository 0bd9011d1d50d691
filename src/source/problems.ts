/**
 * What could not be replicated, by path, with the reason: named in `status`, counted, never silent.
 * @module
 */
import type { Problem } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { isWithin } from "../base/path.ts";

/** A problem and since when it stands. */
export interface StandingProblem extends Problem {
  sinceMs: number;
}

/** Problems of one lane. Bounded: further ones are counted only. */
export class Problems {
  readonly #byPath = new Map<string, StandingProblem>();
  #unlisted = 0;

  /** All that stand, and those that only were counted. */
  get count(): number {
    return this.#byPath.size + this.#unlisted;
  }

  /** The problem of a path, if it is known to have one. */
  of(path: string): StandingProblem | undefined {
    return this.#byPath.get(path);
  }

  list(): StandingProblem[] {
    return [...this.#byPath.values()];
  }

  add(problem: Problem, nowMs: number): void {
    const known = this.#byPath.get(problem.path);
    if (!known && this.#byPath.size >= limits.problemsMax) this.#unlisted++;
    else this.#byPath.set(problem.path, { ...problem, sinceMs: known?.sinceMs ?? nowMs });
  }

  /** The path was replicated after all, or is gone. @param op Only a problem of this op is over. @default any */
  clear(path: string, op?: string): void {
    if (this.#byPath.size === 0 || (op !== undefined && this.#byPath.get(path)?.op !== op)) return;
    this.#byPath.delete(path);
  }

  /** The path and everything below is gone, or has another name. */
  clearFrom(path: string): void {
    for (const each of this.#byPath.keys()) if (isWithin(each, path)) this.#byPath.delete(each);
  }

  clearAll(): void {
    this.#byPath.clear();
    this.#unlisted = 0;
  }
}
