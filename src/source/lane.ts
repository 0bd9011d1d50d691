/**
 * Everything that is on its way to one target: ops get their sequence here, are gathered into messages, sent while
 * the window has room, kept until the durable ack, and sent again after a broken connection.
 *
 * ```
 *  push ─▶ open parcel ─▶ queue ─▶ session ─▶ unacked ─▶ ack: dropped
 *                           ▲                    │
 *                           └──── reconnect ─────┘
 * ```
 *
 * A held lane keeps what is pushed and sends none of it: the target's image stays as it is (FEATURES Q10).
 *
 * Invariants: nothing is dropped before the target's durable ack (DESIGN §3.1); what is pushed and not acked never
 * exceeds the window, save by a single op in an empty window (FEATURES Q1).
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { ProtocolError } from "../base/errors.ts";
import { ByteWriter } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { type Op, type OpKind, opPaths } from "../ops/op.ts";
import { decodeOps, encodeMessage, type Message, OpsMessageWriter } from "../wire/message.ts";
import type { Session } from "../wire/session.ts";

/** Live ops go first: a mirror only gets part of the window. */
export type Priority = "live" | "mirror";

/** What a lane counts; exact, and for the life of the process. */
export interface LaneStats {
  opsSent: Partial<Record<OpKind, number>>;
  /** File bytes in the ops pushed. */
  dataBytes: number;
  /** Ops sent again after a broken connection. */
  retries: number;
  /** Highest number of bytes that were ever pushed and not acked. */
  windowBytesPeak: number;
}

/** How a lane is set up. */
export interface LaneOptions {
  clock: Clock;
  /** Bytes pushed and not acked. @default {limits.windowBytes} */
  windowBytes?: number;
  /** Called when something happened that a waiting party may have waited for. */
  onChange?: () => void;
}

/** Ops in one message, kept until they are acked. */
interface Parcel {
  firstSequence: number;
  count: number;
  message: Uint8Array;
  /** Holds the message, and is used again after the ack; `undefined` if the message was copied out of it. */
  writer: ByteWriter | undefined;
  /** Bytes of its ops in the window, and how many of them are a mirror's. */
  bytes: number;
  mirrorBytes: number;
  pushedAtMs: number;
}

/** Room behind the data that a parcel is opened for: headers, paths, attributes. */
const PARCEL_SPARE_SIZE = 4096;

/** Bytes that a mirror's parcel begins with. It grows to what its ops need, and its buffer is used again. */
const MIRROR_PARCEL_CAPACITY = 64 * 1024;

/** The way to one target. */
export class Lane {
  readonly stats: LaneStats = { opsSent: {}, dataBytes: 0, retries: 0, windowBytesPeak: 0 };
  readonly #clock: Clock;
  readonly #windowBytes: number;
  readonly #mirrorWindowBytes: number;
  readonly #onChange: () => void;

  #nextSequence = 1;
  #ackedSequence = 0;
  /** Parcels not acked, oldest first; those from `#unsentIndex` on are not sent in this session. */
  #parcels: Parcel[] = [];
  #unsentIndex = 0;
  #open: OpsMessageWriter | undefined;
  #openWriter: ByteWriter | undefined;
  /** Writers of a mirror's parcels to be used again: making buffers of this size costs more than filling them. */
  readonly #spareWriters: ByteWriter[] = [];
  #openBytes = 0;
  #openMirrorBytes = 0;
  #openSinceMs = 0;
  /** Whether the open parcel should go as soon as the line is free. A mirror's ops gather for a moment instead. */
  #isUrgent = false;
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #bytes = 0;
  #mirrorBytes = 0;
  /** Messages that are not ops, each to be sent after the ops pushed before it. */
  #extras: { afterSequence: number; message: Uint8Array }[] = [];
  #session: Session | undefined;
  #sending = false;
  #isHeld = false;

  constructor(options: LaneOptions) {
    this.#clock = options.clock;
    this.#windowBytes = options.windowBytes ?? limits.windowBytes;
    this.#mirrorWindowBytes = Math.min(limits.mirrorWindowBytes, this.#windowBytes / 2);
    this.#onChange = options.onChange ?? (() => {});
  }

  /** Sequence of the last op pushed. */
  get lastSequence(): number {
    return this.#nextSequence - 1;
  }

  /** All ops up to here are durable on the target. */
  get ackedSequence(): number {
    return this.#ackedSequence;
  }

