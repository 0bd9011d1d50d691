/**
 * Renames and removals that wait in a stacked-up queue, found by the names that they are about. They answer two
 * questions: whether a name is still what it was when an older op was queued, and where the data of an op is now.
 * @module
 */
import { isWithin, movePath, parentPath } from "../base/path.ts";
import type { DepartureOp } from "../ops/stacked.ts";

/** A departure with its place in the queue. */
export type Departure = DepartureOp & { readonly sequence: number };

/** Where the contents of a file are on the source now. */
export type Source =
  | { state: "at"; path: string }
  /** It has no name left: nothing of it can be read, and nothing of it is missed in the end. */
  | { state: "gone" }
  /** It has a name which nobody told: what changed cannot be told from the queue alone. */
  | { state: "hidden" };

/** Departures that wait, in order. */
export class Departures {
  readonly #byName = new Map<string, Departure | Line>();

  /** Adds one that is newer than all others. */
  add(op: Departure): void {
    for (const name of namesOf(op)) {
      const waiting = this.#byName.get(name);
      if (waiting === undefined) this.#byName.set(name, op);
      else if (waiting instanceof Line) waiting.add(op);
      else this.#byName.set(name, new Line(waiting, op));
    }
  }

  /** Forgets one that is older than all others. */
  removeOldest(op: Departure): void {
    for (const name of namesOf(op)) {
      const waiting = this.#byName.get(name);
      if (waiting instanceof Line && waiting.removeOldest()) continue;
      this.#byName.delete(name);
    }
  }

  clear(): void {
    this.#byName.clear();
  }

  /** Whether after this place in the queue a path, or a directory above it, came to be another one or none. */
  isOtherSince(path: string, sequence: number): boolean {
    return this.#firstAfter(path, sequence) !== undefined;
  }

  /** Where what had this path at this place in the queue is now. */
  source(path: string, sequence: number): Source {
    for (;;) {
      const op = this.#firstAfter(path, sequence);
      if (op === undefined) return { state: "at", path };
      const next = pathAfter(path, op);
      if (next === undefined) return { state: "gone" };
      if (next === "") return { state: "hidden" };
      path = next;
      sequence = op.sequence;
    }
  }

  /** The oldest departure after this place of the path or of a directory above it. */
  #firstAfter(path: string, sequence: number): Departure | undefined {
    let first: Departure | undefined;
    if (this.#byName.size === 0) return undefined;
    for (let name = path; name !== ""; name = parentPath(name)) {
      const waiting = this.#byName.get(name);
      const op = waiting instanceof Line ? waiting.firstAfter(sequence) : waiting;
      if (op === undefined || op.sequence <= sequence) continue;
      if (first === undefined || op.sequence < first.sequence) first = op;
    }
    return first;
  }
}

function namesOf(op: DepartureOp): string[] {
  return op.kind === "rename" ? [op.path, op.to] : [op.path];
}

/** The name after a departure of what had `path` before; `""` if it is not known, `undefined` if there is none. */
function pathAfter(path: string, op: DepartureOp): string | undefined {
  if (op.kind !== "rename") return op.kind === "unlink" ? op.survivor : undefined;
  if (isWithin(path, op.path)) return movePath(path, op.path, op.to);
  return op.exchange ? movePath(path, op.to, op.path) : op.survivor;
}

/** Departures of one name, oldest first. */
class Line {
  #ops: Departure[];
  /** Those before this index have left. */
  #start = 0;

  constructor(...ops: Departure[]) {
    this.#ops = ops;
  }

  add(op: Departure): void {
    this.#ops.push(op);
  }

  /** Whether any is left then. */
  removeOldest(): boolean {
    this.#start++;
    // Not one by one: moving a long array for each would take the square of its length.
    if (this.#start * 2 > this.#ops.length) {
      this.#ops = this.#ops.slice(this.#start);
      this.#start = 0;
    }
    return this.#ops.length > this.#start;
  }

  firstAfter(sequence: number): Departure | undefined {
    let low = this.#start;
    let high = this.#ops.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ops[middle].sequence > sequence) high = middle;
      else low = middle + 1;
    }
    return this.#ops[low];
  }
}
