/**
 * What waits in a stacked-up queue for one file under one name, and what becomes of it when a newer op arrives: walks
 * from the newest to the oldest and asks the table (ops/merge.ts) of each. Writes that nothing parts stand together in
 * an index, so that of a million of them only those near the newer one are asked.
 * @module
 */
import { assert } from "../base/errors.ts";
import { mergeOps, mergeTable } from "../ops/merge.ts";
import type { FileOp, StackedOp, StackedOpOf } from "../ops/stacked.ts";
import { RangeIndex } from "./range_index.ts";

/** An op in the queue: the op itself, its place, and its neighbours in order of arrival. */
export type QueuedOp = StackedOp & Links;

/** What the queue adds to an op. */
export interface Links {
  /** Place in order of arrival, from 1. */
  readonly sequence: number;
  older: QueuedOp | undefined;
  newer: QueuedOp | undefined;
}

/** An op of a file in the queue. */
export type QueuedFileOp = FileOp & Links;

/** What the ops of a file need of their queue; one object for all of them. */
export interface OwningQueue {
  /** Bytes between two writes from which on they stay two. */
  readonly maxPacketSize: number;
  /** Is called with each queued op of which nothing is left. */
  drop(op: QueuedOp): void;
}

type QueuedWrite = StackedOpOf<"write"> & Links;
/** Ops of one kind other than `write` stand alone, oldest first. */
type Item = QueuedOp | RangeIndex<QueuedWrite>;

/** Ops of one file under one name. */
export class FileOps {
  readonly path: string;
  /** Place in the queue of the first op that was ever in here: all others are newer. */
  readonly sequence: number;
  /** A handful at most: ops of kinds that merge with themselves, and between them groups of writes. */
  #items: Item[];
  readonly #queue: OwningQueue;

  constructor(first: QueuedFileOp, queue: OwningQueue) {
    this.path = first.path;
    this.sequence = first.sequence;
    this.#items = [first];
    this.#queue = queue;
  }

  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  /** Takes an op in that is newer than the others. Says whether it is to wait by itself. */
  add(newer: QueuedOp): "waits" | "merged" | "annulled" {
    for (let at = this.#items.length - 1; at >= 0; at--) {
      const met = this.#meet(at, newer);
      if (met === "stop") break;
      if (met !== "pass") return met;
      // Fewer than before may be left.
      at = Math.min(at, this.#items.length);
    }
    this.#append(newer);
    return "waits";
  }

  /** Forgets an op that leaves the queue. */
  remove(op: QueuedOp): void {
    const at = this.#items.findIndex((item) => holds(item, op));
    if (at >= 0) this.#removeAt(at, op);
  }

  #meet(at: number, newer: QueuedOp): "pass" | "stop" | "merged" | "annulled" {
    const item = this.#items[at];
    const olders = item instanceof RangeIndex ? this.#concerned(item, newer) : [item];
    for (const older of olders) {
      const outcome = mergeOps(older, newer, this.#queue.maxPacketSize);
      switch (outcome.then) {
        case "stop":
          return "stop";
        case "shrink":
          Object.assign(older, outcome.op);
          break;
        case "drop":
          this.#dropAt(at, older);
          break;
        case "join":
          this.#join(at, olders, newer);
          return "merged";
        case "annul":
          this.#dropAt(at, older);
          return "annulled";
      }
    }
    return "pass";
  }

  /** Writes of a group of which the table would not say that they merely stay. */
  #concerned(group: RangeIndex<QueuedWrite>, newer: QueuedOp): QueuedOp[] {
    if (newer.kind === "write") {
      return group.overlapping(
        newer.start - this.#queue.maxPacketSize,
        newer.end + this.#queue.maxPacketSize,
      );
    }
    if (newer.kind === "truncate") return group.overlapping(newer.lowest, Infinity);
    return mergeTable.write[newer.kind] === "keep" ? [] : group.all();
  }

  /** Makes one op of a newer one and of those that it meets, where the oldest of them is. */
  #join(at: number, olders: QueuedOp[], newer: QueuedOp): void {
    const home = olders.reduce((a, b) => a.sequence < b.sequence ? a : b);
    const item = this.#items[at];
    // Out of the index while their places change.
    if (item instanceof RangeIndex) olders.forEach((older) => item.delete(older as QueuedWrite));
    this.#unite(home, newer);
    for (const older of olders) {
      if (older === home) continue;
      this.#unite(home, older);
      this.#queue.drop(older);
    }
    if (item instanceof RangeIndex) item.add(home as QueuedWrite);
  }

  #unite(home: QueuedOp, other: QueuedOp): void {
    const outcome = mergeOps(home, other, this.#queue.maxPacketSize);
    assert(outcome.then === "join", "what is near the newer op is near what it became part of");
    Object.assign(home, outcome.op);
  }

  #dropAt(at: number, op: QueuedOp): void {
    this.#removeAt(at, op);
    this.#queue.drop(op);
    // What stood apart by it may be one now. Without this a file written and touched in turn would queue without end.
    if (op.kind === "attributes") this.#addAgain(at);
  }

  #addAgain(from: number): void {
    const younger = this.#items.splice(from);
    for (const item of younger) {
      for (const op of item instanceof RangeIndex ? item.all() : [item]) {
        if (this.add(op) !== "waits") this.#queue.drop(op);
      }
    }
  }

  #removeAt(at: number, op: QueuedOp): void {
    const item = this.#items[at];
    if (item instanceof RangeIndex) {
      item.delete(op as QueuedWrite);
      if (!item.isEmpty) return;
    }
    this.#items.splice(at, 1);
  }

  #append(newer: QueuedOp): void {
    const last = this.#items.at(-1);
    if (newer.kind === "write" && last instanceof RangeIndex) return last.add(newer);
    if (newer.kind === "write" && isWrite(last)) {
      this.#items[this.#items.length - 1] = new RangeIndex<QueuedWrite>(last, newer);
    } else {
      // Not by `push`, which leaves room for 16 more.
      this.#items = this.#items.concat(newer);
    }
  }
}

function isWrite(item: Item | undefined): item is QueuedWrite {
  return item !== undefined && "kind" in item && item.kind === "write";
}

function holds(item: Item, op: QueuedOp): boolean {
  return item === op || item instanceof RangeIndex && item.has(op as QueuedWrite);
}
