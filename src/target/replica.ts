/**
 * A replica: the live tree, the catalog that says what it holds, and the staging directory.
 *
 * ```
 * replicaRoot/…                     the live tree: plain files
 * stateDirectory/catalog.sqlite     store/catalog.ts
 * stateDirectory/staging/           staging.ts
 * ```
 *
 * Opening it recovers it: what a group that was cut short left in the live tree is made durable, since the source is
 * told of it; announced patches are redone, staging holds nothing but what open transfers need. Recovery may itself be
 * cut short anywhere and starts over then.
 * @module
 */
import { mkdirSync } from "node:fs";
import type { Accounts } from "../base/accounts.ts";
import { CommandError, CorruptionError, errorCode, reasonOf, SystemError } from "../base/errors.ts";
import { joinPath, quote } from "../base/path.ts";
import { Catalog, loadAccounts } from "../store/catalog.ts";
import { syncDirectory } from "../store/durable.ts";
import { ExactTree } from "../sys/exact_tree.ts";
import { probeFileSystem } from "../sys/probe.ts";
import type { FileSystem, FileSystemAbilities, Tree } from "../sys/file_system.ts";
import { DirectoryKeeper } from "./directory_keeper.ts";
import type { LossReason } from "./install.ts";
import { setAttributes } from "./attributes.ts";
import { type OpenFileRule, OpenFiles } from "./open_files.ts";
import { applyJournal, readJournalEnd } from "./patch.ts";
import type { ReplicaPlaces } from "./places.ts";
import { type FullReplicaStats, ReplicaCounter } from "./replica_stats.ts";
import { Staging } from "./staging.ts";
import { Transfers } from "./transfers.ts";
import { attempt, isAbsence } from "./trouble.ts";

/** Where a replica is, and how it is reached. */
export interface ReplicaOptions extends ReplicaPlaces {
  fileSystem: FileSystem;
  /** Make the replica and its directories if they are not there. */
  create: boolean;
  /** What becomes of files that other programs use. @default {"replace"} */
  openFiles?: OpenFileRule;
  /** Called before an entry is replaced, patched or removed. By default nothing is kept. */
  keepBefore?: (path: string, reason: LossReason) => void;
  /** Called when a group of ops is recorded. By default nothing is done. */
  afterGroup?: () => void;
}

/** Name of the catalog in the state directory of a replica. */
export const CATALOG_NAME = "catalog.sqlite";
const STAGING_NAME = "staging";

/** Whether there is a replica at these places. */
export function isReplica({ replicaRoot, stateDirectory }: ReplicaPlaces): boolean {
  return exists(`${stateDirectory}/${CATALOG_NAME}`) && exists(replicaRoot);
}

/**
 * Accounts of the source of the replica at these places, whose catalog may be in use; `undefined` if none were told.
 *
 * @throws {CorruptionError} If the catalog is not one.
 */
export function readReplicaAccounts(
  { stateDirectory }: Pick<ReplicaPlaces, "stateDirectory">,
): Accounts | undefined {
  return loadAccounts(`${stateDirectory}/${CATALOG_NAME}`);
}

/**
 * Opens a replica and recovers it. The caller holds its lock.
 *
 * @throws {CommandError} If there is none and `create` is false, or if tree and state are on different file systems.
 * @throws {CorruptionError} If the catalog is not one.
 * @throws {SystemError} If the directories cannot be made or opened.
 */
export function openReplica(options: ReplicaOptions): Replica {
  return new Replica(options);
}

/** An open replica. One at a time applies ops to it. */
export class Replica {
  readonly rootPath: string;
  readonly abilities: Readonly<FileSystemAbilities>;
  readonly live: Tree;
  readonly staging: Staging;
  readonly transfers = new Transfers();
  readonly keeper: DirectoryKeeper;
  readonly openFiles: OpenFiles;
  readonly stats: ReplicaCounter;
  readonly keepBefore: (path: string, reason: LossReason) => void;
  readonly afterGroup: () => void;
  readonly #catalogPath: string;
  #catalog: Catalog;
  #mustRecover = false;

