/**
 * Answers what a source asks about the live tree: listings, in chunks, and signatures. Each answer is a generator of
 * messages; the receiver takes one message a turn, so that a listing of a million entries never holds up live ops.
 * @module
 */
import { ProtocolError, reasonOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { joinPath, quote } from "../base/path.ts";
import { fitsOp } from "../ops/op.ts";
import { BLOCK_HASH_SIZE, blockCount, hashBlocks } from "../mirror/signature.ts";
import { TARGET_STATE_NAME } from "../store/state_directory.ts";
import { leadsTo, type Stat, type Tree, type Xattr } from "../sys/file_system.ts";
import { digestXattrs } from "../mirror/xattrs.ts";
import type { ListedEntry, Message } from "../wire/message.ts";
import { attempt, isMachineTrouble } from "./trouble.ts";

/** Bytes of an encoded entry beside its names, at most. */
const ENTRY_SIZE = 40;
/** Entries looked at in one turn. */
const TURN_ENTRIES = 1_024;
/** Entries of the first message: the sender can begin with them while the next are read. */
const FIRST_ENTRIES = 128;
/** Entries of a directory that is read in one go. A larger one is looked at name by name, over several turns. */
const SCANNED_MAX = 1_024;
/** UTF-16 units of problems in one message; further ones follow in the next. */
const PROBLEM_LENGTH_MAX = 8_192;
/** Largest block that can be hashed. */
const BLOCK_SIZE_MAX = 1024 * 1024;

/** A `list` message. */
export type ListQuestion = Message & { type: "list" };
/** A `list-directory` message. */
export type ListDirectoryQuestion = Message & { type: "list-directory" };
/** A `sign` message. */
export type SignQuestion = Message & { type: "sign" };

/**
 * Lists an entry, or it and everything below it: parents before children, the entries of a directory together, what is
 * ours left out. A directory that cannot be read is named in `problem`; what is known of it is listed.
 */
export function* listEntries(live: Tree, question: ListQuestion): Generator<Message, void> {
  const { request, path, recursive } = question;
  const chunk = new ListingChunk(request);
  const top = isReserved(path) ? undefined : chunk.attempt("stat", path, () => readEntry(live, path));
  chunk.add(top);
  /** Directories still to be read; the next is the last. */
  const pending = top?.kind === "directory" && recursive ? [path] : [];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    for (const entry of entriesOf(live, at, chunk)) {
      chunk.add(entry);
      if (entry?.kind === "directory") pending.push(entry.path);
      if (chunk.isDue) yield chunk.take(false);
    }
    if (chunk.isDue) yield chunk.take(false);
  }
  yield chunk.take(true);
}

/** Lists a directory and what is in it, not below. An entry that is none is listed alone. */
export function* listDirectory(live: Tree, question: ListDirectoryQuestion): Generator<Message, void> {
  const { request, path } = question;
  const chunk = new ListingChunk(request);
  const top = isReserved(path) ? undefined : chunk.attempt("stat", path, () => readEntry(live, path));
  chunk.add(top);
  if (top?.kind === "directory") {
    for (const entry of entriesOf(live, path, chunk)) {
      chunk.add(entry);
      if (chunk.isDue) yield chunk.take(false);
    }
  }
  yield chunk.take(true);
}

/** Entries of a directory; `undefined` for each that could not be looked at. */
function* entriesOf(live: Tree, directory: string, chunk: ListingChunk): Generator<ListedEntry | undefined> {
  const scanned = chunk.attempt("list", directory, () => scanSmall(live, directory));
  if (scanned === undefined) return;
  yield* scanned.entries;
  for (const path of scanned.rest) yield chunk.attempt("stat", path, () => readEntry(live, path));
}

/**
 * Answers with the hashes of a range of a file.
 *
 * @throws {ProtocolError} If the question is not one that can be answered in one message and one turn.
 */
export function* signFile(live: Tree, question: SignQuestion): Generator<Message, void> {
  checkRange(question);
  yield signature(live, question);
}

function signature(live: Tree, { request, path, blockSize, start, end }: SignQuestion): Message {
  const none: Message = { type: "signature", request, fileSize: -1, hashes: new Uint8Array() };
  if (isReserved(path)) return none;
  try {
    using file = live.open(path, { access: "read" });
    const { size } = file.stat();
    return {
      type: "signature",
      request,
      fileSize: size,
      hashes: hashBlocks(file, { blockSize, start, end }),
    };
  } catch {
    // Whatever hides the file from us: the source sends it whole, and then learns what is wrong with it.
    return none;
  }
}

function checkRange({ blockSize, start, end }: SignQuestion): void {
  const isBlock = blockSize >= limits.blockSizeMin && blockSize <= BLOCK_SIZE_MAX;
  const isRange = isBlock && start % blockSize === 0 && start <= end &&
    end - start <= limits.signatureRangeSize;
  if (isRange && blockCount(end - start, blockSize) * BLOCK_HASH_SIZE < limits.messageSizeMax / 2) return;
  throw new ProtocolError(`Cannot sign bytes ${start} to ${end} in blocks of ${blockSize}: out of bounds`);
}

