/**
 * Turns "look at this path" into ops: compares the disk with the index, pushes what makes the target equal, and
 * writes down in the index that the target will hold it. The disk is the only truth (DESIGN §3.4).
 *
 * A batch of paths is worked off in an order that keeps every op possible and cheap:
 *
 * 1. *moves*: entries whose identity the index knows under another name that is gone: sent as renames (`moves.ts`);
 * 2. *present* paths, parents first: made, or compared (`entries.ts`);
 * 3. *absent* paths, deepest first: removed (`deletions.ts`), once they have rested (`resting.ts`);
 * 4. *directories* whose contents changed get their attributes, deepest first.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { joinPath, parentPath } from "../base/path.ts";
import { heldFrom } from "../mirror/plan.ts";
import { Pace } from "../mirror/pace.ts";
import { fitsOp } from "../ops/op.ts";
import { sameFile, type Stat } from "../sys/file_system.ts";
import { seenAsHeld } from "./as_held.ts";
import {
  type Batch,
  BatchTickets,
  identity,
  isGone,
  newBatch,
  note,
  statOrUndefined,
  type Wanted,
} from "./batch.ts";
import { Deletions } from "./deletions.ts";
import { type DetectContext, isClosed } from "./detect_context.ts";
import { Entries } from "./entries.ts";
import type { Priority } from "./lane.ts";
import { Leftovers } from "./leftovers.ts";
import type { Certainty } from "./resting.ts";
import type { LinkedNames } from "./linked_names.ts";
import { isLinked, Links } from "./links.ts";
import { Moves } from "./moves.ts";
import { isSameDirectory, SameParents } from "./same_directory.ts";
import { isTaken, letRest, restsAbove } from "./taken.ts";
import type { Ticket } from "./tickets.ts";

/** Compares, and pushes ops. */
export class Detector {
  readonly #context: DetectContext;
  readonly #deletions: Deletions;
  readonly #entries: Entries;
  readonly #moves: Moves;
  readonly #leftovers: Leftovers;
  readonly #pace = new Pace();
  readonly #links = new Links();
  /** Directory entries that scans have looked at. */
  entriesSeen = 0;
  #isEmptied = false;
  /** Directories that could not be listed when they were last looked into. */
  readonly #unlisted = new Set<string>();
  /** Directories that {@linkcode lookAhead} found equal, with the directories in them. */
  readonly #ahead = new Map<string, string[]>();
  /** Directories whose own attributes were found equal on the way to them. */
  readonly #aheadBelow = new Set<string>();

  constructor(context: DetectContext) {
    this.#context = context;
    this.#leftovers = new Leftovers(context);
    this.#deletions = new Deletions(context, this.#leftovers);
    this.#entries = new Entries(context, this.#deletions);
    this.#entries.isUnlisted = (path) => this.#unlisted.has(path);
    this.#moves = new Moves(context, { deletions: this.#deletions, entries: this.#entries });
  }

