/**
 * The index: what the source believes one target holds, per path. Comparing `lstat` with it turns a dirty path into
 * ops, so it answers in microseconds and takes about a hundred bytes an entry (see `index_table.ts`).
 *
 * In memory it runs ahead of the target: an entry is changed when its op is sent. On disk (`store/index_store.ts`) it
 * never does: each change carries the sequence of its op, and what is saved is the index as of the last acked sequence
 * (how, and why so, is told in `index_changes.ts`). After a crash the loaded index is therefore a tree that the target
 * held durably when `savedSequence` was acked; the paths that the target touched since then must be looked at with
 * distrust, and no others.
 *
 * Sequence 0 means that the target is known to hold this already.
 *
 * The root (`""`) always has children, but is an entry only after `set("", …)`.
 * @module
 */
import { assert } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { isWithin, pathFromBytes, pathToBytes } from "../base/path.ts";
import type { Held, Signature } from "../ops/held.ts";
import {
  codesByKind,
  DIRECTORY_CODE,
  type IndexChange,
  type IndexRow,
  kindsByCode,
  type PersistentIndex,
  ROOT_ID,
} from "../store/index_row.ts";
import { type ChangingIndex, type Image, IndexChanges } from "./index_changes.ts";
import { IndexSignatures } from "./index_signatures.ts";
import { PathFinder } from "./index_paths.ts";
import { NodeTable } from "./index_table.ts";

const NO_BYTES = new Uint8Array(0);

/** Bounds of an index that a test may want smaller. */
export interface IndexOptions {
  /** Bytes of saved signatures kept in memory. @default {limits.signatureCacheBytes} */
  signatureCacheBytes?: number;
}

/** What one target holds, per path. Paths are those of `base/path.ts`. */
export class Index implements PersistentIndex {
  #table = new NodeTable();
  #paths = new PathFinder(this.#table);
  #size = 0;
  #startsOver = true;
  /** The last answer of {@linkcode areNamesOfOne}, and what it was about. */
  #namesOfOne = { asked: "", isOne: false };
  readonly #signatures: IndexSignatures;
  readonly #changes: IndexChanges;

  constructor(options: IndexOptions = {}) {
    this.#signatures = new IndexSignatures(options.signatureCacheBytes);
    this.#changes = new IndexChanges(this.#changingIndex());
  }

  // ——— Questions ———

  /** Entries; the root counts once it was set. */
  get size(): number {
    return this.#size;
  }

