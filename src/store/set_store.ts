/**
 * The rules of a set on the source's disk (docs/DISK.md, "Set"): SQLite, two tables.
 *
 * ```
 * line   position, text, origin, given     the set's text, line by line
 * meta   name, value                       given, oneFileSystem, targets: as at the last start
 * ```
 *
 * Every change is one transaction and survives power loss when its method returns. Texts are stored as raw bytes: not
 * every rule is Unicode.
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { CorruptionError, reasonOf, TransientError } from "../base/errors.ts";
import { pathFromBytes, pathToBytes, quote } from "../base/path.ts";
import type { SetLine } from "../rules/set_lines.ts";

/** Number of the schema; another one is refused. */
export const SET_SCHEMA_VERSION = 1;

/** "USET": a database of something else is refused. */
const APPLICATION_ID = 0x55534554;

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  BEGIN;
  CREATE TABLE line (
    position INTEGER PRIMARY KEY, text BLOB NOT NULL, origin BLOB NOT NULL, given INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SET_SCHEMA_VERSION};
  COMMIT;
`;

const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/**
 * Opens the rules of a set, or makes a new database if there is none.
 *
 * @throws {CorruptionError} If the file is damaged, or another program's.
 * @throws {TransientError} If it cannot be read or written now.
 */
export function openSetStore(path: string): SetStore {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 5_000 });
    prepareSchema(database, path);
    return new SetStore(database, path);
  } catch (error) {
    database?.close();
    throw storeError("open", path, error);
  }
}

/**
 * What is remembered beside the text: what was given at the last start at which anything was, how it is bounded, targets
 * and those of them that were connected while the source ran, when a change counts as committed.
 */
export type SetMeta = "given" | "oneFileSystem" | "targets" | "connected" | "commit";

/** The rules of one set. */
export class SetStore implements Disposable {
  readonly #database: DatabaseSync;
  readonly #path: string;

  /** Use {@linkcode openSetStore}. */
  constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
  }

  /** The set's text. */
  lines(): SetLine[] {
    return this.#run("read", () => {
      const rows = this.#database.prepare("SELECT text, origin, given FROM line ORDER BY position").all();
      return rows.map(({ text, origin, given }) => ({
        text: pathFromBytes(text as Uint8Array),
        origin: pathFromBytes(origin as Uint8Array),
        isGiven: given === 1,
      }));
    });
  }

  /** A value that was remembered under this name. */
  meta(name: SetMeta): string | undefined {
    return this.#run("read", () => {
      const row = this.#database.prepare("SELECT value FROM meta WHERE name = ?").get(name);
      return row && pathFromBytes(row.value as Uint8Array);
    });
  }

  /** Remembers a value. Survives power loss. */
  saveMeta(name: SetMeta, value: string): void {
    this.#run("save", () => {
      this.#database.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(name, pathToBytes(value));
    });
  }

  /** Replaces the whole text, and with it what was given if `given` is told. Survives power loss. */
  save(lines: readonly SetLine[], given?: string): void {
    this.#run("save", () => {
      this.#database.exec("BEGIN IMMEDIATE");
      try {
        this.#database.exec("DELETE FROM line");
        const insert = this.#database.prepare("INSERT INTO line VALUES (?, ?, ?, ?)");
        for (const [i, { text, origin, isGiven }] of lines.entries()) {
          insert.run(i + 1, pathToBytes(text), pathToBytes(origin), isGiven ? 1 : 0);
        }
        if (given !== undefined) this.saveMeta("given", given);
        this.#database.exec("COMMIT");
      } catch (error) {
        if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
        throw error;
      }
    });
  }

  /** Closes the file. */
  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #run<T>(verb: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw storeError(verb, this.#path, error);
    }
  }
}

function prepareSchema(database: DatabaseSync, path: string): void {
  database.exec("PRAGMA synchronous = FULL");
  const pragma = (name: string) => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  const isNew = pragma("user_version") === 0 && pragma("application_id") === 0 &&
    database.prepare("SELECT count(*) AS count FROM sqlite_schema").get()!.count === 0;
  if (isNew) return database.exec(SCHEMA);
  const refuse = (state: string) => {
    throw new CorruptionError(`Cannot open set ${quote(path)}: ${state}`);
  };
  if (pragma("application_id") !== APPLICATION_ID) refuse("it is another program's database");
  const version = pragma("user_version");
  if (version !== SET_SCHEMA_VERSION) refuse(`its schema is version ${version}, not ${SET_SCHEMA_VERSION}`);
  const verdict = pragma("quick_check");
  if (verdict !== "ok") refuse(String(verdict));
}

/** Makes one of our errors of one of SQLite's; others stay what they are. */
function storeError(verb: string, path: string, error: unknown): unknown {
  const { code: name, errcode } = error as { code?: unknown; errcode?: unknown };
  if (name !== "ERR_SQLITE_ERROR") return error;
  const message = `Cannot ${verb} set ${quote(path)}: ${reasonOf(error)}`;
  const code = typeof errcode === "number" ? errcode & 0xff : 0;
  const isDamaged = code === SQLITE_CORRUPT || code === SQLITE_NOTADB ||
    /malformed|not a database/.test(reasonOf(error));
  return new (isDamaged ? CorruptionError : TransientError)(message, { cause: error });
}
