/**
 * The tree of the index in memory: one number (an id) an entry, its attributes in typed arrays, its name in an arena.
 *
 * ```
 * columns[id]   parent · siblings · first child · place in the arena · kind · mode · owner · size · times · identity
 * arena         … name ▸ link target │ name ▸ link target │ (garbage) │ …        raw bytes
 * names         hash (parent, name) ▸ id      open addressing, linear probing, deletion by shifting back
 * identities    hash (dev, ino) ▸ first id    further ids of the same bucket are chained through two columns
 * ```
 *
 * Ids are those of the rows in `store/index_row.ts`. Id 0 is nobody, id 1 the root, which is always there, though it
 * may not have been told (kind code 0). An id with kind code 0 other than the root is not part of the tree.
 *
 * Invariants: an entry of the tree is in its parent's list of children and once in `names`; an entry with ino ≠ 0 is
 * once in `identities`. An id returned to the table is given out again, so the owner returns it only when nobody
 * (a pending change, for example) still means the old entry by it.
 * @module
 */
import { assert } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { ROOT_ID } from "../store/index_row.ts";
import { LinkGroups } from "./index_links.ts";

const CAPACITY_MIN = 1024;
/** Up to here columns double, beyond they grow by an eighth: what is held in reserve counts then. */
const DOUBLED_MAX = 256 * 1024;
const ARENA_MIN = 16 * 1024;

type Column =
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>;

interface ColumnType<T extends Column> {
  new (bytes: ArrayBuffer): T;
  readonly BYTES_PER_ELEMENT: number;
}

/** Attributes of an entry as the table keeps them. */
export interface NodeAttributes {
  trusted: boolean;
  /** @default {false} */
  isLeftover?: boolean;
  /** Digest of extended attributes. @default {0n} */
  xattrDigest?: bigint;
  linkGroup?: number;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeNs: bigint;
  ctimeNs: bigint;
  dev: number;
  ino: bigint;
}

/** Columns, arena and hash tables of the index. Knows ids and raw names, not paths. */
export class NodeTable {
  // Columns, by id.
  parent!: Uint32Array<ArrayBuffer>;
  nextSibling!: Uint32Array<ArrayBuffer>;
  firstChild!: Uint32Array<ArrayBuffer>;
  kind!: Uint8Array<ArrayBuffer>;
  trusted!: Uint8Array<ArrayBuffer>;
  leftover!: Uint8Array<ArrayBuffer>;
  mode!: Uint16Array<ArrayBuffer>;
  uid!: Uint32Array<ArrayBuffer>;
  gid!: Uint32Array<ArrayBuffer>;
  size!: Float64Array<ArrayBuffer>;
  mtimeNs!: BigInt64Array<ArrayBuffer>;
  ctimeNs!: BigInt64Array<ArrayBuffer>;
  ino!: BigUint64Array<ArrayBuffer>;
  nameSize!: Uint16Array<ArrayBuffer>;
  targetSize!: Uint16Array<ArrayBuffer>;
  #previousSibling!: Uint32Array<ArrayBuffer>;
  #nameStart!: Uint32Array<ArrayBuffer>;
  #nameHash!: Uint32Array<ArrayBuffer>;
  #device!: Uint16Array<ArrayBuffer>;
  #identityNext!: Uint32Array<ArrayBuffer>;
  #identityPrevious!: Uint32Array<ArrayBuffer>;
  /** The ino column as pairs of 32-bit words: hashing a bigint would allocate. */
  #inoWords!: Uint32Array<ArrayBuffer>;

  #arena!: Uint8Array<ArrayBuffer>;
  #arenaSize = 0;
  #arenaGarbage = 0;
  #names!: Uint32Array<ArrayBuffer>;
  #namesCount = 0;
  #identities!: Uint32Array<ArrayBuffer>;
  #identitiesCount = 0;
  /** Device numbers by their index in the column; a tree has few. Index 0 is device 0. */
  #devices: number[] = [0];
  #deviceIndexes = new Map<number, number>([[0, 0]]);

  /** Digests of extended attributes by id. Few entries have any. */
  readonly #xattrDigests = new Map<number, bigint>();
  /** Names of files that have several. */
  readonly links = new LinkGroups();

