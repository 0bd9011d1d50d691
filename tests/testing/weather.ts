/**
 * What a long line does to bytes: it lets few through at a time, they take their time, and some have to be sent again.
 * Of one direction of one connection. What is lost comes a round trip later, and all behind it waits, as TCP has it.
 * @module
 */

/** How a line is. */
export interface Weather {
  /** @default as fast as it goes */
  bytesPerSecond?: number;
  /** Milliseconds that a byte is under way. @default {0} */
  delayMs?: number;
  /** Share of segments that are lost, 0 to 1. @default {0} */
  lossShare?: number;
}

/** Bytes of a TCP segment. */
const SEGMENT_SIZE = 1_448;
/** So far ahead a sender may fill the line's queue. */
const QUEUE_MS = 50;

/** One direction of a line. */
export class WeatheredRoad {
  readonly #weather: () => Weather;
  readonly #random: () => number;
  /** When the line is free for the next byte. */
  #freeAtMs = 0;
  #arrivesAtMs = 0;
  #delivered: Promise<unknown> = Promise.resolve();

  /** @param weather Asked for each chunk: it may change. */
  constructor(weather: () => Weather, random: () => number = Math.random) {
    this.#weather = weather;
    this.#random = random;
  }

  /**
   * Takes a chunk on its way; `deliver` is called with a copy when it arrives.
   *
   * Resolves when the line takes the next one. @throws {Error} If an earlier delivery failed.
   */
  async pass(bytes: Uint8Array, deliver: (bytes: Uint8Array) => Promise<unknown>): Promise<void> {
    const { bytesPerSecond = Infinity, delayMs = 0, lossShare = 0 } = this.#weather();
    const nowMs = performance.now();
    const segments = Math.ceil(bytes.length / SEGMENT_SIZE);
    let lost = 0;
    for (let i = 0; i < segments; i++) if (this.#random() < lossShare) lost++;
    const sentBytes = bytes.length + lost * SEGMENT_SIZE;
    this.#freeAtMs = Math.max(nowMs, this.#freeAtMs) + 1_000 * sentBytes / bytesPerSecond;
    const tripMs = delayMs + (lost > 0 ? 2 * delayMs : 0);
    this.#arrivesAtMs = Math.max(this.#arrivesAtMs, this.#freeAtMs + tripMs);
    const [copy, atMs] = [bytes.slice(), this.#arrivesAtMs];
    this.#delivered = this.#delivered.then(() => until(atMs)).then(() => deliver(copy));
    // Whoever passes the next chunk, or waits for the end, hears of a failure.
    this.#delivered.catch(() => {});
    if (atMs <= nowMs) return void await this.#delivered;
    await until(this.#freeAtMs - QUEUE_MS);
  }

  /** Resolves when everything has arrived. */
  async arrived(): Promise<void> {
    await this.#delivered;
  }
}

async function until(atMs: number): Promise<void> {
  const waitMs = atMs - performance.now();
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
}
