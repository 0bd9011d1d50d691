/**
 * Knows the root of a set from run to run, and decides with the user when another directory stands in its place.
 * @module
 */
import { CommandError } from "../base/errors.ts";
import type { GuardStatus } from "../base/status.ts";
import { exchangedRootStatus, isSameRoot, ROOT_GUARD } from "./root_guard.ts";
import type { RunningSet } from "./running_set.ts";

/** Identity of the root in an earlier run, `undefined` if there was none; and keeps the one of this run. */
export interface RootIdentityRecord {
  known: string | undefined;
  save: (identity: string) => void;
}

/** The root as it is known. */
export class RootIdentity {
  readonly #record: RootIdentityRecord;
  #known: string | undefined;

  constructor(record: RootIdentityRecord) {
    this.#record = record;
    this.#known = record.known;
  }

  /** Whether a root is another directory than the known one. */
  isOther(identity: string): boolean {
    return this.#known !== undefined && !isSameRoot(this.#known, identity);
  }

  /** This is the root from now on, over restarts. */
  save(identity: string): void {
    this.#record.save(identity);
    this.#known = identity;
  }

  /** What waits for a decision, if another directory stands there. */
  status(running: RunningSet | undefined): GuardStatus | undefined {
    if (running?.exchangedSinceMs === undefined) return undefined;
    const sizes = running.replicators.map((replicator) => replicator.entriesHeld);
    return exchangedRootStatus(running.exchangedSinceMs, Math.max(0, ...sizes));
  }

  /**
   * The user decides that the other directory is the root now. The set starts anew with it.
   *
   * @throws {CommandError} If there is nothing to decide, or it was to be refused.
   */
  decide(running: RunningSet | undefined, state: "confirmed" | "refused"): GuardStatus {
    const status = this.status(running);
    if (!status || !running) {
      throw new CommandError(`Cannot decide "${ROOT_GUARD}": the root is the directory that it was`);
    }
    if (state === "refused") {
      throw new CommandError(
        `Cannot refuse "${ROOT_GUARD}": deletions wait by themselves until the old root is back`,
      );
    }
    this.save(running.guard.identity);
    running.end();
    return { ...status, state };
  }
}
