/**
 * The stacked-up queue: ops that wait without their data, in order of arrival, merged as they arrive.
 *
 * ```
 *  add ──▶ same file, same name, nothing between that parts them? ── yes ──▶ table (ops/merge.ts) ──▶ one op less
 *                              │ no                                              │ both stay
 *                              ▼                                                 ▼
 *          head ◀── op ⇄ op ⇄ op ⇄ op ⇄ op ⇄ op ◀── tail ◀───────────────────────┘
 *            │
 *  take ◀────┘  a piece at a time, with the name under which its data is to be read now
 * ```
 *
 * What must hold:
 * - An op is added when the source has it. Its data is read after it was taken; then every later change of these
 *   bytes is in the queue behind it, so that in the end the target has the last ones.
 * - No op is moved over one that it depends on: a rename or removal of its name or of a directory above it, a link, a
 *   truncation below its range, a hold mark.
 * - Memory is bounded (`limits.stackedBytes`). At the bound the queue is *overflowed*: its owner drains it of the
 *   paths that changed, and looks at those instead.
 * @module
 */
import { assert } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { baseName, joinPath, parentPath } from "../base/path.ts";
import { isBarrierToAll } from "../ops/merge.ts";
import { isDeparture, type StackedOp } from "../ops/stacked.ts";
import { type Departure, Departures, type Source } from "./departures.ts";
import { FileOps, type OwningQueue, type QueuedFileOp, type QueuedOp } from "./file_ops.ts";

/** What became of an op that was added. */
export type Added =
  /** It waits at the end. */
  | "queued"
  /** An older op says it, too. */
  | "merged"
  /** It and all that it was about are as if they had never been. */
  | "annulled"
  /** It waits, but there is no room for more: the queue is to be drained at once. */
  | "overflow";

/** An op whose turn it is. */
export interface ServicedOp {
  op: StackedOp;
  /** Where the contents of its file are to be read; of no meaning for an op without contents. */
  source: Source;
}

/** A path at which the source may differ from what the target has. */
export interface ChangedPath {
  path: string;
  /** Whether what lies below it changed its place, too. */
  below: boolean;
}

/** Choices for {@linkcode StackedQueue}. */
export interface StackedQueueOptions {
  /** Bytes between two writes of one file from which on they stay two. @default {limits.mergePacketSize} */
  maxPacketSize?: number;
  /** Bytes of memory, as estimated. @default {limits.stackedBytes} */
  bytesMax?: number;
}

/** Ops of one lane that wait without data. */
export class StackedQueue {
  readonly #owning: OwningQueue;
  readonly #bytesMax: number;
  #oldest: QueuedOp | undefined;
  #newest: QueuedOp | undefined;
  #size = 0;
  #bytes = 0;
  #lastSequence = 0;
  /** Place of the newest hold mark. */
  #holdSequence = 0;
  #isOverflowed = false;
  /** By file: what a newer op of it may merge with. Most often that is a single op. */
  readonly #files = new Map<number, QueuedFileOp | FileOps>();
  readonly #departures = new Departures();

  constructor(options: StackedQueueOptions = {}) {
    const maxPacketSize = options.maxPacketSize ?? limits.mergePacketSize;
    assert(maxPacketSize > 0, "a packet carries something");
    this.#owning = { maxPacketSize, drop: (op) => this.#unlist(op) };
    this.#bytesMax = options.bytesMax ?? limits.stackedBytes;
  }

  /** Ops that wait. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory that they take, as estimated. */
  get bytes(): number {
    return this.#bytes;
  }

  get state(): "open" | "overflowed" {
    return this.#isOverflowed ? "overflowed" : "open";
  }

