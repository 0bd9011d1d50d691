/**
 * Where replicas and our state of them are.
 *
 * ```
 * target server        ROOT/NAME                  state  ROOT/.understudy/NAME
 * local directory      TARGET                     state  PARENT/.understudy/BASENAME   on the same file system, writable
 *                                                 else   TARGET/.understudy
 * ```
 * @module
 */
import { accessSync, constants } from "node:fs";
import { basename, dirname, join } from "node:path";
import { CommandError, errorCode } from "../base/errors.ts";
import { quote } from "../base/path.ts";

/** Name that holds our state and is never replicated. */
const STATE_NAME = ".understudy";

/** One replica's places. */
export interface ReplicaPlaces {
  /** Absolute path of the live tree. */
  replicaRoot: string;
  /** Absolute path of our state of it, on the same file system. */
  stateDirectory: string;
}

/** Places of replica `name` of the target server with this root. */
export function serverPlaces(root: string, name: string): ReplicaPlaces {
  return { replicaRoot: join(root, name), stateDirectory: join(root, STATE_NAME, name) };
}

/**
 * Places of a local directory as target. Makes nothing.
 *
 * @param path Absolute.
 * @throws {CommandError} If it cannot be a target.
 */
export function localPlaces(path: string): ReplicaPlaces {
  const root = realPathOf(path);
  const parent = dirname(root);
  const beside = join(parent, STATE_NAME, basename(root));
  return {
    replicaRoot: root,
    stateDirectory: canStandBeside(root, parent) ? beside : join(root, STATE_NAME),
  };
}

/**
 * Refuses places of which one lies within the other: replicating would never end.
 *
 * @param options.keepsOut A target inside the source is no trouble: the source does not replicate it.
 * @throws {CommandError} If they overlap.
 */
export function checkApart(source: string, target: string, options: { keepsOut?: boolean } = {}): void {
  const [from, to] = [realPathOf(source), realPathOf(target)];
  const reason = from === to
    ? "they are the same directory"
    : isBelow(to, from)
    ? "the target lies inside the source"
    : isBelow(from, to)
    ? "the source lies inside the target"
    : "";
  if (options.keepsOut && from !== to && isBelow(to, from)) return;
  if (reason) throw new CommandError(`Cannot replicate ${quote(source)} to ${quote(target)}: ${reason}`);
}

/** The path without symbolic links, as far as it exists. */
export function realPathOf(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT" || dirname(path) === path) throw error;
    return join(realPathOf(dirname(path)), basename(path));
  }
}

function isBelow(path: string, directory: string): boolean {
  return path.startsWith(directory.endsWith("/") ? directory : directory + "/");
}

/** Whether state can stand in the parent: same file system, so that staged files move by rename, and writable. */
function canStandBeside(root: string, parent: string): boolean {
  try {
    const above = Deno.statSync(parent);
    const found = statIfThere(root);
    if (found && found.dev !== above.dev) return false;
    accessSync(parent, constants.W_OK);
    return true;
  } catch (error) {
    if (["EACCES", "EPERM", "EROFS", "ENOENT"].includes(errorCode(error))) return false;
    throw error;
  }
}

function statIfThere(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
