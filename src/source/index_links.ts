/**
 * Which entries of an index are names of one file at the target: few of them are.
 * @module
 */

/** Link groups by id of an entry, as `Held` has them. */
export class LinkGroups {
  readonly #groups = new Map<number, number>();
  readonly #members = new Map<number, Set<number>>();
  /** Times that a group changed. */
  changeCount = 0;

  /** Group of an entry, `undefined` if it is in none. */
  of(id: number): number | undefined {
    return this.#groups.size === 0 ? undefined : this.#groups.get(id);
  }

  /** Puts an entry into a group, or (`undefined`) into none. */
  set(id: number, group: number | undefined): void {
    const before = this.of(id);
    if (before === group) return;
    this.changeCount++;
    if (before !== undefined) this.#leave(id, before);
    if (group === undefined) return;
    this.#groups.set(id, group);
    const members = this.#members.get(group);
    if (members) members.add(id);
    else this.#members.set(group, new Set([id]));
  }

  /** The other entries of its group. */
  othersOf(id: number): number[] {
    const group = this.of(id);
    return group === undefined ? [] : [...this.#members.get(group)!].filter((other) => other !== id);
  }

  /** Whether there is another entry in its group. */
  isLinked(id: number): boolean {
    const group = this.of(id);
    return group !== undefined && this.#members.get(group)!.size > 1;
  }

  #leave(id: number, group: number): void {
    this.#groups.delete(id);
    const members = this.#members.get(group)!;
    members.delete(id);
    if (members.size === 0) this.#members.delete(group);
  }
}