  /**
   * Looks at paths and makes the target equal there. Resolves when all ops are pushed, save where names rest.
   *
   * @param certainty Given for names that have rested.
   */
  async look(wanted: Wanted[], priority: Priority, certainty?: Certainty): Promise<void> {
    // Under a path may stand another directory than before: what is asked now must be asked of that one.
    this.#context.tree.forgetDirectories();
    const oldest = wanted.reduce((oldest, { ticket }) => Math.min(oldest, ticket), Infinity);
    const batch = newBatch(priority, new BatchTickets(oldest, wanted), certainty);
    const parents = new SameParents(this.#context);
    for (const { path, ticket } of wanted) {
      const isAllowed = parents.allow(path, (directory) => this.#lookBelowLater(directory, ticket));
      if (isAllowed) this.#readAttributes(path, batch);
    }
    await this.#settle(batch);
  }

  /**
   * Looks at the entries of one directory, not below. What the index has there and the disk has not goes to `absent`
   * for the end of the scan: it may have moved to where the scan has not been yet.
   *
   * @returns The directories in it.
   */
  async lookInside(
    directory: string,
    priority: Priority,
    ticket: Ticket,
    absent: (path: string) => void,
  ): Promise<string[]> {
    const batch = newBatch(priority, new BatchTickets(ticket));
    const known = priority === "mirror" ? this.#takeAhead(directory) : undefined;
    if (known) {
      if (!this.#aheadBelow.delete(directory)) {
        batch.directories.add(directory);
        await this.#settle(batch);
      }
      for (const path of known) this.#aheadBelow.add(path);
      return known;
    }
    this.#aheadBelow.delete(directory);
    if (isClosed(directory, this.#context)) return [];
    const below: string[] = [];
    const names = new Set<string>();
    this.#context.watch(directory);
    this.#context.tree.forgetDirectories();
    const device = statOrUndefined(this.#context.tree, directory)?.dev;
    try {
      this.#context.tree.scan(directory, (name, stat) => {
        const path = joinPath(directory, name);
        names.add(name);
        this.entriesSeen++;
        const standing = this.#leftovers.standing(path, stat);
        if (standing === "out" || !this.#fits(path)) return;
        if (!stat) return this.#context.problem(path, "read", new Error("its attributes cannot be read"));
        if (stat.kind !== "directory") this.#links.note(path, stat);
        else {
          below.push(path);
          const isOtherDevice = device !== undefined && stat.dev !== device;
          if (isOtherDevice || this.#context.mounts.isListed(path)) this.#context.mounts.note(path);
          if (this.#isVanished(path)) return;
        }
        if (standing === "passage" && !this.#context.index.has(path)) return;
        if (this.#settlesAtOnce(path, stat)) return;
        // What the target holds here may live on where the scan has not been yet.
        const waits = priority === "mirror" && stat.kind !== "directory" &&
          isTaken(this.#context.index, path, stat);
        if (waits) absent(path);
        else note(batch, path, { ...stat });
      });
    } catch (error) {
      // Nothing below an unreadable directory counts as deleted (DESIGN §3.8). One that is gone may come back.
      if (!isGone(error)) this.#noteUnlisted(directory, error);
      else if (directory !== "") absent(directory);
      return [];
    }
    const held = this.#context.index.children(directory);
    if (this.#isVanished(directory)) {
      this.#keepVanished(directory, held.filter((name) => !names.has(name)));
      await this.#settle(batch);
      return below;
    }
    if (!isSameDirectory(directory, this.#context)) {
      this.#lookBelowLater(directory, ticket);
      return [];
    }
    if (this.#unlisted.delete(directory)) this.#context.solved(directory, "read");
    if (this.#context.mounts.has(directory)) this.#context.solved(directory);
    if (this.#context.guard) {
      for (const name of names) this.#context.guard.notePresent(joinPath(directory, name));
    }
    if (directory === "" && this.#looksEmptied(names, held)) return [];
    // An exchanged root: its own attributes are no more to be believed than what it lacks.
    const isBare = directory === "" && names.size === 0 && held.length > 0;
    if (isBare && !this.#context.policy.deleteAbsent) return [];
    const wasVanished = this.#context.mounts.covers(directory);
    for (const name of held) {
      if (names.has(name)) continue;
      // Now that it is mounted again, what is not there was deleted.
      if (wasVanished) this.#context.index.markLeftover(joinPath(directory, name), false);
      absent(joinPath(directory, name));
    }
    batch.directories.add(directory);
    await this.#settle(batch);
    return below;
  }

  /** Whether a directory that seemed absent is there after all, and was not looked into. */
  isStanding(path: string): boolean {
    const { index, tree } = this.#context;
    return index.isDirectory(path) && statOrUndefined(tree, path)?.kind === "directory";
  }

  /**
   * Compares the entries of a directory that the index has been told of, long before a scan comes there: while more of
   * the target's listing is on its way. If all are equal, the next scan of the mirror does not read it again. Changes
   * after this look must come as hints, as those after a scan; if they may not, see {@linkcode forgetAhead}.
   */
  lookAhead(directory: string): void {
    // Whether the root is empty, the scan has to say.
    if (directory === "" || isClosed(directory, this.#context)) return;
    if (!this.#context.watch(directory)) return;
    const below: string[] = [];
    let [isEqual, seen, held] = [true, 0, 0];
    this.#context.tree.forgetDirectories();
    try {
      this.#context.tree.scan(directory, (name, stat) => {
        if (!isEqual) return;
        seen++;
        const path = joinPath(directory, name);
        const standing = this.#leftovers.standing(path, stat);
        if (standing === "out") return;
        if (stat?.kind === "directory") below.push(path);
        else if (stat) this.#links.note(path, stat);
        if (standing === "passage" && !this.#context.index.has(path)) return;
        isEqual = stat !== undefined && fitsOp(path) && this.#settlesAtOnce(path, stat);
        held++;
      });
    } catch (error) {
      if (!errorCode(error)) throw error;
      return;
    }
    if (!isEqual || held !== this.#context.index.countChildren(directory)) return;
    this.#ahead.set(directory, below);
    this.entriesSeen += seen;
  }

  /**
   * Removes leftovers at these paths, with all that is below them.
   *
   * @returns How many entries were removed.
   */
  async purge(paths: Iterable<string>, ticket: Ticket): Promise<number> {
    const batch = newBatch("live", new BatchTickets(ticket));
    let count = 0;
    for (const path of paths) count += await this.#deletions.purge(path, batch);
    await this.#settle(batch);
    return count;
  }

  get linkedNames(): LinkedNames {
    return this.#entries.linkedNames;
  }

  /** Files that have names outside the tree, of whose changes nothing may be heard. */
  get outsideLinksCount(): number {
    return this.#links.outsideCount;
  }

  /** Since when there are some, wall clock. */
  get outsideLinksSinceMs(): number {
    return this.#links.outsideSinceMs;
  }

  /** Looks for changes of such files. @returns Paths that are to be looked at. */
  changedOutside(): string[] {
    const { index, tree } = this.#context;
    const changed: string[] = [];
    for (const known of this.#links.outside(limits.outsideLinksPolledMax)) {
      const { path } = known;
      const stat = statOrUndefined(tree, path);
      const stillLinked = stat !== undefined && sameFile(stat, known) && isLinked(stat);
      // One of its names is gone, or this one leads elsewhere.
      if (stillLinked) this.#links.note(path, stat);
      else this.#links.forget(path, known);
      if (!stillLinked || stat.ctimeNs !== index.get(path)?.ctimeNs) changed.push(path);
    }
    return changed;
  }

  /** The next scan looks at this directory, or at all, itself. */
  forgetAhead(directory?: string): void {
    if (directory !== undefined) return void this.#ahead.delete(directory);
    this.#ahead.clear();
    this.#aheadBelow.clear();
  }

  #takeAhead(directory: string): string[] | undefined {
    const below = this.#ahead.get(directory);
    this.#ahead.delete(directory);
    return below;
  }

  #noteUnlisted(directory: string, error: unknown): void {
    this.#context.problem(directory, "read", error);
    // Of further ones the problem is taken back by the next change that is sent.
    if (this.#unlisted.size < limits.problemsMax) this.#unlisted.add(directory);
  }

  /** What stands at a directory is another one than the target has there. */
  #lookBelowLater(directory: string, ticket: Ticket): void {
    if (!restsAbove(this.#context, directory)) this.#context.lookBelow(directory, ticket);
  }

  #isVanished(directory: string): boolean {
    return directory !== "" && this.#context.policy.deleteAbsent &&
      this.#context.mounts.isVanished(directory);
  }

  /** Nobody deleted what a file system took with it that is not mounted any more. */
  #keepVanished(directory: string, gone: string[]): void {
    const { index, mounts, problem } = this.#context;
    if (!index.has(directory) || index.countChildren(directory) === 0) return mounts.forget(directory);
    for (const name of gone) index.markLeftover(joinPath(directory, name), true);
    problem(directory, "read", new Error("what was mounted here is gone: targets keep what they have of it"));
  }

  /** A source that a scan finds empty was emptied by an unmount as likely as by its users. */
  #looksEmptied(names: Set<string>, held: string[]): boolean {
    const { guard, planned, policy, resting } = this.#context;
    const isEmpty = names.size === 0 && held.length > 0 && policy.deleteAbsent;
    // One pass does not outlive its user, who says so then. Otherwise the hints of the deletions tell that it is meant.
    const isMeant = !resting && !planned && guard?.isOff;
    this.#isEmptied = isEmpty && !isMeant;
    this.#context.emptied(
      this.#isEmptied ? `the source is empty: ${held.length} entries of its root are kept` : "",
    );
    return this.#isEmptied;
  }

  async #settle(batch: Batch): Promise<void> {
    try {
      await this.#workOff(batch);
    } finally {
      for (const hold of batch.holds) hold[Symbol.dispose]();
    }
  }

  async #workOff(batch: Batch): Promise<void> {
    const present = [...batch.present]
      .filter(([path, stat]) => !this.#isVanished(path) && !this.#rests(path, stat, batch))
      .map(([path]) => path).sort();
    for (const path of present) {
      if (this.#moves.mayHaveMoved(path, batch)) await this.#moves.look(path, batch);
    }
    this.#foreseeRewrites(batch);
    for (const path of present) {
      this.#context.guard?.notePresent(path);
      if (batch.parked.has(path)) continue;
      await this.#entries.look(path, batch);
      // Without that nothing would be sent before the window is full.
      await this.#pace.keep();
    }
    if (batch.absent.length > 0 && this.#context.rootStands()) {
      const gone = batch.absent.filter((path) => !this.#restsGone(path, batch));
      for (const path of this.#admit(gone).sort().reverse()) {
        // What came and went unseen left its mark on the time of its directory.
        batch.directories.add(parentPath(path));
        await this.#deletions.remove(path, batch);
      }
      // Hints told of every deletion after all.
      if (this.#isEmptied && this.#context.index.children("").length === 0) this.#context.emptied("");
    }
    for (const directory of [...batch.directories].sort(deepestFirst)) {
      // Its time is that of what rests in it.
      if (batch.restsIn.has(directory)) continue;
      await this.#entries.settleDirectory(directory, batch);
    }
    // Until now nothing below was looked at, see `#lookBelowLater`. One whose place is not free is no directory there.
    for (const path of batch.rested) {
      const { index } = this.#context;
      const isThere = index.isDirectory(path) && !isTaken(index, path, batch.present.get(path)!);
      if (isThere) this.#context.lookBelow(path, batch.tickets.of(path));
    }
  }

  /** Of paths that are gone, those that the target may lose. */
  #admit(gone: string[]): string[] {
    const { guard, planned, policy } = this.#context;
    return guard && !planned && policy.deleteAbsent ? guard.admit(gone) : gone;
  }

  /** So many paths of a scan are gone, and are given to {@linkcode look} in parts. */
  foreseeAbsent(paths: string[]): void {
    // Where names rest, all of them rest together before they are judged.
    if (!this.#context.resting) this.#context.guard?.foresee(paths);
  }

  #foreseeRewrites(batch: Batch): void {
    const { guard, index } = this.#context;
    if (!guard || batch.present.size < limits.detectBatchPaths / 64) return;
    let count = 0;
    const counted = new Set<string>();
    for (const [path, stat] of batch.present) {
      // A file with several names is rewritten once.
      if (isLinked(stat) && counted.has(identity(stat))) continue;
      if (isLinked(stat)) counted.add(identity(stat));
      const held = stat.kind === "file" ? index.get(path) : undefined;
      const isKnown = held?.kind === "file" && held.size > 0 && held.ctimeNs !== 0n;
      if (isKnown && (held.size !== stat.size || held.mtimeNs !== stat.mtimeNs)) count++;
    }
    guard.foreseeRewrites(count);
  }

  /** Whether a name that another file took rests. One that is as it was rests no more. */
  #rests(path: string, stat: Readonly<Stat>, batch: Batch): boolean {
    const { resting } = this.#context;
    if (!resting || path === "") return false;
    // What took it may be another one by now.
    const mustRest = !batch.certainty || (batch.certainty === "kept" && stat.kind !== "directory");
    if (mustRest && isTaken(this.#context.index, path, stat)) {
      return letRest(this.#context, path, stat, batch);
    }
    const name = batch.certainty || resting.size === 0 ? undefined : resting.drop(path);
    if (name) {
      batch.holds.push(name.hold);
      batch.tickets.takeOver(name);
    }
    if (!batch.certainty && !name) return false;
    batch.directories.add(parentPath(path));
    if (stat.kind === "directory") batch.rested.push(path);
    return false;
  }

  /** Whether a name that is gone rests. */
  #restsGone(path: string, batch: Batch): boolean {
    const { index, policy, resting, planned } = this.#context;
    resting?.noteChange();
    if (!resting || planned || !policy.deleteAbsent || !index.has(path)) return false;
    if (batch.certainty && batch.certainty !== "kept") return false;
    return letRest(this.#context, path, undefined, batch);
  }

  #readAttributes(path: string, batch: Batch): void {
    if (isClosed(parentPath(path), this.#context) || !this.#fits(path)) return;
    try {
      const stat = this.#context.tree.stat(path);
      if (!stat) return this.#noteAbsent(path, batch);
      const standing = this.#leftovers.standing(path, stat);
      const isWanted = standing === "in" || (standing === "passage" && this.#context.index.has(path));
      if (isWanted) this.#noteWithLinks(path, stat, batch);
    } catch (error) {
      if (isGone(error)) this.#noteAbsent(path, batch);
      else this.#context.problem(path, "read", error);
    }
  }

  #noteAbsent(path: string, batch: Batch): void {
    const { index } = this.#context;
    const held = index.get(path);
    if (path === "" || (held && this.#leftovers.stays(path, held))) return;
    const { mounts, policy } = this.#context;
    const vanished = held && policy.deleteAbsent ? mounts.vanishedAbove(path) : undefined;
    if (vanished !== undefined) {
      index.markLeftover(path, true);
      return this.#keepVanished(vanished, []);
    }
    batch.absent.push(path);
  }

  /** What an event told of one name of a file is so under its others. */
  #noteWithLinks(path: string, stat: Stat, batch: Batch): void {
    note(batch, path, stat);
    if (!isLinked(stat)) return;
    // A file that had one name until now is known to the index by that.
    const known = this.#context.index.findByIdentity(stat.dev, stat.ino);
    if (known !== undefined) this.#links.note(known, stat);
    this.#links.note(path, stat);
    for (const other of this.#links.others(path, stat)) {
      if (batch.present.has(other)) continue;
      const standing = statOrUndefined(this.#context.tree, other);
      if (!standing || !sameFile(standing, stat)) this.#links.forget(other, stat);
      else if (this.#leftovers.standing(other, standing) === "in") {
        batch.tickets.pass(path, other);
        note(batch, other, standing);
      }
    }
  }

  /** A path that no op can name is a problem of its entry, and of what lies below. */
  #fits(path: string): boolean {
    if (fitsOp(path)) return true;
    this.#context.problem(path, "read", new Error(`its path is longer than ${limits.pathSizeMax} bytes`));
    return false;
  }

  /** The quick way of scans: most entries are equal, and need at most to be known by their identity. */
  #settlesAtOnce(path: string, seen: Readonly<Stat>): boolean {
    const { index } = this.#context;
    const held = index.get(path);
    if (!held) return false;
    const equal = seenAsHeld(this.#context, path, seen, held);
    if (!equal) return false;
    if (seen.kind !== "directory" && !this.linkedNames.isAsHeld(path, seen, held)) return false;
    if (equal.isAdopted) {
      index.set(path, { ...heldFrom(equal.stat, held.linkTarget), linkGroup: held.linkGroup }, 0);
    }
    return true;
  }
}

function deepestFirst(a: string, b: string): number {
  return depth(b) - depth(a);
}

function depth(path: string): number {
  let slashes = path === "" ? -1 : 0;
  for (let i = 0; i < path.length; i++) if (path.charCodeAt(i) === 47) slashes++;
  return slashes;
}
