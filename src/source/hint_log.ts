/**
 * The hints of one set in its transaction log: for commit mode `local`, in which a change counts once its command
 * survives power loss here, and for lanes that have more waiting than memory is for (backlog.ts).
 *
 * ```
 * hints ─▶ append ─▶ TransactionLog ─▶ commit: `flush` in mode `local`
 *                          │  ▲
 *             backlogs read│  │released up to where every lane has come
 * ```
 *
 * | state     | what it means                                                                               |
 * |-----------|---------------------------------------------------------------------------------------------|
 * | `off`     | nobody needs it; what an earlier run left is still worked off                               |
 * | `writing` | every hint is appended                                                                      |
 * | `full`    | beyond `limits.logBytesMax`: it began anew with "look at everything", which covers the rest |
 * | `failed`  | it cannot be written, with the reason; tried again every `limits.logRetryMs`                |
 * @module
 */
import { ByteWriter } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { reasonOf, TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import type { LogStatus } from "../base/status.ts";
import type { Hint } from "../intercept/interceptor.ts";
import type { LogRecord } from "../store/log_record.ts";
import type { TransactionLog } from "../store/txn_log.ts";
import { Bell } from "./bell.ts";
import { encodeHint, type LoggedHint } from "./hint_command.ts";

/** A lane, as the log sees it. */
export interface LoggedLane {
  /** Resolves when everything that was dirty at the call is durable on the target; `false` if the signal aborts first. */
  reached(signal: AbortSignal): Promise<boolean>;
  /** The oldest record that it has yet to read, `undefined` if it has read all. */
  readonly backlogFrom: number | undefined;
  /** Records that it has yet to read are gone: it looks at everything instead. */
  loseBacklog(): void;
}

/** What a hint log needs. */
export interface HintLogOptions {
  /** Whether an earlier run left one. */
  isThere: () => boolean;
  /** Opens what is on the disk, or makes it. @throws {Error} If that cannot be. */
  open: () => TransactionLog;
  clock: Clock;
  log: Log;
  /** @default {limits.logBytesMax} */
  bytesMax?: number;
}

interface Follower {
  lane: LoggedLane;
  /** Records below it are done. */
  doneBefore: number;
}

const EVERYTHING: LoggedHint = { kind: "look-below", path: "", reason: "" };

/** The transaction log of one set. Opened when it is first needed. */
export class HintLog implements Disposable {
  /** Whether every hint is to be appended, for commit mode `local`. */
  isWanted = false;
  readonly #options: HintLogOptions;
  readonly #followers = new Set<Follower>();
  readonly #appended = new Bell();
  readonly #writer = new ByteWriter();
  #transactions: TransactionLog | undefined;
  #failure = "";
  #failedAtMs = 0;
  #isFull = false;

  constructor(options: HintLogOptions) {
    this.#options = options;
  }

  /** Takes up what an earlier run left. */
  begin(): void {
    if (!this.#transactions && (this.isWanted || this.#options.isThere())) this.#open();
  }

  /** For `status`. */
  get status(): LogStatus {
    const log = this.#transactions;
    const count = log ? log.nextSequence - log.firstSequence : 0;
    const bytes = log?.bytes ?? 0;
    if (this.#failure !== "") return { state: "failed", reason: this.#failure, count, bytes };
    if (!this.#isOn) return { state: "off", reason: "", count, bytes };
    const reason = "more waits than the log may hold: everything is looked at";
    return this.#isFull
      ? { state: "full", reason, count, bytes }
      : { state: "writing", reason: "", count, bytes };
  }

  /** Sequence of the oldest record that is kept, and that of the next one; `undefined` if there is no log. */
  get span(): { from: number; to: number } | undefined {
    const log = this.#transactions;
    return log && { from: log.firstSequence, to: log.nextSequence };
  }

  get #isOn(): boolean {
    return this.isWanted || [...this.#followers].some(({ lane }) => lane.backlogFrom !== undefined);
  }

  /**
   * Appends hints, if anybody wants that.
   *
   * @param isNeeded A lane has no room for them in memory.
   * @returns Sequence of the first; `undefined` if they are not in the log.
   */
  append(hints: Hint[], { isNeeded }: { isNeeded: boolean }): number | undefined {
    if (!isNeeded && !this.#isOn) return undefined;
    const log = this.#writable();
    if (!log) return undefined;
    const first = log.nextSequence;
    for (const hint of hints) if (hint.kind !== "root-gone") log.append(encodeHint(hint, this.#writer));
    if (log.failure) {
      this.#fail(log.failure);
      return undefined;
    }
    if (log.bytes > (this.#options.bytesMax ?? limits.logBytesMax)) this.#overflow(log);
    this.#appended.ring();
    return this.#transactions === log && !this.#isFull ? first : undefined;
  }

  /** Everything appended so far survives power loss afterwards. @throws {TransientError} If that cannot be promised. */
  async commit(): Promise<void> {
    const log = this.#writable();
    if (!log) throw new TransientError(this.#failure);
    try {
      await log.commit();
    } catch (error) {
      this.#fail(error);
      throw new TransientError(this.#failure, { cause: error });
    }
  }

  /** Reads records from a sequence on, in order. */
  read(from: number): Iterator<LogRecord> {
    return this.#transactions!.read(from);
  }

  /** Notes how far a lane comes, and releases what all have done, until the signal aborts. */
  async follow(lane: LoggedLane, signal: AbortSignal): Promise<void> {
    const follower: Follower = { lane, doneBefore: this.#transactions?.firstSequence ?? 1 };
    this.#followers.add(follower);
    const wake = () => this.#appended.ring();
    signal.addEventListener("abort", wake, { once: true });
    try {
      while (!signal.aborted) {
        const next = this.#transactions?.nextSequence ?? 1;
        if (next === follower.doneBefore) {
          await this.#appended.rung();
          continue;
        }
        if (await lane.reached(signal)) this.#advance(follower, next);
        await this.#options.clock.sleep(limits.logReleaseMs, signal);
      }
    } finally {
      signal.removeEventListener("abort", wake);
      this.#followers.delete(follower);
    }
  }

  [Symbol.dispose](): void {
    this.#transactions?.[Symbol.dispose]();
    this.#transactions = undefined;
  }

  #advance(follower: Follower, next: number): void {
    follower.doneBefore = Math.min(next, follower.lane.backlogFrom ?? next);
    const log = this.#transactions;
    if (!log || log.failure) return;
    const released = Math.min(...[...this.#followers].map(({ doneBefore }) => doneBefore));
    log.release(released);
    if (released === log.nextSequence) this.#isFull = false;
  }

  /** What came before is covered by one look at everything, now and after a restart. */
  #overflow(log: TransactionLog): void {
    log.append(encodeHint(EVERYTHING, this.#writer));
    const last = log.nextSequence - 1;
    // Before anything is removed that it stands for.
    this.#commitNow(log);
    this.#isFull = true;
    for (const follower of this.#followers) {
      follower.lane.loseBacklog();
      follower.doneBefore = last;
    }
    log.release(last);
  }

  #commitNow(log: TransactionLog): void {
    log.commitNow();
    if (log.failure) this.#fail(log.failure);
  }

  #writable(): TransactionLog | undefined {
    if (this.#failure === "") return this.#transactions ?? this.#open();
    const { clock } = this.#options;
    if (clock.monotonicMs() - this.#failedAtMs < limits.logRetryMs) return undefined;
    const log = this.#open();
    // Since it failed nothing was written down.
    log?.append(encodeHint(EVERYTHING, this.#writer));
    return log;
  }

  #open(): TransactionLog | undefined {
    try {
      const log = this.#options.open();
      const { tornBytes, damage } = log.findings;
      if (damage !== "") this.#options.log.warn(`Cannot use all of the transaction log: ${damage}`);
      else if (tornBytes > 0) {
        this.#options.log.info(`Cut ${tornBytes} bytes of a torn write off the transaction log`);
      }
      this.#failure = "";
      this.#transactions = log;
      for (const follower of this.#followers) follower.doneBefore = log.firstSequence;
      return log;
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  #fail(error: unknown): void {
    const { clock, log } = this.#options;
    const reason = `Cannot write the transaction log: ${reasonOf(error)}`;
    if (this.#failure === "") log.warn(reason);
    this.#failure = reason;
    this.#failedAtMs = clock.monotonicMs();
    this[Symbol.dispose]();
    for (const { lane } of this.#followers) lane.loseBacklog();
  }
}
