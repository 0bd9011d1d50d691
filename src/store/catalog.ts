/**
 * The catalog of a replica: what the target knows about it, in SQLite (docs/DISK.md, "Catalog").
 *
 * ```
 * meta       name, value            format, replicaId, streamId, durableSequence, clean, compareAll, rootIdentity, receivedAt,
 *                                   accounts
 * touched    path, sequence, …      paths that ops changed and that the source's index may not know yet
 * failures   sequence, path, …      ops that failed and that the source's index may not know yet
 * transfers  id, path, base, …      files in transfer, and where their bytes are staged
 * patches    journal, path          announced: in-place patches to redo after a crash
 * exchanges  sequence, identities   announced: exchanges, so that a replay can tell whether they were done
 * ```
 *
 * What must hold here:
 * - Every transaction survives power loss when its method returns (WAL, `synchronous=FULL`).
 * - `durableSequence` is written in the same transaction as everything that follows from the ops up to it.
 * - Paths are stored as raw bytes: not every path is Unicode.
 * @module
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { type Accounts, checkAccounts } from "../base/accounts.ts";
import { CorruptionError, errorCode, ProtocolError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { pathFromBytes, pathToBytes, quote } from "../base/path.ts";
import type { TransferBase } from "../ops/op.ts";
import type {
  Announcement,
  CatalogMeta,
  CatalogNotes,
  ExchangeRow,
  FailureRow,
  GroupRecord,
  PatchRow,
  TouchedRow,
  TransferRow,
} from "./catalog_rows.ts";
import { guarded } from "./catalog_trouble.ts";

export type {
  Announcement,
  CatalogMeta,
  CatalogNotes,
  ExchangeRow,
  FailureRow,
  GroupRecord,
  PatchRow,
  TouchedRow,
  TransferRow,
  WaitingNote,
} from "./catalog_rows.ts";

/** Version of the tables. A catalog of another one is not opened. */
const FORMAT = "1";

