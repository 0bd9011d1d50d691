/**
 * Runs one set: one interceptor over the root, and a replicator for each target. Waits where the root is missing, and
 * goes on when it is back.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { CommandError, errorCode, reasonOf } from "../base/errors.ts";
import type { TargetExplanation } from "../base/explanation.ts";
import { limits } from "../base/limits.ts";
import { quote } from "../base/path.ts";
import type { Log } from "../base/log.ts";
import { AGENT, VERSION } from "../base/version.ts";
import type {
  FlushResult,
  GuardStatus,
  HoldResult,
  LaneStatus,
  ProblemStatus,
  PurgeRequest,
  PurgeResult,
  SourceStatus,
  VerifyResult,
} from "../base/status.ts";

import type { Hint, Interceptor, InterceptorOptions } from "../intercept/interceptor.ts";
import type { FileSystem } from "../sys/file_system.ts";
import { type AgeWatch, lookAtAges } from "./age_watch.ts";
import { isClosed } from "./detect_context.ts";
import type { ExplainedEntry } from "./explain.ts";
import { hold, type HoldRecord, type HoldSubject, resume } from "./holding.ts";
import { Index } from "./index.ts";
import type { IndexKeeper } from "./index_keeper.ts";
import { noLeftovers } from "./leftovers.ts";
import type { PatrolPolicy, PatrolStore } from "./patrol.ts";
import { gapStatuses } from "./gap_statuses.ts";
import { Polling } from "./polling.ts";
import { Replicator } from "./replicator.ts";
import type { ReplicatorOptions } from "./replicator_options.ts";
import { exchangedRootStatus, isSameRoot, ROOT_GUARD, RootGuard } from "./root_guard.ts";
import type { Scope } from "./scope.ts";
import type { VerifyRequest } from "./verification.ts";

/** One target of a set. */
export interface ManagedTarget {
  /** As the user named it. */
  label: string;
  connect: ReplicatorOptions["connect"];
  /** See `ReplicatorOptions`. */
  keepsTargetOut?: boolean;
  /** Opens what is remembered about this target. */
  openKeeper: () => IndexKeeper;
  /** Remembers how far verification of this target has come. */
  patrolStore?: PatrolStore;
}

/** What a manager needs. */
export interface ManagerOptions {
  set: string;
  /** Absolute path. */
  root: string;
  targets: ManagedTarget[];
  fileSystem: FileSystem;
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
  /** Identity of the root in an earlier run, `undefined` if there was none; and keeps the one of this run. */
  rootIdentity: { known: string | undefined; save: (identity: string) => void };
  /** Which targets are held, over restarts. */
  holds: HoldRecord;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
  /** Something that `status` shows may have changed; called at most ten times a second. */
  onChange: () => void;
}

/** Pause between two looks for a missing root. */
const ROOT_RETRY_MS = 1_000;
/** Pause between two calls of `onChange`. */
const CHANGE_EVERY_MS = 100;

/** A set while its root is there. */
interface Running {
  guard: RootGuard;
  /** Wall clock of when the root was found to be another one than before; `undefined` if it is not. */
  exchangedSinceMs: number | undefined;
  /** Ends it; the root is opened again. */
  restart: () => void;
  interceptor: Interceptor;
  replicators: Replicator[];
  polling: Polling;
}

/** Keeps the targets of one set equal to its root. */
export class Manager {
  readonly #options: ManagerOptions;
  #running: Running | undefined;
  #interceptorReason = "";
  #blocked = "";
  /** Identity of the root, from an earlier run or from this one. */
  #knownIdentity: string | undefined;
  #changeTimer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;
  #tickTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ManagerOptions) {
    this.#options = options;
    this.#knownIdentity = options.rootIdentity.known;
    options.guards?.book.onDecision((_id, paths, state) => {
      for (const replicator of this.#running?.replicators ?? []) replicator.decisions.take(paths, state);
    });
  }

