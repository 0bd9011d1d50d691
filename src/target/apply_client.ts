/**
 * The main thread's side of a replica's Worker. Its sessions are what single-server mode uses in place of a line, and
 * what {@linkcode pump} couples with a session that came over TCP.
 * @module
 */
import { TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { workerUrl } from "../base/workers.ts";
import { noStats, type Session, type SessionStats } from "../wire/session.ts";
import {
  type ApplyPlace,
  type ApplyReply,
  type ApplyRequest,
  POSTED,
  revivedError,
  TAKEN_BYTES,
  WAITS_FOR_ROOM,
} from "./apply_messages.ts";
import type { FullReplicaStats } from "./replica_stats.ts";

/** A Worker that has loaded its modules and waits for its replica. */
let spare: Worker | undefined;

/** Starts a Worker ahead of time: the next {@linkcode ApplyClient.open} need not wait for one. */
export function prepareWorker(): void {
  spare ??= startWorker();
}

/** Ends the Worker that was started ahead of time, if it was not used. */
export function dropPreparedWorker(): void {
  spare?.terminate();
  spare = undefined;
}

function startWorker(): Worker {
  return new Worker(workerUrl("src/target/apply_worker.ts"), { type: "module" });
}

/** A replica in its Worker. */
export class ApplyClient {
  readonly #worker: Worker;
  readonly #shared = new Int32Array(new SharedArrayBuffer(12));
  readonly #waiting = new Map<ApplyReply["kind"], PromiseWithResolvers<ApplyReply>>();
  #replicaId = "";
  #session: ApplySession | undefined;
  /** Sessions whose end the Worker has not yet confirmed; what it sends until then is theirs. */
  #detaching = 0;
  #failure: Error | undefined;

  private constructor() {
    this.#worker = spare ?? startWorker();
    spare = undefined;
    this.#worker.onmessage = ({ data }) => this.#take(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new TransientError(`Cannot apply: the Worker failed: ${event.message}`));
    };
  }

  /**
   * Starts a Worker which opens and recovers a replica. The caller holds its lock.
   *
   * @throws {CommandError | CorruptionError | SystemError} As {@linkcode openReplica} does.
   */
  static async open(place: ApplyPlace): Promise<ApplyClient> {
    const client = new ApplyClient();
    try {
      const shared = client.#shared.buffer as SharedArrayBuffer;
      const opened = await client.#ask({ kind: "open", place, shared }, "opened");
      client.#replicaId = opened.replicaId;
      return client;
    } catch (error) {
      client.#worker.terminate();
      throw error;
    }
  }

  /** Random identity of the replica. */
  get replicaId(): string {
    return this.#replicaId;
  }

  /** Why the Worker can do nothing more, if so. Open another one then. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /**
   * Begins a session with the replica. It ends the one before: that one's `receive` throws a TransientError.
   *
   * @throws {TransientError} If the Worker failed or was closed.
   */
  openSession(): Session {
    if (this.#failure) throw this.#failure;
    const before = this.#session;
    if (before !== undefined) {
      before.fail(new TransientError("Cannot go on with session: another one took its place"));
      this.#detach(before);
    }
    const session: ApplySession = new ApplySession({
      post: (bytes) => this.#postMessage(bytes),
      taken: (size) => this.#noteTaken(size),
      detach: () => this.#detach(session),
    });
    this.#session = session;
    this.#post({ kind: "attach" });
    return session;
  }

  /** Numbers of the replica now. @throws {TransientError} If the Worker failed. */
  async stats(): Promise<FullReplicaStats> {
    return (await this.#ask({ kind: "stats" }, "stats")).stats;
  }

  /**
   * Has nothing more applied until {@linkcode release}: when it returns the live tree is at a group boundary and stays
   * as it is, also over sessions. The sender is told `reason`.
   *
   * @throws {TransientError} If the machine's trouble left a group half done, or the Worker failed.
   */
  async hold(reason: string): Promise<void> {
    const { trouble } = await this.#ask({ kind: "hold", reason }, "held");
    if (trouble !== "") throw new TransientError(trouble);
  }

  /** Ends a hold; what came meanwhile is applied. */
  release(): void {
    if (this.#failure === undefined) this.#post({ kind: "release" });
  }

  /** Ends the session, closes the replica in order and ends the Worker. Never throws for a Worker that failed. */
  async close(): Promise<void> {
    if (this.#failure === undefined) {
      await this.#ask({ kind: "close" }, "closed").catch(() => {});
    }
    this.terminate();
  }

  /** Ends the Worker at once, as a crash would. */
  terminate(): void {
    this.#worker.terminate();
    this.#fail(new TransientError("Cannot apply: the Worker was ended"));
  }

  #take(data: Uint8Array | ApplyReply): void {
    if (data instanceof Uint8Array) {
      if (this.#detaching === 0) this.#session?.deliver(data);
      else this.#noteTaken(data.length);
      return;
    }
    switch (data.kind) {
      case "applied":
        if (this.#detaching === 0) this.#session?.applied(data.bytes);
        return;
      case "ended":
        if (this.#detaching === 0) this.#session?.fail(revivedError(data.error));
        return;
      case "detached":
        this.#detaching--;
        return;
      case "failed":
        return this.#fail(failureOf(data.error));
      default:
        this.#waiting.get(data.kind)?.resolve(data);
        this.#waiting.delete(data.kind);
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#session?.fail(this.#failure);
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }

  /** Asks for a reply of one kind. Those who ask for the same at the same time get the same reply. */
  async #ask<Kind extends ApplyReply["kind"]>(
    request: ApplyRequest,
    kind: Kind,
  ): Promise<ApplyReply & { kind: Kind }> {
    if (this.#failure) throw this.#failure;
    let waiting = this.#waiting.get(kind);
    if (waiting === undefined) {
      this.#waiting.set(kind, waiting = Promise.withResolvers<ApplyReply>());
      this.#post(request);
    }
    return await waiting.promise as ApplyReply & { kind: Kind };
  }

  #post(request: ApplyRequest): void {
    this.#worker.postMessage(request);
  }

  #postMessage(bytes: Uint8Array<ArrayBuffer>): void {
    // Before the message: the Worker may then wait a moment for it, but never overlooks one.
    Atomics.add(this.#shared, POSTED, 1);
    this.#worker.postMessage(bytes, [bytes.buffer]);
  }

  #noteTaken(size: number): void {
    Atomics.add(this.#shared, TAKEN_BYTES, size);
    if (Atomics.exchange(this.#shared, WAITS_FOR_ROOM, 0) === 1 && !this.#failure) {
      this.#post({ kind: "room" });
    }
  }

  #detach(session: ApplySession): void {
    if (this.#session !== session || this.#failure) return;
    this.#session = undefined;
    this.#detaching++;
    this.#post({ kind: "detach" });
  }
}

function failureOf(error: { name: string; code: string; message: string }): Error {
  const revived = revivedError(error);
  // An unforeseen error is our bug, but another Worker recovers the replica: worth trying again.
  if (revived.constructor !== Error) return revived;
  return new TransientError(`Cannot apply: the Worker failed: ${revived.message}`);
}

/** What a session does with its Worker. */
interface SessionHost {
  /** Takes bytes whose buffer is given away. */
  post(bytes: Uint8Array<ArrayBuffer>): void;
  taken(size: number): void;
  detach(): void;
}

/** A duplex of messages with the Worker. */
class ApplySession implements Session {
  readonly peer = "local";
  readonly #host: SessionHost;
  readonly #stats: SessionStats = noStats();
  readonly #inbox: Uint8Array[] = [];
  #receiving: PromiseWithResolvers<void> | undefined;
  /** Bytes sent and not yet applied. Bounded by `limits.applyInboxBytes` and one message. */
  #unappliedBytes = 0;
  #room: PromiseWithResolvers<void> | undefined;
  #failure: Error | undefined;
  #isClosed = false;

  constructor(host: SessionHost) {
    this.#host = host;
  }

  get stats(): Readonly<SessionStats> {
    return this.#stats;
  }

  /** Takes a copy: the buffer stays the caller's. */
  send(message: Uint8Array): Promise<void> {
    return this.give(message.slice());
  }

  /** Like {@linkcode send}, but the message's buffer is given away where it holds nothing else. */
  async give(message: Uint8Array): Promise<void> {
    this.#refuseIfOver();
    const isAlone = message.byteLength === message.buffer.byteLength && message.buffer instanceof ArrayBuffer;
    const own = (isAlone ? message : message.slice()) as Uint8Array<ArrayBuffer>;
    this.#stats.packetsSent++;
    this.#stats.bytesSent += own.length;
    this.#unappliedBytes += own.length;
    this.#host.post(own);
    while (this.#unappliedBytes > limits.applyInboxBytes) {
      this.#refuseIfOver();
      this.#room ??= Promise.withResolvers<void>();
      await this.#room.promise;
    }
  }

  async receive(): Promise<Uint8Array | undefined> {
    while (this.#inbox.length === 0) {
      if (this.#failure) throw this.#failure;
      if (this.#isClosed) return undefined;
      this.#receiving ??= Promise.withResolvers<void>();
      await this.#receiving.promise;
    }
    const message = this.#inbox.shift()!;
    this.#host.taken(message.length);
    return message;
  }

  close(): Promise<void> {
    if (!this.#isClosed && !this.#failure) this.#host.detach();
    this.#isClosed = true;
    // Nobody takes these any more.
    for (const message of this.#inbox.splice(0)) this.#host.taken(message.length);
    this.#wake();
    return Promise.resolve();
  }

  /** A message from the Worker. */
  deliver(message: Uint8Array): void {
    this.#stats.packetsReceived++;
    this.#stats.bytesReceived += message.length;
    this.#inbox.push(message);
    this.#receiving?.resolve();
    this.#receiving = undefined;
  }

  /** The Worker is done with so many bytes. */
  applied(bytes: number): void {
    this.#unappliedBytes -= bytes;
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** Ends the session; messages that came before can still be received. */
  fail(error: Error): void {
    if (this.#isClosed) return;
    this.#failure ??= error;
    this.#wake();
  }

  #wake(): void {
    this.#receiving?.resolve();
    this.#room?.resolve();
    this.#receiving = this.#room = undefined;
  }

  #refuseIfOver(): void {
    if (this.#failure) throw this.#failure;
    if (this.#isClosed) throw new TransientError("Cannot send: the session is closed");
  }
}

/**
 * Forwards messages both ways between a session over a line and one with a Worker, until one of them ends; then both
 * are closed. What has not been applied is bounded by `limits.applyInboxBytes`: beyond it the line is not read.
 *
 * @throws {TransientError} If the line or the Worker broke.
 * @throws {ProtocolError} If one of them did what it may not.
 */
export async function pump(line: Session, inner: Session): Promise<void> {
  try {
    await Promise.race([forward(line, inner), forward(inner, line)]);
  } finally {
    await Promise.all([line.close(), inner.close()]);
  }
}

async function forward(from: Session, to: Session): Promise<void> {
  for (;;) {
    const message = await from.receive();
    if (message === undefined) return;
    // A message from a line is ours to give away.
    if (to instanceof ApplySession) await to.give(message);
    else await to.send(message);
  }
}
