/**
 * Turns "look at this path" into ops: compares the disk with the index, pushes what makes the target equal, and
 * writes down in the index that the target will hold it. The disk is the only truth (DESIGN §3.4).
 *
 * A batch of paths is worked off in an order that keeps every op possible and cheap:
 *
 * 1. *moves*: entries whose identity the index knows under another name that is gone: sent as renames;
 * 2. *present* paths, parents first: made, or compared;
 * 3. *absent* paths, deepest first: removed;
 * 4. *directories* whose contents changed get their attributes, deepest first.
 *
 * Each path is read, compared, pushed and noted without letting go of the event loop, after waiting for room in the
 * window: so a mirror and live detection can work on the same index side by side.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { baseName, isWithin, joinPath, parentPath } from "../base/path.ts";
import { limits } from "../base/limits.ts";
import type { Held } from "../ops/held.ts";
import { hashBytes } from "../mirror/signature.ts";
import { planEntry, sendableAttributes } from "../mirror/plan.ts";
import { isLarge, Pace, readSmallFile, type TransferContext } from "../mirror/transfer.ts";
import { fitsOp, type Op } from "../ops/op.ts";
import { sameFile, type Stat, type Tree } from "../sys/file_system.ts";
import type { Index } from "./index.ts";
import type { Priority } from "./lane.ts";
import { Links } from "./links.ts";
import type { Ticket } from "./tickets.ts";

/** Name that is never replicated: our own state on a target. */
export const RESERVED_NAME = ".understudy";

/** What detection works with. */
export interface DetectContext {
  tree: Tree;
  index: Index;
  policy: TransferContext["policy"] & { deleteAbsent: boolean; exchange: boolean };
  /** Resolves when an op of so many bytes may be pushed; `false` if that took time, so that what was read is stale. */
  room(bytes: number, priority: Priority): Promise<boolean>;
  /** Pushes an op and returns its sequence. */
  push(op: Op, priority: Priority): number;
  /** The contents of this large file are to be sent. */
  transfer(path: string, priority: Priority, ticket: Ticket): void;
  /** Whether a transfer of this file is under way: then a newer version of it must not overtake it. */
  isTransferring(path: string): boolean;
  /** Everything below this directory is to be looked at. */
  lookBelow(path: string, ticket: Ticket): void;
  /** This file changed while it was read: look again when it has come to rest. */
  restless(path: string): void;
  /** Whether so young a file may change again without a change of its times. */
  isRacy(stat: Readonly<Stat>): boolean;
  /** This file is such a one; `hash` is that of the contents that were sent. */
  racy(path: string, hash: Uint8Array, ticket: Ticket): void;
  problem(path: string, op: string, error: unknown): void;
  solved(path: string): void;
  /** Whether the root still stands where it stood: deletions need that as evidence. */
  rootStands(): boolean;
  isExcluded(path: string): boolean;
  /** The source is empty and the target is not: a reason why deletions wait, `""` when that is over. */
  emptied(reason: string): void;
  /** Whether the attributes of this directory are to be made equal (not those above what is restored). */
  settles(directory: string): boolean;
  onRead(bytes: number): void;
  /** Told of entries that differ but stay (restore: newer at the receiver). */
  kept?(path: string, reason: string): void;
  /** Given instead of sending: what would be done (`--dry-run`). */
  planned?(action: string, path: string, bytes: number): void;
}

/** What one batch gathers on its way. */
interface Batch {
  priority: Priority;
  /** Inherited by the work that arises from it. */
  ticket: Ticket;
  present: Map<string, Stat>;
  absent: string[];
  /** Path of each identity that was seen, `dev:ino`. */
  byIdentity: Map<string, string>;
  /** Directories whose attributes are to be settled at the end. */
  directories: Set<string>;
}

/** Compares, and pushes ops. */
export class Detector {
  readonly #context: DetectContext;
  readonly #pace = new Pace();
  readonly #links = new Links();
  /** Directory entries that scans have looked at. */
  entriesSeen = 0;
  #isEmptied = false;
  /** Directories that {@linkcode lookAhead} found equal, with the directories in them. */
  readonly #ahead = new Map<string, string[]>();
  /** Directories whose own attributes were found equal on the way to them. */
  readonly #aheadBelow = new Set<string>();

  constructor(context: DetectContext) {
    this.#context = context;
  }

