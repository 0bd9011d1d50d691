/**
 * Learns of changes in a directory tree. Events are hints: "look at this path". What happened is told by the disk,
 * never by the kind of an event (DESIGN §3, invariant 4).
 * @module
 */
import type { Gap } from "./gap.ts";

/** Interceptors that hear of a change afterwards. */
export type WatchingInterceptorName = "watchfs" | "inotify" | "fanotify";

/** A hint from an interceptor. Paths are relative to the root. */
export type Hint =
  /** Look at this path. */
  | { kind: "look"; path: string }
  /** Look at this path and at everything below it: a directory appeared or its watch may have missed something. */
  | { kind: "look-below"; path: string; reason: string }
  /** `from` became `to`, as one rename inside the tree. Paths below moved along. */
  | { kind: "moved"; from: string; to: string; directory: boolean }
  /** The root itself was removed, renamed or unmounted. Nothing more is heard until it is back. */
  | { kind: "root-gone"; reason: string };

/** Numbers for `status`. */
export interface InterceptorStats {
  /** Events heard. */
  events: number;
  /** Times that events were lost and said so (kernel queue full); each was answered by `look-below ""`. */
  overflows: number;
  /** Directories that cannot be watched (watch limit, no permission); they are looked at regularly. */
  unwatched: number;
  /** Why it hears nothing or only part and looks at everything regularly instead; `""` while it hears. */
  limitation: string;
  /** Directories that are watched, listed and heard of wholly. */
  armed: number;
  /** Directories known so far: more than `armed` while the tree, or a part that came in, is being armed. */
  directories: number;
}

/** A running interceptor. */
export interface Interceptor {
  readonly name: WatchingInterceptorName;
  /** Whether a change can pass unheard without being reported (`watchfs`): `flush` then scans. */
  readonly lossy: boolean;
  readonly stats: Readonly<InterceptorStats>;
  /** What keeps changes from being heard at once, now. */
  gaps(): Gap[];
  /** Directories that are not heard of, each with everything below: to be looked at regularly, and by `flush`. */
  unheard(): Iterable<string>;
  /**
   * Begins to hear: when it resolves the root is watched, and the rest is armed from then on, in slices. Hints of the
   * armed parts come meanwhile. Scan after this, never before, and {@linkcode watch} each directory before it is scanned
   * (invariant 5).
   *
   * @throws {SystemError} If the root cannot be watched at all.
   */
  start(): Promise<void>;
  /**
   * Arms a directory ahead of its turn: every change in it after this call is heard, or a `look-below` that covers it
   * will be told. Costs next to nothing once the whole tree is armed.
   *
   * @returns Whether it is heard of; otherwise it is gone or one of the {@linkcode unheard}.
   */
  watch(directory: string): boolean;
  /** `isExcluded` answers otherwise than before: what is excluded now is let go, what is not is watched and looked below. */
  rulesChanged(): void;
  /**
   * Hands on every hint of the changes made before the call. The kernel queues an event before the call that caused it
   * returns, so reading until the queue is empty is enough and no cookie file is needed.
   *
   * @returns Whether that can be promised; otherwise only a scan tells.
   */
  sync(): Promise<boolean>;
  /** Stops and frees everything. No hint is given afterwards. */
  stop(): Promise<void>;
}

/** What an interceptor needs. */
export interface InterceptorOptions {
  /** Absolute path of the root, an existing directory. */
  root: string;
  /** Takes hints, in the order they were heard, a batch at a time. Called on the thread that started it. */
  onHints: (hints: Hint[]) => void;
  /** How long a look at everything takes, milliseconds; 0 before the first. @default {() => 0} */
  everythingTakesMs?: () => number;
  /** Whether the tree below a relative directory path is outside the set and need not be watched. */
  isExcluded?: (path: string) => boolean;
}
