/**
 * Finds what seems to differ: compares attributes of the entries of a directory, on the source and on the target, with
 * what the source believes of the target. What is found here is a suspicion only; `judgement.ts` judges it.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { joinPath } from "../base/path.ts";
import type { PlanPolicy } from "../mirror/plan.ts";
import type { Held } from "../ops/held.ts";
import { fitsOp } from "../ops/op.ts";
import { isNode, type Stat, type Tree } from "../sys/file_system.ts";
import type { ListedEntry } from "../wire/message.ts";
import { seenAsHeld } from "./as_held.ts";
import { isGone, statOrUndefined } from "./batch.ts";
import { type DetectContext, standingOf } from "./detect_context.ts";
import { isEqual, ofTarget } from "./difference.ts";
import type { Index } from "./index.ts";
import type { ScopeFacts } from "./scope.ts";
import type { Requests } from "./requests.ts";

/** A path that seems to differ. */
export interface Mismatch {
  path: string;
  /** The source's entry when the suspicion arose. */
  disk: Stat | undefined;
  /** Bytes that seem to differ, if contents do. */
  range?: { start: number; end: number };
}

/** What comparing needs. */
export interface MismatchesOptions {
  tree: Tree;
  index: Index;
  policy: PlanPolicy;
  scope: DetectContext["scope"];
  requests: Pick<Requests, "listDirectory">;
}

/** What one directory gave. */
export interface DirectoryFindings {
  mismatches: Mismatch[];
  /** Entries compared. */
  entries: number;
  /** What could not be compared; `""` if nothing. */
  problem: string;
}

/** Compares directories. */
export class Mismatches {
  readonly #options: MismatchesOptions;

  constructor(options: MismatchesOptions) {
    this.#options = options;
  }

  /**
   * Compares the entries of a directory, not below.
   *
   * @param sides `source` alone costs nothing on the line.
   * @throws {TransientError} If the session breaks.
   */
  async inDirectory(directory: string, sides: "source" | "both"): Promise<DirectoryFindings> {
    const paths = new Set<string>();
    const { entries, problem } = this.#lookAtSource(directory, paths);
    const theirs = sides === "both" ? await this.#lookAtTarget(directory, paths) : "";
    const { tree } = this.#options;
    const mismatches = [...paths].map((path) => ({ path, disk: statOrUndefined(tree, path) }));
    return { mismatches, entries, problem: problem || theirs };
  }

  #lookAtSource(directory: string, mismatches: Set<string>): { entries: number; problem: string } {
    const { tree, index, policy } = this.#options;
    let [entries, known] = [0, 0];
    tree.forgetDirectories();
    try {
      if (directory === "") this.#compareRoot(mismatches);
      tree.scan(directory, (name, stat) => {
        const path = joinPath(directory, name);
        entries++;
        const held = index.get(path);
        if (held) known++;
        if (!stat || !fitsOp(path) || (isNode(stat.kind) && !policy.abilities.nodes)) return;
        if (!isCompared(path, stat, held, this.#options)) return;
        if (held === undefined || !seenAsHeld(this.#options, path, stat, held)) mismatches.add(path);
      });
      if (known < index.countChildren(directory)) {
        this.#addMissing(directory, new Set(tree.list(directory).map(({ name }) => name)), mismatches);
      }
      return { entries, problem: "" };
    } catch (error) {
      if (!errorCode(error)) throw error;
      // Nothing below it counts as deleted. That it is gone itself, the directory that holds it tells.
      if (isGone(error)) return { entries, problem: "" };
      return { entries, problem: `the source cannot be read: ${errorCode(error)}` };
    }
  }

  /** Any other directory is compared with the one that holds it. */
  #compareRoot(mismatches: Set<string>): void {
    const [stat, held] = [this.#options.tree.stat(""), this.#options.index.get("")];
    if (stat && held && !seenAsHeld(this.#options, "", stat, held)) mismatches.add("");
  }

  /** @returns What could not be read there. */
  async #lookAtTarget(directory: string, mismatches: Set<string>): Promise<string> {
    const { index, requests } = this.#options;
    let known = 0;
    const problem = await requests.listDirectory(directory, (entries) => {
      for (const entry of entries) {
        if (entry.path !== directory && index.has(entry.path)) known++;
        this.#compareListed(entry, directory, mismatches);
      }
    });
    if (problem !== "" || known === index.countChildren(directory)) return problem;
    const names = new Set<string>();
    await requests.listDirectory(directory, (entries) => {
      for (const { path } of entries) {
        if (path !== directory) names.add(path.slice(path.lastIndexOf("/") + 1));
      }
    });
    this.#addMissing(directory, names, mismatches);
    return "";
  }

  #compareListed(entry: ListedEntry, directory: string, mismatches: Set<string>): void {
    const { index, policy } = this.#options;
    if (entry.path === directory && directory !== "") return;
    const held = index.get(entry.path);
    if (entry.path === "" && held === undefined) return;
    if (!isCompared(entry.path, entry, held, this.#options)) return;
    const believed = held && { ...held, isOneOfSeveral: index.isLinked(entry.path) };
    const remote = believed ? ofTarget(entry, believed) : entry;
    if (!isEqual(believed, remote, policy.abilities)) mismatches.add(entry.path);
  }

  /** Names that the index has and that were not seen. */
  #addMissing(directory: string, names: Set<string>, mismatches: Set<string>): void {
    for (const name of this.#options.index.children(directory)) {
      const path = joinPath(directory, name);
      if (names.has(name)) continue;
      const held = this.#options.index.get(path);
      if (held && isCompared(path, held, held, this.#options)) mismatches.add(path);
    }
  }
}

/**
 * Whether what one side has at a path is to be the same on the other: it is in the set, and no leftover. A passage is
 * made only where something in it is.
 */
export function isCompared(
  path: string,
  facts: Readonly<ScopeFacts>,
  held: Held | undefined,
  options: Pick<MismatchesOptions, "scope">,
): boolean {
  if (held?.isLeftover) return false;
  const standing = standingOf(path, facts, options);
  return standing === "in" || (standing === "passage" && held !== undefined);
}
