/**
 * `status` of a source, but for what its manager alone knows.
 * @module
 */
import { noAccountsStatus } from "../base/accounts.ts";
import type { AccountWatch } from "../identity/account_watch.ts";
import type { LaneStatus, ProblemStatus, SourceStatus } from "../base/status.ts";
import { VERSION } from "../base/version.ts";
import { gapStatuses } from "./gap_statuses.ts";
import { noLeftovers } from "./leftovers.ts";
import type { Replicator } from "./replicator.ts";
import type { RunningSet } from "./running_set.ts";

/** The status of a set, which may not run now. */
export function sourceStatus({ set, root, running, interceptorReason, accounts }: {
  set: string;
  root: string;
  running: RunningSet | undefined;
  /** Why this interceptor was chosen. */
  interceptorReason: string;
  accounts?: AccountWatch;
}): Omit<SourceStatus, "commit" | "log" | "targets" | "guards"> {
  const interceptor = running?.interceptor;
  const { events = 0, overflows = 0, unwatched = 0, armed = 0, directories = 0 } = interceptor?.stats ?? {};
  const replicators = running?.replicators ?? [];
  const verifiedAtMs = Math.min(...replicators.map((replicator) => replicator.lastVerifyAtMs));
  return {
    role: "source",
    version: VERSION,
    set,
    root,
    pid: Deno.pid,
    interceptor: interceptor?.name ?? "none",
    interceptorReason: [interceptorReason, interceptor?.stats.limitation].filter(Boolean).join("; "),
    promise: "convergent",
    capture: {
      events,
      overflows,
      rescans: replicators.reduce((sum, replicator) => sum + replicator.rescans, 0),
      unwatched,
      armed,
      directories,
      gaps: gapStatuses(interceptor, replicators),
      lastVerifyAt: replicators.length > 0 && verifiedAtMs > 0 ? new Date(verifiedAtMs).toISOString() : "",
    },
    accounts: accounts?.status() ?? noAccounts,
    problems: problemStatuses(replicators),
  };
}

/** Where no accounts travel. */
const noAccounts = { ...noAccountsStatus, unknownUids: [], unknownGids: [], reason: "" };

/** Why changes wait for files in use, `""` if none do. */
export function pendingReason({ count, paths }: LaneStatus["pending"]): string {
  if (count === 0) return "";
  const more = count > 1 ? `, and ${count - 1} more` : "";
  return `waits for files in use: ${paths[0].reason}${more}`;
}

/** What could not be read or applied. */
export function problemStatuses(replicators: Pick<Replicator, "problems">[]): ProblemStatus[] {
  return replicators.flatMap(({ problems }) => problems.list()).map(({ path, op, reason, sinceMs }) => {
    return { path, op, reason, since: new Date(sinceMs).toISOString() };
  });
}

/** Status of a lane whose root is not there. */
export const idleLane: LaneStatus = {
  target: "",
  state: "blocked",
  reason: "",
  lagMs: 0,
  queuedOps: 0,
  stackedOps: 0,
  stacked: { state: "none", memoryOps: 0, diskOps: 0 },
  journal: { state: "off", reason: "", bytes: 0 },
  flow: { limitRate: 0, sendWhen: "at-once", reason: "" },
  inFlightOps: 0,
  lastAckedSequence: 0,
  lastAckAt: "",
  packetsSent: 0,
  packetsShared: 0,
  bytesSent: 0,
  retries: 0,
  errors: 0,
  opsSent: {},
  leftovers: noLeftovers,
  heldSince: "",
  pending: { count: 0, paths: [] },
  verification: {
    state: "off",
    reason: "",
    lastTreeAt: "",
    treeShare: 0,
    lastContentsAt: "",
    contentsShare: 0,
    found: 0,
    healed: 0,
  },
};