  /** Ops pushed and not acked. */
  get unackedOps(): number {
    return this.lastSequence - this.#ackedSequence;
  }

  /** Ops pushed and not yet sent. */
  get queuedOps(): number {
    let count = this.#open?.count ?? 0;
    for (let i = this.#unsentIndex; i < this.#parcels.length; i++) count += this.#parcels[i].count;
    return count;
  }

  /** Whether no op was sent without having been acked: then a held lane's target does not change. */
  get isQuiet(): boolean {
    return this.unackedOps === this.queuedOps;
  }

  /** Since when the oldest op that is not acked has waited, or `undefined`. */
  get oldestUnackedMs(): number | undefined {
    return this.#parcels[0]?.pushedAtMs ?? (this.#open ? this.#openSinceMs : undefined);
  }

  /** Paths of all ops that are not acked. */
  unackedPaths(): string[] {
    this.#sealParcel();
    return [...new Set(this.#parcels.flatMap(({ message }) => decodeOps(message).flatMap(opPaths)))];
  }

  /** Sends no further op until {@linkcode resume}, whatever becomes of the session. Ops gather up to the window. */
  hold(): void {
    this.#isHeld = true;
    this.#onChange();
  }

  /** Sends again, in the order in which it was pushed. */
  resume(): void {
    this.#isHeld = false;
    this.#isUrgent = true;
    this.#pump();
    this.#onChange();
  }

  /** Starts counting after `sequence`, for a new or a continued stream. Everything waiting is dropped. */
  restart(sequence: number): void {
    this.#nextSequence = sequence + 1;
    this.#ackedSequence = sequence;
    this.#parcels = [];
    this.#unsentIndex = 0;
    this.#open = undefined;
    this.#openBytes = 0;
    this.#openMirrorBytes = 0;
    this.#bytes = 0;
    this.#mirrorBytes = 0;
    this.#extras = [];
    this.#onChange();
  }

  /** Whether an op of so many bytes may be pushed now. A lone op always may. */
  hasRoom(bytes: number, priority: Priority): boolean {
    if (this.#bytes === 0) return true;
    if (this.#bytes + bytes > this.#windowBytes || this.unackedOps >= limits.windowOps) return false;
    return priority === "live" || this.#mirrorBytes + bytes <= this.#mirrorWindowBytes;
  }

  /** Gives an op its sequence and queues it. Ask {@linkcode hasRoom} first. Its data is copied. */
  push(op: Op, priority: Priority): number {
    const sequence = this.#nextSequence++;
    const dataSize = "data" in op ? op.data.length : 0;
    this.#open ??= this.#openParcel(sequence, dataSize, priority);
    const size = this.#open.add(op);
    this.#bytes += size;
    this.#openBytes += size;
    if (priority === "mirror") {
      this.#openMirrorBytes += size;
      this.#mirrorBytes += size;
    } else {
      this.#isUrgent = true;
    }
    this.#count(op.kind, dataSize);
    if (this.#open.size >= limits.opsMessageSizeTarget) this.#sealParcel();
    this.#pump();
    return sequence;
  }

  /** Queues a message that is not ops, behind the ops pushed so far. It is lost if the session breaks. */
  post(message: Message): void {
    this.#isUrgent = true;
    this.#extras.push({ afterSequence: this.lastSequence, message: encodeMessage(message) });
    this.#pump();
  }

  /**
   * Sends through `session` from now on, beginning behind the target's last durable op.
   *
   * @throws {ProtocolError} If the target does not have what it acked, or has what was never sent.
   */
  attach(session: Session, durableSequence: number): void {
    if (durableSequence < this.#ackedSequence || durableSequence > this.lastSequence) {
      throw new ProtocolError(
        `Cannot continue the stream: the target has ${durableSequence}, not ${this.#ackedSequence} to ${this.lastSequence}`,
      );
    }
    this.acknowledge(durableSequence);
    for (let i = 0; i < this.#unsentIndex; i++) this.stats.retries += this.#parcels[i].count;
    this.#unsentIndex = 0;
    this.#session = session;
    this.#pump();
  }

  /** Stops sending; ops stay. */
  detach(): void {
    this.#session = undefined;
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    this.#extras = [];
    this.#onChange();
  }

  /** Drops what is durable on the target. */
  acknowledge(sequence: number): void {
    if (sequence > this.lastSequence) {
      throw new ProtocolError(`Cannot take ack ${sequence}: the last op sent is ${this.lastSequence}`);
    }
    if (sequence <= this.#ackedSequence) return;
    this.#ackedSequence = sequence;
    if (this.#open && this.#open.firstSequence <= sequence) this.#sealParcel();
    let done = 0;
    while (done < this.#parcels.length) {
      const parcel = this.#parcels[done];
      if (parcel.firstSequence + parcel.count - 1 > sequence) break;
      this.#bytes -= parcel.bytes;
      this.#mirrorBytes -= parcel.mirrorBytes;
      if (parcel.writer) this.#keepSpare(parcel.writer);
      done++;
    }
    this.#parcels.splice(0, done);
    this.#unsentIndex = Math.max(0, this.#unsentIndex - done);
    this.#onChange();
  }

  /** Whether a mirror may go on pushing; otherwise nobody would add to the open parcel. */
  #hasMoreRoom(): boolean {
    return this.hasRoom(limits.opDataSizeMax, "mirror");
  }

  #gathered(): void {
    this.#gathering = undefined;
    this.#isUrgent = true;
    this.#pump();
  }

  /** A mirror fills its parcels; a live op is mostly alone in its own. */
  #openParcel(sequence: number, dataSize: number, priority: Priority): OpsMessageWriter {
    this.#openSinceMs = this.#clock.nowMs();
    const capacity = dataSize + PARCEL_SPARE_SIZE;
    this.#openWriter = priority === "mirror"
      ? this.#spareWriters.pop() ?? new ByteWriter(Math.max(capacity, MIRROR_PARCEL_CAPACITY))
      : new ByteWriter(capacity);
    return new OpsMessageWriter(sequence, this.#openWriter);
  }

  #sealParcel(): void {
    const [open, writer] = [this.#open, this.#openWriter];
    if (!open || !writer) return;
    // A parcel is kept until it is acked. A large buffer is not kept for a few bytes.
    const holds = writer.size * 2 >= writer.capacity;
    this.#parcels.push({
      firstSequence: open.firstSequence,
      count: open.count,
      message: holds ? open.seal() : open.seal().slice(),
      writer: holds ? writer : undefined,
      bytes: this.#openBytes,
      mirrorBytes: this.#openMirrorBytes,
      pushedAtMs: this.#openSinceMs,
    });
    if (!holds) this.#keepSpare(writer);
    this.#open = this.#openWriter = undefined;
    this.#isUrgent = false;
    this.#openBytes = 0;
    this.#openMirrorBytes = 0;
  }

  #keepSpare(writer: ByteWriter): void {
    const isSpare = writer.capacity >= MIRROR_PARCEL_CAPACITY &&
      this.#spareWriters.length < limits.spareParcelsMax;
    if (!isSpare) return;
    writer.reset();
    this.#spareWriters.push(writer);
  }

  #count(kind: OpKind, dataSize: number): void {
    this.stats.opsSent[kind] = (this.stats.opsSent[kind] ?? 0) + 1;
    this.stats.dataBytes += dataSize;
    this.stats.windowBytesPeak = Math.max(this.stats.windowBytesPeak, this.#bytes);
  }

  /** Sends what is queued, one message after the other. Ops that come meanwhile gather in the open parcel. */
  async #pump(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    // One microtask later, so that ops pushed in one go travel in one message.
    await Promise.resolve();
    const session = this.#session;
    try {
      while (session && this.#session === session) {
        const message = this.#nextMessage();
        if (!message) break;
        await session.send(message);
      }
    } catch {
      // The receiving side of the same session learns the reason and reconnects; ops stay queued.
      if (this.#session === session) this.#session = undefined;
    } finally {
      this.#sending = false;
    }
    if (this.#session && this.#session !== session) this.#pump();
  }

  #nextMessage(): Uint8Array | undefined {
    const unsent = this.#parcels[this.#unsentIndex];
    const nextSequence = unsent?.firstSequence ?? this.#open?.firstSequence ?? this.#nextSequence;
    if (this.#extras.length > 0 && this.#extras[0].afterSequence < nextSequence) {
      return this.#extras.shift()!.message;
    }
    if (this.#isHeld) return undefined;
    if (!unsent && this.#open && !this.#isUrgent && this.#hasMoreRoom()) {
      this.#gathering ??= setTimeout(() => this.#gathered(), limits.gatherMs);
      return undefined;
    }
    if (!unsent && this.#open) this.#sealParcel();
    const parcel = this.#parcels[this.#unsentIndex];
    if (parcel) this.#unsentIndex++;
    return parcel?.message;
  }
}
