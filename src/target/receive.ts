/**
 * The receiving end of a session: takes messages in their order, gathers ops, has them applied in groups, acks, and
 * answers questions about the live tree. It knows no line, no thread and no clock: its host calls
 * {@linkcode Receiver.handle} for each message, {@linkcode Receiver.flush} when no further one waits, and
 * {@linkcode Receiver.work} while there is something to answer (apply_worker.ts).
 *
 * ```
 *  hello ▸ welcome, touched…            list, sign ▸ listing…, signature
 *  begin                                 (after everything before them is applied)
 *  ops   ▸ gathered ▸ applyGroup ▸ ack   trouble of the machine ▸ blocked, until flush() succeeds
 * ```
 *
 * What must hold here:
 * - An op is applied once: sequences up to the durable one are skipped, a gap ends the session.
 * - Nothing is acked that is not durable.
 * - An answer shows the effect of every op that came before its question.
 * - While it is held nothing is applied, and so nothing acked or answered.
 * @module
 */
import type { Accounts } from "../base/accounts.ts";
import { ProtocolError, reasonOf, TransientError } from "../base/errors.ts";
import { ByteReader } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { decodeOp } from "../ops/op.ts";
import { placeOf } from "../sys/place.ts";
import type { Message, OpFailure, TouchedPath, Waiting } from "../wire/message.ts";
import { applyGroup, type SequencedOp } from "./apply.ts";
import { digestEntries } from "./digests.ts";
import { listDirectory, listEntries, signFile } from "./listing.ts";
import type { Replica } from "./replica.ts";
import { isMachineTrouble } from "./trouble.ts";

/** What a {@linkcode Receiver} needs. */
export interface ReceiverOptions {
  /** Takes messages for the sender, in their order. */
  send(message: Message): void;
  /** Program and version, for the sender's people. */
  agent: string;
  /** See {@linkcode Receiver.hold}; held from the beginning. @default {""} */
  heldReason?: string;
  /** Told of the source's accounts when they are kept durably, before ops that came after them are applied. */
  onAccounts?: (accounts: Accounts) => void;
}

/** Touched rows read at once. */
const TOUCHED_ROWS = 1_000;

/** The receiving end of one session. A replica has one at a time. */
export class Receiver {
  readonly #replica: Replica;
  readonly #options: ReceiverOptions;
  /** Ops not yet applied. Bounded by the sender's window. */
  #gathered: SequencedOp[] = [];
  #gatheredBytes = 0;
  /** Accounts that are not kept yet. */
  #accounts: Accounts | undefined;
  /** Answers begun or waiting, served in turn. */
  readonly #answers: Answer[] = [];
  #ackedSequence = 0;
  /** Ops of the next group: fewer after trouble of the machine. */
  #groupOpsMax: number = limits.groupOps;
  #blockedReason = "";
  #heldReason = "";
  #saidHello = false;
  /** Whether the sender goes on with the stream of the replica. */
  #followsStream = false;

  constructor(replica: Replica, options: ReceiverOptions) {
    this.#replica = replica;
    this.#options = options;
    this.#heldReason = options.heldReason ?? "";
    this.#block(this.#heldReason);
  }

  /** Why nothing is applied now, or `""`. Call {@linkcode flush} again after `limits.blockedRetryMs`. */
  get blockedReason(): string {
    return this.#blockedReason;
  }

  /** Whether enough is gathered for a group, so that it should not wait for more. */
  get hasFullGroup(): boolean {
    return this.#gathered.length >= limits.groupOps || this.#gatheredBytes >= limits.groupBytes;
  }

  /** Whether {@linkcode work} would do something now. */
  get hasWork(): boolean {
    return this.#answers.length > 0 && this.#blockedReason === "";
  }

  /**
   * Takes one message. Ops are gathered only; their data is kept as a view of the message.
   *
   * @throws {ProtocolError} If the message is not one that may come now. The session ends.
   * @throws {TransientError} If the machine is in trouble and the message cannot wait. The session ends.
   */
  handle(message: Message): void {
    this.#orTransient(() => this.#take(message));
  }

