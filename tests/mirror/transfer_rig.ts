/**
 * A source file and a receiver for tests of transfers: real files, hashed by the real function, and a slow obvious
 * receiver in memory that does the ops that were pushed.
 * @module
 */
import { limits } from "../../src/base/limits.ts";
import { Buffer } from "node:buffer";
import { assert, assertEquals, AssertionError } from "@std/assert";
import type { Held, Signature } from "../../src/ops/held.ts";
import type { Op } from "../../src/ops/op.ts";
import { hashBlocks } from "../../src/mirror/signature.ts";
import { coarseBlockSize, type TransferContext, transferFile } from "../../src/mirror/transfer.ts";
import type { OpenFile, Tree } from "../../src/sys/file_system.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { tempDirectory } from "../testing/temp.ts";

/** How a rig is set up. */
export interface RigOptions {
  /** Contents of the source's file. */
  ours: Uint8Array;
  /** Contents of the receiver's file, `undefined` if it has none. */
  theirs?: Uint8Array;
  /** @default {4096} */
  blockSize?: number;
  /** @default {0} */
  fastMirrorSizeMin?: number;
  full?: boolean;
  /** @default {true} */
  keepsSignatures?: boolean;
  /** Whether the receiver only counts what arrives, as with a file that memory has no room for. @default {false} */
  countsOnly?: boolean;
}

const PATH = "file";

/** One file, its source and its receiver. */
export class Rig implements AsyncDisposable {
  readonly ops: Op[] = [];
  bytesRead = 0;
  /** Bytes asked to be hashed at the receiver. */
  bytesSigned = 0;
  /** Called before each op that carries data or opens a transfer, when it is sure to be pushed next. */
  onRoom: () => void | Promise<void> = () => {};
  /** Called after an op was pushed. */
  onPush: () => unknown = () => {};
  /** Called before the receiver answers. */
  onSign: () => void = () => {};
  readonly tree: Tree;
  readonly policy: TransferContext["policy"];
  readonly #countsOnly: boolean;
  readonly #directory: Awaited<ReturnType<typeof tempDirectory>>;
  #theirs: Uint8Array | undefined;
  readonly #open = new Map<number, Uint8Array>();
  #transfers = 0;
  #times = 1_000_000_000;

  private constructor(directory: Awaited<ReturnType<typeof tempDirectory>>, options: RigOptions) {
    const { ours, theirs, blockSize = 4096, fastMirrorSizeMin = 0, full = false, keepsSignatures = true } =
      options;
    this.#countsOnly = options.countsOnly ?? false;
    this.#directory = directory;
    this.tree = systemFileSystem().openTree(directory.path);
    const abilities = {
      ownership: true,
      modes: true,
      nanoseconds: true,
      links: true,
      nodes: true,
      xattrs: true,
    };
    this.policy = {
      abilities,
      opDataSize: limits.opDataSizeMax,
      blockSize,
      fastMirrorSizeMin,
      full,
      keepsSignatures,
    };
    this.write(ours);
    this.#setTheirs(theirs);
  }

  static async make(options: RigOptions): Promise<Rig> {
    return new Rig(await tempDirectory(), options);
  }

  /** Absolute path of the source's file. */
  get sourcePath(): string {
    return `${this.#directory.path}/${PATH}`;
  }

  /** Contents of the source's file now. */
  get ours(): Uint8Array {
    return Deno.readFileSync(this.sourcePath);
  }

  /** Contents of the receiver's live file. */
  get theirs(): Uint8Array | undefined {
    return this.#theirs;
  }

  /** Offsets and sizes of the blocks pushed. */
  get blocks(): [offset: number, size: number][] {
    return this.ops.flatMap((op) => op.kind === "block" ? [[op.offset, op.data.length]] : []);
  }

  /** Offsets and sizes of the holes pushed. */
  get holes(): [offset: number, size: number][] {
    return this.ops.flatMap((op) => op.kind === "hole" ? [[op.offset, op.size]] : []);
  }

  get blockBytes(): number {
    return this.blocks.reduce((sum, [, size]) => sum + size, 0);
  }

  get kinds(): string {
    return this.ops.map((op) => op.kind === "open" ? `open ${op.base}` : op.kind).join(", ");
  }

  /** Writes the whole source file anew, in place. */
  write(bytes: Uint8Array): void {
    Deno.writeFileSync(this.sourcePath, bytes);
    this.touch();
  }

  /** Writes into the source's file, in place. */
  writeAt(offset: number, bytes: Uint8Array): void {
    using file = Deno.openSync(this.sourcePath, { write: true });
    file.seekSync(offset, Deno.SeekMode.Start);
    let done = 0;
    while (done < bytes.length) done += file.writeSync(bytes.subarray(done));
    this.touch();
  }

  cut(size: number): void {
    Deno.truncateSync(this.sourcePath, size);
    this.touch();
  }

