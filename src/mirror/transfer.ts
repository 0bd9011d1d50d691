/**
 * Sends the contents of a large file (small ones: small_file.ts) as a transfer of blocks, of which only those
 * travel that differ from what the receiver holds. Holes are neither read nor sent: a new file has them by itself, and
 * elsewhere a `hole` goes in the place of blocks.
 *
 * A file may change while it is read. What was read is compared with the file's attributes afterwards, and read again
 * where they moved, up to {@linkcode limits.readPassesMax} times; then it is sent as it is and reported *restless*, so
 * that a file which never rests still gets through. The attributes sent are always those from *before* the last
 * reading: a later change makes the file differ from them, and so it is looked at again.
 * @module
 */
import { equalBytes } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import type { Op, TransferBase } from "../ops/op.ts";
import { type OpenFile, sameFile, type Stat, type Tree } from "../sys/file_system.ts";
import { DataMap } from "../sys/holes.ts";
import { pageAligned } from "../sys/libc.ts";
import { differingRanges, type Range, rangesSize } from "./differences.ts";
import type { Held, Signature } from "../ops/held.ts";
import { Pace } from "./pace.ts";
import { type PlanPolicy, sendableAttributes } from "./plan.ts";
import { hashBlocks, hashBlocksOf, hashHole } from "./signature.ts";
import { isSameVersion, look } from "./small_file.ts";

/** Bytes for which fine hashes are asked at a time: about a millisecond of hashing. */
const REFINE_SIZE = 4 * 1024 * 1024;

/** Where ops go. */
export interface OpSink {
  /** Resolves when so many bytes may be pushed. */
  room(bytes: number): Promise<void>;
  /** Takes an op and returns its sequence. @throws {TransientError} If the stream was started anew meanwhile. */
  push(op: Op): number;
}

/** How files are compared and sent. */
export interface TransferPolicy extends PlanPolicy {
  /** Bytes of a fine block. */
  blockSize: number;
  /** Files of this size or more are compared by blocks. */
  fastMirrorSizeMin: number;
  /** File bytes that one op carries at most at this moment; what is larger is a transfer. */
  opDataSize: number;
  /**
   * Whether hashes of what is sent are of use later. Without them a file that changes while it is sent goes whole once
   * more. @default {true}
   */
  keepsSignatures?: boolean;
}

/** What sending needs to know. */
export interface TransferContext {
  tree: Tree;
  policy: TransferPolicy;
  sink: OpSink;
  /** Block hashes of the receiver's file. */
  sign(
    path: string,
    range: { blockSize: number; start: number; end: number },
  ): Promise<{ fileSize: number; hashes: Uint8Array }>;
  /**
   * Whether `sign` may be called now. Otherwise a file goes by what is known of the receiver's: coarse blocks, or all of
   * it. @default always
   */
  mayAsk?(): boolean;
  /**
   * Take a file that has grown, and whose last block is as it was, as appended to, without reading the rest. Whoever
   * sets this has the whole compared later. @default {false}
   */
  trustsAppends?: boolean;
  /**
   * The receiver's file has names that are not this one's: it is replaced, also by a copy of itself, and never changed.
   * @default {false}
   */
  isShared?: boolean;
  /** Whether the receiver still has at this path what it had when the transfer began. */
  isStillHeld(): boolean;
  /** A transfer number that is not in use. */
  nextTransfer(): number;
  /** Counts bytes read from files. */
  onRead(bytes: number): void;
}

/** How a transfer ended. */
export type TransferResult =
  | {
    state: "sent";
    /** Whether the receiver's file was changed, and not replaced. */
    inPlace: boolean;
    stat: Stat;
    signature: Signature | undefined;
    restless: boolean;
    /** Only what was appended was looked at; see `trustsAppends`. */
    appended: boolean;
    sequence: number;
  }
  /** The receiver has these contents already; only attributes may differ. */
  | { state: "unchanged"; stat: Stat; signature: Signature }
  /** The path does not name this file any more, or another one on the receiver. */
  | { state: "gone" };

/** Whether contents of this size travel as a transfer. */
export function isLarge(size: number, held: Held | undefined, policy: TransferContext["policy"]): boolean {
  if (size >= limits.signatureFileSizeMin || size > policy.opDataSize) return true;
  return held?.kind === "file" && held.size > 0 && size >= policy.fastMirrorSizeMin;
}

