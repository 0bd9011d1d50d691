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
 * are mostly asked for one after the other, each of them more than once.
 */
export class PathFinder {
  readonly #table: NodeTable;
  /** The path looked up last, where its last name begins in it, and that name as raw bytes up to `#end`. */
  #path = "";
  #nameStart = 0;
  #name: Uint8Array = new Uint8Array(1024);
  #end = 0;
  /** Its id, as long as the table's `placedCount` is this. */
  #id = ROOT_ID;
  #placedCount = 0;
  /** The directory found last. Its path has this id as long as the table's `unlinkCount` is this. */
  #directoryPath = "";
  #directory = ROOT_ID;
  #unlinkCount = 0;

  constructor(table: NodeTable) {
    this.#table = table;
  }

  /** Id of the entry at `path`, or 0. The root is always found. */
  locate(path: string): number {
    if (path === this.#path && this.#placedCount === this.#table.placedCount) return this.#id;
    this.#path = path;
    this.#nameStart = path.lastIndexOf("/") + 1;
    this.#placedCount = this.#table.placedCount;
    this.#encodeName();
    const directory = this.#locateDirectory();
    if (path === "") this.#id = ROOT_ID;
    else if (directory === 0) this.#id = 0;
    else this.#id = this.#table.find(directory, this.#name, 0, this.#end);
    return this.#id;
  }

  /** Whether the directory of the path that was located last is in the index. The root lies in itself. */
  hasParent(): boolean {
    const id = this.#locateDirectory();
    return id === ROOT_ID || (id !== 0 && this.#table.kind[id] === DIRECTORY_CODE);
  }

  /** Id of the directory of the path that was located last; it must be in the index, and the path have a name. */
  locateParent(): number {
    assert(this.#end > 0, "a path has no empty name");
    const id = this.#locateDirectory();
    assert(id !== 0, "the directory of an entry is in the index");
    assert(
      id === ROOT_ID || this.#table.kind[id] === DIRECTORY_CODE,
      "the parent of an entry is a directory",
    );
    return id;
  }

  /** Raw bytes of the last name of the path that was located last: a view, valid until the next. */
  lastName(): Uint8Array {
    return this.#name.subarray(0, this.#end);
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

  #locateDirectory(): number {
    const size = this.#nameStart - 1;
    if (size < 0) return ROOT_ID;
    const isKnown = this.#directoryPath.length === size && this.#path.startsWith(this.#directoryPath) &&
      this.#unlinkCount === this.#table.unlinkCount;
    if (isKnown) return this.#directory;
    const path = this.#path.slice(0, size);
    const id = this.#walk(pathToBytes(path));
    if (id === 0) return 0;
    this.#directoryPath = path;
    this.#directory = id;
    this.#unlinkCount = this.#table.unlinkCount;
    return id;
  }

  #walk(path: Uint8Array): number {
    let id = ROOT_ID;
    for (let start = 0; start <= path.length && id !== 0;) {
      const slash = path.indexOf(SLASH, start);
      const end = slash < 0 ? path.length : slash;
      id = this.#table.find(id, path, start, end);
      start = end + 1;
    }
    return id;
  }

  /** Puts the raw bytes of the last name into the field; plain ASCII, the usual case, without allocating. */
  #encodeName(): void {
    const path = this.#path;
    const size = path.length - this.#nameStart;
    if (this.#name.length < size) this.#name = new Uint8Array(size * 2);
    this.#end = size;
    for (let i = 0; i < size; i++) {
      const code = path.charCodeAt(this.#nameStart + i);
      if (code > 0x7f) {
        const bytes = pathToBytes(path.slice(this.#nameStart));
        if (this.#name.length < bytes.length) this.#name = new Uint8Array(bytes.length * 2);
        this.#name.set(bytes);
        this.#end = bytes.length;
        return;
      }
      this.#name[i] = code;
    }
  }
}
