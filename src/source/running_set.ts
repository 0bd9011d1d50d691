/**
 * A set while its root is there: one interceptor over the root, and a replicator for each target, which come and go
 * (`connect`, `disconnect`).
 *
 * ```
 * interceptor ─▶ hints ─▶ transaction log, if it is wanted ─▶ each replicator, in the order of their connection
 * ```
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { reasonOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { AGENT } from "../base/version.ts";
import type { AccountWatch } from "../identity/account_watch.ts";
import type { Hint, Interceptor, InterceptorOptions } from "../intercept/interceptor.ts";
import { type AgeWatch, lookAtAges } from "./age_watch.ts";
import { isClosed } from "./detect_context.ts";
import type { Throttle } from "../wire/throttle.ts";
import { applyFlow, type FlowRecord } from "./flow_choices.ts";
import { flowBounds } from "./flow_rules.ts";
import type { HintLog } from "./hint_log.ts";
import type { HoldRecord } from "./holding.ts";
import { Index } from "./index.ts";
import type { IndexKeeper } from "./index_keeper.ts";
import type { OrderedJournal } from "./ordered_journal.ts";
import type { PatrolPolicy, PatrolStore } from "./patrol.ts";
import { Polling } from "./polling.ts";
import { Replicator } from "./replicator.ts";
import type { ReplicatorOptions } from "./replicator_options.ts";
import { ROOT_GUARD, type RootGuard } from "./root_guard.ts";
import type { Scope } from "./scope.ts";

/** One target of a set. */
export interface ManagedTarget {
  /** As the user named it. */
  label: string;
  connect: ReplicatorOptions["connect"];
  /** See `ReplicatorOptions`. */
  keepsTargetOut?: boolean;
  /** What its sessions are held to; `undefined` if there is no line. */
  throttle?: Throttle;
  /** Opens what is remembered about this target. */
  openKeeper: () => IndexKeeper;
  /** Its ordered journal, if there is to be one. */
  openJournal?: () => OrderedJournal | undefined;
  /** Remembers how far verification of this target has come. */
  patrolStore?: PatrolStore;
}

/** What every run of a set is made with. */
export interface SetOptions {
  /** Makes the interceptor, and says why this one. */
  chooseInterceptor: (options: InterceptorOptions) => { interceptor: Interceptor; reason: string };
  policy: ReplicatorOptions["policy"];
  /** Verification in the background. */
  patrol: PatrolPolicy;
  windowBytes?: number;
  /** What is in the set. */
  scope: Scope;
  /** Files that will enter or leave the set by their age. */
  ages: AgeWatch;
  /** Mount points below the root, as earlier runs knew them. @default none is remembered */
  mounts?: ReplicatorOptions["mounts"];
  /** What guards hold back, and from where on they do. @default nothing is guarded */
  guards?: ReplicatorOptions["guards"];
  hintLog: HintLog;
  /** Accounts of this machine, for the targets. @default none are told */
  accounts?: AccountWatch;
  /** When and how fast targets are sent to, over restarts. */
  flows: FlowRecord;
  /** Which targets are held, over restarts. */
  holds: HoldRecord;
  clock: Clock;
  log: Log;
}

/** What one run is made with. */
export interface RunOptions {
  guard: RootGuard;
  /** The root is another directory than in the run before: its deletions have no evidence. */
  isExchanged: boolean;
  targets: ManagedTarget[];
  signal: AbortSignal;
  onChange: () => void;
}

/** A target with its replicator. */
interface Member {
  replicator: Replicator;
  keeper: IndexKeeper;
  stop: AbortController;
  /** Settled when everything of it has ended. */
  ended: Promise<unknown>;
}

/** Keeps targets equal to a root that is open. */
export class RunningSet {
  readonly interceptor: Interceptor;
  readonly interceptorReason: string;
  readonly guard: RootGuard;
  /** Wall clock of when the root was found to be another one than before; `undefined` if it is not. */
  readonly exchangedSinceMs: number | undefined;
  readonly #options: SetOptions;
  readonly #onChange: () => void;
  /** By label, in the order of their connection. */
  readonly #members = new Map<string, Member>();
  readonly #polling: Polling;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  /** Rejects when a replicator failed for good. */
  readonly #broken = Promise.withResolvers<never>();
  #goneReason = "";

