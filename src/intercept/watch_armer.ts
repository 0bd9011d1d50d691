/**
 * Keeps the watches of a tree as they should be while the tree changes: every directory that is not excluded has one,
 * under its right name.
 *
 * Events tell of the past: a path made from them may lead elsewhere already. So a directory is only ever watched
 * through its *proven* parent (inotify_queue.ts), and these rules follow:
 *
 * | found at a place              | then                                                                         |
 * |-------------------------------|------------------------------------------------------------------------------|
 * | a directory without a watch   | it gets a node there, its listing is a job, then `look-below`                |
 * | the node that has this place  | nothing to do                                                                |
 * | a node of another place       | that node moves here, is listed again, and its old place is looked at        |
 * | no directory                  | the node that had the place goes to limbo                                    |
 * | the parent cannot be proven   | an event about it is still to come: tried again, at last the whole tree      |
 * | a directory refused a watch   | it is *unheard*: looked at now and then, tried again now and then            |
 * | a node whose own place stands | this place is unheard: a bind mount shows the directory a second time        |
 *
 * A node in limbo gives no hints. A later event may give it a place; otherwise its watches end.
 *
 * The *first* job arms the whole tree. Nothing is looked below at its end: the consumer scans each directory after it was
 * watched, since it asks for that before each one ({@linkcode WatchArmer.watchAhead}). Other jobs go before it, so that
 * what happens in armed parts does not wait for the rest.
 *
 * When directories were found at other places than events had told (a race of renames, rare), the whole tree is
 * *audited* once it is quiet: every directory is listed again, what was missed is watched and looked below.
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";
import { joinPath } from "../base/path.ts";
import type { HintBatch } from "./hint_batch.ts";
import type { InotifyQueue } from "./inotify_queue.ts";
import { type Cause, causeOf, UnheardNodes } from "./unheard.ts";
import { WatchRetries } from "./watch_retries.ts";
import { anyWithin, EXCLUDED, NONE, REFUSED, ROOT, WatchTree } from "./watch_tree.ts";

/** A directory whose listing, with all that it finds, is in progress. */
interface Job {
  top: number;
  /** Directories still to be listed. */
  stack: number[];
  /** Why it, or what an audit missed, is looked below at the end; `""` if it is not. */
  reason: string;
  /** Directories that were watched already are listed too. */
  full: boolean;
  /** Only what was missed is looked below. */
  audit: boolean;
}

/** A place that could not be looked at. */
interface Misplaced {
  parent: number;
  name: string;
  deadlineMs: number;
  /** Times it was looked at when nothing was left to be heard. */
  tries: number;
}

/** A name in a directory of which the path is known. */
interface Place {
  parent: number;
  parentPath: string;
  name: string;
}

/** What {@linkcode WatchArmer} needs. */
export interface WatchArmerOptions {
  /** Absolute path of the root. */
  root: string;
  isExcluded?: (path: string) => boolean;
  /** Takes the hints. */
  batch: HintBatch;
}

/** A directory is found below itself, as far as is known: its own event is still to come. */
const AMBIGUOUS = -3;

const gone = new Set(["ENOENT", "ENOTDIR", "ELOOP"]);

/** The watches of one tree. */
export class WatchArmer {
  readonly tree: WatchTree;
  readonly #queue: InotifyQueue;
  readonly #options: WatchArmerOptions;
  /** By their top, in the order in which they are done. */
  readonly #jobs = new Map<number, Job>();
  /** Nodes that some job still has to list. */
  readonly #unlisted = new Set<number>();
  /** Those of them for which the job must list known directories too. */
  readonly #unlistedFully = new Set<number>();
  readonly #excluded = new Set<number>();
  readonly #limbo = new Map<number, number>();
  readonly #unheard = new UnheardNodes();
  readonly #retries: WatchRetries;
  #misplaced: Misplaced[] = [];
  #lost = false;
  #armingSinceMs: number | undefined;
  /** When something was last found at another place than told; `undefined` if an audit followed. */
  #disorderMs: number | undefined;
  #disorderSinceMs = 0;
  #auditedMs = -Infinity;
  #heardLately = new Set<number>();
  #heardBefore = new Set<number>();
  #turnedMs = performance.now();

