/**
 * What users ask about one replica and decide about it: how an entry stands there, which leftovers it keeps, what
 * becomes of those, and of what a guard held back.
 * @module
 */
import { TransientError } from "../base/errors.ts";
import { parentPath } from "../base/path.ts";
import type { TargetExplanation } from "../base/explanation.ts";
import type { GuardState, LaneState, LeftoverStatus } from "../base/status.ts";
import type { PlanPolicy } from "../mirror/plan.ts";
import type { Tree } from "../sys/file_system.ts";
import type { Agenda } from "./agenda.ts";
import { statOrUndefined } from "./batch.ts";
import type { Bell } from "./bell.ts";
import type { Detector } from "./detect.ts";
import { type ExplainedEntry, explainOnTarget } from "./explain.ts";
import type { Index } from "./index.ts";
import type { Lane } from "./lane.ts";
import { LeftoverCount, leftoversIn } from "./leftovers.ts";
import type { PendingPaths } from "./pending.ts";
import type { Problems } from "./problems.ts";
import type { Stream } from "./stream.ts";
import type { Tickets } from "./tickets.ts";

/** The parts of a replicator that answers and decisions concern. */
export interface DecisionsOptions {
  target: string;
  tree: Tree;
  index: Index;
  lane: Lane;
  stream: Stream;
  agenda: Agenda;
  detector: Detector;
  problems: Problems;
  pending: PendingPaths;
  tickets: Tickets;
  bell: Bell;
  policy: Omit<PlanPolicy, "abilities">;
  state: () => { state: LaneState; reason: string };
}

/** Answers and decisions about one replica. */
export class Decisions {
  readonly #options: DecisionsOptions;
  readonly #leftoverCount = new LeftoverCount();

  constructor(options: DecisionsOptions) {
    this.#options = options;
  }

  /** How the target stands with an entry of the source. */
  explain(entry: ExplainedEntry & { isIn: boolean }): TargetExplanation {
    const { target, index, lane, pending, policy, problems, stream } = this.#options;
    const { state, reason } = this.#options.state();
    const waitsFor = state === "live" ? "" : `${state}${reason === "" ? "" : `: ${reason}`}`;
    if (!stream.isReady) return { target, state: "unknown", reason: waitsFor };
    return explainOnTarget(target, entry, {
      held: index.get(entry.path),
      policy: { ...policy, abilities: stream.abilities },
      problem: entry.isIn ? problems.of(entry.path)?.reason : undefined,
      isUnacked: lane.unackedPaths().includes(entry.path),
      waitsFor,
      pending: entry.isIn ? pending.of(entry.path) : undefined,
    });
  }

  /** Leftovers as `status` tells them, which may be some seconds old. */
  get leftoverStatus(): LeftoverStatus {
    return this.#leftoverCount.take(this.#options.index);
  }

  /** What the target holds and the set has no more; of that only what lies at these paths or below, if any are given. */
  leftovers(paths?: string[]): LeftoverStatus {
    return this.#leftoverCount.count(this.#options.index, paths);
  }

  /**
   * Removes leftovers from the target: all, or those at these paths and below them. What is pushed waits for its ack
   * like any change.
   *
   * @returns How many entries are removed.
   * @throws {TransientError} If the target has not told yet what it holds, or a new stream began meanwhile.
   */
  async purge(paths?: string[]): Promise<number> {
    const { agenda, bell, detector, index, problems, stream, tickets } = this.#options;
    if (!stream.isReady) throw new TransientError("Cannot purge: what the target holds is not known yet");
    const chosen = [...leftoversIn(index, paths)].map(({ path }) => path);
    const ticket = tickets.take();
    using _hold = tickets.hold(ticket);
    const count = await detector.purge(chosen, ticket);
    // They may have stood in the way of something.
    for (const { path, op } of problems.list()) if (op === "replace") agenda.markDirty(path, ticket);
    bell.ring();
    return count;
  }

  /** The user decided about what a guard held at these paths. */
  take(paths: string[], state: GuardState): void {
    const { agenda, bell, index, tree } = this.#options;
    for (const path of paths) {
      index.markLeftover(path, state === "refused" && statOrUndefined(tree, path) === undefined);
      agenda.markDirty(path);
      if (index.isDirectory(path)) agenda.lookBelow(path);
    }
    for (const parent of new Set(paths.map(parentPath))) {
      // What stands in the place of their directory waited for this.
      if (statOrUndefined(tree, parent)?.kind !== "directory") agenda.markDirty(parent);
    }
    bell.ring();
  }

  /** Whether the target holds anything at a path; `true` while that is not known. */
  holds(path: string): boolean {
    return !this.#options.stream.isReady || this.#options.index.has(path);
  }
}