  #take(message: Message): void {
    if (message.type === "hello") return this.#hello(message);
    if (!this.#saidHello) throw new ProtocolError(`Cannot take "${message.type}": no hello came before it`);
    switch (message.type) {
      case "begin":
        return this.#begin(message);
      case "ops":
        return this.#gather(message);
      case "indexed":
        return this.#replica.catalog.forgetTouched(message.sequence);
      case "compared":
        return this.#compared();
      case "waiting":
        return this.#noteWaiting(message.waiting);
      case "accounts":
        return void (this.#accounts = message.accounts);
      case "list":
        return this.#ask(listEntries(this.#replica.live, message));
      case "sign":
        return this.#ask(signFile(this.#replica.live, message));
      case "list-directory":
        return this.#ask(listDirectory(this.#replica.live, message));
      case "await":
        // What came before does not know of it yet.
        this.flush();
        return this.#replica.openFiles.await(message.sequence, message.paths);
      case "digest":
        return this.#ask(digestEntries(this.#replica.live, message));
      default:
        throw new ProtocolError(`Cannot take "${message.type}": it is not for a receiver`);
    }
  }

  /** Applies what is gathered, makes it durable and acks it, unless the machine's trouble goes on. */
  flush(): void {
    if (this.#heldReason !== "") return;
    for (;;) {
      try {
        this.#replica.recoverIfNeeded();
        this.#keepAccounts();
        while (this.#gathered.length > 0) this.#applyOneGroup();
        return this.#block("");
      } catch (error) {
        if (!isMachineTrouble(error)) throw error;
        this.#replica.noteTrouble();
        // What is left of a full disk may hold a smaller group.
        if (!this.#shrinkGroup()) return this.#block(reasonOf(error));
      }
    }
  }

  /**
   * Applies what is gathered, and then nothing more until {@linkcode release}: the live tree stays as it is, at a group
   * boundary. The sender is told that it is *blocked*, and why.
   *
   * @returns Why it cannot be held, or `""`: the machine's trouble left a group half done.
   */
  hold(reason: string): string {
    if (this.#heldReason !== "") return "";
    this.flush();
    if (this.#blockedReason !== "") return this.#blockedReason;
    this.#heldReason = reason;
    this.#block(reason);
    return "";
  }

  /** Ends a hold. Call {@linkcode flush} then: it applies what was gathered meanwhile. */
  release(): void {
    if (this.#heldReason === "") return;
    this.#heldReason = "";
    this.#block("");
  }

  /**
   * Sends the next message of an answer, after everything gathered is applied.
   *
   * @throws {ProtocolError} If the question cannot be answered so. The session ends.
   * @throws {TransientError} If the machine is in trouble. The session ends.
   */
  work(): void {
    for (let answer = this.#answers[0]; answer !== undefined; answer = this.#answers[0]) {
      if (!answer.begun) this.flush();
      if (this.#blockedReason !== "") return;
      this.#answers.shift();
      answer.begun = true;
      const { messages } = answer;
      const next = this.#orTransient(() => messages.next());
      // One that has nothing more to say takes no turn.
      if (next.done) continue;
      this.#options.send(next.value);
      // The others get their turn first.
      this.#answers.push(answer);
      return;
    }
  }

  /** Whether {@linkcode tellFree} would look at something. */
  get awaitsFiles(): boolean {
    return this.#replica.openFiles.hasAwaited;
  }

  /** Looks whether files that the sender waits for are in use still, and tells what is free. */
  tellFree(): void {
    const free = this.#replica.openFiles.takeFree();
    for (const paths of chunksOf(free)) this.#options.send({ type: "free", paths });
  }

  /** Ends the session: what can be applied is, the rest is forgotten; the source still has it. */
  closeSession(): void {
    this.#answers.length = 0;
    if (this.#gathered.length > 0 || this.#accounts !== undefined) this.flush();
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#accounts = undefined;
    // Whoever promotes the replica wants to know up to when nothing can be missing.
    if (this.#saidHello) this.#replica.catalog.note({ connectedUntil: new Date().toISOString() });
    this.#saidHello = false;
    try {
      this.#replica.settle();
    } catch (error) {
      if (!isMachineTrouble(error)) throw error;
      this.#replica.noteTrouble();
    }
  }

  #hello({ hello }: Message & { type: "hello" }): void {
    if (this.#saidHello) throw new ProtocolError('Cannot take "hello": it came before');
    this.#saidHello = true;
    this.#recoverIfPossible();
    const { replicaId, streamId, durableSequence, abilities, catalog } = this.#replica;
    this.#followsStream = streamId !== "" && hello.streamId === streamId && hello.replicaId === replicaId;
    this.#ackedSequence = durableSequence;
    const { compareAll } = catalog.meta;
    const { agent } = this.#options;
    const place = placeOf(this.#replica.rootPath);
    const welcome = {
      replicaId,
      streamId,
      durableSequence,
      compareAll,
      abilities: { ...abilities },
      place,
      agent,
      accounts: true,
      waiting: true,
    };
    this.#options.send({ type: "welcome", welcome });
    if (this.#blockedReason !== "") this.#options.send({ type: "blocked", reason: this.#blockedReason });
    // Whoever begins anew is not helped by knowing what was touched: it asks for everything.
    this.#ask(this.#followsStream ? this.#touched(hello.indexedSequence) : nothingTouched());
  }

  /** Trouble in a step that cannot be done again later ends the session; the next one finds the replica recovered. */
  #orTransient<T>(step: () => T): T {
    try {
      return step();
    } catch (error) {
      if (!isMachineTrouble(error)) throw error;
      this.#replica.noteTrouble();
      throw new TransientError(reasonOf(error), { cause: error });
    }
  }

  #recoverIfPossible(): void {
    try {
      this.#replica.recoverIfNeeded();
    } catch (error) {
      if (!isMachineTrouble(error)) throw error;
      this.#blockedReason = reasonOf(error);
    }
  }

  #begin({ streamId }: Message & { type: "begin" }): void {
    if (streamId === "") throw new ProtocolError("Cannot begin a stream: it has no identity");
    this.flush();
    // What could not be applied loses its meaning with the stream that it belonged to.
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#replica.recoverIfNeeded();
    this.#replica.begin(streamId);
    this.#ackedSequence = 0;
    this.#followsStream = true;
  }

  /** By our own clock: the sender's may be another one. */
  #noteWaiting({ changes, ageMs, isMirrored }: Waiting): void {
    const nowMs = Date.now();
    const since = changes > 0 ? new Date(nowMs - ageMs).toISOString() : "";
    this.#replica.catalog.note({
      waiting: { changes, since, isMirrored, at: new Date(nowMs).toISOString() },
    });
  }

  #compared(): void {
    if (this.#replica.catalog.meta.compareAll) this.#replica.catalog.setMeta({ compareAll: false });
  }

  #gather({ firstSequence, count, encoded }: Message & { type: "ops" }): void {
    if (!this.#followsStream) throw new ProtocolError("Cannot take ops: their stream was not begun");
    const reader = new ByteReader(encoded);
    let expected = this.#lastSequence + 1;
    if (firstSequence > expected) {
      throw new ProtocolError(`Cannot take ops from ${firstSequence}: ${expected} is next`);
    }
    for (let i = 0; i < count; i++) {
      const at = reader.offset;
      const op = decodeOp(reader);
      if (firstSequence + i < expected) continue;
      const size = reader.offset - at;
      this.#gathered.push({ sequence: expected++, op, size });
      this.#gatheredBytes += size;
    }
    reader.end();
  }

  get #lastSequence(): number {
    return this.#gathered.at(-1)?.sequence ?? this.#replica.durableSequence;
  }

  /** Ops that came before them may wait still: newer accounts name what the older ones did, and more. */
  #keepAccounts(): void {
    if (this.#accounts === undefined) return;
    this.#replica.catalog.setAccounts(this.#accounts);
    this.#options.onAccounts?.(this.#accounts);
    this.#replica.stats.noteAccounts(this.#accounts);
    this.#accounts = undefined;
  }

  #applyOneGroup(): void {
    // A recovery may have found that the last group was recorded after all.
    while (this.#gathered.length > 0 && this.#gathered[0].sequence <= this.#replica.durableSequence) {
      this.#drop(1);
    }
    if (this.#gathered.length === 0) {
      const failures = this.#replica.catalog.failures(this.#ackedSequence);
      return this.#ack(this.#replica.durableSequence, failures);
    }
    const { count, sequence, failures } = applyGroup(this.#replica, this.#gathered, this.#groupOpsMax);
    this.#drop(count);
    this.#groupOpsMax = Math.min(limits.groupOps, this.#groupOpsMax * 2);
    this.#ack(sequence, failures);
  }

  /** Makes the next group smaller, if it can be. */
  #shrinkGroup(): boolean {
    const before = Math.min(this.#groupOpsMax, this.#gathered.length);
    this.#groupOpsMax = Math.max(1, Math.floor(before / 4));
    return before > 1;
  }

  #drop(count: number): void {
    for (const { size } of this.#gathered.splice(0, count)) this.#gatheredBytes -= size;
  }

  /** Failures that do not fit one message go ahead in acks of their own, each up to its last failure. */
  #ack(sequence: number, failures: OpFailure[]): void {
    let part: OpFailure[] = [];
    let size = 0;
    for (const failure of failures) {
      const failureSize = failureSizeOf(failure);
      if (part.length > 0 && size + failureSize > limits.answerChunkSize) {
        this.#options.send({ type: "ack", sequence: part[part.length - 1].sequence, failures: part });
        [part, size] = [[], 0];
      }
      part.push(failure);
      size += failureSize;
    }
    this.#options.send({ type: "ack", sequence, failures: part });
    this.#ackedSequence = sequence;
  }

  #block(reason: string): void {
    // Before the hello nothing may be sent; the answer to it tells this.
    const isOther = (reason === "") !== (this.#blockedReason === "");
    if (isOther && this.#saidHello) this.#options.send({ type: "blocked", reason });
    this.#blockedReason = reason;
    this.#replica.stats.block(reason);
  }

  #ask(messages: Answer["messages"]): void {
    if (this.#answers.length >= limits.questionsMax) {
      throw new ProtocolError(`Cannot take a question: ${this.#answers.length} wait for their answer`);
    }
    this.#answers.push({ messages, begun: false });
  }

  /** What ops changed or failed to change since the sender's index was saved. */
  *#touched(indexedSequence: number): Generator<Message, void> {
    let entries: TouchedPath[] = [];
    let size = 0;
    let after: string | undefined;
    while (true) {
      const rows = this.#replica.catalog.touched(indexedSequence, after, TOUCHED_ROWS);
      for (const { path, recursive } of rows) {
        entries.push({ path, recursive });
        size += 3 * path.length + 4;
        if (size < limits.answerChunkSize) continue;
        yield { type: "touched", entries, last: false };
        [entries, size] = [[], 0];
      }
      if (rows.length < TOUCHED_ROWS) break;
      after = rows[rows.length - 1].path;
    }
    yield { type: "touched", entries, last: true };
    const failures = this.#replica.catalog.failures(indexedSequence);
    // The ack that told them may not have arrived.
    if (failures.length > 0) this.#ack(this.#replica.durableSequence, failures);
  }
}

function* nothingTouched(): Generator<Message, void> {
  yield { type: "touched", entries: [], last: true };
}

/** An answer, begun or not. */
interface Answer {
  messages: Generator<Message, void>;
  begun: boolean;
}

/** Paths in as many parts as messages take. */
function* chunksOf(paths: string[]): Generator<string[]> {
  let part: string[] = [];
  let size = 0;
  for (const path of paths) {
    part.push(path);
    size += 3 * path.length + 2;
    if (size < limits.answerChunkSize) continue;
    yield part;
    [part, size] = [[], 0];
  }
  if (part.length > 0) yield part;
}

/** Bytes of an encoded failure, at most. */
function failureSizeOf({ path, op, code, reason }: OpFailure): number {
  return 20 + 3 * (path.length + op.length + code.length + reason.length);
}
