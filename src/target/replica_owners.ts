/**
 * Under which numbers a replica's files lie here: the file system by which it is reached speaks in the source's numbers,
 * whatever they are on the disk.
 * @module
 */
import type { Accounts } from "../base/accounts.ts";
import { ACCOUNTS_DIRECTORY, readAccountFiles } from "../identity/account_files.ts";
import { mapByName } from "../identity/plan.ts";
import type { FileSystem } from "../sys/file_system.ts";
import { ownedFileSystem, type OwnerMap, Owners } from "../sys/ownership.ts";
import type { ReplicaPlaces } from "./places.ts";
import { readReplicaAccounts } from "./replica.ts";

/**
 * Whom a replica's files belong to: the source's numbers, whoever has the name of the owner here (and the number where
 * nobody has it), or the numbers of a map.
 */
export type OwnerChoice = "number" | "name" | OwnerMap;

/** How a replica is reached. */
export interface OwnedReplica {
  fileSystem: FileSystem;
  /** To be told of the source's accounts when they change; `undefined` if nothing depends on them. */
  onAccounts?: (accounts: Accounts) => void;
}

/**
 * Chooses the file system of a replica, by the accounts that its catalog keeps now.
 *
 * @throws {CorruptionError} If the catalog is not one.
 * @throws {Error} With an errno's name if this machine's accounts cannot be read.
 */
export function ownedReplica(
  { stateDirectory, owners: choice = "number" }: Pick<ReplicaPlaces, "stateDirectory"> & {
    owners?: OwnerChoice;
  },
  fileSystem: FileSystem,
): OwnedReplica {
  if (choice === "number") return { fileSystem };
  if (choice !== "name") {
    const isSame = choice.users.length + choice.groups.length === 0;
    return { fileSystem: isSame ? fileSystem : ownedFileSystem(fileSystem, new Owners(choice)) };
  }
  const owners = new Owners();
  const onAccounts = (accounts: Accounts) =>
    owners.replace(mapByName(accounts, readAccountFiles(ACCOUNTS_DIRECTORY)));
  const known = readReplicaAccounts({ stateDirectory });
  if (known) onAccounts(known);
  return { fileSystem: ownedFileSystem(fileSystem, owners), onAccounts };
}