  /** Times that an entry got another identity, or lost it. */
  identityCount = 0;
  /** Times that an entry was taken away from its parent: as long as it stays, ids keep their paths. */
  unlinkCount = 0;
  /** Times that an entry was put below a parent or taken away: as long as it stays, paths keep their ids. */
  placedCount = 0;
  /** Entries marked as leftovers. */
  leftoverCount = 0;
  #idsUsed = ROOT_ID + 1;
  #freeIds: number[] = [];
  #seed = crypto.getRandomValues(new Uint32Array(1))[0];
  #wantedIno = new BigUint64Array(1);
  #wantedWords = new Uint32Array(this.#wantedIno.buffer);

  constructor() {
    this.#resize(CAPACITY_MIN);
    this.#arena = new Uint8Array(ARENA_MIN);
    this.#names = new Uint32Array(2 * CAPACITY_MIN);
    this.#identities = new Uint32Array(CAPACITY_MIN);
  }

  /** One more than the highest id ever given out. */
  get idsUsed(): number {
    return this.#idsUsed;
  }

  /** Bytes of arena and columns, for measurements. */
  get byteSize(): number {
    const columns = 4 * 11 + 8 * 4 + 2 * 4 + 3;
    return this.parent.length * columns + this.#arena.length +
      4 * (this.#names.length + this.#identities.length);
  }

  /** Takes an id for a new entry. All its columns but the kind are stale until it is placed. */
  take(): number {
    const free = this.#freeIds.pop();
    if (free !== undefined) return free;
    const id = this.#idsUsed;
    this.reserve(id);
    return id;
  }

  /** Takes back the id of an entry that was unlinked. */
  giveBack(id: number): void {
    this.#freeIds.push(id);
  }

  /** Makes room for ids up to this one. */
  reserve(id: number): void {
    assert(id <= limits.indexEntriesMax, "an index holds at most indexEntriesMax entries");
    if (id >= this.parent.length) {
      const growth = this.parent.length < DOUBLED_MAX ? 2 : 1.125;
      this.#resize(Math.max(id + 1, Math.ceil(this.parent.length * growth)));
    }
    if (id >= this.#idsUsed) this.#idsUsed = id + 1;
  }

  /** Counts ids that no entry has as free, after rows were restored with their own ids. */
  collectFreeIds(): void {
    this.#freeIds = [];
    for (let id = this.#idsUsed - 1; id > ROOT_ID; id--) if (this.kind[id] === 0) this.#freeIds.push(id);
  }

  // ——— Attributes ———

  /** Sets all attributes of an entry, its identity included. */
  setAttributes(id: number, kindCode: number, attributes: NodeAttributes): void {
    this.kind[id] = kindCode;
    this.trusted[id] = attributes.trusted ? 1 : 0;
    this.setLeftover(id, attributes.isLeftover ?? false);
    if (attributes.xattrDigest) this.#xattrDigests.set(id, attributes.xattrDigest);
    else if (this.#xattrDigests.size > 0) this.#xattrDigests.delete(id);
    this.links.set(id, attributes.linkGroup);
    this.mode[id] = attributes.mode;
    this.uid[id] = attributes.uid;
    this.gid[id] = attributes.gid;
    this.size[id] = attributes.size;
    this.mtimeNs[id] = attributes.mtimeNs;
    this.ctimeNs[id] = attributes.ctimeNs;
    const device = this.#deviceIndex(attributes.dev);
    if (this.ino[id] === attributes.ino && this.#device[id] === device) return;
    this.#dropIdentity(id);
    this.ino[id] = attributes.ino;
    this.#device[id] = device;
    if (attributes.ino !== 0n) this.#addIdentity(id);
  }

  /** Marks an entry as leftover, or takes the mark away. */
  setLeftover(id: number, isLeftover: boolean): void {
    const mark = isLeftover ? 1 : 0;
    this.leftoverCount += mark - this.leftover[id];
    this.leftover[id] = mark;
  }

  /** The entry is no more: it leaves the identities, and its kind code is 0. */
  clearAttributes(id: number): void {
    this.setLeftover(id, false);
    this.#xattrDigests.delete(id);
    this.links.set(id, undefined);
    this.#dropIdentity(id);
    this.kind[id] = 0;
    this.ino[id] = 0n;
    this.#device[id] = 0;
  }

  /** Digest of an entry's extended attributes, `undefined` if it has none. */
  xattrDigest(id: number): bigint | undefined {
    return this.#xattrDigests.size === 0 ? undefined : this.#xattrDigests.get(id);
  }

  /** Device number of an entry's identity. */
  device(id: number): number {
    return this.#devices[this.#device[id]];
  }

  /** An entry with this identity, or 0. */
  findIdentity(dev: number, ino: bigint): number {
    const device = this.#deviceIndexes.get(dev);
    if (device === undefined || ino === 0n) return 0;
    this.#wantedIno[0] = ino;
    const [low, high] = this.#wantedWords;
    return this.#skipOthers(
      this.#identities[hashWords(low, high, device) & (this.#identities.length - 1)],
      low,
      high,
      device,
    );
  }

  /** The next entry with the identity of this one, or 0. */
  nextOfIdentity(id: number): number {
    const words = this.#inoWords;
    return this.#skipOthers(this.#identityNext[id], words[2 * id], words[2 * id + 1], this.#device[id]);
  }

  /** From an entry of a chain on, the first that has this identity; 0 if none has. */
  #skipOthers(id: number, low: number, high: number, device: number): number {
    const words = this.#inoWords;
    while (id !== 0) {
      if (words[2 * id] === low && words[2 * id + 1] === high && this.#device[id] === device) return id;
      id = this.#identityNext[id];
    }
    return 0;
  }

  // ——— Names and places ———

  /** The child of `parent` with the name `bytes[start, end)`, or 0. */
  find(parent: number, bytes: Uint8Array, start: number, end: number): number {
    const hash = this.#hashName(parent, bytes, start, end);
    const mask = this.#names.length - 1;
    for (let slot = hash & mask;; slot = (slot + 1) & mask) {
      const id = this.#names[slot];
      if (id === 0) return 0;
      if (this.#nameHash[id] === hash && this.parent[id] === parent && this.#hasName(id, bytes, start, end)) {
        return id;
      }
    }
  }

  /** Raw bytes of an entry's name: a view, valid until the next change. */
  name(id: number): Uint8Array {
    return this.#arena.subarray(this.#nameStart[id], this.#nameStart[id] + this.nameSize[id]);
  }

  /** Raw bytes of an entry's link target: a view, valid until the next change. */
  target(id: number): Uint8Array {
    const start = this.#nameStart[id] + this.nameSize[id];
    return this.#arena.subarray(start, start + this.targetSize[id]);
  }

  /** Stores name and link target of an entry that is not linked. The bytes are copied. */
  setText(id: number, name: Uint8Array, target: Uint8Array): void {
    assert(
      name.length <= 0xffff && target.length <= 0xffff,
      "a name or link target has at most 65,535 bytes",
    );
    const start = this.#appendText(name.length + target.length);
    this.#arena.set(name, start);
    this.#arena.set(target, start + name.length);
    this.#nameStart[id] = start;
    this.nameSize[id] = name.length;
    this.targetSize[id] = target.length;
  }

  /** Replaces the link target of an entry; its name stays. */
  setTarget(id: number, target: Uint8Array): void {
    if (target.length === 0 && this.targetSize[id] === 0) return;
    const name = this.name(id).slice();
    this.forgetText(id);
    this.setText(id, name, target);
  }

  /** Gives an entry's bytes in the arena up. */
  forgetText(id: number): void {
    this.#arenaGarbage += this.nameSize[id] + this.targetSize[id];
    this.nameSize[id] = this.targetSize[id] = 0;
  }

  /** Puts an entry, with its text set, below `parent`. The name must be free there. */
  link(id: number, parent: number): void {
    this.placedCount++;
    const start = this.#nameStart[id];
    this.parent[id] = parent;
    this.#nameHash[id] = this.#hashName(parent, this.#arena, start, start + this.nameSize[id]);
    const next = this.firstChild[parent];
    this.nextSibling[id] = next;
    this.#previousSibling[id] = 0;
    if (next !== 0) this.#previousSibling[next] = id;
    this.firstChild[parent] = id;
    if (++this.#namesCount * 3 > this.#names.length * 2) this.#growNames();
    this.#addName(id);
  }

  /** Takes an entry away from its parent. Its children stay its children. */
  unlink(id: number): void {
    this.unlinkCount++;
    this.placedCount++;
    const next = this.nextSibling[id];
    const previous = this.#previousSibling[id];
    if (next !== 0) this.#previousSibling[next] = previous;
    if (previous !== 0) this.nextSibling[previous] = next;
    else this.firstChild[this.parent[id]] = next;
    this.#dropName(id);
    this.#namesCount--;
    this.parent[id] = 0;
  }

  /** Ids of an entry and everything below it, each directory before its children. */
  *subtree(top: number): Iterable<number> {
    const stack = [top];
    let id: number | undefined;
    while ((id = stack.pop()) !== undefined) {
      for (let child = this.firstChild[id]; child !== 0; child = this.nextSibling[child]) stack.push(child);
      yield id;
    }
  }

  // ——— Hash of names ———

  #hashName(parent: number, bytes: Uint8Array, start: number, end: number): number {
    let hash = this.#seed ^ Math.imul(parent, 0x9e3779b1);
    for (let i = start; i < end; i++) {
      hash = Math.imul(hash ^ bytes[i], 0x01000193);
      hash ^= hash >>> 15;
    }
    return mix(hash);
  }

  #hasName(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    const size = end - start;
    if (this.nameSize[id] !== size) return false;
    const own = this.#nameStart[id];
    for (let i = 0; i < size; i++) if (this.#arena[own + i] !== bytes[start + i]) return false;
    return true;
  }

  #addName(id: number): void {
    const mask = this.#names.length - 1;
    let slot = this.#nameHash[id] & mask;
    while (this.#names[slot] !== 0) slot = (slot + 1) & mask;
    this.#names[slot] = id;
  }

  #dropName(id: number): void {
    const mask = this.#names.length - 1;
    let hole = this.#nameHash[id] & mask;
    while (this.#names[hole] !== id) hole = (hole + 1) & mask;
    // Shift back what probed past the hole, so that no search ends at it too early.
    for (let slot = (hole + 1) & mask; this.#names[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#nameHash[this.#names[slot]] & mask;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      this.#names[hole] = this.#names[slot];
      hole = slot;
    }
    this.#names[hole] = 0;
  }

  #growNames(): void {
    const old = this.#names;
    this.#names = new Uint32Array(old.length * 2);
    for (const id of old) if (id !== 0) this.#addName(id);
    free(old);
  }

  // ——— Identities ———

  #deviceIndex(dev: number): number {
    const known = this.#deviceIndexes.get(dev);
    if (known !== undefined) return known;
    const index = this.#devices.length;
    assert(index <= 0xffff, "an index knows at most 65,536 devices");
    this.#devices.push(dev);
    this.#deviceIndexes.set(dev, index);
    return index;
  }

  #identityBucket(id: number): number {
    const words = this.#inoWords;
    return hashWords(words[2 * id], words[2 * id + 1], this.#device[id]) & (this.#identities.length - 1);
  }

  #addIdentity(id: number): void {
    this.identityCount++;
    if (++this.#identitiesCount > this.#identities.length) this.#growIdentities();
    this.#chainIdentity(id);
  }

  #chainIdentity(id: number): void {
    const bucket = this.#identityBucket(id);
    const next = this.#identities[bucket];
    this.#identityNext[id] = next;
    this.#identityPrevious[id] = 0;
    if (next !== 0) this.#identityPrevious[next] = id;
    this.#identities[bucket] = id;
  }

  #dropIdentity(id: number): void {
    this.identityCount++;
    if (this.ino[id] === 0n) return;
    const next = this.#identityNext[id];
    const previous = this.#identityPrevious[id];
    if (next !== 0) this.#identityPrevious[next] = previous;
    if (previous !== 0) this.#identityNext[previous] = next;
    else this.#identities[this.#identityBucket(id)] = next;
    this.#identitiesCount--;
  }

