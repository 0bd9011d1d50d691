/**
 * Hears of changes by `Deno.watchFs`: works on every system and needs no rights, but loses events without a word. What
 * is known to go wrong, and the answer:
 *
 * | `Deno.watchFs`                                        | here                                                    |
 * |-------------------------------------------------------|---------------------------------------------------------|
 * | watches a new directory too late                      | it is looked below at once, after 0.3 s and after 1.5 s |
 * | loses most of a storm; swallows the kernel's overflow | a storm, or `flag: "rescan"`, is one look at everything |
 * | tells the old name of a rename before the new one,    | what went is told a moment later than what came, so     |
 * | as a removal                                          | that a rename is found to be one                        |
 * | loses what nobody can know of                         | a look at everything every `verifyEveryMs`, and for no  |
 * |                                                       | more than 0.5 % of the time                             |
 * | throws on a name that is not UTF-8                    | a look at everything; the same watcher goes on          |
 * | opens a FIFO that it hears of, and hangs              | a probe outside the tree tells; until it hears again    |
 * |                                                       | only looks at everything, every 2 s, and for no more    |
 * |                                                       | than a tenth of the time                                |
 * | goes on listening to a root that is no longer there   | the root's identity is compared with every probe        |
 * | cannot watch a whole tree (watch limit)               | only looks at everything                                |
 *
 * A watcher that hangs is not this thread, but to close it or to start another one in this process hangs this thread too, and
 * so does a process that ends without `Deno.exit`. So it is left alone; it goes on when somebody opens the FIFO for
 * writing. (To do that ourselves would give its readers an end of file.)
 *
 * Renames come as two separate paths: `moved` is never said. Excluded directories are heard of too.
 * Starting takes as long as watching every directory does, in one go.
 * @module
 */
