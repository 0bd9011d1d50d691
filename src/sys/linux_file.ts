/**
 * An open regular file through libc.
 * @module
 */
import { errnoName, systemError } from "./errno.ts";
import type { AttributeChange, OpenFile, Stat, Xattr } from "./file_system.ts";
import { addressOf, errno, lastError, libc, pageAligned } from "./libc.ts";
import { emptyStat, StatBuffer, TimesBuffer } from "./linux_stat.ts";
import { readXattrs, writeXattr } from "./linux_xattrs.ts";

const EINTR = 4;
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
    let copied = 0;
    if (from instanceof LinuxFile) {
      if (libc().ioctl(this.#descriptor, FICLONE, from.#descriptor) === 0) return;
      copied = this.#copyInKernel(from);
    }
    this.#copyByHand(from, copied);
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

  /** Copies until the end or until the kernel cannot; gives the bytes copied. */
  #copyInKernel(from: LinuxFile): number {
    const { copy_file_range } = libc();
    const offsets = new BigInt64Array(32);
    const address = addressOf(new Uint8Array(offsets.buffer));
    for (;;) {
      const count = copy_file_range(
        from.#descriptor,
        address,
        this.#descriptor,
        address + 8,
        CALL_SIZE_MAX,
        0,
      );
      // The offsets are read here, which also keeps their buffer alive during the call.
      if (count === 0 || (count < 0 && errno() !== EINTR)) return Number(offsets[0]);
    }
  }

  /** Copies the rest by read and write; an error that stopped the kernel shows again here, if it is a real one. */
  #copyByHand(from: OpenFile, offset: number): void {
    copyBuffer ??= pageAligned(COPY_BUFFER_SIZE);
    for (let at = offset;;) {
      const count = from.read(copyBuffer, at);
      if (count > 0) this.write(copyBuffer.subarray(0, count), at);
      if (count < copyBuffer.length) return;
      at += count;
    }
  }
}
