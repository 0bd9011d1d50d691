/**
 * Which accounts of a machine a set needs: those that own something in it or that lists name, their groups, and users
 * that were asked for by name. Pure.
 * @module
 */
import { type Accounts, accountsSize, type GroupAccount, type UserAccount } from "../base/accounts.ts";
import { limits } from "../base/limits.ts";
import type { LocalAccounts } from "./account_files.ts";

/** What is needed of them. */
export interface NeededAccounts {
  users: ReadonlySet<number>;
  groups: ReadonlySet<number>;
  /** Names of users that are needed, too. */
  extraUsers: readonly string[];
}

/** Accounts, and what is to be said about them. */
export interface CollectedAccounts {
  accounts: Accounts;
  /** Extra users that the machine does not have. */
  missingUsers: string[];
  /** Accounts that are too many for one message (`limits.accountsSizeMax`): they do not travel. */
  leftOutCount: number;
}

/** Takes from a machine's accounts what is needed. */
export function collectAccounts(
  local: LocalAccounts,
  { users: uids, groups: gids, extraUsers }: NeededAccounts,
  { machine, at }: Pick<Accounts, "machine" | "at">,
): CollectedAccounts {
  const extra = new Set(extraUsers);
  const users = local.users.filter(({ name, uid }) => uids.has(uid) || extra.has(name))
    .map((user) => withHash(user, local.hashes));
  const names = new Set(users.map(({ name }) => name));
  const primary = new Set(users.map(({ gid }) => gid));
  const groups = local.groups
    .map(({ name, gid, members }) => ({ name, gid, members: members.filter((member) => names.has(member)) }))
    .filter(({ gid, members }) => gids.has(gid) || primary.has(gid) || members.length > 0);
  const fitting = fit([...users].sort(byName), groups.sort(byName));
  const knownUids = new Set(local.users.map(({ uid }) => uid));
  const knownGids = new Set(local.groups.map(({ gid }) => gid));
  const unknown = (seen: ReadonlySet<number>, known: Set<number>) =>
    [...seen].filter((id) => !known.has(id)).sort((a, b) => a - b).slice(0, limits.unknownOwnersMax);
  return {
    accounts: {
      machine,
      at,
      ...fitting,
      unknownUids: unknown(uids, knownUids),
      unknownGids: unknown(gids, knownGids),
    },
    missingUsers: extraUsers.filter((name) => !names.has(name)),
    leftOutCount: users.length + groups.length - fitting.users.length - fitting.groups.length,
  };
}

/**
 * Root's password stays where it is: whoever can read a replica is not to become root here. No password at all does not
 * travel, either: it would let everybody in on a machine that may be less closed than the source.
 */
function withHash(user: UserAccount, hashes: Map<string, string> | undefined): UserAccount {
  const hash = user.uid === 0 ? undefined : hashes?.get(user.name);
  return hash ? { ...user, hash } : user;
}

/** What fits one message, groups first: users need them. */
function fit(users: UserAccount[], groups: GroupAccount[]): { users: UserAccount[]; groups: GroupAccount[] } {
  let left: number = limits.accountsSizeMax;
  const take = <T>(account: T) => (left -= accountsSize(account)) >= 0;
  const fitting = groups.filter(take);
  return { groups: fitting, users: users.filter(take) };
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}
