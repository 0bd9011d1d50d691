/**
 * Holds back what looks like a disaster: many deletions, or many files rewritten, within a short time. Both a number
 * and a share of the tree are needed: cleaning up in a large tree is none. What is held back is written in the book of
 * the set (guard_book.ts), and stays on the target until somebody decides.
 *
 * Renames are no deletions: what is judged has rested (resting.ts), so that their second halves were found.
 * @module
 */
import { limits } from "../base/limits.ts";
import { isWithin, joinPath, parentPath } from "../base/path.ts";
import type { Held } from "../ops/held.ts";
import type { Stat } from "../sys/file_system.ts";
import { identity } from "./batch.ts";
import type { GuardBook } from "./guard_book.ts";
import type { Index } from "./index.ts";
import { isLinked } from "./links.ts";

/** From where on something is much. Both must be met. */
export interface MassThreshold {
  /** Entries within `limits.guardWindowMs`. */
  count: number;
  /** Share of all entries, 0 to 1. */
  share: number;
}

/** What guards of one set go by. `undefined` is off. */
export interface MassThresholds {
  deletions: MassThreshold | undefined;
  rewrites: MassThreshold | undefined;
}

/** As it is unless the user says otherwise. */
export const usualThresholds: MassThresholds = {
  deletions: { count: limits.guardDeletesCount, share: limits.guardDeletesShare },
  rewrites: { count: limits.guardRewritesCount, share: limits.guardRewritesShare },
};

/** What a guard needs. */
export interface MassGuardOptions {
  index: Index;
  book: GuardBook;
  thresholds: MassThresholds;
  /** Monotonic milliseconds. */
  nowMs: () => number;
  /** Paths of deletions that rest and come next. */
  resting: () => Iterable<string>;
}

/** Guards one target. */
export class MassGuard {
  readonly #options: MassGuardOptions;
  /** Deletions of late. */
  #deleted: { atMs: number; count: number }[] = [];
  /** Files rewritten of late. */
  readonly #rewritten = new Map<string, number>();
  /** Entries made of late, by identity, wherever they stand now, or by path: that they go again is no loss. */
  readonly #made = new Map<string, Made>();
  #foreseenDeletions = 0;
  #foreseenRewrites = 0;

  constructor(options: MassGuardOptions) {
    this.#options = options;
  }

  /** Why something waits for a decision, `""` if nothing does. */
  get reason(): string {
    const waiting = this.#options.book.isEmpty ? undefined : this.#options.book.waiting;
    if (!waiting) return "";
    const { id, kind, count, of } = waiting;
    const what = kind === "deletions" ? "deletions" : "rewritten files";
    return `guard ${id}: ${count} ${what} of ${of} entries wait for "guard confirm ${id}" or "guard refuse ${id}"`;
  }

  /** Whether the user wants deletions to be sent, whatever they are. */
  get isOff(): boolean {
    return this.#options.thresholds.deletions === undefined;
  }

