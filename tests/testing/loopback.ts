/**
 * A source and a target in one process: a real {@linkcode Replicator} over a real directory, a real receiver over a
 * real replica, and between them a line that the test rules: it is cut at any message, loses what is on its way, or
 * takes its time. Either side can crash.
 *
 * ```
 *  Replicator ─▶ LoopbackSession ─▶ toTarget ─▶ Receiver ─▶ replica
 *      ▲                ▲                           │
 *      └────────────────┴───────── toSource ◀───────┘
 * ```
 *
 * Nothing sleeps: messages move a turn of the event loop at a time, and the clock of the source runs faster than ours.
 * @module
 */
import { type Clock, systemClock, yieldToEvents } from "../../src/base/clock.ts";
import { ByteReader, ByteWriter } from "../../src/base/bytes.ts";
import { TransientError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { silentLog } from "../../src/base/log.ts";
import { quote } from "../../src/base/path.ts";
import type { Hint } from "../../src/intercept/interceptor.ts";
import { initHasher } from "../../src/mirror/signature.ts";
import { decodeOp, encodeOp, type Op } from "../../src/ops/op.ts";
import { Index } from "../../src/source/index.ts";
import { IndexKeeper } from "../../src/source/index_keeper.ts";
import { Replicator } from "../../src/source/replicator.ts";
import type { ReplicatorOptions } from "../../src/source/replicator_options.ts";
import type { Scope } from "../../src/source/scope.ts";
import { RootGuard } from "../../src/source/root_guard.ts";
import { openIndexStore } from "../../src/store/index_store.ts";
import type { FileSystem } from "../../src/sys/file_system.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { Receiver } from "../../src/target/receive.ts";
import { openReplica, type Replica } from "../../src/target/replica.ts";
import { decodeMessage, encodeMessage, type Message } from "../../src/wire/message.ts";
import { noStats, type Session, type SessionStats } from "../../src/wire/session.ts";
import { type CallListener, Crash, CrashPoint, faultyFileSystem } from "./faulty_file_system.ts";
import { type TempDirectory, tempDirectory } from "./temp.ts";

/** A clock whose time runs `factor` times as fast, so that pauses of seconds last milliseconds. */
export function fastClock(factor: number): Clock {
  const start = performance.now();
  const wallStart = Date.now();
  const elapsed = () => (performance.now() - start) * factor;
  return {
    nowMs: () => wallStart + elapsed(),
    monotonicMs: elapsed,
    sleep: (ms, signal) => systemClock.sleep(ms / factor, signal),
  };
}

/** What a line does next to the messages on it. */
export interface LineFaults {
  /** So many further messages, both ways counted, are delivered; then the line breaks. */
  cutAfter?: number;
  /** What was sent before the cut and not delivered still arrives at the target. @default {false} */
  keepsTail?: boolean;
  /** Turns of the event loop that a message takes. @default {1} */
  delayTurns?: number;
  /** While it is true nothing is delivered. @default {false} */
  isHeld?: boolean;
  /** Ops that the target acks and does not do: what a bug or a broken disk would make of them. @default none */
  loses?: (op: Op) => boolean;
}

/** A place for messages of one session. */
class LoopbackSession implements Session {
  readonly peer = "loopback";
  readonly stats: SessionStats = noStats();
  readonly toTarget: Uint8Array[] = [];
  readonly #toSource: Uint8Array[] = [];
  readonly #onSend: () => void;
  readonly #onClose: () => void;
  #receiving: PromiseWithResolvers<void> | undefined;
  #failure: Error | undefined;
  isClosed = false;

  constructor({ onSend, onClose }: { onSend: () => void; onClose: () => void }) {
    this.#onSend = onSend;
    this.#onClose = onClose;
  }

  get isOver(): boolean {
    return this.isClosed || this.#failure !== undefined;
  }

  send(message: Uint8Array): Promise<void> {
    if (this.isOver) return Promise.reject(this.#failure ?? new TransientError("Cannot send: closed"));
    this.stats.packetsSent++;
    this.stats.bytesSent += message.length;
    this.toTarget.push(message.slice());
    this.#onSend();
    return Promise.resolve();
  }

  async receive(): Promise<Uint8Array | undefined> {
    while (this.#toSource.length === 0) {
      if (this.#failure) throw this.#failure;
      if (this.isClosed) return undefined;
      this.#receiving ??= Promise.withResolvers<void>();
      await this.#receiving.promise;
    }
    return this.#toSource.shift()!;
  }

  close(): Promise<void> {
    if (!this.isOver) this.#onClose();
    this.isClosed = true;
    this.#wake();
    return Promise.resolve();
  }

  deliver(message: Uint8Array): void {
    this.stats.packetsReceived++;
    this.stats.bytesReceived += message.length;
    this.#toSource.push(message);
    this.#wake();
  }

  fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  #wake(): void {
    this.#receiving?.resolve();
    this.#receiving = undefined;
  }
}

/** The target: its replica, and the line to it. */
export class LoopbackTarget {
  readonly replicaRoot: string;
  readonly stateDirectory: string;
  faults: LineFaults = {};
  /** While it is true nobody reaches the target. */
  isDown = false;
  /** Ops in the order in which they first arrived, over all streams. */
  readonly ops: Op[] = [];
  /** What should never happen: a broken protocol, an unforeseen error. */
  readonly failures: Error[] = [];
  /** Messages of the source, by type. */
  readonly messageCounts: Record<string, number> = {};
  #replica: Replica | undefined;
  #receiver: Receiver | undefined;
  #session: LoopbackSession | undefined;
  #pumping = false;
  #seen = { streamId: "", sequence: 0 };
  #listener: CallListener | undefined;
  /** What the target's files meet besides, for longer than one life of it. */
  trouble: CallListener | undefined;
  readonly #fileSystem: FileSystem;

  constructor(directory: string, fileSystem: FileSystem = systemFileSystem()) {
    this.replicaRoot = `${directory}/live`;
    this.stateDirectory = `${directory}/state`;
    this.#fileSystem = faultyFileSystem(fileSystem, {
      before: (call) => {
        this.#listener?.before?.(call);
        this.trouble?.before?.(call);
      },
      after: (call) => this.#listener?.after?.(call),
    });
  }

  /** The last op that is durable here, and its stream, as the target knows it now. */
  get durable(): { streamId: string; sequence: number } | undefined {
    return this.#replica && { streamId: this.#replica.streamId, sequence: this.#replica.durableSequence };
  }

  /** Opens a session; the one before ends. @throws {TransientError} If the target is down. */
  connect(): Session {
    if (this.isDown) throw new TransientError("Cannot connect: the test says so");
    this.cut();
    const replica = this.#openOrCrash();
    const session = new LoopbackSession({
      onSend: () => void this.#pump(),
      onClose: () => this.#endInOrder(session),
    });
    this.#session = session;
    this.#receiver = new Receiver(replica, {
      agent: "loopback",
      send: (message) => session.deliver(encodeMessage(message)),
    });
    return session;
  }

  /** Breaks the line. What is on its way to the target is lost, unless `keepsTail`. */
  cut({ keepsTail = false }: { keepsTail?: boolean } = {}): void {
    const session = this.#session;
    if (!session) return;
    this.#session = undefined;
    session.fail(new TransientError("Cannot go on: the test cut the line"));
    this.#guarded(() => {
      if (keepsTail) { for (const bytes of session.toTarget.splice(0)) this.#take(bytes); }
      this.#receiver?.closeSession();
    });
    this.#receiver = undefined;
  }

  /** Lets the target die at its n-th call from now on that changes a file. */
  crashAt(call: number, phase: "before" | "after"): void {
    this.#listener = new CrashPoint(call, phase);
  }

  /** The target's process dies: what it has not made durable is forgotten. The next connection opens it again. */
  crash(): void {
    const session = this.#session;
    this.#session = this.#receiver = this.#listener = undefined;
    session?.fail(new TransientError("Cannot go on: the target died"));
    this.#replica?.release();
    this.#replica = undefined;
  }

  /** Tries again what the machine's trouble kept from being applied, as the host of a receiver does now and then. */
  retry(): void {
    this.#guarded(() => {
      if (this.#receiver && this.#receiver.blockedReason !== "") this.#receiver.flush();
    });
    if (!this.isQuiet) void this.#pump();
  }

  /** Stops in order. */
  close(): void {
    this.#listener = undefined;
    this.cut();
    this.#replica?.close();
    this.#replica = undefined;
  }

  /** Names in staging. */
  staged(): string[] {
    return [...Deno.readDirSync(`${this.stateDirectory}/staging`)].map(({ name }) => name).sort();
  }

  /** Messages between source and target that are not delivered yet. */
  get isQuiet(): boolean {
    return !this.#session || (this.#session.toTarget.length === 0 && !this.#receiver?.hasWork);
  }

  #openOrCrash(): Replica {
    const { replicaRoot, stateDirectory } = this;
    try {
      return this.#replica ??= openReplica({
        replicaRoot,
        stateDirectory,
        fileSystem: this.#fileSystem,
        create: true,
      });
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.crash();
      throw new TransientError("Cannot connect: the target died", { cause: error });
    }
  }

  /** Moves messages, a turn of the event loop each, and gives the receiver its turns. */
  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (;;) {
        for (let turn = this.faults.delayTurns ?? 1; turn > 0; turn--) await yieldToEvents();
        while (this.faults.isHeld) await yieldToEvents();
        const session = this.#session;
        if (!session || !this.#step(session)) break;
      }
    } finally {
      this.#pumping = false;
    }
    if (!this.isQuiet) void this.#pump();
  }

  /** @returns Whether there was something to do. */
  #step(session: LoopbackSession): boolean {
    const bytes = session.toTarget[0];
    if (bytes) {
      if (this.faults.cutAfter !== undefined && this.faults.cutAfter-- <= 0) {
        const { keepsTail } = this.faults;
        this.faults = { ...this.faults, cutAfter: undefined };
        this.cut({ keepsTail });
        return false;
      }
      session.toTarget.shift();
      this.#guarded(() => this.#take(bytes));
    }
    this.#guarded(() => {
      const receiver = this.#receiver;
      if (!receiver) return;
      if (session.toTarget.length === 0 || receiver.hasFullGroup) receiver.flush();
      if (receiver.hasWork) receiver.work();
    });
    return !this.isQuiet;
  }

  #take(bytes: Uint8Array): void {
    const message = this.#withoutLost(decodeMessage(bytes));
    this.messageCounts[message.type] = (this.messageCounts[message.type] ?? 0) + 1;
    this.#note(message);
    this.#receiver?.handle(message);
  }

  /** An op that is lost becomes one that does nothing. */
  #withoutLost(message: Message): Message {
    const { loses } = this.faults;
    if (loses === undefined || message.type !== "ops") return message;
    const reader = new ByteReader(message.encoded);
    const writer = new ByteWriter();
    for (let i = 0; i < message.count; i++) {
      const op = decodeOp(reader);
      encodeOp(loses(op) ? { kind: "abandon", transfer: 1_000_000 } : op, writer);
    }
    return { ...message, encoded: writer.take() };
  }

  #note(message: Message): void {
    if (message.type === "begin") this.#seen = { streamId: message.streamId, sequence: 0 };
    if (message.type !== "ops") return;
    const reader = new ByteReader(message.encoded);
    for (let i = 0; i < message.count; i++) {
      const op = decodeOp(reader);
      if (message.firstSequence + i <= this.#seen.sequence) continue;
      this.#seen.sequence = message.firstSequence + i;
      this.ops.push(op);
    }
  }

  #endInOrder(session: LoopbackSession): void {
    if (this.#session === session) this.cut({ keepsTail: true });
  }

  #guarded(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (error instanceof Crash) return this.crash();
      if (!(error instanceof TransientError)) this.failures.push(error as Error);
      const session = this.#session;
      this.#session = this.#receiver = undefined;
      session?.fail(new TransientError("Cannot go on: the target ended the session", { cause: error }));
    }
  }
}

