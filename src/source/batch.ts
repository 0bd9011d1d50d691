/**
 * What one batch of detection gathers: the paths it was asked for as the disk has them.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { withXattrs, type XattrContext } from "../mirror/xattrs.ts";
import type { Held } from "../ops/held.ts";
import type { Stat, Tree } from "../sys/file_system.ts";
import type { Priority } from "./lane.ts";
import type { Certainty } from "./resting.ts";
import type { Ticket } from "./tickets.ts";

/** What one batch gathers on its way. */
export interface Batch {
  priority: Priority;
  tickets: BatchTickets;
  present: Map<string, Stat>;
  absent: string[];
  /** Path of each identity that was seen, `dev:ino`. */
  byIdentity: Map<string, string>;
  /** Directories whose attributes are to be settled at the end. */
  directories: Set<string>;
  /** Names that have rested, and how surely nothing they held lives on; `undefined`: they may have to rest first. */
  certainty: Certainty | undefined;
  /** Keep those waiting who wait for names that rest no more, until the batch is worked off. */
  holds: Disposable[];
  /** Directories that have rested, or rest no more. */
  rested: string[];
  /** Directories with names that rest: their attributes are settled after that. */
  restsIn: Set<string>;
  /** Names under which the target holds for a moment what may live on elsewhere. */
  parked: Set<string>;
}

/** A path to be looked at, and the ticket of whatever wants that. */
export interface Wanted {
  path: string;
  ticket: Ticket;
}

/**
 * Tickets of a batch. Work that arises from a path inherits that path's, not the oldest of the batch: one old path
 * among many would make all of them old, and in a tree that never rests nothing old would ever come to its end.
 */
export class BatchTickets {
  readonly #own = new Map<string, Ticket>();
  readonly #others: Ticket;

  /** @param others Ticket of paths that are found on the way. */
  constructor(others: Ticket, wanted: Iterable<Wanted> = []) {
    this.#others = others;
    for (const each of wanted) this.takeOver(each);
  }

  of(path: string): Ticket {
    return this.#own.get(path) ?? this.#others;
  }

  /** A path is looked at because of another one. */
  pass(from: string, to: string): void {
    this.takeOver({ path: to, ticket: this.of(from) });
  }

  /** The path is as old as this, if it is not older. */
  takeOver({ path, ticket }: Wanted): void {
    this.#own.set(path, Math.min(this.#own.get(path) ?? Infinity, ticket));
  }
}

/** A batch of nothing. */
export function newBatch(priority: Priority, tickets: BatchTickets, certainty?: Certainty): Batch {
  return {
    priority,
    tickets,
    present: new Map(),
    absent: [],
    byIdentity: new Map(),
    directories: new Set(),
    certainty,
    holds: [],
    rested: [],
    restsIn: new Set(),
    parked: new Set(),
  };
}

/** An entry was seen. */
export function note(batch: Batch, path: string, stat: Stat): void {
  batch.present.set(path, stat);
  batch.byIdentity.set(identity(stat), path);
}

/** An identity as a key, `dev:ino`. */
export function identity({ dev, ino }: { dev: number; ino: bigint }): string {
  return `${dev}:${ino}`;
}

/** Attributes of what stands at a path, if they can be had. */
export function statOrUndefined(tree: Tree, path: string): Stat | undefined {
  try {
    return tree.stat(path);
  } catch {
    // Unreadable is not absent: whoever needs to know looks at the path itself and reports the problem there.
    return undefined;
  }
}

/** {@linkcode withXattrs}; `undefined` if they cannot be had, which the same goes for as for {@linkcode statOrUndefined}. */
export function withXattrsOrUndefined(
  context: XattrContext,
  path: string,
  stat: Readonly<Stat>,
  held: Held | undefined,
): Readonly<Stat> | undefined {
  try {
    return withXattrs(context, path, stat, held);
  } catch (error) {
    if (!errorCode(error)) throw error;
    return undefined;
  }
}

/** Whether an error says that there is nothing at a path. */
export function isGone(error: unknown): boolean {
  // ELOOP: a directory above was replaced by a symbolic link.
  return ["ENOENT", "ENOTDIR", "ELOOP"].includes(errorCode(error));
}