const SCHEMA = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE touched (path BLOB PRIMARY KEY, sequence INTEGER NOT NULL, recursive INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE failures (sequence INTEGER PRIMARY KEY, path BLOB NOT NULL, op TEXT NOT NULL, code TEXT NOT NULL,
  reason TEXT NOT NULL);
CREATE TABLE transfers (id INTEGER PRIMARY KEY, path BLOB NOT NULL, base TEXT NOT NULL, staged TEXT NOT NULL,
  identity TEXT NOT NULL, size INTEGER NOT NULL, failureCode TEXT NOT NULL, failureReason TEXT NOT NULL);
CREATE TABLE patches (journal TEXT PRIMARY KEY, path BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE exchanges (sequence INTEGER PRIMARY KEY, fromIdentity TEXT NOT NULL, toIdentity TEXT NOT NULL);
`;

/** The durable memory of one replica. One process has it open at a time (`replica.lock`). */
export class Catalog {
  readonly path: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Upper bound of the number of touched rows. */
  #touchedCount: number;
  #failureCount: number;
  /** Touched rows up to here may go, with the next transaction. */
  #indexedSequence = 0;
  #meta: CatalogMeta;

  private constructor(path: string, database: DatabaseSync) {
    this.path = path;
    this.#database = database;
    this.#meta = this.#loadMeta();
    this.#touchedCount = this.#count("touched");
    this.#failureCount = this.#count("failures");
  }

  /**
   * Opens the catalog at `path`, or makes a new one there with a new replica identity.
   *
   * @throws {CorruptionError} If the file is not a catalog of this format.
   * @throws {SystemError} `ENOSPC`, `EIO` or `EROFS` if the disk does not do its part.
   */
  static open(path: string): Catalog {
    return guarded(path, () => {
      const database = new DatabaseSync(path);
      try {
        // WAL: one sync a commit. FULL: that sync happens before the commit returns.
        database.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000");
        if (tableCount(database) === 0) createTables(database);
        return new Catalog(path, database);
      } catch (error) {
        database.close();
        throw error;
      }
    });
  }

  /** The facts as they are on disk. */
  get meta(): Readonly<CatalogMeta> {
    return this.#meta;
  }

  /** Writes some facts. Survives power loss afterwards. */
  setMeta(change: Partial<CatalogMeta>): void {
    this.#transaction(() => this.#putMeta(change));
  }

  /** Accounts of the source, as it last told them; `undefined` if it never did. */
  get accounts(): Accounts | undefined {
    const [row] = this.#all("SELECT value FROM meta WHERE name = 'accounts'");
    return row && parseAccounts(this.path, row.value as string);
  }

  /** Keeps the accounts of the source in place of those before. Survives power loss afterwards. */
  setAccounts(accounts: Accounts): void {
    this.#transaction(() =>
      this.#run("INSERT OR REPLACE INTO meta VALUES ('accounts', ?)", JSON.stringify(accounts))
    );
  }

  /** Remembers something with the next transaction. */
  note(notes: Partial<CatalogNotes>): void {
    this.#notes = { ...this.#notes, ...notes };
  }

  /** Writes what was noted, if anything was. Survives power loss afterwards. */
  saveNotes(): void {
    if (Object.keys(this.#notes).length > 0) this.#transaction(() => {});
  }

  /** What was noted and written. */
  notes(): CatalogNotes {
    const rows = this.#all("SELECT name, value FROM meta WHERE name IN ('waiting', 'connectedUntil')");
    const values = new Map(rows.map(({ name, value }) => [name, JSON.parse(value as string)]));
    return { waiting: values.get("waiting"), connectedUntil: values.get("connectedUntil") ?? "" };
  }

  /** Starts a stream: sequence 0, nothing touched, nothing failed, no transfer, no announcement. */
  begin(streamId: string): void {
    this.#transaction(() => {
      this.#database.exec(
        "DELETE FROM touched; DELETE FROM failures; DELETE FROM transfers; DELETE FROM patches; DELETE FROM exchanges",
      );
      this.#putMeta({ streamId, durableSequence: 0 });
    });
    this.#touchedCount = this.#failureCount = this.#indexedSequence = 0;
  }

  /** Says what a group is about to do to the live tree. Survives power loss afterwards. */
  announce({ touched, patches, exchanges }: Announcement): void {
    this.#transaction(() => {
      this.#putTouched(touched);
      for (const { journal, path } of patches) {
        this.#run("INSERT OR REPLACE INTO patches VALUES (?, ?)", journal, pathToBytes(path));
      }
      for (const { sequence, fromIdentity, toIdentity } of exchanges) {
        this.#run("INSERT OR REPLACE INTO exchanges VALUES (?, ?, ?)", sequence, fromIdentity, toIdentity);
      }
    });
  }

  /** Says that a group is done. Its announcement ends. Survives power loss afterwards. */
  record({ durableSequence, touched, failures, transfers }: GroupRecord): void {
    this.#transaction(() => {
      this.#forgetIndexed();
      this.#putTouched(touched);
      this.#putFailures(failures);
      if (transfers !== undefined) this.#putTransfers(transfers);
      this.#run("DELETE FROM patches");
      // A group after a crash may be shorter than the one that the crash cut short.
      this.#run("DELETE FROM exchanges WHERE sequence <= ?", durableSequence);
      this.#putMeta({ durableSequence, receivedAt: new Date().toISOString() });
      this.#boundRows();
    });
  }

  /** Touched and failed paths up to `sequence` need not be remembered. Takes effect with the next transaction. */
  forgetTouched(sequence: number): void {
    this.#indexedSequence = Math.max(this.#indexedSequence, sequence);
  }

  /** Ends an announced patch after it was redone. Survives power loss afterwards. */
  endPatches(): void {
    this.#transaction(() => this.#database.exec("DELETE FROM patches"));
  }

  /** Up to `count` touched rows above `sequence`, in the order of their paths as bytes, from behind `after`. */
  touched(sequence: number, after: string | undefined, count: number): TouchedRow[] {
    const rows = this.#all(
      `SELECT path, sequence, recursive FROM touched
       WHERE path ${after === undefined ? ">=" : ">"} ? AND sequence > ? ORDER BY path LIMIT ?`,
      pathToBytes(after ?? ""),
      Math.max(sequence, this.#indexedSequence),
      count,
    );
    return rows.map((row) => ({
      path: pathFromBytes(row.path as Uint8Array),
      sequence: row.sequence as number,
      recursive: row.recursive === 1,
    }));
  }

  /** Failures above `sequence`, in order. */
  failures(sequence: number): FailureRow[] {
    return this.#all("SELECT * FROM failures WHERE sequence > ? ORDER BY sequence", sequence).map((row) => ({
      sequence: row.sequence as number,
      path: pathFromBytes(row.path as Uint8Array),
      op: row.op as string,
      code: row.code as string,
      reason: row.reason as string,
    }));
  }

  /** Files in transfer, as of `durableSequence`. */
  transfers(): TransferRow[] {
    return this.#all("SELECT * FROM transfers ORDER BY id").map((row) => ({
      id: row.id as number,
      path: pathFromBytes(row.path as Uint8Array),
      base: row.base as TransferBase,
      staged: row.staged as string,
      identity: row.identity as string,
      size: row.size as number,
      failureCode: row.failureCode as string,
      failureReason: row.failureReason as string,
    }));
  }

  /** Patches that were announced and whose group was not recorded. */
  patches(): PatchRow[] {
    return this.#all("SELECT * FROM patches").map((row) => ({
      journal: row.journal as string,
      path: pathFromBytes(row.path as Uint8Array),
    }));
  }

  /** The announcement of an exchange whose group was not recorded. */
  exchange(sequence: number): ExchangeRow | undefined {
    const [row] = this.#all("SELECT * FROM exchanges WHERE sequence = ?", sequence);
    return row as unknown as ExchangeRow | undefined;
  }

  /** Closes the file. Nothing is written that was not written before. */
  close(): void {
    if (!this.#database.isOpen) return;
    this.#statements.clear();
    this.#database.close();
  }

  #loadMeta(): CatalogMeta {
    const values = new Map<string, string>();
    for (const row of this.#all("SELECT name, value FROM meta")) {
      values.set(row.name as string, row.value as string);
    }
    const format = values.get("format");
    if (format !== FORMAT) {
      throw new CorruptionError(
        `Cannot open catalog ${quote(this.path)}: its format is ${quote(format ?? "")}`,
      );
    }
    const durableSequence = Number(values.get("durableSequence"));
    const replicaId = values.get("replicaId");
    if (!Number.isSafeInteger(durableSequence) || durableSequence < 0 || !replicaId) {
      throw new CorruptionError(`Cannot open catalog ${quote(this.path)}: its facts are not complete`);
    }
    return {
      replicaId,
      streamId: values.get("streamId") ?? "",
      durableSequence,
      clean: values.get("clean") === "true",
      compareAll: values.get("compareAll") === "true",
      rootIdentity: values.get("rootIdentity") ?? "",
      receivedAt: values.get("receivedAt") ?? "",
    };
  }

  /** Only inside a transaction: what is known in memory follows at its end. */
  #putMeta(change: Partial<CatalogMeta>): void {
    for (const [name, value] of Object.entries(change)) {
      this.#run("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, String(value));
    }
    this.#metaInTransaction = { ...this.#metaInTransaction, ...change };
  }

  #metaInTransaction: Partial<CatalogMeta> = {};
  #notes: Partial<CatalogNotes> = {};

  #putTouched(touched: TouchedRow[]): void {
    for (const { path, sequence, recursive } of touched) {
      // Once recursive it stays so, until it is forgotten.
      this.#run(
        `INSERT INTO touched VALUES (?, ?, ?) ON CONFLICT (path) DO UPDATE
         SET sequence = excluded.sequence, recursive = max(recursive, excluded.recursive)`,
        pathToBytes(path),
        sequence,
        recursive ? 1 : 0,
      );
    }
    this.#touchedCount += touched.length;
  }

  #putFailures(failures: FailureRow[]): void {
    for (const { sequence, path, op, code, reason } of failures) {
      this.#run(
        "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?)",
        sequence,
        pathToBytes(path),
        op,
        code,
        reason,
      );
    }
    this.#failureCount += failures.length;
  }

  #putTransfers(transfers: TransferRow[]): void {
    this.#run("DELETE FROM transfers");
    for (const { id, path, base, staged, identity, size, failureCode, failureReason } of transfers) {
      this.#run(
        "INSERT INTO transfers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        id,
        pathToBytes(path),
        base,
        staged,
        identity,
        size,
        failureCode,
        failureReason,
      );
    }
  }

  #forgetIndexed(): void {
    if (this.#indexedSequence === 0) return;
    this.#run("DELETE FROM touched WHERE sequence <= ?", this.#indexedSequence);
    this.#run("DELETE FROM failures WHERE sequence <= ?", this.#indexedSequence);
    this.#touchedCount = this.#count("touched");
    this.#failureCount = this.#count("failures");
    this.#indexedSequence = 0;
  }

  /** Too many rows become one fact: compare everything. */
  #boundRows(): void {
    if (this.#touchedCount > limits.touchedPathsMax) this.#touchedCount = this.#count("touched");
    if (this.#touchedCount <= limits.touchedPathsMax && this.#failureCount <= limits.failuresKeptMax) return;
    this.#database.exec("DELETE FROM touched; DELETE FROM failures");
    this.#touchedCount = this.#failureCount = 0;
    this.#putMeta({ compareAll: true });
  }

  #transaction(body: () => void): void {
    guarded(this.path, () => {
      this.#metaInTransaction = {};
      this.#database.exec("BEGIN IMMEDIATE");
      try {
        body();
        for (const [name, value] of Object.entries(this.#notes)) {
          this.#run("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, JSON.stringify(value));
        }
        this.#database.exec("COMMIT");
        this.#notes = {};
      } catch (error) {
        if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
        throw error;
      }
      this.#meta = { ...this.#meta, ...this.#metaInTransaction };
    });
  }

  #count(table: "touched" | "failures"): number {
    return this.#all(`SELECT count(*) AS count FROM ${table}`)[0].count as number;
  }

  #all(sql: string, ...parameters: Parameter[]): Record<string, unknown>[] {
    return guarded(this.path, () => this.#prepare(sql).all(...parameters));
  }

  #run(sql: string, ...parameters: Parameter[]): void {
    this.#prepare(sql).run(...parameters);
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, statement = this.#database.prepare(sql));
    return statement;
  }
}

/**
 * Accounts of a replica's source, from its catalog, which may be in use: `undefined` if there is no catalog, or the
 * source never told them.
 *
 * @param path Of the catalog: `catalog.sqlite` of the replica's state directory.
 * @throws {CorruptionError} If the file is not a catalog, or what it holds are no accounts.
 */
export function loadAccounts(path: string): Accounts | undefined {
  if (!isThere(path)) return undefined;
  return guarded(path, () => {
    // Not read-only: such a connection would leave its shared memory beside the catalog.
    using database = new DatabaseSync(path, { timeout: 5_000 });
    const row = database.prepare("SELECT value FROM meta WHERE name = 'accounts'").get();
    return row && parseAccounts(path, row.value as string);
  });
}

function parseAccounts(path: string, json: string): Accounts {
  try {
    return checkAccounts(JSON.parse(json));
  } catch (cause) {
    if (!(cause instanceof ProtocolError || cause instanceof SyntaxError)) throw cause;
    throw new CorruptionError(`Cannot use catalog ${quote(path)}: its accounts are none`, { cause });
  }
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    throw error;
  }
}

type Parameter = Uint8Array | string | number | null;

function tableCount(database: DatabaseSync): number {
  return database.prepare("SELECT count(*) AS count FROM sqlite_master").get()!.count as number;
}

function createTables(database: DatabaseSync): void {
  database.exec("BEGIN IMMEDIATE");
  database.exec(SCHEMA);
  const insert = database.prepare("INSERT INTO meta VALUES (?, ?)");
  insert.run("format", FORMAT);
  insert.run("replicaId", crypto.getRandomValues(new Uint8Array(16)).toHex());
  insert.run("durableSequence", "0");
  insert.run("clean", "true");
  database.exec("COMMIT");
}
