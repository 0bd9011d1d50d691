/**
 * The status of a daemon for people: one screen.
 * @module
 */
import type { AccountsStatus, SourceAccountsStatus } from "../base/accounts.ts";
import { quote } from "../base/path.ts";
import { formatLog } from "./commit.ts";
import { formatFlow } from "./flow.ts";
import { formatGuard } from "./guard.ts";
import { formatDuration, formatSize } from "../base/units.ts";
import type {
  DaemonStatus,
  GapStatus,
  JournalStatus,
  LaneStatus,
  PatrolStatus,
  ReplicaStatus,
  SourceStatus,
  StackedStatus,
  TargetStatus,
} from "../base/status.ts";

/** Problems shown; the rest is counted. */
const PROBLEMS_SHOWN = 10;

/** Pending paths and files in use shown; the rest is counted. */
const PENDING_SHOWN = 5;

/** Leftovers shown; the rest is counted. */
const LEFTOVERS_SHOWN = 5;

/** A status as text, lines with their line feeds. `nowMs` is the wall clock that ages are told by. */
export function formatStatus(status: DaemonStatus, nowMs: number): string {
  return status.role === "source" ? formatSource(status, nowMs) : formatTarget(status, nowMs);
}

function formatSource(status: SourceStatus, nowMs: number): string {
  const { capture, problems } = status;
  return [
    `set ${status.set}: ${quote(status.root)}\n`,
    `  understudy ${status.version}, pid ${status.pid}, ${status.promise}, commit ${status.commit}${
      status.log.state === "off" ? "" : `, ${formatLog(status.log)}`
    }\n`,
    `  hears of changes by ${
      stateWithReason({ state: status.interceptor, reason: status.interceptorReason })
    }\n`,
    ...status.targets.map((target) => formatLane(target, nowMs)),
    `  capture: ${count(capture.events, "event")}, ${count(capture.overflows, "overflow")}, ` +
    `${count(capture.rescans, "rescan")}${
      capture.unwatched > 0 ? `, ${capture.unwatched} unwatched` : ""
    }, ` +
    `last verified ${ago(capture.lastVerifyAt, nowMs)}\n`,
    ...capture.gaps.map((gap) => formatGap(gap, nowMs)),
    ...status.guards.map((guard) => `  guard ${formatGuard(guard, nowMs)}`),
    formatSourceAccounts(status.accounts),
    problems.length === 0 ? "  no problems\n" : `  ${count(problems.length, "problem")}:\n`,
    ...problems.slice(0, PROBLEMS_SHOWN).map(({ path, op, reason, since }) =>
      `    ${quote(path)}: ${op}: ${reason} (${ago(since, nowMs)})\n`
    ),
    problems.length > PROBLEMS_SHOWN ? `    and ${problems.length - PROBLEMS_SHOWN} more; see --json\n` : "",
  ].join("");
}

function formatGap({ name, reason, count: number, paths, since }: GapStatus, nowMs: number): string {
  const shown = paths.map((path) => quote(path)).join(", ");
  const where = shown === "" ? "" : `: ${shown}${number > paths.length ? ", …" : ""}`;
  const directories = count(number, "directory", "directories");
  return `  gap "${name}" since ${ago(since, nowMs)}, ${directories}${where}\n    ${reason}\n`;
}

function formatLane(lane: LaneStatus, nowMs: number): string {
  const { queuedOps, stackedOps, inFlightOps, stacked } = lane;
  const waiting = queuedOps + stackedOps + inFlightOps === 0
    ? "nothing waits"
    : `behind ${formatDuration(lane.lagMs)}: ${queuedOps} queued, ${
      formatStacked(stacked)
    }, ${inFlightOps} in flight`;
  return [
    `  to ${quote(lane.target)}: ${stateWithReason(lane)}\n`,
    `    ${waiting}; acked up to ${lane.lastAckedSequence}, ${ago(lane.lastAckAt, nowMs)}\n`,
    `    sent ${formatSize(lane.bytesSent)} in ${count(lane.packetsSent, "packet")}${
      formatOps(lane.opsSent)
    }; ` +
    `${count(lane.retries, "retry", "retries")}, ${count(lane.errors, "error")}\n`,
    lane.flow.limitRate === 0 && lane.flow.sendWhen === "at-once" ? "" : `    ${formatFlow(lane.flow)}\n`,
    formatJournal(lane.journal),
    `    verification: ${formatPatrol(lane.verification, nowMs)}\n`,
    formatPending(lane, nowMs),
    formatLeftovers(lane),
  ].join("");
}

function formatJournal({ state, reason, bytes }: JournalStatus): string {
  if (state === "off") return "";
  return `    ordered journal ${stateWithReason({ state, reason })}${
    bytes > 0 ? `, ${formatSize(bytes)}` : ""
  }\n`;
}

