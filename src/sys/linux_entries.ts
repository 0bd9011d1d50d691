/**
 * Reads directories by `getdents64`, and each entry's attributes relative to the open directory.
 * @module
 */
import { pathFromBytes } from "../base/path.ts";
import { addressOf, errno, libc } from "./libc.ts";
import { emptyStat, StatBuffer } from "./linux_stat.ts";

/** Bytes of directory entries read at once. */
const ENTRIES_SIZE = 64 * 1024;
/** Entry buffers kept for later scans. */
const SPARES_MAX = 4;

const spares: EntryBuffer[] = [];

/** Lends an entry buffer for the time of `use`. Each scan needs its own, since a visit may scan the next directory. */
export function withEntryBuffer<T>(use: (buffer: EntryBuffer) => T): T {
  const buffer = spares.pop() ?? new EntryBuffer();
  try {
    return use(buffer);
  } finally {
    if (spares.length < SPARES_MAX) spares.push(buffer);
  }
}

/**
 * Entries of a directory as `getdents64` gives them: `size u16 @16 · type u8 @18 · name @19 … NUL`. The names are used
 * where they lie, without a copy.
 */
export class EntryBuffer {
  /** Room for the attributes of the entry visited. */
  readonly statBuffer = new StatBuffer();
  /** The one Stat that a scan shows again and again. */
  readonly stat = emptyStat();
  readonly #bytes = new Uint8Array(ENTRIES_SIZE);
  readonly #address = addressOf(this.#bytes);
  #at = 0;

  /** Type of the entry visited, as `kindOfType` takes it. */
  get type(): number {
    return this.#bytes[this.#at + 18];
  }

  /** Address of its name. */
  get nameAddress(): number {
    return this.#address + this.#at + 19;
  }

  /** Its name. */
  name(): string {
    const bytes = this.#bytes;
    const start = this.#at + 19;
    let name = "";
    for (let at = start; bytes[at] !== 0; at++) {
      if (bytes[at] > 0x7f) return pathFromBytes(bytes.subarray(start, bytes.indexOf(0, at)));
      name += String.fromCharCode(bytes[at]);
    }
    return name;
  }

  /** Visits each entry of an open directory, which stands in this buffer meanwhile. Gives 0 or the errno that ended it. */
  readAll(directory: number, visit: (buffer: EntryBuffer, directory: number) => void): number {
    for (;;) {
      const size = libc().getdents64(directory, this.#address, ENTRIES_SIZE);
      if (size <= 0) return size === 0 ? 0 : errno();
      for (let at = 0; at < size; at += this.#bytes[at + 16] | (this.#bytes[at + 17] << 8)) {
        this.#at = at;
        if (!this.#isDots(at + 19)) visit(this, directory);
      }
    }
  }

  /** Whether the name is `.` or `..`. */
  #isDots(start: number): boolean {
    const bytes = this.#bytes;
    if (bytes[start] !== 0x2e) return false;
    return bytes[start + 1] === 0 || (bytes[start + 1] === 0x2e && bytes[start + 2] === 0);
  }
}
