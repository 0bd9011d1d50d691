/**
 * Small files that must survive power loss whole: settings, keys, pointers.
 *
 * Writing order: bytes into a temporary file in the same directory, sync it, rename it over the name, sync the
 * directory. A reader (and a crash) sees the old bytes or the new ones, never a mixture. Reading needs no order.
 * @module
 */
import { CorruptionError, errorCode } from "../base/errors.ts";
import { text, utf8 } from "../base/bytes.ts";
import { quote } from "../base/path.ts";
import { dirname, join } from "node:path";

/** How {@linkcode writeDurably} creates a file. */
export interface WriteDurablyOptions {
  /** Permission bits. @default {0o600} */
  mode?: number;
}

/** Marks names that only exist while a file is being written. */
const TEMPORARY = /\.tmp-[0-9a-f]{12}$/;

/**
 * Replaces a file's contents; survives power loss afterwards. If it throws, the old contents stand (or, after a
 * failed sync of the directory, one of the two).
 */
export function writeDurably(path: string, bytes: Uint8Array, options: WriteDurablyOptions = {}): void {
  const mode = options.mode ?? 0o600;
  const temporary = `${path}.tmp-${crypto.getRandomValues(new Uint8Array(6)).toHex()}`;
  try {
    writeSynced(temporary, bytes, mode);
    Deno.renameSync(temporary, path);
  } catch (error) {
    removeIfThere(temporary);
    throw error;
  }
  // Directory before return: rename(2) alone may vanish.
  syncDirectory(dirname(path));
}

/** Saves a value as JSON, as {@linkcode writeDurably} does. */
export function saveJson(path: string, value: unknown, options: WriteDurablyOptions = {}): void {
  writeDurably(path, utf8(JSON.stringify(value, undefined, 2) + "\n"), options);
}

/**
 * Loads what {@linkcode saveJson} saved; `undefined` if there is no such file.
 *
 * @param isValid Whether the value is what the caller expects there.
 * @throws {CorruptionError} If the file holds anything else.
 */
export function loadJson<T>(path: string, isValid: (value: unknown) => value is T): T | undefined {
  const bytes = readIfThere(path);
  if (bytes === undefined) return undefined;
  const value = parseJson(path, bytes);
  if (!isValid(value)) {
    throw new CorruptionError(`Cannot load ${quote(path)}: its fields are not the expected ones`);
  }
  return value;
}

/** A file's bytes, or `undefined` if there is no such file. */
export function readIfThere(path: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Removes a file; nothing happens if there is none. */
export function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}

/** Names in a directory survive power loss afterwards. Does nothing where a directory cannot be opened (Windows). */
export function syncDirectory(path: string): void {
  if (Deno.build.os === "windows") return;
  using directory = Deno.openSync(path, { read: true });
  directory.syncSync();
}

/**
 * Removes what a killed writer left in a directory. Only for the owner of the directory's lock: another writer's
 * file would be taken from under it.
 *
 * @returns How many files were removed.
 */
export function removeTemporaryFiles(directory: string): number {
  const names = [...Deno.readDirSync(directory)].filter((entry) =>
    entry.isFile && TEMPORARY.test(entry.name)
  );
  for (const { name } of names) removeIfThere(join(directory, name));
  return names.length;
}

function writeSynced(path: string, bytes: Uint8Array, mode: number): void {
  using file = Deno.openSync(path, { write: true, createNew: true, mode });
  // The umask took bits from the mode of the call.
  if (Deno.build.os !== "windows") Deno.chmodSync(path, mode);
  let written = 0;
  while (written < bytes.length) written += file.writeSync(bytes.subarray(written));
  file.syncSync();
}

function parseJson(path: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(text(bytes));
  } catch (cause) {
    // The engine's words would quote the damage itself, line feeds and all.
    throw new CorruptionError(`Cannot load ${quote(path)}: it is not JSON`, { cause });
  }
}
