/**
 * Compares contents of files by digests that both sides make at the same time. What is found here is a suspicion only;
 * `judgement.ts` judges it.
 * @module
 */
import { equalBytes } from "../base/bytes.ts";
import { yieldToEvents } from "../base/clock.ts";
import { errorCode } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { joinPath } from "../base/path.ts";
import { digestRange } from "../mirror/digest.ts";
import type { Held } from "../ops/held.ts";
import type { Stat, Tree } from "../sys/file_system.ts";
import type { DetectContext } from "./detect_context.ts";
import type { Index } from "./index.ts";
import type { Requests } from "./requests.ts";
import { isCompared, type Mismatch } from "./mismatches.ts";

/** Bytes `start` to `end` of a file of the index. */
export interface Piece {
  path: string;
  start: number;
  end: number;
}

/** What comparing needs. */
export interface ContentsOptions {
  tree: Tree;
  index: Index;
  scope: DetectContext["scope"];
  requests: Pick<Requests, "digest">;
  onRead: (bytes: number) => void;
}

/** Bytes of paths in one question. */
const PATH_BYTES_MAX = limits.answerChunkSize / 2;
/** Files in one question: with the directories that hold them they are no more than a question may name. */
const PIECES_MAX = limits.digestPathsMax / 2;

/** The contents of the files in a directory, in order of their names, in pieces that are digested in one go. */
export function* piecesIn(
  { index, scope }: Pick<ContentsOptions, "index" | "scope">,
  directory: string,
  after: { name: string; offset: number } = { name: "", offset: 0 },
): Generator<Piece> {
  for (const name of index.children(directory).sort()) {
    if (name < after.name) continue;
    const path = joinPath(directory, name);
    const offset = name === after.name ? after.offset : 0;
    const held = index.get(path);
    if (held?.kind !== "file" || !isCompared(path, held, held, { scope })) continue;
    for (let start = offset; start < held.size; start += limits.digestBytes) {
      yield { path, start, end: Math.min(start + limits.digestBytes, held.size) };
    }
  }
}

/** Gathers pieces into what one question may ask. */
export function* batched(pieces: Iterable<Piece>): Generator<Piece[]> {
  let batch: Piece[] = [];
  let [bytes, pathBytes] = [0, 0];
  for (const piece of pieces) {
    const size = piece.end - piece.start;
    const isFull = bytes + size > limits.digestBytes || pathBytes > PATH_BYTES_MAX ||
      batch.length >= PIECES_MAX;
    if (isFull && batch.length > 0) {
      yield batch;
      [batch, bytes, pathBytes] = [[], 0, 0];
    }
    batch.push(piece);
    bytes += size;
    pathBytes += 3 * piece.path.length;
  }
  if (batch.length > 0) yield batch;
}

/** Compares contents. */
export class Contents {
  readonly #options: ContentsOptions;

  constructor(options: ContentsOptions) {
    this.#options = options;
  }

  /**
   * Compares one batch. Files that are not at rest are left out: of them the attributes tell.
   *
   * @throws {TransientError} If the session breaks.
   */
  async compare(batch: Piece[]): Promise<Mismatch[]> {
    const { index, requests } = this.#options;
    const believed = batch.map(({ path }) => index.get(path));
    // Both sides read at the same time.
    const asked = requests.digest(batch);
    // Nobody waits for the answer while our side fails.
    asked.catch(() => {});
    await yieldToEvents();
    const ours = batch.map((piece, i) => this.#digest(piece, believed[i]));
    const theirs = new Map<string, { size: number; digest: Uint8Array | undefined }>();
    for (const entry of (await asked).entries) theirs.set(entry.path, entry);
    return batch.flatMap(({ path, start, end }, i) => {
      const [our, their] = [ours[i], theirs.get(path)];
      if (our === undefined || !isSame(believed[i], index.get(path))) return [];
      const equal = their?.digest !== undefined && their.size === our.disk.size &&
        equalBytes(their.digest, our.digest);
      return equal ? [] : [{ path, disk: our.disk, range: { start, end } }];
    });
  }

  /** `undefined` if the file is not, or does not stay, what the target was sent. */
  #digest(
    { path, start, end }: Piece,
    held: Held | undefined,
  ): { disk: Stat; digest: Uint8Array } | undefined {
    if (held === undefined || !held.trusted) return undefined;
    try {
      using file = this.#options.tree.open(path, { access: "read" });
      const disk = file.stat();
      if (!isAsSent(disk, held)) return undefined;
      const digest = digestRange(file, start, end);
      this.#options.onRead(end - start);
      return isAsSent(file.stat(), held) ? { disk, digest } : undefined;
    } catch (error) {
      if (!errorCode(error)) throw error;
      return undefined;
    }
  }
}

function isAsSent(disk: Readonly<Stat>, held: Held): boolean {
  return disk.size === held.size && disk.mtimeNs === held.mtimeNs &&
    (held.ctimeNs === 0n || disk.ctimeNs === held.ctimeNs);
}

function isSame(a: Held | undefined, b: Held | undefined): boolean {
  return a !== undefined && b !== undefined && a.size === b.size && a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs && a.ino === b.ino && a.trusted === b.trusted;
}
