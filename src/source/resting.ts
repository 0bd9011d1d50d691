/**
 * Names that rest before the target loses what it holds there. A rename is heard in halves: whoever acts on the first
 * half alone deletes or overwrites what the second one still needs, and sends it again. So
 *
 * - a name that is *gone* rests for `limits.deletionRestMs` before its deletion is sent;
 * - a name that is *taken* by another file rests until everything heard so far has been looked at, a moment mostly: what
 *   the target holds there may live on under a name that is still to be looked at.
 *
 * Both wait for *quiet*: the interceptor has told everything, all of it was looked at, and no name changed meanwhile.
 * Then nothing that the target holds under a resting name lives on elsewhere. Where it is never quiet, or the
 * interceptor cannot promise it, they go when their time is over, which is short unless renames are under way all the
 * time, and what had been heard until then was looked at.
 *
 * Bounded by `limits.restingMax`; beyond it a name does not rest.
 * @module
 */
import { limits } from "../base/limits.ts";
import type { Ticket, Tickets } from "./tickets.ts";

/** Why a name rests. */
export type RestReason = "gone" | "taken";

/** How sure it is that nothing a resting name holds lives on elsewhere, and what is to be done. */
export type Certainty =
  /** It may well: another directory took its name, and that is to be looked into first. */
  | "kept"
  /** Everything was heard and looked at. */
  | "quiet"
  /** Its time is over, and what was heard until then was looked at. */
  | "pressed";

/** A name that rests. */
export interface RestingName {
  path: string;
  reason: RestReason;
  ticket: Ticket;
  sinceMs: number;
  /** Whether it is the name of a directory that another one took, below which nothing is looked at while it rests. */
  isDirectory: boolean;
  /** Moves that had been found when it began to rest. */
  movesBefore: number;
  /** Keeps its ticket in work: `flush` waits for it. */
  hold: Disposable;
}

/** What resting needs. */
export interface RestingOptions {
  tickets: Tickets;
  /** Monotonic milliseconds. */
  nowMs: () => number;
  /** Makes the interceptor tell everything that happened before the call. @returns Whether that can be promised. */
  hear: () => Promise<boolean>;
  /** The time of a name has come, or what was asked for was heard. */
  onDue: () => void;
}

/** Names whose time was over at a moment go when all that was heard until then was looked at. */
interface Pressing {
  atMs: number;
  /** What is older was heard by then; `undefined` until all of it is. */
  ticket: Ticket | undefined;
}

