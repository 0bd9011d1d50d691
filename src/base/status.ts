/**
 * The shapes of `status --json` and of what `flush` answers. Scripts are written against them; fields are added, never renamed.
 * @module
 */
import type { AccountsStatus, SourceAccountsStatus } from "./accounts.ts";
import type { Problem } from "./errors.ts";

/** Where a source stands with one target. Only `live` means: nothing known is missing there. */
export type LaneState =
  | "mirroring"
  | "live"
  | "catching-up"
  | "held"
  | "disconnected"
  | "refused"
  | "blocked";

/** A source's view of one of its targets. */
export interface LaneStatus {
  /** As the user named it. */
  target: string;
  state: LaneState;
  /** Why it is in this state, in words; `""` if there is nothing to say. */
  reason: string;
  /** Age of the oldest change that the target has not acked, milliseconds. */
  lagMs: number;
  queuedOps: number;
  /** Those on the disk, too. */
  stackedOps: number;
  stacked: StackedStatus;
  journal: JournalStatus;
  flow: Omit<FlowStatus, "target">;
  inFlightOps: number;
  lastAckedSequence: number;
  /** ISO 8601; `""` before the first ack. */
  lastAckAt: string;
  packetsSent: number;
  /** Of those, that need not be compressed since that was done for another target. */
  packetsShared: number;
  bytesSent: number;
  retries: number;
  errors: number;
  /** Ops sent, by kind. Kinds that never occurred may be missing. */
  opsSent: Record<string, number>;
  leftovers: LeftoverStatus;
  verification: PatrolStatus;
  /** Since when nothing is sent (`hold`), ISO 8601; `""` while it is not held. */
  heldSince: string;
  /** What waits for files that programs on the target use; `paths` names some of it. */
  pending: { count: number; paths: PendingStatus[] };
}

/**
 * What waits for one target without its data: nothing, paths in `memory`, beyond its bound commands on the `disk`, and
 * beyond that one's that everything is looked at, so that what changed is mirrored.
 */
export interface StackedStatus {
  state: "none" | "memory" | "disk" | "mirror";
  memoryOps: number;
  diskOps: number;
}

/** When and how fast one target is sent to. */
export interface FlowStatus {
  /** As the user named it. */
  target: string;
  /** Bytes a second on the line; 0 is as fast as it goes. */
  limitRate: number;
  /** See `source/flow_rules.ts`; `at-once` is none. */
  sendWhen: string;
  /** Why nothing is sent now; `""` if that is not so, or another reason. */
  reason: string;
}

/** The ordered journal of one target. */
export interface JournalStatus {
  /** See `source/ordered_journal.ts`. */
  state: "off" | "idle" | "writing" | "full" | "failed";
  reason: string;
  bytes: number;
}

/** The transaction log of a set. */
export interface LogStatus {
  /** See `source/hint_log.ts`. */
  state: "off" | "writing" | "full" | "failed";
  reason: string;
  /** Commands in it that some target has not done, and its bytes. */
  count: number;
  bytes: number;
}

/** When a change counts as committed. */
export type CommitMode = "ack" | "real" | "local" | "remote";

/** What a set promises, and what keeps that promise. */
export interface CommitStatus {
  commit: CommitMode;
  log: LogStatus;
}

/** Where background verification of a target stands, and what verification ever found there. */
export interface PatrolStatus {
  /**
   * `waiting` for its time, comparing `attributes` or `contents`, `paused` for a reason, `verifying` because somebody
   * asked, or `off`.
   */
  state: "off" | "waiting" | "attributes" | "contents" | "paused" | "verifying";
  reason: string;
  /** End of the last comparison of the whole tree, both sides; ISO 8601, `""` before the first. */
  lastTreeAt: string;
  /** How much of the tree is compared in the round under way, 0 to 1. */
  treeShare: number;
  /** The same of contents. */
  lastContentsAt: string;
  contentsShare: number;
  /** Differences found and healed. */
  found: number;
  healed: number;
}

