/**
 * An open regular file through libc.
 * @module
 */
import { errnoName, systemError } from "./errno.ts";
import type { AttributeChange, DataRange, OpenFile, Stat, Xattr } from "./file_system.ts";
import { writeZeros } from "./holes.ts";
import { addressOf, errno, FALLOC, lastError, libc, pageAligned, SEEK } from "./libc.ts";
import { emptyStat, StatBuffer, TimesBuffer } from "./linux_stat.ts";
import { readXattrs, writeXattr } from "./linux_xattrs.ts";

const EINTR = 4;
const ENXIO = 6;
const EINVAL = 22;
const ENOSYS = 38;
const ENOTSUP = 95;
/** `ioctl` number: the file becomes a reflink of another. */
const FICLONE = 0x40049409;
/** Bytes of one call, so that its count fits a 32-bit result. */
const CALL_SIZE_MAX = 1 << 30;
const COPY_BUFFER_SIZE = 1 << 20;
/** `uid` or `gid` that is to stay as it is. */
export const KEEP_ID = 0xffff_ffff;

let shared:
  | { statBuffer: StatBuffer; times: TimesBuffer; empty: Uint8Array; emptyAddress: number }
  | undefined;
let copyBuffer: Uint8Array<ArrayBuffer> | undefined;

/** Buffers that one thread's calls share; each is free again when the call returns. */
export function sharedBuffers(): NonNullable<typeof shared> {
  if (shared === undefined) {
    const empty = new Uint8Array(256);
    shared = {
      statBuffer: new StatBuffer(),
      times: new TimesBuffer(),
      empty,
      emptyAddress: addressOf(empty),
    };
  }
  return shared;
}

/** A regular file by its descriptor, which it owns. `path` is for messages. */
export class LinuxFile implements OpenFile {
  #descriptor: number;
  readonly #path: string;

  constructor(descriptor: number, path: string) {
    this.#descriptor = descriptor;
    this.#path = path;
  }

