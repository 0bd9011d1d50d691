/**
 * Rebuilds a source's accounts on this machine, so that its users can log in here and reach their files. What is done is
 * planned first (`plan.ts`); the system's own programs do it (`programs.ts`).
 * @module
 */
import type { Accounts } from "../base/accounts.ts";
import { CommandError, reasonOf } from "../base/errors.ts";
import type { OwnerMap } from "../sys/ownership.ts";
import { ACCOUNTS_DIRECTORY, readAccountFiles } from "./account_files.ts";
import { loadMadeAccounts, saveMadeAccounts } from "./made_accounts.ts";
import {
  type AccountsPlan,
  type AccountStep,
  type KeptAccount,
  type MappedAccount,
  planAccounts,
} from "./plan.ts";
import { type AccountCommand, commandOf, runAccountCommand } from "./programs.ts";

/** How accounts are rebuilt. */
export interface RebuildOptions {
  /** File that remembers which accounts Understudy made, absolute: `accounts.json` of a state directory. */
  madePath: string;
  /** Change accounts of the same name that Understudy did not make, too; never their numbers. @default {false} */
  force?: boolean;
  /** Plan only. @default {false} */
  dryRun?: boolean;
  /** Where this machine has its accounts. @default {"/etc"} */
  directory?: string;
  /** Runs a program. @default the system's */
  runCommand?: (command: AccountCommand) => Promise<void>;
}

/** What came of it. Also what a dry run would do: then nothing has failed. */
export interface AccountsReport {
  /** Done, in order: `make user "anna" (1001)`. */
  done: string[];
  /** Accounts that were here already, with the same name and number. */
  sameCount: number;
  /** Accounts whose number is another one here. */
  mapped: MappedAccount[];
  /** Accounts that differ and were left as they are. */
  kept: KeptAccount[];
  /** What could not be done; the rest was. */
  failed: { what: string; reason: string }[];
  /** Numbers of the source that own something and have no name there: they stay numbers. */
  unknownUids: number[];
  unknownGids: number[];
  /** Numbers that the source's files get here (`sys/ownership.ts`). */
  owners: OwnerMap;
}

/**
 * Plans what {@linkcode rebuildAccounts} would do now. Changes nothing.
 *
 * @throws {CommandError} If this machine's accounts cannot be read.
 * @throws {CorruptionError} If the record of accounts made here is not one.
 */
export function planRebuild(
  accounts: Accounts,
  { madePath, force = false, directory = ACCOUNTS_DIRECTORY }: RebuildOptions,
): AccountsPlan {
  const withPasswords = accounts.users.some(({ hash }) => hash !== undefined);
  let local;
  try {
    local = readAccountFiles(directory, { withPasswords });
  } catch (cause) {
    throw new CommandError(`Cannot rebuild accounts: ${reasonOf(cause)}`, { cause });
  }
  return planAccounts(accounts, { local, made: loadMadeAccounts(madePath), force });
}

/**
 * Rebuilds a source's accounts here: groups first, then users, memberships and, where they travelled, passwords. Numbers
 * are kept where they are free and mapped where not. What stands already is left alone, unless Understudy made it or
 * `force` is given. Done twice it is the same as once; a step that fails stops no other, save those on its account.
 *
 * @throws {CommandError} If this machine's accounts cannot be read.
 * @throws {CorruptionError} If the record of accounts made here is not one.
 */
export async function rebuildAccounts(accounts: Accounts, options: RebuildOptions): Promise<AccountsReport> {
  const { madePath, dryRun = false, runCommand = runAccountCommand } = options;
  const plan = planRebuild(accounts, options);
  const { sameCount, mapped, kept, owners } = plan;
  const { unknownUids, unknownGids } = accounts;
  const report: AccountsReport = {
    done: [],
    sameCount,
    mapped,
    kept,
    failed: [],
    unknownUids,
    unknownGids,
    owners,
  };
  const made = loadMadeAccounts(madePath);
  /** Users that could not be made: nothing more can be done for them. */
  const missing = new Set<string>();
  for (const step of plan.steps) {
    if (step.do !== "make group" && missing.has(step.name)) continue;
    if (dryRun) {
      report.done.push(describe(step));
      continue;
    }
    try {
      await runCommand(commandOf(step));
      if (step.do === "make group") made.groups[step.name] = step.gid;
      if (step.do === "make user") made.users[step.name] = step.account.uid;
      if (step.do === "make group" || step.do === "make user") saveMadeAccounts(madePath, made);
      report.done.push(describe(step));
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      if (step.do === "make user") missing.add(step.name);
      report.failed.push({ what: describe(step), reason: error.message });
    }
  }
  return report;
}

function describe(step: AccountStep): string {
  const what = `${step.do} "${step.name}"`;
  switch (step.do) {
    case "make group":
      return `${what} (${step.gid})`;
    case "make user":
      return `${what} (${step.account.uid})`;
    case "change user":
      return `${what}: ${step.fields.join(", ")}`;
    case "set groups":
      return `${what}: ${step.groups.join(", ") || "none"}`;
    case "set password":
      return what;
  }
}
