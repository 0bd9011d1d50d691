/**
 * How fast the line to the peer is, as far as it can be known from here. Two witnesses, the slower one counts:
 *
 * - *Writes.* The system takes less than it was given exactly when its buffer is full. What it takes from one such
 *   moment to the next has left for the peer, however busy this process was meanwhile. The first megabytes, which a
 *   buffer swallows at the speed of memory, lie before the first such moment and say nothing.
 * - *Echoes.* A pong tells when the peer has read what was sent before the ping. So a slow line shows itself while the
 *   buffers still swallow everything. But both processes are busy at times, and the peer has to open and decompress
 *   what it read: an echo counts only where it tells of a line that is slower than that.
 *
 * Pace is milliseconds per byte, the inverse of a rate: 0 is a line that holds nothing up.
 * @module
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Fewer bytes between two full buffers are added to the next ones. */
const SAMPLE_SIZE_MIN = 64 * KiB;
/** So much taken in a row without a full buffer is more than buffers swallow: the line may be faster than thought. */
const UNHINDERED_SIZE = 8 * MiB;
const UNHINDERED_FACTOR = 0.8;
/** Bytes between two pings; twice as many each further time. */
const ECHO_DISTANCE_MIN = 256 * KiB;
const ECHO_DISTANCE_MAX = 4 * MiB;
/** Delay of an echo that a busy process at either end may cause. */
const BUSY_MS = 5;

/** An echo that tells of a faster line than this tells of the processors. Milliseconds per byte: 30 MB/s. */
const ECHO_PACE_MIN = 1 / 30_000;
/** An echo of so many bytes weighs as much as all before it. */
const ECHO_WEIGHT_SIZE = MiB;

/** Measures one direction of a line. All times come from one clock that only goes forward. */
export class LineRate {
  #writePace: number | undefined;
  #fullAtMs: number | undefined;
  #sinceFull = 0;
  #unhindered = 0;

  #echoPace: number | undefined;
  #roundTripMs: number | undefined;
  #pingAtMs: number | undefined;
  /** Bytes sent between the last two pings. */
  #asked = 0;
  #sincePing = 0;
  #busyMs = 0;
  #distance = ECHO_DISTANCE_MIN;

  /** Milliseconds per byte, 0 for a line that holds nothing up, `undefined` until anything is known. */
  get pace(): number | undefined {
    if (this.#writePace === undefined) return this.#echoPace;
    return Math.max(this.#writePace, this.#echoPace ?? 0);
  }

  /** The system took `taken` bytes, and could not take all: its buffer is full now. */
  wroteUntilFull(taken: number, nowMs: number): void {
    this.#unhindered = 0;
    this.#sinceFull += taken;
    if (this.#fullAtMs !== undefined) {
      if (this.#sinceFull < SAMPLE_SIZE_MIN) return;
      this.#writePace = mean(this.#writePace, (nowMs - this.#fullAtMs) / this.#sinceFull);
    }
    this.#fullAtMs = nowMs;
    this.#sinceFull = 0;
  }

  /** The system took all it was given. */
  wroteAll(taken: number): void {
    this.#sinceFull += taken;
    this.#unhindered += taken;
    if (this.#unhindered < UNHINDERED_SIZE) return;
    this.#unhindered = 0;
    this.#writePace = (this.#writePace ?? 0) * UNHINDERED_FACTOR;
  }

  /** There is nothing left to write: from now on the buffer empties, and time says nothing about the line. */
  ranDry(): void {
    this.#fullAtMs = undefined;
    this.#sinceFull = 0;
  }

  /** Bytes were sent, or wait to be written. */
  sent(size: number): void {
    this.#sincePing += size;
  }

  /** This process did nothing else for so long: a pong may have waited meanwhile. */
  wasBusy(ms: number): void {
    this.#busyMs += ms;
  }

  /** Whether a ping would tell something. The first one, before all bytes, finds the round trip. */
  get wantsPing(): boolean {
    if (this.#pingAtMs !== undefined) return false;
    return this.#roundTripMs === undefined || this.#sincePing >= this.#distance;
  }

  /** A ping was sent, behind all bytes told of so far. */
  pinged(nowMs: number): void {
    if (this.#pingAtMs !== undefined) return;
    this.#pingAtMs = nowMs;
    this.#asked = this.#sincePing;
    this.#sincePing = 0;
    this.#busyMs = 0;
  }

  /** A pong came. */
  ponged(nowMs: number): void {
    if (this.#pingAtMs === undefined) return;
    const tookMs = nowMs - this.#pingAtMs;
    this.#pingAtMs = undefined;
    this.#roundTripMs = Math.min(this.#roundTripMs ?? tookMs, tookMs);
    if (this.#asked < ECHO_DISTANCE_MIN) return;
    const pace = (tookMs - this.#roundTripMs - this.#busyMs - BUSY_MS) / this.#asked;
    const sample = pace < ECHO_PACE_MIN ? 0 : pace;
    const past = this.#echoPace ?? sample;
    this.#echoPace = past + (sample - past) * this.#asked / (this.#asked + ECHO_WEIGHT_SIZE);
    this.#distance = Math.min(this.#distance * 2, ECHO_DISTANCE_MAX);
  }
}

function mean(past: number | undefined, sample: number): number {
  return past === undefined ? sample : (past + sample) / 2;
}
