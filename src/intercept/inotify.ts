/**
 * Hears of changes by inotify(7), through libc. It loses nothing: a new directory is watched first and listed then, a
 * renamed one keeps its watch, and when the kernel's queue overflows the tree is armed anew and looked at wholly.
 *
 * ```text
 *   kernel queue ─▶ InotifyQueue ─▶ #take: one event ─▶ HintBatch ─▶ onHints
 *                                      │  directory came, went, moved
 *                                      ▼
 *                                   WatchArmer: WatchTree, watches, listings in slices
 * ```
 *
 * All of it runs on the thread that started it, in slices of `limits.sliceMs`. Only the wait for events is on another.
 *
 * What a consumer must know of `moved`: by the time it is told, `to` may already be something else. Compare the
 * identity (`dev`, `ino`) before believing it, and look at both paths otherwise. A directory in which something was heard
 * of shortly before its rename is followed by `look-below`, since a look under its old name came to nothing.
 * @module
 */
import { systemClock, yieldToEvents, yieldToSockets } from "../base/clock.ts";
import { assert, errorCode, reasonOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { joinPath } from "../base/path.ts";
import { systemError } from "../sys/errno.ts";
import type { Gap } from "./gap.ts";
import { HintBatch } from "./hint_batch.ts";
import { IN, InotifyQueue, isInstanceLimit } from "./inotify_queue.ts";
import type { Interceptor, InterceptorOptions, InterceptorStats } from "./interceptor.ts";
import { MountPlaces } from "./mount_places.ts";
import { sysctl } from "./unheard.ts";
import { WatchArmer } from "./watch_armer.ts";
import { NONE, REFUSED, ROOT } from "./watch_tree.ts";

/** Reads of 256 KiB before other work gets its turn. */
const READS_MAX = 16;

/** The first half of a rename, waiting for the second. */
interface Departure {
  path: string;
  directory: boolean;
  /** The directory's node and watch descriptor, if it was watched. */
  node: number;
  wd: number;
  deadlineMs: number;
}

/** The `inotify` interceptor. Linux only. */
export class InotifyInterceptor implements Interceptor {
  readonly name = "inotify";
  readonly lossy = false;
  readonly #options: InterceptorOptions;
  readonly #counts = { events: 0, overflows: 0, unwatched: 0, limitation: "", armed: 0, directories: 0 };
  readonly #batch = new HintBatch();
  readonly #departures = new Map<number, Departure>();
  /** Files created in the batch under way, and not yet closed by their writer. */
  readonly #unfinished = new Set<string>();
  readonly #mounts: MountPlaces;
  readonly #stopping = new AbortController();
  #queue!: InotifyQueue;
  #armer!: WatchArmer;
  #state: "new" | "hearing" | "gone" | "stopped" = "new";
  #rearmReason = "";
  /** Wall clock since which no inotify instance can be had; everything is unheard meanwhile. */
  #instanceLimitSinceMs: number | undefined;
  /** Of the directory that was watched first: another one under its path is the manager's to judge. */
  #rootIdentity = "";
  /** Wall clock of the overflow since which the tree is not armed wholly again. */
  #overflowSinceMs: number | undefined;
  #socketsDueMs = 0;
  #rootCheckedMs = 0;
  /** Callers of {@linkcode sync}. */
  readonly #asked: ((told: boolean) => void)[] = [];
  #running: Promise<void> | undefined;

  constructor(options: InterceptorOptions) {
    this.#options = options;
    this.#mounts = new MountPlaces(options.root);
  }

  get stats(): Readonly<InterceptorStats> {
    this.#counts.unwatched = this.#armer?.unheard.size ?? 0;
    this.#counts.armed = this.#armer?.armed ?? 0;
    this.#counts.directories = this.#armer?.known ?? 0;
    return this.#counts;
  }

  /** Directories watched, for tests and for measuring. */
  get watchedCount(): number {
    return this.#armer?.tree.size ?? 0;
  }

  gaps(): Gap[] {
    const armer: WatchArmer | undefined = this.#armer;
    if (this.#instanceLimitSinceMs !== undefined) return [instanceGap(this.#instanceLimitSinceMs)];
    if (!armer) return [];
    const gaps = [...armer.unheard.gaps((node) => armer.tree.path(node)), ...this.#mounts.gaps()];
    if (this.#overflowSinceMs !== undefined) gaps.push(overflowGap(this.#overflowSinceMs, armer));
    else if (armer.armingSinceMs !== undefined) gaps.push(armingGap(armer.armingSinceMs, armer));
    if (armer.disorderSinceMs !== undefined) gaps.push(disorderGap(armer.disorderSinceMs));
    return gaps;
  }

  *unheard(): Iterable<string> {
    if (this.#instanceLimitSinceMs !== undefined) yield "";
    if (this.#instanceLimitSinceMs !== undefined || !this.#armer) return;
    yield* this.#mounts.files;
    const { tree, unheard } = this.#armer;
    for (const node of unheard) {
      const path = tree.path(node);
      if (path !== undefined) yield path;
    }
  }

  /** @throws {SystemError} If the root cannot be watched. */
  // deno-lint-ignore require-await -- the work is synchronous, the interface is not
  async start(): Promise<void> {
    assert(this.#state === "new", "an interceptor starts once");
    this.#rootIdentity = identityOf(this.#options.root);
    this.#openOrPoll();
    this.#state = "hearing";
    this.#running = this.#live();
  }

  watch(directory: string): boolean {
    return this.#isHearing() && this.#armer.watchAhead(directory);
  }

  rulesChanged(): void {
    if (!this.#isHearing()) return;
    this.#armer.rulesChanged();
    this.#queue.wake();
  }

  sync(): Promise<boolean> {
    if (!this.#isHearing()) return Promise.resolve(false);
    const answered = new Promise<boolean>((resolve) => this.#asked.push(resolve));
    this.#queue.wake();
    return answered;
  }

  async stop(): Promise<void> {
    if (this.#state !== "gone") this.#state = "stopped";
    this.#stopping.abort();
    this.#queue?.wake();
    await this.#running;
    this.#queue?.close();
  }

  /** Opens a queue and begins to arm the tree; where no instance can be had, everything is unheard. */
  #openOrPoll(): void {
    try {
      this.#open();
    } catch (error) {
      if (!isInstanceLimit(error)) throw error;
      this.#instanceLimitSinceMs ??= systemClock.nowMs();
      return;
    }
    this.#instanceLimitSinceMs = undefined;
    // What is mounted from now on is told of; what was before is met by arming.
    this.#mounts.read();
    this.#armer.armAll();
  }

  /** Makes a queue with a watch on the root, and a tree of the root alone. */
  #open(): void {
    const queue = new InotifyQueue();
    try {
      const rootWd = queue.watchRoot(this.#options.root);
      this.#armer = new WatchArmer(queue, rootWd, { ...this.#options, batch: this.#batch });
    } catch (error) {
      queue.close();
      throw error;
    }
    this.#queue = queue;
    this.#departures.clear();
  }

  async #live(): Promise<void> {
    while (this.#state === "hearing") {
      if (this.#isHearing()) await this.#run();
      else await this.#waitForInstance();
    }
  }

  /** Tries to open a queue, until one can be had. */
  async #waitForInstance(): Promise<void> {
    await systemClock.sleep(limits.pollEveryMs, this.#stopping.signal);
    if (this.#isStopped()) return;
    try {
      if (identityOf(this.#options.root) !== this.#rootIdentity) {
        return this.#rootGone("its path leads elsewhere now");
      }
      this.#openOrPoll();
    } catch (error) {
      return this.#rootGone(reasonOf(error));
    }
    if (!this.#isHearing()) return;
    this.#batch.lookBelow("", "it can be watched now");
    this.#deliver();
  }

  /** Whether there is a queue. */
  #isHearing(): boolean {
    return this.#state === "hearing" && this.#instanceLimitSinceMs === undefined;
  }

  async #run(): Promise<void> {
    try {
      while (this.#isHearing()) {
        if (this.#rearmReason !== "") this.#rearm();
        else if (!this.#armer.busy) await this.#waitForEvents();
        if (!this.#isHearing()) break;
        const asked = this.#asked.length;
        let allHeard = await this.#drain();
        if (this.#unfinished.size > 0) {
          // A name without its contents yet: what is written into it comes within the moment, mostly.
          await systemClock.sleep(limits.hintGatherMs);
          this.#unfinished.clear();
          allHeard = await this.#drain();
        }
        this.#settle();
        this.#armer.work(performance.now() + limits.sliceMs, allHeard);
        this.#deliver();
        if (this.#armer.lost) this.#rearmReason ||= "a directory was not where it was heard of";
        if (allHeard && this.#isAllTold()) this.#answer(asked, !this.#armer.disordered);
        if (!this.#armer.busy && this.#rearmReason === "") this.#overflowSinceMs = undefined;
        await this.#letOthersRun();
      }
    } finally {
      this.#answer(this.#asked.length, false);
      // Nothing polls here, so that an error from the consumer may leave.
      this.#queue.close();
    }
  }

  /** Between two slices. Arming a large tree takes many, and acks and pings are to be heard meanwhile. */
  #letOthersRun(): Promise<void> {
    const nowMs = performance.now();
    if (!this.#armer.busy) this.#socketsDueMs = nowMs + limits.socketsMs;
    if (nowMs < this.#socketsDueMs) return yieldToEvents();
    this.#socketsDueMs = nowMs + limits.socketsMs;
    return yieldToSockets();
  }

  async #waitForEvents(): Promise<void> {
    const waiting = this.#departures.size > 0 ? limits.renamePartnerMs : limits.rootCheckMs;
    await this.#queue.wait(Math.min(waiting, this.#armer.patienceMs));
  }

  /** Answers the first `count` callers of {@linkcode sync}. */
  #answer(count: number, told: boolean): void {
    for (const answer of this.#asked.splice(0, count)) answer(told);
  }

  /** Whether nothing that was heard waits to be told, or whether that would take an audit. */
  #isAllTold(): boolean {
    if (this.#rearmReason !== "" || this.#departures.size > 0) return false;
    return this.#armer.disordered || !(this.#armer.busy || this.#armer.unsure);
  }

  /** Takes all events that wait now, in slices. `false` if more may wait. */
  async #drain(): Promise<boolean> {
    let sliceEnd = performance.now() + limits.sliceMs;
    let taken = 0;
    // Bounded: a writer faster than this loop must not keep departures and directories waiting.
    for (let reads = 0; reads < READS_MAX; reads++) {
      if (!this.#queue.fill()) return true;
      while (this.#queue.next()) {
        this.#take();
        if ((++taken & 255) !== 0 || performance.now() < sliceEnd) continue;
        if (this.#state === "hearing") this.#deliver();
        await yieldToEvents();
        if (this.#isStopped()) return false;
        sliceEnd = performance.now() + limits.sliceMs;
      }
    }
    return false;
  }

  /** What becomes due between two drains. */
  #settle(): void {
    const nowMs = performance.now();
    for (const [cookie, departure] of this.#departures) {
      if (departure.deadlineMs > nowMs) break;
      this.#departures.delete(cookie);
      this.#departed(departure);
    }
    const remounted = this.#queue.mountsChanged();
    if (!remounted && nowMs - this.#rootCheckedMs < limits.rootCheckMs) return;
    this.#rootCheckedMs = nowMs;
    if (this.#isRootThere() && remounted) this.#takeMounts();
  }

  /** Looks at the places where something was mounted or unmounted. */
  #takeMounts(): void {
    for (const place of this.#mounts.read()) {
      this.#batch.look(place);
      this.#armer.placeChanged(place);
    }
  }

  #isRootThere(): boolean {
    const isThere = this.#queue.isRoot(this.#options.root, this.#armer.tree.wd(ROOT));
    if (!isThere) this.#rootGone("its path leads elsewhere now");
    return isThere;
  }

  #deliver(): void {
    if (this.#isStopped() || this.#batch.size === 0) return;
    this.#options.onHints(this.#batch.take());
  }

  /** Starts over with an empty queue: cheaper to get right than mending a tree of which events were lost. */
  #rearm(): void {
    const reason = this.#rearmReason;
    this.#rearmReason = "";
    // Never follow a path to another directory: the new root is the manager's to judge.
    if (!this.#isRootThere()) return;
    this.#queue.close();
    try {
      this.#openOrPoll();
    } catch (error) {
      return this.#rootGone(reasonOf(error));
    }
    this.#batch.lookBelow("", reason);
    this.#deliver();
  }

  /** Takes the event that the queue read last. */
  #take(): void {
    const { wd, mask, cookie, name } = this.#queue.event;
    this.#counts.events++;
    if (mask & IN.Q_OVERFLOW) return this.#overflowed();
    const { tree } = this.#armer;
    const node = tree.byWd(wd);
    if (node === NONE) return;
    if (name === "") return this.#takeOwn(node, mask);
    const directoryPath = tree.path(node);
    if (directoryPath === undefined) return;
    this.#armer.heard(node);
    const path = joinPath(directoryPath, name);
    if (mask & IN.MOVED_FROM) this.#takeDeparture(node, path);
    else if (mask & IN.MOVED_TO) this.#takeArrival(node, path, this.#departures.get(cookie));
    else this.#takeChange(node, path);
    // A name came or went: the directory has another time now, of which the kernel says nothing.
    if (mask & (IN.MOVED_FROM | IN.MOVED_TO | IN.CREATE | IN.DELETE)) this.#batch.look(directoryPath);
    if (this.#batch.size >= limits.hintBatchMax && this.#state === "hearing") this.#deliver();
  }

  /** An event of a watched directory itself. */
  #takeOwn(node: number, mask: number): void {
    const { tree } = this.#armer;
    const path = tree.path(node);
    if (node === ROOT && mask & (IN.DELETE_SELF | IN.IGNORED)) return this.#rootGone("it was removed");
    if (node === ROOT && mask & IN.MOVE_SELF) return this.#rootGone("it was renamed");
    if (node === ROOT && mask & IN.UNMOUNT) return this.#rootGone("it was unmounted");
    if (path !== undefined) this.#batch.look(path);
    if (mask & IN.UNMOUNT) this.#armer.lookAgain(tree.parent(node), tree.name(node));
    if (mask & IN.IGNORED) this.#armer.forget(node);
  }

  #takeChange(parent: number, path: string): void {
    const { mask, name } = this.#queue.event;
    this.#batch.look(path);
    if (!(mask & IN.ISDIR)) {
      if (mask & IN.CREATE) this.#unfinished.add(path);
      else if (mask & IN.CLOSE_WRITE) this.#unfinished.delete(path);
      return;
    }
    const { tree } = this.#armer;
    if (mask & IN.DELETE) return this.#armer.left(tree.find(parent, name));
    const known = tree.find(parent, name);
    const refused = known !== NONE && tree.wd(known) === REFUSED;
    if (mask & IN.CREATE || (mask & IN.ATTRIB && (known === NONE || refused))) {
      this.#armer.adopt(parent, name);
    }
  }

  #takeDeparture(parent: number, path: string): void {
    const { mask, cookie, name } = this.#queue.event;
    const directory = (mask & IN.ISDIR) !== 0;
    const node = directory ? this.#armer.tree.find(parent, name) : NONE;
    const wd = node === NONE ? NONE : this.#armer.tree.wd(node);
    const deadlineMs = performance.now() + limits.renamePartnerMs;
    this.#departures.set(cookie, { path, directory, node, wd, deadlineMs });
  }

  #takeArrival(parent: number, path: string, departure: Departure | undefined): void {
    const { mask, cookie, name } = this.#queue.event;
    const directory = (mask & IN.ISDIR) !== 0;
    this.#departures.delete(cookie);
    if (departure) this.#batch.moved(departure.path, path, directory);
    this.#batch.look(path);
    if (!directory) return;
    if (departure && this.#isStillAt(departure)) this.#armer.renamed(departure.node, parent, name);
    else this.#armer.adopt(parent, name);
  }

  /** The second half of a rename did not come: it left the tree. */
  #departed(departure: Departure): void {
    this.#batch.look(departure.path);
    if (!this.#isStillAt(departure)) return;
    // It may have come back to the same place meanwhile.
    const { tree } = this.#armer;
    this.#armer.adopt(tree.parent(departure.node), tree.name(departure.node));
  }

  /** Whether the directory that departed was watched, and nothing else was found out about it since. */
  #isStillAt({ path, node, wd }: Departure): boolean {
    const { tree } = this.#armer;
    return tree.exists(node) && tree.wd(node) === wd && tree.path(node) === path;
  }

  #overflowed(): void {
    this.#counts.overflows++;
    this.#overflowSinceMs ??= systemClock.nowMs();
    this.#rearmReason = `the kernel's queue of events overflowed (${sysctl("max_queued_events")})`;
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

function armingGap(sinceMs: number, { armed, known }: WatchArmer): Gap {
  const reason = `armed ${armed} of ${known} directories known so far: each is looked at after it is armed`;
  return { name: "arming", reason, count: Math.max(known - armed, 1), paths: [], sinceMs };
}

function overflowGap(sinceMs: number, { armed, known }: WatchArmer): Gap {
  const reason = `the kernel's queue of events overflowed (${sysctl("max_queued_events")}): ` +
    `armed anew ${armed} of ${known} directories known so far, and everything is looked at`;
  return { name: "overflow", reason, count: Math.max(known - armed, 1), paths: [], sinceMs };
}

function disorderGap(sinceMs: number): Gap {
  const reason =
    "directories were found elsewhere than events had told: every directory is listed again once it is quiet";
  return { name: "disorder", reason, count: 1, paths: [], sinceMs };
}

function instanceGap(sinceMs: number): Gap {
  const reason =
    `the limit of inotify instances is reached (${sysctl("max_user_instances")}) or that of open files: ` +
    `everything is looked at every ${limits.pollEveryMs / 1_000} s or less often until one can be had`;
  return { name: "instance-limit", reason, count: 1, paths: [""], sinceMs };
}

/** Tells a directory from one that replaced it. @throws {SystemError} If there is none. */
function identityOf(root: string): string {
  try {
    const { dev, ino, isDirectory } = Deno.statSync(root);
    if (!isDirectory) throw systemError("ENOTDIR", "watch", root);
    return `${dev}:${ino}`;
  } catch (error) {
    throw systemError(errorCode(error) || "ENOENT", "watch", root);
  }
}