  constructor(options: SetOptions, { guard, isExchanged, targets, signal, onChange }: RunOptions) {
    this.#options = options;
    this.#onChange = onChange;
    this.guard = guard;
    this.exchangedSinceMs = isExchanged ? options.clock.nowMs() : undefined;
    this.#signal = AbortSignal.any([signal, this.#stop.signal]);
    this.#broken.promise.catch(() => {});
    const { interceptor, reason } = options.chooseInterceptor({
      root: guard.tree.rootPath,
      onHints: (hints) => this.#take(hints),
      isExcluded: (directory) => isClosed(directory, { scope: options.scope }),
      everythingTakesMs: () => Math.max(0, ...this.replicators.map((each) => each.everythingTakesMs)),
    });
    this.interceptor = interceptor;
    this.interceptorReason = reason;
    this.#polling = new Polling({
      unheard: () => interceptor.unheard(),
      look: (path) => Promise.all(this.replicators.map((replicator) => replicator.lookAt(path))),
      lookAtUnheardFiles: () => this.replicators.forEach((replicator) => replicator.lookAtUnheardFiles()),
      clock: options.clock,
    });
    for (const target of targets) this.#members.set(target.label, this.#makeMember(target));
  }

  /** In the order of their connection. */
  get replicators(): Replicator[] {
    return [...this.#members.values()].map(({ replicator }) => replicator);
  }

  /** Why the root is gone, `""` while it is there. */
  get goneReason(): string {
    return this.#goneReason;
  }

  /** Runs until the signal aborts, the root is gone or {@linkcode end} is called; then everything has ended. */
  async run(): Promise<void> {
    const { accounts, ages, clock } = this.#options;
    let looking: ReturnType<typeof setInterval> | undefined;
    const regularly: Promise<unknown>[] = [];
    try {
      await this.interceptor.start();
      // It may have been exchanged between its opening and its first watch: then the interceptor watches another one.
      looking = setInterval(() => this.#checkRoot(), limits.rootCheckMs);
      for (const member of this.#members.values()) this.#startMember(member);
      const replicators = () => this.replicators;
      regularly.push(
        this.#polling.run(this.#signal),
        lookAtAges({ ages, clock, replicators, signal: this.#signal }),
      );
      if (accounts) regularly.push(accounts.run(this.#signal));
      await Promise.race([this.#broken.promise, ...regularly]);
    } finally {
      clearInterval(looking);
      this.#stop.abort();
      await Promise.all([...regularly, ...[...this.#members.keys()].map((label) => this.disconnect(label))]);
      await this.interceptor.stop();
      this.guard.tree.close();
    }
  }

  /** Ends {@linkcode run}. */
  end(): void {
    this.#stop.abort();
  }

  /** Begins to replicate to a further target. */
  connect(target: ManagedTarget): void {
    const member = this.#makeMember(target);
    this.#members.set(target.label, member);
    this.#startMember(member);
    this.#onChange();
  }

  /** Ends replication to a target. What it has stays there. */
  async disconnect(label: string): Promise<void> {
    const member = this.#members.get(label);
    if (!member) return;
    this.#members.delete(label);
    member.stop.abort();
    await member.ended;
    member.keeper.close();
    this.#onChange();
  }

  /**
   * Has all that was heard of handed on, and the rest looked at.
   *
   * @returns Whether every change before the call is heard of, or `undefined` if the signal aborted first.
   */
  async hear(signal?: AbortSignal): Promise<boolean> {
    // While the tree is being armed its parts are scanned as they are watched: it ends with both.
    const isHeard = await beforeAbort(this.interceptor.sync(), signal);
    if (isHeard) this.#polling.lookNow();
    return isHeard ?? false;
  }

  /** Whether only a look finds some of the changes. */
  get hasUnheard(): boolean {
    for (const _path of this.interceptor.unheard()) return true;
    return false;
  }

  #take(hints: Hint[]): void {
    const { replicators } = this;
    const isNeeded = replicators.some(({ backlog }) => backlog.needsLog(hints.length));
    const logged = this.#options.hintLog.append(hints, { isNeeded });
    for (const replicator of replicators) replicator.take(hints, logged);
    const gone = hints.find((hint) => hint.kind === "root-gone");
    if (!gone) return;
    this.#goneReason = `the root is gone: ${gone.reason}`;
    this.#stop.abort();
  }

  #checkRoot(): void {
    if (this.guard.stands()) return;
    this.#take([{ kind: "root-gone", reason: "its path leads elsewhere now" }]);
  }

  #startMember(member: Member): void {
    const { replicator, stop } = member;
    const lane = {
      reached: (signal: AbortSignal) => replicator.reached(signal),
      get backlogFrom() {
        return replicator.backlog.from;
      },
      loseBacklog: () => replicator.backlog.lose(),
    };
    const running = Promise.all([
      replicator.run().finally(() => stop.abort()),
      this.#options.hintLog.follow(lane, stop.signal),
    ]);
    member.ended = running.catch((error) => {
      this.#options.log.debug(reasonOf(error));
      this.#broken.reject(error);
    });
  }

  #makeMember(target: ManagedTarget): Member {
    const { accounts, clock, guards, hintLog, holds, log, mounts, patrol, policy, scope, windowBytes } =
      this.#options;
    const keeper = target.openKeeper();
    const stop = new AbortController();
    const isExchanged = this.exchangedSinceMs !== undefined;
    const replicator = new Replicator({
      target: target.label,
      connect: target.connect,
      keepsTargetOut: target.keepsTargetOut,
      tree: this.guard.tree,
      index: new Index(),
      keeper,
      clock,
      log,
      signal: AbortSignal.any([this.#signal, stop.signal]),
      windowBytes,
      agent: AGENT,
      policy: { ...policy, deleteAbsent: policy.deleteAbsent && !isExchanged },
      pausedDeletions: isExchanged
        ? `the root is another directory than before: deletions wait for "guard confirm ${ROOT_GUARD}"`
        : "",
      scope,
      watch: (directory) => this.interceptor.watch(directory),
      heard: () => this.hear(),
      hintLog,
      journal: target.openJournal?.(),
      throttle: target.throttle,
      patrol: { policy: patrol, store: target.patrolStore },
      guards,
      mounts,
      accounts,
      rootStands: () => this.guard.stands(),
      onChange: this.#onChange,
    });
    const bounds = flowBounds(windowBytes);
    applyFlow(this.#options.flows.of(target.label), { throttle: target.throttle, replicator, bounds });
    const heldSince = holds.since(target.label);
    if (heldSince) replicator.hold(heldSince);
    return { replicator, keeper, stop, ended: Promise.resolve() };
  }
}

/** What a promise gives, or `undefined` if the signal aborts first. */
function beforeAbort<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const stop = () => resolve(undefined);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal?.removeEventListener("abort", stop));
  });
}
