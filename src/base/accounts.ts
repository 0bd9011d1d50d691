/**
 * Accounts as they travel with what they own: users, groups and memberships of one source. Texts hold a byte that is not
 * UTF-8 as a lone surrogate (`path.ts`).
 *
 * What comes over a line is checked here before anybody acts on it: a name or field that could mean something else to
 * the files of an `/etc`, or to the programs that change them, makes the whole snapshot invalid.
 * @module
 */
import { utf8 } from "./bytes.ts";
import { ProtocolError } from "./errors.ts";
import { quote } from "./path.ts";

/** A user of the source. */
export interface UserAccount {
  name: string;
  uid: number;
  /** Number of the primary group. */
  gid: number;
  /** Full name and more, for people. */
  gecos: string;
  /** Home directory, absolute or `""`. */
  home: string;
  /** Login shell, absolute or `""`. */
  shell: string;
  /** Password hash as in shadow(5), where passwords travel. Never root's. */
  hash?: string;
}

/** A group of the source. */
export interface GroupAccount {
  name: string;
  gid: number;
  /** Names of users of the same snapshot. */
  members: string[];
}

/** All accounts of a source that its set needs, as of one moment. */
export interface Accounts {
  /** Host name of the source. */
  machine: string;
  /** ISO 8601, by the source's clock. */
  at: string;
  /** In order of name. */
  users: UserAccount[];
  /** In order of name. */
  groups: GroupAccount[];
  /** Numbers that own something and have no name there, ascending. */
  unknownUids: number[];
  unknownGids: number[];
}

/** How many accounts, as `status` shows it. */
export interface AccountsStatus {
  users: number;
  groups: number;
  /** ISO 8601, of the last change that was seen; `""` if there are none. */
  at: string;
}

/** The same of a source. */
export interface SourceAccountsStatus extends AccountsStatus {
  /** Numbers that own something and have no name. */
  unknownUids: number[];
  unknownGids: number[];
  /** What is missing of them, in words; `""` if nothing is. */
  reason: string;
}

/** The status of a target without accounts. */
export const noAccountsStatus: AccountsStatus = { users: 0, groups: 0, at: "" };

/** Counts accounts. */
export function accountsStatus(accounts: Accounts | undefined): AccountsStatus {
  if (!accounts) return noAccountsStatus;
  return { users: accounts.users.length, groups: accounts.groups.length, at: accounts.at };
}

/** Bytes that an account takes in a message, at most. */
export function accountsSize(account: unknown): number {
  return utf8(JSON.stringify(account)).length + 1;
}

/** Whether a number can be that of a user or group: 2^32 − 1 means "leave it" to chown(2). */
export function isAccountNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 0xffff_ffff;
}

/** Whether this can be the name of an account: no option, no list, no path, nothing that ends a field or line. */
export function isAccountName(value: unknown): value is string {
  return typeof value === "string" && value.length <= 256 && !/[\p{Cc}\s:,/\\"'#]|^[-+~]|^$/u.test(value);
}

/** Whether this can be another field of an account. */
export function isAccountField(value: unknown): value is string {
  return typeof value === "string" && value.length <= 4096 && !/[\p{Cc}:]/u.test(value);
}

function isPathField(value: unknown): value is string {
  return isAccountField(value) && (value === "" || value.startsWith("/"));
}

/**
 * What came over a line or lay on a disk, as accounts.
 *
 * @throws {ProtocolError} If it is anything else, or names two accounts alike.
 */
export function checkAccounts(value: unknown): Accounts {
  const accounts = value as Accounts;
  const isWhole = typeof value === "object" && value !== null && typeof accounts.machine === "string" &&
    typeof accounts.at === "string" && Array.isArray(accounts.users) && Array.isArray(accounts.groups) &&
    isNumbers(accounts.unknownUids) && isNumbers(accounts.unknownGids);
  if (!isWhole) throw new ProtocolError("Cannot take accounts: a member is missing or of another type");
  for (const user of accounts.users) {
    if (!isUser(user)) throw new ProtocolError(`Cannot take accounts: user ${nameOf(user)} is malformed`);
  }
  for (const group of accounts.groups) {
    if (!isGroup(group)) throw new ProtocolError(`Cannot take accounts: group ${nameOf(group)} is malformed`);
  }
  for (const list of [accounts.users, accounts.groups]) {
    if (new Set(list.map(({ name }) => name)).size < list.length) {
      throw new ProtocolError("Cannot take accounts: two have one name");
    }
  }
  return accounts;
}

function isUser(user: UserAccount): boolean {
  return typeof user === "object" && user !== null && isAccountName(user.name) && isAccountNumber(user.uid) &&
    isAccountNumber(user.gid) && isAccountField(user.gecos) && isPathField(user.home) &&
    isPathField(user.shell) && (user.hash === undefined || isAccountField(user.hash));
}

function isGroup(group: GroupAccount): boolean {
  return typeof group === "object" && group !== null && isAccountName(group.name) &&
    isAccountNumber(group.gid) && Array.isArray(group.members) && group.members.every(isAccountName);
}

function isNumbers(value: unknown): boolean {
  return Array.isArray(value) && value.every(isAccountNumber);
}

function nameOf(value: unknown): string {
  const name = (value as { name?: unknown } | null)?.name;
  return typeof name === "string" ? quote(name) : "without a name";
}
