/**
 * The accounts that a set needs, as its source's machine has them now. Whoever follows is told of each change: of the
 * machine's files, which are looked at every `limits.accountsCheckMs`, and of who owns what in the set.
 *
 * Files are looked at and not watched: the programs that change them replace them by rename, three in a row, and a look
 * costs three calls.
 *
 * What must hold here:
 * - A follower is told of an owner before {@linkcode AccountWatch.noteOwner} returns, so that an op which gives somebody
 *   a file can follow the account; beyond `limits.accountsAtOnceMax` news within the regular looks.
 * - What cannot be read now leaves what was known, and is said in the status.
 * @module
 */
import { join } from "node:path";
import type { Accounts, SourceAccountsStatus } from "../base/accounts.ts";
import type { Clock } from "../base/clock.ts";
import { CommandError, errorCode, reasonOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { quote } from "../base/path.ts";
import type { Xattr } from "../sys/file_system.ts";
import {
  accountFileNames,
  ACCOUNTS_DIRECTORY,
  type LocalAccounts,
  readAccountFiles,
} from "./account_files.ts";
import { collectAccounts } from "./collect.ts";
import { OwnersSeen } from "./owners_seen.ts";

/** What a watch needs. */
export interface AccountWatchOptions {
  /** Where the machine has its accounts. @default {"/etc"} */
  directory?: string;
  /** Users that are told though they own nothing. */
  extraUsers: readonly string[];
  /** Password hashes travel, too. */
  withPasswords: boolean;
  /** File that remembers whom access control lists name. @default nothing is remembered */
  seenPath?: string;
  clock: Clock;
  log: Log;
}

/** Takes accounts in place of those before. */
export type AccountFollower = (accounts: Accounts) => void;

/** See the module's text. */
export class AccountWatch {
  readonly #options: AccountWatchOptions;
  readonly #seen: OwnersSeen;
  readonly #followers = new Set<AccountFollower>();
  readonly #directory: string;
  #fingerprint = "";
  #local: LocalAccounts;
  #accounts!: Accounts;
  #missingUsers: string[] = [];
  #leftOutCount = 0;
  #readTrouble = "";
  #saveTrouble = "";
  #isDue = false;
  #toldAtOnceCount = 0;

  /**
   * @throws {CommandError} If the machine's accounts cannot be read.
   * @throws {CorruptionError} If what is remembered is not such a record.
   */
  constructor(options: AccountWatchOptions) {
    this.#options = options;
    this.#directory = options.directory ?? ACCOUNTS_DIRECTORY;
    this.#seen = new OwnersSeen(options.seenPath);
    try {
      this.#fingerprint = this.#look();
      this.#local = readAccountFiles(this.#directory, options);
    } catch (cause) {
      throw new CommandError(`Cannot read accounts: ${reasonOf(cause)}`, { cause });
    }
    this.#collect();
    for (const name of this.#missingUsers) options.log.warn(`there is no user ${quote(name)} yet`);
  }

  /** The accounts now. Not to be changed. */
  get accounts(): Accounts {
    return this.#accounts;
  }

  /** Tells `follower` of each change from now on, until the result is disposed of. */
  follow(follower: AccountFollower): Disposable {
    this.#followers.add(follower);
    return { [Symbol.dispose]: () => void this.#followers.delete(follower) };
  }

  /** Somebody owns an entry of the set. */
  noteOwner(uid: number, gid: number): void {
    if (this.#seen.addOwner(uid, gid)) this.#tellAtOnce();
  }

  /** An entry of the set has these extended attributes. */
  noteXattrs(xattrs: readonly Xattr[]): void {
    if (xattrs.length > 0 && this.#seen.addXattrs(xattrs)) this.#tellAtOnce();
  }

  /** Looks regularly until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#options.clock.sleep(limits.accountsCheckMs, signal);
      // At the end, too: what lists named since the last look is remembered.
      this.check();
    }
  }

  /** Looks whether the machine's accounts are others than before, and tells of it. */
  check(): void {
    this.#save();
    try {
      const fingerprint = this.#look();
      if (fingerprint !== this.#fingerprint) {
        this.#local = readAccountFiles(this.#directory, this.#options);
        this.#fingerprint = fingerprint;
        this.#isDue = true;
      }
      this.#readTrouble = "";
    } catch (error) {
      if (!errorCode(error)) throw error;
      const trouble = reasonOf(error);
      if (trouble !== this.#readTrouble) this.#options.log.warn(`Cannot read accounts: ${trouble}`);
      this.#readTrouble = trouble;
    }
    if (this.#isDue) this.#tell();
  }

  status(): SourceAccountsStatus {
    const { users, groups, at, unknownUids, unknownGids } = this.#accounts;
    const reasons = [
      this.#readTrouble,
      this.#saveTrouble,
      ...this.#missingUsers.map((name) => `there is no user ${quote(name)}`),
      this.#leftOutCount > 0 ? `${this.#leftOutCount} accounts are too many to travel` : "",
      this.#local.skippedCount > 0 ? `${this.#local.skippedCount} lines are not understood` : "",
    ];
    return {
      users: users.length,
      groups: groups.length,
      at,
      unknownUids,
      unknownGids,
      reason: reasons.filter(Boolean).join("; "),
    };
  }

  #tellAtOnce(): void {
    this.#isDue = true;
    if (this.#toldAtOnceCount >= limits.accountsAtOnceMax) return;
    this.#toldAtOnceCount++;
    this.#save();
    this.#tell();
  }

  /** What cannot be saved now is tried again with the next look. */
  #save(): void {
    try {
      this.#seen.save();
      this.#saveTrouble = "";
    } catch (error) {
      if (!errorCode(error)) throw error;
      const trouble = reasonOf(error);
      if (trouble !== this.#saveTrouble) {
        this.#options.log.warn(`Cannot save whom access control lists name: ${trouble}`);
      }
      this.#saveTrouble = trouble;
    }
  }

  #tell(): void {
    this.#isDue = false;
    if (!this.#collect()) return;
    for (const follower of this.#followers) follower(this.#accounts);
  }

  /** @returns Whether something is new. */
  #collect(): boolean {
    const { extraUsers, clock } = this.#options;
    const { users, groups } = this.#seen;
    const at = new Date(clock.nowMs()).toISOString();
    const collected = collectAccounts(this.#local, { users, groups, extraUsers }, {
      machine: Deno.hostname(),
      at,
    });
    this.#missingUsers = collected.missingUsers;
    this.#leftOutCount = collected.leftOutCount;
    const before = this.#accounts && JSON.stringify({ ...this.#accounts, at });
    if (before === JSON.stringify(collected.accounts)) return false;
    this.#accounts = collected.accounts;
    return true;
  }

  /** What tells one version of the files from another. Read before the files: a change meanwhile is seen the next time. */
  #look(): string {
    const names = accountFileNames.filter((name) => name !== "shadow" || this.#options.withPasswords);
    return names.map((name) => {
      try {
        const { ino, size, mtime, ctime } = Deno.statSync(join(this.#directory, name));
        return `${ino} ${size} ${mtime?.getTime()} ${ctime?.getTime()}`;
      } catch (error) {
        if (errorCode(error) === "ENOENT") return "";
        throw error;
      }
    }).join(", ");
  }
}
