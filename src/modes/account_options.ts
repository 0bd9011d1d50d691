/**
 * Options of those who tell accounts, and of those who rebuild them.
 * @module
 */
import { isAccountName } from "../base/accounts.ts";
import type { Clock } from "../base/clock.ts";
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { Log } from "../base/log.ts";
import { AccountWatch } from "../identity/account_watch.ts";
import type { CipherName } from "../wire/cipher.ts";
import { flag, many, type OptionValues } from "./options.ts";

/** The table of the options of a source. */
export const accountTable = {
  "extra-users": many(userNames),
  "with-passwords": flag(),
  "no-accounts": flag(),
};

/** The part of a source's help that the options make. */
export const accountHelp = `\
  --extra-users NAME,…     users whose accounts travel though they own nothing here; owners' accounts always do
  --with-passwords         their password hashes travel, too, but never root's
  --no-accounts            no accounts travel
`;

/** What a source tells of accounts. */
export interface AccountOptions {
  /** Users that are told though they own nothing. */
  extraUsers: string[];
  withPasswords: boolean;
  /** Accounts travel at all. */
  tellsAccounts: boolean;
}

/**
 * Reads what the user chose.
 *
 * @throws {UsageError} If passwords would travel in the clear.
 */
export function accountOptions(
  values: OptionValues<typeof accountTable> & { cipher: CipherName | undefined },
): AccountOptions {
  const tellsAccounts = !values["no-accounts"];
  const withPasswords = tellsAccounts && values["with-passwords"];
  if (withPasswords && values.cipher === "none") {
    throw new UsageError(
      "Cannot use --with-passwords: with --cipher none everybody on the line could read them",
    );
  }
  return { extraUsers: [...new Set(values["extra-users"].flat())], withPasswords, tellsAccounts };
}

/**
 * The accounts that a source tells, `undefined` if none.
 *
 * @param seenPath See `AccountWatchOptions`.
 * @throws {CommandError} If this machine's accounts cannot be read.
 */
export function openAccounts(
  { tellsAccounts, extraUsers, withPasswords }: AccountOptions,
  { clock, log, seenPath }: { clock: Clock; log: Log; seenPath?: string },
): AccountWatch | undefined {
  return tellsAccounts ? new AccountWatch({ extraUsers, withPasswords, seenPath, clock, log }) : undefined;
}

function userNames(text: string): string[] {
  const names = text.split(",");
  const wrong = names.find((name) => !isAccountName(name));
  if (wrong !== undefined) throw new Error(`${quote(wrong)} is no name of a user`);
  return names;
}