  /** See {@linkcode openReplica}. */
  constructor(options: ReplicaOptions) {
    const {
      replicaRoot,
      stateDirectory,
      fileSystem,
      create,
      openFiles = "replace",
      keepBefore = () => {},
      afterGroup = () => {},
    } = options;
    this.rootPath = replicaRoot;
    this.keepBefore = keepBefore;
    this.afterGroup = afterGroup;
    this.#catalogPath = `${stateDirectory}/${CATALOG_NAME}`;
    makePlaces(options, this.#catalogPath);
    const live = fileSystem.openTree(replicaRoot, { confined: true });
    const staging = fileSystem.openTree(`${stateDirectory}/${STAGING_NAME}`, { confined: true });
    // Both lie on one file system.
    const { confusesNames, keepsNanoseconds } = probeFileSystem(staging);
    this.abilities = {
      ...fileSystem.abilities,
      nanoseconds: fileSystem.abilities.nanoseconds && keepsNanoseconds,
    };
    this.live = confusesNames ? new ExactTree(live) : live;
    this.staging = new Staging(confusesNames ? new ExactTree(staging) : staging);
    this.keeper = new DirectoryKeeper(this.live);
    this.openFiles = new OpenFiles(this.live, openFiles);
    checkSameFileSystem(this.live, this.staging.tree);
    this.#catalog = Catalog.open(this.#catalogPath);
    if (create) syncDirectory(stateDirectory);
    this.#noteUncleanStop();
    this.#recover();
    this.openFiles.load(this.#catalog.failures(0));
    this.stats = new ReplicaCounter(this.durableSequence, this.#catalog.accounts);
  }

  get catalog(): Catalog {
    return this.#catalog;
  }

  /** Random identity, made with the replica. */
  get replicaId(): string {
    return this.#catalog.meta.replicaId;
  }

  /** Stream that it follows, `""` if none. */
  get streamId(): string {
    return this.#catalog.meta.streamId;
  }

  /** Last op of the stream whose effect survives power loss. */
  get durableSequence(): number {
    return this.#catalog.meta.durableSequence;
  }

  /** Trouble of the machine cut a group short: {@linkcode recoverIfNeeded} comes before anything else. */
  noteTrouble(): void {
    this.#mustRecover = true;
  }

  /** Recovers as after a crash, if something was cut short. @throws {SystemError} If the trouble goes on. */
  recoverIfNeeded(): void {
    if (!this.#mustRecover) return;
    this.staging.cleanUnnamed();
    this.#catalog.close();
    this.#catalog = Catalog.open(this.#catalogPath);
    this.#recover();
    this.#mustRecover = false;
    this.stats.startFrom(this.durableSequence);
  }

  /** For `status`. */
  status(): FullReplicaStats {
    const { openFiles, stats } = this;
    return { ...stats.snapshot(), pendingOpenFiles: openFiles.count, openFiles: openFiles.list() };
  }

  /** Starts a stream: everything of the one before is forgotten, the live tree stays. */
  begin(streamId: string): void {
    this.#catalog.begin(streamId);
    this.openFiles.clear();
    this.transfers.load([], this.staging);
    this.staging.clean(new Set());
    this.stats.startFrom(0);
  }

  /** Says durably that the live tree holds nothing beyond the catalog, if that is so. */
  settle(): void {
    if (this.#mustRecover) return;
    if (!this.#catalog.meta.clean) this.#catalog.setMeta({ clean: true });
    else this.#catalog.saveNotes();
  }

  /** Closes in order; the next opening finds a clean stop if that is so. */
  close(): void {
    try {
      this.settle();
    } finally {
      this.release();
    }
  }

  /** Lets go of all files without a word to the catalog, as a crash would. */
  release(): void {
    this.transfers.close();
    this.#catalog.close();
    this.live.close();
    this.staging.tree.close();
  }

  /** A stop with a group under way, or another tree in the place of ours: the touched paths do not say all. */
  #noteUncleanStop(): void {
    const { clean, compareAll, rootIdentity } = this.#catalog.meta;
    const { ino } = this.live.stat("")!;
    const identity = ino === 0n ? "" : `${ino}`;
    const isAnother = rootIdentity !== "" && identity !== rootIdentity;
    if ((!clean || isAnother) && !compareAll) this.#catalog.setMeta({ compareAll: true });
    if (identity !== rootIdentity) this.#catalog.setMeta({ rootIdentity: identity });
  }

  #recover(): void {
    this.live.forgetDirectories();
    // A listing shows what is there, and the source takes it for what survives.
    if (!this.#catalog.meta.clean) syncTree(this.live, this.abilities);
    this.#redoPatches();
    this.transfers.load(this.#catalog.transfers(), this.staging);
    this.staging.clean(new Set(this.transfers.stagedNames()));
  }

  #redoPatches(): void {
    const patches = this.#catalog.patches();
    if (patches.length === 0) return;
    for (const { journal, path } of patches) this.#redoPatch(journal, path);
    // The catalog still names the transfer of a patch whose group was not recorded, so the journal stays until then.
    this.#catalog.endPatches();
  }

  #redoPatch(journalName: string, path: string): void {
    try {
      using journal = this.staging.tree.open(journalName, { access: "read" });
      if (readJournalEnd(journal) === undefined) {
        throw new CorruptionError(`Cannot redo patch of ${quote(path)}: its journal is not complete`);
      }
      using file = this.live.open(path, { access: "write" });
      const { attributes } = applyJournal(journal, file);
      attempt(() => void setAttributes(file, attributes, this.abilities));
      file.sync();
    } catch (error) {
      // The file is gone, or not ours to open any more: the path is announced as touched and compared.
      if (isAbsence(error)) return;
      if (error instanceof SystemError) {
        attempt(() => {
          throw error;
        });
      } else if (!(error instanceof CorruptionError)) throw error;
      else this.#catalog.setMeta({ compareAll: true });
    }
  }
}

/** Makes names durable, those of directories that were never announced included; and all else, where one call can. */
function syncTree(tree: Tree, { syncAll }: FileSystemAbilities): void {
  if (syncAll) return tree.syncAll();
  const directories = [""];
  for (let path = directories.pop(); path !== undefined; path = directories.pop()) {
    const directory = path;
    // One that others took away meanwhile, or closed to us, is met again by whoever uses it.
    attempt(() => {
      tree.syncDirectory(directory);
      for (const { name, kind } of tree.list(directory)) {
        const below = joinPath(directory, name);
        if ((kind ?? tree.stat(below)?.kind) === "directory") directories.push(below);
      }
    });
  }
}

function makePlaces({ replicaRoot, stateDirectory, create }: ReplicaOptions, catalogPath: string): void {
  if (!create && !exists(catalogPath)) {
    throw new CommandError(
      `Cannot open replica ${quote(replicaRoot)}: there is no catalog in ${quote(stateDirectory)}`,
    );
  }
  for (
    const [path, mode] of [[replicaRoot, 0o755], [joinPath(stateDirectory, STAGING_NAME), 0o700]] as const
  ) {
    try {
      if (create || path !== replicaRoot) mkdirSync(path, { recursive: true, mode });
    } catch (error) {
      throw new SystemError(errorCode(error), `Cannot make directory ${quote(path)}: ${reasonOf(error)}`);
    }
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function checkSameFileSystem(live: Tree, staging: Tree): void {
  if (live.stat("")!.dev === staging.stat("")!.dev) return;
  throw new CommandError(
    `Cannot open replica ${quote(live.rootPath)}: its state in ${
      quote(staging.rootPath)
    } is on another file system`,
  );
}
