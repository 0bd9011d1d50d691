/**
 * Which changes of the index the target has acked, and which of those are not saved yet.
 *
 * The database must never claim more than the target holds durably, and must be a tree whenever the process dies. So
 * what is saved is *the index as of the acked sequence*, all of it: not a mixture of older and newer entries, in which
 * two entries could claim one name, a directory lie within itself, or a signature belong to other contents.
 *
 * ```
 * time ─────────────────────────▶          entry E
 * saved state │ acked, not saved │ pending (sequence > acknowledged)
 *      row    │     image        │ image of change 1 · image of change 2 · … · the index itself
 * ```
 *
 * - Each pending change of an entry is queued as (sequence, id). Nothing is copied for it: the state after the newest
 *   change is the index itself.
 * - Only when an entry changes *again* is the state that would be lost kept as an *image*: on the queued change that
 *   led to it, or, if that one was acked already but not saved, as the acked image of the entry.
 * - An ack takes changes off the queue. Each makes its entry *dirty*: its row differs from the acked state, which is
 *   the entry's acked image, or the index itself if nothing of the entry is pending any more.
 * - A save writes the acked state of all dirty entries in one transaction. If that fails they stay dirty.
 *
 * All sequences are brought into order: one below its predecessor waits for the predecessor. That is later than it
 * must, which is safe: a row that is older than the target is found out by looking (the target tells what it touched
 * after the saved sequence).
 *
 * A change that is already true at the target (sequence 0, or acked before) is *late* if anything is pending. If the
 * entry itself has nothing pending and keeps its place it counts at once. Otherwise it waits for everything pending,
 * since places of entries make sense only in order, and the entry's row is *distrusted* until then: the row
 * stays, but says that contents must be compared. So bad news ("the target lost this file") never waits.
 * @module
 */
import type { Signature } from "../ops/held.ts";
import type { IndexChange, IndexRow } from "../store/index_row.ts";
import { IdSet } from "./id_set.ts";

/** State of an entry as a row: `row` undefined if it does not exist, `signature` as in {@linkcode IndexChange}. */
export interface Image {
  row: IndexRow | undefined;
  signature: Signature | null | undefined;
}

/** The index, as its changes see it. */
export interface ChangingIndex {
  /** Copies the present state of an entry; one that was removed or not yet placed has no row. */
  capture(id: number): Image;
  /** Nobody means the entry by this id any more if it was removed. */
  settled(id: number): void;
  /** The present state of this entry is in the database. */
  saved(id: number): void;
}

/** Changes that are pending or not saved. */
export class IndexChanges {
  readonly #index: ChangingIndex;
  #acknowledged = 0;

  /** The queue: change number n is at n - #first. */
  #sequences = new Float64Array(256);
  #ids = new Uint32Array(256);
  #first = 0;
  #head = 0;
  #end = 0;
  /** Number of the newest pending change of an entry. */
  readonly #newest = new Map<number, number>();
  /** States after pending changes, of entries that changed again since. By number of the change. */
  readonly #images = new Map<number, Image>();
  /** Acked states, not yet saved, of entries that changed again since. By id. */
  readonly #ackedImages = new Map<number, Image>();
  /** Entries whose row must not be believed, and the sequence with which that ends. */
  readonly #distrusted = new Map<number, number>();
  readonly #dirty = new IdSet();

  /** Sequence of the change being made; 0 if it counts at once. */
  #sequence = 0;
  #late = false;

  constructor(index: ChangingIndex) {
    this.#index = index;
  }

  /** The last sequence that the target has acked. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Changes that wait for an ack. */
  get pendingCount(): number {
    return this.#end - this.#head;
  }

  /** Entries whose row differs from the acked state (at least). */
  get unsavedCount(): number {
    return this.#dirty.size;
  }

  /** Whether the change being made counts at once, whatever it changes. */
  get immediate(): boolean {
    return this.#sequence === 0;
  }

  /** Whether the change being made is already true at the target but has to wait. */
  get late(): boolean {
    return this.#late;
  }

