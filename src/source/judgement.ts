/**
 * Judges mismatches: what is still being changed, or on its way, is no divergence. A path is judged when everything heard
 * of is on the target and neither side moved while it was looked at; otherwise it is looked at again.
 * @module
 */
import { digestXattrs } from "../mirror/xattrs.ts";
import { equalBytes } from "../base/bytes.ts";
import { type Clock, yieldToEvents } from "../base/clock.ts";
import { errorCode } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { parentPath } from "../base/path.ts";
import type { Difference } from "../base/status.ts";
import { digestRange } from "../mirror/digest.ts";
import type { PlanPolicy } from "../mirror/plan.ts";
import type { Held } from "../ops/held.ts";
import { leadsTo, type Stat, type Tree } from "../sys/file_system.ts";
import { type DigestedEntry, type DigestRange, PENDING } from "../wire/message.ts";
import { statOrUndefined } from "./batch.ts";
import { type ClockReading, differingParts, judge, mayHaveChanged, ofTarget } from "./difference.ts";
import type { Index } from "./index.ts";
import type { PendingPaths } from "./pending.ts";
import type { Problems } from "./problems.ts";
import type { Requests } from "./requests.ts";
import type { Mismatch } from "./mismatches.ts";

/** What judging needs. */
export interface JudgementOptions {
  tree: Tree;
  index: Index;
  policy: PlanPolicy;
  requests: Pick<Requests, "digest">;
  problems: Pick<Problems, "of">;
  pending: Pick<PendingPaths, "of">;
  clock: Clock;
  /** Hands on every hint of the changes made so far; `false` if that cannot be promised. */
  heard: () => Promise<boolean>;
  /** Resolves when everything that is known to be dirty is on the target, or `signal` aborts. */
  settled: (signal: AbortSignal) => Promise<unknown>;
}

/** A path that differs, with what is needed to heal it. */
export interface Verdict {
  difference: Difference;
  mismatch: Mismatch;
  remote: DigestedEntry | undefined;
}

/** What was found out about mismatches. */
export interface Judged {
  verdicts: Verdict[];
  /** Paths that kept changing. */
  restless: number;
}

/** Mismatches judged at once. Each names a directory, too. */
const MISMATCHES_AT_ONCE = limits.digestPathsMax / 2;

/** Judges mismatches of one target. */
export class Judgement {
  readonly #options: JudgementOptions;

  constructor(options: JudgementOptions) {
    this.#options = options;
  }

  /**
   * Judges mismatches, parents before children. What lies below a directory that one side lacks is not listed.
   *
   * @throws {TransientError} If the session breaks.
   */
  async judge(mismatches: Mismatch[], signal: AbortSignal): Promise<Judged> {
    const verdicts: Verdict[] = [];
    let pending = mismatches.toSorted((a, b) => a.path < b.path ? -1 : 1);
    for (let look = 0; look < limits.verifyLooksMax && pending.length > 0; look++) {
      await this.#rest(signal);
      signal.throwIfAborted();
      const again: Mismatch[] = [];
      for (const batch of batches(pending)) {
        const judged = await this.#judgeBatch(batch);
        again.push(...judged.moved);
        verdicts.push(...judged.verdicts);
      }
      pending = again;
    }
    return { verdicts: withoutBelow(verdicts), restless: pending.length };
  }