  /** Runs until the signal aborts. @throws {Error} What a restart would not mend. */
  async run(): Promise<void> {
    const { signal, clock, log } = this.#options;
    this.#tickTimer = setTimeout(() => this.#tellChange(), limits.tellMs);
    const sweeping = setInterval(() => this.#sweepGuards(), 1_000);
    try {
      while (!signal.aborted) {
        const guard = this.#openRoot();
        if (guard) {
          await this.#runWithRoot(guard);
          if (!signal.aborted && this.#blocked !== "") {
            log.warn(`Cannot go on with "${this.#options.root}": ${this.#blocked}`);
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
    }
  }

  /** Waits until every change made before the call is committed on every target. */
  async flush(timeoutMs: number, signal: AbortSignal): Promise<FlushResult> {
    const timeout = AbortSignal.any([signal, this.#options.signal, AbortSignal.timeout(timeoutMs)]);
    const running = this.#running;
    const committed = running !== undefined && await this.#settle(running, timeout);
    const waiting = committed ? [] : this.#waiting();
    return { committed, waiting, problems: this.#problems(running?.replicators ?? []) };
  }

  /** Compares the whole tree with every target. */
  async verify(request: VerifyRequest, signal: AbortSignal): Promise<VerifyResult> {
    const whileHere = AbortSignal.any([signal, this.#options.signal]);
    const replicators = this.#running?.replicators;
    if (!replicators) throw new CommandError(`Cannot verify: ${this.#blocked || "the root is not open"}`);
    const verified = replicators.map((replicator) => replicator.verification.run(request, whileHere));
    return { targets: await Promise.all(verified) };
  }

  /** The set is another one than before: watches what it has now, and looks at everything. */
  scopeChanged(): void {
    if (!this.#running) return;
    const { interceptor, replicators } = this.#running;
    interceptor.rulesChanged();
    for (const replicator of replicators) void replicator.scopeChanged();
  }

  /** How each target stands with an entry of the source. */
  explain(entry: ExplainedEntry & { isIn: boolean }): TargetExplanation[] {
    if (this.#running) {
      return this.#running.replicators.map((replicator) => replicator.decisions.explain(entry));
    }
    return this.#options.targets.map(({ label }) => ({
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
    for (const replicator of this.#running.replicators) {
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
    const { guards, rootIdentity } = this.#options;
    if (id !== ROOT_GUARD) {
      if (!guards) throw new CommandError(`Cannot decide ${quote(id)}: nothing is guarded`);
      return guards.book.decide(id, state);
    }
    const exchanged = this.#guardStatuses().find((guard) => guard.id === ROOT_GUARD);
    if (!exchanged || !this.#running) {
      throw new CommandError(`Cannot decide "${ROOT_GUARD}": the root is the directory that it was`);
    }
    if (state === "refused") {
      throw new CommandError(
        `Cannot refuse "${ROOT_GUARD}": deletions wait by themselves until the old root is back`,
      );
    }
    const { identity } = this.#running.guard;
    rootIdentity.save(identity);
    this.#knownIdentity = identity;
    this.#running.restart();
    return { ...exchanged, state };
  }

  #guardStatuses(): GuardStatus[] {
    const decided = this.#options.guards?.book.list() ?? [];
    const { exchangedSinceMs, replicators } = this.#running ?? { replicators: [] };
    if (exchangedSinceMs === undefined) return decided;
    const sizes = replicators.map((replicator) => replicator.entriesHeld);
    return [exchangedRootStatus(exchangedSinceMs, Math.max(0, ...sizes)), ...decided];
  }

  /** Forgets what guards held and what is over. */
  #sweepGuards(): void {
    const { guards } = this.#options;
    const replicators = this.#running?.replicators ?? [];
    if (!guards || guards.book.isEmpty || replicators.length === 0) return;
    guards.book.sweep(
      (path) => replicators.some((replicator) => replicator.decisions.holds(path)),
      replicators.every((replicator) => replicator.isReached),
    );
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

  #holdSubject(target: string | undefined): HoldSubject {
    const targets = this.#options.targets.map(({ label }) => label);
    return { target, targets, replicators: this.#running?.replicators ?? [] };
  }

  status(): SourceStatus {
    const { set, root } = this.#options;
    const interceptor = this.#running?.interceptor;
    const { events = 0, overflows = 0, unwatched = 0, armed = 0, directories = 0 } = interceptor?.stats ?? {};
    const replicators = this.#running?.replicators ?? [];
    const verifiedAtMs = Math.min(...replicators.map((replicator) => replicator.lastVerifyAtMs));
    return {
      role: "source",
      version: VERSION,
      set,
      root,
      pid: Deno.pid,
      interceptor: interceptor?.name ?? "none",
      interceptorReason: [this.#interceptorReason, interceptor?.stats.limitation].filter(Boolean).join("; "),
      promise: "convergent",
      commit: "ack",
      targets: this.#laneStatuses(),
      capture: {
        events,
        overflows,
        rescans: replicators.reduce((sum, replicator) => sum + replicator.rescans, 0),
        unwatched,
        armed,
        directories,
        gaps: gapStatuses(interceptor, replicators),
        lastVerifyAt: replicators.length > 0 && verifiedAtMs > 0 ? new Date(verifiedAtMs).toISOString() : "",
      },
      guards: this.#guardStatuses(),
      problems: this.#problems(replicators),
    };
  }

  #problems(replicators: Replicator[]): ProblemStatus[] {
    const problems = replicators.flatMap((replicator) => replicator.problems.list());
    return problems.map(({ path, op, reason, sinceMs }) => {
      return { path, op, reason, since: new Date(sinceMs).toISOString() };
    });
  }

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
    const { chooseInterceptor, root, scope, signal, clock, rootIdentity } = this.#options;
    // Deletions below an exchanged root have no evidence: nobody deleted anything there.
    const exchanged = this.#knownIdentity !== undefined && !isSameRoot(this.#knownIdentity, guard.identity);
    this.#blocked = "";
    const stop = new AbortController();
    const whileHere = AbortSignal.any([signal, stop.signal]);
    const onHints = (hints: Hint[]) => this.#take(hints, stop);
    const { interceptor, reason } = chooseInterceptor({
      root,
      onHints,
      isExcluded: (directory) => isClosed(directory, { scope }),
    });
    this.#interceptorReason = reason;
    const keepers: IndexKeeper[] = [];
    let looking: ReturnType<typeof setInterval> | undefined;
    try {
      const replicators = this.#options.targets.map((target) => {
        const keeper = target.openKeeper();
        keepers.push(keeper);
        const watch = (directory: string) => interceptor.watch(directory);
        return this.#makeReplicator(target, { guard, keeper, exchanged, watch, signal: whileHere });
      });
      const polling = new Polling({
        unheard: () => interceptor.unheard(),
        look: (path) => Promise.all(replicators.map((replicator) => replicator.lookAt(path))),
        lookAtUnheardFiles: () => replicators.forEach((replicator) => replicator.lookAtUnheardFiles()),
        clock,
      });
      const exchangedSinceMs = exchanged ? clock.nowMs() : undefined;
      const restart = () => stop.abort();
      this.#running = { guard, exchangedSinceMs, restart, interceptor, replicators, polling };
      await interceptor.start();
      // It may have been exchanged between its opening and its first watch: then the interceptor watches another one.
      looking = setInterval(() => {
        if (guard.stands()) return;
        this.#take([{ kind: "root-gone", reason: "its path leads elsewhere now" }], stop);
      }, limits.rootCheckMs);
      if (!exchanged) {
        rootIdentity.save(guard.identity);
        this.#knownIdentity = guard.identity;
      }
      const regularly = [
        polling.run(whileHere),
        lookAtAges({ ages: this.#options.ages, clock, replicators, signal: whileHere }),
      ];
      try {
        await Promise.all(replicators.map((replicator) => replicator.run()));
      } finally {
        stop.abort();
        await Promise.all(regularly);
      }
    } finally {
      clearInterval(looking);
      this.#running = undefined;
      await interceptor.stop();
      for (const keeper of keepers) keeper.close();
      guard.tree.close();
    }
  }

  #makeReplicator(
    target: ManagedTarget,
    { guard, keeper, exchanged, watch, signal }: {
      guard: RootGuard;
      keeper: IndexKeeper;
      exchanged: boolean;
      watch: ReplicatorOptions["watch"];
      signal: AbortSignal;
    },
  ): Replicator {
    const { clock, log, windowBytes, scope, policy } = this.#options;
    const replicator = new Replicator({
      target: target.label,
      connect: target.connect,
      keepsTargetOut: target.keepsTargetOut,
      tree: guard.tree,
      index: new Index(),
      keeper,
      clock,
      log,
      signal,
      windowBytes,
      agent: AGENT,
      policy: { ...policy, deleteAbsent: policy.deleteAbsent && !exchanged },
      pausedDeletions: exchanged
        ? `the root is another directory than before: deletions wait for "guard confirm ${ROOT_GUARD}"`
        : "",
      scope,
      watch,
      heard: () => this.#hear(),
      patrol: { policy: this.#options.patrol, store: target.patrolStore },
      guards: this.#options.guards,
      mounts: this.#options.mounts,
      rootStands: () => guard.stands(),
      onChange: () => this.#tellChangeSoon(),
    });
    const heldSince = this.#options.holds.since(target.label);
    if (heldSince) replicator.hold(heldSince);
    return replicator;
  }

  #take(hints: Hint[], stop: AbortController): void {
    for (const replicator of this.#running?.replicators ?? []) replicator.take(hints);
    const gone = hints.find((hint) => hint.kind === "root-gone");
    if (!gone) return;
    this.#blocked = `the root is gone: ${gone.reason}`;
    stop.abort();
  }

  async #settle({ interceptor, replicators, polling }: Running, signal: AbortSignal): Promise<boolean> {
    // While the tree is being armed its parts are scanned as they are watched: it ends with both.
    const heard = await beforeAbort(interceptor.sync(), signal);
    if (signal.aborted) return false;
    if (heard) polling.lookNow();
    const settled = replicators.map((replicator) => {
      if (!heard) replicator.verify();
      return replicator.settled(signal);
    });
    return (await Promise.all(settled)).every(Boolean);
  }

  /** Has all that was heard of handed on, and the rest looked at. @returns Whether nothing can be unheard then. */
  async #hear(): Promise<boolean> {
    const heard = await this.#running?.interceptor.sync() ?? false;
    if (heard) this.#running?.polling.lookNow();
    return heard;
  }

  #laneStatuses(): LaneStatus[] {
    const running = this.#running;
    if (running) return running.replicators.map((replicator) => replicator.status());
    return this.#options.targets.map(({ label }) => ({
      ...idleLane,
      target: label,
      reason: this.#blocked,
      heldSince: this.#options.holds.since(label),
    }));
  }

  #waiting(): FlushResult["waiting"] {
    return this.#laneStatuses().map(({ target, state, reason }) => ({ target, state, reason }));
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

/** What a promise gives, or `undefined` if the signal aborts first. */
function beforeAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const stop = () => resolve(undefined);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Status of a lane whose root is not there. */
const idleLane: LaneStatus = {
  target: "",
  state: "blocked",
  reason: "",
  lagMs: 0,
  queuedOps: 0,
  stackedOps: 0,
  inFlightOps: 0,
  lastAckedSequence: 0,
  lastAckAt: "",
  packetsSent: 0,
  bytesSent: 0,
  retries: 0,
  errors: 0,
  opsSent: {},
  leftovers: noLeftovers,
  heldSince: "",
  verification: {
    state: "off",
    reason: "",
    lastTreeAt: "",
    treeShare: 0,
    lastContentsAt: "",
    contentsShare: 0,
    found: 0,
    healed: 0,
  },
};
