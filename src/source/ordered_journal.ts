/**
 * The ordered journal of one lane: parcels with their data on the source's disk, while the target cannot take them, so
 * that it passes through the states that the source had and does not skip any (`--ordered SIZE`, DESIGN §9).
 *
 * | state     | what it means                                                                                      |
 * |-----------|----------------------------------------------------------------------------------------------------|
 * | `off`     | there is none                                                                                      |
 * | `idle`    | the target takes everything in time                                                                |
 * | `writing` | parcels are kept in it until they are acked                                                        |
 * | `full`    | beyond its size, changes stack up without data: of a file that changes twice the last version goes |
 * | `failed`  | it cannot be written, with the reason; changes stack up without data                               |
 *
 * It survives restarts: what is in it, of the same stream, is sent before anything else is looked at (stream.ts).
 * A record is `streamId string16 | firstSequence u53 | count u32 | bytes u53 | message`.
 * @module
 */
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { reasonOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { JournalStatus } from "../base/status.ts";
import type { LogRecord } from "../store/log_record.ts";
import type { TransactionLog } from "../store/txn_log.ts";

/** What a journal is made with. */
export interface OrderedJournalOptions {
  /** Opens what is on the disk, or makes it. @throws {Error} If that cannot be. */
  open: () => TransactionLog;
  /** Whether an earlier run left one. */
  isThere: () => boolean;
  /** Bytes that it may take. */
  bytesMax: number;
  log: Log;
}

/** A parcel as the journal knows it. */
export interface JournaledParcel {
  firstSequence: number;
  count: number;
  /** Bytes of its ops in the window. */
  bytes: number;
  /** Where its message is; see {@linkcode OrderedJournal.read}. */
  record: number;
}

/** Parcels of one lane on the disk. */
export class OrderedJournal implements Disposable {
  readonly #options: OrderedJournalOptions;
  readonly #writer = new ByteWriter();
  #transactions: TransactionLog | undefined;
  #failure = "";
  #isFull = false;
  /** Records are mostly read one after the other. */
  #reading: { next: number; records: Iterator<LogRecord> } | undefined;

  constructor(options: OrderedJournalOptions) {
    this.#options = options;
  }

  /** For `status`. */
  get status(): JournalStatus {
    const bytes = this.#transactions?.bytes ?? 0;
    if (this.#failure !== "") return { state: "failed", reason: this.#failure, bytes };
    if (this.isEmpty) return { state: "idle", reason: "", bytes: 0 };
    return { state: this.#isFull ? "full" : "writing", reason: "", bytes };
  }

  /** Whether nothing is in it. */
  get isEmpty(): boolean {
    const log = this.#transactions;
    return log === undefined || log.firstSequence === log.nextSequence;
  }

  /** Whether so many bytes more may be written. */
  hasRoom(bytes: number): boolean {
    if (this.#failure !== "") return false;
    const fits = (this.#transactions?.bytes ?? 0) + bytes <= this.#options.bytesMax;
    if (!fits) this.#isFull = true;
    return fits;
  }

  /**
   * Keeps a parcel. It survives a power cut soon.
   *
   * @returns Its record; `undefined` if it could not be written.
   */
  add(
    streamId: string,
    { firstSequence, count, bytes, message }: Omit<JournaledParcel, "record"> & { message: Uint8Array },
  ): number | undefined {
    const log = this.#opened();
    if (!log) return undefined;
    this.#writer.reset();
    this.#writer.string16(streamId).u53(firstSequence).u32(count).u53(bytes).raw(message);
    const record = log.append(this.#writer.view());
    if (log.failure) return void this.#fail(log.failure);
    log.commit().catch((error) => this.#fail(error));
    return record;
  }

  /** The message of a parcel. @throws {Error} If it cannot be read. */
  read(record: number): Uint8Array {
    const log = this.#transactions!;
    if (this.#reading?.next !== record) this.#reading = { next: record, records: log.read(record) };
    let found = this.#reading.records.next();
    // What was appended since the segment was read needs another look.
    if (found.done) {
      this.#reading.records = log.read(record);
      found = this.#reading.records.next();
    }
    this.#reading.next = record + 1;
    return decode(found.value as LogRecord).message;
  }

  /** Parcels below this record are acked; `undefined`: all of them. */
  release(before?: number): void {
    const log = this.#transactions;
    if (!log) return;
    log.release(before ?? log.nextSequence);
    if (!this.isEmpty) return;
    this.#isFull = false;
    this.#reading = undefined;
  }

  /**
   * Parcels that an earlier run left of a stream, behind what the target has: without a gap, else none. Others go.
   */
  takeUp(streamId: string, durableSequence: number): JournaledParcel[] {
    if (!this.#transactions && !this.#options.isThere()) return [];
    const log = this.#opened();
    if (!log) return [];
    const found: JournaledParcel[] = [];
    let next = durableSequence + 1;
    for (const { payload, sequence } of log.read()) {
      const { streamId: id, message: _, ...parcel } = decode({ payload, sequence });
      if (id !== streamId || parcel.firstSequence + parcel.count <= next) continue;
      if (parcel.firstSequence > next) break;
      found.push({ ...parcel, record: sequence });
      next = parcel.firstSequence + parcel.count;
    }
    this.release(found[0]?.record);
    return found;
  }

  [Symbol.dispose](): void {
    this.#transactions?.[Symbol.dispose]();
    this.#transactions = undefined;
    this.#reading = undefined;
  }

  #opened(): TransactionLog | undefined {
    if (this.#failure !== "") return undefined;
    try {
      return this.#transactions ??= this.#options.open();
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** What is in it already can still be read. */
  #fail(error: unknown): void {
    if (this.#failure !== "") return;
    this.#failure = `Cannot write the ordered journal: ${reasonOf(error)}`;
    this.#options.log.warn(this.#failure);
  }
}

function decode(
  { payload, sequence: record }: LogRecord,
): JournaledParcel & { streamId: string; message: Uint8Array } {
  const reader = new ByteReader(payload);
  const [streamId, firstSequence, count, bytes] = [
    reader.string16(),
    reader.u53(),
    reader.u32(),
    reader.u53(),
  ];
  return { streamId, firstSequence, count, bytes, record, message: reader.raw(reader.left) };
}
