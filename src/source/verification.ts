/**
 * Compares source and target directory by directory, judges what seems to differ, and heals it if that is wanted: the
 * whole tree at once for whoever asks (`verify`), or piece by piece in the background (`patrol.ts`).
 *
 * ```
 * DirectoryWalk ─▶ Mismatches (attributes) ─┐
 *            └───▶ Contents (digests) ────┴▶ Judgement ─▶ Healing ─▶ doubts, dirty paths ─▶ detection
 * ```
 * @module
 */
import { TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { isWithin, quote } from "../base/path.ts";
import type { Difference, VerifyReport } from "../base/status.ts";
import { Pace } from "../mirror/pace.ts";
import { batched, Contents, type ContentsOptions, type Piece, piecesIn } from "./contents.ts";
import { DirectoryWalk } from "./directory_walk.ts";
import { Healing, type HealingOptions } from "./healing.ts";
import { Judgement, type JudgementOptions, type Verdict } from "./judgement.ts";
import type { Requests } from "./requests.ts";
import { type Mismatch, Mismatches, type MismatchesOptions } from "./mismatches.ts";

/** What verification needs of its replicator. */
export interface VerificationOptions
  extends MismatchesOptions, ContentsOptions, JudgementOptions, Omit<HealingOptions, "judgement"> {
  requests: Pick<Requests, "list" | "listDirectory" | "digest">;
  /** The target as the user named it. */
  target: string;
  /** Told of a whole verification. */
  onVerified?: (request: VerifyRequest, report: VerifyReport) => void;
  /** Resolves when the target can be asked, or with the reason why that is not so. */
  reachable: (signal: AbortSignal) => Promise<string>;
  /** Until the result is disposed nothing that waits for more is kept waiting. */
  hurry: () => Disposable;
}

/** What somebody asks for. */
export interface VerifyRequest {
  repair: boolean;
  contents: boolean;
  /** Called with each difference as it is found and, if so wanted, healed. */
  onDifference?: (difference: Difference) => void;
}

/** What comparing all contents gave. */
export interface ContentsReport {
  files: number;
  /** Bytes on each side. */
  bytes: number;
  restless: number;
  differences: Difference[];
}

/** What comparing a part gave. */
export interface Findings {
  verdicts: Verdict[];
  restless: number;
  entries: number;
  files: number;
  bytes: number;
  problems: string[];
}

/** Compares one target with the source. */
export class Verification {
  readonly #options: VerificationOptions;
  readonly #mismatches: Mismatches;
  readonly #contents: Contents;
  readonly #judgement: Judgement;
  readonly #healing: Healing;
  /** Verifications that somebody waits for. */
  #running = 0;

  constructor(options: VerificationOptions) {
    this.#options = options;
    this.#mismatches = new Mismatches(options);
    this.#contents = new Contents(options);
    this.#judgement = new Judgement(options);
    this.#healing = new Healing({ ...options, judgement: this.#judgement });
  }

  /** Whether somebody waits for a verification: a background one pauses. */
  get isRunning(): boolean {
    return this.#running > 0;
  }

  /**
   * Compares the contents of all files whose attributes are equal as far as is known: after a mirror, which believes
   * sizes and times.
   *
   * @param request.without Paths that are known to differ.
   * @throws {TransientError} If the session breaks.
   */
  async runContents(
    { repair, without = new Set() }: { repair: boolean; without?: Set<string> },
    signal: AbortSignal,
  ): Promise<ContentsReport> {
    const report: ContentsReport = { files: 0, bytes: 0, restless: 0, differences: [] };
    const walk = new DirectoryWalk(this.#options.index);
    for (;;) {
      const part = takeDirectories(walk, this.#options.index);
      if (part.length === 0) return report;
      const findings = await this.examineContents(piecesOf(this.#options, part, without), signal);
      if (repair) await this.heal(findings.verdicts, signal);
      for (const key of ["files", "bytes", "restless"] as const) report[key] += findings[key];
      report.differences.push(...findings.verdicts.map(({ difference }) => difference));
    }
  }

  /** Compares everything. What the target or the tree keep from being compared, the report says. */
  async run(request: VerifyRequest, signal: AbortSignal): Promise<VerifyReport> {
    const { index, target } = this.#options;
    const report: VerifyReport = {
      target,
      complete: false,
      reason: "",
      entries: 0,
      files: 0,
      bytes: 0,
      found: 0,
      healed: 0,
      restless: 0,
      differences: [],
    };
    this.#running++;
    using _hurry = this.#options.hurry();
    try {
      const walk = new DirectoryWalk(index);
      for (let part = takeDirectories(walk, index); part.length > 0; part = takeDirectories(walk, index)) {
        const findings = await this.#examineReachable(part, request, signal);
        if (typeof findings === "string") {
          report.reason = findings;
          return report;
        }
        this.#add(findings, report, request);
        for (const verdict of findings.verdicts) {
          if (isUnhealedWhole(verdict)) walk.skip(verdict.difference.path);
        }
      }
      report.complete = report.reason === "";
      if (report.complete) this.#options.onVerified?.(request, report);
      return report;
    } finally {
      this.#running--;
    }
  }

  /** Compares directories, not what is below them; a broken session is waited for. @returns Or why that cannot be. */
  async #examineReachable(
    directories: string[],
    request: VerifyRequest,
    signal: AbortSignal,
  ): Promise<Findings | string> {
    for (;;) {
      const unreachable = await this.#options.reachable(signal);
      if (unreachable !== "") return unreachable;
      try {
        return await this.#examineWhole(directories, request, signal);
      } catch (error) {
        if (!(error instanceof TransientError)) throw error;
      }
    }
  }

  async #examineWhole(
    directories: string[],
    { repair, contents }: VerifyRequest,
    signal: AbortSignal,
  ): Promise<Findings> {
    const findings = await this.examine(directories, "both", signal);
    if (repair) await this.heal(findings.verdicts, signal);
    if (!contents) return findings;
    const differing = new Set(findings.verdicts.map(({ difference }) => difference.path));
    const lacking = findings.verdicts.filter(isUnhealedWhole).map(({ difference }) => difference.path);
    const there = directories.filter((path) => !lacking.some((above) => isWithin(path, above)));
    const pieces = piecesOf(this.#options, there, differing);
    const more = await this.examineContents(pieces, signal);
    if (repair) await this.heal(more.verdicts, signal);
    return {
      ...more,
      verdicts: [...findings.verdicts, ...more.verdicts],
      restless: findings.restless + more.restless,
      entries: findings.entries,
      problems: findings.problems,
    };
  }

  /**
   * Compares the attributes of all entries of these directories, not below.
   *
   * @throws {TransientError} If the session breaks.
   */
  async examine(directories: string[], sides: "source" | "both", signal: AbortSignal): Promise<Findings> {
    const found = await Promise.all(directories.map(async (directory) => ({
      directory,
      ...await this.#mismatches.inDirectory(directory, sides),
    })));
    const mismatches = found.flatMap((each) => each.mismatches);
    const judged = await this.#judge(mismatches, signal);
    const entries = found.reduce((sum, each) => sum + each.entries, 0);
    const problems = found.flatMap(({ directory, problem }) =>
      problem === "" ? [] : [`${quote(directory)}: ${problem}`]
    );
    return { ...judged, entries, files: 0, bytes: 0, problems };
  }

  /** Compares contents, some questions at a time. @throws {TransientError} If the session breaks. */
  async examineContents(pieces: Iterable<Piece>, signal: AbortSignal): Promise<Findings> {
    const mismatches: Mismatch[] = [];
    const inFlight = new Set<Promise<void>>();
    const pace = new Pace();
    let [bytes, files] = [0, 0];
    try {
      for (const batch of batched(pieces)) {
        signal.throwIfAborted();
        const compared = this.#contents.compare(batch).then((found) => void mismatches.push(...found));
        inFlight.add(compared);
        compared.then(() => inFlight.delete(compared), () => {});
        for (const { start, end } of batch) {
          bytes += end - start;
          if (start === 0) files++;
        }
        if (inFlight.size >= limits.digestQuestions) await Promise.race(inFlight);
        await pace.keep();
      }
      await Promise.all(inFlight);
    } finally {
      await Promise.allSettled(inFlight);
    }
    return { ...await this.#judge(firstOfEach(mismatches), signal), entries: 0, files, bytes, problems: [] };
  }

  /** Heals what was found, and writes into each verdict how that ended. @throws {TransientError} */
  async heal(verdicts: Verdict[], signal: AbortSignal): Promise<void> {
    if (verdicts.length > 0) await this.#healing.heal(verdicts, signal);
  }

  /** Judges what seemed to differ before. @throws {TransientError} If the session breaks. */
  async judge(mismatches: Mismatch[], signal: AbortSignal): Promise<Verdict[]> {
    return (await this.#judgement.judge(mismatches, signal)).verdicts;
  }

  /** Entries that the target has at and below these paths. @throws {TransientError} If the session breaks. */
  async countBelow(paths: string[]): Promise<number> {
    let count = 0;
    for (const path of paths) {
      await this.#options.requests.list(path, true, (entries) => void (count += entries.length));
    }
    return count;
  }

  async #judge(
    mismatches: Mismatch[],
    signal: AbortSignal,
  ): Promise<{ verdicts: Verdict[]; restless: number }> {
    if (mismatches.length === 0) return { verdicts: [], restless: 0 };
    return await this.#judgement.judge(mismatches, signal);
  }

  #add(findings: Findings, report: VerifyReport, { onDifference }: VerifyRequest): void {
    for (const key of ["entries", "files", "bytes", "restless"] as const) report[key] += findings[key];
    for (const { difference } of findings.verdicts) {
      report.found++;
      if (difference.state === "healed") report.healed++;
      if (report.differences.length < limits.differencesMax) report.differences.push(difference);
      onDifference?.(difference);
    }
    report.reason ||= findings.problems[0] ?? "";
  }
}

/** Whether a directory differs as a whole: nothing below it needs to be told. */
function isUnhealedWhole({ difference: { kind, parts, state }, mismatch }: Verdict): boolean {
  const isWhole = kind !== "changed" || parts.includes("kind");
  return isWhole && mismatch.disk?.kind === "directory" && state !== "healed";
}

/** The next directories of a walk that are compared at once. */
export function takeDirectories(walk: DirectoryWalk, index: VerificationOptions["index"]): string[] {
  const directories: string[] = [];
  let entries = 0;
  while (directories.length < limits.verifyDirectories && entries < limits.verifyEntries) {
    const directory = walk.next();
    if (directory === undefined) break;
    directories.push(directory);
    entries += index.countChildren(directory);
  }
  return directories;
}

/** Contents of the files in these directories, without those that are known to differ. */
function* piecesOf(
  options: Pick<ContentsOptions, "index" | "scope">,
  directories: string[],
  without: Set<string>,
): Generator<Piece> {
  for (const directory of directories) {
    for (const piece of piecesIn(options, directory)) if (!without.has(piece.path)) yield piece;
  }
}

/** One piece tells of a file as much as all of them. */
function firstOfEach(mismatches: Mismatch[]): Mismatch[] {
  const byPath = new Map<string, Mismatch>();
  for (const mismatch of mismatches) if (!byPath.has(mismatch.path)) byPath.set(mismatch.path, mismatch);
  return [...byPath.values()];
}
