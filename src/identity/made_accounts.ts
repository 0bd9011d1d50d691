/**
 * Which accounts of this machine Understudy made: `STATE/accounts.json`. Those, and only those, a later run may change
 * without being forced to. An account counts as made when its program has ended well, so that one which a crash hides
 * is taken for somebody else's: the safe side.
 * @module
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { isAccountNumber } from "../base/accounts.ts";
import { loadJson, saveJson } from "../store/durable.ts";
import type { MadeAccounts } from "./plan.ts";

/**
 * Loads the record; an empty one if there is none.
 *
 * @throws {CorruptionError} If the file holds anything else.
 */
export function loadMadeAccounts(path: string): MadeAccounts {
  return loadJson(path, isMadeAccounts) ?? { users: {}, groups: {} };
}

/** Saves the record; it survives power loss afterwards. Makes its directory. */
export function saveMadeAccounts(path: string, made: MadeAccounts): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  saveJson(path, made);
}

function isMadeAccounts(value: unknown): value is MadeAccounts {
  const { users, groups } = (value ?? {}) as Partial<MadeAccounts>;
  return [users, groups].every((part) =>
    typeof part === "object" && part !== null && Object.values(part).every(isAccountNumber)
  );
}
