/**
 * A replica, or a part of it, as a tar archive: parents before what is in them, names of a directory in a fixed order,
 * so that the same tree makes the same bytes.
 *
 * What must hold here:
 * - The archive is whole whatever happens to single entries: one that cannot be read is left out and told; contents that
 *   end early, because others cut the file meanwhile, are filled up with zeros and told.
 * - Nothing of ours is in it: neither the reserved name at the root nor what lies there.
 * - Memory does not grow with files. Of a directory its names are held, and of hard-linked files one name each.
 * @module
 */
import { type Problem, reasonOf, SystemError } from "../base/errors.ts";
import { joinPath } from "../base/path.ts";
import { TARGET_STATE_NAME } from "../store/state_directory.ts";
import {
  deviceNumbers,
  type Kind,
  type OpenFile,
  type Stat,
  type Tree,
  type Xattr,
} from "../sys/file_system.ts";
import { BlockOutput, type WriteBytes } from "./block_output.ts";
import { encodeTarEnd, encodeTarEntry, paddingSize, type TarEntry } from "./tar.ts";

/** What a {@linkcode TarStream} is made of. */
export interface TarStreamOptions {
  tree: Tree;
  /** An entry of the tree; it and everything below goes into the archive, under its whole path. `""` is all. */
  path: string;
  write: WriteBytes;
  /** Told of each entry that cannot be archived, or not as it is. */
  onProblem: (problem: Problem) => void;
  /** Told of each entry that no archive can hold: a socket. */
  onLeftOut: (path: string, kind: Kind) => void;
  signal: AbortSignal;
}

/** What tells one kind of entry from others. A further name of an entry has the attributes of the first. */
type HeaderParts = Pick<TarEntry, "kind" | "linkPath" | "device" | "xattrs"> & { size?: number };

/** A tar archive on its way out. */
export class TarStream {
  readonly #options: TarStreamOptions;
  readonly #output: BlockOutput;
  /** First names of files with several, and how many are still to come. */
  readonly #linked = new Map<string, { path: string; left: number }>();

  constructor(options: TarStreamOptions) {
    this.#options = options;
    this.#output = new BlockOutput(options.write);
  }

  /** Writes all entries. @throws What `write` threw, or the reason of the signal. */
  async writeEntries(): Promise<void> {
    const { path, signal } = this.#options;
    /** What is still to be written; the next is the last. */
    const pending = [path];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      signal.throwIfAborted();
      const stat = this.#attempt("read", next, () => this.#stat(next));
      if (stat === undefined) continue;
      await this.#writeEntry(next, stat);
      if (stat.kind !== "directory") continue;
      for (const below of this.#below(next)) pending.push(below);
    }
  }

  /** Writes the end: without it whoever reads the archive takes it for cut off. */
  async end(): Promise<void> {
    await this.#output.add(encodeTarEnd(this.#output.size));
    await this.#output.finish();
  }

