/**
 * The sending half of a session: seals frames in the order of the calls, gathers them and writes.
 *
 * ```
 * send ──▶ waiting ──▶ seal into ──▶ batch being filled ⇄ batch being written ──▶ connection
 * ```
 *
 * A body is read once, by the cipher, and the batch once, by the system: nothing is copied in between.
 *
 * Two batches change places, so small frames that come while a write is under way leave together with the next one.
 * Bound: a batch takes no further frame at `limits.sendBufferBytes`; then `send` waits.
 *
 * Invariant: after a failure nothing is sealed or written any more.
 * @module
 */
import { limits } from "../base/limits.ts";
import { pageAligned } from "../sys/libc.ts";
import { TAG_SIZE } from "./aead.ts";
import type { TransportCipher } from "./cipher.ts";
import { encodeFrameHeaderInto, FRAME_HEADER_SIZE, type FrameType } from "./frame.ts";
import { Breather } from "./line.ts";
import type { LineRate } from "./line_rate.ts";
import type { SessionStats } from "./session.ts";
import type { Throttle } from "./throttle.ts";

/** A batch that may take a further frame holds the largest one. Memory that is never filled is never taken. */
const BATCH_CAPACITY = limits.sendBufferBytes + FRAME_HEADER_SIZE + limits.frameBodySizeMax + TAG_SIZE;
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
  /** Told of what is sent and written. */
  rate: LineRate;
  /** What is written passes here. @default as fast as it goes */
  throttle?: Throttle;
  /** Called once, when a write or a seal failed. */
  onFailure(error: unknown): void;
}

/** Sealed frames that are written together. */
interface Batch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  size: number;
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
  readonly #rate: LineRate;
  readonly #throttle: Throttle | undefined;
  readonly #stop = new AbortController();
  readonly #onFailure: (error: unknown) => void;
  readonly #waiting: WaitingFrame[] = [];
  #filling: Batch = { bytes: pageAligned(BATCH_CAPACITY), size: 0 };
  #writing: Batch = { bytes: pageAligned(BATCH_CAPACITY), size: 0 };
  #sealUnderWay = false;
  #writeUnderWay = false;
  readonly #breather = new Breather();
  #failure: Error | undefined;
  /** Settled when the full batch was taken for writing. */
  #room: PromiseWithResolvers<void> | undefined;
  /** Settled when everything was written. */
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(
    line: Pick<Deno.Conn, "write">,
    { cipher, stats, rate, throttle, onFailure }: FrameSenderOptions,
  ) {
    this.#line = line;
    this.#cipher = cipher;
    this.#stats = stats;
    this.#rate = rate;
    this.#throttle = throttle;
    this.#onFailure = onFailure;
  }

  /** Whether everything sent so far is with the system. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#filling.size === 0 && !this.#writeUnderWay;
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
    if (this.#failure !== undefined || this.isIdle) return Promise.resolve();
    this.#idle ??= Promise.withResolvers();
    return this.#idle.promise;
  }

  /** Stops for good: what waits is rejected with `error`, as is every later `send`. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#stop.abort();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#room?.resolve();
    this.#idle?.resolve();
    if (!this.#sealUnderWay) this.#cipher.close();
  }

  /** Seals one frame after the other. Runs once at a time, and without a pause while seals are synchronous. */
  async #sealWaiting(): Promise<void> {
    this.#sealUnderWay = true;
    try {
      while (this.#waiting.length > 0 && this.#failure === undefined) {
        if (this.#filling.size >= this.#batchSizeMax) {
          this.#room ??= Promise.withResolvers();
          await this.#room.promise;
          continue;
        }
        const sealed = this.#seal(this.#waiting[0].frame);
        if (sealed instanceof Promise) await sealed;
        this.#stats.packetsSent++;
        // Undefined if the session failed during an asynchronous seal.
        const sent = this.#waiting.shift();
        this.#startWriting();
        // The frame is on its way by then; who sends one after the other waits.
        const breath = this.#breather.passed(sent?.frame.body?.length ?? 0);
        if (breath !== undefined) await breath;
        sent?.resolve();
      }
    } catch (error) {
      this.#onFailure(error);
    } finally {
      this.#sealUnderWay = false;
      if (this.#failure !== undefined) this.#cipher.close();
    }
  }

  /** At a rate no more is sealed ahead than goes in a moment: a later frame may be in a hurry. */
  get #batchSizeMax(): number {
    const { sendBufferBytes, throttleSliceMs } = limits;
    return this.#throttle?.bytesIn(throttleSliceMs, sendBufferBytes) ?? sendBufferBytes;
  }

  /** Seals a frame behind those of the batch; a promise if that happens on another thread. */
  #seal({ type, flags = 0, body = NOTHING }: OutgoingFrame): void | Promise<void> {
    const size = FRAME_HEADER_SIZE + body.length + this.#cipher.overhead;
    this.#rate.sent(size);
    const isAsync = this.#cipher.isAsync(body.length);
    // Meanwhile the batches may change places: such a frame is added when it is whole.
    const bytes = isAsync
      ? new Uint8Array(size)
      : this.#filling.bytes.subarray(this.#filling.size, this.#filling.size + size);
    const header = bytes.subarray(0, FRAME_HEADER_SIZE);
    encodeFrameHeaderInto(header, { type, flags, sealedSize: size - FRAME_HEADER_SIZE });
    const sealed = this.#cipher.seal(body, { header, into: bytes.subarray(FRAME_HEADER_SIZE) });
    if (!(sealed instanceof Promise)) {
      this.#filling.size += size;
      return;
    }
    return sealed.then(() => {
      this.#filling.bytes.set(bytes, this.#filling.size);
      this.#filling.size += size;
    });
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
        const { bytes, size } = this.#writing;
        await this.#write(bytes.subarray(0, size));
        this.#stats.bytesSent += size;
        this.#writing.size = 0;
      }
    } catch (error) {
      this.#onFailure(error);
    } finally {
      this.#writeUnderWay = false;
      this.#rate.ranDry();
      if (this.isIdle) {
        this.#idle?.resolve();
        this.#idle = undefined;
      }
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const end = at + (this.#throttle?.bytesIn(limits.throttleSliceMs, bytes.length - at) ?? bytes.length);
      const waits = this.#throttle?.pass(Math.min(end, bytes.length) - at, this.#stop.signal);
      if (waits !== undefined) await waits;
      if (this.#failure !== undefined) throw this.#failure;
      const slice = bytes.subarray(at, end);
      const taken = await this.#line.write(slice);
      at += taken;
      if (taken < slice.length) this.#rate.wroteUntilFull(taken, performance.now());
      else this.#rate.wroteAll(taken);
    }
  }
}