  /**
   * Adds what the source did. The op is copied.
   *
   * After `"overflow"` the queue must be drained before anything else is added: names would no longer be told right.
   */
  add(op: StackedOp): Added {
    assert(!this.#isOverflowed, "an overflowed queue is drained before it takes more");
    const queued = withLinks(op, ++this.#lastSequence);
    const added = "file" in queued ? this.#merge(queued) : "waits";
    if (added !== "waits") return added;
    this.#append(queued);
    this.#isOverflowed = this.#bytes > this.#bytesMax;
    return this.#isOverflowed ? "overflow" : "queued";
  }

  /**
   * Takes the oldest op, or a piece of it; the rest keeps its place. The file is opened for reading before anything
   * else is added, since its name holds good until then; the bytes may be read later.
   *
   * @param maxBytes Bytes of a piece of a write. @default {limits.opDataSizeMax}
   * @returns `undefined` if none waits.
   */
  take(maxBytes: number = limits.opDataSizeMax): ServicedOp | undefined {
    const op = this.#oldest;
    if (op === undefined) return undefined;
    const source = this.#sourceOf(op);
    const taken = withoutLinks(op);
    if (op.kind === "write" && op.end - op.start > maxBytes && source.state === "at") {
      op.start += maxBytes;
      Object.assign(taken, { end: op.start });
    } else {
      this.#leave(op);
    }
    return { op: taken, source };
  }

  /** Forgets all ops and says where the source has changed by them, by the names of now. Ends an overflow. */
  drain(): ChangedPath[] {
    const changed = new Map<string, boolean>();
    for (let op = this.#oldest; op !== undefined; op = op.newer) {
      for (const { path, below } of this.#changedPaths(op)) {
        changed.set(path, below || changed.get(path) === true);
      }
    }
    this.#clear();
    return [...changed].map(([path, below]) => ({ path, below }));
  }

  #merge(op: QueuedFileOp): "waits" | "merged" | "annulled" {
    const waiting = this.#waitingFor(op);
    const added = waiting === undefined ? "waits" : this.#addToFile(waiting, op);
    if (isBarrierToAll(op.kind)) this.#files.delete(op.file);
    else if (waiting === undefined) this.#files.set(op.file, op);
    return added;
  }

  #addToFile(waiting: QueuedFileOp | FileOps, op: QueuedFileOp): "waits" | "merged" | "annulled" {
    // One string for all of them.
    op.path = waiting.path;
    const ops = waiting instanceof FileOps ? waiting : new FileOps(waiting, this.#owning);
    this.#files.set(op.file, ops);
    return ops.add(op);
  }

  /** What a newer op may merge with, if nothing came between that parts them. */
  #waitingFor(op: QueuedFileOp): QueuedFileOp | FileOps | undefined {
    const waiting = this.#files.get(op.file);
    if (waiting === undefined || waiting.path !== op.path) return undefined;
    if (waiting.sequence < this.#holdSequence) return undefined;
    return this.#departures.isOtherSince(op.path, waiting.sequence) ? undefined : waiting;
  }

  #append(op: QueuedOp): void {
    op.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = op;
    else this.#newest.newer = op;
    this.#newest = op;
    this.#size++;
    this.#bytes += memoryOf(op);
    if (isDeparture(op)) this.#departures.add(op);
    if (op.kind === "hold") this.#holdSequence = op.sequence;
  }

  /** Takes an op out of the order. */
  #unlist(op: QueuedOp): void {
    if (op.older === undefined) this.#oldest = op.newer;
    else op.older.newer = op.newer;
    if (op.newer === undefined) this.#newest = op.older;
    else op.newer.older = op.older;
    this.#size--;
    this.#bytes -= memoryOf(op);
  }

  /** The oldest op leaves. */
  #leave(op: QueuedOp): void {
    this.#unlist(op);
    if (isDeparture(op)) this.#departures.removeOldest(op as Departure);
    if (!("file" in op)) return;
    const waiting = this.#files.get(op.file);
    if (waiting instanceof FileOps) waiting.remove(op);
    if (waiting === op || waiting instanceof FileOps && waiting.isEmpty) this.#files.delete(op.file);
  }

  #sourceOf(op: QueuedOp): Source {
    return "path" in op ? this.#departures.source(op.path, op.sequence) : { state: "gone" };
  }

  *#changedPaths(op: QueuedOp): Iterable<ChangedPath> {
    if (op.kind === "hold") return;
    const arrived = "to" in op ? op.to : op.path;
    if (op.kind !== "unlink" && op.kind !== "rmdir") {
      const source = this.#departures.source(arrived, op.sequence);
      if (source.state === "at") yield { path: source.path, below: op.kind === "rename" };
      if (source.state === "hidden") yield { path: "", below: true };
    }
    if (isDeparture(op)) yield* this.#vacated(op);
  }

  /** The name that a departure took from something. What it is to hold is found by looking at it. */
  *#vacated(op: Departure): Iterable<ChangedPath> {
    const directory = this.#departures.source(parentPath(op.path), op.sequence);
    // A directory that is gone is told of by its own removal.
    if (directory.state !== "at") return;
    const isExchange = op.kind === "rename" && op.exchange;
    yield { path: joinPath(directory.path, baseName(op.path)), below: isExchange };
  }

  #clear(): void {
    this.#oldest = this.#newest = undefined;
    this.#size = this.#bytes = 0;
    this.#isOverflowed = false;
    this.#files.clear();
    this.#departures.clear();
  }
}

/** Copies an op. Each kind is written out where many wait: an object made by spreading takes a half more memory. */
function withLinks(op: StackedOp, sequence: number): QueuedOp {
  const [older, newer] = [undefined, undefined];
  switch (op.kind) {
    case "write": {
      const { kind, path, file, start, end } = op;
      return { kind, path, file, start, end, sequence, older, newer };
    }
    case "create": {
      const { kind, path, file, attributes } = op;
      return { kind, path, file, attributes, sequence, older, newer };
    }
    case "attributes": {
      const { kind, path, file, isDirectory, attributes } = op;
      return { kind, path, file, isDirectory, attributes, sequence, older, newer };
    }
    case "unlink": {
      const { kind, path, file, survivor } = op;
      return { kind, path, file, survivor, sequence, older, newer };
    }
    case "rename": {
      const { kind, path, to, exchange, survivor } = op;
      return { kind, path, to, exchange, survivor, sequence, older, newer };
    }
    default:
      return { ...op, sequence, older, newer };
  }
}

function withoutLinks({ sequence: _1, older: _2, newer: _3, ...op }: QueuedOp): StackedOp {
  return op;
}

/** Bytes of memory of an op, rather too many. */
function memoryOf(op: StackedOp): number {
  let characters = 0;
  if ("path" in op) characters += op.path.length;
  if ("to" in op) characters += op.to.length;
  if ("target" in op) characters += op.target.length;
  return limits.stackedOpSize + 2 * characters;
}