  #growIdentities(): void {
    const old = this.#identities;
    this.#identities = new Uint32Array(old.length * 2);
    for (let id of old) {
      while (id !== 0) {
        const next = this.#identityNext[id];
        this.#chainIdentity(id);
        id = next;
      }
    }
    free(old);
  }

  // ——— Room ———

  /** Makes room for `size` bytes at the end of the arena, and returns where. */
  #appendText(size: number): number {
    if (this.#arenaSize + size > this.#arena.length) this.#moveArena(size);
    const start = this.#arenaSize;
    this.#arenaSize += size;
    return start;
  }

  /** Compacts the arena if more than half of it is garbage, and grows it otherwise. */
  #moveArena(size: number): void {
    if (this.#arenaGarbage * 2 > this.#arenaSize) return this.#compactArena(size);
    const wanted = Math.max(this.#arenaSize + size, Math.ceil(this.#arena.length * 1.5));
    assert(wanted <= 0xffff_ffff, "names of an index fit 4 GiB");
    this.#arena = new Uint8Array(this.#arena.buffer.transfer(wanted));
  }

  #compactArena(size: number): void {
    const live = this.#arenaSize - this.#arenaGarbage;
    const compact = new Uint8Array(Math.max(ARENA_MIN, Math.ceil((live + size) * 1.5)));
    let at = 0;
    for (let id = ROOT_ID; id < this.#idsUsed; id++) {
      const count = this.nameSize[id] + this.targetSize[id];
      if (count === 0) continue;
      const start = this.#nameStart[id];
      compact.set(this.#arena.subarray(start, start + count), at);
      this.#nameStart[id] = at;
      at += count;
    }
    free(this.#arena);
    this.#arena = compact;
    this.#arenaSize = at;
    this.#arenaGarbage = 0;
  }

  #resize(capacity: number): void {
    this.parent = grown(Uint32Array, this.parent, capacity);
    this.nextSibling = grown(Uint32Array, this.nextSibling, capacity);
    this.#previousSibling = grown(Uint32Array, this.#previousSibling, capacity);
    this.firstChild = grown(Uint32Array, this.firstChild, capacity);
    this.kind = grown(Uint8Array, this.kind, capacity);
    this.trusted = grown(Uint8Array, this.trusted, capacity);
    this.leftover = grown(Uint8Array, this.leftover, capacity);
    this.mode = grown(Uint16Array, this.mode, capacity);
    this.uid = grown(Uint32Array, this.uid, capacity);
    this.gid = grown(Uint32Array, this.gid, capacity);
    this.size = grown(Float64Array, this.size, capacity);
    this.mtimeNs = grown(BigInt64Array, this.mtimeNs, capacity);
    this.ctimeNs = grown(BigInt64Array, this.ctimeNs, capacity);
    this.ino = grown(BigUint64Array, this.ino, capacity);
    this.#inoWords = new Uint32Array(this.ino.buffer);
    this.nameSize = grown(Uint16Array, this.nameSize, capacity);
    this.targetSize = grown(Uint16Array, this.targetSize, capacity);
    this.#nameStart = grown(Uint32Array, this.#nameStart, capacity);
    this.#nameHash = grown(Uint32Array, this.#nameHash, capacity);
    this.#device = grown(Uint16Array, this.#device, capacity);
    this.#identityNext = grown(Uint32Array, this.#identityNext, capacity);
    this.#identityPrevious = grown(Uint32Array, this.#identityPrevious, capacity);
  }
}

/** A column with room for `capacity` numbers, zeroes where it had none. The old one is no more. */
function grown<T extends Column>(type: ColumnType<T>, column: T | undefined, capacity: number): T {
  const size = capacity * type.BYTES_PER_ELEMENT;
  // Not left to the collector: some twenty columns grow in a row, and all would be there twice until it comes.
  return new type(column?.buffer.transfer(size) ?? new ArrayBuffer(size));
}

/** Frees the bytes of a table now rather than when the collector comes. */
function free(table: Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>): void {
  table.buffer.transfer(0);
}

function hashWords(low: number, high: number, device: number): number {
  return mix(Math.imul(low, 0x85ebca6b) ^ Math.imul(high, 0xc2b2ae35) ^ device);
}

/** Spreads all bits over all bits (the end of MurmurHash3). */
function mix(hash: number): number {
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
