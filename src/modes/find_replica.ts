/**
 * A replica by its name, for commands on the target's machine.
 * @module
 */
import { closest } from "../base/closest.ts";
import { errorCode, UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { listSets, targetStateDirectory } from "../store/state_directory.ts";
import { type ReplicaPlaces, serverPlaces } from "../target/places.ts";
import { isReplica } from "../target/replica.ts";
import { rootTrouble } from "./root_trouble.ts";

/**
 * Finds a replica below the root of a target server.
 *
 * @param verb What is to be done with it, for the message.
 * @throws {UsageError} If there is no such root, or no such replica in it.
 */
export function findReplica(root: string, name: string, verb: string): ReplicaPlaces {
  checkRoot(root);
  const places = serverPlaces(root, name);
  if (isReplica(places)) return places;
  const names = listSets(targetStateDirectory(root)).filter((other) => isReplica(serverPlaces(root, other)));
  const near = closest(name, names);
  const hint = near === undefined ? "" : `; did you mean ${quote(near)}`;
  throw new UsageError(`Cannot ${verb} ${quote(name)}: ${quote(root)} holds no such replica${hint}`);
}

function checkRoot(root: string): void {
  try {
    if (Deno.statSync(root).isDirectory) return;
  } catch (error) {
    throw new UsageError(`Cannot use root ${quote(root)}: ${rootTrouble(errorCode(error))}`, {
      cause: error,
    });
  }
  throw new UsageError(`Cannot use root ${quote(root)}: it is not a directory`);
}
