/**
 * Reads lines of bounded size from a connection.
 * @module
 */
import { concatBytes, text } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";

const LINE_FEED = 10;
const READ_SIZE = 64 * 1024;

/** Reads one line after another. Holds at most one line and what one read brought with it. */
export class LineReader {
  readonly #reader: Pick<Deno.Conn, "read">;
  readonly #sizeMax: number;
  readonly #buffer = new Uint8Array(READ_SIZE);
  /** Bytes that were read and belong to no line yet. */
  #rest: Uint8Array = new Uint8Array();

  /** @param sizeMax Bytes of one line, without its line feed. */
  constructor(reader: Pick<Deno.Conn, "read">, sizeMax: number) {
    this.#reader = reader;
    this.#sizeMax = sizeMax;
  }

  /**
   * The next line without its line feed, or `undefined` at the end. A last line without a line feed counts as none.
   *
   * @throws {ProtocolError} If a line is too long.
   */
  async read(): Promise<string | undefined> {
    const parts = [this.#rest];
    let size = this.#rest.length;
    let part = this.#rest;
    for (;;) {
      const end = part.indexOf(LINE_FEED);
      if (end >= 0) {
        this.#rest = part.slice(end + 1);
        parts[parts.length - 1] = part.subarray(0, end);
        this.#checkSize(size - part.length + end);
        return text(concatBytes(...parts));
      }
      this.#checkSize(size);
      const count = await this.#reader.read(this.#buffer);
      if (count === null) return undefined;
      part = this.#buffer.slice(0, count);
      parts.push(part);
      size += count;
    }
  }

  #checkSize(size: number): void {
    if (size > this.#sizeMax) {
      throw new ProtocolError(`Cannot read request: more than ${this.#sizeMax} bytes`);
    }
  }
}

/** Writes all bytes to a connection. */
export async function writeAll(writer: Pick<Deno.Conn, "write">, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) written += await writer.write(bytes.subarray(written));
}
