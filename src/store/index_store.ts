/**
 * The index of one target on the source's disk (docs/DISK.md, "Index"): SQLite in WAL mode, three tables.
 *
 * ```
 * entry      id ▸ row          layout in index_row.ts; a move is one row
 * signature  id ▸ block size, file size, hashes
 * meta       key ▸ value       streamId, targetId, … of the caller; savedSequence of ours
 * ```
 *
 * A save is one transaction: rows and `savedSequence` become true together or not at all, so the file always holds the
 * index as of `savedSequence`, whole. Power loss may take the last saves back unless they were durable, never a part of one.
 * Nothing is repaired here: a file that is not what was written is a {@linkcode CorruptionError}, and the caller
 * starts over with a mirror after {@linkcode removeIndexStore}.
 * @module
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { CommandError, CorruptionError, reasonOf, TransientError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { Signature } from "../ops/held.ts";
import {
  decodeIndexRow,
  encodeIndexRow,
  type IndexChange,
  type IndexRow,
  type PersistentIndex,
} from "./index_row.ts";

/** Number of the schema; another one is refused. */
export const INDEX_SCHEMA_VERSION = 1;

/** "UIDX": a database of something else is refused. */
const APPLICATION_ID = 0x55494458;

/** Rows of one SQL statement: five times as fast as one by one. */
const ROWS_PER_STATEMENT = 64;
const ROWS_PER_READ = 512;

