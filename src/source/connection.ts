/**
 * Keeps a session to one target: connects, introduces itself, hands on what the target says, and after a failure
 * tries again with growing, random pauses.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { ProtocolError, reasonOf, RefusedError, TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import {
  decodeMessage,
  encodeMessage,
  type Hello,
  type Message,
  type TouchedPath,
  type Welcome,
} from "../wire/message.ts";
import { addStats, noStats, type Session, type SessionStats } from "../wire/session.ts";

/** Where a connection stands. */
export type ConnectionState = "connecting" | "connected" | "disconnected" | "refused";

/** What a connection needs, and whom it tells. */
export interface ConnectionOptions {
  /** Makes a session. @throws {RefusedError} If the target says no. @throws {TransientError} If it is worth another try. */
  connect: (signal: AbortSignal) => Promise<Session>;
  clock: Clock;
  signal: AbortSignal;
  hello: () => Hello;
  /** The target answered; the lane is attached to the session here. */
  onWelcome: (session: Session, welcome: Welcome, touched: TouchedPath[]) => void;
  /** Any later message; before the welcome only `blocked`. */
  onMessage: (message: Message) => void;
  /** The session is gone. */
  onLost: (error: unknown) => void;
  /** Whether to give up after this failure: then `run` throws it. @default never */
  givesUp?: (error: unknown, attempts: number) => boolean;
}

/** The session to one target, again and again. */
export class Connection {
  readonly #options: ConnectionOptions;
  #state: ConnectionState = "connecting";
  #reason = "";
  #session: Session | undefined;
  #past: SessionStats = noStats();
  #attempts = 0;
  #isClosed = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Why it is not connected; `""` if it is. */
  get reason(): string {
    return this.#reason;
  }

  /** Counters over all sessions. */
  get stats(): SessionStats {
    return addStats(this.#past, this.#session?.stats ?? noStats());
  }

  /** Runs until the signal aborts, or until it gives up. */
  async run(): Promise<void> {
    const { signal, clock } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#converse();
      } catch (error) {
        if (signal.aborted || this.#isClosed) break;
        this.#state = error instanceof RefusedError ? "refused" : "disconnected";
        this.#reason = reasonOf(error);
        this.#attempts++;
        this.#options.onLost(error);
        if (this.#options.givesUp?.(error, this.#attempts)) throw error;
      }
      await clock.sleep(this.#pauseMs(), signal);
    }
  }

  /** Closes the session, after what was sent is on its way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#session?.close();
  }

  async #converse(): Promise<void> {
    const { signal } = this.#options;
    const session = await this.#options.connect(signal);
    // After what others send on the same signal as their last words.
    const closeOnAbort = () => void Promise.resolve().then(() => session.close());
    signal.addEventListener("abort", closeOnAbort, { once: true });
    this.#session = session;
    try {
      await this.#introduce(session);
      for (;;) this.#options.onMessage(await receiveMessage(session));
    } finally {
      signal.removeEventListener("abort", closeOnAbort);
      this.#past = addStats(this.#past, session.stats);
      this.#session = undefined;
      await session.close();
    }
  }

  async #introduce(session: Session): Promise<void> {
    await session.send(encodeMessage({ type: "hello", hello: this.#options.hello() }));
    const welcome = await receiveMessage(session);
    if (welcome.type !== "welcome") {
      throw new ProtocolError(`Cannot begin session: "${welcome.type}" came first`);
    }
    const touched: TouchedPath[] = [];
    for (let last = false; !last;) {
      const message = await receiveMessage(session);
      if (message.type === "blocked") {
        // Touched paths come when it is over.
        this.#options.onMessage(message);
        continue;
      }
      if (message.type !== "touched") {
        throw new ProtocolError(`Cannot begin session: "${message.type}" came early`);
      }
      touched.push(...message.entries);
      last = message.last;
    }
    this.#state = "connected";
    this.#reason = "";
    this.#attempts = 0;
    this.#options.onWelcome(session, welcome.welcome, touched);
  }

  /** Doubles from try to try; the random factor keeps many sources from coming back in step. */
  #pauseMs(): number {
    if (this.#state === "refused") return limits.reconnectMaxMs;
    const pause = limits.reconnectMinMs * 2 ** Math.min(this.#attempts, 16);
    return Math.min(pause, limits.reconnectMaxMs) * (0.5 + Math.random());
  }
}

/** The next message; the end of the session is an error to whoever still expects one. */
async function receiveMessage(session: Session): Promise<Message> {
  const bytes = await session.receive();
  if (!bytes) throw new TransientError("Cannot go on with session: the target closed it");
  return decodeMessage(bytes);
}
