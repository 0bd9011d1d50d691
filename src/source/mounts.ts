/**
 * File systems mounted below the root. One that is gone took its files with it; nobody deleted them. Mount points are
 * remembered in the state of the set, so that a later run knows what it misses, too.
 *
 * A mount point is a directory on another device than the directory that it is in, or one that the system lists as such
 * (a part of the same file system, mounted there too). One of which that is not so any more, or that is gone itself, is
 * *vanished*: what the target has below it stays, as leftovers, until it is mounted again or somebody purges them.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { parentPath } from "../base/path.ts";
import { mountsBelow } from "../intercept/mounts.ts";
import type { Tree } from "../sys/file_system.ts";
import { statOrUndefined } from "./batch.ts";

/** What is remembered. */
export interface MountsOptions {
  tree: Tree;
  /** Mount points of earlier runs. */
  known: Iterable<string>;
  /** Makes the mount points survive power loss. */
  save: (paths: string[]) => void;
}

/** Mount points of one tree. Bounded: further ones are not remembered. */
export class Mounts {
  readonly #options: MountsOptions;
  /** Whether each was vanished when it was looked at last. */
  readonly #known = new Map<string, boolean>();
  /** What the system listed a moment ago. */
  #recent: { atMs: number; paths: Set<string> } | undefined;

  constructor(options: MountsOptions) {
    this.#options = options;
    for (const path of options.known) this.#known.set(path, false);
  }

  /** Whether the system lists a directory as a mount point. May be late by `limits.mountsReadMs`. */
  isListed(path: string): boolean {
    const nowMs = performance.now();
    if (!this.#recent || nowMs - this.#recent.atMs > limits.mountsReadMs) {
      this.#recent = { atMs: nowMs, paths: this.#listed() };
    }
    return this.#recent.paths.has(path);
  }

  /** A directory was found to be a mount point. */
  note(path: string): void {
    if (this.#known.has(path) || this.#known.size >= limits.mountsMax) return;
    this.#known.set(path, false);
    this.#options.save([...this.#known.keys()]);
  }

  /** Nothing is left of what was mounted there, on any side. */
  forget(path: string): void {
    if (this.#known.delete(path)) this.#options.save([...this.#known.keys()]);
  }

  /** Whether no mount point is known. */
  get isEmpty(): boolean {
    return this.#known.size === 0;
  }

  /** Whether a directory is a mount point that was known as one. */
  has(path: string): boolean {
    return this.#known.has(path);
  }

  /** Whether a path is, or lies below, a known mount point. */
  covers(path: string): boolean {
    if (this.#known.size === 0) return false;
    for (let above = path; above !== ""; above = parentPath(above)) if (this.#known.has(above)) return true;
    return false;
  }

  /** Whether nothing is mounted at a known mount point now. */
  isVanished(path: string): boolean {
    if (!this.#known.has(path)) return false;
    const own = statOrUndefined(this.#options.tree, path);
    if (!own) return true;
    return own.dev === statOrUndefined(this.#options.tree, parentPath(path))?.dev &&
      !this.#listed().has(path);
  }

  /** The vanished mount point that a path is or lies below, if there is one. */
  vanishedAbove(path: string): string | undefined {
    if (this.#known.size === 0) return undefined;
    for (let above = path; above !== ""; above = parentPath(above)) {
      if (this.isVanished(above)) return above;
    }
    return undefined;
  }

  /** Mount points that vanished or came back since the last call: no event tells of that. */
  takeChanged(): string[] {
    const changed: string[] = [];
    for (const [path, wasVanished] of this.#known) {
      const isVanished = this.isVanished(path);
      if (isVanished === wasVanished) continue;
      this.#known.set(path, isVanished);
      changed.push(path);
    }
    return changed;
  }

  /** Mount points that the system lists now; none where it lists none, or the root is gone. */
  #listed(): Set<string> {
    try {
      const root = Deno.realPathSync(this.#options.tree.rootPath);
      return new Set(mountsBelow(root).map(({ place }) => place));
    } catch (error) {
      if (!errorCode(error)) throw error;
      return new Set();
    }
  }
}
