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
 * With an ordered journal, parcels that the target does not take in time are kept on the disk: those that the window
 * has no room for are there alone.
 *
 * Invariants: nothing is dropped before the target's durable ack (DESIGN §3.1); what is in memory and not acked never
 * exceeds the window, save by a single op in an empty window, and neither does what is sent and not acked (FEATURES Q1).
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { ProtocolError } from "../base/errors.ts";
import { ByteWriter } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { type Op, type OpKind, opPaths } from "../ops/op.ts";
import { decodeOps, encodeMessage, type Message, OpsMessageWriter } from "../wire/message.ts";
import type { JournalStatus } from "../base/status.ts";
import type { Session } from "../wire/session.ts";
import type { Throttle } from "../wire/throttle.ts";
import { MirrorWindow } from "./mirror_window.ts";
import type { OrderedJournal } from "./ordered_journal.ts";

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
  /** Keeps live ops on the disk while the target does not take them. @default nothing is kept there */
  journal?: OrderedJournal;
  /** What the session is held to; a mirror's part of the window is small then. @default as fast as it goes */
  throttle?: Pick<Throttle, "bytesIn">;
  /** Called when something happened that a waiting party may have waited for. */
  onChange?: () => void;
}

/** Ops in one message, kept until they are acked. */
interface Parcel {
  firstSequence: number;
  count: number;
  /** `undefined` if it is in the journal alone. */
  message: Uint8Array | undefined;
  /** Where it is in the journal, if it is there. */
  record?: number;
  /** Holds the message, and is used again after the ack; `undefined` if the message was copied out of it. */
  writer: ByteWriter | undefined;
  /** Bytes of its ops in the window, and how many of them, and of its ops, are a mirror's. */
  bytes: number;
  mirrorBytes: number;
  mirrorOps: number;
  pushedAtMs: number;
  /** When it was given to this session, monotonic. */
  sentAtMs?: number;
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
  readonly #journal: OrderedJournal | undefined;
  #streamId = "";
  readonly #throttle: Pick<Throttle, "bytesIn"> | undefined;
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
  #openMirrorOps = 0;
  #openSinceMs = 0;
  /** Whether the open parcel should go as soon as the line is free. A mirror's ops gather for a moment instead. */
  #isUrgent = false;
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #sealing: ReturnType<typeof setTimeout> | undefined;
  /** Of ops in memory. */
  #bytes = 0;
  readonly #mirror: MirrorWindow;
  /** Of ops sent in this session and not acked. */
  #inFlightBytes = 0;
  /** Messages that are not ops, each to be sent after the ops pushed before it. */
  #extras: { afterSequence: number; message: Uint8Array }[] = [];
  #session: Session | undefined;
  #sending = false;
  #isHeld = false;
  #isGathering = false;

  constructor(options: LaneOptions) {
    this.#clock = options.clock;
    this.#windowBytes = options.windowBytes ?? limits.windowBytes;
    this.#mirror = new MirrorWindow({ ...options, windowBytes: this.#windowBytes });
    this.#throttle = options.throttle;
    this.#journal = options.journal;
    this.#onChange = options.onChange ?? (() => {});
  }

  /** What is on the disk, for `status`. */
  get journalStatus(): JournalStatus {
    return this.#journal?.status ?? { state: "off", reason: "", bytes: 0 };
  }

