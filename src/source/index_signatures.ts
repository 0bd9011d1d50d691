/**
 * Block signatures of the entries of the index: all that are not saved, and the most recently used of the others.
 * @module
 */
import { limits } from "../base/limits.ts";
import type { Signature } from "../ops/held.ts";

/** Signatures by id of the entry. Beyond the bound saved ones leave memory and are read back when asked for. */
export class IndexSignatures {
  readonly #sizeMax: number;
  /** Entries that have a signature. */
  readonly #known = new Set<number>();
  /** Entries whose stored signature, or lack of one, may differ from the present state. */
  readonly #unsaved = new Set<number>();
  /** In the order of use, the oldest first. */
  readonly #cached = new Map<number, Signature>();
  #size = 0;
  #read: (id: number) => Signature | undefined = () => undefined;

  /** @param sizeMax Bytes of hashes to keep in memory. */
  constructor(sizeMax: number = limits.signatureCacheBytes) {
    this.#sizeMax = sizeMax;
  }

  /** Bytes of hashes in memory. */
  get cachedSize(): number {
    return this.#size;
  }

  has(id: number): boolean {
    return this.#known.has(id);
  }

  get(id: number): Signature | undefined {
    if (!this.#known.has(id)) return undefined;
    const cached = this.#cached.get(id);
    const signature = cached ?? this.#read(id);
    if (signature === undefined) return undefined;
    this.#uncache(id);
    this.#cache(id, signature);
    return signature;
  }

  /** Keeps the buffer. */
  set(id: number, signature: Signature | undefined): void {
    if (signature === undefined && !this.#known.has(id)) return;
    this.#unsaved.add(id);
    this.#uncache(id);
    if (signature === undefined) {
      this.#known.delete(id);
    } else {
      this.#known.add(id);
      this.#cache(id, signature);
    }
  }

  /** What a save has to do about the signature, as in `IndexChange`. */
  change(id: number): Signature | null | undefined {
    if (!this.#unsaved.has(id)) return undefined;
    return this.#cached.get(id) ?? null;
  }

  /** The present state is in the database. */
  saved(id: number): void {
    if (this.#unsaved.delete(id)) this.#evict();
  }

  /** The entry has a signature in the database. */
  restore(id: number): void {
    this.#known.add(id);
  }

  /** The entry has one in the database that must not be used: it goes with the next save of the entry. */
  restoreUnusable(id: number): void {
    this.#unsaved.add(id);
  }

  readWith(read: (id: number) => Signature | undefined): void {
    this.#read = read;
  }

  clear(): void {
    this.#known.clear();
    this.#unsaved.clear();
    this.#cached.clear();
    this.#size = 0;
  }

  #cache(id: number, signature: Signature): void {
    this.#cached.set(id, signature);
    this.#size += signature.hashes.length;
    this.#evict();
  }

  #uncache(id: number): void {
    const cached = this.#cached.get(id);
    if (cached === undefined) return;
    this.#cached.delete(id);
    this.#size -= cached.hashes.length;
  }

  /** Drops saved signatures, the longest unused first, until the rest fits. */
  #evict(): void {
    if (this.#size <= this.#sizeMax) return;
    for (const id of this.#cached.keys()) {
      if (this.#unsaved.has(id)) continue;
      this.#uncache(id);
      if (this.#size <= this.#sizeMax) return;
    }
  }
}