  /** Gives each change a time of its own, also where the system's clock for files is coarse. */
  touch(): void {
    Deno.utimeSync(this.sourcePath, this.#times, ++this.#times);
  }

  /** What the source believes the receiver holds. */
  held(): Held | undefined {
    if (!this.#theirs) return undefined;
    const stat = { ...this.tree.stat(PATH)!, size: this.#theirs.length };
    return { ...stat, linkTarget: "", mtimeNs: 0n, ctimeNs: 0n, trusted: true };
  }

  /** Coarse signature of the receiver's file, as the index would keep it. */
  known(): Signature {
    return this.#sign("theirs", coarseBlockSize(this.policy.blockSize));
  }

  /** Sends the file. */
  async send({ known, held = this.held(), tree = this.tree }: {
    known?: Signature;
    held?: Held;
    tree?: Tree;
  } = {}): Promise<Awaited<ReturnType<typeof transferFile>>> {
    const context: TransferContext = {
      tree,
      policy: this.policy,
      sink: { room: async () => await this.onRoom(), push: (op) => this.#take(op) },
      sign: (_path, range) => this.#answer(range),
      isStillHeld: () => true,
      nextTransfer: () => ++this.#transfers,
      onRead: (bytes) => void (this.bytesRead += bytes),
    };
    return await transferFile(PATH, context, held, known);
  }

  /** Asserts that the receiver holds the source's file, and that `signature` is its own. */
  assertEqual(signature: Signature | undefined, hint = ""): void {
    const ours = this.ours;
    const theirs = this.#theirs ?? new Uint8Array();
    assertEquals(theirs.length, ours.length, `size ${hint}`);
    assertEquals(firstDifference(ours, theirs), undefined, `first byte that differs ${hint}`);
    if (signature === undefined && this.policy.keepsSignatures === false) return;
    assertEquals(signature, this.#sign(PATH, coarseBlockSize(this.policy.blockSize)), `signature ${hint}`);
  }

  /** Asserts that every transfer that was opened ended. */
  assertEnded(): void {
    assertEquals([...this.#open.keys()], []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.tree.close();
    await this.#directory[Symbol.asyncDispose]();
  }

  #setTheirs(bytes: Uint8Array | undefined): void {
    this.#theirs = bytes;
    if (bytes) Deno.writeFileSync(`${this.#directory.path}/theirs`, bytes);
  }

  #sign(path: string, blockSize: number): Signature {
    using file = this.tree.open(path, { access: "read" });
    const { size } = file.stat();
    return { blockSize, fileSize: size, hashes: hashBlocks(file, { blockSize, start: 0, end: size }) };
  }

  async #answer(
    range: { blockSize: number; start: number; end: number },
  ): Promise<{ fileSize: number; hashes: Uint8Array }> {
    await Promise.resolve();
    this.onSign();
    assertEquals(range.start % range.blockSize, 0);
    assert(range.end >= range.start);
    if (!this.#theirs) return { fileSize: -1, hashes: new Uint8Array() };
    this.bytesSigned += range.end - range.start;
    using file = this.tree.open("theirs", { access: "read" });
    return { fileSize: file.stat().size, hashes: hashBlocks(file, range) };
  }

  #take(op: Op): number {
    const kept = op.kind === "block" ? { ...op, data: op.data.slice() } : op;
    this.ops.push(kept);
    if (kept.kind === "open") {
      assert(!this.#open.has(kept.transfer));
      if (kept.base !== "empty") assert(this.#theirs, "a patch or copy needs a file");
      this.#open.set(kept.transfer, kept.base === "empty" ? new Uint8Array() : this.#theirs!.slice());
    } else if (this.#countsOnly) {
      this.#open.clear();
    } else if (kept.kind === "block") {
      const staged = resized(this.#staged(kept.transfer), kept.offset + kept.data.length, { cut: false });
      staged.set(kept.data, kept.offset);
      this.#open.set(kept.transfer, staged);
    } else if (kept.kind === "hole") {
      this.#staged(kept.transfer).fill(0, kept.offset, kept.offset + kept.size);
    } else if (kept.kind === "close") {
      this.#setTheirs(resized(this.#staged(kept.transfer), kept.size, { cut: true }));
      this.#open.delete(kept.transfer);
    } else if (kept.kind === "abandon") {
      this.#staged(kept.transfer);
      this.#open.delete(kept.transfer);
    } else {
      throw new Error(`unexpected ${kept.kind}`);
    }
    this.onPush();
    return this.ops.length;
  }

  #staged(transfer: number): Uint8Array {
    const staged = this.#open.get(transfer);
    if (!staged) throw new AssertionError(`transfer ${transfer} is not open`);
    return staged;
  }
}

/** The same tree, whose files are read through `read`. */
export function readingThrough(
  tree: Tree,
  read: (file: OpenFile, buffer: Uint8Array<ArrayBuffer>, offset: number) => number,
): Tree {
  const wrap = (file: OpenFile): OpenFile =>
    new Proxy(file, {
      get(target, name) {
        if (name === "read") {
          return (buffer: Uint8Array<ArrayBuffer>, offset: number) => read(target, buffer, offset);
        }
        const member = Reflect.get(target, name, target);
        return typeof member === "function" ? member.bind(target) : member;
      },
    });
  return new Proxy(tree, {
    get(target, name) {
      if (name === "open") return (...args: Parameters<Tree["open"]>) => wrap(target.open(...args));
      const member = Reflect.get(target, name, target);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

/** Numbers that look random and are the same for the same seed (mulberry32): 0 (in) to `end` (out). */
export function seededNumbers(seed: number): (end: number) => number {
  let state = seed >>> 0;
  return (end) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor(((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000 * end);
  };
}

/** Bytes that look random. */
export function seededBytes(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(size / 4));
  const number = seededNumbers(seed);
  for (let i = 0; i < words.length; i++) words[i] = number(0x1_0000_0000);
  return new Uint8Array(words.buffer, 0, size);
}

function resized(bytes: Uint8Array, size: number, { cut }: { cut: boolean }): Uint8Array {
  if (bytes.length >= size) return cut ? bytes.slice(0, size) : bytes;
  const longer = new Uint8Array(size);
  longer.set(bytes);
  return longer;
}

function firstDifference(a: Uint8Array, b: Uint8Array): number | undefined {
  if (Buffer.compare(a, b) === 0) return undefined;
  return a.findIndex((byte, i) => byte !== b[i]);
}
