/**
 * The directory that a restore goes into: a replica for as long as the restore runs. Its state is removed afterwards.
 * @module
 */
import { mkdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { CommandError, errorCode } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { AGENT } from "../base/version.ts";
import { acquireLock, type Lock } from "../store/lock_file.ts";
import { TARGET_STATE_NAME } from "../store/state_directory.ts";
import { ownedFileSystem, type OwnerMap, Owners } from "../sys/ownership.ts";
import { systemFileSystem } from "../sys/system.ts";
import { ApplyClient } from "../target/apply_client.ts";
import { openOnlooker } from "../target/onlooker.ts";
import type { KeepAside } from "../target/kept_aside.ts";
import { localPlaces } from "../target/places.ts";
import type { Session } from "../wire/session.ts";
import { withDirectory } from "./root_trouble.ts";

/** A directory ready to be restored into. */
export interface RestoreDirectory extends AsyncDisposable {
  openSession(): Promise<Session>;
}

/**
 * Prepares a directory for a restore; makes it if it is not there.
 *
 * @param path Absolute, without symbolic links.
 * @param options.keepAside What is kept of it before it is lost. @default nothing
 * @param options.owners Under which numbers what the source's users own lies in it.
 * @throws {CommandError} If something else is there, or it is in use.
 */
export function openRestoreDirectory(
  path: string,
  { dryRun, owners, keepAside }: { dryRun: boolean; owners: OwnerMap; keepAside?: KeepAside },
): RestoreDirectory {
  withDirectory(path, () => checkDirectory(path));
  if (dryRun) return lookOnly(path, owners);
  let stateDirectory = "";
  let lock: Lock | undefined;
  let client: ApplyClient | undefined;
  return {
    async openSession() {
      // Its parent must be there before it is known where our state can stand.
      withDirectory(path, () => mkdirSync(path, { recursive: true }));
      // Apart from the state of a replica that may stand there: a restore begins anew each time.
      stateDirectory = join(withDirectory(path, () => localPlaces(path)).stateDirectory, "restore");
      withDirectory(path, () => mkdirSync(stateDirectory, { recursive: true, mode: 0o700 }));
      lock ??= acquireLock(join(stateDirectory, "replica.lock"));
      client ??= await ApplyClient.open({
        replicaRoot: path,
        stateDirectory,
        // Who restores over a file in use means it, and is not there to wait for its end.
        openFiles: "replace",
        create: true,
        agent: AGENT,
        keepAside,
        owners,
      });
      return client.openSession();
    },
    async [Symbol.asyncDispose]() {
      await client?.close();
      if (!lock) return;
      const ownLock = lock;
      keepingTime(path, () => {
        Deno.removeSync(stateDirectory, { recursive: true });
        ownLock[Symbol.dispose]();
        removeEmptyState(dirname(stateDirectory));
      });
    },
  };
}

/** Where our state had to stand inside the directory, taking it away must not be seen in the directory's time. */
function keepingTime(path: string, change: () => void): void {
  using tree = systemFileSystem().openTree(path);
  const { mtimeNs } = tree.stat("")!;
  change();
  if (tree.stat("")?.mtimeNs !== mtimeNs) tree.setAttributes("", { mtimeNs });
}

/** The directory for a dry run: nothing is made or locked, so it may be missing or in use. */
function lookOnly(root: string, owners: OwnerMap): RestoreDirectory {
  const fileSystem = ownedFileSystem(systemFileSystem(), new Owners(owners));
  return {
    openSession: () => Promise.resolve(openOnlooker({ root, fileSystem })),
    async [Symbol.asyncDispose]() {},
  };
}

/** @throws {CommandError} If something else is there. */
function checkDirectory(path: string): void {
  try {
    if (Deno.statSync(path).isDirectory) return;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  throw new CommandError(`Cannot restore into ${quote(path)}: it is not a directory`);
}

/** Removes directories of ours, up to the one with the reserved name, unless something else of ours is in them. */
function removeEmptyState(path: string): void {
  try {
    Deno.removeSync(path);
    if (basename(path) !== TARGET_STATE_NAME) removeEmptyState(dirname(path));
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST", "ENOENT"].includes(errorCode(error))) throw error;
  }
}
