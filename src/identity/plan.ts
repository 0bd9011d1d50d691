/**
 * What rebuilding accounts would do on a machine, as data: `--dry-run` prints it, `rebuild.ts` does it. Pure.
 *
 * | a user or group of the source, by name and number         | what happens                                 |
 * | --------------------------------------------------------- | -------------------------------------------- |
 * | neither is taken here                                     | made with its number                         |
 * | the name has this number here                             | it is the same one                           |
 * | the name has another number here                          | mapped to that number                        |
 * | the name is free, another account has the number          | made with a free number, mapped to that      |
 *
 * What must hold here:
 * - An account that Understudy did not make is not changed without `force`; its number never is, since files of it
 *   would lose their owner.
 * - Number 0 is root's on every machine: it is not made, mapped from, mapped to or changed.
 * - No number is given to two accounts, nor one of the source's numbers to another account than its own.
 * @module
 */
import type { Accounts, GroupAccount, UserAccount } from "../base/accounts.ts";
import type { OwnerMap } from "../sys/ownership.ts";
import type { LocalAccounts } from "./account_files.ts";

/** Accounts that Understudy made on this machine, by name, each with its number. */
export interface MadeAccounts {
  users: Record<string, number>;
  groups: Record<string, number>;
}

/** One change of this machine's accounts. */
export type AccountStep =
  | { do: "make group"; name: string; gid: number }
  /** `account.uid` and `account.gid` are numbers of this machine. */
  | { do: "make user"; name: string; account: UserAccount }
  | { do: "change user"; name: string; account: UserAccount; fields: ("gid" | "gecos" | "home" | "shell")[] }
  /** The user's groups beside the primary one, all of them, by name. */
  | { do: "set groups"; name: string; groups: string[] }
  | { do: "set password"; name: string; hash: string };

/** An account whose number is another one here. */
export interface MappedAccount {
  kind: "user" | "group";
  name: string;
  source: number;
  here: number;
  /** In words. */
  reason: string;
}

/** An account that differs and stays as it is. */
export interface KeptAccount {
  kind: "user" | "group";
  name: string;
  reason: string;
}

/** What will be done, in order, and what follows from it. */
export interface AccountsPlan {
  steps: AccountStep[];
  mapped: MappedAccount[];
  kept: KeptAccount[];
  /** Numbers that files of the source get here. */
  owners: OwnerMap;
  /** Accounts that are here already, with the same name and number. */
  sameCount: number;
}

/** What a plan goes by. */
export interface PlanOptions {
  local: LocalAccounts;
  made: MadeAccounts;
  /** Change accounts of the same name that Understudy did not make, too. */
  force: boolean;
}

/** Below it are numbers that a system gives to its own services (`UID_MIN` of login.defs). */
const ORDINARY_NUMBER_MIN = 1_000;
const ORDINARY_NUMBER_MAX = 60_000;

/** Plans to rebuild a source's accounts. */
export function planAccounts(accounts: Accounts, { local, made, force }: PlanOptions): AccountsPlan {
  const plan: AccountsPlan = {
    steps: [],
    mapped: [],
    kept: [],
    owners: { users: [], groups: [] },
    sameCount: 0,
  };
  const groups = placeAll("group", accounts.groups.map(({ name, gid }) => ({ name, number: gid })), {
    local: local.groups.map(({ name, gid }) => ({ name, number: gid })),
    reserved: [...accounts.unknownGids, ...accounts.users.map(({ gid }) => gid)],
  }, plan);
  const users = placeAll("user", accounts.users.map(({ name, uid }) => ({ name, number: uid })), {
    local: local.users.map(({ name, uid }) => ({ name, number: uid })),
    reserved: accounts.unknownUids,
  }, plan);
  plan.owners.groups = pairs(groups);
  plan.owners.users = pairs(users);
  for (const { name, here, isNew } of groups.values()) {
    if (isNew) plan.steps.push({ do: "make group", name, gid: here });
  }
  const gids = new Map(plan.owners.groups);
  for (const user of accounts.users) {
    const place = users.get(user.name);
    if (!place) continue;
    const account = { ...user, uid: place.here, gid: gids.get(user.gid) ?? user.gid };
    planUser(account, place.isNew, { accounts, local, groups, made, force }, plan);
  }
  return plan;
}

/** A name that got its number here. */
interface Place {
  name: string;
  source: number;
  here: number;
  isNew: boolean;
}