/** What a target holds and the set has no more: it stays until it is purged. */
export interface LeftoverStatus {
  /** Entries, with all that is below them. */
  count: number;
  /** Some of them, sorted; not what is below them. */
  paths: string[];
}

/** A path that is known to differ. */
export interface ProblemStatus extends Problem {
  /** ISO 8601. */
  since: string;
}

/** Something that keeps changes from being heard at once, now. It ends by itself when its cause does. */
export interface GapStatus {
  /** Its name: those of interceptors are told in `intercept/gap.ts`, further ones in `source/gap_statuses.ts`. */
  name: string;
  /** The cause, what is done meanwhile, and what ends it, in words. */
  reason: string;
  /** Directories, or files, concerned. */
  count: number;
  /** The first of them, relative to the root. */
  paths: string[];
  /** ISO 8601. */
  since: string;
}

/** What a guard holds back. */
export type GuardKind = "deletions" | "rewrites" | "root";

/** `waiting` for a decision; `confirmed`, and not on every target yet; `refused`: the targets keep what they have. */
export type GuardState = "waiting" | "confirmed" | "refused";

/** Something that a guard held back, and what was decided about it. */
export interface GuardStatus {
  /** `"root"` for a root that is another directory than before. */
  id: string;
  kind: GuardKind;
  state: GuardState;
  /** Entries concerned. */
  count: number;
  /** Entries that a target held when it began. */
  of: number;
  /** Some of the paths, relative to the root; all below them is meant, too. */
  paths: string[];
  /** ISO 8601. */
  since: string;
}

/** `status --json` of a source. */
export interface SourceStatus {
  role: "source";
  version: string;
  /** Name of the set. */
  set: string;
  root: string;
  pid: number;
  interceptor: string;
  /** Why this interceptor, and what it cannot hear. */
  interceptorReason: string;
  /** `ordered`: the replica is at every moment a state that the source had. `convergent`: it comes to equal it. */
  promise: "convergent" | "ordered";
  commit: CommitMode;
  log: LogStatus;
  targets: LaneStatus[];
  capture: {
    events: number;
    overflows: number;
    rescans: number;
    /** Directories that cannot be watched. */
    unwatched: number;
    /** Directories that are heard of wholly, and those known so far; 0 where only the system knows (`watchfs`). */
    armed: number;
    directories: number;
    /** What keeps changes from being heard at once, now. */
    gaps: GapStatus[];
    /** ISO 8601; `""` before the first one. */
    lastVerifyAt: string;
  };
  /** What guards hold back, and what the user refused. */
  guards: GuardStatus[];
  /** Accounts that the targets are told of. */
  accounts: SourceAccountsStatus;
  problems: ProblemStatus[];
}

/** What came of `promote`. */
export interface PromotionResult {
  /** Where users find the replica. */
  directory: string;
  /** ISO 8601. */
  promotedAt: string;
  /** Last op that it has. */
  lastSequence: number;
  /** When it came, ISO 8601; `""` if none ever did. What the source changed after that is not here. */
  lastReceivedAt: string;
  /** When a source was connected last, ISO 8601, a little later than that if it fell silent; `""` if it is not known. */
  connectedUntil: string;
  /** What it had told of what it had not sent; `null` if it never did. */
  waiting: { changes: number; since: string; isMirrored: boolean; at: string } | null;
  /** Files of which a newer version was on its way. */
  unfinished: string[];
  /** What could not be applied. */
  failed: { path: string; op: string; reason: string }[];
}

/** A file that waits because a program on the target uses it, or that waits behind such a one. */
export interface PendingStatus {
  /** Relative to the root. */
  path: string;
  /** In words. */
  reason: string;
  /** ISO 8601; since the source runs. */
  since: string;
}

/** A file in use on a target that changes wait for. */
export interface OpenFileStatus {
  /** Relative to the replica. */
  path: string;
  use: "open" | "locked";
  /** ISO 8601. */
  since: string;
}

