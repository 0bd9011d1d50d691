/**
 * Keeps one target equal to the source: takes hints, looks at the disk, sends what differs, and picks up where it was
 * after any break. One replicator, one index and one lane a target, so that a slow or dead target delays no other.
 *
 * ```
 * hints ─▶ dirty queue ─▶ live loop ──┐
 *          scans ───────▶ mirror loop ┼─▶ detector ─▶ lane ─▶ session
 *          transfers ─────────────────┘      │          │
 *                                          index ◀── acks
 * ```
 * @module
 */
import { ProtocolError, reasonOf, TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { isWithin } from "../base/path.ts";
import type { FlowStatus, LaneStatus } from "../base/status.ts";
import type { Hint } from "../intercept/interceptor.ts";
import { hashSmallFile } from "../mirror/small_file.ts";
import type { Op } from "../ops/op.ts";
import { hasCoarseFileTimes } from "../sys/clock_ticks.ts";
import type { Stat } from "../sys/file_system.ts";
import {
  type ListedEntry,
  type Message,
  type OpFailure,
  PENDING,
  type TouchedPath,
  type Welcome,
} from "../wire/message.ts";
import type { Session } from "../wire/session.ts";
import { AccountSender } from "./account_sender.ts";
import { Agenda } from "./agenda.ts";
import { statOrUndefined } from "./batch.ts";
import { Backlog } from "./backlog.ts";
import { Bell } from "./bell.ts";
import { Condition } from "./condition.ts";
import { Connection } from "./connection.ts";
import { Decisions } from "./decisions.ts";
import { Detector } from "./detect.ts";
import type { DetectContext } from "./detect_context.ts";
import { Doubts } from "./doubts.ts";
import { FlowGate } from "./flow_gate.ts";
import { formatFlowRules } from "./flow_rules.ts";
import { Gate } from "./gate.ts";
import { Lane, type Priority } from "./lane.ts";
import { MassGuard } from "./mass_guard.ts";
import { LargeFiles } from "./large_files.ts";
import type { Patrol } from "./patrol.ts";
import { laneStatus } from "./lane_status.ts";
import { verificationOf } from "./lane_verification.ts";
import { Mounts } from "./mounts.ts";
import { PendingPaths } from "./pending.ts";
import { Problems } from "./problems.ts";
import type { ReplicatorOptions } from "./replicator_options.ts";
import { Requests } from "./requests.ts";
import { Resting } from "./resting.ts";
import { unknownFacts, wholeScope } from "./scope.ts";
import { SecondLooks } from "./second_looks.ts";
import { Stream } from "./stream.ts";
import { type Ticket, Tickets } from "./tickets.ts";
import { Upkeep } from "./upkeep.ts";
import type { Verification } from "./verification.ts";

/** Replicates to one target. */
export class Replicator {
  readonly problems = new Problems();
  readonly lane: Lane;
  readonly verification: Verification;
  readonly decisions: Decisions;
  readonly backlog: Backlog;
  readonly flow: FlowGate;
  readonly #gate: Gate;
  readonly #patrol: Patrol;
  /** Bytes read from files. */
  bytesRead = 0;
  readonly #options: ReplicatorOptions;
  readonly #tickets = new Tickets();
  readonly #detector: Detector;
  readonly #agenda: Agenda;
  readonly #requests: Requests;
  readonly #connection: Connection;
  readonly #largeFiles: LargeFiles;
  readonly #secondLooks: SecondLooks;
  readonly #resting: Resting;
  readonly #guard: MassGuard | undefined;
  readonly #mounts: Mounts;
  readonly #doubts: Doubts;
  readonly #pending: PendingPaths;
  readonly #bell: Bell;
  readonly #stream: Stream;
  readonly #condition: Condition;
  readonly #upkeep: Upkeep;

  #lastAckAtMs = 0;
  readonly #accounts: AccountSender;
  #failures = 0;
  /** Rejects when something is wrong with ourselves: the replicator stops. */
  readonly #broken = Promise.withResolvers<never>();
  readonly #stopping = new AbortController();

  constructor(options: ReplicatorOptions) {
    this.#options = options;
    const { clock, signal, connect, givesUp, index, tree } = options;
    this.#bell = new Bell(options.onChange);
    const { windowBytes, journal, throttle } = options;
    this.lane = new Lane({ clock, windowBytes, journal, throttle, onChange: () => this.#bell.ring() });
    this.flow = new FlowGate({
      lane: this.lane,
      clock,
      isMirrored: () => this.#stream.isMirrored,
      isTransferring: () => this.#agenda.transfersCount > 0,
    });
    this.#accounts = new AccountSender({ accounts: options.accounts, index, lane: this.lane });
    this.#requests = new Requests((message) => this.lane.post(message));
    const tickets = this.#tickets;
    this.#gate = new Gate({
      lane: this.lane,
      bell: this.#bell,
      course: () => this.#stream.count,
      isConnected: () => this.#isConnected,
      isStopped: () => this.#condition.isStopped,
      hurry: () => this.flow.hurry(),
      isDry: options.planned !== undefined,
    });
    this.#secondLooks = new SecondLooks({
      tickets,
      nowMs: () => clock.monotonicMs(),
      hashNow: (path) => hashSmallFile(tree, path, this.#stream.abilities.xattrs),
      onRested: (path) => this.#agenda.markDirty(path),
      onMissed: (path, ticket) => this.#distrust(path, ticket),
      onUnproven: (path, ticket) => {
        this.#largeFiles.prove(path);
        this.#agenda.transfer(path, "live", ticket);
      },
      onLooked: () => this.#bell.ring(),
    });
    this.#resting = new Resting({
      tickets,
      nowMs: () => clock.monotonicMs(),
      hear: options.heard ?? (() => Promise.resolve(true)),
      onDue: () => this.#bell.ring(),
    });
    this.#mounts = new Mounts({ tree, ...(options.mounts ?? { known: [], save: () => {} }) });
    this.#guard = options.guards && new MassGuard({
      index,
      ...options.guards,
      nowMs: () => clock.monotonicMs(),
      resting: () => this.#resting.gonePaths(),
    });
    this.#doubts = new Doubts({
      index,
      ask: (path, recursive) => this.#ask(path, recursive),
      lookAgain: (path, recursive) => this.#lookAgain(path, recursive),
    });
    this.#pending = new PendingPaths({
      post: (message) => this.lane.post(message),
      lookAgain: (path) => {
        this.#lookAgain(path, statOrUndefined(tree, path)?.kind === "directory");
      },
      reached: () => this.reached(),
      nowMs: () => clock.nowMs(),
      onChange: () => this.#bell.ring(),
    });
    const context = this.#detectContext();
    this.#detector = new Detector(context);
    this.#largeFiles = new LargeFiles({
      ...context,
      secondLooks: this.#secondLooks,
      sign: async (path, range) => {
        await this.#connected();
        using _asked = this.flow.ask(range.end - range.start);
        return await this.#requests.sign(path, range);
      },
      // What goes to an ordered journal does not wait for a target that is away.
      mayAsk: (priority) => priority === "mirror" || this.#isConnected || !this.lane.keepsOnDisk,
      course: () => this.#stream.count,
      linkedNames: () => this.#detector.linkedNames,
      markDirty: (path, ticket) => this.#agenda.markDirty(path, ticket),
      broken: (error) => this.#broken.reject(error),
    });
    this.#agenda = new Agenda(tickets, {
      detector: this.#detector,
      clock,
      roots: this.#roots,
      resting: this.#resting,
      sendLarge: (path, priority, ticket) => this.#largeFiles.send(path, priority, ticket),
      onChange: () => this.#bell.ring(),
    });
    this.backlog = new Backlog({
      log: options.hintLog,
      tickets,
      take: (hint, ticket) => this.#takeHint(hint, ticket),
      waitingCount: () => this.#agenda.dirtyCount,
      lookAtEverything: () => this.#agenda.mirrorWhatChanged(),
    });
    this.#stream = new Stream({
      index,
      keeper: options.keeper,
      lane: this.lane,
      agenda: this.#agenda,
      detector: this.#detector,
      doubts: this.#doubts,
      requests: this.#requests,
      secondLooks: this.#secondLooks,
      problems: this.problems,
      pending: this.#pending,
      tickets,
      log: options.log,
      rootPath: tree.rootPath,
      keepsTargetOut: options.keepsTargetOut ?? false,
      roots: this.#roots,
      isDry: options.planned !== undefined,
      broken: (error) => this.#broken.reject(error),
      onChange: () => {
        this.#accounts.begin();
        this.#bell.ring();
      },
    });
    this.decisions = new Decisions({
      target: options.target,
      tree,
      index,
      lane: this.lane,
      stream: this.#stream,
      agenda: this.#agenda,
      detector: this.#detector,
      problems: this.problems,
      pending: this.#pending,
      tickets,
      bell: this.#bell,
      policy: options.policy,
      state: () => this.#condition.now(),
    });
    this.#connection = new Connection({
      connect,
      clock,
      signal,
      givesUp,
      hello: () => ({ ...this.#stream.hello, agent: options.agent }),
      onWelcome: (session, welcome, touched) => this.#beginSession(session, welcome, touched),
      onMessage: (message) => this.#takeMessage(message),
      onLost: (error) => this.#loseSession(error),
    });
    this.#condition = new Condition({
      connection: this.#connection,
      stream: this.#stream,
      agenda: this.#agenda,
      backlog: this.backlog,
      flow: this.flow,
      lane: this.lane,
      doubts: this.#doubts,
      guard: this.#guard,
      clock,
      rootStands: options.rootStands,
      pausedDeletions: options.pausedDeletions ?? "",
    });
    this.#upkeep = new Upkeep({
      ...options,
      lane: this.lane,
      stream: this.#stream,
      doubts: this.#doubts,
      connection: this.#connection,
      condition: this.#condition,
      agenda: this.#agenda,
      backlog: this.backlog,
      mounts: this.#mounts,
      bell: this.#bell,
    });
    const { verification, patrol } = verificationOf({
      context,
      options,
      agenda: this.#agenda,
      bell: this.#bell,
      condition: this.#condition,
      doubts: this.#doubts,
      flow: this.flow,
      problems: this.problems,
      pending: this.#pending,
      requests: this.#requests,
      stream: this.#stream,
      settled: (signal) => this.#settledButPending(signal),
      distrust: (path) => this.#distrust(path, tickets.take()),
    });
    this.verification = verification;
    this.#patrol = patrol;
  }

  get #roots(): string[] {
    return this.#options.roots ?? [""];
  }

  // ——— For the manager ———

  /** Runs until the signal aborts; then saves the index. @throws {Error} If it gave up connecting. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    this.#stream.load();
    this.backlog.begin();
    const stop = () => {
      // Before the session is closed: what was told last must not say more than is so.
      this.#upkeep.tellWaiting();
      this.#stop();
    };
    signal.addEventListener("abort", stop, { once: true });
    const loops = [
      this.#runLoop(() => this.#liveStep()),
      this.#runLoop(() => this.#mirrorStep()),
      this.#upkeep.run(),
      this.#patrol.run(this.#stopping.signal),
    ];
    try {
      await Promise.race([this.#connection.run(), this.#broken.promise, ...loops]);
    } finally {
      signal.removeEventListener("abort", stop);
      this.#stop();
      await this.#connection.close();
      // No answer comes any more to whoever waits for one, and no file is read once the tree is closed.
      this.#requests.disconnect();
      this.#accounts.disconnect();
      await Promise.allSettled([...loops, this.#agenda.end()]);
      this.#secondLooks.clear();
      this.#resting.clear();
      this.flow[Symbol.dispose]();
      this.lane.close();
      this.#upkeep.save();
    }
  }

  /**
   * Takes what the interceptor heard.
   *
   * @param logged Sequence of the first hint in the transaction log; `undefined` if they are not there.
   */
  take(hints: Hint[], logged?: number): void {
    let sequence = logged;
    for (const hint of hints) {
      if (hint.kind === "root-gone") continue;
      if (!this.backlog.leave(sequence)) this.#takeHint(hint);
      if (sequence !== undefined) sequence++;
    }
    this.#bell.ring();
  }

  #takeHint(hint: Hint, ticket?: Ticket): void {
    if (hint.kind === "look") this.#agenda.markDirty(hint.path, ticket);
    else if (hint.kind === "look-below") this.#agenda.lookBelow(hint.path, ticket);
    else if (hint.kind === "moved") this.#takeMove(hint, ticket);
  }

  #takeMove(hint: Extract<Hint, { kind: "moved" }>, ticket?: Ticket): void {
    this.#agenda.takeMove(hint, ticket);
    if (!hint.directory || !this.#options.scope) return;
    // A passage is not made for itself, so that nobody would look below it.
    if (this.#options.scope.standing(hint.to, unknownFacts) === "passage") {
      this.#agenda.lookBelow(hint.to, ticket);
    }
  }

  /** Looks at everything. Resolves when every directory was looked at. */
  verify(): Promise<void> {
    return this.#agenda.verify();
  }

  /** The set is another one than before. Resolves when everything was looked at by its new rules. */
  scopeChanged(): Promise<void> {
    const scope = this.#options.scope ?? wholeScope;
    // What is no business of the set any more is no problem of it.
    for (const { path } of this.problems.list()) {
      if (scope.standing(path, unknownFacts) === "out") this.problems.clear(path);
    }
    return this.#agenda.verify();
  }

  /** Looks at a directory with everything below, at the pace of the mirror. Resolves when it was done. */
  lookAt(path: string): Promise<void> {
    return this.#agenda.lookAt(path);
  }

  /** Files that have names outside the tree; they are looked at by {@linkcode lookAtUnheardFiles}. */
  get outsideLinksCount(): number {
    return this.#detector.outsideLinksCount;
  }

  /** Since when there are some, wall clock. */
  get outsideLinksSinceMs(): number {
    return this.#detector.outsideLinksSinceMs;
  }

  /** Looks again at what could not be read, and at files that may be changed by a name outside the tree. */
  lookAtUnheardFiles(): void {
    for (const path of this.#detector.changedOutside()) this.#agenda.markDirty(path);
    for (const { path, op } of this.problems.list()) {
      if (op !== "read") continue;
      // Into a directory, too: what was heard of in it meanwhile could not be read either.
      if (statOrUndefined(this.#options.tree, path)?.kind === "directory") this.#agenda.lookBelow(path);
      else this.#agenda.markDirty(path);
    }
  }

  /** Times that everything was looked at because events were lost. */
  get rescans(): number {
    return this.#agenda.rescans;
  }

  /** How long the last look at everything that was not the first one took, milliseconds; 0 before it. */
  get everythingTakesMs(): number {
    return this.#agenda.everythingTakesMs;
  }

  /** Wall clock of the last finished scan of everything; 0 before the first. */
  get lastVerifyAtMs(): number {
    return Math.max(this.#agenda.lastVerifyAtMs, this.#patrol.lastSourceAtMs);
  }

  /**
   * Resolves when everything that was dirty at the call has been made durable on the target, or with `false` when the
   * signal aborts first. What waits for a file in use there is waited for, save in a pass that nobody comes back to.
   */
  async settled(signal?: AbortSignal): Promise<boolean> {
    for (;;) {
      if (!await this.#settledButPending(signal)) return false;
      const { lastNumber } = this.#pending;
      if (this.#options.isOnePass || !this.#pending.hasUpTo(lastNumber)) return true;
      await this.#waitUntil(() => !this.#pending.hasUpTo(lastNumber), signal);
      if (signal?.aborted) return false;
    }
  }

  async #waitUntil(isSo: () => boolean, signal: AbortSignal | undefined): Promise<void> {
    const wake = () => this.#bell.ring();
    signal?.addEventListener("abort", wake, { once: true });
    try {
      while (!isSo() && !signal?.aborted && !this.#condition.isStopped) await this.#bell.rung();
    } finally {
      signal?.removeEventListener("abort", wake);
    }
  }

  async #settledButPending(signal?: AbortSignal): Promise<boolean> {
    this.#secondLooks.hurry();
    using _hurry = this.#resting.hurry();
    using _open = this.flow.hurry();
    return await this.reached(signal);
  }

  /** {@linkcode settled} for who is in no hurry. */
  async reached(signal?: AbortSignal): Promise<boolean> {
    const wake = () => this.#bell.ring();
    signal?.addEventListener("abort", wake, { once: true });
    try {
      return await this.#settle(signal);
    } finally {
      signal?.removeEventListener("abort", wake);
    }
  }

  async #settle(signal?: AbortSignal): Promise<boolean> {
    const ticket = this.#tickets.take();
    const isSettled = () =>
      this.#stream.isReady && this.#doubts.areResolved && this.#agenda.oldestTicket > ticket;
    const isOver = () => signal?.aborted || this.#condition.isStopped;
    for (;;) {
      while (!isSettled() && !isOver()) await this.#bell.rung();
      const [course, sequence] = [this.#stream.count, this.lane.lastSequence];
      while (this.lane.ackedSequence < sequence && course === this.#stream.count && !isOver()) {
        await this.#bell.rung();
      }
      if (isOver() || this.deletionsWait) return false;
      // The ack may have told of failures, and a new session of doubts: what is in question is not settled.
      if (course === this.#stream.count && isSettled()) return true;
    }
  }

  /** Whether there is no session with the target. */
  get isUnreachable(): boolean {
    const { state } = this.#condition.now();
    return state === "disconnected" || state === "refused";
  }

  /** What waits for a decision of the user, `""` if nothing does. */
  get guardReason(): string {
    return this.#condition.guardReason;
  }

  /** Whether the target has all that can be sent, and the index of that is saved. */
  get isReached(): boolean {
    const { keeper } = this.#options;
    const isIdle = this.#stream.isMirrored && this.#agenda.isIdle && this.#resting.size === 0;
    return isIdle && this.lane.unackedOps === 0 &&
      (keeper === undefined || keeper.savedSequence === this.lane.lastSequence);
  }

  /** Entries that the target holds. */
  get entriesHeld(): number {
    return this.#options.index.size;
  }

  /** The target as the user named it. */
  get target(): string {
    return this.#options.target;
  }

  /** Sends nothing more until {@linkcode resume}. @param since For `status`, ISO 8601. */
  hold(since: string): void {
    this.#condition.heldSince = since;
    this.lane.hold();
  }

  resume(): void {
    this.#condition.heldSince = "";
    this.lane.resume();
  }

  /** Whether nothing is on its way to the target. */
  get isQuiet(): boolean {
    return this.lane.isQuiet;
  }

  /** Resolves when nothing is on its way to the target, or when the signal aborts. */
  quiet(signal: AbortSignal): Promise<void> {
    return this.#waitUntil(() => this.isQuiet, signal);
  }

  /** Why deletions wait, `""` if they do not. */
  get deletionsWait(): string {
    return this.#condition.deletionsWait;
  }

  /** Resolves when everything was looked at once and all of it is acked, or with `false` when it stopped before. */
  async mirrored(): Promise<boolean> {
    while (!this.#stream.isMirrored && !this.#condition.isStopped) await this.#bell.rung();
    return this.#stream.isMirrored;
  }

  /** Directory entries that scans have looked at. */
  get entriesSeen(): number {
    return this.#detector.entriesSeen;
  }

  /** Large files that wait or are on their way. */
  get transfersCount(): number {
    return this.#agenda.transfersCount;
  }

  status(): LaneStatus {
    return laneStatus({
      target: this.target,
      agenda: this.#agenda,
      backlog: this.backlog,
      condition: this.#condition,
      connection: this.#connection,
      decisions: this.decisions,
      lane: this.lane,
      patrol: this.#patrol,
      flow: this.flowStatus,
      pending: this.#pending,
      lastAckAtMs: this.#lastAckAtMs,
      failures: this.#failures,
    });
  }

  /** When and how fast the target is sent to. */
  get flowStatus(): Omit<FlowStatus, "target"> {
    return {
      limitRate: this.#options.throttle?.bytesPerSecond ?? 0,
      sendWhen: formatFlowRules(this.flow.rules),
      reason: this.flow.reason,
    };
  }

  /** Counters of all sessions. */
  get sessionStats() {
    return this.#connection.stats;
  }

  // ——— The session ———

  #beginSession(session: Session, welcome: Welcome, touched: TouchedPath[]): void {
    this.#condition.blockedReason = "";
    this.#requests.connect();
    this.#stream.begin(session, welcome, touched);
    this.#accounts.connect(welcome);
    this.#upkeep.connect(welcome);
    if (this.#stream.isReady) this.#accounts.begin();
    this.#pending.beginSession();
    this.#bell.ring();
  }

  #loseSession(error: unknown): void {
    this.#condition.blockedReason = "";
    this.lane.detach();
    this.#accounts.disconnect();
    this.#requests.disconnect();
    this.#options.log.debug(reasonOf(error));
    this.#bell.ring();
  }

  #takeMessage(message: Message): void {
    switch (message.type) {
      case "ack":
        // Of the stream before: the target had not yet heard that another one begins. Its listing tells what failed.
        if (!this.#stream.isReady) return;
        for (const failure of message.failures) this.#takeFailure(failure);
        this.#doubts.acknowledge(message.sequence);
        this.#pending.heard(message.sequence);
        this.#lastAckAtMs = this.#options.clock.nowMs();
        this.lane.acknowledge(message.sequence);
        return this.flow.look();
      case "listing":
      case "signature":
      case "digests":
        return this.#requests.take(message);
      case "free":
        return this.#pending.free(message.paths);
      case "blocked":
        this.#condition.blockedReason = message.reason;
        return this.#bell.ring();
      default:
        throw new ProtocolError(`Cannot take message "${message.type}": the target does not send it`);
    }
  }

  #takeFailure(failure: OpFailure): void {
    const { sequence, path, op, code, reason } = failure;
    const isPending = code === PENDING && this.#pending.refused(failure, this.#doubts.renamedTo(sequence));
    if (op === "link" && !isPending) this.#detector.linkedNames.refuse(path);
    // Nobody comes back to what one pass leaves.
    if (!isPending || this.#options.isOnePass) {
      this.#failures++;
      this.problems.add({ path, op, reason }, this.#options.clock.nowMs());
    }
    this.#doubts.addFailure(failure);
  }

  // ——— The two loops ———

  async #runLoop(step: () => Promise<boolean>): Promise<void> {
    while (!this.#condition.isStopped) {
      const ringsBefore = this.#bell.count;
      try {
        // Whoever waits for work to end hears of it, also when there was nothing to send.
        if (await step()) this.#bell.ring();
        else if (ringsBefore === this.#bell.count && !this.#condition.isStopped) await this.#bell.rung();
      } catch (error) {
        // The session or the stream under it is gone; what was in work is dirty again or covered by a scan.
        if (!(error instanceof TransientError)) throw error;
        this.#bell.ring();
      }
    }
  }

  /** Whether what is found can be sent. Until then it is not looked for: paths wait, and each waits once. */
  get #isConnected(): boolean {
    return this.#connection.state === "connected" || this.#options.planned !== undefined;
  }

  /** One step of live work. @returns Whether there was any. */
  async #liveStep(): Promise<boolean> {
    if (!this.#stream.isReady || !(this.#isConnected || this.lane.keepsOnDisk)) return false;
    if (!this.#doubts.areResolved) {
      if (!this.#isConnected) return false;
      await this.#resolveDoubts();
      return true;
    }
    const hadBacklog = this.backlog.step();
    return await this.#agenda.liveStep() || hadBacklog;
  }

  /** One step of the mirror. @returns Whether there was any. */
  async #mirrorStep(): Promise<boolean> {
    if (!this.#stream.isReady || !this.#isConnected || !this.#doubts.areResolved) return false;
    if (this.#stream.lookMirrored()) {
      this.#accounts.noteHeld();
      this.#bell.ring();
    }
    return await this.#agenda.mirrorStep();
  }

  /** Asks the target about paths in doubt. */
  async #resolveDoubts(): Promise<void> {
    // Answers must not describe a state that ops on their way will change.
    const course = this.#stream.count;
    using _hold = this.#tickets.hold(0);
    using _hurry = this.flow.hurry();
    using _gate = this.#gate.close();
    await this.#gate.acked();
    await this.#doubts.resolve(() => course === this.#stream.count);
    this.#pending.tell();
    this.#stream.tellCompared();
  }

  /** Ticket 0: whoever flushes now waits for what was corrected. */
  #lookAgain(path: string, recursive: boolean): void {
    if (recursive && path !== "") this.#agenda.lookBelow(path, 0);
    else if (recursive) this.#agenda.lookAtEverything();
    this.#agenda.markDirty(path, 0);
  }

  /** Waits for a session: a question that failed at once would be asked again at once, for ever. */
  async #connected(): Promise<void> {
    while (!this.#requests.isConnected) {
      if (this.#condition.isStopped) throw new TransientError("Cannot ask the target: stopped");
      // Whoever asked goes by what is known instead, see `mayAsk`.
      if (this.lane.keepsOnDisk) throw new TransientError("Cannot ask the target: it is away");
      await this.#bell.rung();
    }
  }

  async #ask(path: string, recursive: boolean): Promise<ListedEntry[]> {
    const listed: ListedEntry[] = [];
    await this.#requests.list(path, recursive, (entries) => void listed.push(...entries));
    return listed;
  }

  // ——— Detection's world ———

  #detectContext(): DetectContext {
    const { tree, index, policy, rootStands, planned, kept, watch = () => true } = this.#options;
    const abilities = () => this.#stream.abilities;
    const { lane } = this;
    return {
      tree,
      index,
      policy: {
        ...policy,
        get abilities() {
          return abilities();
        },
        get exchange() {
          return abilities().exchange;
        },
        get opDataSize() {
          return lane.opDataSize;
        },
      },
      room: (bytes, priority) => this.#gate.room(bytes, priority),
      push: (op, priority) => this.#push(op, priority),
      transfer: (path, priority, ticket) => this.#agenda.transfer(path, priority, ticket),
      transfersCount: () => this.#agenda.transfersCount,
      isTransferring: (path) => this.#agenda.isTransferring(path),
      lookBelow: (path, ticket) => this.#agenda.lookBelow(path, ticket),
      restless: (path) => this.#secondLooks.addRestless(path),
      isRacy: (stat) => this.#isRacy(stat),
      racy: (path, hash, ticket) => this.#secondLooks.addRacy(path, hash, ticket),
      watch,
      problem: (path, op, error) => this.#addProblem(path, op, error),
      solved: (path, op) => this.problems.clear(path, op),
      gone: (path) => this.problems.clearFrom(path),
      resting: this.#options.isOnePass || planned ? undefined : this.#resting,
      pending: this.#pending,
      guard: this.#guard,
      mounts: this.#mounts,
      lookAgain: (path, ticket) => this.#agenda.markDirty(path, ticket),
      rootStands,
      scope: this.#options.scope ?? wholeScope,
      emptied: (reason) => void (this.#condition.emptied = reason),
      settles: (directory) => this.#roots.some((root) => isWithin(directory, root)),
      onRead: (bytes) => void (this.bytesRead += bytes),
      xattrsRead: (xattrs) => this.#options.accounts?.noteXattrs(xattrs),
      kept,
      planned,
    };
  }

  #push(op: Op, priority: Priority): number {
    this.#accounts.noteOp(op);
    const sequence = this.lane.push(op, priority);
    this.flow.look();
    if (op.kind === "rename") this.#doubts.noteRename(sequence, op);
    this.#pending.notePushed(op, sequence);
    return sequence;
  }

  #addProblem(path: string, op: string, error: unknown): void {
    this.problems.add({ path, op, reason: reasonOf(error) }, this.#options.clock.nowMs());
  }

  /** Whether a file changed so shortly before now that a change after it may leave the same times. */
  #isRacy({ ctimeNs }: Readonly<Stat>): boolean {
    const ageMs = this.#options.clock.nowMs() - Number(ctimeNs / 1_000_000n);
    return (this.#options.coarseFileTimes ?? COARSE_FILE_TIMES) && ageMs < limits.racyMs;
  }

  /** What the index says of the contents of a file is not so: it is sent again, whatever its times say. */
  #distrust(path: string, ticket: Ticket): void {
    const { index } = this.#options;
    const held = index.get(path);
    if (held) index.set(path, { ...held, trusted: false }, 0);
    this.#agenda.markDirty(path, ticket);
  }

  #stop(): void {
    this.#condition.isStopped = true;
    this.#stopping.abort();
    this.#bell.ring();
  }
}

const COARSE_FILE_TIMES = hasCoarseFileTimes(Deno.build.os, Deno.osRelease());
