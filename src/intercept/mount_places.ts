/**
 * Places below a root at which something is mounted, and which of them changed: no event tells of that.
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";
import type { Gap } from "./gap.ts";
import { mountsBelow } from "./mounts.ts";

/** The mounts below one root. */
export class MountPlaces {
  readonly #root: string;
  /** Mounts by their place relative to the root. */
  #mounts = new Map<string, { id: string; isFile: boolean }>();
  #filesSinceMs = 0;

  /** @param root Absolute path, without symbolic links. */
  constructor(root: string) {
    this.#root = root;
  }

  /** Reads the table of mounts. @returns Places where another mount, or none, is to be found now; upper ones first. */
  read(): string[] {
    const before = this.#mounts;
    const hadFiles = this.files.length > 0;
    this.#mounts = new Map();
    for (const { id, path, place } of mountsBelow(this.#root)) {
      this.#mounts.set(place, { id, isFile: isFile(path) });
    }
    if (!hadFiles) this.#filesSinceMs = systemClock.nowMs();
    const places = new Set([...before.keys(), ...this.#mounts.keys()]);
    return [...places].filter((place) => before.get(place)?.id !== this.#mounts.get(place)?.id).sort();
  }

  /** Files that are mounted over others: what is written to them is heard where they come from, if at all. */
  get files(): string[] {
    return [...this.#mounts].filter(([, { isFile }]) => isFile).map(([place]) => place);
  }

  gaps(): Gap[] {
    const { files } = this;
    if (files.length === 0) return [];
    return [{
      name: "mounted-file",
      reason: `a file is mounted over another one: it is looked at every ${limits.pollEveryMs / 1_000} s`,
      count: files.length,
      paths: files.slice(0, limits.gapPathsShown),
      sinceMs: this.#filesSinceMs,
    }];
  }
}

function isFile(path: string): boolean {
  try {
    return !Deno.lstatSync(path).isDirectory;
  } catch {
    // Not reachable by a name that Deno can hold, or gone: directories are the rule.
    return false;
  }
}
