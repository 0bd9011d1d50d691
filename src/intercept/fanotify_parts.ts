/**
 * What is mounted below the root, and how each of it is heard: by a further mark of fanotify, or, where a file system
 * refuses that, by an interceptor of its own (inotify). What cannot be heard at all is looked at regularly.
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { errorCode, reasonOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { isWithin, joinPath, quote } from "../base/path.ts";
import type { FanotifyDirectories, Part } from "./fanotify_directories.ts";
import { type FanotifyQueue, keyOfPath } from "./fanotify_queue.ts";
import type { Gap } from "./gap.ts";
import { InotifyInterceptor } from "./inotify.ts";
import type { Hint, Interceptor, InterceptorOptions } from "./interceptor.ts";
import { type Mount, mountsBelow } from "./mounts.ts";

/** What {@linkcode FanotifyParts} needs. */
export interface FanotifyPartsOptions extends Pick<InterceptorOptions, "isExcluded"> {
  queue: FanotifyQueue;
  directories: FanotifyDirectories;
  /** Everything below this path is to be looked at. */
  onLookBelow: (path: string, reason: string) => void;
  /** What was heard otherwise. */
  onHints: (hints: Hint[]) => void;
}

/** A mount below the root. */
interface Mounted {
  path: string;
  key: string;
  /** Heard by fanotify. */
  part?: Part;
  refused?: RefusedPart;
}

/** The mounts below one root. */
export class FanotifyParts {
  readonly #options: FanotifyPartsOptions;
  #mounted = new Map<string, Mounted>();
  #isFirst = true;

  constructor(options: FanotifyPartsOptions) {
    this.#options = options;
  }

  /** Whether anything is mounted below the root. */
  get hasAny(): boolean {
    return this.#mounted.size > 0;
  }

  /** Parts that fanotify does not hear. */
  get refused(): RefusedPart[] {
    return [...this.#mounted.values()].flatMap(({ refused }) => refused ?? []);
  }

  /** Reads what is mounted now, and hears of it. Whatever came or went is looked below, save at the first time. */
  async refresh(): Promise<void> {
    const { directories, onLookBelow } = this.#options;
    const before = this.#mounted;
    const now = new Map<string, Mounted>();
    for (const mount of mountsBelow(directories.rootPath)) {
      const path = directories.relative(mount.path);
      if (path === undefined || path === "" || this.#isExcluded(path)) continue;
      const key = `${mount.id} ${path}`;
      const mounted = before.get(key) ?? this.#hear(mount, { path, key });
      if (mounted) now.set(key, mounted);
    }
    this.#mounted = now;
    directories.setParts([...now.values()].flatMap(({ part }) => part ?? []));
    for (const [key, { path, refused }] of before) {
      if (now.has(key)) continue;
      await refused?.stop();
      onLookBelow(path, "what was mounted there is gone");
    }
    if (!this.#isFirst) {
      for (const [key, { path }] of now) {
        if (!before.has(key)) onLookBelow(path, "something was mounted there");
      }
    }
    this.#isFirst = false;
  }

  /** The part that fanotify does not hear and in which a directory lies. */
  refusedAt(directory: string): RefusedPart | undefined {
    return this.refused.find(({ path }) => isWithin(directory, path));
  }

  async stop(): Promise<void> {
    for (const refused of this.refused) await refused.stop();
    this.#mounted.clear();
  }

  #hear({ path: absolute, type }: Mount, place: { path: string; key: string }): Mounted | undefined {
    const { queue } = this.#options;
    try {
      const { isDirectory } = Deno.lstatSync(absolute);
      queue.mark(absolute);
      const part: Part = { path: place.path, key: keyOfPath(absolute), isFile: !isDirectory };
      return { ...place, part };
    } catch (error) {
      // Another mount hides it, or it is gone again.
      if (["ENOENT", "ENOTDIR"].includes(errorCode(error))) return undefined;
      const refused = new RefusedPart(this.#options, {
        path: place.path,
        absolute,
        why: `${type}: ${reasonOf(error)}`,
      });
      refused.start();
      return { ...place, refused };
    }
  }

  #isExcluded(path: string): boolean {
    let above = "";
    return path.split("/").some((name) => this.#options.isExcluded?.(above = joinPath(above, name)) ?? false);
  }
}

