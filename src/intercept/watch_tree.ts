/**
 * The directories that are watched, as nodes {parent, name}: a renamed directory is one node with a new parent, and
 * no path below it is rewritten. Columns of numbers hold the nodes, about 60 bytes a directory besides its name.
 *
 * ```text
 *   node     wd      parent  name     first  next  previous   chain
 *   0 root   1       none    ""       2      -     -          -
 *   2        7       0       "src"    5      3     -          (next node in the same bucket of (parent, name))
 *   9        12      limbo   "old"    …                       its place in the tree is not known (any more)
 * ```
 *
 * Invariants: at most one node holds a place (parent, name); at most one node has a watch descriptor; the parents of a
 * node never form a ring. Node numbers are used again after {@linkcode WatchTree.remove}.
 * @module
 */
import { assert } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { joinPath } from "../base/path.ts";

/** No node. */
export const NONE = -1;
/** The node of the watched root. */
export const ROOT = 0;
/** Instead of a watch descriptor: the directory is excluded, nothing below it is watched. */
export const EXCLUDED = 0;
/** Instead of a watch descriptor: the system refuses to watch the directory. */
export const REFUSED = -1;

const LIMBO = -2;

/** The watched directories below one root. */
export class WatchTree {
  #capacity = 64;
  #wd = new Int32Array(this.#capacity);
  #parent = new Int32Array(this.#capacity);
  #first = new Int32Array(this.#capacity);
  #next = new Int32Array(this.#capacity);
  #previous = new Int32Array(this.#capacity);
  #chain = new Int32Array(this.#capacity);
  #names: (string | undefined)[] = [];
  #buckets = new Int32Array(64).fill(NONE);
  #byWd = new Map<number, number>();
  #free = NONE;
  #used = 0;
  #size = 0;
  #cachedNode = NONE;
  #cachedPath: string | undefined;

  /** Makes a tree of the root alone. */
  constructor(rootWd: number) {
    const root = this.#allocate("", rootWd);
    assert(root === ROOT, "the root is the first node");
    this.#parent[root] = NONE;
  }

  /** Nodes in the tree and in limbo, with the root. */
  get size(): number {
    return this.#size;
  }

  /** The node with a watch descriptor, or `NONE`. */
  byWd(wd: number): number {
    return this.#byWd.get(wd) ?? NONE;
  }

  /** A node's watch descriptor, `EXCLUDED` or `REFUSED`. */
  wd(node: number): number {
    return this.#wd[node];
  }

