/**
 * How a source stands with one target, as `status` tells it.
 * @module
 */
import type { FlowStatus, LaneStatus } from "../base/status.ts";
import type { Agenda } from "./agenda.ts";
import { type Backlog, stackedStatus } from "./backlog.ts";
import type { Condition } from "./condition.ts";
import type { Connection } from "./connection.ts";
import type { Decisions } from "./decisions.ts";
import type { Lane } from "./lane.ts";
import type { PendingPaths } from "./pending.ts";
import type { Patrol } from "./patrol.ts";

/** The parts of a replicator that tell. */
export interface LaneStatusParts {
  target: string;
  agenda: Agenda;
  backlog: Backlog;
  condition: Condition;
  connection: Connection;
  decisions: Decisions;
  lane: Lane;
  patrol: Patrol;
  flow: Omit<FlowStatus, "target">;
  pending: PendingPaths;
  /** Wall clock, 0 before the first. */
  lastAckAtMs: number;
  /** Ops that the target could not do. */
  failures: number;
}

/** The status of one lane now. */
export function laneStatus(parts: LaneStatusParts): LaneStatus {
  const { agenda, backlog, condition, connection, decisions, flow, lane, patrol, pending, target } = parts;
  const { queuedOps, unackedOps } = lane;
  const { packetsSent, packetsShared, bytesSent } = connection.stats;
  return {
    target,
    ...condition.now(),
    lagMs: condition.lagMs,
    queuedOps,
    stackedOps: agenda.changesCount + backlog.count,
    stacked: stackedStatus(agenda, backlog),
    journal: lane.journalStatus,
    flow,
    inFlightOps: unackedOps - queuedOps,
    lastAckedSequence: lane.ackedSequence,
    lastAckAt: parts.lastAckAtMs === 0 ? "" : new Date(parts.lastAckAtMs).toISOString(),
    packetsSent,
    packetsShared,
    bytesSent,
    retries: lane.stats.retries,
    errors: parts.failures,
    opsSent: { ...lane.stats.opsSent },
    verification: patrol.status(),
    leftovers: decisions.leftoverStatus,
    heldSince: condition.heldSince,
    pending: { count: pending.size, paths: pending.list() },
  };
}
