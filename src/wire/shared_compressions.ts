/**
 * What several sessions send alike is compressed once: a source with many targets tells each of them the same.
 *
 * A message is known again by its SHA-256, so that no accident and no malice makes one pass for another.
 *
 * Bound: `limits.sharedCompressionBytes` of what messages became; the oldest go first. A session that is
 * further behind than that compresses for itself.
 * @module
 */
import { createHash } from "node:crypto";
import { limits } from "../base/limits.ts";

/** What a message became; `undefined` if compressing it did not pay. */
type Stream = Uint8Array | undefined;

/** What an entry costs beside its bytes. */
const ENTRY_BYTES = 200;

/** Compressed messages of the sessions of one source. */
export class SharedCompressions {
  /** In the order in which they came. */
  readonly #kept = new Map<string, Stream>();
  #bytes = 0;
  #sessions = 0;
  /** Messages that need not be compressed again, and those that were. */
  readonly stats = { shared: 0, compressed: 0 };

  /** Bytes that are kept. */
  get keptBytes(): number {
    return this.#bytes;
  }

  /** Until the result is disposed one session more sends. */
  join(): Disposable {
    this.#sessions++;
    return {
      [Symbol.dispose]: () => {
        this.#sessions--;
        if (this.#sessions < 2) this.#clear();
      },
    };
  }

  /**
   * Compresses, unless that was done for another session.
   *
   * @param kind Of the compression, as in a frame's flags.
   * @param compress Its result is kept; `undefined` says that it does not pay.
   */
  compress(
    kind: number,
    message: Uint8Array,
    compress: () => Stream,
  ): { stream: Stream; isShared: boolean } {
    if (this.#sessions < 2) return { stream: compress(), isShared: false };
    const key = `${kind}/${createHash("sha256").update(message).digest("base64")}`;
    if (this.#kept.has(key)) {
      this.stats.shared++;
      return { stream: this.#kept.get(key), isShared: true };
    }
    const stream = compress();
    this.stats.compressed++;
    this.#keep(key, stream);
    return { stream, isShared: false };
  }

  #keep(key: string, stream: Stream): void {
    this.#kept.set(key, stream);
    this.#bytes += sizeOf(stream);
    for (const [oldest, its] of this.#kept) {
      if (this.#bytes <= limits.sharedCompressionBytes) break;
      this.#kept.delete(oldest);
      this.#bytes -= sizeOf(its);
    }
  }

  #clear(): void {
    this.#kept.clear();
    this.#bytes = 0;
  }
}

function sizeOf(stream: Stream): number {
  return ENTRY_BYTES + (stream?.length ?? 0);
}