  /** Looks at paths and makes the target equal there. Resolves when all ops are pushed. */
  async look(paths: Iterable<string>, priority: Priority, ticket: Ticket): Promise<void> {
    // Under a path may stand another directory than before: what is asked now must be asked of that one.
    this.#context.tree.forgetDirectories();
    const batch = newBatch(priority, ticket);
    for (const path of paths) this.#readAttributes(path, batch);
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
    const batch = newBatch(priority, ticket);
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
    const below: string[] = [];
    const names = new Set<string>();
    this.#context.tree.forgetDirectories();
    try {
      this.#context.tree.scan(directory, (name, stat) => {
        const path = joinPath(directory, name);
        names.add(name);
        this.entriesSeen++;
        if (this.#isOutside(path)) return;
        if (!this.#fits(path)) return;
        if (!stat) return this.#context.problem(path, "read", new Error("its attributes cannot be read"));
        if (stat.kind === "directory") below.push(path);
        else this.#links.note(path, stat);
        if (!this.#settlesAtOnce(path, stat)) note(batch, path, { ...stat });
      });
    } catch (error) {
      // Nothing below an unreadable directory counts as deleted (DESIGN §3.8).
      if (!isGone(error)) this.#context.problem(directory, "read", error);
      return [];
    }
    const held = this.#context.index.children(directory);
    if (directory === "" && this.#looksEmptied(names, held)) return [];
    for (const name of held) if (!names.has(name)) absent(joinPath(directory, name));
    batch.directories.add(directory);
    await this.#settle(batch);
    return below;
  }

  /**
   * Compares the entries of a directory that the index has been told of, long before a scan comes there: while more of
   * the target's listing is on its way. If all are equal, the next scan of the mirror does not read it again. Changes
   * after this look must come as hints, as those after a scan; if they may not, see {@linkcode forgetAhead}.
   */
  lookAhead(directory: string): void {
    // Whether the root is empty, the scan has to say.
    if (directory === "" || this.#isOutside(directory)) return;
    const below: string[] = [];
    let [isEqual, seen, held] = [true, 0, 0];
    this.#context.tree.forgetDirectories();
    try {
      this.#context.tree.scan(directory, (name, stat) => {
        if (!isEqual) return;
        seen++;
        const path = joinPath(directory, name);
        if (name === RESERVED_NAME || this.#context.isExcluded(path)) return;
        isEqual = stat !== undefined && fitsOp(path) && this.#settlesAtOnce(path, stat);
        if (stat?.kind === "directory") below.push(path);
        else if (stat) this.#links.note(path, stat);
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

  /** A source that a scan finds empty was emptied by an unmount as likely as by its users. */
  #looksEmptied(names: Set<string>, held: string[]): boolean {
    this.#isEmptied = names.size === 0 && held.length > 0 && this.#context.policy.deleteAbsent;
    this.#context.emptied(
      this.#isEmptied ? `the source is empty: ${held.length} entries of its root are kept` : "",
    );
    return this.#isEmptied;
  }

  async #settle(batch: Batch): Promise<void> {
    const present = [...batch.present.keys()].sort();
    for (const path of present) if (this.#mayHaveMoved(path, batch)) await this.#lookForMove(path, batch);
    for (const path of present) {
      await this.#lookAtPresent(path, batch);
      // Without that nothing would be sent before the window is full.
      await this.#pace.keep();
    }
    if (batch.absent.length > 0 && this.#context.rootStands()) {
      for (const path of batch.absent.sort().reverse()) {
        // What came and went unseen left its mark on the time of its directory.
        batch.directories.add(parentPath(path));
        await this.#remove(path, batch);
      }
      // Hints told of every deletion after all.
      if (this.#isEmptied && this.#context.index.children("").length === 0) this.#context.emptied("");
    }
    for (const directory of [...batch.directories].sort(deepestFirst)) {
      await this.#settleDirectory(directory, batch);
    }
  }

  #readAttributes(path: string, batch: Batch): void {
    if (this.#isOutside(path) || !this.#fits(path)) return;
    try {
      const stat = this.#context.tree.stat(path);
      if (stat) this.#noteWithLinks(path, stat, batch);
      else if (path !== "") batch.absent.push(path);
    } catch (error) {
      if (isGone(error)) batch.absent.push(path);
      else this.#context.problem(path, "read", error);
    }
  }

  /** What an event told of one name of a file is so under its others. */
  #noteWithLinks(path: string, stat: Stat, batch: Batch): void {
    note(batch, path, stat);
    if (stat.kind !== "file" || stat.linkCount < 2) return;
    // A file that had one name until now is known to the index by that.
    const known = this.#context.index.findByIdentity(stat.dev, stat.ino);
    if (known !== undefined) this.#links.note(known, stat);
    this.#links.note(path, stat);
    for (const other of this.#links.others(path, stat)) {
      const standing = statOrUndefined(this.#context.tree, other);
      if (!standing || !sameFile(standing, stat)) this.#links.forget(other, stat);
      else if (!this.#isOutside(other)) note(batch, other, standing);
    }
  }

  #isOutside(path: string): boolean {
    return baseName(path) === RESERVED_NAME || this.#context.isExcluded(path);
  }

  /** A path that no op can name is a problem of its entry, and of what lies below. */
  #fits(path: string): boolean {
    if (fitsOp(path)) return true;
    this.#context.problem(path, "read", new Error(`its path is longer than ${limits.pathSizeMax} bytes`));
    return false;
  }

  /** The quick way of scans: most entries are equal, and need at most to be known by their identity. */
  #settlesAtOnce(path: string, stat: Readonly<Stat>): boolean {
    const { index, policy } = this.#context;
    const held = index.get(path);
    // A link's target is read when anything else about it differs; changing it makes a new inode.
    const step = planEntry(stat, held, policy, held?.linkTarget);
    if (step.do !== "adopt") return step.do === "nothing";
    if (stat.kind === "symlink" && !this.#leadsTo(path, held!.linkTarget)) return false;
    index.set(path, heldFrom(stat, held!.linkTarget), 0);
    return true;
  }

  #leadsTo(path: string, target: string): boolean {
    try {
      return this.#context.tree.readLink(path) === target;
    } catch (error) {
      if (!errorCode(error)) throw error;
      return false;
    }
  }

  // ——— 1. Moves ———

  /** Whether the index knows this entry by another name. */
  #mayHaveMoved(path: string, batch: Batch): boolean {
    const { dev, ino } = batch.present.get(path)!;
    const from = this.#context.index.findByIdentity(dev, ino);
    return from !== undefined && from !== path && from !== "" && path !== "";
  }

  async #lookForMove(path: string, batch: Batch): Promise<void> {
    const { index, tree } = this.#context;
    const stat = batch.present.get(path)!;
    const from = index.findByIdentity(stat.dev, stat.ino);
    // An earlier move of the batch may have brought it here.
    if (from === undefined || from === path) return;
    const held = index.get(path);
    if (held && sameFile(held, stat)) return;
    if (!looksMoved(stat, index.get(from)!) || isWithin(from, path) || isWithin(path, from)) return;
    const standing = statOrUndefined(tree, from);
    if (standing && sameFile(standing, stat)) return;
    if (this.#context.planned) return this.#planMove(from, path);
    if (!await this.#makeParents(path, batch)) return;
    if (held && !await this.#clearWay(path, from, held, stat, batch)) return;
    await this.#move(from, path, stat, batch);
  }

  /** Makes room at the new name. @returns Whether the move can go on as a plain rename. */
  async #clearWay(path: string, from: string, held: Held, stat: Stat, batch: Batch): Promise<boolean> {
    const elsewhere = batch.byIdentity.get(identity(held));
    if (elsewhere !== undefined && elsewhere !== path && this.#context.policy.exchange) {
      // What stands at the new name lives on under another one: swap, so that neither costs data.
      await this.#context.room(path.length, batch.priority);
      const standing = this.#context.index.get(path);
      if (!this.#context.index.has(from) || !standing || !sameFile(standing, held)) return false;
      const sequence = this.#context.push(
        { kind: "rename", path: from, to: path, exchange: true },
        batch.priority,
      );
      this.#context.index.exchange(from, path, sequence);
      this.#noteMoved(path, stat, sequence);
      if (elsewhere === from) this.#noteMoved(from, batch.present.get(from)!, sequence);
      batch.directories.add(parentPath(from)).add(parentPath(path));
      if (stat.kind === "directory") this.#context.lookBelow(path, batch.ticket);
      return false;
    }
    const plain = held.kind !== "directory" && stat.kind !== "directory";
    if (!plain) await this.#remove(path, batch);
    return true;
  }

  async #move(from: string, path: string, stat: Stat, batch: Batch): Promise<void> {
    const { index } = this.#context;
    await this.#context.room(from.length + path.length, batch.priority);
    if (!index.has(from) || !index.isDirectory(parentPath(path))) return;
    const sequence = this.#context.push(
      { kind: "rename", path: from, to: path, exchange: false },
      batch.priority,
    );
    index.move(from, path, sequence);
    this.#noteMoved(path, stat, sequence);
    batch.directories.add(parentPath(from)).add(parentPath(path));
    // What changed below under the old name is looked for under the new one.
    if (stat.kind === "directory") this.#context.lookBelow(path, batch.ticket);
  }

  /** A rename moves the change time: that alone is no reason to send the contents again. */
  #noteMoved(path: string, stat: Stat, sequence: number): void {
    const held = this.#context.index.get(path)!;
    if (held.size === stat.size && held.mtimeNs === stat.mtimeNs) {
      this.#context.index.set(path, { ...held, ctimeNs: stat.ctimeNs }, sequence);
    }
  }