  /** Paths in a directory, the first one last. */
  #below(directory: string): string[] {
    const entries = this.#attempt("list", directory, () => this.#options.tree.list(directory)) ?? [];
    return entries.map(({ name }) => joinPath(directory, name)).filter((path) => path !== TARGET_STATE_NAME)
      .sort().reverse();
  }

  #stat(path: string): Stat {
    const stat = this.#options.tree.stat(path);
    if (stat === undefined) throw new SystemError("ENOENT", "it is gone");
    return stat;
  }

  async #writeEntry(path: string, stat: Stat): Promise<void> {
    const hasNames = stat.linkCount > 1 && stat.kind !== "directory";
    const linkPath = hasNames ? this.#firstName(stat) : undefined;
    if (linkPath !== undefined) return await this.#writeHeader(path, stat, { kind: "link", linkPath });
    const isWritten = await this.#writeFirstName(path, stat);
    if (isWritten && hasNames) this.#linked.set(identityOf(stat), { path, left: stat.linkCount - 1 });
  }

  /** Gives whether the entry is in the archive now. */
  async #writeFirstName(path: string, stat: Stat): Promise<boolean> {
    const { tree } = this.#options;
    switch (stat.kind) {
      case "file":
        return await this.#writeFile(path);
      case "directory":
      case "fifo":
        await this.#writeHeader(path, stat, { kind: stat.kind, xattrs: this.#xattrs(path) });
        return true;
      case "symlink": {
        const linkPath = this.#attempt("read", path, () => tree.readLink(path));
        if (linkPath === undefined) return false;
        await this.#writeHeader(path, stat, { kind: "symlink", linkPath, xattrs: this.#xattrs(path) });
        return true;
      }
      case "block":
      case "character": {
        const device = this.#attempt("archive", path, () => deviceOf(stat));
        if (device === undefined) return false;
        await this.#writeHeader(path, stat, { kind: stat.kind, device, xattrs: this.#xattrs(path) });
        return true;
      }
      case "socket":
        this.#options.onLeftOut(path, stat.kind);
        return false;
    }
  }

  /** Size and contents are those of the very file that is opened. */
  async #writeFile(path: string): Promise<boolean> {
    using file = this.#attempt("read", path, () => this.#options.tree.open(path, { access: "read" }));
    const stat = file && this.#attempt("read", path, () => file.stat());
    if (file === undefined || stat === undefined) return false;
    const xattrs = this.#xattrs(path, file);
    await this.#writeHeader(path, stat, { kind: "file", size: stat.size, xattrs });
    await this.#writeContents(path, file, stat.size);
    return true;
  }

  /** Contents, filled up with zeros to the size that the header says. */
  async #writeContents(path: string, file: OpenFile, size: number): Promise<void> {
    const { signal } = this.#options;
    let reason = "";
    await this.#output.fill(size, (room, offset) => {
      signal.throwIfAborted();
      const { count, trouble } = reason === "" ? readUpTo(file, room, offset) : { count: 0, trouble: reason };
      reason ||= trouble;
      room.fill(0, count);
    });
    if (reason !== "") this.#tell("read", path, reason);
    await this.#output.add(new Uint8Array(paddingSize(size)));
  }

  /** The name under which a hard-linked file is in the archive already. */
  #firstName(stat: Stat): string | undefined {
    const first = this.#linked.get(identityOf(stat));
    if (first !== undefined && --first.left === 0) this.#linked.delete(identityOf(stat));
    return first?.path;
  }

  async #writeHeader(path: string, stat: Stat, what: HeaderParts): Promise<void> {
    const { mode, uid, gid, mtimeNs } = stat;
    await this.#output.add(encodeTarEntry({ path, mode, uid, gid, mtimeNs, size: 0, ...what }));
  }

  /** What has none that can be read is worth keeping nevertheless. */
  #xattrs(path: string, holder?: OpenFile): readonly Xattr[] {
    const { tree } = this.#options;
    const look = () => holder === undefined ? tree.xattrs(path) : holder.xattrs();
    return this.#attempt("read attributes of", path, look) ?? [];
  }

  /** What `look` gives of an entry. The system's trouble becomes a problem. */
  #attempt<T>(op: string, path: string, look: () => T): T | undefined {
    try {
      return look();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#tell(op, path, reasonOf(error));
    }
  }

  #tell(op: string, path: string, reason: string): void {
    this.#options.onProblem({ path, op, reason });
  }
}

function identityOf({ dev, ino }: Stat): string {
  return `${dev}:${ino}`;
}

/** Reads as much as there is; `trouble` says why it is less than the room. */
function readUpTo(
  file: OpenFile,
  room: Uint8Array<ArrayBuffer>,
  offset: number,
): { count: number; trouble: string } {
  try {
    const count = file.read(room, offset);
    const trouble = count === room.length ? "" : "it became shorter while it was read; the rest is zeros";
    return { count, trouble };
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return { count: 0, trouble: `${reasonOf(error)}; the rest is zeros` };
  }
}

/**
 * Major and minor number of a device node.
 *
 * @throws {SystemError} If the system's attributes do not tell them.
 */
function deviceOf({ device }: Stat): { major: number; minor: number } {
  if (!device) throw new SystemError("ENOTSUP", "the numbers of its device are not known");
  const [major, minor] = deviceNumbers(device);
  return { major, minor };
}
