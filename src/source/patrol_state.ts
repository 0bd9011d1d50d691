/**
 * How far background verification has come: what survives a restart, and what is shown of it.
 * @module
 */

/** A round through the whole tree. */
export interface Round {
  /** Wall clock of its begin, 0 while none is under way. */
  startedAtMs: number;
  /** Wall clock of the end of the last whole one, 0 before the first. */
  doneAtMs: number;
  /** The directory that it came to. */
  directory?: string;
  /** Where in that directory it goes on: of the contents of large files, too. */
  file?: { name: string; offset: number };
  /** Entries passed in this round. */
  passed: number;
}

/** State of one target's patrol. Survives a restart of the source. */
export interface PatrolState {
  /** Replica that was compared: another one is compared from the beginning. */
  replicaId: string;
  /** Attributes on the source, on both sides, and contents. */
  source: Round;
  both: Round;
  contents: Round;
  /** Differences found and healed, ever. */
  found: number;
  healed: number;
}

/** Name of a round. */
export type RoundName = "source" | "both" | "contents";

/** Nothing was compared yet. */
export function newPatrolState(replicaId: string): PatrolState {
  const round = (): Round => ({ startedAtMs: 0, doneAtMs: 0, passed: 0 });
  return { replicaId, source: round(), both: round(), contents: round(), found: 0, healed: 0 };
}

/** Whether a value from a file is a {@linkcode PatrolState}. */
export function isPatrolState(value: unknown): value is PatrolState {
  const state = value as PatrolState | null;
  return typeof state?.replicaId === "string" && isCount(state.found) && isCount(state.healed) &&
    isRound(state.source) && isRound(state.both) && isRound(state.contents);
}

function isRound(round: Round | undefined): boolean {
  return round !== undefined && round !== null && isCount(round.startedAtMs) && isCount(round.doneAtMs) &&
    isCount(round.passed) && (round.directory === undefined || typeof round.directory === "string") &&
    (round.file === undefined || (typeof round.file.name === "string" && isCount(round.file.offset)));
}

function isCount(value: unknown): boolean {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}
