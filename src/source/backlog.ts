/**
 * What one lane has yet to look at and memory is not for: hints in the transaction log, from a record on. They are read
 * when there is room again, in the order in which they were heard.
 *
 * | stacked up in | until                                                            |
 * |---------------|------------------------------------------------------------------|
 * | `memory`      | `limits.dirtyPathsMax` paths                                     |
 * | `disk`        | the log is full (`limits.logBytesMax`) or cannot be written      |
 * | `mirror`      | everything was looked at: what changed is mirrored (FEATURES Q7) |
 * @module
 */
import { limits } from "../base/limits.ts";
import type { StackedStatus } from "../base/status.ts";
import type { Hint } from "../intercept/interceptor.ts";
import type { LogRecord } from "../store/log_record.ts";
import { decodeHint } from "./hint_command.ts";
import type { HintLog } from "./hint_log.ts";
import type { Ticket, Tickets } from "./tickets.ts";

/** What a backlog needs of its lane. */
export interface BacklogOptions {
  /** `undefined` where there is none: then nothing is left to it. */
  log: HintLog | undefined;
  tickets: Tickets;
  /** Has what a hint names looked at. */
  take: (hint: Hint, ticket: Ticket) => void;
  /** Paths that wait in memory. */
  waitingCount: () => number;
  /** Looks at everything, since hints are lost. */
  lookAtEverything: () => void;
  /** Paths that may wait in memory. @default {limits.dirtyPathsMax} */
  waitingMax?: number;
}

/** From this share of the bound on hints go to the disk: what arises from those in memory has room, too. */
const FULL_SHARE = 0.9;

/** Hints on the disk that one lane has not taken. */
export class Backlog {
  readonly #options: BacklogOptions;
  readonly #waitingMax: number;
  /** The next record to read; `undefined` if all were taken. */
  #from: number | undefined;
  #records: Iterator<LogRecord> | undefined;
  /** Of the oldest: whoever flushes waits for what is on the disk, and for what was just taken from there. */
  #ticket: Ticket = 0;
  #hold: Disposable | undefined;

  constructor(options: BacklogOptions) {
    this.#options = options;
    this.#waitingMax = options.waitingMax ?? limits.dirtyPathsMax;
  }

  get from(): number | undefined {
    return this.#from;
  }

  /** Hints on the disk. */
  get count(): number {
    return this.#from === undefined ? 0 : (this.#options.log!.span?.to ?? this.#from) - this.#from;
  }

  /** Takes up what an earlier run left in the log. */
  begin(): void {
    const span = this.#options.log?.span;
    if (span && span.from < span.to) this.#leave(span.from);
  }

  /** Whether so many hints that come now must be in the log: those before them are, or memory will be full. */
  needsLog(count: number): boolean {
    return this.#options.log !== undefined &&
      (this.#from !== undefined || this.#options.waitingCount() + count > FULL_SHARE * this.#waitingMax);
  }

  /** Leaves hints on the disk, from this record on, if that is where they belong. @returns Whether it did. */
  leave(sequence: number | undefined): boolean {
    if (this.#from !== undefined && sequence !== undefined) return true;
    if (sequence === undefined || !this.needsLog(1)) return false;
    this.#leave(sequence);
    return true;
  }

  /** Takes some, if there is room. @returns Whether there were any. */
  step(): boolean {
    if (this.#from === undefined || this.#options.waitingCount() > this.#waitingMax / 2) return false;
    const { log, take } = this.#options;
    for (let count = 0; count < limits.backlogBatch; count++) {
      const record = this.#next();
      if (!record) {
        // What came meanwhile is in the log, too.
        if (this.#from !== log!.span?.to) break;
        this.#end();
        break;
      }
      take(decodeHint(record.payload), this.#ticket);
      this.#from = record.sequence + 1;
    }
    return true;
  }

  /** What is on the disk cannot be read any more. */
  lose(): void {
    if (this.#from === undefined) return;
    this.#end();
    this.#options.lookAtEverything();
  }

  #leave(from: number): void {
    const { tickets } = this.#options;
    this.#from = from;
    this.#ticket = tickets.take();
    this.#hold = tickets.hold(this.#ticket);
  }

  #next(): LogRecord | undefined {
    this.#records ??= this.#options.log!.read(this.#from!);
    const { value, done } = this.#records.next();
    if (!done) return value;
    this.#records = undefined;
    return undefined;
  }

  #end(): void {
    this.#from = undefined;
    this.#records = undefined;
    this.#hold?.[Symbol.dispose]();
    this.#hold = undefined;
  }
}

/** What waits for a target without its data, as `status` tells it. */
export function stackedStatus(
  { changesCount, mirrorsChanges }: { changesCount: number; mirrorsChanges: boolean },
  { count }: Pick<Backlog, "count">,
): StackedStatus {
  const state = mirrorsChanges ? "mirror" : count > 0 ? "disk" : changesCount > 0 ? "memory" : "none";
  return { state, memoryOps: changesCount, diskOps: count };
}
