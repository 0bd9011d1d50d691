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
import type { Stat, Tree } from "../sys/file_system.ts";
import type { ListedEntry, Message } from "../wire/message.ts";
import { isMachineTrouble } from "./trouble.ts";

/** Bytes of an encoded entry beside its names, at most. */
const ENTRY_SIZE = 40;
/** Entries looked at in one turn. */
const TURN_ENTRIES = 1_024;
/** UTF-16 units of problems in one message; further ones follow in the next. */
const PROBLEM_LENGTH_MAX = 8_192;
/** Largest block that can be hashed. */
const BLOCK_SIZE_MAX = 1024 * 1024;

/** A `list` message. */
export type ListQuestion = Message & { type: "list" };
/** A `sign` message. */
export type SignQuestion = Message & { type: "sign" };

/**
 * Lists an entry, or it and everything below it: parents before children, the entries of a directory together, what is
 * ours left out. A directory that cannot be read is named in `problem`; what is known of it is listed.
 */
export function* listEntries(live: Tree, question: ListQuestion): Generator<Message, void> {
  const { request, path, recursive } = question;
  const chunk = new ListingChunk(request);
  /** Directories still to be read; the next is the last. */
  const pending: string[] = [];
  let looked = 0;
  const look = (at: string) => {
    const entry = chunk.attempt("stat", at, () => readEntry(live, at));
    if (entry) chunk.add(entry);
    if (entry?.kind === "directory" && recursive) pending.push(at);
    return chunk.isFull || ++looked % TURN_ENTRIES === 0;
  };
  if (!isReserved(path)) look(path);
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const directory = at;
    const below = chunk.attempt("list", directory, () => pathsBelow(live, directory)) ?? [];
    for (const each of below) if (look(each)) yield chunk.take(false);
    if (chunk.isFull) yield chunk.take(false);
  }
  yield chunk.take(true);
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

  constructor(request: number) {
    this.#request = request;
  }

  get isFull(): boolean {
    return this.#size >= limits.answerChunkSize || this.#problemLength >= PROBLEM_LENGTH_MAX;
  }

  add(entry: ListedEntry): void {
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
  return { path, ...listedStat(stat), linkTarget: stat.kind === "symlink" ? live.readLink(path) : "" };
}

function listedStat({ kind, mode, uid, gid, size, mtimeNs }: Stat): Omit<ListedEntry, "path" | "linkTarget"> {
  return { kind, mode, uid, gid, size, mtimeNs };
}

function pathsBelow(live: Tree, directory: string): string[] {
  const paths = live.list(directory).map(({ name }) => joinPath(directory, name));
  return directory === "" ? paths.filter((path) => !isReserved(path)) : paths;
}

function isReserved(path: string): boolean {
  return path === TARGET_STATE_NAME || path.startsWith(`${TARGET_STATE_NAME}/`);
}
