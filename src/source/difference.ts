/**
 * What differs between the source, the target and what the source believes of the target, and which side that is of.
 * Pure.
 *
 * | source and belief | belief and target | cause                                                               |
 * |-------------------|-------------------|---------------------------------------------------------------------|
 * | equal             | differ            | `target`: another hand was there, or `lost`: an op came to nothing  |
 * | differ            | equal             | `source`: changed there, and nobody heard of it                     |
 * | differ            | differ            | `both`                                                              |
 *
 * @module
 */
import type { Difference, DifferenceCause, DifferingPart } from "../base/status.ts";
import { type PlanPolicy, sameTime } from "../mirror/plan.ts";
import type { Held } from "../ops/held.ts";
import type { Kind } from "../sys/file_system.ts";
import type { DigestedEntry, ListedEntry } from "../wire/message.ts";

/** What entries are compared by. */
export interface Comparable {
  kind: Kind;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeNs: bigint;
  /** `""` if it is no symbolic link. */
  linkTarget: string;
  /** Digest of extended attributes. */
  xattrDigest?: bigint;
  /** Whether it is one of several names that are to be names of one file; `undefined` if that is not known. */
  isOneOfSeveral?: boolean;
}

/** One path as each side has it; `undefined` where it is not. */
export interface Sides {
  /** On the source, with the time of its last change by the source's clock. */
  disk: Comparable & { ctimeNs: bigint } | undefined;
  /** What the source believes of the target. */
  held: Held | undefined;
  remote: DigestedEntry | undefined;
  /** The directory that holds it, as believed and as it is on the target: its time tells whether names came or went. */
  heldParent: Held | undefined;
  remoteParent: DigestedEntry | undefined;
  /** Whether the contents are known to differ, `false` if they are equal or were not compared. */
  contentsDiffer: boolean;
}

/** How the clocks of both sides are to be read. */
export interface ClockReading {
  /** Nanoseconds to add to a time of the target to get one of the source. */
  skewNs: bigint;
  /** How wrong that may be. */
  errorNs: bigint;
}

/** In what two entries differ, as far as the target can hold it. */
export function differingParts(
  a: Readonly<Comparable>,
  b: Readonly<Comparable>,
  abilities: PlanPolicy["abilities"],
): DifferingPart[] {
  if (a.kind !== b.kind) return ["kind"];
  const parts: DifferingPart[] = [];
  if (a.kind === "file" && a.size !== b.size) parts.push("size");
  if (a.linkTarget !== b.linkTarget) parts.push(a.kind === "symlink" ? "link" : "device");
  if (!sameTime(a.mtimeNs, b.mtimeNs, abilities)) parts.push("mtime");
  if (abilities.modes && a.kind !== "symlink" && a.mode !== b.mode) parts.push("mode");
  if (abilities.xattrs && (a.xattrDigest ?? 0n) !== (b.xattrDigest ?? 0n)) parts.push("xattrs");
  const areNamesKnown = a.isOneOfSeveral !== undefined && b.isOneOfSeveral !== undefined;
  if (abilities.links && areNamesKnown && a.isOneOfSeveral !== b.isOneOfSeveral) parts.push("names");
  if (abilities.ownership && (a.uid !== b.uid || a.gid !== b.gid)) parts.push("owner");
  return parts;
}

/** Whether two entries, or the lack of both, are the same as far as the target can hold them. */
export function isEqual(
  a: Readonly<Comparable> | undefined,
  b: Readonly<Comparable> | undefined,
  abilities: PlanPolicy["abilities"],
): boolean {
  if (a === undefined || b === undefined) return a === b;
  return differingParts(a, b, abilities).length === 0;
}

/**
 * An entry as the target has it. That it has other names there, too, says nothing if it has none here: somebody may
 * have given it one outside the replica.
 */
export function ofTarget<Entry extends ListedEntry>(entry: Entry, held: Comparable): Entry & Comparable {
  return { ...entry, isOneOfSeveral: held.isOneOfSeveral && entry.file !== undefined };
}

/** Judges one path; `undefined` if source and target are equal there. */
export function judge(
  path: string,
  sides: Sides,
  abilities: PlanPolicy["abilities"],
  clocks: ClockReading,
): Omit<Difference, "state" | "reason"> | undefined {
  const { disk, remote, contentsDiffer } = sides;
  if (disk === undefined && remote === undefined) return undefined;
  const cause = causeOf(sides, abilities, clocks);
  if (remote === undefined) return { path, kind: "missing", parts: [], cause };
  if (disk === undefined) return { path, kind: "extra", parts: [], cause };
  const parts = differingParts(disk, remote, abilities);
  if (contentsDiffer && !parts.includes("kind")) parts.push("contents");
  return parts.length === 0 ? undefined : { path, kind: "changed", parts, cause };
}

function causeOf(sides: Sides, abilities: PlanPolicy["abilities"], clocks: ClockReading): DifferenceCause {
  const { disk, held, remote, contentsDiffer } = sides;
  // A change that put the times back shows in the change time alone.
  const isBelieved = isEqual(disk, held, abilities) && !mayHaveChanged(disk, held);
  const isAsBelieved = isEqual(held, remote, abilities) && !(contentsDiffer && isBelieved);
  if (!isBelieved) return isAsBelieved ? "source" : "both";
  return isUntouched(sides, abilities, clocks) ? "lost" : "target";
}

/** Whether a file may have changed since it was sent, though neither its size nor its time tells. */
export function mayHaveChanged(
  disk: { kind: Kind; ctimeNs: bigint } | undefined,
  held: Held | undefined,
): boolean {
  return disk?.kind === "file" && held !== undefined && held.ctimeNs !== 0n && held.ctimeNs !== disk.ctimeNs;
}

/** Whether nobody changed anything there on the target since the source had it sent. */
function isUntouched(
  { disk, remote, heldParent, remoteParent }: Sides,
  abilities: PlanPolicy["abilities"],
  { skewNs, errorNs }: ClockReading,
): boolean {
  const isOlder = (theirNs: bigint | undefined) =>
    disk !== undefined && disk.ctimeNs !== 0n && theirNs !== undefined && theirNs !== 0n &&
    theirNs + skewNs + errorNs < disk.ctimeNs;
  if (disk !== undefined && remote !== undefined) return isOlder(remote.ctimeNs);
  // A name that came or went by another hand left its mark on the times of its directory.
  if (heldParent === undefined || remoteParent === undefined) return false;
  return isOlder(remoteParent.ctimeNs) || sameTime(heldParent.mtimeNs, remoteParent.mtimeNs, abilities);
}
