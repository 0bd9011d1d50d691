/**
 * The transaction log of a set: commands in order, on the source's disk, until every target has done them (FEATURES M3,
 * Q6). Commands hold no data; that is in the files.
 *
 * ```
 * append ─▶ buffer ─▶ newest segment ─▶ fdatasync, one for all who wait (group commit)
 *                     oldest segment ─▶ removed once all of it is released
 * ```
 *
 * Writing order: a new segment's name is made durable before a record in it is; records, then their sync, then whoever
 * waits for {@linkcode TransactionLog.commit} hears of it. Reading goes the other way: the end of the newest segment may
 * be torn; it is cut off, and said. Anything else that is no record is damage, told to the caller, who looks at
 * everything: nothing is guessed.
 *
 * Bounds: a segment is closed at `limits.logSegmentBytes`; the caller watches {@linkcode TransactionLog.bytes}. After a
 * failed write the log is broken for good, and what it promised before stands; {@linkcode TransactionLog.open} takes
 * it up again.
 * @module
 */
import { join } from "node:path";
import { ByteWriter } from "../base/bytes.ts";
import { assert, reasonOf, TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { quote } from "../base/path.ts";
import { removeIfThere, syncDirectory } from "./durable.ts";
import { encodeRecord, type LogRecord, readRecords, recordSize, SEGMENT_HEAD } from "./log_record.ts";

/** What opening a log found. */
export interface LogFindings {
  /** Bytes behind the last whole record, which were cut off; 0 if there were none. */
  tornBytes: number;
  /** What is lost in the middle, `""` if nothing is. What was left behind it is given up. */
  damage: string;
}

interface Segment {
  path: string;
  /** Of its first record, also if there is none yet. */
  firstSequence: number;
  /** Written so far. */
  size: number;
}

const NAME = /^[0-9]{16}\.log$/;

/** A log in a directory of its own. */
export class TransactionLog implements Disposable {
  readonly findings: LogFindings;
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #segments: Segment[];
  readonly #buffer = new ByteWriter(4096);
  #file: Deno.FsFile;
  #nextSequence: number;
  #releasedBefore = 0;
  #isSyncing = false;
  /** While the file is being synced, on another thread, it stays. */
  #mayReplaceFile = true;
  /** Those who wait for a sync that has not begun. */
  #waiting: PromiseWithResolvers<void> | undefined;
  #failure: Error | undefined;

  private constructor(
    directory: string,
    { segments, nextSequence, findings, segmentBytes }: {
      segments: Segment[];
      nextSequence: number;
      findings: LogFindings;
      segmentBytes: number;
    },
  ) {
    this.#directory = directory;
    this.#segments = segments;
    this.#nextSequence = nextSequence;
    this.#segmentBytes = segmentBytes;
    this.findings = findings;
    if (segments.length === 0) this.#file = this.#beginSegment();
    else this.#file = Deno.openSync(segments.at(-1)!.path, { append: true });
  }

  /**
   * Opens a log, or makes one. Only for the owner of the set's lock.
   *
   * @throws {Error} If the directory cannot be read or written.
   */
  static open(directory: string, { segmentBytes = limits.logSegmentBytes } = {}): TransactionLog {
    Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
    return new TransactionLog(directory, { ...findSegments(directory), segmentBytes });
  }

  /** Sequence of the oldest record that is kept, or of the next one if there is none. */
  get firstSequence(): number {
    return this.#segments[0].firstSequence;
  }

  /** Sequence that the next record gets. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** Bytes on the disk, with those that are about to be. */
  get bytes(): number {
    return this.#segments.reduce((sum, { size }) => sum + size, this.#buffer.size);
  }

  /** Why nothing can be written any more, `undefined` if that is not so. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /**
   * Appends a record. It is in the file soon, and survives power loss after {@linkcode commit}.
   *
   * @returns Its sequence.
   */
  append(payload: Uint8Array): number {
    assert(payload.length <= limits.logPayloadSizeMax, "a command fits into a record");
    const sequence = this.#nextSequence++;
    if (this.#failure) return sequence;
    encodeRecord({ sequence, payload }, this.#buffer);
    if (this.#buffer.size >= limits.logBufferBytes) this.#attempt(() => this.#writeOut());
    return sequence;
  }

  /**
   * Resolves when everything appended before the call survives power loss.
   *
   * @throws {TransientError} If it does not: the disk is full or gone.
   */
  commit(): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    this.#waiting ??= Promise.withResolvers();
    const { promise } = this.#waiting;
    if (!this.#isSyncing) void this.#syncForAll();
    return promise;
  }

  /** Everything appended so far survives power loss when it returns, or {@linkcode failure} says why not. */
  commitNow(): void {
    if (this.#failure) return;
    this.#attempt(() => {
      this.#writeOut();
      this.#file.syncDataSync();
    });
  }

  /**
   * Reads the records from a sequence on, in order, those that are appended meanwhile, too. None of them may be released
   * before.
   */
  *read(from = this.firstSequence): Generator<LogRecord> {
    let next = from;
    while (next < this.#nextSequence) {
      if (!this.#failure) this.#attempt(() => this.#writeOut());
      const segment = this.#segments.findLast(({ firstSequence }) => firstSequence <= next);
      const before = next;
      // More may be in it when these are read.
      for (
        const record of segment ? readRecords(Deno.readFileSync(segment.path), segment.firstSequence) : []
      ) {
        if (record.sequence < next) continue;
        yield record;
        next = record.sequence + 1;
      }
      if (next === before) return;
    }
  }

  /** Records below this sequence are needed no more. Their segments go, once no other record is in them. */
  release(before: number): void {
    this.#releasedBefore = Math.max(this.#releasedBefore, before);
    this.#removeReleased();
  }

  #removeReleased(): void {
    const before = this.#releasedBefore;
    while (this.#segments.length > 1 && this.#segments[1].firstSequence <= before) {
      removeIfThere(this.#segments.shift()!.path);
    }
    // The newest segment goes as a whole, too: a log at rest is empty. While it is synced it waits for that.
    const isEmpty = this.#segments[0].size <= SEGMENT_HEAD.length && this.#buffer.size === 0;
    if (before < this.#nextSequence || isEmpty || !this.#mayReplaceFile || this.#failure) return;
    this.#attempt(() => {
      this.#buffer.reset();
      const { path } = this.#segments.shift()!;
      this.#replaceFile();
      removeIfThere(path);
    });
  }

  [Symbol.dispose](): void {
    if (!this.#failure) this.#attempt(() => this.#writeOut());
    this.#fail(new TransientError("Cannot write to the transaction log: it is closed"));
    this.#file.close();
  }

  async #syncForAll(): Promise<void> {
    this.#isSyncing = true;
    while (this.#waiting && !this.#failure) {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      try {
        this.#writeOut();
        this.#mayReplaceFile = false;
        await this.#file.syncData();
        waiting.resolve();
      } catch (error) {
        this.#fail(error);
        waiting.reject(this.#failure);
      }
      this.#mayReplaceFile = true;
      this.#removeReleased();
    }
    this.#isSyncing = false;
  }

  #writeOut(): void {
    let segment = this.#segments.at(-1)!;
    if (this.#buffer.size === 0) return;
    if (segment.size >= this.#segmentBytes && this.#mayReplaceFile) {
      this.#file.syncDataSync();
      this.#replaceFile();
      segment = this.#segments.at(-1)!;
    }
    const bytes = this.#buffer.view();
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    segment.size += bytes.length;
    this.#buffer.reset();
  }

  #replaceFile(): void {
    this.#file.close();
    this.#file = this.#beginSegment();
  }

  #beginSegment(): Deno.FsFile {
    const firstSequence = this.#nextSequence - this.#bufferedCount();
    const path = join(this.#directory, `${firstSequence.toString().padStart(16, "0")}.log`);
    // One that a release left behind, or that a failed start made, holds nothing.
    const file = Deno.openSync(path, { write: true, create: true, truncate: true, mode: 0o600 });
    file.writeSync(SEGMENT_HEAD);
    // Directory before any record in it: the file alone may vanish.
    syncDirectory(this.#directory);
    this.#segments.push({ path, firstSequence, size: SEGMENT_HEAD.length });
    return file;
  }

  /** Records in the buffer. */
  #bufferedCount(): number {
    const bytes = this.#buffer.view();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let count = 0;
    for (let at = 0; at < bytes.length; at += recordSize(view.getUint32(at, true))) count++;
    return count;
  }

  #attempt(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(cause: unknown): void {
    if (this.#failure) return;
    this.#failure = cause instanceof TransientError
      ? cause
      : new TransientError(`Cannot write to ${quote(this.#directory)}: ${reasonOf(cause)}`, { cause });
    this.#waiting?.reject(this.#failure);
    this.#waiting = undefined;
  }
}

/** Looks what segments there are, cuts off a torn end and removes what stands behind damage. */
function findSegments(
  directory: string,
): { segments: Segment[]; nextSequence: number; findings: LogFindings } {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name).filter((name) => NAME.test(name))
    .sort();
  const segments: Segment[] = [];
  const findings: LogFindings = { tornBytes: 0, damage: "" };
  let nextSequence = 1;
  for (const [i, name] of names.entries()) {
    const path = join(directory, name);
    const firstSequence = Number(name.slice(0, 16));
    if (findings.damage === "" && i > 0 && firstSequence !== nextSequence) {
      findings.damage = `records ${nextSequence} to ${firstSequence - 1} are missing`;
    }
    if (findings.damage !== "") {
      removeIfThere(path);
      continue;
    }
    const bytes = Deno.readFileSync(path);
    const { size, count } = measure(bytes, firstSequence);
    nextSequence = firstSequence + count;
    if (size < bytes.length) {
      findings.tornBytes = bytes.length - size;
      if (i < names.length - 1) findings.damage = `${quote(path)} is damaged at byte ${size}`;
      cut(path, size);
    }
    // Not even its head was written: nothing can be in it.
    if (size === 0) removeIfThere(path);
    else segments.push({ path, firstSequence, size });
  }
  return { segments, nextSequence, findings };
}

function measure(bytes: Uint8Array, firstSequence: number): { size: number; count: number } {
  const records = readRecords(bytes, firstSequence);
  for (let count = 0;; count++) {
    const { done, value } = records.next();
    if (done) return { size: value, count };
  }
}

function cut(path: string, size: number): void {
  using file = Deno.openSync(path, { write: true });
  file.truncateSync(size);
  file.syncSync();
}
