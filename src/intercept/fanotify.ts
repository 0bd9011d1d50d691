/**
 * Hears of changes by fanotify(7), through libc: one mark on the whole file system, so that nothing has to be armed
 * and no new directory can be missed. For root only.
 *
 * ```text
 *   kernel queue ─▶ FanotifyQueue ─▶ #take: one event ─▶ HintBatch ─▶ onHints
 *                                       │ handle           ▲
 *                                       ▼                  │ look below, where something was told shortly before
 *                         FanotifyDirectories: path now ─▶ ToldPlaces
 *                         FanotifyParts: mounts below the root
 * ```
 *
 * An event names its directory by a handle, and that is asked where the directory is *now*, at whatever place it was
 * when the event came to be. So a `look` may be told under a name of which `moved` is told only later, and a consumer
 * that looks there first meets something else under it, or nothing. Therefore, once a directory's rename is heard, both its
 * places are looked below if something was told there lately.
 *
 * What a consumer must know of `moved`: as with inotify, by the time it is told `to` may already be something else, and
 * the kernel merges equal renames that were not read yet: compare identities.
 *
 * All of it runs on the thread that started it, in slices of `limits.sliceMs`. Only the wait for events is on another.
 * @module
 */
import { systemClock, yieldToEvents } from "../base/clock.ts";
import { assert } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { joinPath, parentPath } from "../base/path.ts";
import { FanotifyDirectories, type Place } from "./fanotify_directories.ts";
import { FanotifyParts, type RefusedPart } from "./fanotify_parts.ts";
import { FAN, FanotifyQueue, type FanotifyQueueOptions } from "./fanotify_queue.ts";
import type { Gap } from "./gap.ts";
import { HintBatch } from "./hint_batch.ts";
import type { Interceptor, InterceptorOptions, InterceptorStats } from "./interceptor.ts";
import { ToldPlaces } from "./told_places.ts";

/** Reads of 256 KiB before other work gets its turn. */
const READS_MAX = 16;

/** Options of {@linkcode FanotifyInterceptor}. */
export interface FanotifyOptions extends InterceptorOptions, FanotifyQueueOptions {
  /** Changes made by this process are none. @default none is left out */
  ignoredPid?: number;
}

/** A caller of `sync`. */
interface Asking {
  /** Events that must have been taken before it is answered. */
  taken: number;
  answer: (told: boolean) => void;
}

/** The `fanotify` interceptor. Linux only, root only. */
export class FanotifyInterceptor implements Interceptor {
  readonly name = "fanotify";
  readonly lossy = false;
  readonly #options: FanotifyOptions;
  readonly #counts = { events: 0, overflows: 0 };
  readonly #batch = new HintBatch();
  readonly #told = new ToldPlaces();
  /** Files created in the batch under way, and not yet closed by their writer. */
  readonly #unfinished = new Set<string>();
  #queue!: FanotifyQueue;
  #directories!: FanotifyDirectories;
  #parts!: FanotifyParts;
  #state: "new" | "hearing" | "gone" | "stopped" = "new";
  /** Events taken, whatever became of them. */
  #taken = 0;
  #rootCheckedMs = 0;
  #mustReadMounts = false;
  #asked: Asking[] = [];
  #running: Promise<void> | undefined;

  constructor(options: FanotifyOptions) {
    this.#options = options;
  }

  get stats(): Readonly<InterceptorStats> {
    const refused = this.#refused;
    return {
      ...this.#counts,
      unwatched: refused.reduce((sum, part) => sum + part.unwatched, 0),
      limitation: refused.map(({ limitation }) => limitation).join("; "),
      // None is watched for itself.
      armed: 0,
      directories: 0,
    };
  }

  gaps(): Gap[] {
    return this.#refused.flatMap((part) => part.gaps());
  }

