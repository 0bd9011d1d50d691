/**
 * Paths that wait because a program on the target uses a file (target/open_files.ts): the target refused an op there,
 * and says when it is worth trying again. Until then nothing is sent of what is here, however often it changes; then
 * what is so by then is sent.
 *
 * ```
 * refused ─▶ waiting ── free ──▶ trying ── acked, or nothing to send ──▶ over
 *               ▲                  │
 *               └──── refused ─────┘
 * ```
 *
 * What must hold here:
 * - What an op would have moved or replaced waits with it: both names of a rename, and whatever took the place of a file
 *   that waits, or was made of it. They wait *behind* it, and are looked at again with it.
 * - Nothing of this is saved: a new process finds by its first scan that the target differs, and is refused anew.
 * @module
 */
import { limits } from "../base/limits.ts";
import { isWithin, parentPath } from "../base/path.ts";
import type { PendingStatus } from "../base/status.ts";
import { type Op, opPaths } from "../ops/op.ts";
import type { Message } from "../wire/message.ts";

/** A path that waits. */
interface Waiting {
  path: string;
  reason: string;
  sinceMs: number;
  /** Grows from path to path. */
  number: number;
  /** The path that it waits for; `undefined` if it is the target's word that it waits for. */
  behind: string | undefined;
  /** Whether everything below waits, too. */
  coversBelow: boolean;
  /** Whether the target was asked in this session to say when it is free. */
  isAwaited: boolean;
  /** Number of the try that goes on, 0 while it waits. */
  attempt: number;
  /** Sequence of the op that tries it, 0 before. */
  sequence: number;
}

/** What waiting needs of its replicator. */
export interface PendingOptions {
  /** Sends a message behind the ops pushed so far. */
  post: (message: Message) => void;
  /** Looks at a path again, and everything below. */
  lookAgain: (path: string) => void;
  /** Resolves when everything that is to be looked at now was, and what was sent for it is acked. */
  reached: () => Promise<unknown>;
  /** Wall clock. */
  nowMs: () => number;
  /** Some do not wait any more. */
  onChange: () => void;
}

/** Paths of one lane that wait. Bounded by `limits.awaitedPathsMax`. */
export class PendingPaths {
  readonly #options: PendingOptions;
  readonly #byPath = new Map<string, Waiting>();
  #lastNumber = 0;
  #lastAttempt = 0;
  /** All failures up to here were taken. */
  #heardSequence = 0;
  /** Whether the target refuses more than it must, since it was not told that we know. */
  #mustTell = false;

  constructor(options: PendingOptions) {
    this.#options = options;
  }

  /** Paths that wait or are tried again. */
  get size(): number {
    return this.#byPath.size;
  }