import { assert, errorCode, reasonOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { parentPath } from "../base/path.ts";
import { systemError } from "../sys/errno.ts";
import type { Gap } from "./gap.ts";
import { HintBatch } from "./hint_batch.ts";
import type { Interceptor, InterceptorOptions, InterceptorStats } from "./interceptor.ts";

/** Options of {@linkcode WatchfsInterceptor}. */
export interface WatchfsOptions extends InterceptorOptions {
  /** Pause between two looks at everything, in milliseconds. @default {10_000} */
  verifyEveryMs?: number;
  /** Pause between two probes of whether it hears, in milliseconds; each has as long to be heard. @default {2_000} */
  probeEveryMs?: number;
}

const PROBE_NAME = "probe";
const lateWatch = "its watch may have come late";

/** Whether the one thread that serves all watchers of this thread hangs. */
let hangsHere = false;

/** The `watchfs` interceptor. */
export class WatchfsInterceptor implements Interceptor {
  readonly name = "watchfs";
  readonly lossy = true;
  readonly #options: WatchfsOptions;
  // Which directories there are only Deno.watchFs knows.
  readonly #counts = { events: 0, overflows: 0, unwatched: 0, limitation: "", armed: 0, directories: 0 };
  readonly #batch = new HintBatch();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  /** Prefixes of reported paths: as given, and with symbolic links resolved. */
  #prefixes: string[] = [];
  #identity = "";
  #probeDirectory = "";
  #probesSent = 0;
  #probesHeard = 0;
  #watcher: Deno.FsWatcher | undefined;
  #isDeaf = false;
  /** Called when a probe was heard, while the watcher is to be closed. */
  #proven: (() => void) | undefined;
  #deliveryDue = false;
  #windowStartMs = 0;
  #windowEvents = 0;
  #isStorm = false;
  #state: "new" | "hearing" | "gone" | "stopped" = "new";

  constructor(options: WatchfsOptions) {
    this.#options = options;
  }

  get stats(): Readonly<InterceptorStats> {
    return this.#counts;
  }

  /** @throws {SystemError} If the root is not a directory that can be seen. */
  // deno-lint-ignore require-await -- the work is synchronous, the interface is not
  async start(): Promise<void> {
    assert(this.#state === "new", "an interceptor starts once");
    const { root } = this.#options;
    this.#identity = identityOf(root);
    this.#prefixes = [...new Set([root, Deno.realPathSync(root)].map(slashed))];
    this.#probeDirectory = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "understudy-probe-" }));
    this.#state = "hearing";
    this.#listen();
    const { probeEveryMs, verifyEveryMs, everythingTakesMs = () => 0 } = this.#options;
    this.#every(() => probeEveryMs ?? limits.watchfsProbeMs, () => this.#probe());
    this.#every(
      () => Math.max(verifyEveryMs ?? limits.watchfsVerifyMs, limits.watchfsRestFactor * everythingTakesMs()),
      () => this.#lookAtAll("regular verification"),
    );
    const deafScanMs = Math.min(limits.deafScanMs, verifyEveryMs ?? limits.deafScanMs);
    this.#every(() => Math.max(deafScanMs, limits.pollRestFactor * everythingTakesMs()), () => {
      if (this.#counts.limitation !== "") this.#lookAtAll(this.#counts.limitation);
    });
  }

  /** What it cannot hear it looks at by itself; {@linkcode stats} say so. */
  gaps(): Gap[] {
    return [];
  }

  unheard(): string[] {
    return [];
  }

  /** Everything that can be watched is, since the start. */
  watch(): boolean {
    return true;
  }

  /** Excluded directories are heard of too: only what is not excluded any more was never looked at. */
  rulesChanged(): void {
    if (this.#state === "hearing") this.#lookAtAll("the rules changed");
  }

  /** Promises nothing: only a scan tells. */
  sync(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async stop(): Promise<void> {
    if (this.#state !== "gone") this.#state = "stopped";
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    await this.#closeWatcher();
    const probeDirectory = this.#probeDirectory;
    this.#probeDirectory = "";
    if (probeDirectory !== "") await Deno.remove(probeDirectory, { recursive: true });
  }

  /** Starts the watcher, or says why there can be none. */
  #listen(): void {
    if (hangsHere) return this.#limit("another watcher of this process hangs at a FIFO");
    try {
      this.#watcher = Deno.watchFs([this.#options.root, this.#probeDirectory], { recursive: true });
    } catch (error) {
      return this.#limit(`the tree cannot be watched: ${reasonOf(error)}`);
    }
    // Never awaited: that of a deaf watcher does not end.
    this.#take(this.#watcher);
  }

  /** From now on only regular looks at everything tell, until `limitation` is taken back. */
  #limit(limitation: string): void {
    this.#counts.limitation = limitation;
    // The root stands for the whole tree.
    this.#counts.unwatched = limitation === "" ? 0 : 1;
  }

  /** Takes events until the watcher is closed, or fails again and again. */
  async #take(watcher: Deno.FsWatcher): Promise<void> {
    const events = watcher[Symbol.asyncIterator]();
    for (let failures = 0; failures < limits.watchfsFailuresMax;) {
      try {
        // By hand: `for await` would end with the first name that is not UTF-8.
        const next = await events.next();
        if (next.done) return;
        failures = 0;
        if (!this.#noteProbe(next.value.paths) && this.#state === "hearing") this.#takeEvent(next.value);
      } catch (error) {
        failures++;
        this.#lookAtAll(`listening failed: ${reasonOf(error)}`);
      }
    }
    this.#limit("listening fails again and again");
  }

  #takeEvent(event: Deno.FsEvent): void {
    if (event.kind === "access" && !event.flag) return;
    this.#counts.events++;
    if (event.flag === "rescan") {
      this.#counts.overflows++;
      return this.#lookAtAll("events were lost");
    }
    if (this.#isInStorm(performance.now())) return;
    for (const reported of event.paths) {
      const path = this.#relative(reported);
      if (path === undefined) continue;
      if (event.kind === "remove") this.#after(limits.watchfsDepartureMs, () => this.#departed(path));
      else this.#heard(path, event.kind);
    }
  }

  #heard(path: string, kind: Deno.FsEvent["kind"]): void {
    this.#batch.look(path);
    if (kind !== "modify") this.#cameOrWent(path);
    this.#deliverSoon();
  }

  /** Its new name, if it has one, was told meanwhile: so it is found to have moved, not to be gone. */
  #departed(path: string): void {
    this.#batch.look(path);
    if (path !== "") this.#batch.look(parentPath(path));
    this.#deliverSoon();
  }

  /** A name may have come or gone: its directory has another time, and if it is a directory its watch may come late. */
  #cameOrWent(path: string): void {
    if (path === "") return;
    const { root } = this.#options;
    this.#batch.look(parentPath(path));
    if (!isDirectory(`${root}/${path}`)) return;
    this.#lookBelow(path, lateWatch);
    for (const pauseMs of limits.newDirectoryLooksMs) {
      // Of its end an event tells: looked for here, it would be gone before its new name was heard.
      this.#after(pauseMs, () => isDirectory(`${root}/${path}`) && this.#lookBelow(path, lateWatch));
    }
  }

  /** Whether so much is heard that single paths say less than they cost. Everything is looked at when it is over. */
  #isInStorm(nowMs: number): boolean {
    if (nowMs - this.#windowStartMs > limits.stormWindowMs) {
      this.#windowStartMs = nowMs;
      this.#windowEvents = 0;
    }
    if (++this.#windowEvents <= limits.stormEvents) return this.#isStorm;
    if (!this.#isStorm) {
      this.#isStorm = true;
      // Again later: directories made meanwhile are watched by then.
      for (const pauseMs of [0, ...limits.newDirectoryLooksMs]) this.#after(pauseMs, () => this.#stormLook());
    }
    return true;
  }

  #stormLook(): void {
    const isCalm = performance.now() - this.#windowStartMs > limits.stormWindowMs;
    this.#isStorm = !isCalm && this.#windowEvents > limits.stormEvents;
    if (this.#isStorm) this.#after(limits.newDirectoryLooksMs.at(-1)!, () => this.#stormLook());
    this.#lookAtAll("too many events at once");
  }

  /** Whether the root still stands, and whether the last probe was heard; then sends the next one. */
  #probe(): void {
    if (this.#isRootGone() || !this.#watcher || this.#isDeaf) return;
    if (this.#probesHeard < this.#probesSent) {
      this.#isDeaf = hangsHere = true;
      this.#limit("nothing is heard, perhaps because of a FIFO in the tree");
      return this.#lookAtAll(this.#counts.limitation);
    }
    this.#sendProbe();
  }

  #sendProbe(): void {
    try {
      Deno.writeTextFileSync(`${this.#probeDirectory}/${PROBE_NAME}`, `${this.#probesSent}`);
      this.#probesSent++;
    } catch {
      // Without room for a probe there is none: an unheard one must not count.
    }
  }

  #noteProbe(paths: string[]): boolean {
    if (!paths.some((path) => path.startsWith(this.#probeDirectory))) return false;
    this.#probesHeard = this.#probesSent;
    this.#proven?.();
    if (this.#isDeaf) {
      this.#isDeaf = hangsHere = false;
      this.#limit("");
      this.#lookAtAll("it hears again");
    }
    return true;
  }

  #isRootGone(): boolean {
    let reason = "";
    try {
      if (identityOf(this.#options.root) !== this.#identity) reason = "another directory stands in its place";
    } catch (error) {
      reason = reasonOf(error);
    }
    if (reason === "" || this.#state !== "hearing") return this.#state !== "hearing";
    this.#batch.rootGone(reason);
    this.#deliver();
    this.#state = "gone";
    return true;
  }

  /** Closes the watcher if it is proven not to hang: else that would hang this thread. */
  async #closeWatcher(): Promise<void> {
    if (!this.#watcher || this.#isDeaf) return;
    const proven = Promise.withResolvers<boolean>();
    this.#proven = () => proven.resolve(true);
    const timer = setTimeout(
      () => proven.resolve(false),
      this.#options.probeEveryMs ?? limits.watchfsProbeMs,
    );
    this.#sendProbe();
    if (await proven.promise) this.#watcher.close();
    else hangsHere = true;
    clearTimeout(timer);
    this.#watcher = undefined;
  }

  #lookAtAll(reason: string): void {
    this.#lookBelow("", reason);
  }

  #lookBelow(path: string, reason: string): void {
    this.#batch.lookBelow(path, reason);
    this.#deliverSoon();
  }

  #deliverSoon(): void {
    if (this.#batch.size >= limits.hintBatchMax) return this.#deliver();
    if (this.#deliveryDue) return;
    this.#deliveryDue = true;
    this.#after(limits.hintGatherMs, () => this.#deliver());
  }

  #deliver(): void {
    this.#deliveryDue = false;
    if (this.#state === "hearing" && this.#batch.size > 0) this.#options.onHints(this.#batch.take());
  }

  #after(pauseMs: number, call: () => void): void {
    if (this.#state !== "hearing") return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      call();
    }, pauseMs);
    this.#timers.add(timer);
  }

  /** @param pauseMs Asked for before each pause. */
  #every(pauseMs: () => number, call: () => void): void {
    this.#after(pauseMs(), () => {
      call();
      this.#every(pauseMs, call);
    });
  }

  #relative(reported: string): string | undefined {
    const path = slashed(reported);
    for (const prefix of this.#prefixes) {
      if (path === prefix) return "";
      const start = prefix.endsWith("/") ? prefix.length : prefix.length + 1;
      if (path.startsWith(prefix) && path[start - 1] === "/") return path.slice(start);
    }
  }
}

function slashed(path: string): string {
  return Deno.build.os === "windows" ? path.replaceAll("\\", "/") : path;
}

function isDirectory(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Tells a directory from one that replaced it. */
function identityOf(root: string): string {
  let found: Deno.FileInfo;
  try {
    found = Deno.statSync(root);
  } catch (error) {
    throw systemError(errorCode(error) || "ENOENT", "watch", root);
  }
  if (!found.isDirectory) throw systemError("ENOTDIR", "watch", root);
  return found.ino ? `${found.dev}:${found.ino}` : `${found.birthtime?.getTime()}`;
}