  /** Whether live ops can be pushed though nobody takes them. */
  get keepsOnDisk(): boolean {
    return this.#journal !== undefined && this.#journal.status.state !== "failed";
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

  /** Bytes of them. */
  get queuedBytes(): number {
    let bytes = this.#openBytes;
    for (let i = this.#unsentIndex; i < this.#parcels.length; i++) bytes += this.#parcels[i].bytes;
    return bytes;
  }

  /** File bytes that one op should carry at most: at a low rate less, so that a live op need not wait behind it for long. */
  get opDataSize(): number {
    const { opDataSizeMax, throttleOpMs, throttleOpSizeMin } = limits;
    return Math.max(throttleOpSizeMin, this.#throttle?.bytesIn(throttleOpMs, opDataSizeMax) ?? opDataSizeMax);
  }

  /** Whether ops gather and none is sent: apart from {@linkcode hold}, for flow rules. */
  get isGathering(): boolean {
    return this.#isGathering;
  }

  set isGathering(gathers: boolean) {
    this.#isGathering = gathers;
    if (gathers) return;
    this.#isUrgent = true;
    this.#pump();
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
    return [
      ...new Set(this.#parcels.flatMap((parcel) => decodeOps(this.#messageOf(parcel)).flatMap(opPaths))),
    ];
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

  /** Ends: what is on the disk stays there. */
  close(): void {
    clearTimeout(this.#sealing);
    this.#sealing = undefined;
    if (this.#open && this.#mustJournal(0)) this.#sealParcel();
    this.#journal?.[Symbol.dispose]();
  }

  /**
   * Starts counting after `sequence`, for a new or a continued stream. Everything waiting is dropped, save for what an
   * earlier run left in the journal of this stream.
   */
  restart(sequence: number, streamId: string): void {
    this.#streamId = streamId;
    this.#nextSequence = sequence + 1;
    this.#ackedSequence = sequence;
    this.#parcels = [];
    this.#unsentIndex = 0;
    this.#open = undefined;
    this.#openBytes = 0;
    this.#openMirrorBytes = 0;
    this.#openMirrorOps = 0;
    this.#bytes = 0;
    this.#mirror.clear();
    this.#extras = [];
    this.#takeUpJournal();
    this.#onChange();
  }

  /** Whether an op of so many bytes may be pushed now. A lone op always may. */
  hasRoom(bytes: number, priority: Priority): boolean {
    if (priority === "live" && this.#mustJournal(bytes)) return this.#journal!.hasRoom(bytes);
    if (this.#bytes === 0) return true;
    if (!this.#fits(bytes)) return false;
    return priority === "live" || this.#mirror.hasRoom(bytes);
  }

  /** Gives an op its sequence and queues it. Ask {@linkcode hasRoom} first. Its data is copied. */
  push(op: Op, priority: Priority): number {
    const sequence = this.#nextSequence++;
    const dataSize = "data" in op ? op.data.length : 0;
    if (this.#open && dataSize >= limits.loneOpSizeMin) this.#sealParcel();
    this.#open ??= this.#openParcel(sequence, dataSize, priority);
    const size = this.#open.add(op);
    this.#bytes += size;
    this.#openBytes += size;
    if (priority === "mirror") {
      this.#openMirrorBytes += size;
      this.#openMirrorOps++;
      this.#mirror.add(size);
    } else {
      this.#isUrgent = true;
      this.#mirror.noteLive();
    }
    this.#count(op.kind, dataSize);
    const isFull = this.#open.size >= Math.min(limits.opsMessageSizeTarget, this.opDataSize);
    if (isFull || dataSize >= limits.loneOpSizeMin) this.#sealParcel();
    if (this.#open && this.#mustJournal(0)) {
      if (this.#bytes > this.#windowBytes / 2) this.#sealParcel();
      else this.#sealLater();
    }
    this.#pump();
    return sequence;
  }

  /**
   * Queues a message that is not ops, behind the ops pushed so far, or `ahead` of all that is not sent yet. It is lost if
   * the session breaks.
   */
  post(message: Message, { ahead = false } = {}): void {
    this.#isUrgent = true;
    const encoded = encodeMessage(message);
    if (ahead) this.#extras.unshift({ afterSequence: 0, message: encoded });
    else this.#extras.push({ afterSequence: this.lastSequence, message: encoded });
    this.#pump();
  }

  /**
   * Sends a message ahead of everything that is queued, also while ops are held or gather. It hurries nothing, and is
   * lost if the session breaks.
   */
  tell(message: Message): void {
    this.#extras.unshift({ afterSequence: 0, message: encodeMessage(message) });
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
    this.#mirror.sessionBegins();
    for (const parcel of this.#parcels) parcel.sentAtMs = undefined;
    this.acknowledge(durableSequence);
    this.#inFlightBytes = 0;
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
    if (this.#parcels.length > 0) this.#keepOnDisk();
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
    let sentAtMs: number | undefined;
    while (done < this.#parcels.length) {
      const parcel = this.#parcels[done];
      if (parcel.firstSequence + parcel.count - 1 > sequence) break;
      if (parcel.message) this.#bytes -= parcel.bytes;
      if (done < this.#unsentIndex) this.#inFlightBytes -= parcel.bytes;
      this.#mirror.release(parcel.mirrorBytes, parcel.mirrorOps);
      if (parcel.sentAtMs !== undefined) sentAtMs = parcel.sentAtMs;
      if (parcel.writer) this.#keepSpare(parcel.writer);
      done++;
    }
    // The last of them is the one that was waited for least.
    if (sentAtMs !== undefined) this.#mirror.noteAck(this.#clock.monotonicMs() - sentAtMs);
    this.#parcels.splice(0, done);
    this.#unsentIndex = Math.max(0, this.#unsentIndex - done);
    if (this.#journal && !this.#journal.isEmpty) {
      this.#journal.release(this.#parcels.find(({ record }) => record !== undefined)?.record);
      this.#pump();
    }
    this.#onChange();
  }

  /** Whether an op of so many bytes fits into the window. */
  #fits(bytes: number): boolean {
    return this.#bytes + bytes <= this.#windowBytes && this.unackedOps < limits.windowOps;
  }

  /** Whether a live op would have to be kept on the disk: nobody takes it, or others before it wait there. */
  #mustJournal(bytes: number): boolean {
    if (!this.#journal) return false;
    return !this.#session || this.#isHeld || !this.#journal.isEmpty || !this.#fits(bytes);
  }

  /** What nobody takes goes to the disk soon. */
  #sealLater(): void {
    this.#sealing ??= setTimeout(() => {
      this.#sealing = undefined;
      if (this.#mustJournal(0)) this.#sealParcel();
    }, limits.journalGatherMs);
  }

  #takeUpJournal(): void {
    for (const { bytes, ...parcel } of this.#journal?.takeUp(this.#streamId, this.#ackedSequence) ?? []) {
      const pushedAtMs = this.#clock.nowMs();
      this.#parcels.push({
        ...parcel,
        message: undefined,
        writer: undefined,
        bytes,
        mirrorBytes: 0,
        mirrorOps: 0,
        pushedAtMs,
      });
      this.#nextSequence = parcel.firstSequence + parcel.count;
    }
  }

  /** Keeps the newest parcel on the disk if it must be, with all before it; and out of memory, if that is full. */
  #keepOnDisk(): void {
    const journal = this.#journal;
    if (!journal || !this.#mustJournal(0)) return;
    let first = this.#parcels.length;
    while (first > 0 && this.#parcels[first - 1].record === undefined) first--;
    for (const parcel of this.#parcels.slice(first)) {
      parcel.record = journal.add(this.#streamId, { ...parcel, message: this.#messageOf(parcel) });
    }
    const newest = this.#parcels.at(-1)!;
    if (newest.record === undefined || this.#bytes <= this.#windowBytes / 2) return;
    newest.message = newest.writer = undefined;
    this.#bytes -= newest.bytes;
  }

  #messageOf({ message, record }: Parcel): Uint8Array {
    return message ?? this.#journal!.read(record!);
  }

  /** Whether a mirror may go on pushing; otherwise nobody would add to the open parcel. */
  #hasMoreRoom(): boolean {
    return this.hasRoom(this.opDataSize, "mirror");
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
      mirrorOps: this.#openMirrorOps,
      pushedAtMs: this.#openSinceMs,
    });
    if (!holds) this.#keepSpare(writer);
    this.#keepOnDisk();
    this.#open = this.#openWriter = undefined;
    this.#isUrgent = false;
    this.#openBytes = 0;
    this.#openMirrorBytes = 0;
    this.#openMirrorOps = 0;
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
    if (this.#isHeld || this.#isGathering) return undefined;
    if (!unsent && this.#open && !this.#isUrgent && this.#hasMoreRoom()) {
      this.#gathering ??= setTimeout(() => this.#gathered(), limits.gatherMs);
      return undefined;
    }
    if (!unsent && this.#open) this.#sealParcel();
    const parcel = this.#parcels[this.#unsentIndex];
    if (!parcel) return undefined;
    // Of what is on the disk no more than the window is under way, either.
    const isTooMuch = this.#inFlightBytes > 0 && this.#inFlightBytes + parcel.bytes > this.#windowBytes;
    if (isTooMuch && parcel.record !== undefined) return undefined;
    this.#unsentIndex++;
    parcel.sentAtMs = this.#clock.monotonicMs();
    this.#inFlightBytes += parcel.bytes;
    return this.#messageOf(parcel);
  }
}
