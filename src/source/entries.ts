/**
 * Makes entries of the target what they are on the disk: compares one, and pushes what makes it equal.
 *
 * What the target holds is read, compared, pushed and noted without letting go of the event loop, after waiting for room
 * in the window: so a mirror and live detection can work on the same index side by side.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { parentPath } from "../base/path.ts";
import { heldFrom, planEntry, sendableAttributes, type Step } from "../mirror/plan.ts";
import { hashVersion, readSmallFile } from "../mirror/small_file.ts";
import { isLarge } from "../mirror/transfer.ts";
import { withXattrs, xattrsTooLarge } from "../mirror/xattrs.ts";
import type { Held } from "../ops/held.ts";
import type { Op } from "../ops/op.ts";
import { leadsTo, type NodeKind, sameFile, type Stat } from "../sys/file_system.ts";
import { type Batch, isGone, note, statOrUndefined, withXattrsOrUndefined } from "./batch.ts";
import type { Deletions } from "./deletions.ts";
import { type DetectContext, standingOf } from "./detect_context.ts";
import { LinkedNames } from "./linked_names.ts";
import { isLinked } from "./links.ts";
import { isTaken, isUnderWay, letRest, restsAbove } from "./taken.ts";

/** Makes and changes entries of one target. */
export class Entries {
  readonly #context: DetectContext;
  readonly #deletions: Deletions;
  readonly linkedNames: LinkedNames;
  /** Entries with more extended attributes than fit an op, which are sent without them. */
  readonly #unfit = new Set<string>();
  /** Renames an entry of the target to where it is now, see `Moves.look`. */
  bringHere: (path: string, batch: Batch) => Promise<void> = () => Promise.resolve();
  /** Whether a directory could not be listed: that its own attributes are known does not mend it. */
  isUnlisted: (path: string) => boolean = () => false;

  constructor(context: DetectContext, deletions: Deletions) {
    this.#context = context;
    this.#deletions = deletions;
    this.linkedNames = new LinkedNames(context);
  }

