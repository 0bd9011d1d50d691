/**
 * Directories that are in the tree but not heard of, each with everything below it, by the cause. Whoever follows the
 * tree looks at them regularly; the watches are tried again now and then (watch_armer.ts).
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";
import type { Gap } from "./gap.ts";

/** Why a directory is not heard of. */
export type Cause = "watch-limit" | "unreadable" | "unwatchable" | "same-directory";

/** The directories of one cause. */
interface Part {
  readonly nodes: Set<number>;
  sinceMs: number;
}

/** Nodes of a `WatchTree` that are not heard of. */
export class UnheardNodes {
  readonly #parts: Record<Cause, Part> = {
    "watch-limit": emptyPart(),
    "unreadable": emptyPart(),
    "unwatchable": emptyPart(),
    "same-directory": emptyPart(),
  };

  /** Nodes of all causes. */
  get size(): number {
    return Object.values(this.#parts).reduce((sum, { nodes }) => sum + nodes.size, 0);
  }

  /** Nodes of one cause. A node that is added or deleted while this is read may be given or not. */
  of(cause: Cause): ReadonlySet<number> {
    return this.#parts[cause].nodes;
  }

  add(node: number, cause: Cause): void {
    this.delete(node);
    const part = this.#parts[cause];
    if (part.nodes.size === 0) part.sinceMs = systemClock.nowMs();
    part.nodes.add(node);
  }

  delete(node: number): void {
    for (const { nodes } of Object.values(this.#parts)) nodes.delete(node);
  }

  /**
   * Nodes that are tried to be watched now, the first at the end. Of the watch limit one tells for all; of the others each
   * for itself, so many a round.
   */
  chooseForRetry(): number[] {
    const [limited] = this.#parts["watch-limit"].nodes;
    const chosen = limited === undefined ? [] : [limited];
    for (const cause of ["unreadable", "unwatchable", "same-directory"] as const) {
      const { nodes } = this.#parts[cause];
      const some = [...nodes].slice(0, limits.watchRetriesAtOnce);
      // Behind the others, for the next round.
      for (const node of some) if (nodes.delete(node)) nodes.add(node);
      chosen.push(...some);
    }
    return chosen;
  }

  /** Every node, those of a cause one after the other. */
  *[Symbol.iterator](): Iterator<number> {
    for (const { nodes } of Object.values(this.#parts)) yield* nodes;
  }

  /** The gaps that these nodes are. `path` gives `undefined` for a node that has none at the moment. */
  gaps(path: (node: number) => string | undefined): Gap[] {
    const gaps: Gap[] = [];
    for (const [name, { nodes, sinceMs }] of Object.entries(this.#parts) as [Cause, Part][]) {
      if (nodes.size === 0) continue;
      const paths: string[] = [];
      let asked = 0;
      for (const node of nodes) {
        const found = path(node);
        if (found !== undefined) paths.push(found);
        if (++asked === limits.gapPathsShown) break;
      }
      gaps.push({ name, reason: reasons[name](), count: nodes.size, paths, sinceMs });
    }
    return gaps;
  }
}

/** The cause that an errno's name means. */
export function causeOf(code: string): Cause {
  if (code === "ENOSPC" || code === "ENOMEM") return "watch-limit";
  return code === "EACCES" || code === "EPERM" ? "unreadable" : "unwatchable";
}

/** A limit of inotify by its name in `/proc/sys/fs/inotify`, with its value where that can be read: `name = 8192`. */
export function sysctl(name: string): string {
  try {
    return `fs.inotify.${name} = ${Deno.readTextFileSync(`/proc/sys/fs/inotify/${name}`).trim()}`;
  } catch {
    return `fs.inotify.${name}`;
  }
}

const polled = `looked at every ${limits.pollEveryMs / 1_000} s or less often`;

const reasons: Record<Cause, () => string> = {
  "watch-limit": () =>
    `the limit of watches is reached (${sysctl("max_user_watches")}): these directories are ${polled} ` +
    "until the limit is raised or watches are free",
  "unreadable": () => `no permission to read: these directories are ${polled} until they may be read`,
  "unwatchable": () => `they cannot be watched: these directories are ${polled} until they can`,
  "same-directory": () => `a directory stands at a second place: there it is ${polled} until it is gone`,
};

function emptyPart(): Part {
  return { nodes: new Set(), sinceMs: 0 };
}
