/**
 * The one interface to files. `linux.ts` implements it by FFI (raw-byte names, nanoseconds, confinement by the
 * kernel), `portable.ts` by Deno's own calls; one contract suite runs over both.
 *
 * All calls are synchronous: in a Worker, or in short slices on the event loop, they are several times faster than
 * promises. All paths are relative to the root of a {@linkcode Tree} (see `base/path.ts`); a Tree never follows a
 * symbolic link, `..` or absolute path out of its root, and with `confined` no mount either.
 *
 * Every failure is a {@linkcode SystemError} with the errno's name in `code`, save where `undefined` is said.
 * @module
 */

/** What a directory entry is. */
export type Kind = "file" | "directory" | "symlink" | NodeKind;

/** An entry that stands for something outside of its file system: nothing of it is read or written. */
export type NodeKind = "fifo" | "socket" | DeviceKind;

/** A node that stands for a device. */
export type DeviceKind = "block" | "character";

/** Whether an entry of this kind is a {@linkcode NodeKind}. */
export function isNode(kind: Kind): kind is NodeKind {
  return kind === "fifo" || kind === "socket" || isDevice(kind);
}

/** Whether an entry of this kind is a {@linkcode DeviceKind}. */
export function isDevice(kind: Kind): kind is DeviceKind {
  return kind === "block" || kind === "character";
}

/** Attributes of an entry, as `lstat(2)` tells them. */
export interface Stat {
  kind: Kind;
  /** Permission bits with suid, sgid and sticky: `0o7777`. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes. */
  size: number;
  /** Nanoseconds since 1970. */
  mtimeNs: bigint;
  /** Nanoseconds since 1970; 0 where the system has no change time. */
  ctimeNs: bigint;
  /** Identity of the file system within this machine. */
  dev: number;
  /** Identity of the file within its file system; 0 where the system has none. */
  ino: bigint;
  linkCount: number;
  /** Extended attributes, where somebody looked at them: {@linkcode Tree.xattrs}. */
  xattrs?: readonly Xattr[];
  /** Number of a device node's device, `major:minor`; else `""`, or left out. */
  device?: string;
}

/** An extended attribute: one that a user, an ACL, a capability or a program keeps with an entry. */
export interface Xattr {
  /** With its namespace: `user.comment`, `system.posix_acl_access`. Raw bytes as in a path. */
  name: string;
  value: Uint8Array;
}

/** Attributes to set. What is left out stays as it is. */
export interface AttributeChange {
  mode?: number;
  uid?: number;
  gid?: number;
  /** Nanoseconds since 1970. Access time is left alone. */
  mtimeNs?: bigint;
  /** All that the entry is to have, in order of name; others of the replicated namespaces go (sys/xattrs.ts). */
  xattrs?: readonly Xattr[];
}

/** A name in a directory. */
export interface DirectoryEntry {
  name: string;
  /** `undefined` where the file system does not say; then `stat` does. */
  kind: Kind | undefined;
}

/** What this implementation, this user and this system can do. */
export interface FileSystemAbilities {
  /** Names are raw bytes; otherwise a name that is not Unicode is refused with `EILSEQ`. */
  rawNames: boolean;
  /** Times have nanoseconds; otherwise milliseconds. */
  nanoseconds: boolean;
  /** uid and gid can be set to any number. */
  ownership: boolean;
  /** Permission bits exist. */
  modes: boolean;
  /** Extended attributes can be read and set. */
  xattrs: boolean;
  /** A file can have several names: {@linkcode Tree.link}. */
  links: boolean;
  /** Nodes can be made: {@linkcode Tree.makeNode}. */
  nodes: boolean;
  /** `rename` with `exchange` works. */
  exchange: boolean;
  /** Paths are confined by the kernel even while others swap directories (`openat2`). */
  confined: boolean;
  /** `syncAll` makes everything durable; otherwise files and directories must be synced one by one. */
  syncAll: boolean;
}