  /** Makes the target equal at a path that the disk has. */
  async look(path: string, batch: Batch): Promise<void> {
    let stat: Stat | undefined = batch.present.get(path)!;
    if (path === "") return void batch.directories.add("");
    if (!this.#context.index.isDirectory(parentPath(path)) && !await this.makeParents(path, batch)) return;
    const { room, policy } = this.#context;
    const isFresh = await room(Math.min(stat.size, policy.opDataSize), batch.priority);
    // Since the batch read it, a later look of the other loop may have sent what it is now: that is not to be undone.
    if (!isFresh || this.#context.index.has(path)) stat = this.#readAgain(path, batch);
    if (!stat || !this.#context.index.isDirectory(parentPath(path))) return;
    try {
      await this.#compare(path, stat, batch);
    } catch (error) {
      if (!errorCode(error)) throw error;
      if (isGone(error)) return void batch.absent.push(path);
      const now = statOrUndefined(this.#context.tree, path);
      if (!now || now.kind === stat.kind) return this.#context.problem(path, "read", error);
      // Something of another kind took its place between two calls: that is what counts now.
      note(batch, path, now);
      await this.look(path, batch);
    }
  }

  /** Attributes of an entry as they are by now; what is gone or cannot be read is dealt with. */
  #readAgain(path: string, batch: Batch): Stat | undefined {
    try {
      const stat = this.#context.tree.stat(path);
      if (!stat) batch.absent.push(path);
      return stat;
    } catch (error) {
      if (isGone(error)) batch.absent.push(path);
      else this.#context.problem(path, "read", error);
      return undefined;
    }
  }

  async #compare(path: string, seen: Stat, batch: Batch): Promise<void> {
    const { index, policy, tree } = this.#context;
    if (isLinked(seen) && !await this.#link(path, seen, batch)) return;
    const held = index.get(path);
    const stat = this.#withXattrs(path, seen, held);
    const linkTarget = leadsTo(tree, path, stat);
    const step = this.#unshare(path, stat, planEntry(stat, held, policy, linkTarget));
    if (held && isOtherDirectory(stat, held)) this.#replaced(path, batch);
    switch (step.do) {
      case "nothing":
        return this.#solved(path, stat, "read");
      case "adopt":
        this.#solved(path, stat, "read");
        return index.set(path, { ...heldFrom(stat, linkTarget), linkGroup: held?.linkGroup }, 0);
      case "keep":
        return this.#context.kept?.(path, step.reason);
      case "make":
        if (step.replaces && !await this.#deletions.makeRoom(path, batch)) return;
        return this.#make(path, stat, linkTarget, batch);
      case "contents":
        // Another file under the name: it was put there by a rename.
        if (held?.ino !== stat.ino) batch.directories.add(parentPath(path));
        return this.#sendFile(path, stat, held, batch);
      case "attributes":
        if (stat.kind === "directory") return void batch.directories.add(path);
        return this.#pushNoting(
          { kind: "attributes", path, attributes: step.change },
          stat,
          linkTarget,
          batch,
        );
    }
  }

  /**
   * Makes a name of a file that has several a further name of it on the target, if that has it under another one.
   *
   * @returns Whether it is to be compared now.
   */
  async #link(path: string, stat: Readonly<Stat>, batch: Batch): Promise<boolean> {
    const { guard, index, planned, policy } = this.#context;
    const held = index.get(path);
    let origin = this.linkedNames.origin(path, stat);
    if (origin !== undefined) {
      if (held && !mayReplace(held, stat, policy)) return true;
      const isOther = held?.kind === "file" && !sameFile(held, stat);
      if (isOther && !planned && guard?.holdsRewrite(path, held)) return false;
      if (held?.kind === "directory" && !await this.#deletions.makeRoom(path, batch)) return false;
      // Clearing may have taken time.
      origin = held?.kind === "directory" ? this.linkedNames.origin(path, stat) : origin;
      if (origin !== undefined && this.#context.index.isDirectory(parentPath(path))) {
        this.linkedNames.join(path, origin, stat, batch.priority);
        batch.directories.add(parentPath(path));
      }
    } else {
      // As when it came here by a rename while another one was made anew.
      for (const name of this.linkedNames.apart(path, stat)) this.#lookAfter(name, path, batch);
    }
    // What is under way under one name is under way for all: when it is there, they are looked at.
    return !this.linkedNames.isUnderWay(path, stat);
  }

  /** What would change a file in place that the target has under names of others, too, makes a new one instead. */
  #unshare(path: string, stat: Readonly<Stat>, step: Step): Step {
    const changes = step.do === "attributes" || step.do === "adopt";
    if (!changes || stat.kind === "directory" || !this.#context.index.isLinked(path)) return step;
    if (!this.linkedNames.isShared(path, stat)) return step;
    return stat.kind === "file" ? { do: "contents" } : { do: "make", replaces: false };
  }

  /** Extended attributes too, where they may be others than the target's. */
  #withXattrs(path: string, stat: Stat, held: Held | undefined): Stat {
    // A new file is asked when it is open.
    if (!held && stat.kind === "file") return stat;
    const full = withXattrs(this.#context, path, stat, held);
    if (full !== stat) this.#noteFit(path, full);
    return full;
  }

  #noteFit(path: string, { xattrs }: Readonly<Stat>): void {
    if (!xattrs && this.#unfit.size < limits.problemsMax) this.#unfit.add(path);
    else if (xattrs && this.#unfit.size > 0) this.#unfit.delete(path);
  }

  /** A directory took the place of another one: what lies below is not what the target has there. */
  #replaced(path: string, { priority, tickets }: Batch): void {
    // A mirror's scan comes there by itself.
    if (priority === "live") this.#context.lookBelow(path, tickets.of(path));
  }

  #make(path: string, stat: Stat, linkTarget: string, batch: Batch): void {
    const attributes = sendableAttributes(stat, this.#context.policy.abilities);
    batch.directories.add(parentPath(path));
    switch (stat.kind) {
      case "file":
        return this.#sendFile(path, stat, this.#context.index.get(path), batch);
      case "symlink":
        return this.#pushNoting(
          { kind: "symlink", path, target: linkTarget, attributes },
          stat,
          linkTarget,
          batch,
        );
      case "directory": {
        delete attributes.mtimeNs;
        // Its time is settled after its contents; until then the index holds none, so that a restart settles it.
        this.#pushNoting({ kind: "mkdir", path, attributes }, { ...stat, mtimeNs: 0n }, "", batch);
        batch.directories.add(path);
        if (batch.priority === "live") this.#context.lookBelow(path, batch.tickets.of(path));
        return;
      }
      default:
        return this.#makeNode(path, stat.kind, stat, batch);
    }
  }

  #makeNode(path: string, node: NodeKind, stat: Stat, batch: Batch): void {
    const { abilities } = this.#context.policy;
    if (!abilities.nodes) {
      return this.#context.problem(path, "make", new Error(`the target cannot hold a ${stat.kind}`));
    }
    const { device = "" } = stat;
    const attributes = sendableAttributes(stat, abilities);
    this.#pushNoting({ kind: "node", path, node, device, attributes }, stat, device, batch);
  }

  #sendFile(path: string, stat: Stat, held: Held | undefined, batch: Batch): void {
    const { policy, tree, planned } = this.#context;
    if (planned) return this.#plan(held ? "update" : "create", path, stat, "");
    if (this.#mustWait(path, stat, stat, batch)) return;
    if (held && this.#context.guard?.holdsRewrite(path, held)) return;
    const isTransfer = isLarge(stat.size, held, policy) || this.#isWorthAsking(stat, held);
    if (isTransfer || this.#context.isTransferring(path)) {
      return this.#context.transfer(path, batch.priority, batch.tickets.of(path));
    }
    const small = readSmallFile(tree, path, policy.abilities.xattrs);
    if (!small) return this.#context.transfer(path, batch.priority, batch.tickets.of(path));
    this.#context.onRead(small.data.length);
    if (this.#mustWait(path, stat, small.stat, batch)) return;
    if (policy.abilities.xattrs) this.#noteFit(path, small.stat);
    const attributes = sendableAttributes(small.stat, policy.abilities);
    this.#pushNoting({ kind: "file", path, attributes, data: small.data }, small.stat, "", batch);
    this.#context.index.setSignature(path, undefined, 0);
    if (isLinked(small.stat)) this.#lookAtAllNames(path, small.stat, batch);
    if (small.restless) this.#context.restless(path);
    else if (this.#context.isRacy(small.stat)) {
      this.#context.racy(path, hashVersion(small), batch.tickets.of(path));
    }
  }

  /**
   * Whether the target is asked about a small file before it is sent: nothing but its change time is new, as after a
   * rename forth and back, a link, another label. Of many such files the contents are sooner sent than asked about.
   */
  #isWorthAsking(stat: Readonly<Stat>, held: Held | undefined): boolean {
    const { resting, transfersCount } = this.#context;
    if (!held?.trusted || !resting || transfersCount() >= limits.smallTransfersMax) return false;
    return held.size > 0 && held.size === stat.size && held.mtimeNs === stat.mtimeNs && sameFile(held, stat);
  }

  /** Whether a file changed places while the batch was worked off: then sending it may be needless, or cost another. */
  #mustWait(path: string, seen: Readonly<Stat>, now: Readonly<Stat>, batch: Batch): boolean {
    const { index, resting, lookAgain } = this.#context;
    if (!resting || batch.certainty === "pressed") return false;
    if (batch.certainty !== "quiet" && isTaken(index, path, now)) {
      return letRest(this.#context, path, now, batch);
    }
    if ((now.ino === 0n || sameFile(seen, now)) && !isUnderWay(this.#context, path, now)) return false;
    lookAgain(path, batch.tickets.of(path));
    return true;
  }

  /** A file was made anew under one of its names: each is to be a further name of the one that leads (linked_names.ts). */
  #lookAtAllNames(path: string, stat: Readonly<Stat>, batch: Batch): void {
    this.linkedNames.noteMade(path, stat);
    for (const name of this.#context.index.namesOf(stat.dev, stat.ino)) {
      const isLeader = name === path && this.linkedNames.origin(path, stat) === undefined;
      if (!isLeader) this.#lookAfter(name, path, batch);
    }
  }

  /** Another name is to be looked at when this one was; those that follow in the batch are anyway. */
  #lookAfter(name: string, path: string, batch: Batch): void {
    const follows = batch.present.has(name) && name > path;
    if (!follows) this.#context.lookAgain(name, batch.tickets.of(path));
  }

  /** Pushes an op that makes the target hold exactly `stat`, and notes that. */
  #pushNoting(op: Op & { path: string }, stat: Stat, linkTarget: string, batch: Batch): void {
    if (this.#context.planned) return this.#plan(planWord(op), op.path, stat, linkTarget);
    const { guard, index, push } = this.#context;
    if (batch.priority === "live" && !index.has(op.path)) guard?.noteMade(op.path, stat);
    const sequence = push(op, batch.priority);
    const held = heldFrom(stat, linkTarget);
    if (op.kind === "attributes") {
      const before = index.get(op.path);
      if (!stat.xattrs) held.xattrDigest = before?.xattrDigest;
      held.linkGroup = before?.linkGroup;
    }
    index.set(op.path, held, sequence);
    if (held.linkGroup !== undefined) this.linkedNames.changedInPlace(op.path, sequence);
    this.#solved(op.path, stat);
  }

  #solved(path: string, stat: Readonly<Stat>, op?: string): void {
    if (this.#unfit.size > 0 && this.#unfit.has(path)) {
      return this.#context.problem(path, "xattrs", xattrsTooLarge());
    }
    if (stat.kind !== "directory" || !this.isUnlisted(path)) this.#context.solved(path, op);
  }

  #plan(action: string, path: string, stat: Stat, linkTarget: string): void {
    this.#context.planned!(action, path, stat.kind === "file" && action !== "attributes" ? stat.size : 0);
    this.#context.index.set(path, heldFrom(stat, linkTarget), 0);
  }

