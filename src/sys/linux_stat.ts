/**
 * Attributes between libc and {@linkcode Stat}.
 *
 * ```
 * struct statx   nlink u32 @16 · uid u32 @20 · gid u32 @24 · mode u16 @28 · ino u64 @32 · size u64 @40
 *                blocks u64 @48
 *                attributes u64 @8 · ctime i64 @96, u32 @104 · mtime i64 @112, u32 @120
 *                device of a node u32 @128, u32 @132 · dev u32 @136, u32 @140
 * struct timespec[2]   atime i64 @0, i64 @8 · mtime i64 @16, i64 @24
 * ```
 * @module
 */
import { isDevice, type Kind, type NodeKind, type Stat } from "./file_system.ts";
import { addressOf, AT, libc } from "./libc.ts";

/** Type, mode, link count, owner, mtime, ctime, inode number and size: what {@linkcode Stat} holds. */
const STATX_MASK = 0x3df;
/** Size and blocks. */
const STATX_ROOM = 0x600;
const STATX_ATTR_MOUNT_ROOT = 0x2000;
/** A time that is to stay as it is. */
const UTIME_OMIT = 0x3ffffffe;
const SECOND_NS = 1_000_000_000n;

/** Kinds by the type bits of a mode (`mode >> 12`), which are the types of `getdents64` too. */
const kinds: (Kind | undefined)[] = [];
kinds[1] = "fifo";
kinds[2] = "character";
kinds[4] = "directory";
kinds[6] = "block";
kinds[8] = "file";
kinds[10] = "symlink";
kinds[12] = "socket";

/** Type bits of a mode for a node of this kind. */
export function typeOfNode(kind: NodeKind): number {
  return kinds.indexOf(kind) << 12;
}

/** Kind of an entry by the type that `getdents64` told; `undefined` if it told none. */
export function kindOfType(type: number): Kind | undefined {
  return kinds[type];
}

/** A Stat to be filled. */
export function emptyStat(): Stat {
  return {
    kind: "file",
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtimeNs: 0n,
    ctimeNs: 0n,
    dev: 0,
    ino: 0n,
    linkCount: 0,
    device: "",
  };
}

/** Room for one `struct statx`, used again and again. */
export class StatBuffer {
  readonly #bytes = new Uint8Array(256);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #address = addressOf(this.#bytes);

  /** Asks for the attributes of a name in a directory, not following it. False: look at `errno()`. */
  ask(directory: number, nameAddress: number): boolean {
    const flags = AT.SYMLINK_NOFOLLOW | AT.NO_AUTOMOUNT;
    return libc().statx(directory, nameAddress, flags, STATX_MASK, this.#address) === 0;
  }

  /** Asks for the attributes of an open descriptor. `emptyAddress` is that of an empty name. */
  askOpen(descriptor: number, emptyAddress: number): boolean {
    return libc().statx(descriptor, emptyAddress, AT.EMPTY_PATH, STATX_MASK, this.#address) === 0;
  }

  /** Asks for {@linkcode size} and {@linkcode roomTaken} of an open descriptor alone. */
  askRoom(descriptor: number, emptyAddress: number): boolean {
    return libc().statx(descriptor, emptyAddress, AT.EMPTY_PATH, STATX_ROOM, this.#address) === 0;
  }

  /** Type bits of what was asked for, as {@linkcode kindOfType} takes them. */
  get type(): number {
    return this.#view.getUint16(28, true) >> 12;
  }

  /** Permission bits of what was asked for. */
  get mode(): number {
    return this.#view.getUint16(28, true) & 0o7777;
  }

  /** Bytes of what was asked for. */
  get size(): number {
    return this.#view.getUint32(40, true) + this.#view.getUint32(44, true) * 0x1_0000_0000;
  }

  /** Bytes that it takes on its disk. */
  get roomTaken(): number {
    return Number(this.#view.getBigUint64(48, true)) * 512;
  }

  /** Whether what was asked for is the root of a mount. */
  get isMountRoot(): boolean {
    return (this.#view.getUint32(8, true) & STATX_ATTR_MOUNT_ROOT) !== 0;
  }

  /** Device of what was asked for, packed as `makedev(3)` does. */
  get dev(): number {
    return packDevice(this.#view.getUint32(136, true), this.#view.getUint32(140, true));
  }

  /** Inode number of what was asked for. */
  get ino(): bigint {
    return this.#view.getBigUint64(32, true);
  }

  /** Writes what was asked for into `stat` and gives it back. */
  fill(stat: Stat): Stat {
    const view = this.#view;
    const typeAndMode = view.getUint16(28, true);
    stat.kind = kinds[typeAndMode >> 12] ?? "file";
    stat.mode = typeAndMode & 0o7777;
    stat.uid = view.getUint32(20, true);
    stat.gid = view.getUint32(24, true);
    stat.size = this.size;
    stat.mtimeNs = nanoseconds(view, 112);
    stat.ctimeNs = nanoseconds(view, 96);
    stat.dev = this.dev;
    stat.ino = view.getBigUint64(32, true);
    stat.linkCount = view.getUint32(16, true);
    stat.device = isDevice(stat.kind) ? `${view.getUint32(128, true)}:${view.getUint32(132, true)}` : "";
    return stat;
  }
}

/** The number of a device, packed as `makedev(3)` does for devices below 4,096:1,048,576. */
export function packDevice(major: number, minor: number): number {
  return (minor >>> 8) * 0x10_0000 + (major & 0xfff) * 0x100 + (minor & 0xff);
}

/** Room for the two times of `utimensat(2)`; the access time is always left alone. */
export class TimesBuffer {
  readonly #bytes = new Uint8Array(256);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #address = addressOf(this.#bytes);

  constructor() {
    this.#view.setBigInt64(8, BigInt(UTIME_OMIT), true);
  }

  /** Stores a modification time and gives the address of the pair. */
  put(mtimeNs: bigint): number {
    // A time before 1970 has a negative second and still a positive fraction.
    const fraction = ((mtimeNs % SECOND_NS) + SECOND_NS) % SECOND_NS;
    this.#view.setBigInt64(16, (mtimeNs - fraction) / SECOND_NS, true);
    this.#view.setBigInt64(24, fraction, true);
    return this.#address;
  }
}

function nanoseconds(view: DataView, at: number): bigint {
  // Wrapped to 64 bits, the arithmetic is done in registers and makes one bigint instead of four.
  return BigInt.asIntN(
    64,
    BigInt.asIntN(64, view.getBigInt64(at, true) * SECOND_NS) + BigInt(view.getUint32(at + 8, true)),
  );
}