/**
 * Sends a large file.
 *
 * @param held What the receiver holds at this path, if it is a file.
 * @param known Coarse block hashes of the receiver's file, if they are known for sure.
 * @throws {SystemError} If it cannot be read. @throws {TransientError} If the receiver cannot be asked.
 */
export async function transferFile(
  path: string,
  context: TransferContext,
  held?: Held,
  known?: Signature,
): Promise<TransferResult> {
  // What stands there now, not in a directory that has moved away meanwhile.
  context.tree.forgetDirectories();
  using file = context.tree.open(path, { access: "read" });
  const transfer = new Transfer(path, file, context);
  return await transfer.run(held, known);
}

/** Size of the blocks whose hashes the index keeps. None is larger than what one op carries. */
export function coarseBlockSize(blockSize: number): number {
  return Math.min(blockSize * limits.coarseBlockFactor, limits.opDataSizeMax);
}

/** Block hashes that the receiver told or is known to have. */
interface Theirs {
  fileSize: number;
  hashes: Uint8Array;
}

/** One file on its way. */
class Transfer {
  readonly #path: string;
  readonly #file: OpenFile;
  readonly #context: TransferContext;
  readonly #coarse: number;
  readonly #buffer = pageAligned(limits.opDataSizeMax);
  #number = 0;
  #base: TransferBase = "empty";
  /** Attributes from before the reading that is under way. */
  #stat: Stat;
  /** Where the file has data, as of that reading. */
  #map: DataMap;
  /** Hashes of what the receiver will have; zeros where that is not known, or not sent yet. */
  #hashes = new Uint8Array(0);
  /** Bytes of the receiver's file, as far as is known. */
  #theirSize = 0;
  /**
   * Blocks that were hashed whole at one moment, and compared or sent in parts at others: if the file moved meanwhile,
   * their hashes say nothing about what the receiver has.
   */
  readonly #partlySent = new Set<number>();
  #appended = false;
  /** Whether hashes of what is sent are kept. */
  #remembers: boolean;

  constructor(path: string, file: OpenFile, context: TransferContext) {
    this.#path = path;
    this.#file = file;
    this.#context = context;
    this.#coarse = coarseBlockSize(context.policy.blockSize);
    this.#stat = look(file, context.policy.abilities.xattrs);
    this.#map = new DataMap(file);
    this.#remembers = context.policy.keepsSignatures ?? true;
  }

