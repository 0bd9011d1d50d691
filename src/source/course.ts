/**
 * How a session begins: from where the target stands and what we know of it. Pure.
 * @module
 */
import { RefusedError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { comparePlaces, type Place } from "../sys/place.ts";
import type { Welcome } from "../wire/message.ts";

/** The way on; see stream.ts. */
export type Course = "resume" | "continue" | "start over";

/** What a source knows when the target has answered. */
export interface OwnStand {
  /** Stream and replica that the index belongs to, `""` if to none. */
  streamId: string;
  replicaId: string;
  /** The index describes the target as this process has made it. */
  isReady: boolean;
  /** The index is as an earlier process saved it, at this sequence. */
  isLoaded: boolean;
  savedSequence: number;
  /** Ops that were acked, and that were pushed. */
  ackedSequence: number;
  lastSequence: number;
}

/** Chooses the course that loses nothing and compares least. */
export function chooseCourse(
  own: OwnStand,
  target: Pick<Welcome, "streamId" | "replicaId" | "durableSequence" | "compareAll">,
): Course {
  const follows = own.streamId !== "" && target.streamId === own.streamId &&
    target.replicaId === own.replicaId;
  if (!follows) return "start over";
  const { durableSequence, compareAll } = target;
  // A target that lost what it acked, or has what was never sent, was put back or is another one.
  const fits = own.ackedSequence <= durableSequence && durableSequence <= own.lastSequence;
  if (own.isReady && fits) return "resume";
  return own.isLoaded && durableSequence >= own.savedSequence && !compareAll ? "continue" : "start over";
}

/** Replicating into oneself would never end, unless the source keeps the replica out. @throws {RefusedError} If the replica overlaps with the source. */
export function checkApart(
  source: { path: string; place: Place; keepsOut: boolean },
  replica: Place,
): void {
  const relation = comparePlaces(source.place, replica);
  if (relation === "apart" || (relation === "inside" && source.keepsOut)) return;
  const reason = {
    same: "they are the same directory",
    inside: "the target lies inside the source",
    around: "the source lies inside the target",
  }[relation];
  throw new RefusedError(`Cannot replicate ${quote(source.path)}: ${reason}`);
}
