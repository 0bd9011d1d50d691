/**
 * Numbers of a replica, for `status`. Exact since the replica was opened; the two sequences since the stream began.
 * @module
 */
import { type Accounts, type AccountsStatus, accountsStatus } from "../base/accounts.ts";
import type { OpenFileStatus } from "../base/status.ts";
import { type OpKind, opKinds } from "../ops/op.ts";
import type { SequencedOp } from "./apply.ts";

/** What `status` says of a replica. */
export interface ReplicaStats {
  /** Ops done, by kind, failed ones included. */
  opsReceived: Record<OpKind, number>;
  /** File bytes in them. */
  dataBytes: number;
  /** Last op that is visible in the live tree. */
  lastAppliedSequence: number;
  /** Last op that survives power loss. */
  lastDurableSequence: number;
  /** Ops that failed. */
  errors: number;
  /** Why nothing is applied now, or `""`. */
  blockedReason: string;
  /** Accounts of the source that are kept. */
  accounts: AccountsStatus;
}

/** {@linkcode ReplicaStats}, with what is known elsewhere. */
export interface FullReplicaStats extends ReplicaStats {
  /** Files in use that changes wait for, and some of them by name. */
  pendingOpenFiles: number;
  openFiles: OpenFileStatus[];
}

/** Counts what was applied. */
export class ReplicaCounter {
  readonly #stats: ReplicaStats;

  constructor(durableSequence: number, accounts?: Accounts) {
    const opsReceived = Object.fromEntries(opKinds.map((kind) => [kind, 0])) as Record<OpKind, number>;
    this.#stats = {
      opsReceived,
      dataBytes: 0,
      lastAppliedSequence: durableSequence,
      lastDurableSequence: durableSequence,
      errors: 0,
      blockedReason: "",
      accounts: accountsStatus(accounts),
    };
  }

  /** Counts a group that is durable. */
  count(ops: readonly SequencedOp[], failureCount: number): void {
    const stats = this.#stats;
    for (const { op } of ops) {
      stats.opsReceived[op.kind]++;
      if ("data" in op) stats.dataBytes += op.data.length;
    }
    stats.errors += failureCount;
    stats.lastAppliedSequence = stats.lastDurableSequence = ops[ops.length - 1].sequence;
  }

  /** Accounts were kept in place of those before. */
  noteAccounts(accounts: Accounts): void {
    this.#stats.accounts = accountsStatus(accounts);
  }

  /** Sets why nothing is applied now. */
  block(reason: string): void {
    this.#stats.blockedReason = reason;
  }

  /** A stream began, or the catalog was read anew. */
  startFrom(durableSequence: number): void {
    this.#stats.lastAppliedSequence = this.#stats.lastDurableSequence = durableSequence;
  }

  /** The numbers now, as a copy. */
  snapshot(): ReplicaStats {
    return { ...this.#stats, opsReceived: { ...this.#stats.opsReceived } };
  }
}
