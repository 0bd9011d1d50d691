/**
 * Files through libc: raw-byte names, nanoseconds, and paths that the kernel confines (`linux_directories.ts`).
 *
 * Each call reaches the directory that holds the path, and from there uses the last name alone, never following it.
 * @module
 */
import { errorCode, type SystemError } from "../base/errors.ts";
import { joinPath, pathFromBytes } from "../base/path.ts";
import { errnoName, systemError } from "./errno.ts";
import type {
  AttributeChange,
  DirectoryEntry,
  FileSystem,
  FileSystemAbilities,
  FileUse,
  NodeKind,
  OpenOptions,
  RenameOptions,
  Stat,
  Tree,
  Xattr,
} from "./file_system.ts";
import { deviceNumbers } from "./file_system.ts";
import { addressOf, AT, errno, libc, O, PathBuffer } from "./libc.ts";
import { hasOpenat2, isCleanName, LinuxDirectories } from "./linux_directories.ts";
import { type EntryBuffer, withEntryBuffer } from "./linux_entries.ts";
import { KEEP_ID, LinuxFile, sharedBuffers } from "./linux_file.ts";
import { emptyStat, kindOfType, packDevice, typeOfNode } from "./linux_stat.ts";
import { useOfOpen } from "./linux_use.ts";
import { hasNoXattrs, readXattrs, writeXattr } from "./linux_xattrs.ts";

const EPERM = 1,
  ENOENT = 2,
  ENXIO = 6,
  EAGAIN = 11,
  EACCES = 13,
  ENOTDIR = 20,
  EINVAL = 22,
  EISDIR = 21,
  ENOTSUP = 95;
const RENAME_EXCHANGE = 2;
const SYS_MKNODAT = Deno.build.arch === "aarch64" ? 33 : 259;
/** Bytes of a symbolic link's target, with room to see that it was cut. */
const LINK_SIZE = 4096 + 1;
/** Types (statfs(2)) whose `f_fsid` is made of their UUID: ext, btrfs, f2fs. Others make it of the device's number. */
const typesWithLastingId = new Set([0xef53, 0x9123683e, 0xf2f52010]);

/** How {@linkcode linuxFileSystem} reaches files. */
export interface LinuxOptions {
  /** Use `openat2`; by default, if the kernel has it. Without it paths are resolved part by part. */
  openat2?: boolean;
}

/**
 * The file system by libc.
 *
 * @throws {SystemError} `ENOSYS` if libc cannot be used here.
 */
