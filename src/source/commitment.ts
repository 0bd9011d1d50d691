/**
 * When a change counts as committed: what `flush` waits for. The change itself has happened already, since a watching
 * interceptor hears of it afterwards (FEATURES M5).
 *
 * | mode    | every change made before the call                                                                  |
 * |---------|----------------------------------------------------------------------------------------------------|
 * | `ack`   | is durable on every target                                                                         |
 * | `real`  | was heard of, and is on its way or stacked up; a power cut on the source leaves it to the next scan |
 * | `local` | was heard of, and its command is in the transaction log, which survives a power cut                |
 *
 * Where changes may go unheard (`watchfs`, directories that cannot be watched) only a look at them finds what is to be
 * sent: there `real` and `local` wait as `ack` does.
 * @module
 */
import { reasonOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { quote } from "../base/path.ts";
import type { CommitMode } from "../base/status.ts";
import type { HintLog } from "./hint_log.ts";
import type { Replicator } from "./replicator.ts";

/** Modes that a watching interceptor can keep. */
export type WatchCommitMode = Exclude<CommitMode, "remote">;

/**
 * What becomes of commits while a target cannot be reached: `degrade` and `block` wait for it up to the deadline of who
 * asks (a watching interceptor cannot hold an application back, so that they are the same), `fail` does not wait.
 */
export type UnreachablePolicy = "degrade" | "block" | "fail";

/** What a commitment is made with. */
export interface CommitmentOptions {
  mode: WatchCommitMode;
  onUnreachable: UnreachablePolicy;
  log: HintLog;
  /** Makes a new mode survive power loss. */
  save: (mode: WatchCommitMode) => void;
}

/** What is to be committed. */
export interface CommitSubject {
  /** Has every hint of the changes so far handed on. @returns Whether that can be promised. */
  hear: (signal: AbortSignal) => Promise<boolean>;
  /** Whether only a look finds some of the changes. */
  readonly hasUnheard: boolean;
  readonly replicators: Pick<Replicator, "target" | "settled" | "verify" | "isUnreachable">[];
}

/** Whether it is committed; if not, why not, `""` for want of time. */
export interface CommitOutcome {
  committed: boolean;
  reason: string;
}

/** The promise of one set. */
export class Commitment {
  readonly #options: CommitmentOptions;
  #mode: WatchCommitMode;

  constructor(options: CommitmentOptions) {
    this.#options = options;
    this.#mode = options.mode;
    options.log.isWanted = options.mode === "local";
  }

  get mode(): WatchCommitMode {
    return this.#mode;
  }

  /** Changes the mode. What is asked for from now on waits for the new promise. */
  change(mode: WatchCommitMode): void {
    this.#options.save(mode);
    this.#mode = mode;
    this.#options.log.isWanted = mode === "local";
  }

  /** Resolves when everything changed before the call is committed, or the signal aborts. */
  async reached(subject: CommitSubject, signal: AbortSignal): Promise<CommitOutcome> {
    const mode = this.#mode;
    const isHeard = await subject.hear(signal);
    if (signal.aborted) return { committed: false, reason: "" };
    const { replicators } = subject;
    if (isHeard && mode !== "ack" && !subject.hasUnheard) {
      return mode === "local" ? await this.#logged() : { committed: true, reason: "" };
    }
    using unreachable = this.#watchUnreachable(replicators, signal);
    const settled = replicators.map((replicator) => {
      if (!isHeard) replicator.verify();
      return replicator.settled(unreachable.signal);
    });
    const committed = (await Promise.all(settled)).every(Boolean);
    return { committed, reason: committed ? "" : unreachable.reason };
  }

  async #logged(): Promise<CommitOutcome> {
    try {
      await this.#options.log.commit();
      return { committed: true, reason: "" };
    } catch (error) {
      return { committed: false, reason: reasonOf(error) };
    }
  }

  /** A signal that aborts with `signal`, and by policy when a target cannot be reached. */
  #watchUnreachable(
    replicators: CommitSubject["replicators"],
    signal: AbortSignal,
  ): Disposable & { signal: AbortSignal; readonly reason: string } {
    if (this.#options.onUnreachable !== "fail") return { signal, reason: "", [Symbol.dispose]() {} };
    const stop = new AbortController();
    let reason = "";
    const look = () => {
      const lost = replicators.find(({ isUnreachable }) => isUnreachable);
      if (!lost) return;
      reason = `${quote(lost.target)} cannot be reached`;
      stop.abort();
    };
    look();
    const looking = setInterval(look, limits.unreachableLookMs);
    return {
      signal: AbortSignal.any([signal, stop.signal]),
      get reason() {
        return reason;
      },
      [Symbol.dispose]: () => clearInterval(looking),
    };
  }
}