/** How another program uses a file: it has it open or mapped, or holds a lock on it. */
export type FileUse = "open" | "locked";

/** How {@linkcode Tree.open} opens a file. */
export interface OpenOptions {
  /** `read` an existing file, `write` an existing one, or `create` a new one (fails with `EEXIST`). */
  access: "read" | "write" | "create";
  /** Permission bits of a created file. @default {0o600} */
  mode?: number;
}

/** Bytes `start` (in) to `end` (out) of a file that are not a hole. */
export interface DataRange {
  start: number;
  end: number;
}

/** An open regular file. */
export interface OpenFile extends Disposable {
  stat(): Stat;
  /** Reads up to `buffer.length` bytes at `offset`; fewer only at the end of the file. */
  read(buffer: Uint8Array<ArrayBuffer>, offset: number): number;
  /** Writes all bytes at `offset`. */
  write(bytes: Uint8Array, offset: number): void;
  /** Cuts or extends (with a hole) to `size` bytes. */
  truncate(size: number): void;
  /**
   * The first data at `offset` or behind it; what lies between is a hole, which reads as zeros and takes no room.
   * `undefined` if a hole or nothing is all that follows. Where holes cannot be told, all is data; where a file takes
   * as much room as it has bytes, too.
   */
  nextData(offset: number): DataRange | undefined;
  /**
   * Makes a hole of `size` bytes at `offset`: they read as zeros, and the blocks that lie in it whole take no room any
   * more. The file keeps its size. Where the file system knows no holes, zeros are written.
   */
  punch(offset: number, size: number): void;
  /** Sets all but extended attributes, for which there is `setXattrs`. */
  setAttributes(change: AttributeChange): void;
  /** As {@linkcode Tree.xattrs}. */
  xattrs(): Xattr[];
  /** As {@linkcode Tree.setXattr}. */
  setXattr(name: string, value: Uint8Array | undefined): void;
  /** Contents and size survive power loss afterwards. */
  sync(): void;
  /**
   * Copies the contents of `from` (whole) into this empty file, by reflink or inside the kernel where it can. Its holes
   * become holes.
   */
  copyFrom(from: OpenFile): void;
  close(): void;
}

/** How {@linkcode Tree.rename} treats an existing target name. */
export interface RenameOptions {
  /** Swap the two entries; both must exist. @default {false} */
  exchange?: boolean;
}

