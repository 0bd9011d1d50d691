/**
 * From a path to an id of the index's table and back, without making a string or buffer for each name.
 * @module
 */
import { assert } from "../base/errors.ts";
import { pathFromBytes, pathToBytes } from "../base/path.ts";
import { DIRECTORY_CODE, ROOT_ID } from "../store/index_row.ts";
import type { NodeTable } from "./index_table.ts";

const SLASH = 0x2f;

/**
 * Looks paths up in one table. Remembers the path looked up last, and the directory found last: entries of a directory
 * are mostly asked for one after the other.
 */
export class PathFinder {
  readonly #table: NodeTable;
  /** The path looked up last, as raw bytes up to `#end`; its last name begins at `#nameStart`. */
  #bytes: Uint8Array = new Uint8Array(4096);
  #end = 0;
  #nameStart = 0;
  /** Raw bytes of the directory found last, with a slash at the end. */
  #directoryBytes = new Uint8Array(0);
  #directory = ROOT_ID;
  /** What the table's `unlinkCount` was then: since it moved on, another entry may have that path. */
  #directoryCount = 0;
  /** The path in `#bytes`, and its id as long as the table's `placedCount` stays. */
  #path = "";
  #id = ROOT_ID;
  #pathCount = 0;

  constructor(table: NodeTable) {
    this.#table = table;
  }

  /** Id of the entry at `path`, or 0. The root is always found. */
  locate(path: string): number {
    if (path === this.#path && this.#pathCount === this.#table.placedCount) return this.#id;
    this.#encode(path);
    this.#path = path;
    this.#pathCount = this.#table.placedCount;
    const directory = this.#locateDirectory();
    if (path === "") this.#id = ROOT_ID;
    else if (directory === 0) this.#id = 0;
    else this.#id = this.#table.find(directory, this.#bytes, this.#nameStart, this.#end);
    return this.#id;
  }

  /** Whether the directory of the path that was located last is in the index. The root lies in itself. */
  hasParent(): boolean {
    const id = this.#locateDirectory();
    return id === ROOT_ID || (id !== 0 && this.#table.kind[id] === DIRECTORY_CODE);
  }

  /** Id of the directory of the path that was located last; it must be in the index, and the path have a name. */
  locateParent(): number {
    assert(this.#end > this.#nameStart, "a path has no empty name");
    const id = this.#locateDirectory();
    assert(id !== 0, "the directory of an entry is in the index");
    assert(
      id === ROOT_ID || this.#table.kind[id] === DIRECTORY_CODE,
      "the parent of an entry is a directory",
    );
    return id;
  }

  #locateDirectory(): number {
    if (this.#nameStart === 0) return ROOT_ID;
    if (this.#isSameDirectory()) return this.#directory;
    let id = ROOT_ID;
    let start = 0;
    for (let at = 0; at < this.#nameStart; at++) {
      if (this.#bytes[at] !== SLASH) continue;
      id = this.#table.find(id, this.#bytes, start, at);
      if (id === 0) return 0;
      start = at + 1;
    }
    this.#directory = id;
    this.#directoryBytes = this.#bytes.slice(0, this.#nameStart);
    this.#directoryCount = this.#table.unlinkCount;
    return id;
  }

  #isSameDirectory(): boolean {
    const known = this.#directoryBytes;
    if (known.length !== this.#nameStart || this.#directoryCount !== this.#table.unlinkCount) return false;
    // From the end: paths that differ mostly do so there.
    for (let at = known.length - 1; at >= 0; at--) if (known[at] !== this.#bytes[at]) return false;
    return true;
  }

  /** Raw bytes of the last name of the path that was located last: a view, valid until the next. */
  lastName(): Uint8Array {
    return this.#bytes.subarray(this.#nameStart, this.#end);
  }

  /** Path of an entry of the tree. */
  pathOf(id: number): string {
    if (id === ROOT_ID) return "";
    let path = pathFromBytes(this.#table.name(id));
    for (let up = this.#table.parent[id]; up > ROOT_ID; up = this.#table.parent[up]) {
      path = `${pathFromBytes(this.#table.name(up))}/${path}`;
    }
    return path;
  }

  /** Puts the raw bytes of a path into the field; plain ASCII, the usual case, without allocating. */
  #encode(path: string): void {
    if (this.#bytes.length < path.length) this.#bytes = new Uint8Array(path.length * 2);
    this.#end = path.length;
    this.#nameStart = 0;
    for (let i = 0; i < path.length; i++) {
      const code = path.charCodeAt(i);
      if (code > 0x7f) {
        this.#bytes = pathToBytes(path);
        this.#end = this.#bytes.length;
        this.#nameStart = this.#bytes.lastIndexOf(SLASH) + 1;
        return;
      }
      if (code === SLASH) this.#nameStart = i + 1;
      this.#bytes[i] = code;
    }
  }
}