  *unheard(): Iterable<string> {
    for (const part of this.#refused) yield* part.unheard();
  }

  /** All is heard of from the start, save what is mounted and refused. */
  watch(directory: string): boolean {
    return this.#parts.refusedAt(directory)?.watch(directory) ?? true;
  }

  rulesChanged(): void {
    if (this.#state !== "hearing") return;
    this.#directories.forgetPaths();
    this.#mustReadMounts = true;
    for (const part of this.#refused) part.rulesChanged();
    this.#lookBelow("", "the rules changed");
    this.#queue.wake();
  }

  /** @throws {SystemError} If the root cannot be watched. */
  async start(): Promise<void> {
    assert(this.#state === "new", "an interceptor starts once");
    const { root, isExcluded, unlimited } = this.#options;
    using undo = new DisposableStack();
    const queue = undo.adopt(new FanotifyQueue({ unlimited }), (queue) => queue.close());
    const directories = undo.use(new FanotifyDirectories(root, queue, isExcluded));
    queue.mark(directories.rootByDescriptor);
    undo.move();
    this.#directories = directories;
    this.#parts = new FanotifyParts({
      queue,
      directories,
      isExcluded,
      onLookBelow: (path, reason) => {
        this.#lookBelow(path, reason);
        queue.wake();
      },
      onHints: (hints) => {
        if (this.#state === "hearing") this.#options.onHints(hints);
      },
    });
    this.#queue = queue;
    this.#state = "hearing";
    queue.mountsChanged();
    await this.#parts.refresh();
    this.#running = this.#run();
  }

  sync(): Promise<boolean> {
    if (this.#state !== "hearing") return Promise.resolve(false);
    const answered = new Promise<boolean>((answer) => {
      this.#asked.push({ taken: this.#queue.readCount + this.#queue.waitingCount(), answer });
    });
    this.#queue.wake();
    return answered;
  }

  async stop(): Promise<void> {
    if (this.#state !== "gone") this.#state = "stopped";
    this.#queue?.wake();
    await this.#parts?.stop();
    await this.#running;
    this.#close();
  }

  get #refused(): RefusedPart[] {
    return this.#parts?.refused ?? [];
  }

  #close(): void {
    if (!this.#queue || this.#queue.isClosed) return;
    this.#queue.close();
    this.#directories.close();
  }

  async #run(): Promise<void> {
    try {
      while (this.#state === "hearing") {
        await this.#queue.wait(limits.rootCheckMs);
        if (this.#isStopped()) break;
        const asked = this.#asked.length;
        const taken = this.#taken;
        await this.#drain();
        // Others are at work outside: to be woken for each of their changes would cost more than to take them.
        if (this.#taken > taken && this.#batch.size === 0 && asked === 0) {
          await systemClock.sleep(limits.outsidePauseMs);
        }
        if (this.#unfinished.size > 0) {
          // A name without its contents yet: what is written into it comes within the moment, mostly.
          await systemClock.sleep(limits.hintGatherMs);
          this.#unfinished.clear();
          await this.#drain();
        }
        await this.#settle(asked > 0);
        this.#deliver();
        this.#answer(asked);
        await yieldToEvents();
      }
    } finally {
      for (const { answer } of this.#asked.splice(0)) answer(false);
      await this.#parts.stop();
      // Nothing polls here, so that an error from the consumer may leave.
      this.#close();
    }
  }

  /** Answers those of the first `count` callers of {@linkcode sync} of which everything was told. */
  #answer(count: number): void {
    const due = this.#asked.slice(0, count).filter(({ taken }) => taken <= this.#taken);
    // The events of the others are still in the queue.
    if (due.length < count) this.#queue.wake();
    if (due.length === 0) return;
    this.#asked = this.#asked.filter((asking) => !due.includes(asking));
    // Not awaited: a part that is being armed keeps nobody else waiting.
    Promise.all(this.#refused.map((part) => part.sync())).then((others) => {
      for (const { answer } of due) answer(this.#state === "hearing" && others.every(Boolean));
    });
  }

  /** Takes the events that wait now, in slices. */
  async #drain(): Promise<void> {
    let sliceEnd = performance.now() + limits.sliceMs;
    // Bounded: a writer faster than this loop must not keep others waiting.
    for (let reads = 0; reads < READS_MAX; reads++) {
      if (!this.#queue.fill()) return;
      while (this.#queue.next()) {
        this.#take();
        if ((++this.#taken & 255) !== 0 || performance.now() < sliceEnd) continue;
        this.#deliver();
        await yieldToEvents();
        if (this.#isStopped()) return;
        sliceEnd = performance.now() + limits.sliceMs;
      }
    }
  }

  /** What becomes due between two drains. */
  async #settle(isAsked: boolean): Promise<void> {
    const trouble = this.#directories.takeTrouble();
    if (trouble !== "") this.#lookBelow("", trouble);
    const nowMs = performance.now();
    this.#told.age(nowMs);
    if (isAsked || nowMs - this.#rootCheckedMs >= limits.rootCheckMs) {
      this.#rootCheckedMs = nowMs;
      const stands = this.#directories.rootStands(this.#options.root);
      if (!stands) return this.#rootGone("its path leads elsewhere now");
      if (stands === "renamed") this.#lookBelow("", "a directory above it was renamed");
    }
    if (!this.#queue.mountsChanged() && !this.#mustReadMounts) return;
    this.#mustReadMounts = false;
    await this.#parts.refresh();
  }

  #deliver(): void {
    if (this.#isStopped() || this.#batch.size === 0) return;
    this.#options.onHints(this.#batch.take());
  }

  // ——— One event ———

  /** Takes the event that the queue read last. */
  #take(): void {
    const { mask, pid, place, newPlace, oldPlace, target } = this.#queue.event;
    if (mask & FAN.Q_OVERFLOW) return this.#overflowed();
    if (pid === this.#options.ignoredPid) return;
    for (const path of this.#directories.filesMounted(target)) this.#look(path);
    if (newPlace !== 0 || oldPlace !== 0) this.#takeRename();
    else if (place !== 0) this.#takeChange();
    else if (target !== 0) this.#takeNameless();
    if (this.#batch.size >= limits.hintBatchMax) this.#deliver();
  }

  #takeChange(): void {
    const { mask, place: record, target } = this.#queue.event;
    const places = this.#directories.find(record);
    if (places.length === 0) {
      if (mask & FAN.DELETE && mask & FAN.ONDIR && this.#directories.isRoot(target)) {
        this.#rootGone("it was removed");
      }
      return;
    }
    this.#counts.events++;
    const name = this.#queue.name(record);
    for (const place of places) this.#takeChangeAt(place, name, mask);
  }

  #takeChangeAt(place: Place, name: string, mask: number): void {
    const { path: directory } = place;
    if (place.isAbove) return this.#lookBelow(directory, "the path is longer than the kernel tells");
    if (name === ".") return this.#look(directory);
    const path = joinPath(directory, name);
    this.#look(path);
    // A name came or went: the directory has another time now, of which the kernel says nothing.
    if (mask & (FAN.CREATE | FAN.DELETE)) this.#look(directory);
    if (mask & FAN.ONDIR) return;
    if (mask & FAN.CLOSE_WRITE) this.#unfinished.delete(path);
    else if (mask & FAN.CREATE) this.#unfinished.add(path);
  }

  /** A change through no name that the kernel knew of: by a descriptor, or of the number of links. */
  #takeNameless(): void {
    for (const { path, isAbove } of this.#directories.findNow(this.#queue.event.target)) {
      this.#counts.events++;
      if (isAbove) this.#lookBelow(path, "the path is longer than the kernel tells");
      else this.#look(path);
    }
  }

  #takeRename(): void {
    const { mask, oldPlace, newPlace, target } = this.#queue.event;
    const directory = (mask & FAN.ONDIR) !== 0;
    const olds = oldPlace === 0 ? [] : this.#directories.find(oldPlace);
    const news = newPlace === 0 ? [] : this.#directories.find(newPlace);
    if (olds.length === 0 && news.length === 0) {
      // What lies below a directory that stays outside stays outside, but for the root.
      if (directory && this.#directories.isRoot(target)) this.#rootGone("it was renamed");
      return;
    }
    this.#counts.events++;
    for (const from of olds) this.#renamedAt(from, news.find(({ part }) => part === from.part), directory);
    for (const to of news) {
      if (!olds.some(({ part }) => part === to.part)) this.#renamedAt(undefined, to, directory);
    }
    if (!directory) return;
    this.#directories.forgetPaths();
    if (this.#parts.hasAny) this.#mustReadMounts = true;
  }

  /** What a rename means in one part of the tree; `undefined` is outside of it. */
  #renamedAt(old: Place | undefined, now: Place | undefined, directory: boolean): void {
    const { oldPlace, newPlace } = this.#queue.event;
    for (const place of [old, now]) {
      if (place?.isAbove) this.#lookBelow(place.path, "the path is longer than the kernel tells");
      else if (place) this.#look(place.path);
    }
    const from = this.#pathIn(old, oldPlace);
    const to = this.#pathIn(now, newPlace);
    if (from !== undefined && to !== undefined) this.#moved(from, to, directory);
    else if (from !== undefined) this.#look(from);
    else if (to !== undefined && directory) this.#lookBelow(to, "it was moved in");
    else if (to !== undefined) this.#look(to);
  }

  #pathIn(place: Place | undefined, record: number): string | undefined {
    if (!place || place.isAbove) return undefined;
    return joinPath(place.path, this.#queue.name(record));
  }

  #moved(from: string, to: string, directory: boolean): void {
    const wasTold = directory && (this.#told.has(from) || this.#told.has(to));
    this.#batch.moved(from, to, directory);
    this.#told.inside(parentPath(from));
    this.#look(to);
    if (wasTold) {
      // Whatever was told of either place may have met the other directory.
      this.#lookBelow(to, "it was renamed while it changed");
      this.#lookBelow(from, "it was renamed while it changed");
    } else if (directory && this.#options.isExcluded) {
      this.#lookBelow(to, "rules may meet it otherwise under its new name");
    }
  }

  #look(path: string): void {
    this.#batch.look(path);
    if (path !== "") this.#told.inside(parentPath(path));
  }

  #lookBelow(path: string, reason: string): void {
    this.#batch.lookBelow(path, reason);
    this.#told.below(path);
  }

  #overflowed(): void {
    this.#counts.overflows++;
    this.#directories.forgetPaths();
    this.#lookBelow("", "the kernel's queue of events overflowed");
  }

  #rootGone(reason: string): void {
    if (this.#state !== "hearing") return;
    this.#batch.rootGone(reason);
    this.#deliver();
    this.#state = "gone";
  }

  #isStopped(): boolean {
    return this.#state === "stopped" || this.#state === "gone";
  }
}