  /** Waits until everything that happened so far is on the target. */
  async #rest(signal: AbortSignal): Promise<void> {
    const { heard, settled, clock } = this.#options;
    if (!await heard()) await clock.sleep(limits.unheardRestMs, signal);
    await settled(signal);
  }

  async #judgeBatch(batch: Mismatch[]): Promise<{ moved: Mismatch[]; verdicts: Verdict[] }> {
    const { index, tree, requests } = this.#options;
    tree.forgetDirectories();
    const held = batch.map(({ path }) => index.get(path));
    const ranges = new Map<string, DigestRange>();
    for (const { path } of batch) ranges.set(parentPath(path), { path: parentPath(path), start: 0, end: 0 });
    for (const { path, range } of batch) ranges.set(path, { path, start: 0, end: 0, ...range });
    const askedMs = this.#options.clock.nowMs();
    const asked = requests.digest([...ranges.values()]);
    asked.catch(() => {});
    await yieldToEvents();
    const ours = batch.map((mismatch) => this.#digest(mismatch));
    const { nowNs, entries } = await asked;
    const clocks = readClocks(askedMs, this.#options.clock.nowMs(), nowNs);
    const remotes = new Map(entries.map((entry) => [entry.path, entry]));
    tree.forgetDirectories();
    const moved: Mismatch[] = [];
    const verdicts: Verdict[] = [];
    for (const [i, mismatch] of batch.entries()) {
      const differing = await this.#differingPiece(mismatch, held[i], remotes.get(mismatch.path));
      const disk = statOrUndefined(tree, mismatch.path);
      const stays = isSameVersion(disk, mismatch.disk) && isSameBelief(held[i], index.get(mismatch.path));
      if (!stays) {
        moved.push({ ...mismatch, disk });
        continue;
      }
      const isOther = differing !== undefined || this.#isOtherDigest(ours[i], remotes.get(mismatch.path));
      const known = differing ? { ...mismatch, range: differing } : mismatch;
      const verdict = this.#verdict(known, { held: held[i], remotes, contentsDiffer: isOther, clocks });
      if (verdict) verdicts.push(verdict);
    }
    return { moved, verdicts };
  }

  #verdict(
    mismatch: Mismatch,
    { held, remotes, contentsDiffer, clocks }: {
      held: Held | undefined;
      remotes: Map<string, DigestedEntry>;
      contentsDiffer: boolean;
      clocks: ClockReading;
    },
  ): Verdict | undefined {
    const { index, pending, policy, problems } = this.#options;
    const { path, disk } = mismatch;
    const isOneOfSeveral = held?.kind !== "directory" && index.isLinked(path);
    const answered = remotes.get(path);
    const remote = answered && (held ? ofTarget(answered, { ...held, isOneOfSeveral }) : answered);
    const parent = parentPath(path);
    const sides = {
      disk: disk && {
        ...disk,
        linkTarget: this.#linkTarget(mismatch),
        xattrDigest: this.#xattrDigest(path),
        isOneOfSeveral,
      },
      held: held && { ...held, isOneOfSeveral },
      remote,
      heldParent: index.get(parent),
      remoteParent: path === "" ? undefined : remotes.get(parent),
      contentsDiffer,
    };
    const judged = judge(path, sides, policy.abilities, clocks);
    if (judged === undefined) return undefined;
    const waiting = pending.of(path);
    const problem = waiting ? { op: PENDING, reason: waiting.reason } : problems.of(path);
    // What verification itself reported is no reason.
    const difference: Difference = problem && !problem.op.startsWith("verify")
      ? { ...judged, cause: "problem", state: "standing", reason: problem.reason }
      : { ...judged, state: "found", reason: "" };
    return { difference, mismatch, remote };
  }

  #isOtherDigest(ours: Uint8Array | undefined, remote: DigestedEntry | undefined): boolean {
    return ours !== undefined && remote !== undefined &&
      (remote.digest === undefined || !equalBytes(ours, remote.digest));
  }

  /** The first piece that differs of a file that may have changed behind its size and time. */
  async #differingPiece(
    { path, disk, range }: Mismatch,
    held: Held | undefined,
    remote: DigestedEntry | undefined,
  ): Promise<{ start: number; end: number } | undefined> {
    const mayDiffer = range === undefined && mayHaveChanged(disk, held) && remote?.kind === "file" &&
      remote.size === disk!.size;
    if (!mayDiffer) return undefined;
    for (let start = 0; start < remote.size; start += limits.digestBytes) {
      const piece = { start, end: Math.min(start + limits.digestBytes, remote.size) };
      const asked = this.#options.requests.digest([{ path, ...piece }]);
      asked.catch(() => {});
      await yieldToEvents();
      const ours = this.#digest({ path, range: piece });
      if (this.#isOtherDigest(ours, (await asked).entries[0])) return piece;
    }
    return undefined;
  }

  #digest({ path, range }: Pick<Mismatch, "path" | "range">): Uint8Array | undefined {
    if (range === undefined) return undefined;
    try {
      using file = this.#options.tree.open(path, { access: "read" });
      return digestRange(file, range.start, range.end);
    } catch (error) {
      if (!errorCode(error)) throw error;
      return undefined;
    }
  }

  #linkTarget({ path, disk }: Mismatch): string {
    if (!disk) return "";
    try {
      return leadsTo(this.#options.tree, path, disk);
    } catch (error) {
      if (!errorCode(error)) throw error;
      return "";
    }
  }

  #xattrDigest(path: string): bigint {
    try {
      return digestXattrs(this.#options.tree.xattrs(path));
    } catch (error) {
      if (!errorCode(error)) throw error;
      return 0n;
    }
  }

  /** Whether a verdict still stands, when something was done about it. */
  async stillDiffers(verdicts: Verdict[], signal: AbortSignal): Promise<Set<string>> {
    const { settled, tree } = this.#options;
    await settled(signal);
    tree.forgetDirectories();
    const mismatches = verdicts.map(({ mismatch }) => ({
      ...mismatch,
      disk: statOrUndefined(tree, mismatch.path),
    }));
    const standing = new Set<string>();
    for (const batch of batches(mismatches)) {
      for (const { difference } of (await this.#judgeBatch(batch)).verdicts) standing.add(difference.path);
    }
    return standing;
  }

  /** Whether attributes alone can be put right, since what differs is nothing that contents hang on. */
  static isOfAttributes({ difference, remote, mismatch }: Verdict): boolean {
    if (difference.kind !== "changed" || remote === undefined || mismatch.disk === undefined) return false;
    const harmless = ["mode", "owner", ...(remote.kind === "directory" ? ["mtime"] : [])];
    return difference.parts.every((part) => harmless.includes(part));
  }
}

/** Mismatches that one question can ask about. */
function* batches(mismatches: Mismatch[]): Generator<Mismatch[]> {
  let batch: Mismatch[] = [];
  let [bytes, pathBytes] = [0, 0];
  for (const mismatch of mismatches) {
    const size = mismatch.range ? mismatch.range.end - mismatch.range.start : 0;
    const isFull = batch.length >= MISMATCHES_AT_ONCE || bytes + size > limits.digestBytes ||
      pathBytes > limits.answerChunkSize / 2;
    if (isFull && batch.length > 0) {
      yield batch;
      [batch, bytes, pathBytes] = [[], 0, 0];
    }
    batch.push(mismatch);
    bytes += size;
    pathBytes += 6 * mismatch.path.length;
  }
  if (batch.length > 0) yield batch;
}

/** A missing or extra directory, or one that is of another kind, stands for everything below. */
function withoutBelow(verdicts: Verdict[]): Verdict[] {
  const whole = new Set(
    verdicts.filter(({ difference: { kind, parts } }) => kind !== "changed" || parts.includes("kind"))
      .map(({ difference }) => difference.path),
  );
  return verdicts.filter(({ difference: { path } }) => {
    for (let above = path; above !== "";) {
      above = parentPath(above);
      if (above !== "" && whole.has(above)) return false;
    }
    return true;
  });
}

function readClocks(askedMs: number, answeredMs: number, theirNowNs: bigint): ClockReading {
  const toNs = (ms: number) => BigInt(Math.round(ms * 1_000)) * 1_000n;
  const errorMs = (answeredMs - askedMs) / 2 + limits.racyMs;
  return { skewNs: toNs((askedMs + answeredMs) / 2) - theirNowNs, errorNs: toNs(errorMs) };
}

function isSameVersion(a: Readonly<Stat> | undefined, b: Readonly<Stat> | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.kind === b.kind && a.ino === b.ino && a.dev === b.dev && a.size === b.size &&
    a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

function isSameBelief(a: Held | undefined, b: Held | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.ino === b.ino && a.ctimeNs === b.ctimeNs && a.trusted === b.trusted &&
    differingParts(a, b, {
        ownership: true,
        modes: true,
        nanoseconds: true,
        links: true,
        nodes: true,
        xattrs: true,
      })
        .length === 0;
}
