/**
 * What becomes of two ops of one file under one name, of which one waits when the other arrives: a table, older op ×
 * newer op, and the rules that its cells name. Pure.
 *
 * What must hold: replaying what is left has the same result as replaying both. So no op is moved over one that it
 * depends on. A *barrier* in the table says where that would happen; other names are the queue's business, which lets
 * nothing over a rename, removal or hold mark meet at all (source/stacked_queue.ts).
 * @module
 */
import type { AttributeChange } from "../sys/file_system.ts";
import { cutRange, mergeRanges } from "./range.ts";
import type { StackedKind, StackedOp, StackedOpOf } from "./stacked.ts";

/** A cell of the table: the rule for two ops. */
export type Merge =
  /** Both stay; the newer one does not depend on the older one, and may merge with what is older still. */
  | "keep"
  /** Both stay, and the newer one is not moved over the older one. */
  | "barrier"
  /** Two writes are one where the older one is, if they are near one another. */
  | "extend"
  /** A write goes before a truncation that leaves all of its range; one below its end is a barrier. */
  | "below"
  /** A truncation takes from a write what it cuts off, maybe all. */
  | "cut"
  /** Two truncations are one where the older one is. */
  | "lower"
  /** Attributes that are set again are dropped. */
  | "cover"
  /** What was done to a file that is gone is dropped; if it has another name, that is a barrier. */
  | "drop"
  /** A file that came and is gone was never there. */
  | "annul";

/**
 * The rules, by the kind of the older op and that of the newer one.
 *
 * Writing and truncating change a file's times and may clear mode bits: they are not moved over attributes.
 */
// deno-fmt-ignore
export const mergeTable: Record<StackedKind, Record<StackedKind, Merge>> = {
  create:     { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "keep",     truncate: "keep",     attributes: "keep",
                unlink: "annul",    rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
  write:      { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "extend",   truncate: "cut",      attributes: "keep",
                unlink: "drop",     rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
  truncate:   { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "below",    truncate: "lower",    attributes: "keep",
                unlink: "drop",     rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
  attributes: { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "barrier",  truncate: "barrier",  attributes: "cover",
                unlink: "drop",     rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
  symlink:    { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "barrier",  truncate: "barrier",  attributes: "keep",
                unlink: "annul",    rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
  mkdir:      { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "barrier",  truncate: "barrier",  attributes: "barrier",
                unlink: "barrier",  rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
  link:       { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "barrier",  truncate: "barrier",  attributes: "barrier",
                unlink: "barrier",  rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
  unlink:     { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "barrier",  truncate: "barrier",  attributes: "barrier",
                unlink: "barrier",  rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
  rmdir:      { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "barrier",  truncate: "barrier",  attributes: "barrier",
                unlink: "barrier",  rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
  rename:     { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "barrier",  truncate: "barrier",  attributes: "barrier",
                unlink: "barrier",  rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
  hold:       { create: "barrier",  symlink: "barrier",  mkdir: "barrier",  link: "barrier",
                write: "barrier",  truncate: "barrier",  attributes: "barrier",
                unlink: "barrier",  rmdir: "barrier",  rename: "barrier",  hold: "barrier" },
};

/** Whether nothing is moved over ops of a kind, by whatever op it meets: what comes after one begins anew. */
export function isBarrierToAll(kind: StackedKind): boolean {
  return barriersToAll.has(kind);
}

const barriersToAll = new Set(
  (Object.keys(mergeTable) as StackedKind[])
    .filter((kind) => Object.values(mergeTable[kind]).every((merge) => merge === "barrier")),
);

/** What becomes of an older op; `op` is what it is from then on. */
export type Outcome =
  /** It stays, and the newer one may merge with what is older still. */
  | { then: "pass" }
  /** It stays, and the newer one goes no further. */
  | { then: "stop" }
  /** It is smaller, and the newer one may merge with what is older still. */
  | { then: "shrink"; op: StackedOp }
  /** It is dropped, and the newer one may merge with what is older still. */
  | { then: "drop" }
  /** It says what both said: the newer one is dropped. */
  | { then: "join"; op: StackedOp }
  /** Both are dropped. */
  | { then: "annul" };

const pass: Outcome = { then: "pass" };
const stop: Outcome = { then: "stop" };
const drop: Outcome = { then: "drop" };

type Rule = (older: StackedOp, newer: StackedOp, maxPacketSize: number) => Outcome;

const rules: Record<Merge, Rule> = {
  keep: () => pass,
  barrier: () => stop,
  extend: (older, newer, maxPacketSize) =>
    extend(older as StackedOpOf<"write">, newer as StackedOpOf<"write">, maxPacketSize),
  below: (older, newer) =>
    (newer as StackedOpOf<"write">).end <= (older as StackedOpOf<"truncate">).lowest ? pass : stop,
  cut: (older, newer) => cut(older as StackedOpOf<"write">, (newer as StackedOpOf<"truncate">).lowest),
  lower: (older, newer) => lower(older as StackedOpOf<"truncate">, newer as StackedOpOf<"truncate">),
  cover: (older, newer) => cover(older as StackedOpOf<"attributes">, newer as StackedOpOf<"attributes">),
  drop: (_, newer) => (newer as StackedOpOf<"unlink">).survivor === undefined ? drop : stop,
  annul: (_, newer) => (newer as StackedOpOf<"unlink">).survivor === undefined ? { then: "annul" } : stop,
};

/**
 * Says what becomes of an older op when a newer one of the same file under the same name arrives. Changes neither.
 *
 * @param maxPacketSize Bytes between two writes from which on they stay two.
 */
export function mergeOps(older: StackedOp, newer: StackedOp, maxPacketSize: number): Outcome {
  return rules[mergeTable[older.kind][newer.kind]](older, newer, maxPacketSize);
}

function extend(older: StackedOpOf<"write">, newer: StackedOpOf<"write">, maxPacketSize: number): Outcome {
  const range = mergeRanges(older, newer, maxPacketSize);
  return range ? { then: "join", op: { ...older, ...range } } : pass;
}

function cut(older: StackedOpOf<"write">, size: number): Outcome {
  const range = cutRange(older, size);
  if (range === undefined) return drop;
  return range.end === older.end ? pass : { then: "shrink", op: { ...older, ...range } };
}

function lower(older: StackedOpOf<"truncate">, newer: StackedOpOf<"truncate">): Outcome {
  return { then: "join", op: { ...older, lowest: Math.min(older.lowest, newer.lowest), size: newer.size } };
}

/** What is set between two changes of a directory may need the mode and owner that the older one gave it. */
function cover(older: StackedOpOf<"attributes">, newer: StackedOpOf<"attributes">): Outcome {
  const names = setNames(older.attributes);
  if (older.isDirectory && names.some((name) => name !== "mtimeNs")) return pass;
  return names.every((name) => newer.attributes[name] !== undefined) ? drop : pass;
}

function setNames(attributes: AttributeChange): (keyof AttributeChange)[] {
  const names = Object.keys(attributes) as (keyof AttributeChange)[];
  return names.filter((name) => attributes[name] !== undefined);
}
