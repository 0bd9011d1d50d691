/**
 * Runs one set: waits where its root is missing, goes on when it is back, and answers what users ask about it.
 * @module
 */
import { CommandError, errorCode, reasonOf } from "../base/errors.ts";
import type { TargetExplanation } from "../base/explanation.ts";
import { limits } from "../base/limits.ts";
import { quote } from "../base/path.ts";
import type {
  CommitStatus,
  FlowStatus,
  FlushResult,
  GuardStatus,
  HoldResult,
  LaneStatus,
  PurgeRequest,
  PurgeResult,
  SourceStatus,
  VerifyResult,
} from "../base/status.ts";
import type { FileSystem } from "../sys/file_system.ts";
import { Commitment, type CommitmentOptions, type WatchCommitMode } from "./commitment.ts";
import type { ExplainedEntry } from "./explain.ts";
import { chooseFlow, type FlowChange } from "./flow_choices.ts";
import { flowBounds } from "./flow_rules.ts";
import { hold, type HoldSubject, resume } from "./holding.ts";
import type { Replicator } from "./replicator.ts";
import { ROOT_GUARD, RootGuard } from "./root_guard.ts";
import { RootIdentity, type RootIdentityRecord } from "./root_identity.ts";
import { type ManagedTarget, RunningSet, type SetOptions } from "./running_set.ts";
import { idleLane, pendingReason, problemStatuses, sourceStatus } from "./source_status.ts";
import type { VerifyRequest } from "./verification.ts";

/** What a manager needs. */
export interface ManagerOptions extends SetOptions {
  set: string;
  /** Absolute path. */
  root: string;
  targets: ManagedTarget[];
  fileSystem: FileSystem;
  rootIdentity: RootIdentityRecord;
  /** When a change counts as committed. */
  commit: Omit<CommitmentOptions, "log">;
  signal: AbortSignal;
  /** Something that `status` shows may have changed; called at most ten times a second. */
  onChange: () => void;
}

/** Pause between two looks for a missing root. */
const ROOT_RETRY_MS = 1_000;
/** Pause between two calls of `onChange`. */
const CHANGE_EVERY_MS = 100;

/** Keeps the targets of one set equal to its root. */
export class Manager {
  readonly #options: ManagerOptions;
  readonly #commitment: Commitment;
  readonly #rootIdentity: RootIdentity;
  /** In the order of their connection. */
  readonly #targets: ManagedTarget[];
  #running: RunningSet | undefined;
  #interceptorReason = "";
  #blocked = "";
  #changeTimer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;
  #tickTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ManagerOptions) {
    this.#options = options;
    this.#targets = [...options.targets];
    this.#commitment = new Commitment({ ...options.commit, log: options.hintLog });
    this.#rootIdentity = new RootIdentity(options.rootIdentity);
    options.guards?.book.onDecision((_id, paths, state) => {
      for (const replicator of this.#replicators) replicator.decisions.take(paths, state);
    });
  }

