/**
 * What detection works with: the disk, what the target holds, and the ways to the lane.
 * @module
 */
import { baseName } from "../base/path.ts";
import type { TransferContext } from "../mirror/transfer.ts";
import type { Op } from "../ops/op.ts";
import type { Stat, Tree, Xattr } from "../sys/file_system.ts";
import type { Index } from "./index.ts";
import type { Priority } from "./lane.ts";
import type { MassGuard } from "./mass_guard.ts";
import type { Mounts } from "./mounts.ts";
import type { PendingPaths } from "./pending.ts";
import type { Resting } from "./resting.ts";
import type { Scope, ScopeFacts, Standing } from "./scope.ts";
import type { Ticket } from "./tickets.ts";

/** Name that is never replicated: our own state on a target. */
export const RESERVED_NAME = ".understudy";

/** What detection works with. */
export interface DetectContext {
  tree: Tree;
  index: Index;
  policy: TransferContext["policy"] & { deleteAbsent: boolean; exchange: boolean };
  /** Resolves when an op of so many bytes may be pushed; `false` if that took time, so that what was read is stale. */
  room(bytes: number, priority: Priority): Promise<boolean>;
  /** Pushes an op and returns its sequence. */
  push(op: Op, priority: Priority): number;
  /** The contents of this large file are to be sent. */
  transfer(path: string, priority: Priority, ticket: Ticket): void;
  /** Transfers that wait or are on their way. */
  transfersCount(): number;
  /** Whether a transfer of this file is under way: then a newer version of it must not overtake it. */
  isTransferring(path: string): boolean;
  /** Everything below this directory is to be looked at. */
  lookBelow(path: string, ticket: Ticket): void;
  /** This file changed while it was read: look again when it has come to rest. */
  restless(path: string): void;
  /** Whether so young a file may change again without a change of its times. */
  isRacy(stat: Readonly<Stat>): boolean;
  /** This file is such a one; `hash` is that of the contents that were sent. */
  racy(path: string, hash: Uint8Array, ticket: Ticket): void;
  /** To be called before a directory is scanned: changes in it are heard from now on, if `true` is returned. */
  watch(directory: string): boolean;
  problem(path: string, op: string, error: unknown): void;
  /** @param op Only a problem of this op is over. @default any */
  solved(path: string, op?: string): void;
  /** Nothing is at this path any more, nor below it: what was wrong there is over. */
  gone(path: string): void;
  /** Names that rest before the target loses what it holds there; without it none does. */
  resting: Pick<Resting, "add" | "drop" | "has" | "noteChange" | "noteMove" | "size"> | undefined;
  /** Paths of which nothing is to be sent now, since a program on the target uses a file. */
  pending: Pick<PendingPaths, "size" | "covers" | "below" | "addBehind">;
  /** Judges what is about to be lost on the target; without it all goes. */
  guard: MassGuard | undefined;
  /** File systems mounted below the root. */
  mounts: Mounts;
  /** This path is to be looked at again, after what waits now. */
  lookAgain(path: string, ticket: Ticket): void;
  /** Whether the root still stands where it stood: deletions need that as evidence. */
  rootStands(): boolean;
  /** What is in the set. */
  scope: Scope;
  /** The source is empty and the target is not: a reason why deletions wait, `""` when that is over. */
  emptied(reason: string): void;
  /** Whether the attributes of this directory are to be made equal (not those above what is restored). */
  settles(directory: string): boolean;
  onRead(bytes: number): void;
  /** Told of the extended attributes of entries that may be on the target as they are. */
  xattrsRead?(xattrs: readonly Xattr[]): void;
  /** Told of entries that differ but stay (restore: newer at the receiver). */
  kept?(path: string, reason: string): void;
  /** Given instead of sending: what would be done (`--dry-run`). */
  planned?(action: string, path: string, bytes: number): void;
}

/** How the entry at a path stands in the set. The root is always in it. */
export function standingOf(
  path: string,
  facts: Readonly<ScopeFacts>,
  { scope }: Pick<DetectContext, "scope">,
): Standing {
  if (path === "") return "in";
  return baseName(path) === RESERVED_NAME ? "out" : scope.standing(path, facts);
}

/** Whether nothing in a directory is the set's business, so that it need not be looked into. */
export function isClosed(directory: string, { scope }: Pick<DetectContext, "scope">): boolean {
  return directory !== "" && (baseName(directory) === RESERVED_NAME || scope.isClosed(directory));
}
