/**
 * The sending half of a session: seals frames in the order of the calls, gathers them and writes.
 *
 * ```
 * send ──▶ waiting ──▶ seal ──▶ batch being filled ⇄ batch being written ──▶ connection
 * ```
 *
 * Two batches change places, so small frames that come while a write is under way leave together with the next one.
 * Bound: a batch takes no further frame at `limits.sendBufferBytes`; then `send` waits.
 *
 * Invariant: after a failure nothing is sealed or written any more.
 * @module
 */
import { ByteWriter } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import type { TransportCipher } from "./cipher.ts";
import { encodeFrameHeader, type FrameType } from "./frame.ts";
import { writeAll } from "./line.ts";
import type { SessionStats } from "./session.ts";

const BATCH_CAPACITY = 64 * 1024;
const NOTHING = new Uint8Array();

/** A frame before it is sealed. */
export interface OutgoingFrame {
  type: FrameType;
  /** @default {0} */
  flags?: number;
  /** @default nothing */
  body?: Uint8Array;
}

/** What a sender works with. */
export interface FrameSenderOptions {
  cipher: TransportCipher;
  /** Counted up here. */
  stats: SessionStats;
  /** Called once, when a write or a seal failed. */
  onFailure(error: unknown): void;
}

interface WaitingFrame {
  frame: OutgoingFrame;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** Sends frames over one connection. */
export class FrameSender {
  readonly #line: Pick<Deno.Conn, "write">;
  readonly #cipher: TransportCipher;
  readonly #stats: SessionStats;
  readonly #onFailure: (error: unknown) => void;
  readonly #waiting: WaitingFrame[] = [];
  #filling = new ByteWriter(BATCH_CAPACITY);
  #writing = new ByteWriter(BATCH_CAPACITY);
  #sealUnderWay = false;
  #writeUnderWay = false;
  #failure: Error | undefined;
  /** Settled when the full batch was taken for writing. */
  #room: PromiseWithResolvers<void> | undefined;
  /** Settled when everything was written. */
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(line: Pick<Deno.Conn, "write">, { cipher, stats, onFailure }: FrameSenderOptions) {
    this.#line = line;
    this.#cipher = cipher;
    this.#stats = stats;
    this.#onFailure = onFailure;
  }

  /** Resolves when the frame is sealed: its body is free again, and it goes out without further ado. */
  send(frame: OutgoingFrame): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ frame, resolve, reject });
      if (!this.#sealUnderWay) void this.#sealWaiting();
    });
  }

  /** Resolves when everything sent so far is with the system, or the sender failed. */
  flush(): Promise<void> {
    if (this.#failure !== undefined || this.#isIdle()) return Promise.resolve();
    this.#idle ??= Promise.withResolvers();
    return this.#idle.promise;
  }

  /** Stops for good: what waits is rejected with `error`, as is every later `send`. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#room?.resolve();
    this.#idle?.resolve();
  }

  #isIdle(): boolean {
    return this.#waiting.length === 0 && this.#filling.size === 0 && !this.#writeUnderWay;
  }

  /** Seals one frame after the other. Runs once at a time, and without a pause while seals are synchronous. */
  async #sealWaiting(): Promise<void> {
    this.#sealUnderWay = true;
    try {
      while (this.#waiting.length > 0 && this.#failure === undefined) {
        if (this.#filling.size >= limits.sendBufferBytes) {
          this.#room ??= Promise.withResolvers();
          await this.#room.promise;
          continue;
        }
        const { type, flags = 0, body = NOTHING } = this.#waiting[0].frame;
        const header = encodeFrameHeader({ type, flags, sealedSize: body.length + this.#cipher.overhead });
        const sealed = this.#cipher.seal(header, body);
        const parts = sealed instanceof Promise ? await sealed : sealed;
        this.#filling.raw(header);
        for (const part of parts) this.#filling.raw(part);
        this.#stats.packetsSent++;
        // Undefined if the session failed during an asynchronous seal.
        this.#waiting.shift()?.resolve();
        this.#startWriting();
      }
    } catch (error) {
      this.#onFailure(error);
    } finally {
      this.#sealUnderWay = false;
    }
  }

  #startWriting(): void {
    if (this.#writeUnderWay) return;
    this.#writeUnderWay = true;
    // In a microtask, so that frames sent together are written together.
    queueMicrotask(() => void this.#writeBatches());
  }

  async #writeBatches(): Promise<void> {
    try {
      while (this.#filling.size > 0 && this.#failure === undefined) {
        [this.#filling, this.#writing] = [this.#writing, this.#filling];
        this.#room?.resolve();
        this.#room = undefined;
        await writeAll(this.#line, this.#writing.view());
        this.#stats.bytesSent += this.#writing.size;
        this.#writing.reset();
      }
    } catch (error) {
      this.#onFailure(error);
    } finally {
      this.#writeUnderWay = false;
      if (this.#isIdle()) {
        this.#idle?.resolve();
        this.#idle = undefined;
      }
    }
  }
}
