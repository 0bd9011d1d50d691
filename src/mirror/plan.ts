/**
 * What must be done to make one entry of the receiver equal to the sender's. Pure: the same decision serves live
 * changes, the mirror, the restore and `--dry-run`.
 * @module
 */
import type { Held } from "../ops/held.ts";
import type { AttributeChange, FileSystemAbilities, Stat } from "../sys/file_system.ts";
import { digestXattrs, isKnown } from "./xattrs.ts";

/** How entries are compared, and what may be done about differences. */
export interface PlanPolicy {
  /** What the receiver can hold; what it cannot is neither compared nor sent (FEATURES T5). */
  abilities: Pick<FileSystemAbilities, "ownership" | "modes" | "nanoseconds" | "links" | "nodes" | "xattrs">;
  /** Send every file whole, whatever the receiver seems to hold (`mirror --full`). @default {false} */
  full?: boolean;
  /** What to do with an entry that exists and differs. @default {"all"} */
  overwrite?: "older" | "all" | "none";
}

/** One decision. */
export type Step =
  /** Equal, and known to be. */
  | { do: "nothing" }
  /** Equal by what can be seen: only remember the entry's identity. */
  | { do: "adopt" }
  /** Nothing there, or something of another kind (`replaces`), which goes first. */
  | { do: "make"; replaces: boolean }
  /** The contents may differ: compare them, send what does. */
  | { do: "contents" }
  | { do: "attributes"; change: AttributeChange }
  /** Differs, but the receiver's entry is to stay. */
  | { do: "keep"; reason: string };

/**
 * Decides what to do with an entry that the sender has.
 *
 * @param disk The sender's entry.
 * @param held What the receiver is believed to hold, `undefined` for nothing.
 */
export function planEntry(
  disk: Readonly<Stat>,
  held: Held | undefined,
  policy: PlanPolicy,
  linkTarget = "",
): Step {
  if (!held) return { do: "make", replaces: false };
  const step = compare(disk, held, policy, linkTarget);
  return step.do === "nothing" || step.do === "adopt" ? step : guard(step, disk, held, policy);
}

/** Attributes of an entry that the receiver can hold. A symlink has no mode, a directory gets its time at the end. */
export function sendableAttributes(
  disk: Readonly<Stat>,
  abilities: PlanPolicy["abilities"],
): AttributeChange {
  const change: AttributeChange = { mtimeNs: disk.mtimeNs };
  if (abilities.modes && disk.kind !== "symlink") change.mode = disk.mode;
  if (abilities.ownership) Object.assign(change, { uid: disk.uid, gid: disk.gid });
  if (abilities.xattrs && disk.xattrs) change.xattrs = disk.xattrs;
  return change;
}

/** Whether two times are the same as far as the receiver can hold them. */
export function sameTime(a: bigint, b: bigint, abilities: PlanPolicy["abilities"]): boolean {
  return abilities.nanoseconds ? a === b : wholeMs(a) === wholeMs(b);
}

/** Cut down, before 1970 too, as a receiver without nanoseconds cuts what it sets (sys/portable_stat.ts). */
function wholeMs(timeNs: bigint): number {
  return Math.floor(Number(timeNs / 1_000n) / 1_000);
}

function compare(disk: Readonly<Stat>, held: Held, policy: PlanPolicy, linkTarget: string): Step {
  if (disk.kind !== held.kind) return { do: "make", replaces: true };
  if (linkTarget !== held.linkTarget) return { do: "make", replaces: false };
  if (disk.kind === "file" && mayDifferInContents(disk, held, policy)) return { do: "contents" };
  const change = attributeDifference(disk, held, policy.abilities);
  if (change) return { do: "attributes", change };
  return isKnown(disk, held) ? { do: "nothing" } : { do: "adopt" };
}

function mayDifferInContents(disk: Readonly<Stat>, held: Held, policy: PlanPolicy): boolean {
  if (!held.trusted || disk.size !== held.size || !sameTime(disk.mtimeNs, held.mtimeNs, policy.abilities)) {
    return true;
  }
  if (held.ctimeNs === 0n) return policy.full ?? false;
  // Times were put back after a change: only the change time tells. A change of mode or owner explains it as well.
  const explained = attributeDifference(disk, held, policy.abilities) !== undefined;
  return (disk.ctimeNs !== held.ctimeNs && !explained) || disk.ino !== held.ino;
}

function attributeDifference(
  disk: Readonly<Stat>,
  held: Held,
  abilities: PlanPolicy["abilities"],
): AttributeChange | undefined {
  const hasMode = abilities.modes && disk.kind !== "symlink";
  const isOtherMode = hasMode && disk.mode !== held.mode;
  const isOtherOwner = abilities.ownership && (disk.uid !== held.uid || disk.gid !== held.gid);
  const isOtherTime = !sameTime(disk.mtimeNs, held.mtimeNs, abilities);
  const areOtherXattrs = abilities.xattrs && disk.xattrs !== undefined &&
    digestXattrs(disk.xattrs) !== (held.xattrDigest ?? 0n);
  // Nearly always; scans ask this of every entry.
  if (!isOtherMode && !isOtherOwner && !isOtherTime && !areOtherXattrs) return undefined;
  const change: AttributeChange = {};
  // A new owner takes capabilities away, and a new mode changes the mask of an access control list.
  if (areOtherXattrs || (abilities.xattrs && disk.xattrs?.length && (isOtherOwner || isOtherMode))) {
    change.xattrs = disk.xattrs;
  }
  // A new owner clears suid and sgid, so both ids and the mode go together.
  if (isOtherMode || (isOtherOwner && hasMode)) change.mode = disk.mode;
  if (isOtherOwner) Object.assign(change, { uid: disk.uid, gid: disk.gid });
  if (isOtherTime) change.mtimeNs = disk.mtimeNs;
  return change;
}

/** Applies the rule on existing entries: `older` keeps what is newer at the receiver. */
function guard(step: Step, disk: Readonly<Stat>, held: Held, policy: PlanPolicy): Step {
  const overwrite = policy.overwrite ?? "all";
  if (overwrite === "all" || (disk.kind === "directory" && held.kind === "directory")) return step;
  if (overwrite === "none") return { do: "keep", reason: "exists" };
  return held.mtimeNs > disk.mtimeNs ? { do: "keep", reason: "newer" } : step;
}

/** What the target holds once `stat` was sent, with its extended attributes if they were looked at. */
export function heldFrom(stat: Readonly<Stat>, linkTarget: string): Held {
  const { kind, mode, uid, gid, size, mtimeNs, ctimeNs, dev, ino } = stat;
  const held: Held = { kind, mode, uid, gid, size, mtimeNs, ctimeNs, dev, ino, linkTarget, trusted: true };
  const xattrs = digestXattrs(stat.xattrs);
  if (xattrs !== 0n) held.xattrDigest = xattrs;
  return held;
}