/** A directory tree, held by its root. */
export interface Tree extends Disposable {
  /** Absolute path of the root, for messages. */
  readonly rootPath: string;
  /** Attributes of an entry; the root is `""`. `undefined` if there is no such entry (`ENOENT`, `ENOTDIR`). */
  stat(path: string): Stat | undefined;
  /**
   * Attributes of the very directory that later calls reach under this path, until {@linkcode forgetDirectories}.
   * `undefined` if there is none.
   */
  statDirectory(path: string): Stat | undefined;
  /** Names in a directory, in no order, without `.` and `..`. */
  list(path: string): DirectoryEntry[];
  /**
   * Calls `visit` for each entry of a directory with its attributes: one open directory, one `statx` relative to it
   * an entry. Entries that vanish meanwhile are left out. `stat` is the same object in each call: copy what you keep.
   * An entry whose attributes cannot be read has `stat` undefined.
   */
  scan(path: string, visit: (name: string, stat: Readonly<Stat> | undefined) => void): void;
  /** Opens a regular file. Never blocks on a FIFO or device: those fail with `EINVAL`; a symlink fails with `ELOOP`. */
  open(path: string, options: OpenOptions): OpenFile;
  /**
   * How another program uses a regular file now. `undefined` if none does, if there is no regular file at the path, or
   * if it cannot be told (sys/linux_use.ts). Descriptors of this process do not count.
   *
   * @throws {SystemError} If the directory that holds it cannot be searched.
   */
  useOf(path: string): FileUse | undefined;
  /** Target of a symbolic link, raw bytes as in a path. */
  readLink(path: string): string;
  makeDirectory(path: string, mode: number): void;
  makeSymlink(path: string, target: string): void;
  /**
   * Makes a FIFO, a socket that nobody listens on, or a device node.
   *
   * @param device `major:minor` of a device node, else `""`.
   * @throws {SystemError} `EPERM` without the right to make device nodes, `ENOTSUP` without the ability.
   */
  makeNode(path: string, kind: NodeKind, device: string, mode: number): void;
  /**
   * Gives what is at `path`, anything but a directory, a further name in this tree or in another one on the same file
   * system (`EXDEV` otherwise). A symbolic link is not followed. `EEXIST` if the name is taken.
   */
  link(path: string, name: string, options?: { into?: Tree }): void;
  /** Removes anything but a directory. */
  unlink(path: string): void;
  /** Removes an empty directory. */
  removeDirectory(path: string): void;
  /** Renames within this tree or into another one on the same file system (`EXDEV` otherwise). */
  rename(from: string, to: string, options?: RenameOptions & { into?: Tree }): void;
  /** Sets attributes of an entry without following a symbolic link; of extended ones there is `setXattrs`. */
  setAttributes(path: string, change: AttributeChange): void;
  /** Extended attributes of the replicated namespaces, in order of name; none where the file system has none. */
  xattrs(path: string): Xattr[];
  /**
   * Sets one extended attribute, or removes it (`undefined`), of an entry itself, never of what a link leads to.
   *
   * @throws {SystemError} `ENOTSUP` if the file system cannot, `EPERM` without the right or of a kind that has none,
   * `ENOSPC`, `ERANGE` or `E2BIG` if it is too large.
   */
  setXattr(path: string, name: string, value: Uint8Array | undefined): void;
  /** Names in this directory survive power loss afterwards. */
  syncDirectory(path: string): void;
  /**
   * Everything written to the tree's file system survives power loss afterwards (`syncfs`). Without the ability
   * `syncAll` this holds for the names in the root directory alone.
   */
  syncAll(): void;
  /** Bytes free for this user, and in total. */
  space(): { freeBytes: number; totalBytes: number };
  /** What tells its file system from all others, also after a boot; `""` where the system has no such number. */
  fileSystemId(): string;
  /** Forgets directories it keeps open for speed. Call where others may have moved them. */
  forgetDirectories(): void;
  /** A tree rooted at a directory of this one, confined in the same way. */
  subtree(path: string): Tree;
  close(): void;
}

/** A way to reach files. */
export interface FileSystem {
  readonly name: "linux" | "portable";
  readonly abilities: Readonly<FileSystemAbilities>;
  /** Whether {@linkcode Tree.useOf} can tell who else uses a file; otherwise nobody seems to. */
  readonly tellsFileUse: boolean;
  /**
   * Opens a directory as a tree. The path itself may lead through symbolic links.
   *
   * @param options.confined Mounts below the root are refused too (`EXDEV`). @default {false}
   */
  openTree(rootPath: string, options?: { confined?: boolean }): Tree;
}

/** Whether two entries have the same identity on this machine. Without inode numbers nothing has. */
export function sameFile(a: Pick<Stat, "dev" | "ino">, b: Pick<Stat, "dev" | "ino">): boolean {
  return a.ino !== 0n && a.ino === b.ino && a.dev === b.dev;
}

/** The numbers of a device as {@linkcode Stat.device} has it; zeros for none. */
export function deviceNumbers(device: string): [major: number, minor: number] {
  const [major = 0, minor = 0] = device === "" ? [] : device.split(":").map(Number);
  return [major, minor];
}

/**
 * What an entry leads to: the target of a symbolic link, the number of a device node's device; `""` of others.
 *
 * @throws {SystemError} If a link cannot be read.
 */
export function leadsTo(tree: Pick<Tree, "readLink">, path: string, stat: Readonly<Stat>): string {
  return stat.kind === "symlink" ? tree.readLink(path) : stat.device ?? "";
}
