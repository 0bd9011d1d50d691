/**
 * The accounts of a promoted replica's source: rebuilt on this machine, and where their numbers had to be others than
 * there, the replica's files are given to them.
 * @module
 */
import { join } from "node:path";
import type { Accounts } from "../base/accounts.ts";
import { CommandError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { type AssignedOwners, assignOwners } from "../identity/assign_owners.ts";
import { type AccountsReport, rebuildAccounts } from "../identity/rebuild.ts";
import { loadPromotion, markPromoted } from "../store/promotion.ts";
import { TARGET_STATE_NAME } from "../store/state_directory.ts";
import type { OwnerMap } from "../sys/ownership.ts";
import { systemFileSystem } from "../sys/system.ts";
import type { ReplicaPlaces } from "../target/places.ts";
import { readReplicaAccounts } from "../target/replica.ts";
import { isWhole, MADE_ACCOUNTS_NAME, printAccounts } from "./rebuilding.ts";
import type { Io } from "./mode.ts";

/** Which replica, and how. */
export interface PromotedAccountsOptions {
  name: string;
  places: ReplicaPlaces;
  /** State directory of the server: it remembers which accounts were made here. */
  state: string;
  /** Accounts that were not made by Understudy are changed, too. */
  force: boolean;
}

/** What came of it. */
export interface PromotedAccounts extends AccountsReport {
  /** Of the replica's files. */
  assigned: AssignedOwners;
}

/** The accounts of a replica. @throws {CommandError} If it keeps none: then they cannot be rebuilt. */
export function accountsOf({ name, places }: Pick<PromotedAccountsOptions, "name" | "places">): Accounts {
  const accounts = readReplicaAccounts(places);
  if (accounts) return accounts;
  throw new CommandError(`Cannot rebuild accounts of ${quote(name)}: it keeps none of its source`);
}

/**
 * Rebuilds accounts, and gives the replica's files to them. Once more changes nothing.
 *
 * @throws {CommandError} If this machine's accounts cannot be read, or files were given to others by half before.
 */
export async function promoteAccounts(
  accounts: Accounts,
  { name, places, state, force }: PromotedAccountsOptions,
  signal: AbortSignal,
): Promise<PromotedAccounts> {
  const report = await rebuildAccounts(accounts, { madePath: join(state, MADE_ACCOUNTS_NAME), force });
  const promotion = loadPromotion(places.stateDirectory)!;
  if (promotion.owners?.state === "given") return { ...report, assigned: { changedCount: 0, problems: [] } };
  const map = promotion.owners?.map ?? report.owners;
  if (promotion.owners && !canBeRepeated(map)) {
    throw new CommandError(
      `Cannot give the files of ${quote(name)} to its users: that was broken off before, ` +
        `and numbers of the source are numbers of others here; use chown(1) by the map in promoted.json`,
    );
  }
  // Before the first file: whoever sends the replica back must know.
  markPromoted(places.stateDirectory, { ...promotion, owners: { map, state: "under way" } });
  using tree = systemFileSystem().openTree(places.replicaRoot, { confined: true });
  const isExcluded = (path: string) => path === TARGET_STATE_NAME;
  const assigned = await assignOwners(tree, map, { signal, isExcluded });
  tree.syncAll();
  markPromoted(places.stateDirectory, { ...promotion, owners: { map, state: "given" } });
  return { ...report, assigned };
}

/** Whether no number is both one of the source that is mapped and one that another is mapped to. */
function canBeRepeated({ users, groups }: OwnerMap): boolean {
  return [users, groups].every((pairs) => {
    const from = new Set(pairs.map(([source]) => source));
    return pairs.every(([_, here]) => !from.has(here));
  });
}

/** Tells what was done; gives whether all is as on the source. */
export function tellAccounts(accounts: PromotedAccounts, io: Io): boolean {
  printAccounts(accounts, { dryRun: false }, io);
  const { changedCount, problems } = accounts.assigned;
  if (changedCount > 0) {
    io.stdout(`gave ${changedCount} files to users with other numbers than on the source\n`);
  }
  for (const { path, reason } of problems) {
    io.stderr(`understudy: Cannot give ${quote(path)} to its owner: ${reason}\n`);
  }
  return isWhole(accounts) && problems.length === 0;
}
