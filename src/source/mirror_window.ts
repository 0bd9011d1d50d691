/**
 * How much of a mirror may be on its way to a target: all of its part of the window while nothing else happens, and
 * little while live changes come, which would have to wait behind it.
 *
 * How little is measured. What is on its way is acked after `took` ms: the line's round trip and one sync of the
 * target, and the ops themselves. Beside the first live changes of a session few ops are on their way, which shows what
 * the former take; from then on each ack brings their number nearer to the one that is acked within `mirrorAckMs`, or
 * within {@linkcode ROUND_TRIPS} times the least that any ack took: a target that is slow for one op is not starved.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";
import type { Throttle } from "../wire/throttle.ts";

/** What mirror ops may take, as a multiple of what a lone op takes. */
const ROUND_TRIPS = 4;

/** By how much one ack may change the number of ops. */
const SHRINK_MAX = 0.5;
const GROWTH_MAX = 1.2;

/** How a mirror's part of the window is set up. */
export interface MirrorWindowOptions {
  clock: Clock;
  /** Bytes of the whole window. */
  windowBytes: number;
  /** What the session is held to; the part is small then. @default as fast as it goes */
  throttle?: Pick<Throttle, "bytesIn">;
}

/** A mirror's part of a lane's window. */
export class MirrorWindow {
  readonly #clock: Clock;
  readonly #throttle: Pick<Throttle, "bytesIn"> | undefined;
  readonly #bytesMost: number;
  #bytes = 0;
  #ops = 0;
  /** Ops that may be on their way while live changes come. */
  #opsBesideLive: number = limits.mirrorWindowOpsMin;
  #liveAtMs = -Infinity;
  #leastMs = Infinity;

  constructor({ clock, windowBytes, throttle }: MirrorWindowOptions) {
    this.#clock = clock;
    this.#throttle = throttle;
    this.#bytesMost = Math.min(limits.mirrorWindowBytes, windowBytes / 2);
  }

  /** Ops that may be on their way now. */
  get opsMax(): number {
    return this.#isBesideLive ? Math.round(this.#opsBesideLive) : limits.mirrorWindowOps;
  }

  /** Whether an op of so many bytes may be pushed. */
  hasRoom(bytes: number): boolean {
    return this.#bytes + bytes <= this.#bytesMax && this.#ops < this.opsMax;
  }

  /** A live op is pushed: what follows of the mirror keeps out of its way. */
  noteLive(): void {
    this.#liveAtMs = this.#clock.monotonicMs();
  }

  /** A mirror's op is pushed. */
  add(bytes: number): void {
    this.#bytes += bytes;
    this.#ops++;
  }

  /** Mirror ops are not on their way any more. */
  release(bytes: number, ops: number): void {
    this.#bytes -= bytes;
    this.#ops -= ops;
  }

  /** Ops were acked, `tookMs` after they were sent. */
  noteAck(tookMs: number): void {
    this.#leastMs = Math.min(this.#leastMs, tookMs);
    if (!this.#isBesideLive) return;
    const wantedMs = Math.max(limits.mirrorAckMs, ROUND_TRIPS * this.#leastMs);
    const factor = Math.min(GROWTH_MAX, Math.max(SHRINK_MAX, wantedMs / tookMs));
    const { mirrorWindowOpsMin, mirrorWindowOps } = limits;
    this.#opsBesideLive = Math.min(
      mirrorWindowOps,
      Math.max(mirrorWindowOpsMin, this.#opsBesideLive * factor),
    );
  }

  /** Another session begins: its line may be another one. */
  sessionBegins(): void {
    this.#leastMs = Infinity;
    this.#opsBesideLive = limits.mirrorWindowOpsMin;
  }

  /** Nothing is on its way any more. */
  clear(): void {
    this.#bytes = 0;
    this.#ops = 0;
  }

  get #isBesideLive(): boolean {
    return this.#clock.monotonicMs() - this.#liveAtMs < limits.liveLatelyMs;
  }

  get #bytesMax(): number {
    const { throttleMirrorBytesMin, throttleMirrorMs } = limits;
    const most = this.#throttle?.bytesIn(throttleMirrorMs, this.#bytesMost) ?? this.#bytesMost;
    return Math.max(most, Math.min(throttleMirrorBytesMin, this.#bytesMost));
  }
}
