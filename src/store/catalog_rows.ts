/**
 * What a catalog holds: rows of its tables, and facts of the whole replica.
 * @module
 */
import type { TransferBase } from "../ops/op.ts";

/** A path that an op changed. */
export interface TouchedRow {
  path: string;
  sequence: number;
  /** Everything below may have changed too. */
  recursive: boolean;
}

/** An op that failed. */
export interface FailureRow {
  sequence: number;
  path: string;
  op: string;
  code: string;
  reason: string;
}

/** A file in transfer. */
export interface TransferRow {
  id: number;
  path: string;
  base: TransferBase;
  /** Name in the staging directory, `""` if there is none because the transfer failed. */
  staged: string;
  /** Identity of the staged file within its file system, `""` if it has none. */
  identity: string;
  /** For a patch: bytes of its journal that count. Else 0. */
  size: number;
  /** Errno's name and reason if it failed, else `""`. */
  failureCode: string;
  failureReason: string;
}

/** An in-place patch that was announced. */
export interface PatchRow {
  /** Name of the journal in the staging directory. */
  journal: string;
  path: string;
}

/** An exchange that was announced, with the identities of the entries before it. */
export interface ExchangeRow {
  sequence: number;
  fromIdentity: string;
  toIdentity: string;
}

/** What must be known durably before a group changes the live tree. */
export interface Announcement {
  touched: TouchedRow[];
  patches: PatchRow[];
  exchanges: ExchangeRow[];
}

/** What a group of ops leaves behind. */
export interface GroupRecord {
  durableSequence: number;
  touched: TouchedRow[];
  failures: FailureRow[];
  /** All open transfers, or `undefined` if they are the same as before. */
  transfers: TransferRow[] | undefined;
}

/** What a source had told of what it had not sent yet. */
export interface WaitingNote {
  changes: number;
  /** ISO 8601; `""` if there were none. */
  since: string;
  isMirrored: boolean;
  /** When it told so. */
  at: string;
}

/** What is worth remembering, but not worth a sync of its own. */
export interface CatalogNotes {
  /** `undefined` if the source never told. */
  waiting: WaitingNote | undefined;
  /** When a session ended last, ISO 8601; `""` if none has. */
  connectedUntil: string;
}

/** Facts of the whole replica. */
export interface CatalogMeta {
  replicaId: string;
  streamId: string;
  durableSequence: number;
  /** The live tree holds nothing beyond `durableSequence`. */
  clean: boolean;
  /** Something may differ beyond the touched paths. */
  compareAll: boolean;
  /** Identity of the live tree's root, `""` if never seen. */
  rootIdentity: string;
  /** When the last group was recorded, by this machine's clock, ISO 8601; `""` if none ever was. */
  receivedAt: string;
}