/** An index that a test keeps from being saved, as if the process had died. */
class FreezableKeeper extends IndexKeeper {
  isFrozen = false;

  override save(index: Index, ackedSequence: number): number | undefined {
    return this.isFrozen ? undefined : super.save(index, ackedSequence);
  }
}

/** What differs from the usual in a pair. */
export interface PairOptions {
  /** How much faster the source's clock runs. @default {50} */
  clockFactor?: number;
  /** The source's clock itself. @default one that runs faster */
  clock?: Clock;
  /** See `ReplicatorOptions.heard`. */
  heard?: ReplicatorOptions["heard"];
  /** See `ReplicatorOptions.coarseFileTimes`. */
  coarseFileTimes?: boolean;
  policy?: Partial<ReplicatorOptions["policy"]>;
  windowBytes?: number;
  /** Whether the source remembers its index. @default {true} */
  keepsIndex?: boolean;
  pausedDeletions?: string;
  patrol?: ReplicatorOptions["patrol"];
  /** What is in the set. @default everything */
  scope?: Scope;
  /** The file system of the source, and of the target. @default the system's */
  sourceFileSystem?: FileSystem;
  targetFileSystem?: FileSystem;
  /** Both trees and all state are made in it. @default a temporary directory of the pair */
  directory?: string;
}