export function linuxFileSystem(options: LinuxOptions = {}): FileSystem {
  const abilities: FileSystemAbilities = {
    rawNames: true,
    nanoseconds: true,
    ownership: libc().geteuid() === 0,
    modes: true,
    links: true,
    nodes: true,
    xattrs: hasProc(),
    exchange: true,
    confined: true,
    syncAll: true,
  };
  const openat2 = options.openat2 ?? hasOpenat2();
  return {
    name: "linux",
    abilities,
    tellsFileUse: true,
    openTree(rootPath, { confined = false } = {}): Tree {
      const absolute = rootPath.startsWith("/") ? rootPath : joinPath(Deno.cwd(), rootPath);
      const root = libc().openat(AT.FDCWD, names().put(absolute), O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
      if (root < 0) throw systemError(errnoName(errno()), "open directory", absolute);
      return new LinuxTree(absolute, new LinuxDirectories(root, { confined, openat2 }));
    },
  };
}

function hasProc(): boolean {
  try {
    return Deno.statSync("/proc/self/fd").isDirectory;
  } catch (error) {
    if (errorCode(error)) return false;
    throw error;
  }
}

class LinuxTree implements Tree {
  readonly rootPath: string;
  readonly #directories: LinuxDirectories;

  constructor(rootPath: string, directories: LinuxDirectories) {
    this.rootPath = rootPath;
    this.#directories = directories;
  }

  stat(path: string): Stat | undefined {
    const { statBuffer } = sharedBuffers();
    const directory = this.#locate(path, names());
    const failure = directory < 0 ? -directory : statBuffer.ask(directory, names().address) ? 0 : errno();
    if (failure === 0) return statBuffer.fill(emptyStat());
    if (failure === ENOENT || failure === ENOTDIR) return undefined;
    throw this.#error(failure, "stat", path);
  }

  statDirectory(path: string): Stat | undefined {
    const directory = this.#directories.find(path);
    if (directory < 0) {
      if (-directory === ENOENT || -directory === ENOTDIR) return undefined;
      throw this.#error(-directory, "stat", path);
    }
    const { statBuffer } = sharedBuffers();
    if (!statBuffer.askOpen(directory, names().put(""))) throw this.#error(errno(), "stat", path);
    return statBuffer.fill(emptyStat());
  }

  list(path: string): DirectoryEntry[] {
    const entries: DirectoryEntry[] = [];
    this.#readDirectory(path, (buffer) => {
      entries.push({ name: buffer.name(), kind: kindOfType(buffer.type) });
    });
    return entries;
  }

  scan(path: string, visit: (name: string, stat: Readonly<Stat> | undefined) => void): void {
    this.#readDirectory(path, (buffer, directory) => {
      if (buffer.statBuffer.ask(directory, buffer.nameAddress)) {
        visit(buffer.name(), buffer.statBuffer.fill(buffer.stat));
      } else if (errno() !== ENOENT) {
        visit(buffer.name(), undefined);
      }
    });
  }

  open(path: string, options: OpenOptions): LinuxFile {
    const directory = this.#enter(path, "open", names());
    const descriptor = this.#openRegular(directory, options);
    if (descriptor < 0) throw this.#error(-descriptor, "open", path);
    const file = new LinuxFile(descriptor, this.#fullPath(path));
    // The umask may have taken bits away that were asked for.
    if (options.access === "create" && options.mode !== undefined) this.#completeMode(file, options.mode);
    return file;
  }

  useOf(path: string): FileUse | undefined {
    const { statBuffer } = sharedBuffers();
    const directory = this.#locate(path, names());
    const failure = directory < 0 ? -directory : statBuffer.ask(directory, names().address) ? 0 : errno();
    if (failure === ENOENT || failure === ENOTDIR) return undefined;
    if (failure !== 0) throw this.#error(failure, "see who uses", path);
    // A device must not be opened.
    if (kindOfType(statBuffer.type) !== "file") return undefined;
    const descriptor = this.#openByAccess(directory, { access: "read" });
    // Somebody holds a lease who must be asked to give it up.
    if (descriptor === -EAGAIN) return "open";
    if (descriptor < 0) return undefined;
    try {
      return useOfOpen(descriptor, () => statBuffer.fill(emptyStat()));
    } finally {
      libc().close(descriptor);
    }
  }

  readLink(path: string): string {
    const directory = this.#enter(path, "read link", names());
    const buffer = new Uint8Array(LINK_SIZE);
    const size = libc().readlinkat(directory, names().address, addressOf(buffer), LINK_SIZE);
    if (size < 0) throw this.#error(errno(), "read link", path);
    return pathFromBytes(buffer.subarray(0, size));
  }

  makeDirectory(path: string, mode: number): void {
    const directory = this.#enter(path, "make directory", names());
    if (libc().mkdirat(directory, names().address, mode & 0o7777) < 0) {
      throw this.#error(errno(), "make directory", path);
    }
    const { statBuffer } = sharedBuffers();
    // The umask, or a set-gid directory above, may have changed the bits that were asked for.
    if (statBuffer.ask(directory, names().address) && statBuffer.mode !== (mode & 0o7777)) {
      this.setAttributes(path, { mode });
    }
  }

  makeSymlink(path: string, target: string): void {
    const directory = this.#enter(path, "make link", names());
    if (libc().symlinkat(targets().put(target), directory, names().address) < 0) {
      throw this.#error(errno(), "make link", path);
    }
  }

  makeNode(path: string, kind: NodeKind, device: string, mode: number): void {
    const directory = this.#enter(path, `make ${kind}`, names());
    const [major, minor] = deviceNumbers(device);
    const typeAndMode = typeOfNode(kind) | (mode & 0o7777);
    const made = libc().syscallMknodat(
      SYS_MKNODAT,
      directory,
      names().address,
      typeAndMode,
      packDevice(major, minor),
    );
    if (made < 0) throw this.#error(errno(), `make ${kind}`, path);
  }

  unlink(path: string): void {
    const directory = this.#enter(path, "remove", names());
    if (libc().unlinkat(directory, names().address, 0) < 0) throw this.#error(errno(), "remove", path);
  }

  removeDirectory(path: string): void {
    const directory = this.#enter(path, "remove directory", names());
    if (libc().unlinkat(directory, names().address, AT.REMOVEDIR) < 0) {
      throw this.#error(errno(), "remove directory", path);
    }
    this.#directories.forgetWithin(path);
  }

  link(path: string, name: string, options: { into?: Tree } = {}): void {
    const into = options.into ?? this;
    if (!(into instanceof LinuxTree)) throw systemError("EXDEV", "link", this.#fullPath(path));
    const from = this.#enter(path, "link", names());
    const to = into.#enter(name, "link", targets());
    if (libc().linkat(from, names().address, to, targets().address, 0) < 0) {
      throw systemError(errnoName(errno()), "link", this.#fullPath(path), into.#fullPath(name));
    }
  }

  rename(from: string, to: string, options: RenameOptions & { into?: Tree } = {}): void {
    const into = options.into ?? this;
    if (!(into instanceof LinuxTree)) throw systemError("EXDEV", "rename", this.#fullPath(from));
    const fromDirectory = this.#enter(from, "rename", names());
    const toDirectory = into.#enter(to, "rename", targets());
    const flags = options.exchange ? RENAME_EXCHANGE : 0;
    if (libc().renameat2(fromDirectory, names().address, toDirectory, targets().address, flags) < 0) {
      throw systemError(errnoName(errno()), "rename", this.#fullPath(from), into.#fullPath(to));
    }
    this.#directories.forgetWithin(from);
    into.#directories.forgetWithin(to);
  }

  setAttributes(path: string, change: AttributeChange): void {
    const { mode, uid, gid, mtimeNs } = change;
    const directory = this.#enter(path, "set attributes of", names());
    const name = names().address;
    if (this.#directories.options.confined && path !== "") this.#refuseMount(directory, path);
    // Owner before mode: chown(2) takes the set-id bits away.
    if (uid !== undefined || gid !== undefined) {
      const failed = libc().fchownat(directory, name, uid ?? KEEP_ID, gid ?? KEEP_ID, AT.SYMLINK_NOFOLLOW);
      if (failed < 0) throw this.#error(errno(), "change the owner of", path);
    }
    if (mode !== undefined) this.#setMode(directory, path, mode & 0o7777);
    if (mtimeNs !== undefined) {
      const times = sharedBuffers().times.put(mtimeNs);
      if (libc().utimensat(directory, name, times, AT.SYMLINK_NOFOLLOW) < 0) {
        throw this.#error(errno(), "set the time of", path);
      }
    }
  }

  xattrs(path: string): Xattr[] {
    const directory = this.#enter(path, "read attributes of", names());
    if (hasNoXattrs(directory, names().address)) return [];
    const found = readXattrs({ address: this.#throughProc(path, "read attributes of") });
    if (typeof found === "number") throw this.#error(found, "read attributes of", path);
    return found;
  }

  setXattr(path: string, name: string, value: Uint8Array | undefined): void {
    const address = this.#throughProc(path, "set attributes of");
    const failure = writeXattr({ address }, name, value);
    if (failure !== 0) throw this.#error(failure, `set ${name} of`, path);
  }

  syncDirectory(path: string): void {
    this.#withDirectory(path, "sync directory", (descriptor) => libc().fsync(descriptor));
  }

  syncAll(): void {
    this.#withDirectory("", "sync", (descriptor) => libc().syncfs(descriptor));
  }

  space(): { freeBytes: number; totalBytes: number } {
    const status = this.#statfs("find the space of");
    const blockSize = Number(status.getBigInt64(72, true));
    return {
      freeBytes: Number(status.getBigUint64(32, true)) * blockSize,
      totalBytes: Number(status.getBigUint64(16, true)) * blockSize,
    };
  }

  fileSystemId(): string {
    const status = this.#statfs("find the file system of");
    if (!typesWithLastingId.has(Number(status.getBigInt64(0, true)))) return "";
    return status.getBigUint64(56, true).toString(16);
  }

  /** `struct statfs`: type i64 @0, blocks u64 @16, available u64 @32, id u64 @56, fragment size i64 @72. */
  #statfs(verb: string): DataView {
    const bytes = new Uint8Array(256);
    const root = this.#directories.find("");
    if (libc().fstatfs(root, addressOf(bytes)) < 0) throw this.#error(errno(), verb, "");
    return new DataView(bytes.buffer);
  }

  forgetDirectories(): void {
    this.#directories.forget();
  }

  subtree(path: string): Tree {
    const root = this.#directories.openFresh(path, O.PATH);
    if (root < 0) throw this.#error(-root, "open directory", path);
    return new LinuxTree(this.#fullPath(path), new LinuxDirectories(root, this.#directories.options));
  }

  close(): void {
    this.#directories.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Puts the last name of a path into `buffer` and gives the directory that holds it, or −errno. */
  #locate(path: string, buffer: PathBuffer): number {
    if (path === "") {
      buffer.put(".");
      return this.#directories.find("");
    }
    const slash = path.lastIndexOf("/");
    const name = slash < 0 ? path : path.slice(slash + 1);
    // A leading slash would leave an empty directory, which is the root's name.
    if (slash === 0 || !isCleanName(name)) return -EINVAL;
    const directory = this.#directories.find(slash < 0 ? "" : path.slice(0, slash));
    if (directory >= 0) buffer.put(name);
    return directory;
  }

  #enter(path: string, verb: string, buffer: PathBuffer): number {
    const directory = this.#locate(path, buffer);
    if (directory < 0) throw this.#error(-directory, verb, path);
    return directory;
  }

  /** Opens the name in the shared buffer; gives a descriptor of a regular file, or −errno. */
  #openRegular(directory: number, options: OpenOptions): number {
    const opened = this.#openByAccess(directory, options);
    // A socket, or a FIFO that nobody reads.
    if (opened < 0) return opened === -ENXIO ? -EINVAL : opened;
    // What was just made is a regular file.
    if (options.access === "create") return opened;
    const { statBuffer, emptyAddress } = sharedBuffers();
    const kind = statBuffer.askOpen(opened, emptyAddress) ? kindOfType(statBuffer.type) : undefined;
    if (kind === "file") return opened;
    libc().close(opened);
    return kind === "directory" ? -EISDIR : -EINVAL;
  }

  #openByAccess(directory: number, { access, mode = 0o600 }: OpenOptions): number {
    const name = names().address;
    const directories = this.#directories;
    if (access === "create") {
      return directories.openName(directory, name, { flags: O.RDWR | O.CREAT | O.EXCL, mode: mode & 0o7777 });
    }
    if (access === "write") {
      // Readable too where that is allowed, so that a patch can look at what it replaces.
      const opened = directories.openName(directory, name, { flags: O.RDWR | O.NONBLOCK, mode: 0 });
      if (opened !== -EACCES) return opened;
      return directories.openName(directory, name, { flags: O.WRONLY | O.NONBLOCK, mode: 0 });
    }
    const quiet = O.RDONLY | O.NONBLOCK | O.NOATIME;
    const opened = directories.openName(directory, name, { flags: quiet, mode: 0 });
    // Only the owner may keep the access time as it is.
    if (opened !== -EPERM) return opened;
    return directories.openName(directory, name, { flags: O.RDONLY | O.NONBLOCK, mode: 0 });
  }

  #completeMode(file: LinuxFile, mode: number): void {
    try {
      if (file.stat().mode !== (mode & 0o7777)) file.setAttributes({ mode });
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Sets the mode of the name in the shared buffer. A symbolic link has none: nothing is done. */
  #setMode(directory: number, path: string, mode: number): void {
    const name = names().address;
    const flags = path === "" ? 0 : AT.SYMLINK_NOFOLLOW;
    if (libc().fchmodat(directory, name, mode, flags) === 0) return;
    const failure = errno();
    if (failure !== ENOTSUP) throw this.#error(failure, "change the mode of", path);
    const { statBuffer } = sharedBuffers();
    if (statBuffer.ask(directory, name) && kindOfType(statBuffer.type) === "symlink") return;
    this.#setModeThroughProc(directory, path, mode);
  }

  /** For glibc before 2.32, which does not know how to chmod without following. */
  #setModeThroughProc(directory: number, path: string, mode: number): void {
    const entry = this.#directories.openName(directory, names().address, { flags: O.PATH, mode: 0 });
    if (entry < 0) throw this.#error(-entry, "change the mode of", path);
    const failed = libc().fchmodat(AT.FDCWD, targets().put(`/proc/self/fd/${entry}`), mode, 0) < 0;
    const failure = failed ? errno() : 0;
    libc().close(entry);
    if (failure !== 0) throw this.#error(failure, "change the mode of", path);
  }

  /** A path to an entry by way of the directory that holds it, which is held open. */
  #throughProc(path: string, verb: string): number {
    const directory = this.#enter(path, verb, names());
    const name = path === "" ? "." : path.slice(path.lastIndexOf("/") + 1);
    return targets().put(`/proc/self/fd/${directory}/${name}`);
  }

  #refuseMount(directory: number, path: string): void {
    const { statBuffer } = sharedBuffers();
    if (statBuffer.ask(directory, names().address) && statBuffer.isMountRoot) {
      throw systemError("EXDEV", "set attributes of", this.#fullPath(path));
    }
  }

  /** Opens a directory for one call that needs a real descriptor. The call gives −1 if it failed. */
  #withDirectory(path: string, verb: string, call: (descriptor: number) => number): void {
    const descriptor = this.#directories.openFresh(path, O.RDONLY);
    if (descriptor < 0) throw this.#error(-descriptor, verb, path);
    const failure = call(descriptor) < 0 ? errno() : 0;
    libc().close(descriptor);
    if (failure !== 0) throw this.#error(failure, verb, path);
  }

  /** Calls `visit` for each entry, which stands in `buffer` during the call. */
  #readDirectory(path: string, visit: (buffer: EntryBuffer, directory: number) => void): void {
    const generation = this.#directories.generation;
    const directory = this.#directories.openFresh(path, O.RDONLY | O.NOATIME);
    if (directory < 0) throw this.#error(-directory, "list", path);
    try {
      const failure = withEntryBuffer((buffer) => buffer.readAll(directory, visit));
      if (failure !== 0) throw this.#error(failure, "list", path);
    } finally {
      this.#directories.adopt(path, directory, generation);
    }
  }

  #fullPath(path: string): string {
    return path === "" ? this.rootPath : `${this.rootPath}/${path}`;
  }

  #error(failure: number, verb: string, path: string): SystemError {
    return systemError(errnoName(failure), verb, this.#fullPath(path));
  }
}

// One thread's calls share these; each name is used before the next one is put there.
let sharedNames: PathBuffer | undefined;
let sharedTargets: PathBuffer | undefined;

function names(): PathBuffer {
  return sharedNames ??= new PathBuffer();
}

function targets(): PathBuffer {
  return sharedTargets ??= new PathBuffer();
}
