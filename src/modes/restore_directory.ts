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
import { systemFileSystem } from "../sys/system.ts";
import { ApplyClient } from "../target/apply_client.ts";
import { openOnlooker } from "../target/onlooker.ts";
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
 * @throws {CommandError} If something else is there, or it is in use.
 */
export function openRestoreDirectory(path: string, { dryRun }: { dryRun: boolean }): RestoreDirectory {
  withDirectory(path, () => checkDirectory(path));
  if (dryRun) return lookOnly(path);
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
function lookOnly(root: string): RestoreDirectory {
  return {
    openSession: () => Promise.resolve(openOnlooker({ root, fileSystem: systemFileSystem() })),
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
