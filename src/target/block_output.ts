/**
 * Writes a stream of bytes in large pieces from two buffers: while one is being written, the other is filled. More than
 * these two are never held, however slow the reader is.
 * @module
 */
import { limits } from "../base/limits.ts";

/** Takes bytes and resolves when it is done with their buffer. */
export type WriteBytes = (bytes: Uint8Array) => Promise<void>;

/** A stream of bytes on its way out. */
export class BlockOutput {
  readonly #write: WriteBytes;
  #buffer = new Uint8Array(limits.exportBufferSize);
  #spare = new Uint8Array(limits.exportBufferSize);
  #used = 0;
  #written = 0;
  #writing: Promise<void> = Promise.resolve();

  /** @param write Called once at a time; each call but the last has the same size. */
  constructor(write: WriteBytes) {
    this.#write = write;
  }

  /** Bytes taken so far. */
  get size(): number {
    return this.#written + this.#used;
  }

  /** Takes bytes and keeps none of their buffer. @throws What `write` threw, of these or of earlier bytes. */
  async add(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + this.#buffer.length - this.#used);
      this.#buffer.set(part, this.#used);
      at += part.length;
      await this.#advance(part.length);
    }
  }

  /** Takes `size` bytes that `fill` puts into the room it is given, piece by piece. */
  async fill(size: number, fill: (room: Uint8Array<ArrayBuffer>, offset: number) => void): Promise<void> {
    for (let at = 0; at < size;) {
      const room = this.#buffer.subarray(this.#used, this.#used + size - at);
      fill(room, at);
      at += room.length;
      await this.#advance(room.length);
    }
  }

  /** Writes what is left. */
  async finish(): Promise<void> {
    await this.#writing;
    if (this.#used > 0) await this.#write(this.#buffer.subarray(0, this.#used));
    this.#written += this.#used;
    this.#used = 0;
  }

  async #advance(count: number): Promise<void> {
    this.#used += count;
    if (this.#used < this.#buffer.length) return;
    await this.#writing;
    const full = this.#buffer;
    [this.#buffer, this.#spare] = [this.#spare, full];
    this.#written += this.#used;
    this.#used = 0;
    this.#writing = this.#write(full);
    // Told by the next call that waits for it.
    this.#writing.catch(() => {});
  }
}
