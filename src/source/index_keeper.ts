/**
 * Keeps an index on disk as far as the target has acked, together with the stream that it belongs to.
 * @module
 */
import { reasonOf, TransientError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { IndexStore } from "../store/index_store.ts";
import type { Index } from "./index.ts";

/** The stream that a saved index belongs to. */
export interface SavedStream {
  streamId: string;
  replicaId: string;
}

/** Loads and saves one index. */
export class IndexKeeper {
  readonly #store: IndexStore;
  readonly #log: Log;
  #stream: SavedStream = { streamId: "", replicaId: "" };
  #savedSequence = 0;

  constructor(store: IndexStore, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** The saved index is what the target held durably at this sequence. */
  get savedSequence(): number {
    return this.#savedSequence;
  }

  /** Fills the index with what was saved; `undefined` if nothing was. @throws {CorruptionError} If it is damaged. */
  load(index: Index): SavedStream | undefined {
    const streamId = this.#store.meta("streamId");
    const replicaId = this.#store.meta("replicaId");
    if (!streamId || !replicaId) return undefined;
    this.#store.load(index);
    this.#savedSequence = Number(this.#store.meta("savedSequence"));
    return this.#stream = { streamId, replicaId };
  }

  /** A new stream begins. Nothing counts as saved until the first save, which is made when the index is filled. */
  begin(streamId: string, replicaId: string): void {
    this.#store.reset();
    this.#stream = { streamId, replicaId };
    this.#savedSequence = 0;
  }

  /**
   * Saves what the target has acked. Survives power loss.
   *
   * @returns The sequence up to which the index is saved now, `undefined` if nothing was to be saved.
   */
  save(index: Index, ackedSequence: number): number | undefined {
    index.acknowledge(ackedSequence);
    if (ackedSequence === this.#savedSequence && index.unsavedCount === 0) return undefined;
    try {
      this.#store.save(index, { durable: true, meta: { ...this.#stream } });
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      // Nothing is lost: the next save writes it all, and a crash before that only costs comparing.
      this.#log.warn(reasonOf(error));
      return undefined;
    }
    return this.#savedSequence = ackedSequence;
  }

  /** Closes the file. */
  close(): void {
    this.#store.close();
  }
}