interface RunningSource {
  replicator: Replicator;
  keeper: FreezableKeeper | undefined;
  guard: RootGuard;
  stop: AbortController;
  running: Promise<void>;
}

/** A source and a target. */
export class Pair implements AsyncDisposable {
  readonly sourceRoot: string;
  readonly target: LoopbackTarget;
  readonly #directory: string;
  readonly #temporary: TempDirectory | undefined;
  readonly #options: PairOptions;
  #source: RunningSource | undefined;
  /** What ended the source by itself, which it never should. */
  sourceFailure: unknown;

  private constructor(options: PairOptions, temporary: TempDirectory | undefined) {
    this.#options = options;
    this.#temporary = temporary;
    this.#directory = options.directory ?? temporary!.path;
    this.sourceRoot = `${this.#directory}/source`;
    this.target = new LoopbackTarget(`${this.#directory}/target`, options.targetFileSystem);
  }

  /** Makes the directories. The source is not started, so that a tree can be made in it first. */
  static async open(options: PairOptions = {}): Promise<Pair> {
    await initHasher();
    const temporary = options.directory ? undefined : await tempDirectory({ prefix: "understudy-pair-" });
    const pair = new Pair(options, temporary);
    Deno.mkdirSync(pair.sourceRoot, { recursive: true });
    return pair;
  }

