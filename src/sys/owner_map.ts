/**
 * Which number on this machine stands for which number of the source. What a map does not name keeps its number.
 * @module
 */

/** Pairs of numbers, the source's before this machine's. It can be posted to a Worker. */
export interface OwnerMap {
  users: [source: number, here: number][];
  groups: [source: number, here: number][];
}

/** The map under which every number is the same here. */
export const sameNumbers: Readonly<OwnerMap> = { users: [], groups: [] };

/** Whether a map changes nothing. */
export function isIdentity({ users, groups }: Readonly<OwnerMap>): boolean {
  return [...users, ...groups].every(([source, here]) => source === here);
}