  /** The parent of a node; `NONE` for the root and for a node in limbo. */
  parent(node: number): number {
    return Math.max(this.#parent[node], NONE);
  }

  /** The name of a node in its parent. */
  name(node: number): string {
    return this.#names[node]!;
  }

  /** The first child of a node, or `NONE`. */
  firstChild(node: number): number {
    return this.#first[node];
  }

  /** Whether nothing is above this node although it is not the root. */
  inLimbo(node: number): boolean {
    return this.#parent[node] === LIMBO;
  }

  /** Whether a node number is in use. */
  exists(node: number): boolean {
    return node >= 0 && node < this.#used && this.#names[node] !== undefined;
  }

  /** The node at a place, or `NONE`. */
  find(parent: number, name: string): number {
    let node = this.#buckets[this.#bucket(parent, name)];
    while (node !== NONE && (this.#parent[node] !== parent || this.#names[node] !== name)) {
      node = this.#chain[node];
    }
    return node;
  }

  /** Adds a directory at a free place. */
  add(parent: number, name: string, wd: number): number {
    const node = this.#allocate(name, wd);
    this.#attach(node, parent, name);
    return node;
  }

  /** Gives a node, with everything below it, another place, which must be free and not below the node. */
  move(node: number, parent: number, name: string): void {
    assert(!this.isWithin(parent, node), "no directory becomes its own ancestor");
    this.detach(node);
    this.#names[node] = name;
    this.#attach(node, parent, name);
  }

  /** Takes a node, with everything below it, out of its place: it is in limbo afterwards. */
  detach(node: number): void {
    const parent = this.#parent[node];
    if (parent < 0) return;
    this.#unchain(node);
    const [next, previous] = [this.#next[node], this.#previous[node]];
    if (previous === NONE) this.#first[parent] = next;
    else this.#next[previous] = next;
    if (next !== NONE) this.#previous[next] = previous;
    this.#parent[node] = LIMBO;
    this.#cachedNode = NONE;
  }

  /** Forgets a node. It must have no children. */
  remove(node: number): void {
    assert(this.#first[node] === NONE, "a forgotten directory has no children");
    this.detach(node);
    if (this.#wd[node] > 0) this.#byWd.delete(this.#wd[node]);
    this.#names[node] = undefined;
    this.#next[node] = this.#free;
    this.#free = node;
    this.#size--;
    this.#cachedNode = NONE;
  }

  /** Path of a node relative to the root; `undefined` if it, or something above it, is in limbo. */
  path(node: number): string | undefined {
    if (node === this.#cachedNode) return this.#cachedPath;
    let path = "";
    for (let at = node; at !== ROOT; at = this.#parent[at]) {
      if (at < 0) {
        this.#cachedPath = undefined;
        this.#cachedNode = node;
        return undefined;
      }
      path = at === node ? this.#names[at]! : joinPath(this.#names[at]!, path);
    }
    this.#cachedPath = path;
    this.#cachedNode = node;
    return path;
  }

  /** Whether a node is `above` itself or lies below it. */
  isWithin(node: number, above: number): boolean {
    for (let at = node; at >= 0; at = this.#parent[at]) if (at === above) return true;
    return false;
  }

  #attach(node: number, parent: number, name: string): void {
    assert(this.find(parent, name) === NONE, "one node a place");
    if (this.#size > this.#buckets.length) this.#rehash();
    this.#parent[node] = parent;
    this.#previous[node] = NONE;
    this.#next[node] = this.#first[parent];
    if (this.#first[parent] !== NONE) this.#previous[this.#first[parent]] = node;
    this.#first[parent] = node;
    this.#enchain(node);
    this.#cachedNode = NONE;
  }

  #allocate(name: string, wd: number): number {
    let node = this.#free;
    if (node !== NONE) this.#free = this.#next[node];
    else node = this.#used++;
    if (node >= this.#capacity) this.#grow();
    this.#names[node] = name;
    this.#wd[node] = wd;
    this.#parent[node] = LIMBO;
    this.#first[node] =
      this.#next[node] =
      this.#previous[node] =
      this.#chain[node] =
        NONE;
    if (wd > 0) this.#byWd.set(wd, node);
    this.#size++;
    return node;
  }

  #grow(): void {
    this.#capacity = Math.ceil(this.#capacity * 1.5);
    const roomier = (column: Int32Array<ArrayBuffer>) => {
      const grown = new Int32Array(this.#capacity);
      grown.set(column);
      return grown;
    };
    this.#wd = roomier(this.#wd);
    this.#parent = roomier(this.#parent);
    this.#first = roomier(this.#first);
    this.#next = roomier(this.#next);
    this.#previous = roomier(this.#previous);
    this.#chain = roomier(this.#chain);
  }

  #bucket(parent: number, name: string): number {
    let hash = Math.imul(parent + 1, 0x9e3779b1);
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    return (hash ^ (hash >>> 15)) & (this.#buckets.length - 1);
  }

  #enchain(node: number): void {
    const bucket = this.#bucket(this.#parent[node], this.#names[node]!);
    this.#chain[node] = this.#buckets[bucket];
    this.#buckets[bucket] = node;
  }

  #unchain(node: number): void {
    const bucket = this.#bucket(this.#parent[node], this.#names[node]!);
    let at = this.#buckets[bucket];
    if (at === node) {
      this.#buckets[bucket] = this.#chain[node];
      return;
    }
    while (this.#chain[at] !== node) at = this.#chain[at];
    this.#chain[at] = this.#chain[node];
  }

  #rehash(): void {
    this.#buckets = new Int32Array(this.#buckets.length * 2).fill(NONE);
    for (let node = 1; node < this.#used; node++) {
      if (this.#names[node] !== undefined && this.#parent[node] >= 0) this.#enchain(node);
    }
  }
}

/**
 * Whether one of `nodes` is `above` or lies below it; `true` as well if they are too many to be asked. Numbers of
 * forgotten nodes do no harm.
 */
export function anyWithin(tree: WatchTree, nodes: Set<number>, above: number): boolean {
  if (nodes.size > limits.askedNodesMax) return true;
  for (const node of nodes) if (tree.exists(node) && tree.isWithin(node, above)) return true;
  return false;
}