  get #replicators(): Replicator[] {
    return this.#running?.replicators ?? [];
  }

  /** Runs until the signal aborts. @throws {Error} What a restart would not mend. */
  async run(): Promise<void> {
    const { signal, clock, hintLog, log, root } = this.#options;
    hintLog.begin();
    this.#tickTimer = setTimeout(() => this.#tellChange(), limits.tellMs);
    const sweeping = setInterval(() => this.#sweepGuards(), 1_000);
    try {
      while (!signal.aborted) {
        const guard = this.#openRoot();
        if (guard) {
          await this.#runWithRoot(guard);
          if (!signal.aborted && this.#blocked !== "") {
            log.warn(`Cannot go on with "${root}": ${this.#blocked}`);
          }
        }
        this.#tellChange();
        await clock.sleep(ROOT_RETRY_MS, signal);
      }
    } finally {
      this.#isOver = true;
      clearInterval(sweeping);
      clearTimeout(this.#tickTimer);
      clearTimeout(this.#changeTimer);
      hintLog[Symbol.dispose]();
    }
  }

  // ——— What users ask and decide ———

  /** Waits until every change made before the call is committed on every target. */
  async flush(timeoutMs: number, signal: AbortSignal): Promise<FlushResult> {
    const timeout = AbortSignal.any([signal, this.#options.signal, AbortSignal.timeout(timeoutMs)]);
    const running = this.#running;
    const { committed, reason } = running
      ? await this.#commitment.reached(running, timeout)
      : { committed: false, reason: "" };
    const waiting = committed ? [] : this.#laneStatuses().map(({ target, state, reason, pending }) => {
      return { target, state, reason: [reason, pendingReason(pending)].filter(Boolean).join("; ") };
    });
    const problems = problemStatuses(running?.replicators ?? []);
    return { committed, commit: this.#commitment.mode, reason, waiting, problems };
  }

  /** Changes when a change counts as committed, if a mode is given. */
  commit(mode: WatchCommitMode | undefined): CommitStatus {
    if (mode !== undefined) this.#commitment.change(mode);
    return { commit: this.#commitment.mode, log: this.#options.hintLog.status };
  }

  /** Compares the whole tree with every target. */
  async verify(request: VerifyRequest, signal: AbortSignal): Promise<VerifyResult> {
    const whileHere = AbortSignal.any([signal, this.#options.signal]);
    if (!this.#running) throw new CommandError(`Cannot verify: ${this.#blocked || "the root is not open"}`);
    const verified = this.#replicators.map((replicator) => replicator.verification.run(request, whileHere));
    return { targets: await Promise.all(verified) };
  }

  /** The set is another one than before: watches what it has now, and looks at everything. */
  scopeChanged(): void {
    if (!this.#running) return;
    this.#running.interceptor.rulesChanged();
    for (const replicator of this.#replicators) void replicator.scopeChanged();
  }

  /** How each target stands with an entry of the source. */
  explain(entry: ExplainedEntry & { isIn: boolean }): TargetExplanation[] {
    if (this.#running) return this.#replicators.map((replicator) => replicator.decisions.explain(entry));
    return this.#targets.map(({ label }) => ({
      target: label,
      state: "unknown" as const,
      reason: this.#blocked,
    }));
  }

  /**
   * Removes leftovers from every target: all, or those at these paths and below. Without confirmation it only tells.
   *
   * @throws {CommandError} If the set does not run now.
   */
  async purge({ paths, isConfirmed }: PurgeRequest): Promise<PurgeResult> {
    if (!this.#running) throw new CommandError(`Cannot purge: ${this.#blocked}`);
    const targets: PurgeResult["targets"] = [];
    for (const replicator of this.#replicators) {
      const found = replicator.decisions.leftovers(paths);
      if (isConfirmed) found.count = await replicator.decisions.purge(paths);
      targets.push({ target: replicator.target, ...found });
    }
    return { targets };
  }

  /**
   * Decides about what a guard holds back, or about a root that is another directory than before.
   *
   * @throws {CommandError} If there is no such record, or it cannot be decided so.
   */
  decide(id: string, state: "confirmed" | "refused"): GuardStatus {
    const { guards } = this.#options;
    if (id === ROOT_GUARD) return this.#rootIdentity.decide(this.#running, state);
    if (!guards) throw new CommandError(`Cannot decide ${quote(id)}: nothing is guarded`);
    return guards.book.decide(id, state);
  }

  /** Holds one target or all; see {@linkcode hold}. */
  hold(target: string | undefined, timeoutMs: number, signal: AbortSignal): Promise<HoldResult> {
    const { clock, holds } = this.#options;
    const timeout = AbortSignal.any([signal, this.#options.signal, AbortSignal.timeout(timeoutMs)]);
    return hold(this.#holdSubject(target), holds, { nowMs: clock.nowMs(), signal: timeout });
  }

  /** Resumes one target or all; see {@linkcode resume}. */
  resume(target: string | undefined): HoldResult {
    return resume(this.#holdSubject(target), this.#options.holds);
  }

  /** Changes when and how fast targets are sent to, or tells; see {@linkcode chooseFlow}. */
  flow({ target, ...change }: FlowChange & { target?: string }): FlowStatus[] {
    const subject = {
      targets: this.#targets,
      replicators: this.#replicators,
      record: this.#options.flows,
      bounds: flowBounds(this.#options.windowBytes),
    };
    return chooseFlow(subject, target, change);
  }

  #holdSubject(target: string | undefined): HoldSubject {
    return { target, targets: this.#targets.map(({ label }) => label), replicators: this.#replicators };
  }

  /**
   * Replicates to a further target from now on.
   *
   * @throws {CommandError} If it is one already.
   */
  connect(target: ManagedTarget): void {
    if (this.#targets.some(({ label }) => label === target.label)) {
      throw new CommandError(`Cannot connect ${quote(target.label)}: it is a target of the set already`);
    }
    this.#targets.push(target);
    this.#running?.connect(target);
  }

  /**
   * Ends replication to a target. What it has stays there, and counts when it is connected again.
   *
   * @throws {CommandError} If it is no target of the set, or the last one.
   */
  async disconnect(label: string): Promise<void> {
    const index = this.#targets.findIndex((target) => target.label === label);
    if (index < 0) {
      const known = this.#targets.map((target) => quote(target.label)).join(", ");
      throw new CommandError(`Cannot disconnect ${quote(label)}: the targets are ${known}`);
    }
    if (this.#targets.length === 1) {
      throw new CommandError(
        `Cannot disconnect ${quote(label)}: it is the only target; stop the source instead`,
      );
    }
    this.#targets.splice(index, 1);
    await this.#running?.disconnect(label);
  }

  status(): SourceStatus {
    const { set, root, accounts } = this.#options;
    return {
      ...sourceStatus({
        set,
        root,
        running: this.#running,
        interceptorReason: this.#interceptorReason,
        accounts,
      }),
      ...this.commit(undefined),
      targets: this.#laneStatuses(),
      guards: this.#guardStatuses(),
    };
  }

  // ——— Running ———

  /** Opens the root if it is there. */
  #openRoot(): RootGuard | undefined {
    const { fileSystem, root } = this.#options;
    try {
      return new RootGuard(fileSystem, root);
    } catch (error) {
      if (!errorCode(error)) throw error;
      this.#blocked = errorCode(error) === "ENOENT" ? "the root is missing" : reasonOf(error);
      return undefined;
    }
  }

  async #runWithRoot(guard: RootGuard): Promise<void> {
    const isExchanged = this.#rootIdentity.isOther(guard.identity);
    this.#blocked = "";
    const running = new RunningSet(this.#options, {
      guard,
      // Deletions below an exchanged root have no evidence: nobody deleted anything there.
      isExchanged,
      targets: this.#targets,
      signal: this.#options.signal,
      onChange: () => this.#tellChangeSoon(),
    });
    this.#interceptorReason = running.interceptorReason;
    this.#running = running;
    if (!isExchanged) this.#rootIdentity.save(guard.identity);
    try {
      await running.run();
    } finally {
      this.#blocked = running.goneReason;
      this.#running = undefined;
    }
  }

  #guardStatuses(): GuardStatus[] {
    const exchanged = this.#rootIdentity.status(this.#running);
    const decided = this.#options.guards?.book.list() ?? [];
    return exchanged ? [exchanged, ...decided] : decided;
  }

  /** Forgets what guards held and what is over. */
  #sweepGuards(): void {
    const { guards } = this.#options;
    const replicators = this.#replicators;
    if (!guards || guards.book.isEmpty || replicators.length === 0) return;
    guards.book.sweep(
      (path) => replicators.some((replicator) => replicator.decisions.holds(path)),
      replicators.every((replicator) => replicator.isReached),
    );
  }

  #laneStatuses(): LaneStatus[] {
    if (this.#running) return this.#replicators.map((replicator) => replicator.status());
    return this.#targets.map(({ label }) => ({
      ...idleLane,
      target: label,
      reason: this.#blocked,
      heldSince: this.#options.holds.since(label),
    }));
  }

  #tellChangeSoon(): void {
    this.#changeTimer ??= setTimeout(() => this.#tellChange(), CHANGE_EVERY_MS);
  }

  #tellChange(): void {
    clearTimeout(this.#changeTimer);
    clearTimeout(this.#tickTimer);
    this.#changeTimer = undefined;
    // What is taken down in order is not in trouble.
    if (this.#isOver || this.#options.signal.aborted) return;
    this.#options.onChange();
    // Some states come with time alone. While nothing waits they cannot: waking up is what idling costs.
    const isAtRest = this.#laneStatuses().every(({ state, lagMs }) => state === "live" && lagMs === 0);
    this.#tickTimer = setTimeout(() => this.#tellChange(), isAtRest ? limits.tellAtRestMs : limits.tellMs);
  }
}
