/**
 * Visits the directories of an index in a fixed order, parents first and names in order, so that a walk can be
 * interrupted and go on behind the directory it came to, even in another process.
 * @module
 */
import { joinPath } from "../base/path.ts";
import type { Index } from "./index.ts";

/** A directory on the way down, and the names of the directories in it that are still to be visited, the next one last. */
interface Level {
  path: string;
  names: string[];
}

/** One walk. Directories that come or go meanwhile may be visited or not. */
export class DirectoryWalk {
  readonly #index: Index;
  /** Undefined before the first step of a walk that begins at the root. */
  #levels: Level[] | undefined;
  readonly #skipped = new Set<string>();

  /** @param after The directory that the walk came to before; `undefined` begins at the root. */
  constructor(index: Index, after?: string) {
    this.#index = index;
    if (after === undefined) return;
    this.#levels = [this.#levelOf("")];
    // What stands before it in the order was visited, with what is below; itself too, but not what is below it.
    for (const name of after === "" ? [] : after.split("/")) {
      const level = this.#levels.at(-1)!;
      while (level.names.length > 0 && level.names.at(-1)! < name) level.names.pop();
      // It is gone: the walk goes on behind its place.
      if (level.names.at(-1) !== name) break;
      level.names.pop();
      this.#levels.push(this.#levelOf(joinPath(level.path, name)));
    }
  }

  /** The next directory, `undefined` at the end. */
  next(): string | undefined {
    if (this.#levels === undefined) {
      this.#levels = [this.#levelOf("")];
      return "";
    }
    for (let level = this.#levels.at(-1); level !== undefined; level = this.#levels.at(-1)) {
      const name = level.names.pop();
      if (name === undefined) {
        this.#levels.pop();
        continue;
      }
      const path = joinPath(level.path, name);
      if (this.#skipped.delete(path) || !this.#index.isDirectory(path)) continue;
      this.#levels.push(this.#levelOf(path));
      return path;
    }
    return undefined;
  }

  /** What is below this directory is not visited. Only for one whose directory was visited, and itself was not. */
  skip(path: string): void {
    this.#skipped.add(path);
  }

  #levelOf(path: string): Level {
    const names = this.#index.childDirectories(path).sort();
    return { path, names: names.reverse() };
  }
}