  /** So many paths are about to be given to {@linkcode admit}, in parts. */
  foresee(paths: string[]): void {
    const undecided = paths.filter((path) => this.#options.book.verdict(path) === undefined);
    this.#foreseenDeletions = sum(this.#losses(topmost(undecided)));
  }

  /** Of paths that are gone, those whose deletion may be sent; the others are held. */
  admit(paths: string[], { countsResting = true } = {}): string[] {
    const { book, index } = this.#options;
    const admitted: string[] = [];
    const undecided: string[] = [];
    for (const path of paths) {
      const verdict = index.has(path) ? book.verdict(path) : "confirmed";
      if (verdict === "confirmed" || (this.isOff && verdict !== "refused")) admitted.push(path);
      else if (verdict === "refused") index.markLeftover(path, true);
      else if (verdict === undefined) undecided.push(path);
    }
    if (undecided.length === 0) return admitted;
    const losses = this.#losses(topmost(undecided));
    const count = sum(losses);
    if (count > 0 && (book.waiting || this.#isMassDeletion(count, countsResting))) {
      this.hold(losses);
      const held = new Set(losses.map(([path]) => path));
      return [...admitted, ...undecided.filter((path) => !held.has(path) && !hasAncestor(path, held))];
    }
    this.#deleted.push({ atMs: this.#options.nowMs(), count });
    return [...admitted, ...undecided];
  }

  /**
   * Whether the target may lose everything below a directory, since something else stands in its place. What it may not
   * lose is held.
   */
  admitsClearing(directory: string): boolean {
    const below = this.#options.index.children(directory).map((name) => joinPath(directory, name));
    // What rests may be on its way to another name; it comes to be judged by itself.
    return this.admit(below, { countsResting: false }).length === below.length;
  }

  /** Holds deletions. */
  hold(paths: [string, number][]): void {
    this.#options.book.hold("deletions", paths, this.#options.index.size);
  }

  /** Something stands at a path. */
  notePresent(path: string): void {
    const { book, index } = this.#options;
    if (book.isEmpty) return;
    if (!book.holdsDeletion(path)) return;
    const below = this.#count(index.children(path).map((name) => joinPath(path, name)));
    const state = book.release(path, below);
    if (state === "refused") { for (const [each] of below) index.markLeftover(each, true); }
  }

  /** An entry was made that the target did not have. */
  noteMade(path: string, stat: Readonly<Stat>): void {
    if (this.isOff) return;
    // Of what has several names each one is made by itself.
    const isOne = stat.ino !== 0n && !isLinked(stat);
    const key = isOne ? identity(stat) : path;
    this.#made.delete(key);
    if (this.#made.size >= limits.guardPathsMax) return;
    this.#made.set(key, { atMs: this.#options.nowMs(), path, identity: isOne ? stat : undefined });
  }

  /** An entry was renamed over another one: with a new version of what was there, no more is made than there was. */
  noteReplaced(path: string, replaced: Identity, by: Identity): void {
    if (!this.#isMade(path, replaced)) this.#made.delete(identity(by));
  }

  /** So many files of a batch may be rewritten. */
  foreseeRewrites(count: number): void {
    this.#foreseenRewrites = count;
  }

  /** Whether new contents of a file that the target holds are held back. */
  holdsRewrite(path: string, held: Held): boolean {
    const { book, index, thresholds, nowMs } = this.#options;
    // What the target's listing told was sent by somebody else, or long ago.
    if (!thresholds.rewrites || held.kind !== "file" || held.size === 0 || held.ctimeNs === 0n) return false;
    const verdict = book.verdict(path);
    if (verdict === "confirmed") return false;
    if (verdict !== undefined) return true;
    this.#forgetOld();
    this.#rewritten.delete(path);
    if (this.#rewritten.size < limits.guardPathsMax) this.#rewritten.set(path, nowMs());
    const count = Math.max(this.#rewritten.size, this.#foreseenRewrites);
    const { waiting } = book;
    const isMass = waiting?.kind === "rewrites" || isMuch(count, index.size, thresholds.rewrites);
    if (isMass) book.hold("rewrites", [[path, 1]], index.size);
    return isMass;
  }

  #isMassDeletion(count: number, countsResting: boolean): boolean {
    const { index, thresholds, resting } = this.#options;
    if (!thresholds.deletions) return false;
    this.#forgetOld();
    const before = this.#deleted.reduce((all, each) => all + each.count, 0);
    let next = 0;
    if (countsResting) { for (const path of resting()) if (!this.#isMade(path)) next++; }
    const all = Math.max(count + next, this.#foreseenDeletions) + before;
    const size = index.size + before;
    return isMuch(all, size, thresholds.deletions);
  }

  #forgetOld(): void {
    const beforeMs = this.#options.nowMs() - limits.guardWindowMs;
    this.#deleted = this.#deleted.filter(({ atMs }) => atMs >= beforeMs);
    for (const [path, atMs] of this.#rewritten) {
      if (atMs >= beforeMs) break;
      this.#rewritten.delete(path);
    }
    for (const [key, { atMs }] of this.#made) {
      if (atMs >= beforeMs) break;
      this.#made.delete(key);
    }
  }

  #isMade(path: string, held: Identity | undefined = this.#options.index.get(path)): boolean {
    return this.#made.size > 0 && held !== undefined &&
      (this.#made.has(path) || (held.ino !== 0n && this.#made.has(identity(held))));
  }

  #count(paths: string[]): [string, number][] {
    return paths.map((path) => [path, this.#options.index.countFrom(path)] as [string, number])
      .filter(([, count]) => count > 0);
  }

  /** Of paths, with all below them, how many entries would be lost by their deletion: what was made of late is not. */
  #losses(paths: string[]): [string, number][] {
    const made = this.#madeWithin(paths);
    return this.#count(paths).map(([path, count]) =>
      [path, count - (made.get(path) ?? 0)] as [string, number]
    )
      .filter(([, count]) => count > 0);
  }

  #madeWithin(paths: string[]): Map<string, number> {
    const counts = new Map<string, number>();
    this.#forgetOld();
    if (this.#made.size === 0) return counts;
    const asked = new Set(paths);
    for (const made of this.#made.values()) {
      const path = this.#whereIs(made);
      if (path === undefined) continue;
      for (let above = path;; above = parentPath(above)) {
        if (asked.has(above)) counts.set(above, (counts.get(above) ?? 0) + 1);
        if (above === "") break;
      }
    }
    return counts;
  }

  #whereIs({ path, identity }: Made): string | undefined {
    const { index } = this.#options;
    if (identity) return index.findByIdentity(identity.dev, identity.ino);
    return index.has(path) ? path : undefined;
  }
}

type Identity = Pick<Held, "dev" | "ino">;

interface Made {
  atMs: number;
  /** Where it was made. */
  path: string;
  /** Of what has one name. */
  identity: Identity | undefined;
}

function isMuch(count: number, size: number, threshold: MassThreshold): boolean {
  return count >= threshold.count && count >= threshold.share * size;
}

/** Without the paths that lie below others of them. */
function topmost(paths: string[]): string[] {
  const top: string[] = [];
  // A slash sorts behind other letters: "a-b" lies between "a" and "a/b".
  const all = new Set(paths);
  for (const path of [...all].sort()) {
    const above = top.at(-1);
    if (above !== undefined && isWithin(path, above)) continue;
    if (!hasAncestor(path, all)) top.push(path);
  }
  return top;
}

function hasAncestor(path: string, paths: Set<string>): boolean {
  for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) {
    if (paths.has(path.slice(0, at))) return true;
  }
  return false;
}

function sum(counted: [string, number][]): number {
  return counted.reduce((all, [, count]) => all + count, 0);
}