  /** The running source. */
  get replicator(): Replicator {
    if (!this.#source) throw new Error("The source of the pair is not running");
    return this.#source.replicator;
  }

  get isRunning(): boolean {
    return this.#source !== undefined;
  }

  get replicaRoot(): string {
    return this.target.replicaRoot;
  }

  /** Starts the source, with the index that an earlier one saved. */
  start(): void {
    const { clockFactor = 50, keepsIndex = true, policy, ...options } = this.#options;
    const guard = new RootGuard(options.sourceFileSystem ?? systemFileSystem(), this.sourceRoot);
    const keeper = keepsIndex
      ? new FreezableKeeper(openIndexStore(`${this.#directory}/index.sqlite`), silentLog)
      : undefined;
    const stop = new AbortController();
    const replicator = new Replicator({
      target: "loopback",
      tree: guard.tree,
      index: new Index(),
      keeper,
      connect: async () => {
        await yieldToEvents();
        return this.target.connect();
      },
      clock: options.clock ?? fastClock(clockFactor),
      heard: options.heard,
      log: silentLog,
      signal: stop.signal,
      agent: "test",
      windowBytes: options.windowBytes,
      coarseFileTimes: options.coarseFileTimes,
      policy: {
        blockSize: limits.blockSize,
        fastMirrorSizeMin: limits.fastMirrorSizeMin,
        deleteAbsent: true,
        ...policy,
      },
      pausedDeletions: options.pausedDeletions,
      patrol: options.patrol,
      scope: options.scope,
      rootStands: () => guard.stands(),
    });
    const running = replicator.run().catch((error) => void (this.sourceFailure ??= error));
    this.#source = { replicator, keeper, guard, stop, running };
  }

  /** Ends the source: in order, or (`saves` false) without a last word to the target and to its index. */
  async stop({ saves = true }: { saves?: boolean } = {}): Promise<void> {
    const source = this.#source;
    if (!source) return;
    this.#source = undefined;
    if (!saves) {
      if (source.keeper) source.keeper.isFrozen = true;
      this.target.cut();
    }
    source.stop.abort();
    await source.running;
    source.keeper?.close();
    source.guard.tree.close();
  }

  /** Starts the source and waits until the trees are equal for the first time. Forgets the ops of that. */
  async mirror(): Promise<void> {
    if (!this.#source) this.start();
    await this.settle();
    this.takeOps();
  }

  /** Hands hints to the source; a path alone is a "look". */
  hint(...hints: (Hint | string)[]): void {
    const look = (path: string): Hint => ({ kind: "look", path });
    this.replicator.take(hints.map((hint) => typeof hint === "string" ? look(hint) : hint));
  }

  /** Hands hints to the source and waits until all is done. */
  async look(...hints: (Hint | string)[]): Promise<void> {
    this.hint(...hints);
    await this.settle();
  }

  /** Waits until all that the source knows of is durable. @throws {Error} If that is not so in time. */
  async settle({ timeoutMs = 10_000 } = {}): Promise<void> {
    const settled = await this.replicator.settled(AbortSignal.timeout(timeoutMs));
    this.check();
    if (!settled) throw new Error(`Cannot settle: ${JSON.stringify(this.replicator.status())}`);
  }

  /** Looks at everything, then waits until all is done. */
  async verify(): Promise<void> {
    this.hint({ kind: "look-below", path: "", reason: "test" });
    await this.settle();
  }

  /** @throws {Error} If something happened that never should. */
  check(): void {
    if (this.sourceFailure) throw this.sourceFailure;
    if (this.target.failures.length > 0) throw this.target.failures[0];
  }

  /** Ops that arrived since the last call, as text, see {@linkcode opText}. */
  takeOps(): string[] {
    return this.target.ops.splice(0).map(opText);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop({ saves: false });
    this.target.close();
    await this.#temporary?.[Symbol.asyncDispose]();
  }
}

/** A rename as an interceptor tells it that has both names. */
export function moved(from: string, to: string, directory = false): Hint {
  return { kind: "moved", from, to, directory };
}

/** "Look at this directory and everything below it." */
export function lookBelow(path: string): Hint {
  return { kind: "look-below", path, reason: "test" };
}

/** An op in one line: `rename a → b`, `file a (5 bytes)`, `attributes d: mode mtimeNs`. */
export function opText(op: Op): string {
  switch (op.kind) {
    case "link":
      return `link ${quoted(op.path)} as ${quoted(op.to)}`;
    case "rename":
      return `${op.exchange ? "exchange" : "rename"} ${quoted(op.path)} → ${quoted(op.to)}`;
    case "file":
      return `file ${quoted(op.path)} (${op.data.length} bytes)`;
    case "open":
      return `open ${quoted(op.path)} ${op.base}`;
    case "block":
      return `block ${op.offset}+${op.data.length}`;
    case "hole":
      return `hole ${op.offset}+${op.size}`;
    case "close":
      return `close ${quoted(op.path)}`;
    case "abandon":
      return "abandon";
    case "symlink":
      return `symlink ${quoted(op.path)} → ${op.target}`;
    case "attributes":
      return `attributes ${quoted(op.path)}: ${Object.keys(op.attributes).join(" ")}`;
    default:
      return `${op.kind} ${quoted(op.path)}`;
  }
}

function quoted(path: string): string {
  const shown = quote(path);
  return shown === `"${path}"` && path !== "" && !path.includes(" ") ? path : shown;
}
