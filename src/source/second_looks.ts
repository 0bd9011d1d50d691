/**
 * Files that are looked at a second time, because the first look may have missed a change:
 *
 * - *restless* ones changed while they were read: they are sent again when they have come to rest;
 * - *racy* ones changed just before they were read. Where the kernel's clock for files is coarse (sys/clock_ticks.ts) a
 *   change right after the reading leaves the same times, so their contents are compared once the tick is over;
 * - *unproven* ones grew, and only what was appended was looked at: they are compared whole at rest.
 *
 * `flush` waits for racy and unproven files (their ticket is held), not for restless ones, which may never rest.
 * @module
 */
import { equalBytes } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import type { Ticket, Tickets } from "./tickets.ts";

/** Why a file is looked at again, and what is needed for it. */
type SecondLook =
  & { dueMs: number; ticket: Ticket; hold: Disposable | undefined }
  & ({ kind: "restless" } | { kind: "racy"; hash: Uint8Array } | { kind: "unproven" });

/** What is done with a file when its time has come. */
export interface SecondLookOptions {
  tickets: Tickets;
  /** Monotonic milliseconds. */
  nowMs: () => number;
  /** Hash of a small file's contents now, `undefined` if they cannot be read or it is not small any more. */
  hashNow: (path: string) => Uint8Array | undefined;
  /** The file is to be looked at again as any dirty path. */
  onRested: (path: string) => void;
  /** The contents are not those that were sent, whatever the times say. */
  onMissed: (path: string, ticket: Ticket) => void;
  /** The whole file is to be compared with what was sent. */
  onUnproven: (path: string, ticket: Ticket) => void;
  /** Some were looked at: whoever waits for them may go on. */
  onLooked: () => void;
}

/** Files waiting for their second look. Bounded by `limits.dirtyPathsMax`; beyond it the verification scan finds them. */
export class SecondLooks {
  readonly #options: SecondLookOptions;
  readonly #looks = new Map<string, SecondLook>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerDueMs = Infinity;

  constructor(options: SecondLookOptions) {
    this.#options = options;
  }

  /** Files waiting. */
  get size(): number {
    return this.#looks.size;
  }

  /** The file changed while it was read. */
  addRestless(path: string): void {
    const dueMs = this.#options.nowMs() + limits.restMs;
    this.#add(path, { kind: "restless", dueMs, ticket: 0, hold: undefined });
  }

  /** The file changed within the clock's tick before it was read; `hash` is that of what was sent. */
  addRacy(path: string, hash: Uint8Array, ticket: Ticket): void {
    const dueMs = this.#options.nowMs() + limits.racyMs;
    this.#add(path, { kind: "racy", hash, dueMs, ticket, hold: this.#options.tickets.hold(ticket) });
  }

  /** Only a part of this file of `size` bytes was compared. */
  addUnproven(path: string, size: number, ticket: Ticket): void {
    const waiting = this.#looks.get(path);
    // Its time is not put off by every further append, and whoever waits for it goes on waiting.
    if (waiting?.kind === "unproven") return;
    const dueMs = this.#options.nowMs() + Math.max(limits.restMs, size / limits.proofBytesPerMs);
    this.#add(path, { kind: "unproven", dueMs, ticket, hold: this.#options.tickets.hold(ticket) });
  }

  /** Somebody waits: unproven files are compared now. */
  hurry(): void {
    const now = this.#options.nowMs();
    for (const look of this.#looks.values()) if (look.kind === "unproven") look.dueMs = now;
    this.#work();
  }

  /** Forgets all, because everything is about to be looked at, or for good. */
  clear(): void {
    for (const { hold } of this.#looks.values()) hold?.[Symbol.dispose]();
    this.#looks.clear();
    clearTimeout(this.#timer);
    this.#timerDueMs = Infinity;
  }

  #add(path: string, look: SecondLook): void {
    this.#looks.get(path)?.hold?.[Symbol.dispose]();
    this.#looks.delete(path);
    if (this.#looks.size >= limits.dirtyPathsMax) return look.hold?.[Symbol.dispose]();
    this.#looks.set(path, look);
    this.#wakeAt(look.dueMs);
  }

  #wakeAt(dueMs: number): void {
    if (dueMs >= this.#timerDueMs) return;
    clearTimeout(this.#timer);
    this.#timerDueMs = dueMs;
    this.#timer = setTimeout(() => this.#work(), Math.max(0, dueMs - this.#options.nowMs()));
  }

  #work(): void {
    clearTimeout(this.#timer);
    this.#timerDueMs = Infinity;
    const now = this.#options.nowMs();
    let nextDueMs = Infinity;
    const waiting = this.#looks.size;
    for (const [path, look] of this.#looks) {
      if (look.dueMs > now) {
        nextDueMs = Math.min(nextDueMs, look.dueMs);
        continue;
      }
      this.#looks.delete(path);
      this.#look(path, look);
      // Not before: what the look led to has taken over the ticket.
      look.hold?.[Symbol.dispose]();
    }
    if (nextDueMs !== Infinity) this.#wakeAt(nextDueMs);
    if (this.#looks.size < waiting) this.#options.onLooked();
  }

  #look(path: string, look: SecondLook): void {
    const { hashNow, onRested, onMissed, onUnproven } = this.#options;
    if (look.kind === "restless") return onRested(path);
    if (look.kind === "unproven") return onUnproven(path, look.ticket);
    const now = hashNow(path);
    if (now === undefined || !equalBytes(now, look.hash)) onMissed(path, look.ticket);
  }
}