  /** Begins a change of one or several entries, caused by the op with this sequence (0: already true). */
  begin(sequence: number): void {
    const last = this.pendingCount === 0 ? 0 : this.#sequences[this.#end - 1 - this.#first];
    const alreadyTrue = sequence <= this.#acknowledged;
    this.#late = alreadyTrue && last > 0;
    this.#sequence = alreadyTrue ? last : Math.max(sequence, last);
  }

  /** Must be called before each entry of the change is changed, created or removed. */
  changing(id: number, options: { keepsPlace: boolean }): void {
    const newest = this.#newest.get(id);
    if (this.#sequence === 0 || (this.#late && options.keepsPlace && newest === undefined)) {
      this.#dirty.add(id);
      return;
    }
    if (newest === undefined) {
      // Unless it is dirty, the acked state is in the database already.
      if (this.#dirty.has(id)) this.#ackedImages.set(id, this.#index.capture(id));
      this.#push(id);
    } else if (this.#sequences[newest - this.#first] !== this.#sequence) {
      this.#images.set(newest, this.#index.capture(id));
      this.#push(id);
    }
    if (!this.#late) return;
    this.#distrusted.set(id, this.#sequence);
    this.#dirty.add(id);
  }

  /** Takes everything up to this sequence as durable on the target. */
  acknowledge(sequence: number): void {
    if (sequence > this.#acknowledged) this.#acknowledged = sequence;
    while (this.#head < this.#end && this.#sequences[this.#head - this.#first] <= sequence) {
      this.#acknowledgeFirst();
    }
  }

  #acknowledgeFirst(): void {
    const number = this.#head++;
    const id = this.#ids[number - this.#first];
    const sequence = this.#sequences[number - this.#first];
    const distrustedUntil = this.#distrusted.get(id);
    if (distrustedUntil !== undefined && distrustedUntil <= sequence) this.#distrusted.delete(id);
    this.#dirty.add(id);
    const image = this.#images.get(number);
    if (image !== undefined) {
      this.#images.delete(number);
      this.#ackedImages.set(id, image);
    } else {
      this.#newest.delete(id);
      this.#ackedImages.delete(id);
      this.#index.settled(id);
    }
  }

  /** The acked state of every entry whose row differs from it. */
  *changes(): Iterable<IndexChange> {
    for (const id of this.#dirty.members()) {
      const image = this.#newest.has(id) ? this.#ackedImages.get(id) : this.#index.capture(id);
      const distrusted = this.#distrusted.has(id);
      if (image === undefined) {
        if (distrusted) yield { id, kind: "distrust" };
      } else if (image.row === undefined) {
        yield { id, kind: "delete" };
      } else {
        const row = distrusted ? { ...image.row, trusted: false } : image.row;
        yield { id, kind: "write", row, signature: image.signature };
      }
    }
  }

  /** The changes are in the database for good. */
  changesSaved(): void {
    for (const id of this.#dirty.members()) if (!this.#newest.has(id)) this.#index.saved(id);
    this.#ackedImages.clear();
    this.#dirty.clear();
  }

  /** Forgets all changes: the index begins anew, as of this sequence. */
  reset(acknowledged: number): void {
    this.#acknowledged = acknowledged;
    this.#first = this.#head = this.#end = 0;
    this.#newest.clear();
    this.#images.clear();
    this.#ackedImages.clear();
    this.#distrusted.clear();
    this.#dirty.clear();
  }

  #push(id: number): void {
    if (this.#end - this.#first === this.#ids.length) this.#makeRoom();
    this.#sequences[this.#end - this.#first] = this.#sequence;
    this.#ids[this.#end - this.#first] = id;
    this.#newest.set(id, this.#end++);
  }

  /** Moves what is pending to the front, into a larger queue if less than half was free. */
  #makeRoom(): void {
    const from = this.#head - this.#first;
    const count = this.pendingCount;
    const capacity = count * 2 > this.#ids.length ? this.#ids.length * 2 : this.#ids.length;
    const sequences = new Float64Array(capacity);
    const ids = new Uint32Array(capacity);
    sequences.set(this.#sequences.subarray(from, from + count));
    ids.set(this.#ids.subarray(from, from + count));
    this.#sequences = sequences;
    this.#ids = ids;
    this.#first = this.#head;
  }
}
