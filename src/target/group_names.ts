/**
 * Which ops may share a group. After a crash a group that was half installed is replayed from its first op, on a tree
 * that already holds some of its effects. For most ops that is the same as doing them once; for renames, removals and
 * in-place patches it is so only while no other op of the group touches the same names. So an op that would mix with
 * what is pending begins a new group, after the pending one is durable.
 *
 * For example `rename a b` then `file a`: replayed, the rename would find the new `a` and move it over `b`.
 *
 * Pure: no file is looked at.
 * @module
 */
import { parentPath } from "../base/path.ts";
import type { Op } from "../ops/op.ts";

/** How an op touches a path. */
type Use = "make" | "close" | "mkdir" | "attributes" | "remove" | "from" | "to" | "patch" | "link";

const bits: Record<Use, number> = {
  make: 1,
  mkdir: 2,
  attributes: 4,
  remove: 8,
  from: 16,
  to: 32,
  patch: 64,
  close: 128,
  /** What is here gets a further name. */
  link: 256,
};

const none = 0;
const all = 511;

function anyOf(...uses: Use[]): number {
  return uses.reduce((sum, use) => sum | bits[use], 0);
}

/** Pending uses that an op cannot join: at its path, at a directory above it, at something below it. */
interface Barrier {
  at: number;
  above: number;
  below: number;
}

/** What each use of a path cannot be mixed with, when the other came first. */
const barriers: Record<Use | "read", Barrier> = {
  make: {
    at: anyOf("remove", "from", "patch", "close", "link"),
    above: anyOf("remove", "from"),
    below: anyOf("from", "to", "patch", "link"),
  },
  // A replay may find a transfer closed already; then its name must be as it left it.
  close: { at: all, above: anyOf("remove", "from"), below: anyOf("from", "to", "patch", "link") },
  mkdir: {
    at: anyOf("remove", "from", "patch", "close", "link"),
    above: anyOf("remove", "from"),
    below: none,
  },
  attributes: { at: anyOf("from"), above: anyOf("from"), below: none },
  // What was made in a directory cannot be made again when a replay finds the directory gone.
  remove: {
    at: anyOf("attributes", "from", "to", "patch", "close", "link"),
    above: anyOf("from"),
    below: anyOf("make", "close", "mkdir", "attributes", "to", "patch", "link"),
  },
  from: { at: all, above: anyOf("make", "remove", "from", "to", "patch"), below: all },
  to: { at: all, above: anyOf("make", "remove", "from", "to", "patch"), below: all },
  patch: { at: all, above: anyOf("make", "remove", "from", "to", "patch"), below: none },
  // A replay gives the further name to what is here then: it must be the same file.
  link: { at: anyOf("remove", "from", "to"), above: anyOf("remove", "from", "to"), below: all },
  // Staging a copy reads the live file, which must show the ops before.
  read: { at: all, above: anyOf("make", "remove", "from", "to", "patch"), below: none },
};

/** The names that the pending ops of a group use. */
export class GroupNames {
  readonly #at = new Map<string, number>();
  readonly #below = new Map<string, number>();
  /** Uses so far: while only files are made (the common case) nothing needs a closer look. */
  #seen = 0;

  /**
   * Adds an op if it may join the group; gives whether it did.
   *
   * @param isPatch Whether a `close` ends a patch of the live file.
   */
  tryAdd(op: Op, isPatch: boolean): boolean {
    const uses = usesOf(op, isPatch);
    for (const [path, use] of uses) if (this.#meets(path, barriers[use])) return false;
    for (const [path, use] of uses) if (use !== "read") this.#add(path, bits[use]);
    return true;
  }

  #meets(path: string, barrier: Barrier): boolean {
    if ((this.#seen & (barrier.at | barrier.above | barrier.below)) === 0) return false;
    if ((this.#at.get(path) ?? 0) & barrier.at) return true;
    if ((this.#below.get(path) ?? 0) & barrier.below) return true;
    for (let above = path; above !== "";) {
      above = parentPath(above);
      if ((this.#at.get(above) ?? 0) & barrier.above) return true;
    }
    return false;
  }

  #add(path: string, bit: number): void {
    this.#seen |= bit;
    this.#at.set(path, (this.#at.get(path) ?? 0) | bit);
    for (let above = path; above !== "";) {
      above = parentPath(above);
      const known = this.#below.get(above) ?? 0;
      // What is marked here is marked further up too.
      if (known & bit) break;
      this.#below.set(above, known | bit);
    }
  }
}

function usesOf(op: Op, isPatch: boolean): [path: string, use: Use | "read"][] {
  switch (op.kind) {
    case "file":
    case "symlink":
    case "node":
      return [[op.path, "make"]];
    case "open":
      return op.base === "copy" ? [[op.path, "read"]] : [];
    case "close":
      return [[op.path, isPatch ? "patch" : "close"]];
    case "block":
    case "hole":
    case "abandon":
      return [];
    case "mkdir":
      return [[op.path, "mkdir"]];
    case "attributes":
      return [[op.path, "attributes"]];
    case "link":
      return [[op.path, "link"], [op.to, "make"]];
    case "unlink":
    case "rmdir":
      return [[op.path, "remove"]];
    case "rename":
      if (!op.exchange) return [[op.path, "from"], [op.to, "to"]];
      return [[op.path, "from"], [op.path, "to"], [op.to, "from"], [op.to, "to"]];
  }
}