  stat(): Stat {
    const { statBuffer, emptyAddress } = sharedBuffers();
    if (!statBuffer.askOpen(this.#descriptor, emptyAddress)) throw lastError("stat", this.#path);
    return statBuffer.fill(emptyStat());
  }

  read(buffer: Uint8Array<ArrayBuffer>, offset: number): number {
    const { pread } = libc();
    let done = 0;
    while (done < buffer.length) {
      const rest = done === 0 ? buffer : buffer.subarray(done);
      const count = pread(this.#descriptor, rest, Math.min(rest.length, CALL_SIZE_MAX), offset + done);
      if (count > 0) done += count;
      else if (count === 0) break;
      else if (errno() !== EINTR) throw lastError("read", this.#path);
    }
    return done;
  }

  write(bytes: Uint8Array, offset: number): void {
    const { pwrite } = libc();
    let done = 0;
    while (done < bytes.length) {
      const rest = done === 0 ? bytes : bytes.subarray(done);
      const count = pwrite(this.#descriptor, rest, Math.min(rest.length, CALL_SIZE_MAX), offset + done);
      if (count >= 0) done += count;
      else if (errno() !== EINTR) throw lastError("write", this.#path);
    }
  }

  truncate(size: number): void {
    while (libc().ftruncate(this.#descriptor, size) < 0) {
      if (errno() !== EINTR) throw lastError("truncate", this.#path);
    }
  }

  nextData(offset: number): DataRange | undefined {
    const { statBuffer, emptyAddress } = sharedBuffers();
    if (!statBuffer.askRoom(this.#descriptor, emptyAddress)) throw lastError("stat", this.#path);
    const { size, roomTaken } = statBuffer;
    if (offset >= size) return undefined;
    // Most files: looking for a hole may take a walk over all pages (tmpfs).
    if (roomTaken >= size) return { start: offset, end: size };
    const start = this.#seek(offset, SEEK.DATA);
    const end = start === undefined ? undefined : this.#seek(start, SEEK.HOLE);
    // Without an end the data was cut off meanwhile.
    return start === undefined || end === undefined ? undefined : { start, end };
  }

  punch(offset: number, size: number): void {
    if (size === 0) return;
    const flags = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;
    while (libc().fallocate(this.#descriptor, flags, offset, size) < 0) {
      const code = errno();
      if (code === ENOTSUP || code === ENOSYS) return writeZeros(this, offset, size);
      if (code !== EINTR) throw lastError("make a hole in", this.#path);
    }
  }

  setAttributes(change: AttributeChange): void {
    const { mode, uid, gid, mtimeNs } = change;
    const { fchown, fchmod, futimens } = libc();
    // Owner before mode: chown(2) takes the set-id bits away.
    if (uid !== undefined || gid !== undefined) {
      if (fchown(this.#descriptor, uid ?? KEEP_ID, gid ?? KEEP_ID) < 0) {
        throw lastError("change the owner of", this.#path);
      }
    }
    if (mode !== undefined && fchmod(this.#descriptor, mode & 0o7777) < 0) {
      throw lastError("change the mode of", this.#path);
    }
    if (mtimeNs !== undefined && futimens(this.#descriptor, sharedBuffers().times.put(mtimeNs)) < 0) {
      throw lastError("set the time of", this.#path);
    }
  }

  xattrs(): Xattr[] {
    const found = readXattrs({ descriptor: this.#descriptor });
    if (typeof found === "number") throw systemError(errnoName(found), "read attributes of", this.#path);
    return found;
  }

  setXattr(name: string, value: Uint8Array | undefined): void {
    const failure = writeXattr({ descriptor: this.#descriptor }, name, value);
    if (failure !== 0) throw systemError(errnoName(failure), `set ${name} of`, this.#path);
  }

  sync(): void {
    // fsync, not fdatasync: the attributes set on a new version must survive with it.
    if (libc().fsync(this.#descriptor) < 0) throw lastError("sync", this.#path);
  }

  copyFrom(from: OpenFile): void {
    if (from instanceof LinuxFile && libc().ioctl(this.#descriptor, FICLONE, from.#descriptor) === 0) return;
    // Only data is copied: copy_file_range(2) may write zeros where there is a hole.
    this.truncate(from.stat().size);
    for (let data = from.nextData(0); data; data = from.nextData(data.end)) {
      const start = from instanceof LinuxFile ? this.#copyInKernel(from, data) : data.start;
      this.#copyByHand(from, { start, end: data.end });
    }
  }

  close(): void {
    if (this.#descriptor < 0) return;
    const descriptor = this.#descriptor;
    this.#descriptor = -1;
    // Linux frees the descriptor whatever close(2) says. Errors of delayed writes are told by `sync`.
    libc().close(descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Offset of the next data, or of the next hole; `undefined` if there is none. Without an answer all is data. */
  #seek(offset: number, whence: number): number | undefined {
    const found = libc().lseek(this.#descriptor, offset, whence);
    if (found >= 0n) return Number(found);
    const code = errno();
    if (code === ENXIO) return undefined;
    if (code !== EINVAL && code !== ENOTSUP) throw lastError("look for holes in", this.#path);
    return whence === SEEK.DATA ? offset : this.stat().size;
  }

  /** Copies a range until its end or until the kernel cannot; gives the offset up to which it is copied. */
  #copyInKernel(from: LinuxFile, { start, end }: DataRange): number {
    const { copy_file_range } = libc();
    const offsets = new BigInt64Array(32).fill(BigInt(start));
    const address = addressOf(new Uint8Array(offsets.buffer));
    for (;;) {
      // The offsets are read here, which also keeps their buffer alive during the call.
      const at = Number(offsets[0]);
      const size = Math.min(CALL_SIZE_MAX, end - at);
      if (size === 0) return at;
      const count = copy_file_range(from.#descriptor, address, this.#descriptor, address + 8, size, 0);
      if (count === 0 || (count < 0 && errno() !== EINTR)) return Number(offsets[0]);
    }
  }

  /** Copies the rest by read and write; an error that stopped the kernel shows again here, if it is a real one. */
  #copyByHand(from: OpenFile, { start, end }: DataRange): void {
    copyBuffer ??= pageAligned(COPY_BUFFER_SIZE);
    for (let at = start; at < end;) {
      const wanted = copyBuffer.subarray(0, Math.min(copyBuffer.length, end - at));
      const count = from.read(wanted, at);
      if (count > 0) this.write(wanted.subarray(0, count), at);
      if (count < wanted.length) return;
      at += count;
    }
  }
}
