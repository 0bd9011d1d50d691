/**
 * A set of small whole numbers: a byte each for membership, and the members in the order in which they came.
 * @module
 */

/** Ids of entries that something is to be done with. A million of them take five megabytes. */
export class IdSet {
  #isMember = new Uint8Array(1024);
  #members = new Uint32Array(256);
  #size = 0;

  /** Members. */
  get size(): number {
    return this.#size;
  }

  has(id: number): boolean {
    return this.#isMember[id] === 1;
  }

  add(id: number): void {
    if (this.has(id)) return;
    if (id >= this.#isMember.length) {
      const grown = new Uint8Array(Math.max(id + 1, this.#isMember.length * 2));
      grown.set(this.#isMember);
      this.#isMember = grown;
    }
    if (this.#size === this.#members.length) {
      const grown = new Uint32Array(this.#size * 2);
      grown.set(this.#members);
      this.#members = grown;
    }
    this.#isMember[id] = 1;
    this.#members[this.#size++] = id;
  }

  /** Members in the order in which they came. The set must not change meanwhile. */
  members(): Uint32Array {
    return this.#members.subarray(0, this.#size);
  }

  clear(): void {
    this.#isMember = new Uint8Array(1024);
    this.#members = new Uint32Array(256);
    this.#size = 0;
  }
}
