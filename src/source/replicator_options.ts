/**
 * What a replicator is given.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { AccountWatch } from "../identity/account_watch.ts";
import type { TransferPolicy } from "../mirror/transfer.ts";
import type { Tree } from "../sys/file_system.ts";
import type { Session } from "../wire/session.ts";
import type { Throttle } from "../wire/throttle.ts";
import type { DetectContext } from "./detect_context.ts";
import type { GuardBook } from "./guard_book.ts";
import type { HintLog } from "./hint_log.ts";
import type { MountsOptions } from "./mounts.ts";
import type { MassThresholds } from "./mass_guard.ts";
import type { Index } from "./index.ts";
import type { IndexKeeper } from "./index_keeper.ts";
import type { OrderedJournal } from "./ordered_journal.ts";
import type { PatrolPolicy, PatrolStore } from "./patrol.ts";
import type { Scope } from "./scope.ts";

/** What a replicator needs. */
export interface ReplicatorOptions {
  /** The target as the user named it. */
  target: string;
  tree: Tree;
  index: Index;
  /** Saves the index; without one nothing is remembered beyond this process. */
  keeper?: IndexKeeper;
  connect: (signal: AbortSignal) => Promise<Session>;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
  agent: string;
  windowBytes?: number;
  policy: Omit<TransferPolicy, "abilities" | "opDataSize"> & { deleteAbsent: boolean };
  /** Why deletions wait (`policy.deleteAbsent` is false then); `""` if they do not. */
  pausedDeletions?: string;
  /** What is in the set. @default everything */
  scope?: Scope;
  /** See {@linkcode DetectContext.watch}. @default nothing is heard, and nothing need be */
  watch?: DetectContext["watch"];
  /** The target may lie inside the source: `scope` has nothing of it. @default {false} */
  keepsTargetOut?: boolean;
  /** One pass: nothing is heard that would be worth waiting for. @default {false} */
  isOnePass?: boolean;
  /** What guards hold back, of all targets of the set, and from where on they do. @default nothing is guarded */
  guards?: { book: GuardBook; thresholds: MassThresholds };
  /** Mount points below the root, as earlier runs knew them. @default none is remembered */
  mounts?: Omit<MountsOptions, "tree">;
  /** Whether the root still stands where it stood. */
  rootStands: () => boolean;
  /** Whether two changes shortly after one another can leave the same times. @default as the kernel is */
  coarseFileTimes?: boolean;
  /** Paths to look at, with everything below. What lies elsewhere must be excluded. @default {[""]} everything */
  roots?: string[];
  /** Gives up after a failure to connect; see `Connection`. */
  givesUp?: (error: unknown, attempts: number) => boolean;
  planned?: DetectContext["planned"];
  kept?: DetectContext["kept"];
  /** Has every hint of the changes so far handed on; `false` if that cannot be promised. @default there are none */
  heard?: () => Promise<boolean>;
  /** Keeps hints that there is no room for in memory. @default nothing does: everything is looked at instead */
  hintLog?: HintLog;
  /** What sessions with the target are held to. @default as fast as it goes */
  throttle?: Throttle;
  /** Keeps live ops on the disk while the target does not take them. @default none */
  journal?: OrderedJournal;
  /** Verification in the background. @default none */
  patrol?: { policy: PatrolPolicy; store?: PatrolStore };
  /** Accounts of this machine, for the target. @default none are told */
  accounts?: AccountWatch;
  /** Something that `status` shows may have changed. */
  onChange?: () => void;
}