function formatStacked({ state, memoryOps, diskOps }: StackedStatus): string {
  if (state === "mirror") return `more stacked up than can be remembered: what changed is mirrored`;
  return `${memoryOps + diskOps} stacked up${diskOps > 0 ? ` (${diskOps} of them on disk)` : ""}`;
}

function formatPending({ pending }: LaneStatus, nowMs: number): string {
  if (pending.count === 0) return "";
  const shown = pending.paths.slice(0, PENDING_SHOWN).map(({ path, reason, since }) =>
    `      ${quote(path)}: ${reason} (${ago(since, nowMs)})\n`
  );
  const more = pending.count - shown.length;
  if (more > 0) shown.push(`      and ${more} more\n`);
  return `    ${count(pending.count, "path")} pending, for files in use there:\n${shown.join("")}`;
}

function formatLeftovers({ leftovers }: LaneStatus): string {
  const { count: number, paths } = leftovers;
  if (number === 0) return "";
  const shown = paths.slice(0, LEFTOVERS_SHOWN).map(quote).join(", ");
  const more = paths.length > LEFTOVERS_SHOWN ? ", …" : "";
  return `    keeps ${
    count(number, "leftover", "leftovers")
  } that left the set: ${shown}${more}; see "set purge"\n`;
}

/** As in `waiting; whole tree 3 h ago, contents 61 % of this round; 2 differences found, 2 healed`. */
function formatPatrol(patrol: PatrolStatus, nowMs: number): string {
  const coverage = (what: string, last: string, share: number) =>
    `${what} ${last === "" && share > 0 ? "" : ago(last, nowMs)}${
      share > 0 ? `${last === "" ? "" : ", "}${Math.floor(100 * share)} % of this round` : ""
    }`;
  const { lastTreeAt, treeShare, lastContentsAt, contentsShare, found, healed } = patrol;
  const covered = [
    coverage("whole tree", lastTreeAt, treeShare),
    coverage("contents", lastContentsAt, contentsShare),
  ].join(", ");
  return `${stateWithReason(patrol)}; ${covered}; ${count(found, "difference")} found, ${healed} healed`;
}

function formatTarget(status: TargetStatus, nowMs: number): string {
  return [
    `target ${quote(status.root)}, listening on ${status.listen}\n`,
    `  understudy ${status.version}\n`,
    ...status.replicas.map((replica) => formatReplica(replica, nowMs)),
    status.replicas.length === 0 ? `  no replicas; see "understudy help invite"\n` : "",
  ].join("");
}

function formatReplica(replica: ReplicaStatus, nowMs: number): string {
  const { lastAppliedSequence: applied, lastDurableSequence: durable, pendingOpenFiles } = replica;
  return [
    `  replica ${replica.name}: ${stateWithReason(replica)}${
      replica.connected ? `, from ${replica.peer}` : ""
    }\n`,
    `    applied up to ${applied}, durable up to ${durable}` +
    `${pendingOpenFiles > 0 ? `, ${count(pendingOpenFiles, "open file")} pending` : ""}\n`,
    ...replica.openFiles.slice(0, PENDING_SHOWN).map(({ path, use, since }) =>
      `      ${quote(path)} is ${use === "open" ? "open in" : "locked by"} another program (${
        ago(since, nowMs)
      })\n`
    ),
    `    received ${formatSize(replica.bytesReceived)} in ${count(replica.packetsReceived, "packet")}` +
    `${formatOps(replica.opsReceived)}; ${count(replica.errors, "error")}\n`,
    replica.accounts.at === "" ? "" : `    keeps ${formatAccounts(replica.accounts)}\n`,
  ].join("");
}

function formatSourceAccounts(accounts: SourceAccountsStatus): string {
  if (accounts.at === "") return "";
  const unknownCount = accounts.unknownUids.length + accounts.unknownGids.length;
  const unknown = unknownCount === 0 ? "" : `, ${count(unknownCount, "owner")} without a name`;
  const shown = `accounts: ${formatAccounts(accounts)}${unknown}`;
  return `  ${stateWithReason({ state: shown, reason: accounts.reason })}\n`;
}

function formatAccounts({ users, groups }: AccountsStatus): string {
  return `${count(users, "user")} and ${count(groups, "group")}`;
}

function stateWithReason({ state, reason }: { state: string; reason: string }): string {
  return reason === "" ? state : `${state} (${reason})`;
}

function formatOps(ops: Record<string, number>): string {
  const shown = Object.entries(ops).filter(([, number]) => number > 0).map(([kind, number]) =>
    `${number} ${kind}`
  );
  return shown.length === 0 ? "" : ` (${shown.join(", ")})`;
}

function count(number: number, one: string, several = `${one}s`): string {
  return `${number} ${number === 1 ? one : several}`;
}

function ago(time: string, nowMs: number): string {
  return time === "" ? "never" : `${formatDuration(Math.max(0, nowMs - Date.parse(time)))} ago`;
}