  /** Number of the one that waits for the shortest time; see {@linkcode hasUpTo}. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  /** Whether any up to this number waits. */
  hasUpTo(number: number): boolean {
    for (const waiting of this.#byPath.values()) if (waiting.number <= number) return true;
    return false;
  }

  /** Whether nothing is to be sent of a path now: it waits, or something above it does with all below. */
  covers(path: string): boolean {
    return this.#byPath.size > 0 && this.#coverOf(path) !== undefined;
  }

  /** A path below this one that waits, so that this one can be neither moved nor removed. */
  below(path: string): string | undefined {
    for (const { path: each, attempt } of this.#byPath.values()) {
      if (attempt === 0 && each !== path && isWithin(each, path)) return each;
    }
    return undefined;
  }

  /** Why a path waits, and since when; `undefined` if it does not. One that is tried again counts. */
  of(path: string): PendingStatus | undefined {
    const waiting = this.#byPath.get(path) ?? this.#coverOf(path);
    return waiting && statusOf(waiting);
  }

  /** Some of them, those that have waited longest first. */
  list(): PendingStatus[] {
    return [...this.#byPath.values()].slice(0, limits.openFilesShown).map(statusOf);
  }

  /**
   * The target refused an op.
   *
   * @param to New name, if it was a rename.
   * @returns `false` if there is no room to wait for it.
   */
  refused({ path, op, reason }: { path: string; op: string; reason: string }, to?: string): boolean {
    this.#mustTell = true;
    // An op on the directory itself says nothing of what is in it.
    const coversBelow = op !== "rmdir" && op !== "attributes";
    const isNoted = this.#add(path, { reason, behind: undefined, coversBelow });
    if (isNoted && to !== undefined) this.#add(to, { reason, behind: path, coversBelow });
    return isNoted;
  }

  /** A path must wait since another one does. */
  addBehind(path: string, behind: string, { coversBelow }: { coversBelow: boolean }): void {
    this.#add(path, { reason: this.of(behind)?.reason ?? "", behind, coversBelow });
  }

  /** An op was pushed: of what is tried again its ack tells. */
  notePushed(op: Op, sequence: number): void {
    if (this.#byPath.size === 0 || op.kind === "open") return;
    for (const path of opPaths(op)) {
      const waiting = this.#byPath.get(path);
      if (waiting && waiting.attempt > 0) waiting.sequence = sequence;
    }
  }

  /** All failures up to `sequence` were taken. */
  heard(sequence: number): void {
    this.#heardSequence = sequence;
    this.#endWhere(({ sequence: own }) => own > 0 && own <= sequence);
  }

  /** A session begins: the target has forgotten what we wait for. */
  beginSession(): void {
    for (const waiting of this.#byPath.values()) waiting.isAwaited = false;
    this.tell();
  }

  /** Tells the target what we wait for, once nothing that it does not know of is on its way. */
  tell(): void {
    const paths: string[] = [];
    for (const waiting of this.#byPath.values()) {
      if (waiting.isAwaited || waiting.attempt > 0 || waiting.behind !== undefined) continue;
      waiting.isAwaited = true;
      paths.push(waiting.path);
    }
    if (paths.length === 0 && !this.#mustTell) return;
    this.#mustTell = false;
    const sequence = this.#heardSequence;
    do {
      this.#options.post({ type: "await", sequence, paths: takeSome(paths) });
    } while (paths.length > 0);
  }

  /** The target says that these may be tried again. */
  free(paths: string[]): void {
    const free = new Set(paths);
    const attempt = ++this.#lastAttempt;
    const tried: string[] = [];
    for (const waiting of this.#byPath.values()) {
      if (waiting.attempt > 0 || !free.has(this.#rootOf(waiting))) continue;
      Object.assign(waiting, { attempt, sequence: 0, isAwaited: false });
      tried.push(waiting.path);
    }
    if (tried.length === 0) return;
    for (const path of tried) this.#options.lookAgain(path);
    const end = () => this.#endWhere((waiting) => waiting.attempt === attempt);
    void this.#options.reached().then(end);
  }

  /** A stream starts over: what is so now will be seen anew. */
  clear(): void {
    this.#byPath.clear();
    this.#mustTell = false;
    this.#heardSequence = 0;
    this.#options.onChange();
  }

  #add(
    path: string,
    { reason, behind, coversBelow }: Pick<Waiting, "reason" | "behind" | "coversBelow">,
  ): boolean {
    const known = this.#byPath.get(path);
    if (known) {
      if (known.attempt === 0) return true;
      Object.assign(known, { attempt: 0, sequence: 0, reason, behind, coversBelow, isAwaited: false });
      return true;
    }
    if (this.covers(path)) return true;
    if (this.#byPath.size >= limits.awaitedPathsMax) return false;
    this.#byPath.set(path, {
      path,
      reason,
      sinceMs: this.#options.nowMs(),
      number: ++this.#lastNumber,
      behind,
      coversBelow,
      isAwaited: false,
      attempt: 0,
      sequence: 0,
    });
    return true;
  }

  #coverOf(path: string): Waiting | undefined {
    const own = this.#byPath.get(path);
    if (own && own.attempt === 0) return own;
    for (let above = path; above !== "";) {
      above = parentPath(above);
      const waiting = this.#byPath.get(above);
      if (waiting && waiting.attempt === 0 && waiting.coversBelow) return waiting;
    }
    return undefined;
  }

  /** The path that the target was told of. */
  #rootOf(waiting: Waiting): string {
    const seen = new Set<string>();
    for (let at = waiting; at.behind !== undefined && !seen.has(at.path);) {
      seen.add(at.path);
      const next = this.#byPath.get(at.behind);
      if (!next) return at.behind;
      at = next;
      waiting = next;
    }
    return waiting.path;
  }

  #endWhere(isOver: (waiting: Waiting) => boolean): void {
    let count = 0;
    for (const [path, waiting] of this.#byPath) {
      if (waiting.attempt === 0 || !isOver(waiting)) continue;
      this.#byPath.delete(path);
      count++;
    }
    if (count > 0) this.#options.onChange();
  }
}

function statusOf({ path, reason, sinceMs }: Waiting): PendingStatus {
  return { path, reason, since: new Date(sinceMs).toISOString() };
}

/** Takes as many paths out as one message holds. */
function takeSome(paths: string[]): string[] {
  let size = 0;
  let count = 0;
  while (count < paths.length && size < limits.answerChunkSize) size += 3 * paths[count++].length + 2;
  return paths.splice(0, count);
}