function placeAll(
  kind: "user" | "group",
  wanted: { name: string; number: number }[],
  { local, reserved }: { local: { name: string; number: number }[]; reserved: number[] },
  plan: AccountsPlan,
): Map<string, Place> {
  const byName = new Map(local.map(({ name, number }) => [name, number]));
  const byNumber = new Map(local.map(({ name, number }) => [number, name]));
  const taken = new Set([0, ...byNumber.keys(), ...wanted.map(({ number }) => number), ...reserved]);
  const given = new Set<number>();
  const places = new Map<string, Place>();
  for (const { name, number } of wanted) {
    const standing = byName.get(name);
    if (standing !== number && (number === 0 || standing === 0)) {
      const where = number === 0 ? "on the source" : "here";
      plan.kept.push({ kind, name, reason: `it has number 0 ${where}, which is root's on every machine` });
      continue;
    }
    if (standing === number) plan.sameCount++;
    if (standing !== undefined) {
      places.set(name, { name, source: number, here: standing, isNew: false });
      if (standing !== number) {
        plan.mapped.push({ kind, name, source: number, here: standing, reason: "it has that number here" });
      }
      continue;
    }
    const owner = byNumber.get(number);
    // Two names of one number, as some systems have them: the second is made under a number of its own.
    const isFree = owner === undefined && !given.has(number);
    const here = isFree ? number : freeNumber(number, taken);
    taken.add(here);
    given.add(here);
    places.set(name, { name, source: number, here, isNew: true });
    if (isFree) continue;
    const reason = owner === undefined
      ? "another account of the source has that number, too"
      : `its number belongs to "${owner}" here`;
    plan.mapped.push({ kind, name, source: number, here, reason });
  }
  return places;
}

/** The first number of the same sort that nobody has. */
function freeNumber(wanted: number, taken: ReadonlySet<number>): number {
  if (wanted > 0 && wanted < ORDINARY_NUMBER_MIN) {
    for (let number = ORDINARY_NUMBER_MIN - 1; number >= 100; number--) if (!taken.has(number)) return number;
  }
  for (let number = ORDINARY_NUMBER_MIN; number <= ORDINARY_NUMBER_MAX; number++) {
    if (!taken.has(number)) return number;
  }
  let number = 2 * ORDINARY_NUMBER_MAX;
  while (taken.has(number)) number++;
  return number;
}

/** Numbers that are another one here. Of two names of one number that counts which keeps it, else the first. */
function pairs(places: Map<string, Place>): [number, number][] {
  const all = [...places.values()];
  const keeping = new Set(all.filter(({ source, here }) => source === here).map(({ source }) => source));
  const byNumber = new Map<number, number>();
  for (const { source, here } of all) {
    if (!keeping.has(source) && !byNumber.has(source)) byNumber.set(source, here);
  }
  return [...byNumber];
}

interface UserContext extends PlanOptions {
  accounts: Accounts;
  groups: Map<string, Place>;
}

function planUser(
  account: UserAccount,
  isNew: boolean,
  { accounts, local, groups, made, force }: UserContext,
  plan: AccountsPlan,
): void {
  const { name } = account;
  const wantedGroups = accounts.groups.filter(({ members }) => members.includes(name)).map((group) =>
    group.name
  )
    .filter((group) => groups.has(group)).sort();
  if (isNew) {
    plan.steps.push({ do: "make user", name, account });
    if (wantedGroups.length > 0) plan.steps.push({ do: "set groups", name, groups: wantedGroups });
    if (account.hash !== undefined) plan.steps.push({ do: "set password", name, hash: account.hash });
    return;
  }
  const standing = local.users.find((user) => user.name === name)!;
  // Root is nobody's to rebuild.
  if (standing.uid === 0) return;
  const steps = changesOf(standing, account, { wantedGroups, local });
  if (steps.length === 0) return;
  const isOurs = made.users[name] === standing.uid;
  if (isOurs || force) plan.steps.push(...steps);
  else {
    const what = steps.map((step) => step.do === "change user" ? step.fields.join(", ") : step.do.slice(4));
    plan.kept.push({
      kind: "user",
      name,
      reason: `it differs (${what.join(", ")}) and was not made by Understudy: --force changes it`,
    });
  }
}

function changesOf(
  standing: UserAccount,
  account: UserAccount,
  { wantedGroups, local }: { wantedGroups: string[]; local: LocalAccounts },
): AccountStep[] {
  const { name } = account;
  const steps: AccountStep[] = [];
  const fields = (["gid", "gecos", "home", "shell"] as const).filter((field) =>
    standing[field] !== account[field]
  );
  if (fields.length > 0) steps.push({ do: "change user", name, account, fields });
  const standingGroups = groupsOf(name, local.groups);
  if (standingGroups.join() !== wantedGroups.join()) {
    steps.push({ do: "set groups", name, groups: wantedGroups });
  }
  const isOtherHash = account.hash !== undefined && account.hash !== local.hashes?.get(name);
  if (isOtherHash) steps.push({ do: "set password", name, hash: account.hash! });
  return steps;
}

function groupsOf(name: string, groups: GroupAccount[]): string[] {
  return groups.filter(({ members }) => members.includes(name)).map((group) => group.name).sort();
}

/** The map by which what a source's users and groups own belongs to those of the same name here. */
export function mapByName(accounts: Accounts, local: LocalAccounts): OwnerMap {
  const users = new Map(local.users.map(({ name, uid }) => [name, uid]));
  const groups = new Map(local.groups.map(({ name, gid }) => [name, gid]));
  return {
    users: accounts.users.flatMap(({ name, uid }) => pairIfOther(uid, users.get(name))),
    groups: accounts.groups.flatMap(({ name, gid }) => pairIfOther(gid, groups.get(name))),
  };
}

function pairIfOther(source: number, here: number | undefined): [number, number][] {
  // Root is root on every machine, and nobody else is: a set-id program of a user must not become one of root.
  return here === undefined || here === source || here === 0 || source === 0 ? [] : [[source, here]];
}