/** A mount that fanotify does not hear: heard by inotify, or looked at regularly. */
export class RefusedPart {
  readonly path: string;
  readonly #options: FanotifyPartsOptions;
  readonly #absolute: string;
  readonly #why: string;
  #interceptor: Interceptor | undefined;
  #isHeard = false;
  #isStopped = false;
  #trouble = "it is being armed";
  #unheardSinceMs = systemClock.nowMs();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #starting: Promise<void> | undefined;

  constructor(
    options: FanotifyPartsOptions,
    { path, absolute, why }: { path: string; absolute: string; why: string },
  ) {
    this.path = path;
    this.#options = options;
    this.#absolute = absolute;
    this.#why = why;
  }

  /** Begins to hear. Everything is looked below once it does. */
  start(): void {
    this.#starting = this.#start();
  }

  /** For `status`. */
  get limitation(): string {
    return `${quote(this.path)} is ${this.#isHeard ? "heard by inotify" : "polled"}: ${this.#why}`;
  }

  /** Directories of it that are not heard; all of it counts as one. */
  get unwatched(): number {
    return this.#isHeard ? this.#interceptor!.stats.unwatched : 1;
  }

  /** As `Interceptor.gaps`. */
  gaps(): Gap[] {
    if (this.#isHeard) {
      return this.#interceptor!.gaps().map((gap) => ({
        ...gap,
        paths: gap.paths.map((path) => this.#placed(path)),
      }));
    }
    const again = `${limits.partRetryMs / 1_000} s`;
    const reason =
      `it cannot be watched (${this.#why}; ${this.#trouble}): it is polled, and tried again every ${again}`;
    return [{ name: "unwatchable", reason, count: 1, paths: [this.path], sinceMs: this.#unheardSinceMs }];
  }

  /** As `Interceptor.unheard`. */
  *unheard(): Iterable<string> {
    if (!this.#isHeard) yield this.path;
    else for (const path of this.#interceptor!.unheard()) yield this.#placed(path);
  }

  /** As `Interceptor.watch`; `directory` is relative to the root of all. */
  watch(directory: string): boolean {
    return this.#isHeard && this.#interceptor!.watch(directory.slice(this.path.length + 1));
  }

  /** As `Interceptor.rulesChanged`. */
  rulesChanged(): void {
    if (this.#isHeard) this.#interceptor!.rulesChanged();
  }

  /** As `Interceptor.sync`: what is not heard is polled. */
  sync(): Promise<boolean> {
    return this.#isHeard ? this.#interceptor!.sync() : Promise.resolve(true);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#retry);
    await this.#interceptor?.stop();
    await this.#starting;
  }

  async #start(): Promise<void> {
    const { isExcluded, onLookBelow } = this.#options;
    const interceptor = this.#interceptor = new InotifyInterceptor({
      root: this.#absolute,
      onHints: (hints) => this.#take(hints),
      isExcluded: isExcluded && ((path) => isExcluded(joinPath(this.path, path))),
    });
    try {
      await interceptor.start();
      this.#isHeard = !this.#isStopped;
    } catch (error) {
      if (!errorCode(error)) throw error;
      this.#fail(reasonOf(error));
    }
    if (!this.#isStopped) onLookBelow(this.path, "it was not heard until now");
  }

  /** Hears nothing; tries again a while later. */
  #fail(trouble: string): void {
    this.#isHeard = false;
    this.#trouble = trouble;
    this.#unheardSinceMs = systemClock.nowMs();
    if (this.#isStopped) return;
    this.#retry = setTimeout(async () => {
      await this.#interceptor?.stop();
      if (!this.#isStopped) this.start();
    }, limits.partRetryMs);
  }

  #take(hints: Hint[]): void {
    const gone = hints.find((hint) => hint.kind === "root-gone");
    this.#options.onHints(hints.flatMap((hint) => this.#placedHint(hint)));
    // The table of mounts tells whether anything is there still.
    if (gone?.kind === "root-gone") this.#fail(gone.reason);
  }

  #placedHint(hint: Hint): Hint[] {
    if (hint.kind === "root-gone") return [];
    if (hint.kind === "moved") return [{ ...hint, from: this.#placed(hint.from), to: this.#placed(hint.to) }];
    return [{ ...hint, path: this.#placed(hint.path) }];
  }

  #placed(path: string): string {
    return path === "" ? this.path : joinPath(this.path, path);
  }
}