  async run(held: Held | undefined, known: Signature | undefined): Promise<TransferResult> {
    const { full, fastMirrorSizeMin } = this.#context.policy;
    const comparable = held?.kind === "file" && held.size > 0 && !full &&
      this.#stat.size >= fastMirrorSizeMin;
    const ranges = comparable ? await this.#compare(held, known) : undefined;
    // What was compared must not have been moved away meanwhile, on their side.
    if (ranges !== undefined && !this.#context.isStillHeld()) return { state: "gone" };
    const isUnchanged = !this.#context.isShared && ranges?.length === 0 &&
      this.#theirSize === this.#stat.size;
    if (isUnchanged) {
      const now = this.#file.stat();
      if (isSameVersion(this.#stat, now)) {
        return { state: "unchanged", stat: this.#stat, signature: this.#signature() };
      }
      // It got a name, or lost one: made anew for that, all of its names would have to be linked again.
      if (now.linkCount > 1 && now.size === this.#stat.size && now.mtimeNs === this.#stat.mtimeNs) {
        return { state: "gone" };
      }
    }
    const base = this.#chooseBase(ranges, held);
    if (!await this.#begin(base)) return { state: "gone" };
    try {
      if (base === "empty") await this.#send([{ start: 0, end: this.#stat.size }], { isAnew: true });
      else await this.#send(ranges!);
      const restless = await this.#sendWhatChangedMeanwhile();
      await this.#context.sink.room(this.#path.length);
      // A patch changes what stands at the path when it is closed.
      if (base === "patch" && !this.#context.isStillHeld()) return this.#giveUp();
      return this.#finish(restless);
    } catch (error) {
      this.#context.sink.push({ kind: "abandon", transfer: this.#number });
      throw error;
    }
  }

  /**
   * Ranges that differ from the receiver's file, and afterwards `#hashes` describes ours. `undefined` if it has no such
   * file. All of ours is read, unless it is to be taken as appended to.
   */
  async #compare(held: Held, known: Signature | undefined): Promise<Range[] | undefined> {
    const usable = known?.blockSize === this.#coarse && known.fileSize === held.size ? known : undefined;
    const appended = usable && this.#context.trustsAppends && this.#compareAppended(held, usable);
    if (appended) return appended;
    if (!usable && !this.#mayAsk) return undefined;
    // Both ends hash at the same time.
    const [theirs, ours] = await Promise.all([usable ?? this.#askHashes(held.size), this.#hashOurs()]);
    if (theirs.fileSize < 0) return undefined;
    [this.#hashes, this.#theirSize] = [ours, theirs.fileSize];
    const differing = differingRanges(ours, theirs.hashes, {
      blockSize: this.#coarse,
      fileSize: this.#stat.size,
    });
    // Where nearly every coarse block differs the file was written anew, as a rule: fine hashes would save nothing.
    const isRewritten = rangesSize(differing) * 8 > this.#stat.size * 7 && this.#stat.size > 2 * this.#coarse;
    if (isRewritten || !this.#mayAsk) return differing;
    for (const range of differing) for (const block of this.#blocksOf(range)) this.#partlySent.add(block);
    return await this.#refine(differing, theirs.fileSize);
  }

  get #mayAsk(): boolean {
    return this.#context.mayAsk?.() ?? true;
  }

  /** What a growing file has more than the receiver's, if that one's last block is still there. */
  #compareAppended(held: Held, known: Signature): Range[] | undefined {
    const { size } = this.#stat;
    if (size <= held.size || !sameFile(held, this.#stat)) return undefined;
    const last = Math.floor((held.size - 1) / this.#coarse);
    const block = { blockSize: this.#coarse, start: last * this.#coarse, end: held.size };
    if (
      !equalBytes(hashBlocks(this.#file, block, this.#map), known.hashes.subarray(last * 16, last * 16 + 16))
    ) {
      return undefined;
    }
    this.#hashes = new Uint8Array(known.hashes);
    this.#theirSize = held.size;
    this.#appended = true;
    return [{ start: held.size, end: size }];
  }

  /** Within coarse blocks that differ, asks for fine ones: a few bytes of hashes save most of the block. */
  async #refine(coarse: Range[], theirSize: number): Promise<Range[]> {
    const blockSize = this.#context.policy.blockSize;
    const pieces = coarse.flatMap((range) => splitRange(range, REFINE_SIZE));
    const refined = await Promise.all(pieces.map(async ({ start, end }) => {
      if (start >= theirSize) return [{ start, end }];
      const theirs = await this.#context.sign(this.#path, { blockSize, start, end });
      if (theirs.fileSize < 0) return [{ start, end }];
      const ours = hashBlocks(this.#file, { blockSize, start, end }, this.#map);
      return differingRanges(ours, theirs.hashes, { blockSize, fileSize: this.#stat.size, start });
    }));
    return refined.flat();
  }

  /** Coarse hashes of the receiver's file, asked for range by range so that live ops get their turns. */
  async #askHashes(heldSize: number): Promise<Theirs> {
    const size = Math.min(heldSize, this.#stat.size);
    const answers: Promise<Theirs>[] = [];
    for (let start = 0; start < size; start += limits.signatureRangeSize) {
      const end = Math.min(start + limits.signatureRangeSize, size);
      answers.push(this.#context.sign(this.#path, { blockSize: this.#coarse, start, end }));
    }
    const hashes = new Uint8Array(Math.ceil(size / this.#coarse) * 16);
    let fileSize = heldSize;
    for (const [i, answer] of (await Promise.all(answers)).entries()) {
      const at = i * (limits.signatureRangeSize / this.#coarse) * 16;
      hashes.set(answer.hashes.subarray(0, hashes.length - at), at);
      fileSize = answer.fileSize;
    }
    return { fileSize, hashes };
  }

  async #hashOurs(): Promise<Uint8Array<ArrayBuffer>> {
    const size = this.#stat.size;
    const hashes = new Uint8Array(Math.ceil(size / this.#coarse) * 16);
    const pace = new Pace();
    for (let start = 0; start < size; start += limits.opDataSizeMax) {
      const end = Math.min(start + limits.opDataSizeMax, size);
      hashes.set(
        hashBlocks(this.#file, { blockSize: this.#coarse, start, end }, this.#map),
        (start / this.#coarse) * 16,
      );
      this.#context.onRead(this.#map.count({ start, end }));
      await pace.keep();
    }
    return hashes;
  }

  /**
   * In place only what was changed in place here, too: a version that took its name by rename appears at once there as
   * it did here, and so does one of which most is new.
   */
  #chooseBase(ranges: Range[] | undefined, held: Held | undefined): TransferBase {
    if (ranges === undefined) return "empty";
    const changed = ranges.reduce((bytes, range) => bytes + this.#map.count(range), 0);
    const mostly = changed * 2 > this.#stat.size && this.#stat.size > 2 * this.#coarse;
    // The inode that the receiver's file was made from is not known after its listing was taken for the index.
    const isReplaced = held !== undefined && held.ino !== 0n && !sameFile(held, this.#stat);
    // Nor may a small file be seen on its way to a large one.
    const isLarge = Math.min(this.#theirSize, this.#stat.size) >= limits.patchFileSizeMin;
    const isPatchable = !this.#context.isShared && isLarge && changed <= limits.patchSizeMax;
    if (isPatchable && !isReplaced && (!mostly || this.#isAppended(ranges))) return "patch";
    return mostly ? "empty" : "copy";
  }

  /** Whether everything that differs lies behind the receiver's last block. */
  #isAppended(ranges: Range[]): boolean {
    const end = Math.floor(this.#theirSize / this.#coarse) * this.#coarse;
    return ranges.every(({ start }) => start >= end);
  }

  /** @returns `false` if what it is to start from is not there any more. */
  async #begin(base: TransferBase): Promise<boolean> {
    this.#base = base;
    this.#number = this.#context.nextTransfer();
    await this.#context.sink.room(this.#path.length);
    if (base !== "empty" && !this.#context.isStillHeld()) return false;
    this.#context.sink.push({ kind: "open", transfer: this.#number, path: this.#path, base });
    return true;
  }

  /** @param options.isAnew The receiver begins with an empty file: holes are there already. @default {false} */
  async #send(ranges: Range[], { isAnew = false } = {}): Promise<void> {
    const pace = new Pace();
    // If sending breaks off, the receiver has the rest as it was, which may be anything.
    for (const range of ranges) for (const block of this.#blocksOf(range)) this.#forget(block);
    for (const { start, end } of ranges) {
      for (let offset = start; offset < end;) {
        const holeSize = this.#holeSizeAt(offset, end);
        const size = Math.min(this.#opSizeAt(offset), end - offset);
        await this.#context.sink.room(holeSize > 0 ? 0 : size);
        const sent = holeSize > 0
          ? this.#sendHole(offset, holeSize, isAnew)
          : this.#sendPieces(offset, size, isAnew);
        // It was cut meanwhile: the next pass will see that.
        if (sent === 0) return;
        offset += sent;
        await pace.keep();
      }
    }
  }

  /** Bytes of the hole at `offset`, as far as it covers coarse blocks or reaches `end`. */
  #holeSizeAt(offset: number, end: number): number {
    const { start } = this.#map.next(offset) ?? { start: end };
    return start >= end ? end - offset : Math.max(0, start - start % this.#coarse - offset);
  }

  #sendHole(offset: number, size: number, isAnew: boolean): number {
    if (!isAnew) this.#pushHole(offset, size);
    this.#remember(offset, size, () => hashHole(size, this.#coarse));
    return size;
  }

  /** Sends what one op could carry: data, and the holes between. @returns Bytes; fewer than `size` where the file ends. */
  #sendPieces(offset: number, size: number, isAnew: boolean): number {
    const bytes = this.#buffer.subarray(0, size);
    const holes: Range[] = [];
    let at = 0;
    while (at < size) {
      const data = this.#map.next(offset + at);
      const dataAt = Math.min((data?.start ?? Infinity) - offset, size);
      if (dataAt > at) {
        bytes.fill(0, at, dataAt);
        holes.push({ start: at, end: dataAt });
        if (!isAnew) this.#pushHole(offset + at, dataAt - at);
        at = dataAt;
      } else {
        const wanted = bytes.subarray(at, Math.min(data!.end - offset, size));
        const count = this.#file.read(wanted, offset + at);
        this.#context.onRead(count);
        if (count > 0) this.#pushBlock(offset + at, wanted.subarray(0, count));
        at += count;
        if (count < wanted.length) break;
      }
    }
    if (at > 0) this.#remember(offset, at, () => hashBlocksOf(bytes.subarray(0, at), this.#coarse, holes));
    return at;
  }

  #pushBlock(offset: number, data: Uint8Array): void {
    this.#context.sink.push({ kind: "block", transfer: this.#number, offset, data });
  }

  #pushHole(offset: number, size: number): void {
    this.#context.sink.push({ kind: "hole", transfer: this.#number, offset, size });
  }

  /** Bytes of the next op, so that it ends where a coarse block does if it carries one. */
  #opSizeAt(offset: number): number {
    const { opDataSize } = this.#context.policy;
    const blocks = Math.floor(opDataSize / this.#coarse) * this.#coarse;
    return blocks === 0 ? opDataSize : blocks - (offset % this.#coarse);
  }

  /** Indexes of the coarse blocks that a range touches. */
  *#blocksOf({ start, end }: Range): Iterable<number> {
    for (let block = Math.floor(start / this.#coarse); block * this.#coarse < end; block++) yield block;
  }

  #forget(block: number): void {
    this.#hashes.fill(0, block * 16, block * 16 + 16);
  }

  /**
   * Keeps the hashes of what was sent; a range that does not cover a block leaves that block to be hashed again.
   *
   * @param hash Hashes what was sent, if it covers blocks.
   */
  #remember(offset: number, size: number, hash: () => Uint8Array): void {
    if (!this.#remembers) return;
    const blockCount = Math.ceil(Math.max(offset + size, this.#stat.size) / this.#coarse);
    if (this.#hashes.length < blockCount * 16) {
      const grown = new Uint8Array(blockCount * 16);
      grown.set(this.#hashes);
      this.#hashes = grown;
    }
    const first = Math.floor(offset / this.#coarse);
    const last = Math.ceil((offset + size) / this.#coarse) - 1;
    const isWhole = offset % this.#coarse === 0 &&
      (size % this.#coarse === 0 || offset + size >= this.#stat.size);
    this.#hashes.set(isWhole ? hash() : this.#hash(first, last), first * 16);
    for (let block = first; !isWhole && block <= last; block++) this.#partlySent.add(block);
  }

  /** Hashes of coarse blocks of the file. */
  #hash(first: number, last: number): Uint8Array {
    const [start, end] = [first * this.#coarse, Math.min((last + 1) * this.#coarse, this.#stat.size)];
    return hashBlocks(this.#file, { blockSize: this.#coarse, start, end }, this.#map);
  }

  /** @returns Whether the file still moved after the last pass. */
  async #sendWhatChangedMeanwhile(): Promise<boolean> {
    for (let pass = 1;; pass++) {
      const now = look(this.#file, this.#context.policy.abilities.xattrs);
      if (isSameVersion(now, this.#stat)) return false;
      if (pass >= limits.readPassesMax) return true;
      const sent = this.#hashes.slice(0, Math.ceil(this.#stat.size / this.#coarse) * 16);
      for (const block of this.#partlySent) sent.fill(0, block * 16, block * 16 + 16);
      this.#partlySent.clear();
      this.#stat = now;
      this.#map = new DataMap(this.#file);
      // From here on all of it is read, and it may go on changing.
      this.#appended = false;
      this.#remembers = true;
      this.#hashes = await this.#hashOurs();
      await this.#send(differingRanges(this.#hashes, sent, { blockSize: this.#coarse, fileSize: now.size }));
    }
  }

  #giveUp(): TransferResult {
    this.#context.sink.push({ kind: "abandon", transfer: this.#number });
    return { state: "gone" };
  }

  #finish(restless: boolean): TransferResult {
    const { sink, tree, policy } = this.#context;
    tree.forgetDirectories();
    const named = tree.stat(this.#path);
    if (!named || named.ino !== this.#stat.ino || named.dev !== this.#stat.dev) return this.#giveUp();
    restless ||= !isSameVersion(named, this.#stat);
    const sequence = sink.push({
      kind: "close",
      transfer: this.#number,
      path: this.#path,
      size: this.#stat.size,
      attributes: sendableAttributes(this.#stat, policy.abilities),
    });
    return {
      state: "sent",
      inPlace: this.#base === "patch",
      stat: this.#stat,
      signature: restless || !this.#remembers ? undefined : this.#signature(),
      restless,
      appended: this.#appended,
      sequence,
    };
  }

  #signature(): Signature {
    const hashes = new Uint8Array(Math.ceil(this.#stat.size / this.#coarse) * 16);
    hashes.set(this.#hashes.subarray(0, hashes.length));
    return { blockSize: this.#coarse, fileSize: this.#stat.size, hashes };
  }
}

/** Cuts a range into pieces of at most `size` bytes. */
function splitRange({ start, end }: Range, size: number): Range[] {
  const pieces: Range[] = [];
  for (let at = start; at < end; at += size) pieces.push({ start: at, end: Math.min(at + size, end) });
  return pieces;
}
