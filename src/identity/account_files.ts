/**
 * The files in which a machine keeps its accounts, passwd(5), group(5) and shadow(5), read only: they are changed by the
 * system's own programs (`programs.ts`). Pure but for {@linkcode readAccountFiles}.
 *
 * ```
 * passwd   name:x:uid:gid:gecos:home:shell
 * group    name:x:gid:member,member
 * shadow   name:hash:…
 * ```
 *
 * A line that is none of these is passed over and counted: comments, the `+` and `-` lines of NIS, and what somebody
 * broke. Of two accounts with one name the first counts, as it does for the system. Names from elsewhere (LDAP, SSSD,
 * systemd's dynamic users) are not in these files and not known here.
 * @module
 */
import { join } from "node:path";
import {
  type GroupAccount,
  isAccountField,
  isAccountName,
  isAccountNumber,
  type UserAccount,
} from "../base/accounts.ts";
import { pathFromBytes } from "../base/path.ts";
import { readIfThere } from "../store/durable.ts";

/** What a file says. */
export interface ParsedFile<T> {
  /** In the order of their lines. */
  entries: T[];
  /** Lines that are no entry, blank ones not counted. */
  skippedCount: number;
}

/** Accounts of a machine, as its files have them. */
export interface LocalAccounts {
  users: UserAccount[];
  groups: GroupAccount[];
  /** Password hashes by user; `undefined` if they were not asked for. */
  hashes: Map<string, string> | undefined;
  skippedCount: number;
}

/** Where a machine has them. */
export const ACCOUNTS_DIRECTORY = "/etc";

/** The files, in the order in which they are read. */
export const accountFileNames = ["passwd", "group", "shadow"] as const;

/** Reads the text of passwd(5). */
export function parsePasswd(text: string): ParsedFile<UserAccount> {
  return parseLines(text, (fields) => {
    if (fields.length !== 7) return undefined;
    const [name, , uid, gid, gecos, home, shell] = fields;
    const user = { name, uid: parseNumber(uid), gid: parseNumber(gid), gecos, home, shell };
    const isUsable = isAccountNumber(user.uid) && isAccountNumber(user.gid) &&
      [gecos, home, shell].every(isAccountField) &&
      [home, shell].every((path) => path === "" || path.startsWith("/"));
    return isUsable ? user : undefined;
  });
}

/** Reads the text of group(5). */
export function parseGroup(text: string): ParsedFile<GroupAccount> {
  return parseLines(text, (fields) => {
    if (fields.length !== 4) return undefined;
    const [name, , gid, members] = fields;
    const names = members === "" ? [] : members.split(",").filter((member) => member !== "");
    const group = { name, gid: parseNumber(gid), members: [...new Set(names)] };
    return isAccountNumber(group.gid) && names.every(isAccountName) ? group : undefined;
  });
}

/** Reads the text of shadow(5): names and hashes. */
export function parseShadow(text: string): ParsedFile<{ name: string; hash: string }> {
  return parseLines(text, (fields) => {
    const [name, hash] = fields;
    return fields.length >= 2 && isAccountField(hash) ? { name, hash } : undefined;
  });
}

/**
 * Reads the accounts of a machine. A file that is not there has none.
 *
 * @param directory Where the files are, `/etc`.
 * @throws {Error} With an errno's name if a file cannot be read.
 */
export function readAccountFiles(directory: string, { withPasswords = false } = {}): LocalAccounts {
  const textOf = (name: string) => {
    const bytes = readIfThere(join(directory, name));
    return bytes === undefined ? "" : pathFromBytes(bytes);
  };
  const users = parsePasswd(textOf("passwd"));
  const groups = parseGroup(textOf("group"));
  const shadow = withPasswords ? parseShadow(textOf("shadow")) : undefined;
  return {
    users: users.entries,
    groups: groups.entries,
    hashes: shadow && new Map(shadow.entries.map(({ name, hash }) => [name, hash])),
    skippedCount: users.skippedCount + groups.skippedCount + (shadow?.skippedCount ?? 0),
  };
}

function parseLines<T extends { name: string }>(
  text: string,
  parseFields: (fields: string[]) => T | undefined,
): ParsedFile<T> {
  const entries = new Map<string, T>();
  let skippedCount = 0;
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const fields = line.split(":");
    const entry = isAccountName(fields[0]) ? parseFields(fields) : undefined;
    if (entry === undefined || entries.has(entry.name)) skippedCount++;
    else entries.set(entry.name, entry);
  }
  return { entries: [...entries.values()], skippedCount };
}

/** A number of decimal digits, or −1. */
function parseNumber(text: string): number {
  return /^[0-9]{1,10}$/.test(text) ? Number(text) : -1;
}
