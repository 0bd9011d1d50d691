/**
 * The state that a lane is in, and why: what `status` says of it, and what others ask before they begin.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";
import type { LaneState } from "../base/status.ts";
import type { Agenda } from "./agenda.ts";
import type { Backlog } from "./backlog.ts";
import type { Connection } from "./connection.ts";
import type { Doubts } from "./doubts.ts";
import type { FlowGate } from "./flow_gate.ts";
import type { Lane } from "./lane.ts";
import type { MassGuard } from "./mass_guard.ts";
import type { Stream } from "./stream.ts";

/** What the state of a lane depends on. */
export interface ConditionOptions {
  connection: Connection;
  stream: Stream;
  agenda: Agenda;
  backlog: Pick<Backlog, "count">;
  lane: Lane;
  flow: Pick<FlowGate, "reason" | "outOfHours">;
  doubts: Doubts;
  guard: MassGuard | undefined;
  clock: Clock;
  rootStands: () => boolean;
  /** Why no deletion is sent in this run, `""` if they are. */
  pausedDeletions: string;
}

/** State of one lane. */
export class Condition {
  readonly #options: ConditionOptions;
  /** Why the target cannot apply anything, as it says. */
  blockedReason = "";
  /** Set while the source looks emptied, see `Detector.lookInside`. */
  emptied = "";
  /** Since when nothing is sent, ISO 8601; `""` if the lane is not held. */
  heldSince = "";
  isStopped = false;

  constructor(options: ConditionOptions) {
    this.#options = options;
  }

  /** What waits for a decision of the user, `""` if nothing does. */
  get guardReason(): string {
    return this.#options.guard?.reason ?? "";
  }

  /** Why deletions wait, `""` if they do not. */
  get deletionsWait(): string {
    return this.#options.pausedDeletions || [this.emptied, this.guardReason].filter(Boolean).join("; ");
  }

  /** State and reason, as in `status`. */
  now(): { state: LaneState; reason: string } {
    const { agenda, backlog, connection, flow, rootStands, stream } = this.#options;
    if (connection.state === "refused") return { state: "refused", reason: connection.reason };
    // A target may say so before it begins the session.
    if (this.blockedReason) return { state: "blocked", reason: this.blockedReason };
    if (connection.state !== "connected") return { state: "disconnected", reason: connection.reason };
    if (!rootStands()) return { state: "blocked", reason: "the root is gone" };
    if (this.deletionsWait) return { state: "blocked", reason: this.deletionsWait };
    if (this.heldSince) return { state: "held", reason: `since ${this.heldSince}` };
    if (flow.reason) return { state: "held", reason: flow.reason };
    if (!stream.isMirrored) return { state: "mirroring", reason: "" };
    if (this.lagMs > limits.lagMs) {
      return { state: "catching-up", reason: `${agenda.changesCount + backlog.count} paths are waiting` };
    }
    return { state: "live", reason: "" };
  }

  /** Age of the oldest change that the target does not have, milliseconds. */
  get lagMs(): number {
    const { agenda, clock, lane, stream } = this.#options;
    const since = Math.min(
      agenda.oldestSinceMs,
      stream.isMirrored ? lane.oldestUnackedMs ?? Infinity : Infinity,
    );
    return since === Infinity ? 0 : Math.max(0, clock.nowMs() - since);
  }

  /** Why the target cannot be asked now, `""` if it can. */
  get trouble(): string {
    if (this.isStopped) return "it was stopped";
    if (this.heldSince) return `it is held since ${this.heldSince}`;
    const { outOfHours } = this.#options.flow;
    if (outOfHours !== "") return `it is held: ${outOfHours}`;
    const { state, reason } = this.now();
    const isInTrouble = state === "refused" || state === "disconnected" || this.blockedReason !== "";
    return isInTrouble ? `it is ${state}${reason === "" ? "" : `: ${reason}`}` : "";
  }

  /** Whether the stream is begun and everything was looked at once. */
  get isMirrored(): boolean {
    const { stream } = this.#options;
    return stream.isReady && stream.isMirrored;
  }

  /** Whether nothing waits or is on its way. */
  get isAtRest(): boolean {
    const { agenda, doubts, lane } = this.#options;
    const { changesCount, isMirrorScanIdle } = agenda;
    return changesCount === 0 && isMirrorScanIdle && lane.unackedOps === 0 &&
      doubts.areResolved;
  }
}
