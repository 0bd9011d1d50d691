/**
 * A session over TCP: preamble ▸ Noise ▸ frames ▸ messages (docs/WIRE.md §1–4).
 *
 * A loop reads all the time, answers pings and keeps messages until they are taken; beyond
 * `limits.receiveBufferBytes` it stops, so that TCP holds the peer back. A heartbeat sends a ping when either direction
 * was silent and gives the peer up after a longer silence. It counts its own ticks, not hours: a process that was
 * stopped for a while does not blame the peer.
 *
 * Invariants: the first failure ends the session in both directions; nothing is handed up after the first bad frame;
 * what came before it is.
 * @module
 */
import { type Clock, systemClock } from "../base/clock.ts";
import { assert, ProtocolError, reasonOf, RefusedError, TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { type CipherName, TransportCipher } from "./cipher.ts";
import { type CompressionName, Compressor, decompress } from "./compress.ts";
import { decodeCloseBody, encodeCloseBody, FrameDecoder, type SealedFrame } from "./frame.ts";
import { FrameSender } from "./frame_sender.ts";
import {
  type Authorization,
  preambleFor,
  Refusal,
  type SessionRequest,
  type Suite,
  supportsCompression,
} from "./handshake.ts";
import { answerHandshake, connectHandshake, type HandshakeResult } from "./handshake_io.ts";
import type { KeyPair } from "./keys.ts";
import { addressOf, Breather, closeQuietly, connectTcp, lineError, orClosed, withDeadline } from "./line.ts";
import { LineRate } from "./line_rate.ts";
import { noStats, type Session, type SessionStats } from "./session.ts";
import type { SharedCompressions } from "./shared_compressions.ts";
import { Throttle } from "./throttle.ts";

/** What an entry of the receive queue costs beyond its bytes. */
const QUEUE_ENTRY_BYTES = 64;
/** Ticks of the heartbeat within `pingAfterMs`. */
const TICKS_PER_PING = 2;

/** Settings that both sides have. */
export interface TcpSessionOptions {
  /** Compression of what this side sends. @default {"none"} */
  compression?: CompressionName;
  /** Shared with the sessions to other targets, which are sent the same. */
  compressions?: SharedCompressions;
  /** What this side sends passes here. @default as fast as it goes, until {@linkcode TcpSession.setRate} */
  throttle?: Throttle;
  /** @default {systemClock} */
  clock?: Clock;
  /** @default {limits.handshakeMs} */
  handshakeMs?: number;
  /** @default {limits.pingAfterMs} */
  pingAfterMs?: number;
  /** @default {limits.deadAfterMs} */
  deadAfterMs?: number;
  /** Both sides must use the same. @default {limits.rekeyAfterFrames} */
  rekeyAfterFrames?: number;
}

/** How {@linkcode connectSession} connects. */
export interface ConnectOptions extends TcpSessionOptions {
  hostname: string;
  port: number;
  keyPair: KeyPair;
  targetPublicKey: Uint8Array;
  request: SessionRequest;
  /** The join token's secret while pairing. @default 32 zeros */
  psk?: Uint8Array;
  /** @default {"chacha20-poly1305"} */
  cipher?: CipherName;
  /** Hash of the handshake. @default {"SHA256"} */
  hash?: Suite["hash"];
  /** Gives up connecting; without effect on an open session. */
  signal?: AbortSignal;
}

/** How {@linkcode acceptSession} accepts. */
export interface AcceptOptions extends TcpSessionOptions {
  keyPair: KeyPair;
  /** Decides on a request; binding a key belongs in the authorization's `confirm`. */
  authorize(request: SessionRequest, peerPublicKey: Uint8Array): Promise<Authorization> | Authorization;
  /** Whether a peer may choose cipher `none`. @default {true} */
  plainAllowed?: boolean;
}

/** Counters of a session over TCP. */
export interface TcpSessionStats extends SessionStats {
  /** Frames that were not authentic or not allowed: 0, or 1 and the session is over. */
  framesRefused: number;
}

/** One authenticated TCP connection. */
export class TcpSession implements Session {
  readonly peer: string;
  readonly peerPublicKey: Uint8Array;
  readonly #stats: TcpSessionStats = { ...noStats(), framesRefused: 0 };
  readonly #conn: Deno.TcpConn;
  readonly #clock: Clock;
  readonly #pingAfterMs: number;
  readonly #deadAfterMs: number;
  readonly #peerFeatures: number;
  readonly #rate = new LineRate();
  readonly #throttle: Throttle;
  readonly #sender: FrameSender;
  readonly #opener: TransportCipher;
  readonly #decoder: FrameDecoder;
  readonly #stop = new AbortController();
  readonly #reading: Promise<void>;
  readonly #beating: Promise<void>;
  readonly #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  #receiver: PromiseWithResolvers<Uint8Array | undefined> | undefined;
  #inboxRoom: PromiseWithResolvers<void> | undefined;
  readonly #compressions: SharedCompressions | undefined;
  readonly #sharing: Disposable | undefined;
  #compressor: Compressor;
  #ended = false;
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;
  readonly #breather = new Breather();
  #silentTicks = 0;
  #unsentTicks = 0;
  #pingWaits = false;
  #pongWaits = false;

  /** Takes over a connection whose handshake is done. */
  constructor(conn: Deno.TcpConn, handshake: HandshakeResult, options: TcpSessionOptions = {}) {
    this.peer = addressOf(conn);
    this.peerPublicKey = handshake.peerPublicKey;
    this.#conn = conn;
    this.#clock = options.clock ?? systemClock;
    this.#pingAfterMs = options.pingAfterMs ?? limits.pingAfterMs;
    this.#throttle = options.throttle ?? new Throttle(this.#clock);
    this.#deadAfterMs = options.deadAfterMs ?? limits.deadAfterMs;
    this.#peerFeatures = handshake.peerFeatures;
    this.#compressions = options.compressions;
    this.#sharing = options.compressions?.join();
    this.#compressor = new Compressor("none");
    this.setCompression(options.compression ?? "none");
    const cipherOptions = { plain: handshake.plain, rekeyAfterFrames: options.rekeyAfterFrames };
    const { send, receive } = handshake.keys;
    this.#sender = new FrameSender(conn, {
      cipher: new TransportCipher(send, cipherOptions),
      stats: this.#stats,
      rate: this.#rate,
      throttle: this.#throttle,
      onFailure: (error) => this.#fail(lineError("send", error)),
    });
    this.#opener = new TransportCipher(receive, cipherOptions);
    this.#decoder = new FrameDecoder(this.#opener.overhead);
    this.#reading = this.#readFrames();
    this.#beating = this.#beat();
  }

  get stats(): Readonly<TcpSessionStats> {
    return this.#stats;
  }

  /** How what this side sends is compressed. */
  get compression(): CompressionName {
    return this.#compressor.name;
  }

  /** Compresses what is sent from now on. Stays without where the peer did not offer to understand it. */
  setCompression(name: CompressionName): void {
    const understood = supportsCompression(this.#peerFeatures, name) ? name : "none";
    this.#compressor = new Compressor(understood, this.#compressions);
  }

  /** Sends no faster from now on. */
  setRate(bytesPerSecond: number): void {
    this.#throttle.bytesPerSecond = bytesPerSecond;
  }

  send(message: Uint8Array): Promise<void> {
    assert(message.length <= limits.messageSizeMax, "a message is within limits.messageSizeMax");
    const closed = this.#closedError();
    if (closed !== undefined) return Promise.reject(closed);
    this.#measureLine();
    const line = { pace: slower(this.#rate.pace, this.#throttle.pace), idle: this.#sender.isIdle };
    const startMs = performance.now();
    const { kind, body, isShared } = this.#compressor.compress(message, line);
    if (isShared) this.#stats.packetsShared++;
    this.#rate.wasBusy(performance.now() - startMs);
    this.#unsentTicks = 0;
    const sent = this.#sender.send({ type: "message", flags: kind, body });
    this.#measureLine();
    return sent;
  }

  receive(): Promise<Uint8Array | undefined> {
    assert(this.#receiver === undefined, "one receive at a time");
    const message = this.#inbox.shift();
    if (message !== undefined) {
      this.#inboxBytes -= message.length + QUEUE_ENTRY_BYTES;
      this.#inboxRoom?.resolve();
      this.#inboxRoom = undefined;
      return Promise.resolve(message);
    }
    if (this.#ended) return Promise.resolve(undefined);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#receiver = Promise.withResolvers();
    return this.#receiver.promise;
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeWith({ refused: false, reason: "" });
    return this.#closing;
  }

  /** Closes and tells the peer why it is turned away: its `receive` throws a {@linkcode RefusedError}. */
  refuse(reason: string): Promise<void> {
    this.#closing ??= this.#closeWith({ refused: true, reason });
    return this.#closing;
  }

  async #closeWith(last: { refused: boolean; reason: string }): Promise<void> {
    if (this.#failure === undefined) {
      // Messages that nobody will take must not hold up the peer's close.
      this.#inboxRoom?.resolve();
      await this.#within(this.#deadAfterMs, this.#sendLast(last));
    }
    // The peer reads what is on its way before it ends its side. Closing earlier could reset the line under it.
    if (this.#failure === undefined) await this.#within(limits.closeMs, this.#reading);
    this.#fail(new TransientError(`Cannot use session with ${this.peer}: it is closed`));
    await Promise.all([this.#reading, this.#beating]);
  }

  async #sendLast(last: { refused: boolean; reason: string }): Promise<void> {
    try {
      await this.#sender.send({ type: "close", body: encodeCloseBody(last) });
      await this.#sender.flush();
      await this.#conn.closeWrite();
    } catch (error) {
      this.#fail(lineError("close", error));
    }
  }

  /** Waits for `work`, but not longer than `ms`. */
  async #within(ms: number, work: Promise<void>): Promise<void> {
    const done = new AbortController();
    await Promise.race([work, this.#clock.sleep(ms, AbortSignal.any([done.signal, this.#stop.signal]))]);
    done.abort();
  }

  async #readFrames(): Promise<void> {
    try {
      // A write may have failed meanwhile: then nothing more is handed up, as `receive` has said so.
      while (!this.#ended && !this.#stop.signal.aborted) {
        const frame = this.#decoder.next();
        if (frame === undefined) {
          if (!await this.#readMore()) return;
        } else {
          // A message that is not compressed is handed up as it is opened, so it needs a buffer of its own.
          const inPlace = frame.type !== "message" || frame.flags !== 0;
          const opened = this.#opener.open(frame.sealed, { header: frame.header, inPlace });
          await this.#take(frame, opened instanceof Promise ? await opened : opened);
        }
      }
    } catch (error) {
      if (error instanceof ProtocolError) this.#stats.framesRefused++;
      this.#fail(lineError("receive", error));
    } finally {
      this.#opener.close();
    }
  }

  /** Reads what the line has. Gives `false` at an end that is in order because this side closed before. */
  async #readMore(): Promise<boolean> {
    const count = await this.#conn.read(this.#decoder.room());
    if (count === null) {
      if (this.#closing !== undefined) return false;
      throw new TransientError(`Cannot receive from ${this.peer}: the line ended without a close`);
    }
    this.#decoder.advance(count);
    this.#stats.bytesReceived += count;
    this.#silentTicks = 0;
    const breath = this.#breather.passed(count);
    if (breath !== undefined) await breath;
    return true;
  }

  async #take({ type, flags }: SealedFrame, body: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#stats.packetsReceived++;
    switch (type) {
      case "message":
        await this.#deliver(decompress({ kind: flags, body }));
        break;
      case "ping":
        this.#answerPing();
        break;
      case "pong":
        this.#rate.ponged(performance.now());
        this.#measureLine();
        break;
      case "close":
        this.#end(body);
        break;
    }
  }

  /** Hands a message up, or keeps it until it is asked for; waits while too many are kept. */
  async #deliver(message: Uint8Array): Promise<void> {
    if (this.#closing !== undefined) return;
    if (this.#receiver !== undefined) {
      const receiver = this.#receiver;
      this.#receiver = undefined;
      receiver.resolve(message);
      return;
    }
    this.#inbox.push(message);
    this.#inboxBytes += message.length + QUEUE_ENTRY_BYTES;
    while (this.#inboxBytes >= limits.receiveBufferBytes && !this.#stop.signal.aborted && !this.#closing) {
      this.#inboxRoom ??= Promise.withResolvers();
      await this.#inboxRoom.promise;
    }
  }

  /** One answer at a time: a peer that floods with pings and reads nothing gets no queue of them. */
  #answerPing(): void {
    if (this.#pongWaits || this.#closing !== undefined) return;
    this.#pongWaits = true;
    this.#unsentTicks = 0;
    this.#sender.send({ type: "pong" }).catch(() => {}).finally(() => this.#pongWaits = false);
  }

  #end(body: Uint8Array): void {
    const { refused, reason } = decodeCloseBody(body);
    if (refused) throw new RefusedError(reason);
    this.#ended = true;
    this.#receiver?.resolve(undefined);
    this.#receiver = undefined;
  }

  async #beat(): Promise<void> {
    const tickMs = this.#pingAfterMs / TICKS_PER_PING;
    const deadTicks = Math.ceil(this.#deadAfterMs / tickMs);
    while (true) {
      await this.#clock.sleep(tickMs, this.#stop.signal);
      if (this.#stop.signal.aborted || this.#ended) return;
      this.#unsentTicks++;
      // While nothing is read here, silence says nothing about the peer.
      this.#silentTicks = this.#inboxRoom === undefined ? this.#silentTicks + 1 : 0;
      if (this.#silentTicks >= deadTicks) {
        return this.#fail(new TransientError(`Cannot receive from ${this.peer}: the peer is silent`));
      }
      if (Math.max(this.#silentTicks, this.#unsentTicks) >= TICKS_PER_PING) this.#ping();
    }
  }

  /** Sends a ping where its echo tells how fast the line is, if anybody wants to know. */
  #measureLine(): void {
    if (this.#compressor.name !== "none" && this.#rate.wantsPing) this.#ping();
  }

  #ping(): void {
    if (this.#pingWaits || this.#closing !== undefined) return;
    this.#pingWaits = true;
    this.#unsentTicks = 0;
    this.#rate.pinged(performance.now());
    this.#sender.send({ type: "ping" }).catch(() => {}).finally(() => this.#pingWaits = false);
  }

  /** Ends the session for good; the first failure is the one that is told. */
  #fail(error: Error): void {
    if (this.#stop.signal.aborted) return;
    this.#failure = error;
    this.#stop.abort();
    this.#sharing?.[Symbol.dispose]();
    this.#sender.fail(this.#closedError()!);
    closeQuietly(this.#conn);
    this.#inboxRoom?.resolve();
    this.#inboxRoom = undefined;
    if (this.#ended) this.#receiver?.resolve(undefined);
    else this.#receiver?.reject(error);
    this.#receiver = undefined;
  }

  /** What a `send` throws when the session is over or closing. */
  #closedError(): TransientError | undefined {
    if (this.#failure === undefined && this.#closing === undefined) return undefined;
    const why = this.#failure === undefined ? "it is closing" : reasonOf(this.#failure);
    return new TransientError(`Cannot send to ${this.peer}: ${why}`, { cause: this.#failure });
  }
}

/** A session that was accepted: `request` is what the peer asked for and was granted. */
export type AcceptedSession = TcpSession & { readonly request: SessionRequest };

/** A session that was opened: `answer` is the target's, opaque here. */
export type ConnectedSession = TcpSession & { readonly answer: Uint8Array };

/**
 * Connects to a target.
 *
 * @throws {RefusedError} If the target says no, with its reason.
 * @throws {ProtocolError} If the target does not know the expected key or the token's secret.
 * @throws {TransientError} If it cannot be reached, the line breaks, or it takes too long.
 */
export async function connectSession(options: ConnectOptions): Promise<ConnectedSession> {
  const address = `${options.hostname}:${options.port}`;
  const stop = new AbortController();
  const abort = () => stop.abort(new TransientError(`Cannot connect to ${address}: given up`));
  if (options.signal?.aborted) abort();
  options.signal?.addEventListener("abort", abort, { once: true });
  try {
    return await withDeadline(deadlineOf(options, stop), async () => {
      const conn = await connectTcp(options, stop.signal);
      return await orClosed(conn, stop.signal, async () => {
        const handshake = await connectHandshake(conn, {
          preamble: preambleFor(options.cipher ?? "chacha20-poly1305", options.hash),
          keyPair: options.keyPair,
          targetPublicKey: options.targetPublicKey,
          request: options.request,
          psk: options.psk,
        });
        stop.signal.throwIfAborted();
        const session = new TcpSession(conn, handshake, options);
        return Object.assign(session, { answer: handshake.answer });
      });
    });
  } catch (error) {
    if (error instanceof Refusal) {
      throw new Refusal(error.code, `Cannot open session with ${address}: ${error.message}`);
    }
    throw lineError("connect", error);
  } finally {
    options.signal?.removeEventListener("abort", abort);
  }
}

/**
 * Accepts a session on a connection that was just made. When it resolves, the peer has shown that it knows its key and
 * the psk, and the authorization's `confirm` has run. When it throws, the connection is closed.
 *
 * @throws {RefusedError} If the peer was refused; it has been told why.
 * @throws {ProtocolError} If the peer does not speak the protocol or does not know the psk.
 * @throws {TransientError} If the line breaks, or the handshake takes too long.
 */
export async function acceptSession(conn: Deno.TcpConn, options: AcceptOptions): Promise<AcceptedSession> {
  const stop = new AbortController();
  try {
    conn.setNoDelay(true);
    return await withDeadline(deadlineOf(options, stop), () =>
      orClosed(conn, stop.signal, async () => {
        const handshake = await answerHandshake(conn, options);
        stop.signal.throwIfAborted();
        const session = new TcpSession(conn, handshake, options);
        await confirmPeer(session, handshake.confirm);
        return Object.assign(session, { request: handshake.request });
      }));
  } catch (error) {
    throw lineError("accept", error);
  }
}

async function confirmPeer(session: TcpSession, confirm: () => void | Promise<void>): Promise<void> {
  try {
    await confirm();
  } catch (cause) {
    // Message 2 is sent already: the refusal goes into a close frame.
    await session.refuse(reasonOf(cause));
    throw cause instanceof RefusedError ? cause : new RefusedError(reasonOf(cause), { cause });
  }
}

function deadlineOf({ handshakeMs, clock }: TcpSessionOptions, stop: AbortController) {
  return { ms: handshakeMs ?? limits.handshakeMs, clock: clock ?? systemClock, stop };
}

/** Of two paces the one that counts; `undefined` while neither is known. */
function slower(line: number | undefined, throttle = 0): number | undefined {
  return throttle === 0 ? line : Math.max(line ?? 0, throttle);
}
