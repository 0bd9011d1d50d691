/**
 * What of a source is in its replication set.
 *
 * | an entry is | then                                                                                               |
 * |-------------|----------------------------------------------------------------------------------------------------|
 * | in          | it is replicated                                                                                   |
 * | a passage   | a directory: it is looked into, and made on a target where something in it is made                 |
 * | out         | it is not looked at; what a target holds of it is *leftover*: it stays until somebody says otherwise |
 * @module
 */
import type { Facts } from "../rules/conditions.ts";

/** How an entry stands in the set. */
export type Standing = "in" | "passage" | "out";

/** What may decide beside the path. `Stat` and `Held` have it. */
export type ScopeFacts = Facts;

/** An entry of which nothing is known is taken for a directory: of those only the name counts. */
export const unknownFacts: ScopeFacts = { kind: "directory", size: 0, mtimeNs: 0n };

/** Says what is in a set. May change its mind; whoever keeps it tells of that. */
export interface Scope {
  /** How the entry at a path stands; the root is not asked about. */
  standing(path: string, facts: Readonly<ScopeFacts>): Standing;
  /** Whether nothing in this directory can be in the set: it is neither looked into nor watched. */
  isClosed(directory: string): boolean;
}

/** A scope by names alone: what is excluded is out, with all that is below it. */
export function scopeWithout(isExcluded: (path: string) => boolean): Scope {
  return { standing: (path) => isExcluded(path) ? "out" : "in", isClosed: isExcluded };
}

/** What is in both scopes. */
export function scopeWithin(outer: Scope, inner: Scope): Scope {
  return {
    standing(path, facts) {
      const first = outer.standing(path, facts);
      if (first === "out") return first;
      const second = inner.standing(path, facts);
      return second === "in" ? first : second;
    },
    isClosed: (directory) => outer.isClosed(directory) || inner.isClosed(directory),
  };
}

/** Everything is in the set. */
export const wholeScope: Scope = scopeWithout(() => false);
