/**
 * What a restore does about accounts: whom the files belong to, and making their owners.
 * @module
 */
import { join } from "node:path";
import type { Accounts } from "../base/accounts.ts";
import { CommandError, reasonOf } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { ACCOUNTS_DIRECTORY, readAccountFiles } from "../identity/account_files.ts";
import { mapByName } from "../identity/plan.ts";
import {
  type AccountsReport,
  planRebuild,
  rebuildAccounts,
  type RebuildOptions,
} from "../identity/rebuild.ts";
import { stateDirectory } from "../store/state_directory.ts";
import type { OwnerMap } from "../sys/ownership.ts";
import type { Io } from "./mode.ts";
import type { RestoreOptions } from "./restore_options.ts";

/** Name of the record of accounts that Understudy made, in a state directory. */
export const MADE_ACCOUNTS_NAME = "accounts.json";

/** Accounts of one restore. */
export class Rebuilding {
  readonly #options: RestoreOptions;
  readonly #rebuild: RebuildOptions;
  #accounts: Accounts | undefined;
  #owners: OwnerMap = { users: [], groups: [] };

  constructor(options: RestoreOptions, io: Pick<Io, "env">) {
    this.#options = options;
    this.#rebuild = {
      madePath: join(stateDirectory(options.state, io), MADE_ACCOUNTS_NAME),
      force: options.force,
      dryRun: options.dryRun,
    };
  }

  /** Whether the source's accounts must be known before anything is restored. */
  get needsAccounts(): boolean {
    return this.#options.accounts || this.#options.owners === "name";
  }

  /** Numbers that the source's files get here. */
  get owners(): OwnerMap {
    return this.#owners;
  }

  /**
   * Takes the source's accounts: now it is known whom files will belong to.
   *
   * @throws {CommandError} If there are none, or those of this machine cannot be read.
   */
  take(accounts: Accounts | undefined): void {
    if (!accounts) {
      const what = this.#options.accounts ? "accounts" : "owners by name";
      throw new CommandError(`Cannot restore ${what}: the target keeps no accounts of its source`);
    }
    this.#accounts = accounts;
    this.#owners = this.#options.accounts
      ? planRebuild(accounts, this.#rebuild).owners
      : mapByName(accounts, localAccounts());
  }

  /** Rebuilds them, after the files are there. */
  async run(): Promise<AccountsReport> {
    const report = await rebuildAccounts(this.#accounts!, this.#rebuild);
    if (JSON.stringify(report.owners) !== JSON.stringify(this.#owners)) {
      const reason = "the accounts of this machine changed while files were restored: restore once more";
      report.failed.push({ what: "give all files to their owners", reason });
    }
    return report;
  }
}

function localAccounts() {
  try {
    return readAccountFiles(ACCOUNTS_DIRECTORY);
  } catch (cause) {
    throw new CommandError(`Cannot restore owners by name: ${reasonOf(cause)}`, { cause });
  }
}

/** Whether everybody is here under the same number, as on the source. */
export function isWhole({ mapped, kept, failed }: AccountsReport): boolean {
  return mapped.length + kept.length + failed.length === 0;
}

/** Tells what became of accounts: on stdout what was done, on stderr what is not as on the source. */
export function printAccounts(report: AccountsReport, { dryRun }: { dryRun: boolean }, io: Io): void {
  const { done, sameCount, mapped, kept, failed, unknownUids, unknownGids } = report;
  for (const { kind, name, source, here, reason } of mapped) {
    io.stderr(`understudy: mapped ${kind} ${quote(name)} from ${source} to ${here}: ${reason}\n`);
  }
  for (const { kind, name, reason } of kept) {
    io.stderr(`understudy: kept ${kind} ${quote(name)}: ${reason}\n`);
  }
  for (const { what, reason } of failed) io.stderr(`understudy: Cannot ${what}: ${reason}\n`);
  const nameless = [["user", unknownUids], ["group", unknownGids]] as const;
  for (const [kind, numbers] of nameless) {
    if (numbers.length === 0) continue;
    io.stderr(`understudy: kept ${kind} numbers that have no name on the source: ${shown(numbers)}\n`);
  }
  if (dryRun) {
    for (const what of done) io.stdout(`${what}\n`);
    io.stdout(`would do ${done.length} things to accounts\n`);
  } else io.stdout(`rebuilt accounts: ${done.length} changes, ${sameCount} were here already\n`);
}

function shown(numbers: number[]): string {
  return numbers.slice(0, 10).join(", ") + (numbers.length > 10 ? ", …" : "");
}