  /** What the target holds at `path`, or `undefined` if nothing. The object is the caller's. */
  get(path: string): Held | undefined {
    const id = this.#paths.locate(path);
    if (id === 0 || this.#table.kind[id] === 0) return undefined;
    return this.#heldOf(id);
  }

  /** Whether the target holds anything at `path`. */
  has(path: string): boolean {
    const id = this.#paths.locate(path);
    return id !== 0 && this.#table.kind[id] !== 0;
  }

  /** Whether a directory is at `path`. The root always is one. */
  isDirectory(path: string): boolean {
    const id = this.#paths.locate(path);
    return id === ROOT_ID || (id !== 0 && this.#table.kind[id] === DIRECTORY_CODE);
  }

  /** Whether the directory that holds `path` is in the index, so that `path` may be set. */
  canHold(path: string): boolean {
    this.#paths.locate(path);
    return this.#paths.hasParent();
  }

  /** A path whose entry has this identity; any one of them if there are hard links. An inode number 0 is no identity. */
  findByIdentity(dev: number, ino: bigint): string | undefined {
    const id = this.#table.findIdentity(dev, ino);
    return id === 0 ? undefined : this.#paths.pathOf(id);
  }

  /** All paths whose entry has this identity, in no order. */
  namesOf(dev: number, ino: bigint): string[] {
    const names: string[] = [];
    for (let id = this.#table.findIdentity(dev, ino); id !== 0; id = this.#table.nextOfIdentity(id)) {
      names.push(this.#paths.pathOf(id));
    }
    return names;
  }

  /** Whether the target has all entries with this identity as names of one file. There is at least one. */
  areNamesOfOne(dev: number, ino: bigint): boolean {
    const { links, identityCount } = this.#table;
    const first = this.#table.findIdentity(dev, ino);
    const group = links.of(first);
    if (group === undefined) return false;
    const asked = `${first} ${identityCount} ${links.changeCount}`;
    // Asked once for each of thousands of names.
    if (this.#namesOfOne.asked !== asked) {
      let isOne = true;
      for (let id = first; id !== 0 && isOne; id = this.#table.nextOfIdentity(id)) {
        isOne = links.of(id) === group;
      }
      this.#namesOfOne = { asked, isOne };
    }
    return this.#namesOfOne.isOne;
  }

  /** Whether another name of the file that the target holds at `path` is a leftover, or is known to be another file's here. */
  hasForeignNames(path: string, { dev, ino }: Pick<Held, "dev" | "ino">): boolean {
    const table = this.#table;
    return table.links.othersOf(this.#paths.locate(path)).some((id) => {
      if (table.leftover[id] === 1) return true;
      return table.ino[id] !== 0n && (table.ino[id] !== ino || table.device(id) !== dev);
    });
  }

  /** The other names of the file that the target holds at `path`, as far as they are known, in no order. */
  linkedWith(path: string): string[] {
    const id = this.#paths.locate(path);
    return this.#table.links.othersOf(id).map((other) => this.#paths.pathOf(other));
  }

  /** Whether the file that the target holds at `path` has another name there that is known. */
  isLinked(path: string): boolean {
    return this.#table.links.isLinked(this.#paths.locate(path));
  }

  /** Names in a directory, in no order; none if there is no such directory. */
  children(path: string): string[] {
    const names: string[] = [];
    const id = this.#paths.locate(path);
    if (id === 0) return names;
    const table = this.#table;
    for (let child = table.firstChild[id]; child !== 0; child = table.nextSibling[child]) {
      names.push(pathFromBytes(table.name(child)));
    }
    return names;
  }

  /** Names of the directories in a directory, in no order; none if there is no such directory. */
  childDirectories(path: string): string[] {
    const names: string[] = [];
    const { firstChild, nextSibling, kind } = this.#table;
    const id = this.#paths.locate(path);
    if (id === 0) return names;
    for (let child = firstChild[id]; child !== 0; child = nextSibling[child]) {
      if (kind[child] === DIRECTORY_CODE) names.push(pathFromBytes(this.#table.name(child)));
    }
    return names;
  }

  /** Entries in a directory; 0 if there is no such directory. */
  countChildren(path: string): number {
    const { firstChild, nextSibling } = this.#table;
    const id = this.#paths.locate(path);
    let count = 0;
    if (id !== 0) { for (let child = firstChild[id]; child !== 0; child = nextSibling[child]) count++; }
    return count;
  }

  /** Whether any entry is marked as leftover. */
  get hasLeftovers(): boolean {
    return this.#table.leftoverCount > 0;
  }

  /** Whether the entry at `path` itself is marked as leftover. */
  isLeftover(path: string): boolean {
    return this.#table.leftoverCount > 0 && this.#table.leftover[this.#paths.locate(path)] === 1;
  }

  /**
   * Entries marked as leftovers, in no order, each with the number of entries that it is with all below it. One that
   * lies below another is not told.
   */
  *leftovers(): Iterable<{ path: string; entryCount: number }> {
    const table = this.#table;
    for (let id = 1, left = table.leftoverCount; left > 0 && id < table.idsUsed; id++) {
      if (table.leftover[id] === 0) continue;
      left--;
      let above = table.parent[id];
      while (above > ROOT_ID && table.leftover[above] === 0) above = table.parent[above];
      if (above > ROOT_ID) continue;
      let entryCount = 0;
      for (const _ of table.subtree(id)) entryCount++;
      yield { path: this.#paths.pathOf(id), entryCount };
    }
  }

  /** Entries at a path and below it; 0 if there is none. */
  countFrom(path: string): number {
    const id = this.#paths.locate(path);
    let count = 0;
    if (id !== 0 && this.#table.kind[id] !== 0) { for (const _ of this.#table.subtree(id)) count++; }
    return count;
  }

  /** Calls `visit` with the owners of all entries but leftovers, once or oftener. */
  eachOwner(visit: (uid: number, gid: number) => void): void {
    const { kind, uid, gid, leftover, idsUsed } = this.#table;
    let last = 0;
    for (let id = ROOT_ID; id < idsUsed; id++) {
      if (kind[id] === 0 || leftover[id] === 1) continue;
      if (last > 0 && uid[id] === uid[last] && gid[id] === gid[last]) continue;
      visit(uid[id], gid[id]);
      last = id;
    }
  }

  /** Block signature of the file at `path`. Must not be changed by the caller. */
  getSignature(path: string): Signature | undefined {
    const id = this.#paths.locate(path);
    return id === 0 ? undefined : this.#signatures.get(id);
  }

  // ——— Changes ———

  /**
   * Sets what the target holds at `path`, whose directory must be in the index. An entry that was there is replaced:
   * a directory that becomes something else loses its children, and another kind loses its signature.
   */
  set(path: string, held: Held, sequence: number): void {
    this.#changes.begin(sequence);
    let id = this.#paths.locate(path);
    const kindCode = codesByKind[held.kind];
    assert(id !== ROOT_ID || kindCode === DIRECTORY_CODE, "the root is a directory");
    if (id === 0) {
      id = this.#create(held.linkTarget);
    } else {
      const losesChildren = this.#table.firstChild[id] !== 0 && kindCode !== DIRECTORY_CODE;
      if (losesChildren) this.#removeBelow(id);
      // Rows below a directory need it to be one, so it turns into something else, or back, only in order.
      const keepsPlace = (this.#table.kind[id] === DIRECTORY_CODE) === (kindCode === DIRECTORY_CODE);
      this.#changes.changing(id, { keepsPlace });
      if (this.#table.kind[id] !== kindCode) this.#signatures.set(id, undefined);
      this.#table.setTarget(id, held.linkTarget === "" ? NO_BYTES : pathToBytes(held.linkTarget));
    }
    if (this.#table.kind[id] === 0) this.#size++;
    this.#table.setAttributes(id, kindCode, held);
  }

  /** Removes an entry with everything below it. Nothing happens if there is none; the root only loses its children. */
  remove(path: string, sequence: number): void {
    this.#changes.begin(sequence);
    const id = this.#paths.locate(path);
    if (id === 0) return;
    this.#removeBelow(id);
    if (id !== ROOT_ID) this.#removeOne(id);
  }

  /** Moves an entry with everything below it, signatures included. What was at `to` is removed. */
  move(from: string, to: string, sequence: number): void {
    if (from === to) return;
    this.#changes.begin(sequence);
    assert(
      !isWithin(to, from) && !isWithin(from, to),
      "an entry moves neither into itself nor over its directory",
    );
    const id = this.#paths.locate(from);
    assert(id !== 0, "the entry to be moved is in the index");
    const replaced = this.#paths.locate(to);
    if (replaced !== 0) {
      this.#removeBelow(replaced);
      this.#removeOne(replaced);
    }
    const parent = this.#paths.locateParent();
    const name = this.#paths.lastName().slice();
    this.#changing(id);
    this.#place(id, parent, name);
  }

  /** Swaps two entries, each with everything below it. Neither may lie within the other. */
  exchange(a: string, b: string, sequence: number): void {
    if (a === b) return;
    this.#changes.begin(sequence);
    assert(!isWithin(a, b) && !isWithin(b, a), "entries to be exchanged do not lie within each other");
    const idOfA = this.#paths.locate(a);
    const idOfB = this.#paths.locate(b);
    assert(idOfA !== 0 && idOfB !== 0, "entries to be exchanged are in the index");
    this.#changing(idOfA);
    this.#changing(idOfB);
    const table = this.#table;
    const [parentOfA, parentOfB] = [table.parent[idOfA], table.parent[idOfB]];
    const [nameOfA, nameOfB] = [table.name(idOfA).slice(), table.name(idOfB).slice()];
    // Out of the way first: for a moment two entries would have one name.
    table.unlink(idOfB);
    this.#place(idOfA, parentOfB, nameOfB);
    this.#rename(idOfB, nameOfA);
    table.link(idOfB, parentOfA);
  }

  /** Sets or (with `undefined`) drops the signature of the entry at `path`, which must exist. Keeps the buffer. */
  setSignature(path: string, signature: Signature | undefined, sequence: number): void {
    const id = this.#paths.locate(path);
    assert(id !== 0, "the entry of a signature is in the index");
    if (signature === undefined && !this.#signatures.has(id)) return;
    this.#changes.begin(sequence);
    this.#changes.changing(id, { keepsPlace: true });
    this.#signatures.set(id, signature);
  }

  /** Marks the entry at `path`, if there is one, as leftover, or takes the mark away. */
  markLeftover(path: string, isLeftover: boolean): void {
    const id = this.#paths.locate(path);
    if (id === 0 || this.#table.kind[id] === 0 || (this.#table.leftover[id] === 1) === isLeftover) return;
    this.#changes.begin(0);
    this.#changes.changing(id, { keepsPlace: true });
    this.#table.setLeftover(id, isLeftover);
  }

  /** Everything up to this sequence is durable on the target. */
  acknowledge(sequence: number): void {
    this.#changes.acknowledge(sequence);
  }

  /** Empties the index, for a new stream: nothing is pending any more, and sequences count from 1 again. */
  clear(): void {
    this.#namesOfOne = { asked: "", isOne: false };
    this.#table = new NodeTable();
    this.#paths = new PathFinder(this.#table);
    this.#size = 0;
    this.#signatures.clear();
    this.#changes.reset(0);
    this.#startsOver = true;
  }

  // ——— For the store ———

  /** The last sequence that the target has acked. */
  get acknowledged(): number {
    return this.#changes.acknowledged;
  }

  /** Changes that wait for an ack. */
  get pendingCount(): number {
    return this.#changes.pendingCount;
  }

  /** Rows that the next save will write, at least. */
  get unsavedCount(): number {
    return this.#changes.unsavedCount;
  }

  get startsOver(): boolean {
    return this.#startsOver;
  }

  changes(): Iterable<IndexChange> {
    return this.#changes.changes();
  }

  changesSaved(): void {
    this.#changes.changesSaved();
    this.#startsOver = false;
  }

  beginRestore(lastId: number): void {
    this.clear();
    if (lastId > ROOT_ID && lastId <= limits.indexEntriesMax) this.#table.reserve(lastId);
  }

  restoreRow(id: number, row: IndexRow): void {
    const table = this.#table;
    table.reserve(id);
    table.setText(id, row.name, row.linkTarget);
    table.setAttributes(id, row.kindCode, row);
    table.parent[id] = row.parent;
    if (row.hasSignature && row.trusted) this.#signatures.restore(id);
    else if (row.hasSignature) this.#signatures.restoreUnusable(id);
    this.#size++;
  }

  finishRestore(acknowledged: number): string | undefined {
    const table = this.#table;
    for (let id = ROOT_ID + 1; id < table.idsUsed; id++) {
      if (table.kind[id] === 0) continue;
      const parent = table.parent[id];
      const isOrphan = parent !== ROOT_ID &&
        (parent >= table.idsUsed || table.kind[parent] !== DIRECTORY_CODE);
      if (isOrphan) return `row ${id} has no directory ${parent}`;
      const name = table.name(id);
      if (table.find(parent, name, 0, name.length) !== 0) return `row ${id} has the name of another`;
      table.link(id, parent);
    }
    let reachable = table.kind[ROOT_ID] === 0 ? -1 : 0;
    for (const _ of table.subtree(ROOT_ID)) reachable++;
    if (reachable !== this.#size) return `${this.#size - reachable} rows lie within themselves`;
    table.collectFreeIds();
    this.#changes.reset(acknowledged);
    this.#startsOver = false;
    return undefined;
  }

  readSignaturesWith(read: (id: number) => Signature | undefined): void {
    this.#signatures.readWith(read);
  }

  /** Bytes of the tables and of signatures in memory, for measurements. */
  get byteSize(): number {
    return this.#table.byteSize + this.#signatures.cachedSize;
  }

  // ——— Steps ———

  #create(linkTarget: string): number {
    const parent = this.#paths.locateParent();
    const name = this.#paths.lastName();
    const id = this.#table.take();
    this.#changes.changing(id, { keepsPlace: false });
    this.#table.setText(id, name, linkTarget === "" ? NO_BYTES : pathToBytes(linkTarget));
    this.#table.link(id, parent);
    return id;
  }

  #removeBelow(top: number): void {
    if (this.#table.firstChild[top] === 0) return;
    const below = [...this.#table.subtree(top)];
    // Children before their directory.
    for (let i = below.length - 1; i > 0; i--) this.#removeOne(below[i]);
  }

  #removeOne(id: number): void {
    this.#changes.changing(id, { keepsPlace: false });
    this.#signatures.set(id, undefined);
    this.#table.unlink(id);
    this.#table.forgetText(id);
    this.#table.clearAttributes(id);
    this.#size--;
    if (this.#changes.immediate) this.#table.giveBack(id);
  }

  /** Announces that an entry is about to get another path, and what is below it with it. */
  #changing(id: number): void {
    this.#changes.changing(id, { keepsPlace: false });
    // Only a late change concerns the rows below: they claim old paths until it counts.
    if (!this.#changes.late) return;
    for (const below of this.#table.subtree(id)) {
      if (below !== id) this.#changes.changing(below, { keepsPlace: false });
    }
  }

  /** Gives an entry another parent and name. */
  #place(id: number, parent: number, name: Uint8Array): void {
    this.#table.unlink(id);
    this.#rename(id, name);
    this.#table.link(id, parent);
  }

  /** Gives an entry that is not linked another name. */
  #rename(id: number, name: Uint8Array): void {
    const target = this.#table.target(id).slice();
    this.#table.forgetText(id);
    this.#table.setText(id, name, target);
  }

  #changingIndex(): ChangingIndex {
    return {
      capture: (id) => this.#capture(id),
      settled: (id) => {
        if (id !== ROOT_ID && this.#table.kind[id] === 0) this.#table.giveBack(id);
      },
      saved: (id) => this.#signatures.saved(id),
    };
  }

  #capture(id: number): Image {
    const table = this.#table;
    if (table.kind[id] === 0) return { row: undefined, signature: undefined };
    const row: IndexRow = {
      parent: table.parent[id],
      name: table.name(id).slice(),
      kindCode: table.kind[id],
      trusted: table.trusted[id] === 1,
      isLeftover: table.leftover[id] === 1,
      xattrDigest: table.xattrDigest(id),
      linkGroup: table.links.of(id),
      hasSignature: this.#signatures.has(id),
      mode: table.mode[id],
      uid: table.uid[id],
      gid: table.gid[id],
      size: table.size[id],
      mtimeNs: table.mtimeNs[id],
      ctimeNs: table.ctimeNs[id],
      dev: table.device(id),
      ino: table.ino[id],
      linkTarget: table.targetSize[id] === 0 ? NO_BYTES : table.target(id).slice(),
    };
    return { row, signature: this.#signatures.change(id) };
  }

  #heldOf(id: number): Held {
    const table = this.#table;
    const held: Held = {
      kind: kindsByCode[table.kind[id]]!,
      mode: table.mode[id],
      uid: table.uid[id],
      gid: table.gid[id],
      size: table.size[id],
      mtimeNs: table.mtimeNs[id],
      linkTarget: table.targetSize[id] === 0 ? "" : pathFromBytes(table.target(id)),
      ctimeNs: table.ctimeNs[id],
      dev: table.device(id),
      ino: table.ino[id],
      trusted: table.trusted[id] === 1,
    };
    if (table.leftover[id] === 1) held.isLeftover = true;
    const xattrDigest = table.xattrDigest(id);
    if (xattrDigest !== undefined) held.xattrDigest = xattrDigest;
    const linkGroup = table.links.of(id);
    if (linkGroup !== undefined) held.linkGroup = linkGroup;
    return held;
  }
}