/** A target's view of one replica. */
export interface ReplicaStatus {
  name: string;
  connected: boolean;
  /** Address of the source; `""` while none is connected. */
  peer: string;
  state: string;
  reason: string;
  lastAppliedSequence: number;
  lastDurableSequence: number;
  /** Files in use that changes wait for; `openFiles` names some of them. */
  pendingOpenFiles: number;
  /** Since when users work in it and no source may change it, ISO 8601; `""` if that is not so. */
  promotedAt: string;
  openFiles: OpenFileStatus[];
  packetsReceived: number;
  bytesReceived: number;
  bytesSent: number;
  errors: number;
  /** Ops received, by kind. Kinds that never occurred may be missing. */
  opsReceived: Record<string, number>;
  /** Accounts of the source that are kept. */
  accounts: AccountsStatus;
}

/** `status --json` of a target. */
export interface TargetStatus {
  role: "target";
  version: string;
  root: string;
  /** `HOST:PORT`. */
  listen: string;
  replicas: ReplicaStatus[];
}

/** `status --json` of either. */
export type DaemonStatus = SourceStatus | TargetStatus;

/** A target as `hold` and `resume` left it. */
export interface HeldTarget {
  /** As the user named it. */
  target: string;
  /** ISO 8601; `""` while it is not held. */
  heldSince: string;
  /** Nothing is on its way: a held target stays as it is. */
  isQuiet: boolean;
}

/** Answer to `hold` and `resume`. */
export interface HoldResult {
  targets: HeldTarget[];
}

/** Answer to `flush`. */
export interface FlushResult {
  /** Every change made before the call is committed on every target, as `commit` means it. */
  committed: boolean;
  commit: CommitMode;
  /** Why it could not be waited for; `""` if that is not so. */
  reason: string;
  /** Targets that have not committed everything. */
  waiting: { target: string; state: string; reason: string }[];
  /** What could not be read or applied, and is not on every target for that reason. */
  problems: ProblemStatus[];
}

// ——— Verification ———

/** In what an entry differs that both sides have. */
export type DifferingPart =
  | "kind"
  | "link"
  | "device"
  | "size"
  | "mtime"
  | "mode"
  | "owner"
  | "xattrs"
  /** It is one of several names of its file, and on the other side a file of its own. */
  | "names"
  | "contents";

/**
 * Which side a difference is of: the `source` changed unheard, the `target` was changed by another hand, an op was
 * `lost`, `both`; or a `problem` that is known keeps the path from being replicated.
 */
export type DifferenceCause = "source" | "target" | "lost" | "both" | "problem";

/** A path that is not the same on the target, and at rest. */
export interface Difference {
  path: string;
  /** `missing` on the target, `extra` there, or `changed`. A missing or extra directory stands for all below. */
  kind: "missing" | "extra" | "changed";
  parts: DifferingPart[];
  cause: DifferenceCause;
  /** `standing`: it was to be healed and still differs, or may not be healed. */
  state: "found" | "healed" | "standing";
  /** Why it stands; `""` otherwise. */
  reason: string;
}

/** What a verification of one target found. */
export interface VerifyReport {
  target: string;
  /** Everything was compared. */
  complete: boolean;
  /** Why not; `""` if it was. */
  reason: string;
  /** Entries compared. */
  entries: number;
  /** Files whose contents were compared, and bytes of them on each side. */
  files: number;
  bytes: number;
  /** Differences in all, and those that were healed. */
  found: number;
  healed: number;
  /** Paths that kept changing and were not judged. */
  restless: number;
  /** At most `limits.differencesMax`. */
  differences: Difference[];
}

/** Answer to `verify`. */
export interface VerifyResult {
  targets: VerifyReport[];
}

/** Arguments of `purge`. */
export interface PurgeRequest {
  /** Only leftovers at these paths and below; `undefined` is all. */
  paths: string[] | undefined;
  /** Otherwise it is only told what would be removed. */
  isConfirmed: boolean;
}

/** What `purge` removed, or would remove, of each target. */
export interface PurgeResult {
  targets: { target: string; count: number; paths: string[] }[];
}