/** Names of one lane that rest. */
export class Resting {
  readonly #options: RestingOptions;
  readonly #gone = new Map<string, RestingName>();
  readonly #taken = new Map<string, RestingName>();
  #lastGoneAtMs = 0;
  #hurries = 0;
  /** Names with ticket 0: the first look at everything found them, which others wait for. */
  #urgent = 0;
  /** When the last of them came, and how many moves had been found then. */
  #lastUrgent = { atMs: 0, movesBefore: 0 };
  #moves = 0;
  /** Names found changed, moves included. */
  #changes = 0;
  /** What was asked for last, and how many changes had been found then. */
  #hearing: { changes: number; isDone: boolean; isComplete: boolean } | undefined;
  #pressing: Pressing | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: RestingOptions) {
    this.#options = options;
  }

  /** Names that rest. */
  get size(): number {
    return this.#gone.size + this.#taken.size;
  }

  /**
   * Whether what the first look at everything found has rested. While renames go on all the time it rests on as any
   * other name does, and nobody waits for that.
   */
  get isFirstLookDone(): boolean {
    const { atMs, movesBefore } = this.#lastUrgent;
    const hadItsTime = this.#options.nowMs() >= atMs + limits.firstRestMs;
    return this.#urgent === 0 || (hadItsTime && this.#areMovesUnderWay(movesBefore));
  }

  /** Names that are gone. */
  gonePaths(): Iterable<string> {
    return this.#gone.keys();
  }

  has(path: string): boolean {
    return this.#gone.has(path) || this.#taken.has(path);
  }

  /** Lets a name rest; one that rests already goes on. @returns `false` at the bound: then it must be dealt with now. */
  add(path: string, reason: RestReason, ticket: Ticket, isDirectory = false): boolean {
    // What it was looked at for may have gone on since it was heard of.
    this.#changes++;
    const [own, other] = reason === "gone" ? [this.#gone, this.#taken] : [this.#taken, this.#gone];
    const known = own.get(path);
    if (known) {
      known.isDirectory = isDirectory;
      this.#inherit(known, ticket);
      return true;
    }
    if (this.size >= limits.restingMax) return false;
    const before = other.get(path);
    const name: RestingName = {
      path,
      reason,
      isDirectory,
      ticket: Math.min(ticket, before?.ticket ?? ticket),
      // Whether it is gone or taken may change from look to look; how long it waits is counted from the first.
      sinceMs: before?.sinceMs ?? this.#options.nowMs(),
      movesBefore: before?.movesBefore ?? this.#moves,
      hold: this.#options.tickets.hold(Math.min(ticket, before?.ticket ?? ticket)),
    };
    if (before) {
      before.hold[Symbol.dispose]();
      this.#forget(before);
    }
    own.set(path, name);
    if (name.ticket === 0) this.#addUrgent();
    if (reason === "gone") this.#lastGoneAtMs = this.#options.nowMs();
    this.#wakeLater();
    return true;
  }

  /** The name rests no more. Who takes it over disposes of its hold when its work is done, so that nobody is forgotten. */
  drop(path: string): RestingName | undefined {
    const name = this.#gone.get(path) ?? this.#taken.get(path);
    if (name) this.#forget(name);
    return name;
  }

  /** A name was found to be gone, whether the target has it or not. */
  noteChange(): void {
    this.#changes++;
  }

  /** A rename was found. */
  noteMove(): void {
    this.#moves++;
    this.#changes++;
  }

  /** Until the result is disposed somebody waits: what is gone goes as soon as it is quiet. */
  hurry(): Disposable {
    this.#hurries++;
    this.#options.onDue();
    return { [Symbol.dispose]: () => void this.#hurries-- };
  }

  /**
   * Takes the names that are to be dealt with now.
   *
   * @param oldestTicket Of what was heard and is not yet looked at; `Infinity` if there is nothing.
   * @param isSearching Whether a scan goes on that may find what events did not tell.
   */
  take({ oldestTicket, isSearching }: { oldestTicket: Ticket; isSearching: boolean }): {
    names: RestingName[];
    certainty: Certainty;
  } {
    if (this.size === 0) return { names: [], certainty: "pressed" };
    const certainty = oldestTicket === Infinity && !isSearching ? this.#certainty() : undefined;
    const names = certainty
      ? this.#takeWhile((name) => this.#isDue(name))
      : this.#takePressed({ oldestTicket, isSearching });
    if (names[0]?.isDirectory) return { names, certainty: "kept" };
    // What a name held may live on under one that is left for the next batch.
    return { names, certainty: this.#taken.size === 0 && certainty ? certainty : "pressed" };
  }

  /** What was taken could not be dealt with: it rests on. */
  putBack(names: RestingName[]): void {
    for (const name of names) {
      (name.reason === "gone" ? this.#gone : this.#taken).set(name.path, name);
      if (name.ticket === 0) this.#urgent++;
    }
    this.#wakeLater();
  }

  /** Forgets all, because everything is about to be looked at, or for good. */
  clear(): void {
    for (const names of [this.#gone, this.#taken]) {
      for (const { hold } of names.values()) hold[Symbol.dispose]();
      names.clear();
    }
    this.#urgent = 0;
    this.#pressing = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Whether it is quiet, `undefined` while that is not known: then it is asked for. */
  #certainty(): Certainty | undefined {
    if (!this.#hasDue()) return undefined;
    const hearing = this.#hearing;
    if (hearing && !hearing.isDone) return undefined;
    this.#hearing = undefined;
    if (hearing?.isComplete && hearing.changes === this.#changes) return "quiet";
    this.#hear();
    return undefined;
  }

  #takePressed({ oldestTicket, isSearching }: { oldestTicket: Ticket; isSearching: boolean }): RestingName[] {
    const nowMs = this.#options.nowMs();
    const pressing = this.#pressing;
    if (!pressing) {
      const isAnyOver = [this.#taken, this.#gone].some((names) => {
        for (const name of names.values()) {
          if (this.#isOver(name, { isSearching, nowMs })) return true;
          if (this.#urgent === 0) return false;
        }
        return false;
      });
      if (isAnyOver) this.#press(nowMs);
      return [];
    }
    const isWorkedOff = pressing.ticket !== undefined && oldestTicket > pressing.ticket;
    if (!isWorkedOff && nowMs < pressing.atMs + limits.restBacklogMs) return [];
    this.#pressing = undefined;
    return this.#takeWhile(
      (name) => this.#isOver(name, { isSearching, nowMs: pressing.atMs }),
      pressing.atMs,
    );
  }

  #press(atMs: number): void {
    const pressing: Pressing = { atMs, ticket: undefined };
    this.#pressing = pressing;
    void this.#options.hear().catch(() => false).then(() => {
      pressing.ticket = this.#options.tickets.take();
      this.#options.onDue();
    });
  }

  #hear(): void {
    const hearing = { changes: this.#changes, isDone: false, isComplete: false };
    this.#hearing = hearing;
    void this.#options.hear().catch(() => false).then(async (isComplete) => {
      // An interceptor that is out of step is asked again and again; one that loses events never knows.
      if (!isComplete) await new Promise((resolve) => setTimeout(resolve, limits.hearAgainMs));
      Object.assign(hearing, { isDone: true, isComplete });
      this.#options.onDue();
    });
  }

  #hasDue(): boolean {
    if (this.#taken.size > 0 || this.#urgent > 0) return true;
    for (const name of this.#gone.values()) return this.#isDue(name);
    return false;
  }

  #isDue(name: RestingName): boolean {
    return name.reason === "taken" || name.ticket === 0 || this.#hurries > 0 ||
      this.#options.nowMs() >= this.#goneDueMs(name);
  }

  /** Many deletions go together, once no further one comes: so they can be judged together. */
  #goneDueMs({ sinceMs }: RestingName): number {
    if (this.#gone.size < limits.deletionBurstMin) return sinceMs + limits.deletionRestMs;
    return Math.min(this.#lastGoneAtMs + limits.deletionRestMs, sinceMs + limits.deletionBurstMs);
  }

  #isOver(name: RestingName, { isSearching, nowMs }: { isSearching: boolean; nowMs: number }): boolean {
    const endMs = isSearching || this.#areMovesUnderWay(name.movesBefore)
      ? name.sinceMs + limits.restMaxMs
      : name.reason === "taken" || this.#hurries > 0 || name.ticket === 0
      ? name.sinceMs + limits.takenRestMs
      : this.#goneDueMs(name) + limits.deletionRestMs;
    return this.#isDue(name) && nowMs >= endMs;
  }

  /**
   * Names whose turn it is, oldest first, up to a batch: those that directories took first and alone, since what lies
   * below them is looked at after that, and may be what others lack; then those that others took.
   */
  #takeWhile(isTurn: (name: RestingName) => boolean, atMs = Infinity): RestingName[] {
    const names: RestingName[] = [];
    const directories = [...this.#taken.values()].filter(({ isDirectory }) => isDirectory);
    let sinceMs = Infinity;
    for (const from of [directories, this.#taken.values(), this.#gone.values()]) {
      // What rested then may be what the next ones lack, unless it came long after them.
      const untilMs = sinceMs - limits.restMaxMs;
      for (const name of from) {
        if (names.length >= limits.restingBatch) break;
        const isTaken = name.sinceMs <= untilMs && isTurn(name);
        if (isTaken) names.push(name);
        if (name.sinceMs <= atMs) sinceMs = Math.min(sinceMs, name.sinceMs);
        // They are in the order in which they become due, but for those that are urgent.
        if (!isTaken && this.#urgent === 0) break;
      }
      if (names[0]?.isDirectory) break;
    }
    for (const name of names) this.#forget(name);
    return names;
  }

  #forget(name: RestingName): void {
    (name.reason === "gone" ? this.#gone : this.#taken).delete(name.path);
    if (name.ticket === 0) this.#urgent--;
  }

  #inherit(name: RestingName, ticket: Ticket): void {
    if (ticket >= name.ticket) return;
    name.hold[Symbol.dispose]();
    name.hold = this.#options.tickets.hold(ticket);
    name.ticket = ticket;
    if (ticket === 0) this.#addUrgent();
  }

  #addUrgent(): void {
    this.#urgent++;
    this.#lastUrgent = { atMs: this.#options.nowMs(), movesBefore: this.#moves };
  }

  #areMovesUnderWay(movesBefore: number): boolean {
    return this.#moves - movesBefore >= limits.restMovesMin;
  }

  /** Rings when something may be due, and goes on while anything rests. */
  #wakeLater(): void {
    if (this.#timer !== undefined) return;
    const waitMs = this.#taken.size > 0 ? limits.takenRestMs : limits.deletionRestMs;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.size === 0) return;
      this.#options.onDue();
      this.#wakeLater();
    }, waitMs);
  }
}
