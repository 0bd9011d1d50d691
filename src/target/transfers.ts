/**
 * Open transfers: large files that arrive in blocks. A transfer lives across groups, sessions and clean or unclean
 * stops: the catalog names it and its staged bytes as of the last durable op, so a source goes on with the next one.
 * @module
 */
import { SystemError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { TransferBase } from "../ops/op.ts";
import type { TransferRow } from "../store/catalog.ts";
import type { OpenFile } from "../sys/file_system.ts";
import type { Staging } from "./staging.ts";
import { isAbsence, type OpTrouble } from "./trouble.ts";

/**
 * A transfer. Its `file` is open unless it failed, or unless it was *installed*: its `close` made it live, and then a
 * crash came before that was recorded. The replay finds it so, ignores its blocks and has nothing to do at `close`.
 */
export interface Transfer {
  readonly id: number;
  /** Live path when it was opened. `close` says where it goes. */
  readonly path: string;
  readonly base: TransferBase;
  /** Name in staging: the next version, or the journal of a patch. */
  staged: string;
  file: OpenFile | undefined;
  /** Identity of the staged file, `""` if it has none. The live file keeps it. */
  identity: string;
  /** Bytes of the journal of a patch. */
  size: number;
  failure: OpTrouble | undefined;
}

/** The open transfers of a replica. */
export class Transfers {
  readonly #byId = new Map<number, Transfer>();
  #changed = false;

  /** Transfers open now. */
  get count(): number {
    return this.#byId.size;
  }

  get(id: number): Transfer | undefined {
    return this.#byId.get(id);
  }

  /** Ids of all. */
  ids(): number[] {
    return [...this.#byId.keys()];
  }

  /** Adds a transfer; the one of the same id must have been removed. */
  add(transfer: Transfer): void {
    this.#byId.set(transfer.id, transfer);
    this.#changed = true;
  }

  /**
   * Refuses one more transfer at the bound.
   *
   * @throws {SystemError} `EMLINK` if `limits.openTransfersMax` are open.
   */
  checkRoom(): void {
    if (this.#byId.size < limits.openTransfersMax) return;
    throw new SystemError("EMLINK", `Cannot open transfer: ${this.#byId.size} are open`);
  }

  /** Takes a transfer out and closes its file unless `keepOpen`. Its staged name is the caller's. */
  remove(transfer: Transfer, { keepOpen = false } = {}): void {
    if (!keepOpen) transfer.file?.close();
    this.#byId.delete(transfer.id);
    this.#changed = true;
  }

  /** Marks a transfer as failed: its blocks are ignored from here on. Gives the staged name to remove. */
  fail(transfer: Transfer, failure: OpTrouble): string {
    const { staged } = transfer;
    transfer.file?.close();
    Object.assign(transfer, { failure, file: undefined, staged: "" });
    this.#changed = true;
    return staged;
  }

  /** Says that the journal of a patch grew to `size` bytes. */
  grow(transfer: Transfer, size: number): void {
    transfer.size = size;
    this.#changed = true;
  }

  /** Rows for the catalog, or `undefined` if nothing changed since they were last taken. */
  takeRows(): TransferRow[] | undefined {
    if (!this.#changed) return undefined;
    this.#changed = false;
    return [...this.#byId.values()].map(({ id, path, base, staged, identity, size, failure }) => ({
      id,
      path,
      base,
      staged,
      identity,
      size,
      failureCode: failure?.code ?? "",
      failureReason: failure?.reason ?? "",
    }));
  }

  /** Takes the catalog's word for what is open, in place of what was known here. Staged files are opened. */
  load(rows: TransferRow[], staging: Staging): void {
    this.close();
    for (const { failureCode, failureReason, ...row } of rows) {
      const failure = failureCode === "" ? undefined : { code: failureCode, reason: failureReason };
      // A staged file that is gone was installed: nothing else takes it away.
      const file = failure === undefined ? openStaged(staging, row.staged) : undefined;
      this.#byId.set(row.id, { ...row, file, failure });
    }
    this.#changed = false;
  }

  /** Names in staging that open transfers need. */
  stagedNames(): string[] {
    return [...this.#byId.values()].filter(({ file }) => file !== undefined).map(({ staged }) => staged);
  }

  /** Closes all files and forgets all transfers; the catalog still has them. */
  close(): void {
    for (const { file } of this.#byId.values()) file?.close();
    this.#byId.clear();
    this.#changed = false;
  }
}

function openStaged(staging: Staging, name: string): OpenFile | undefined {
  try {
    return staging.tree.open(name, { access: "write" });
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}
