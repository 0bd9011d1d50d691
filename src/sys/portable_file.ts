/**
 * An open regular file through Deno's own calls.
 * @module
 */
import type { AttributeChange, DataRange, OpenFile, Stat, Xattr } from "./file_system.ts";
import { systemError } from "./errno.ts";
import { writeZeros } from "./holes.ts";
import { attempt, toDate, toStat } from "./portable_stat.ts";

const isWindows = Deno.build.os === "windows";
const COPY_BUFFER_SIZE = 1 << 20;

/** A regular file by Deno's handle, which it owns. Mode and owner are set by `path`, since Deno knows no other way. */
export class PortableFile implements OpenFile {
  #file: Deno.FsFile | undefined;
  readonly #path: string;

  constructor(file: Deno.FsFile, path: string) {
    this.#file = file;
    this.#path = path;
  }

  stat(): Stat {
    return this.#use("stat", (file) => toStat(file.statSync()));
  }

  read(buffer: Uint8Array<ArrayBuffer>, offset: number): number {
    return this.#use("read", (file) => {
      file.seekSync(offset, Deno.SeekMode.Start);
      let done = 0;
      while (done < buffer.length) {
        const count = file.readSync(buffer.subarray(done));
        if (count === null || count === 0) break;
        done += count;
      }
      return done;
    });
  }

  write(bytes: Uint8Array, offset: number): void {
    this.#use("write", (file) => {
      file.seekSync(offset, Deno.SeekMode.Start);
      let done = 0;
      while (done < bytes.length) done += file.writeSync(bytes.subarray(done));
    });
  }

  truncate(size: number): void {
    this.#use("truncate", (file) => file.truncateSync(size));
  }

  nextData(offset: number): DataRange | undefined {
    const { size } = this.stat();
    return offset < size ? { start: offset, end: size } : undefined;
  }

  punch(offset: number, size: number): void {
    writeZeros(this, offset, size);
  }

  setAttributes(change: AttributeChange): void {
    const { mode, uid, gid, mtimeNs } = change;
    this.#use("set attributes of", (file) => {
      const own = file.statSync();
      if (!isWindows && (mode !== undefined || uid !== undefined || gid !== undefined)) {
        this.#refuseOther(own);
        // Owner before mode: chown(2) takes the set-id bits away.
        if (uid !== undefined || gid !== undefined) Deno.chownSync(this.#path, uid ?? null, gid ?? null);
        if (mode !== undefined) Deno.chmodSync(this.#path, mode & 0o7777);
      }
      if (mtimeNs !== undefined) {
        file.utimeSync(own.atime ?? new Date(), toDate(mtimeNs));
      }
    });
  }

  xattrs(): Xattr[] {
    return [];
  }

  setXattr(name: string): void {
    throw systemError("ENOTSUP", `set ${name} of`, this.#path);
  }

  sync(): void {
    this.#use("sync", (file) => file.syncSync());
  }

  copyFrom(from: OpenFile): void {
    const buffer = new Uint8Array(COPY_BUFFER_SIZE);
    for (let at = 0;;) {
      const count = from.read(buffer, at);
      if (count > 0) this.write(buffer.subarray(0, count), at);
      if (count < buffer.length) return;
      at += count;
    }
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #use<T>(verb: string, call: (file: Deno.FsFile) => T): T {
    const file = this.#file;
    if (file === undefined) throw systemError("EBADF", verb, this.#path);
    return attempt(verb, this.#path, () => call(file));
  }

  /** Mode and owner go by name: the name must still be this file's. */
  #refuseOther(own: Deno.FileInfo): void {
    const named = Deno.lstatSync(this.#path);
    if (named.ino !== own.ino || named.dev !== own.dev) {
      throw systemError("ENOENT", "set attributes of", this.#path);
    }
  }
}