  /** Makes the directories above a path that the target does not have yet. @returns Whether the path can exist. */
  async makeParents(path: string, batch: Batch): Promise<boolean> {
    const parent = parentPath(path);
    if (this.#context.index.isDirectory(parent)) return true;
    // What it becomes is decided when it has rested; then everything below is looked at.
    if (this.#context.index.has(parent) && restsAbove(this.#context, parent)) return false;
    const stat = statOrUndefined(this.#context.tree, parent);
    // Gone or replaced meanwhile: whoever did that made it dirty too.
    const standing = stat?.kind === "directory" ? standingOf(parent, stat, this.#context) : "out";
    if (stat === undefined || standing === "out") return false;
    batch.tickets.pass(path, parent);
    if (!await this.makeParents(parent, batch)) return false;
    await this.#context.room(parent.length, batch.priority);
    if (!this.#context.index.has(parent)) {
      // Renamed like any other: made anew, everything below it would have to be moved one by one.
      if (!batch.present.has(parent)) note(batch, parent, stat);
      await this.bringHere(parent, batch);
    }
    if (!this.#context.index.has(parent) && !await this.#makeParent(parent, stat, batch)) return false;
    if (standing === "in") this.#context.lookBelow(parent, batch.tickets.of(parent));
    return this.#context.index.isDirectory(parent);
  }

  /** @returns `false` if it cannot be looked at. */
  async #makeParent(path: string, stat: Stat, batch: Batch): Promise<boolean> {
    try {
      await this.#compare(path, stat, batch);
      return true;
    } catch (error) {
      if (!errorCode(error)) throw error;
      // Gone meanwhile: whoever did that made it dirty, too.
      if (!isGone(error)) this.#context.problem(path, "read", error);
      return false;
    }
  }

  /** Makes the attributes of a directory equal, once nothing in it changes any more. */
  async settleDirectory(path: string, batch: Batch): Promise<void> {
    const { index, tree, policy } = this.#context;
    await this.#context.room(path.length, batch.priority);
    const held = index.get(path);
    const seen = statOrUndefined(tree, path);
    if (held?.kind !== "directory" || seen?.kind !== "directory" || !this.#context.settles(path)) return;
    const stat = withXattrsOrUndefined(this.#context, path, seen, held);
    // Gone meanwhile: whoever did that made it dirty, too.
    if (!stat) return;
    const step = planEntry(stat, held, policy);
    if (step.do === "adopt") index.set(path, heldFrom(stat, ""), 0);
    if (step.do !== "attributes") return;
    this.#pushNoting({ kind: "attributes", path, attributes: step.change }, stat, "", batch);
  }
}

/** Whether both are directories, and known to be two. */
function isOtherDirectory(stat: Stat, held: Held): boolean {
  const both = stat.kind === "directory" && held.kind === "directory";
  return both && held.ino !== 0n && !sameFile(stat, held);
}

/** Whether a name may become one of another file; one that is known to be of this file already may in any case. */
function mayReplace(
  held: Held,
  stat: Readonly<Stat>,
  { overwrite = "all" }: { overwrite?: "older" | "all" | "none" },
): boolean {
  if (overwrite === "all" || sameFile(held, stat)) return true;
  return overwrite === "older" && held.mtimeNs <= stat.mtimeNs;
}

function planWord(op: Op): string {
  return op.kind === "mkdir" || op.kind === "symlink" || op.kind === "node" ? "create" : op.kind;
}