/** Entries on their way into one message. */
class ListingChunk {
  readonly #request: number;
  #entries: ListedEntry[] = [];
  #size = 0;
  #problems: string[] = [];
  #problemLength = 0;
  /** Entries looked at, and how many they may become in this message. */
  #looked = 0;
  #lookedMax = FIRST_ENTRIES;

  constructor(request: number) {
    this.#request = request;
  }

  /** Whether it is time to send it. */
  get isDue(): boolean {
    return this.#looked >= this.#lookedMax || this.#size >= limits.answerChunkSize ||
      this.#problemLength >= PROBLEM_LENGTH_MAX;
  }

  /** Takes an entry that was looked at; `undefined` if there was none. */
  add(entry: ListedEntry | undefined): void {
    this.#looked++;
    if (entry === undefined) return;
    this.#entries.push(entry);
    // Three bytes for each unit is the most that UTF-8 takes.
    this.#size += ENTRY_SIZE + 3 * (entry.path.length + entry.linkTarget.length);
  }

  /** What `look` gives; trouble becomes a problem of this chunk. */
  attempt<T>(verb: string, path: string, look: () => T): T | undefined {
    try {
      return look();
    } catch (error) {
      if (isMachineTrouble(error) && error.code !== "EIO") throw error;
      const problem = `Cannot ${verb} ${quote(path)}: ${reasonOf(error)}`;
      this.#problems.push(problem);
      this.#problemLength += problem.length;
      return undefined;
    }
  }

  take(last: boolean): Message {
    const [entries, problem] = [this.#entries, shorten(this.#problems.join("\n"))];
    [this.#entries, this.#problems, this.#size, this.#problemLength] = [[], [], 0, 0];
    [this.#looked, this.#lookedMax] = [0, TURN_ENTRIES];
    return { type: "listing", request: this.#request, entries, last, problem };
  }
}

/** Cuts what would not fit a message's string. */
function shorten(text: string): string {
  return text.length > 2 * PROBLEM_LENGTH_MAX ? `${text.slice(0, 2 * PROBLEM_LENGTH_MAX)}…` : text;
}

function readEntry(live: Tree, path: string): ListedEntry | undefined {
  if (!fitsOp(path)) throw new Error(`its path is longer than ${limits.pathSizeMax} bytes`);
  const stat = live.stat(path);
  if (stat === undefined) return undefined;
  return listedFrom(live, path, stat, leadsTo(live, path, stat));
}

function listedFrom(live: Tree, path: string, stat: Readonly<Stat>, linkTarget: string): ListedEntry {
  let xattrs: readonly Xattr[] | undefined;
  // Another hand may remove it at this moment: what is not there any more has none.
  attempt(() => xattrs = live.xattrs(path));
  return listed(path, stat, linkTarget, xattrs);
}

/** An entry as a listing has it. */
export function listed(
  path: string,
  stat: Readonly<Stat>,
  linkTarget: string,
  xattrs: readonly Xattr[] | undefined,
): ListedEntry {
  const { kind, mode, uid, gid, size, mtimeNs } = stat;
  const entry: ListedEntry = { path, kind, mode, uid, gid, size, mtimeNs, linkTarget };
  const xattrDigest = digestXattrs(xattrs);
  if (xattrDigest !== 0n) entry.xattrDigest = xattrDigest;
  if (stat.linkCount > 1 && kind !== "directory") entry.file = stat.ino;
  return entry;
}

/** Entries of a directory as far as one scan tells them, and paths of those that must be looked at one by one. */
interface Scanned {
  entries: ListedEntry[];
  rest: string[];
}

/** Reads a directory unless it is too large for one turn: then it is left to the paths in it. */
function scanSmall(live: Tree, directory: string): Scanned {
  const entries: ListedEntry[] = [];
  const rest: string[] = [];
  try {
    live.scan(directory, (name, stat) => {
      const path = joinPath(directory, name);
      if (directory === "" && isReserved(path)) return;
      if (entries.length + rest.length === SCANNED_MAX) throw tooLarge;
      // A link must be read, and what cannot be looked at be told why.
      if (!stat || stat.kind === "symlink" || !fitsOp(path)) rest.push(path);
      else entries.push(listedFrom(live, path, stat, stat.device ?? ""));
    });
  } catch (error) {
    if (error !== tooLarge) throw error;
    return { entries: [], rest: pathsBelow(live, directory) };
  }
  return { entries, rest };
}

/** Ends the scan of a directory that is too large. */
const tooLarge = new Error("too large");

function pathsBelow(live: Tree, directory: string): string[] {
  const paths = live.list(directory).map(({ name }) => joinPath(directory, name));
  return directory === "" ? paths.filter((path) => !isReserved(path)) : paths;
}

/** Whether a path of the live tree is our own state. */
export function isReserved(path: string): boolean {
  return path === TARGET_STATE_NAME || path.startsWith(`${TARGET_STATE_NAME}/`);
}