  #planMove(from: string, path: string): void {
    const { index } = this.#context;
    if (!index.isDirectory(parentPath(path))) return;
    this.#context.planned!("rename", `${from} -> ${path}`, 0);
    index.move(from, path, 0);
  }

  // ——— 2. Present ———

  async #lookAtPresent(path: string, batch: Batch): Promise<void> {
    let stat: Stat | undefined = batch.present.get(path)!;
    if (path === "") return void batch.directories.add("");
    if (!this.#context.index.isDirectory(parentPath(path)) && !await this.#makeParents(path, batch)) return;
    if (!await this.#context.room(Math.min(stat.size, limits.opDataSizeMax), batch.priority)) {
      stat = statOrUndefined(this.#context.tree, path);
      if (!stat) return void batch.absent.push(path);
    }
    if (!this.#context.index.isDirectory(parentPath(path))) return;
    try {
      await this.#compare(path, stat, batch);
    } catch (error) {
      if (!errorCode(error)) throw error;
      if (isGone(error)) return void batch.absent.push(path);
      const now = statOrUndefined(this.#context.tree, path);
      if (!now || now.kind === stat.kind) return this.#context.problem(path, "read", error);
      // Something of another kind took its place between two calls: that is what counts now.
      note(batch, path, now);
      await this.#lookAtPresent(path, batch);
    }
  }

  async #compare(path: string, stat: Stat, batch: Batch): Promise<void> {
    const { index, policy, tree } = this.#context;
    const held = index.get(path);
    const linkTarget = stat.kind === "symlink" ? tree.readLink(path) : "";
    const step = planEntry(stat, held, policy, linkTarget);
    switch (step.do) {
      case "nothing":
        return;
      case "adopt":
        return index.set(path, heldFrom(stat, linkTarget), 0);
      case "keep":
        return this.#context.kept?.(path, step.reason);
      case "make":
        if (step.replaces) await this.#remove(path, batch);
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
        if (batch.priority === "live") this.#context.lookBelow(path, batch.ticket);
        return;
      }
      default:
        this.#context.problem(path, "read", new Error(`a ${stat.kind} is not replicated by this version`));
    }
  }

  #sendFile(path: string, stat: Stat, held: Held | undefined, batch: Batch): void {
    const { policy, tree, planned } = this.#context;
    if (planned) return this.#plan(held ? "update" : "create", path, stat, "");
    if (isLarge(stat.size, held, policy) || this.#context.isTransferring(path)) {
      return this.#context.transfer(path, batch.priority, batch.ticket);
    }
    const small = readSmallFile(tree, path);
    if (!small) return this.#context.transfer(path, batch.priority, batch.ticket);
    this.#context.onRead(small.data.length);
    const attributes = sendableAttributes(small.stat, policy.abilities);
    this.#pushNoting({ kind: "file", path, attributes, data: small.data }, small.stat, "", batch);
    this.#context.index.setSignature(path, undefined, 0);
    if (small.restless) this.#context.restless(path);
    else if (this.#context.isRacy(small.stat)) {
      this.#context.racy(path, hashBytes(small.data).slice(), batch.ticket);
    }
  }

  /** Pushes an op that makes the target hold exactly `stat`, and notes that. */
  #pushNoting(op: Op & { path: string }, stat: Stat, linkTarget: string, batch: Batch): void {
    if (this.#context.planned) return this.#plan(planWord(op), op.path, stat, linkTarget);
    const sequence = this.#context.push(op, batch.priority);
    this.#context.index.set(op.path, heldFrom(stat, linkTarget), sequence);
    this.#context.solved(op.path);
  }

  #plan(action: string, path: string, stat: Stat, linkTarget: string): void {
    this.#context.planned!(action, path, stat.kind === "file" && action !== "attributes" ? stat.size : 0);
    this.#context.index.set(path, heldFrom(stat, linkTarget), 0);
  }

  /** Makes the directories above a path that the target does not have yet. @returns Whether the path can exist. */
  async #makeParents(path: string, batch: Batch): Promise<boolean> {
    const parent = parentPath(path);
    if (this.#context.index.isDirectory(parent)) return true;
    const stat = statOrUndefined(this.#context.tree, parent);
    // Gone or replaced meanwhile: whoever did that made it dirty too.
    if (stat?.kind !== "directory" || this.#isOutside(parent)) return false;
    if (!await this.#makeParents(parent, batch)) return false;
    await this.#context.room(parent.length, batch.priority);
    if (!this.#context.index.has(parent)) await this.#compare(parent, stat, batch);
    this.#context.lookBelow(parent, batch.ticket);
    return this.#context.index.isDirectory(parent);
  }

  // ——— 3. Absent ———

  async #remove(path: string, batch: Batch): Promise<void> {
    const { index, policy } = this.#context;
    const held = index.get(path);
    this.#context.solved(path);
    if (!held || !policy.deleteAbsent) return;
    if (held.kind === "directory") {
      for (const name of index.children(path)) await this.#remove(joinPath(path, name), batch);
    }
    batch.directories.add(parentPath(path));
    batch.directories.delete(path);
    if (this.#context.planned) {
      this.#context.planned("delete", path, 0);
      return index.remove(path, 0);
    }
    await this.#context.room(path.length, batch.priority);
    if (!index.has(path)) return;
    const kind = held.kind === "directory" ? "rmdir" : "unlink";
    index.remove(path, this.#context.push({ kind, path }, batch.priority));
  }

  // ——— 4. Directories ———

  async #settleDirectory(path: string, batch: Batch): Promise<void> {
    const { index, tree, policy } = this.#context;
    const fresh = await this.#context.room(path.length, batch.priority);
    const held = index.get(path);
    const stat = fresh && batch.present.get(path) || statOrUndefined(tree, path);
    if (held?.kind !== "directory" || stat?.kind !== "directory" || !this.#context.settles(path)) return;
    const step = planEntry(stat, held, policy);
    if (step.do === "adopt") index.set(path, heldFrom(stat, ""), 0);
    if (step.do !== "attributes") return;
    this.#pushNoting({ kind: "attributes", path, attributes: step.change }, stat, "", batch);
  }
}

/** What the target holds once `stat` was sent. */
export function heldFrom(stat: Readonly<Stat>, linkTarget: string): Held {
  const { kind, mode, uid, gid, size, mtimeNs, ctimeNs, dev, ino } = stat;
  return { kind, mode, uid, gid, size, mtimeNs, ctimeNs, dev, ino, linkTarget, trusted: true };
}

/**
 * Whether an entry can be what the index holds under another name. A number of a deleted file is soon given to a new
 * one, and a file that was being written when it was last looked at must not appear half under its final name
 * (DESIGN §3.6): so a file must look the same.
 */
function looksMoved(stat: Stat, held: Held): boolean {
  if (stat.kind !== held.kind) return false;
  if (stat.kind === "directory") return true;
  return stat.size === held.size && stat.mtimeNs === held.mtimeNs;
}

function newBatch(priority: Priority, ticket: Ticket): Batch {
  return { priority, ticket, present: new Map(), absent: [], byIdentity: new Map(), directories: new Set() };
}

function note(batch: Batch, path: string, stat: Stat): void {
  batch.present.set(path, stat);
  batch.byIdentity.set(identity(stat), path);
}

function identity({ dev, ino }: { dev: number; ino: bigint }): string {
  return `${dev}:${ino}`;
}

function statOrUndefined(tree: Tree, path: string): Stat | undefined {
  try {
    return tree.stat(path);
  } catch {
    // Unreadable is not absent: whoever needs to know looks at the path itself and reports the problem there.
    return undefined;
  }
}

function isGone(error: unknown): boolean {
  // ELOOP: a directory above was replaced by a symbolic link.
  return ["ENOENT", "ENOTDIR", "ELOOP"].includes(errorCode(error));
}

function deepestFirst(a: string, b: string): number {
  return depth(b) - depth(a);
}

function depth(path: string): number {
  let slashes = path === "" ? -1 : 0;
  for (let i = 0; i < path.length; i++) if (path.charCodeAt(i) === 47) slashes++;
  return slashes;
}

function planWord(op: Op): string {
  return op.kind === "mkdir" || op.kind === "symlink" ? "create" : op.kind;
}
