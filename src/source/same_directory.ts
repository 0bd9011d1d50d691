/**
 * Guards against looking for a change under a name that leads to another directory by now: what is found there belongs
 * to that one, and the target has the one of before at this name. Its rename is told of later, and from then on nothing
 * would be looked at that was compared with the wrong one.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { parentPath } from "../base/path.ts";
import type { Tree } from "../sys/file_system.ts";
import type { DetectContext } from "./detect_context.ts";

/**
 * Whether the directory that the tree reaches at a path is the one that the index has there, as far as can be known: what
 * is not there at all is no other one.
 */
export function isSameDirectory(
  directory: string,
  { tree, index }: Pick<DetectContext, "tree" | "index">,
): boolean {
  if (directory === "") return true;
  const held = index.get(directory);
  if (held?.kind !== "directory" || held.ino === 0n) return true;
  const ino = inodeOf(directory, tree);
  // The number of the device may change from mount to mount.
  return ino === 0n || ino === held.ino;
}

/** Inode number of the directory at a path; 0 if there is none, or none that can be reached. */
function inodeOf(directory: string, tree: Tree): bigint {
  try {
    return tree.statDirectory(directory)?.ino ?? 0n;
  } catch (error) {
    if (!errorCode(error)) throw error;
    return 0n;
  }
}

/** Asks of the directories of one batch's paths, each once. */
export class SameParents {
  readonly #context: DetectContext;
  readonly #known = new Map<string, boolean>();

  constructor(context: DetectContext) {
    this.#context = context;
  }

  /** Whether a path can be looked at; if not, `otherwise` is called with its directory, once. */
  allow(path: string, otherwise: (directory: string) => void): boolean {
    const directory = parentPath(path);
    const known = this.#known.get(directory);
    if (known !== undefined) return known;
    const isSame = isSameDirectory(directory, this.#context);
    this.#known.set(directory, isSame);
    if (!isSame) otherwise(directory);
    return isSame;
  }
}