const SQLITE_BUSY = 5;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  BEGIN;
  CREATE TABLE entry (id INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT;
  CREATE TABLE signature (
    id INTEGER PRIMARY KEY, block_size INTEGER NOT NULL, file_size INTEGER NOT NULL, hashes BLOB NOT NULL
  ) STRICT;
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO meta VALUES ('savedSequence', '0');
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${INDEX_SCHEMA_VERSION};
  COMMIT;
`;

/** How a save is made. */
export interface IndexSaveOptions {
  /** The save survives power loss; otherwise only the death of this process. @default {false} */
  durable?: boolean;
  /** Keys and values to be stored with it, for example `streamId`; keys not named stay as they are. */
  meta?: Readonly<Record<string, string>>;
}

/** What a save did. */
export interface IndexSaveResult {
  rowsWritten: number;
  rowsDeleted: number;
  signaturesWritten: number;
}

/**
 * Opens the index at `path`, or makes a new one if there is no file or an empty one.
 *
 * @throws {CorruptionError} If the file is not an index of this schema, or is damaged.
 * @throws {TransientError} If the disk is full or busy.
 * @throws {CommandError} If it cannot be opened for another reason.
 */
export function openIndexStore(path: string): IndexStore {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    // Statements are run prepared: only then do errors carry SQLite's code.
    database.prepare("PRAGMA cache_size = -8192").run();
    prepareSchema(database, path);
    return new IndexStore(database, path);
  } catch (error) {
    database?.close();
    throw storeError("open", path, error);
  }
}

/** Removes the files of an index. Nothing happens if there are none. */
export function removeIndexStore(path: string): void {
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      Deno.removeSync(path + suffix);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** An open index on disk. One process at a time; the caller holds the lock of the state directory. */
export class IndexStore implements Disposable {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #statements = new Map<string, StatementSync>();

  /** Use {@linkcode openIndexStore}. */
  constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
  }

  /** A value stored with the last save: one of the caller's, or `savedSequence`. */
  meta(key: string): string | undefined {
    const row = this.#run("read", () => this.#statement("SELECT value FROM meta WHERE key = ?").get(key));
    return row?.value as string | undefined;
  }

  /**
   * Fills the index with what was last saved. From then on `save` writes only what differs, and saved signatures are
   * read from here.
   *
   * @throws {CorruptionError} If a row is damaged, or the rows are not one whole tree. The index is empty then.
   */
  load(index: PersistentIndex): void {
    try {
      const lastId = this.#run(
        "load",
        () => this.#statement("SELECT max(id) AS last FROM entry").get()!.last,
      );
      index.beginRestore((lastId ?? 0) as number);
      const savedSequence = this.#savedSequence();
      this.#run("load", () => this.#loadRows(index));
      const wrong = index.finishRestore(savedSequence);
      if (wrong !== undefined) throw this.#corrupt(wrong);
    } catch (error) {
      index.clear();
      throw error;
    }
    index.readSignaturesWith((id) => this.#signature(id));
  }

  /**
   * Writes all rows that differ from the index as of its acked sequence, and that sequence as `savedSequence`, in one
   * transaction. If it throws nothing was saved, and the next save writes it all.
   *
   * @throws {TransientError} If the disk is full or busy.
   * @throws {CorruptionError} If the database is damaged.
   */
  save(index: PersistentIndex, options: IndexSaveOptions = {}): IndexSaveResult {
    // In WAL mode NORMAL syncs only at checkpoints, FULL at each commit.
    this.#run(
      "save",
      () => this.#execute(`PRAGMA synchronous = ${options.durable ? "FULL" : "NORMAL"}`),
    );
    const result = this.#transaction("save", () => {
      if (index.startsOver) this.#empty();
      const written = this.#writeChanges(index.changes());
      const meta = { ...options.meta, savedSequence: String(index.acknowledged) };
      for (const [key, value] of Object.entries(meta)) this.#setMeta(key, value);
      return written;
    });
    // Not before the commit: until then the changes are the index's to keep.
    index.changesSaved();
    index.readSignaturesWith((id) => this.#signature(id));
    return result;
  }

  /** Empties the store, meta included. Durable. */
  reset(): void {
    this.#run("reset", () => this.#execute("PRAGMA synchronous = FULL"));
    this.#transaction("reset", () => {
      this.#empty();
      this.#execute("DELETE FROM meta");
      this.#setMeta("savedSequence", "0");
    });
  }

  /** Closes the database; what was saved stays. A second call does nothing. */
  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #savedSequence(): number {
    const value = this.meta("savedSequence");
    const sequence = Number(value);
    if (value === undefined || !Number.isSafeInteger(sequence) || sequence < 0) {
      throw this.#corrupt(`the saved sequence is ${quote(value ?? "missing")}`);
    }
    return sequence;
  }

  #loadRows(index: PersistentIndex): void {
    const select = this.#statement(
      `SELECT id, row FROM entry WHERE id > ? ORDER BY id LIMIT ${ROWS_PER_READ}`,
    );
    let last = -1;
    while (true) {
      const rows = select.all(last) as { id: number; row: Uint8Array }[];
      if (rows.length === 0) return;
      for (const { id, row } of rows) index.restoreRow(id, this.#decode(id, row));
      last = rows[rows.length - 1].id;
    }
  }

  #decode(id: number, bytes: Uint8Array): IndexRow {
    try {
      return decodeIndexRow(id, bytes);
    } catch (error) {
      throw this.#corrupt(`row ${id}: ${reasonOf(error)}`);
    }
  }

  #signature(id: number): Signature | undefined {
    const row = this.#run("read", () => this.#statement("SELECT * FROM signature WHERE id = ?").get(id));
    if (row === undefined) return undefined;
    const signature = {
      blockSize: row.block_size as number,
      fileSize: row.file_size as number,
      hashes: row.hashes as Uint8Array,
    };
    const size = Math.ceil(signature.fileSize / signature.blockSize) * 16;
    if (signature.hashes.length !== size) {
      throw this.#corrupt(`signature ${id} has ${signature.hashes.length} bytes instead of ${size}`);
    }
    return signature;
  }

  #writeChanges(changes: Iterable<IndexChange>): IndexSaveResult {
    const result: IndexSaveResult = { rowsWritten: 0, rowsDeleted: 0, signaturesWritten: 0 };
    let rows: (number | Uint8Array)[] = [];
    let deleted: number[] = [];
    for (const change of changes) {
      if (change.kind === "write") {
        rows.push(change.id, encodeIndexRow(change.row));
        result.rowsWritten++;
        if (this.#writeSignature(change.id, change.signature)) result.signaturesWritten++;
      } else if (change.kind === "delete") {
        deleted.push(change.id);
        result.rowsDeleted++;
      } else if (this.#distrust(change.id)) {
        result.rowsWritten++;
      }
      if (rows.length === 2 * ROWS_PER_STATEMENT) rows = this.#upsert(rows);
      if (deleted.length === ROWS_PER_STATEMENT) deleted = this.#delete(deleted);
    }
    if (rows.length > 0) this.#upsert(rows);
    if (deleted.length > 0) this.#delete(deleted);
    return result;
  }

  /** @returns A fresh array for the next rows. */
  #upsert(rows: (number | Uint8Array)[]): [] {
    const places = Array(rows.length / 2).fill("(?,?)").join(",");
    this.#statement(`INSERT OR REPLACE INTO entry VALUES ${places}`).run(...rows);
    return [];
  }

  /** @returns A fresh array for the next ids. */
  #delete(ids: number[]): [] {
    const places = Array(ids.length).fill("?").join(",");
    this.#statement(`DELETE FROM entry WHERE id IN (${places})`).run(...ids);
    this.#statement(`DELETE FROM signature WHERE id IN (${places})`).run(...ids);
    return [];
  }

  #writeSignature(id: number, signature: Signature | null | undefined): boolean {
    if (signature === undefined) return false;
    if (signature === null) {
      this.#statement("DELETE FROM signature WHERE id = ?").run(id);
      return false;
    }
    this.#statement("INSERT OR REPLACE INTO signature VALUES (?, ?, ?, ?)")
      .run(id, signature.blockSize, signature.fileSize, signature.hashes);
    return true;
  }

  #distrust(id: number): boolean {
    const found = this.#statement("SELECT row FROM entry WHERE id = ?").get(id);
    if (found === undefined) return false;
    const row = this.#decode(id, found.row as Uint8Array);
    this.#upsert([id, encodeIndexRow({ ...row, trusted: false })]);
    return true;
  }

  #empty(): void {
    this.#execute("DELETE FROM entry");
    this.#execute("DELETE FROM signature");
  }

  #setMeta(key: string, value: string): void {
    this.#statement("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(key, value);
  }

  #execute(sql: string): void {
    this.#statement(sql).run();
  }

  /** Prepares each statement once. */
  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, statement = this.#database.prepare(sql));
    return statement;
  }

  #transaction<T>(verb: string, run: () => T): T {
    return this.#run(verb, () => {
      this.#execute("BEGIN IMMEDIATE");
      try {
        const result = run();
        this.#execute("COMMIT");
        return result;
      } catch (error) {
        // SQLite rolls back by itself after some failures (a full disk), after others not.
        if (this.#database.isTransaction) this.#execute("ROLLBACK");
        throw error;
      }
    });
  }

  #run<T>(verb: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      throw storeError(verb, this.#path, error);
    }
  }

  #corrupt(state: string): CorruptionError {
    return new CorruptionError(`Cannot use index ${quote(this.#path)}: ${state}`);
  }
}

function prepareSchema(database: DatabaseSync, path: string): void {
  const pragma = (name: string) => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  const isNew = pragma("user_version") === 0 && pragma("application_id") === 0 &&
    database.prepare("SELECT count(*) AS count FROM sqlite_schema").get()!.count === 0;
  if (isNew) return database.exec(SCHEMA);
  const refuse = (state: string) => {
    throw new CorruptionError(`Cannot open index ${quote(path)}: ${state}`);
  };
  if (pragma("application_id") !== APPLICATION_ID) refuse("it is another program's database");
  const version = pragma("user_version");
  if (version !== INDEX_SCHEMA_VERSION) {
    refuse(`its schema is version ${version}, not ${INDEX_SCHEMA_VERSION}`);
  }
  // Signatures are left out: they may be gigabytes, and a wrong one costs a block sent again.
  for (const table of ["entry", "meta"]) {
    const verdict = pragma(`quick_check('${table}')`);
    if (verdict !== "ok") refuse(String(verdict));
  }
}

/** Sorts what SQLite throws into our classes of trouble; ours pass. */
function storeError(verb: string, path: string, error: unknown): unknown {
  const { code: name, errcode } = error as { code?: unknown; errcode?: unknown };
  if (name !== "ERR_SQLITE_ERROR") return error;
  // Without a code it is the opening itself that failed, or a statement could not be prepared.
  const unreadable = /malformed|not a database/.test(reasonOf(error)) ? SQLITE_CORRUPT : 0;
  const code = typeof errcode === "number" ? errcode : unreadable;
  const message = `Cannot ${verb} index ${quote(path)}: ${reasonOf(error)}`;
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return new CorruptionError(message, { cause: error });
    case SQLITE_BUSY:
    case SQLITE_IOERR:
    case SQLITE_FULL:
      return new TransientError(message, { cause: error });
    default:
      return new CommandError(message, { cause: error });
  }
}