  constructor(queue: InotifyQueue, rootWd: number, options: WatchArmerOptions) {
    this.#queue = queue;
    this.#options = options;
    this.tree = new WatchTree(rootWd);
    this.#retries = new WatchRetries(this.tree, {
      unheard: this.#unheard,
      adopt: (parent, name) => this.adopt(parent, name),
    });
  }

  /** Directories that are not heard of, each with all that lies below it. */
  get unheard(): UnheardNodes {
    return this.#unheard;
  }

  /** Directories known that are not excluded. */
  get known(): number {
    return this.tree.size - this.#excluded.size;
  }

  /** Since when something is being armed, wall clock; `undefined` if nothing is. An audit is not counted. */
  get armingSinceMs(): number | undefined {
    return this.#armingSinceMs;
  }

  /** Directories that are watched and listed. */
  get armed(): number {
    return this.known - this.#unheard.size - this.#unlisted.size;
  }

  /** Whether {@linkcode work} has listings to do. */
  get busy(): boolean {
    return this.#jobs.size > 0;
  }

  /** Whether an audit is due or in progress: until it is done, nothing can be promised. */
  get disordered(): boolean {
    return this.#disorderMs !== undefined || this.#jobs.get(ROOT)?.audit === true;
  }

  /** Since when directories are believed to be elsewhere than they were found, wall clock; `undefined` if none are. */
  get disorderSinceMs(): number | undefined {
    return this.disordered ? this.#disorderSinceMs : undefined;
  }

  /** Whether some place must be looked at again before everything heard of has been told. */
  get unsure(): boolean {
    return this.#misplaced.length > 0;
  }

  /** Whether a directory could not be found again: only arming the whole tree anew helps. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Milliseconds until {@linkcode work} should be called even if nothing was heard. */
  get patienceMs(): number {
    if (this.#misplaced.length > 0) return limits.renamePartnerMs;
    if (this.#limbo.size > 0) return limits.limboMs;
    if (this.#retries.areDue) return 0;
    if (this.#disorderMs !== undefined) return limits.auditQuietMs;
    return this.#unheard.size > 0 ? limits.pollEveryMs : Infinity;
  }

  /** Notes that something was heard in a directory. */
  heard(node: number): void {
    this.#heardLately.add(node);
  }

  /** Begins the first job: watches and lists the whole tree. */
  armAll(): void {
    this.armBelow(ROOT, "");
  }

  /**
   * Watches a directory before its turn in the first job, and what lies above it.
   *
   * @returns Whether it is watched, or will be looked below once it is.
   */
  watchAhead(path: string): boolean {
    const first = this.#firstJob();
    if (path === "" || (!first && this.#unheard.size === 0)) return true;
    let node = ROOT;
    for (const name of path.split("/")) {
      const parent = node;
      node = this.tree.find(parent, name);
      // Without the first job: it appeared, and will be told of.
      if (node === NONE && !first) return true;
      if (node === NONE) {
        if (!this.#tryAdopt(parent, name, first)) this.lookAgain(parent, name);
        node = this.tree.find(parent, name);
      }
      if (node === NONE || this.tree.wd(node) <= 0) return false;
    }
    return true;
  }

  /** Something was mounted or unmounted at a path: another directory may stand there. */
  placeChanged(path: string): void {
    let parent = ROOT;
    const names = path.split("/");
    const last = names.pop()!;
    for (const name of names) {
      parent = this.tree.find(parent, name);
      // Not known yet, or not heard of: it will be met by who lists or polls it.
      if (parent === NONE || this.tree.wd(parent) <= 0) return;
    }
    this.adopt(parent, last);
  }

  /** Lists everything again: what is excluded now is let go, what is not any more is watched and looked below. */
  rulesChanged(): void {
    const reason = "the rules changed";
    // The first job may have passed what is to be taken in now, and who scans after it, too.
    this.armBelow(ROOT, reason, { full: true, audit: !this.#firstJob() });
  }

  /** Lists a watched directory and watches everything below it; then it is looked below for `reason`. */
  armBelow(node: number, reason: string, options: { full?: boolean; audit?: boolean } = {}): void {
    this.#unlisted.add(node);
    const begun = this.#jobs.get(node);
    const audit = options.audit ?? false;
    if (!audit) this.#armingSinceMs ??= systemClock.nowMs();
    const full = options.full || begun?.full || this.#unlistedFully.delete(node);
    this.#jobs.set(node, { top: node, stack: [...begun?.stack ?? [], node], reason, full, audit });
  }

  /** Looks at a place where a directory may be: watches it, or finds that it is the one known, or none. */
  adopt(parent: number, name: string): void {
    if (!this.#tryAdopt(parent, name)) this.lookAgain(parent, name);
  }

  /** Looks at a place a little later, when more was heard. */
  lookAgain(parent: number, name: string): void {
    this.#noteDisorder();
    this.#misplaced.push({ parent, name, deadlineMs: performance.now() + limits.misplacedMs, tries: 0 });
  }

  /** A directory was renamed inside the tree. Everything below it moves along. */
  renamed(node: number, parent: number, name: string): void {
    const { tree } = this;
    if (tree.isWithin(parent, node)) return this.#loseTrack();
    const held = tree.find(parent, name);
    if (held !== NONE && held !== node) this.left(held);
    tree.move(node, parent, name);
    this.#limbo.delete(node);
    this.adopt(parent, name);
    if (!tree.exists(node)) return;
    const holes = anyWithin(tree, this.#excluded, node);
    // A job that lists something in it would look below its old place only.
    const listing = anyWithin(tree, this.#unlisted, node);
    if (listing) return this.armBelow(node, "it was renamed while it was listed", { full: true });
    if (holes) return this.armBelow(node, "rules may meet it otherwise under its new name", { full: true });
    const path = tree.path(node);
    if (path !== undefined && this.#heardWithin(node)) {
      this.#options.batch.lookBelow(path, "it was renamed while it changed");
    }
  }

  /** A directory is no longer at its place. Its watches end, unless a later event gives it another place. */
  left(node: number): void {
    if (node === NONE) return;
    if (this.tree.wd(node) <= 0) return this.#remove(node);
    this.tree.detach(node);
    this.#limbo.set(node, performance.now() + limits.limboMs);
  }

  /** The kernel ended a directory's watch. */
  forget(node: number): void {
    for (let child = this.tree.firstChild(node); child !== NONE; child = this.tree.firstChild(node)) {
      this.left(child);
    }
    this.#remove(node);
  }

  /**
   * Goes on with listings, misplaced directories and limbo, until `endMs` of `performance.now()`.
   *
   * @param allHeard Whether the kernel's queue was empty just now.
   */
  work(endMs: number, allHeard: boolean): void {
    this.#retryMisplaced(allHeard);
    this.#clearLimbo(endMs);
    this.#retries.work(endMs);
    const nowMs = performance.now();
    if (allHeard) this.#auditIfDue(nowMs);
    if (nowMs - this.#turnedMs > limits.recentlyHeardMs) {
      this.#turnedMs = nowMs;
      this.#heardBefore = this.#heardLately;
      this.#heardLately = new Set();
    }
    for (const job of this.#jobs.values()) {
      if (job.top !== ROOT && !this.#goOn(job, endMs)) return;
    }
    const whole = this.#jobs.get(ROOT);
    if (whole && !this.#goOn(whole, endMs)) return;
    if (!this.busy) this.#armingSinceMs = undefined;
  }

  /** @returns Whether there is time left. */
  #goOn(job: Job, endMs: number): boolean {
    while (job.stack.length > 0) {
      this.#listOne(job, job.stack.pop()!);
      if (performance.now() >= endMs) return false;
    }
    // It may have been begun anew meanwhile.
    if (this.#jobs.get(job.top) !== job) return true;
    this.#jobs.delete(job.top);
    this.#finish(job);
    return true;
  }

  /** The job that arms the whole tree, if it is not done. */
  #firstJob(): Job | undefined {
    const whole = this.#jobs.get(ROOT);
    return whole?.audit ? undefined : whole;
  }

  /** Puts the whole tree to the test after a disorder, when all is quiet. */
  #auditIfDue(nowMs: number): void {
    if (this.#disorderMs === undefined || this.busy || this.unsure || this.#limbo.size > 0) return;
    if (nowMs - this.#disorderMs < limits.auditQuietMs || nowMs - this.#auditedMs < limits.auditEveryMs) {
      return;
    }
    this.#disorderMs = undefined;
    this.#auditedMs = nowMs;
    this.armBelow(ROOT, "it was missed", { full: true, audit: true });
  }

  #noteDisorder(): void {
    if (!this.disordered) this.#disorderSinceMs = systemClock.nowMs();
    this.#disorderMs = performance.now();
  }

  #finish({ top, reason, audit }: Job): void {
    if (audit || reason === "") return;
    const path = this.tree.exists(top) ? this.tree.path(top) : undefined;
    if (path === undefined) return;
    // Should it be renamed before the consumer came to look below it.
    this.heard(top);
    this.#options.batch.lookBelow(path, reason);
  }

  #listOne(job: Job, node: number): void {
    const { tree } = this;
    if (!tree.exists(node) || !(job.full || this.#unlisted.has(node))) return;
    const path = tree.path(node);
    if (path === undefined || tree.wd(node) <= 0) return;
    const fd = this.#openProven(node, path, true);
    if (fd < 0) return this.#couldNotList(job, node);
    const listed = this.#queue.listDirectories(fd, (name) => {
      const child = this.#watchChild(fd, { parent: node, parentPath: path, name });
      if (child === NONE || child === AMBIGUOUS) {
        if (child === AMBIGUOUS) this.lookAgain(node, name);
        return;
      }
      const isNew = this.#unlisted.has(child);
      if (job.audit && isNew && !this.#jobs.has(child)) return this.armBelow(child, job.reason);
      if (!job.full && !isNew) return;
      job.stack.push(child);
    });
    this.#queue.closeDirectory(fd);
    if (listed) this.#unlisted.delete(node);
    else if (gone.has(this.#queue.failure)) this.left(node);
    else this.#refuse(tree.parent(node), tree.name(node), path);
  }

  /** Watches a name in an open, proven directory. Gives the node if it is new there and must be listed. */
  #watchChild(fd: number, { parent, parentPath, name }: Place): number {
    if (this.#options.isExcluded?.(joinPath(parentPath, name))) {
      this.#exclude(parent, name);
      return NONE;
    }
    const wd = this.#queue.watchBelow(fd, name);
    if (wd >= 0) return this.#settle(parent, name, wd);
    if (gone.has(this.#queue.failure)) this.left(this.tree.find(parent, name));
    else this.#refuse(parent, name, joinPath(parentPath, name));
    return NONE;
  }

  /** Gives the directory that was just watched at a place its node there. */
  #settle(parent: number, name: string, wd: number): number {
    const { tree } = this;
    const known = tree.byWd(wd);
    const held = tree.find(parent, name);
    if (known !== NONE && known === held) return known;
    if (known !== NONE && this.#stands(known)) return this.#refuseSecondPlace(parent, name);
    if (known !== NONE && tree.isWithin(parent, known)) return AMBIGUOUS;
    if (known !== NONE || (held !== NONE && tree.wd(held) > 0)) this.#noteDisorder();
    if (held !== NONE) this.left(held);
    if (known === NONE) {
      const added = tree.add(parent, name, wd);
      this.#unlisted.add(added);
      return added;
    }
    if (!tree.inLimbo(known)) this.lookAgain(tree.parent(known), tree.name(known));
    tree.move(known, parent, name);
    this.#limbo.delete(known);
    this.armBelow(known, "it was found at another place", { full: true });
    return NONE;
  }

  /** Whether a directory is still found at its own place, and stands at another one as well: a bind mount does that. */
  #stands(node: number): boolean {
    const path = this.tree.path(node);
    if (path === undefined) return false;
    const fd = this.#openProven(node, path, false);
    if (fd >= 0) this.#queue.closeDirectory(fd);
    return fd >= 0;
  }

  #refuseSecondPlace(parent: number, name: string): number {
    const parentPath = this.tree.path(parent);
    if (parentPath !== undefined) this.#refuse(parent, name, joinPath(parentPath, name), "same-directory");
    return NONE;
  }

  /**
   * @param first The job that is to list what is found; otherwise it gets one of its own.
   * @returns `false` if the parent could not be proven and it is worth trying again.
   */
  #tryAdopt(parent: number, name: string, first?: Job): boolean {
    const { tree } = this;
    const parentPath = tree.exists(parent) ? tree.path(parent) : undefined;
    if (parentPath === undefined || tree.wd(parent) <= 0) return true;
    const fd = this.#openProven(parent, parentPath, false);
    if (fd < 0) return false;
    const child = this.#watchChild(fd, { parent, parentPath, name });
    this.#queue.closeDirectory(fd);
    if (child === AMBIGUOUS) return false;
    if (child === NONE || !this.#unlisted.has(child) || this.#jobs.has(child)) return true;
    if (first) first.stack.push(child);
    else this.armBelow(child, this.#retries.isAtWork ? "it can be watched now" : "it appeared");
    return true;
  }

  #couldNotList(job: Job, node: number): void {
    const { tree } = this;
    const denied = this.#queue.failure === "EACCES" || this.#queue.failure === "ENAMETOOLONG";
    if (node === ROOT) this.#loseTrack();
    else if (denied) this.#refuse(tree.parent(node), tree.name(node), tree.path(node)!);
    else {
      this.#noteDisorder();
      this.#unlisted.add(node);
      if (job.full) this.#unlistedFully.add(node);
      this.lookAgain(tree.parent(node), tree.name(node));
    }
  }

  /** Notes that the directory at a place cannot be watched; the consumer looks below it as well as it can. */
  #refuse(parent: number, name: string, path: string, cause: Cause = causeOf(this.#queue.failure)): void {
    if (parent === NONE) return this.#loseTrack();
    let held = this.tree.find(parent, name);
    const wasRefused = held !== NONE && this.tree.wd(held) === REFUSED;
    if (!wasRefused) {
      if (held !== NONE) this.left(held);
      held = this.tree.add(parent, name, REFUSED);
    }
    if (!this.#unheard.of(cause).has(held)) this.#unheard.add(held, cause);
    // Who looks at it regularly need not be told again.
    if (wasRefused && this.#retries.isAtWork) return;
    this.#options.batch.lookBelow(path, `it is not heard of (${cause})`);
  }

  #exclude(parent: number, name: string): void {
    const held = this.tree.find(parent, name);
    if (held !== NONE && this.tree.wd(held) === EXCLUDED) return;
    if (held !== NONE) this.left(held);
    this.#excluded.add(this.tree.add(parent, name, EXCLUDED));
  }

  #openProven(node: number, path: string, listed: boolean): number {
    const { root } = this.#options;
    const absolute = path === "" ? root : `${root === "/" ? "" : root}/${path}`;
    return this.#queue.openProven(absolute, this.tree.wd(node), { root: node === ROOT, listed });
  }

  #retryMisplaced(allHeard: boolean): void {
    if (this.#misplaced.length === 0) return;
    const trying = this.#misplaced;
    this.#misplaced = [];
    const nowMs = performance.now();
    for (const place of trying) {
      if (this.#tryAdopt(place.parent, place.name)) continue;
      if (allHeard) place.tries++;
      if (nowMs > place.deadlineMs && place.tries > limits.misplacedTries) this.#loseTrack();
      else this.#misplaced.push(place);
    }
  }

  #clearLimbo(endMs: number): void {
    const nowMs = performance.now();
    for (const [top, deadlineMs] of this.#limbo) {
      if (deadlineMs > nowMs) return;
      while (this.tree.exists(top) && this.tree.inLimbo(top)) {
        let node = top;
        for (let child = node; child !== NONE; child = this.tree.firstChild(node)) node = child;
        if (this.tree.wd(node) > 0) this.#queue.unwatch(this.tree.wd(node));
        this.#remove(node);
        if (performance.now() >= endMs) return;
      }
      this.#limbo.delete(top);
    }
  }

  #remove(node: number): void {
    this.#unheard.delete(node);
    this.#excluded.delete(node);
    this.#unlisted.delete(node);
    this.#unlistedFully.delete(node);
    this.#limbo.delete(node);
    this.tree.remove(node);
  }

  #heardWithin(node: number): boolean {
    return anyWithin(this.tree, this.#heardLately, node) || anyWithin(this.tree, this.#heardBefore, node);
  }

  #loseTrack(): void {
    this.#lost = true;
  }
}
