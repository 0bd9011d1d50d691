/**
 * Step 4 of a group: does what an op says in the live tree. Every way here is safe to be gone twice, as group_names.ts
 * has it.
 * @module
 */
import { errorCode, SystemError } from "../base/errors.ts";
import { parentPath, quote } from "../base/path.ts";
import type { Op } from "../ops/op.ts";
import {
  type AttributeChange,
  type FileSystemAbilities,
  type OpenFile,
  sameFile,
  type Stat,
  type Tree,
} from "../sys/file_system.ts";
import { entryOf, setAttributes } from "./attributes.ts";
import type { DirectoryKeeper } from "./directory_keeper.ts";
import { applyJournal } from "./patch.ts";
import { identityOf, type Step } from "./stage.ts";
import type { Staging } from "./staging.ts";
import type { LiveSyncs } from "./syncs.ts";
import { isAbsence, type OpTrouble } from "./trouble.ts";

/** Why an entry is about to be lost in its present form. */
export type LossReason = "replaced" | "patched" | "removed";

/** What installing works on. */
export interface InstallContext {
  live: Tree;
  staging: Staging;
  keeper: DirectoryKeeper;
  abilities: FileSystemAbilities;
  /** Takes what must be durable before the group is recorded. */
  syncs: LiveSyncs;
  /** Whether an exchange was done before a crash, as far as the catalog can tell. */
  isExchanged: (step: Step & { op: { kind: "rename" } }) => boolean;
  /** Called before an entry is replaced, patched or removed: the place where it can still be kept. */
  keepBefore: (path: string, reason: LossReason) => void;
}

/** Mode of a directory whose op says none. */
const DIRECTORY_MODE = 0o755;

/** Installs steps, one after the other, in the order of their sequences. */
export class Installer {
  readonly #context: InstallContext;

  constructor(context: InstallContext) {
    this.#context = context;
  }

  /**
   * @returns What could not be set of the attributes, though the rest was done.
   * @throws {SystemError} If the op failed, or the machine did (trouble.ts).
   */
  install({ sequence, op, staged, trouble }: Step): OpTrouble | undefined {
    switch (op.kind) {
      case "file":
      case "symlink":
      case "node":
        this.#place(staged!.name, op.path);
        return trouble;
      case "close":
        if (staged!.isPatch) return this.#patch(staged!.name, op.path);
        if (staged!.installedAs !== undefined) this.#checkInstalled(op, staged!.installedAs);
        else this.#place(staged!.name, op.path);
        return trouble;
      case "mkdir":
        return this.#makeDirectory(op);
      case "rename":
        return void this.#rename(sequence, op);
      case "link":
        return void this.#link(op);
      case "unlink":
        return void this.#unlink(op.path);
      case "rmdir":
        return void this.#removeDirectory(op.path);
      case "attributes":
        return this.#setAttributes(op);
    }
  }

  /** A staged version or link takes its live name. Over a directory this fails with `EISDIR`. */
  #place(name: string, path: string): void {
    const { live, staging, keeper } = this.#context;
    this.#changeNames([path], () => {
      this.#lose(path, "replaced");
      keeper.withAccess([path], () => staging.tree.rename(name, path, { into: live }));
    });
  }

  /** A transfer that a replay finds installed: no other op of its group touched the name (group_names.ts). */
  #checkInstalled({ path, size }: Op & { kind: "close" }, identity: string): void {
    const stat = this.#context.live.stat(path);
    const isIt = stat?.kind === "file" && stat.size === size && identityOf(stat) === identity;
    if (!isIt) {
      throw new SystemError("ENOENT", `Cannot close transfer of ${quote(path)}: its staged file is gone`);
    }
    this.#changeNames([path], () => {});
  }

  #patch(journalName: string, path: string): OpTrouble | undefined {
    const { abilities, live, staging, keeper, syncs } = this.#context;
    using journal = staging.tree.open(journalName, { access: "read" });
    const file = keeper.withAccess([parentPath(path)], () => openForPatch(live, path));
    // Synced and closed with the group, also when what follows fails.
    syncs.file(file);
    this.#lose(path, "patched");
    const { attributes } = applyJournal(journal, file);
    return setAttributes(file, attributes, abilities);
  }

  #makeDirectory(op: Op & { kind: "mkdir" }): OpTrouble | undefined {
    const { live, keeper, syncs } = this.#context;
    this.#changeNames([op.path], () => {
      try {
        const mode = op.attributes.mode ?? DIRECTORY_MODE;
        keeper.withAccess([op.path], () => live.makeDirectory(op.path, mode));
      } catch (error) {
        if (errorCode(error) !== "EEXIST" || live.stat(op.path)?.kind !== "directory") throw error;
      }
    });
    const trouble = this.#change(op.path, op.attributes);
    syncs.directory(op.path);
    return trouble;
  }

  #rename(sequence: number, op: Op & { kind: "rename" }): void {
    const { live, keeper, isExchanged } = this.#context;
    const { path, to, exchange } = op;
    if (exchange && isExchanged({ sequence, op })) return this.#changeNames([path, to], () => {});
    if (live.stat(path) === undefined) {
      if (live.stat(to) === undefined || exchange) {
        throw new SystemError("ENOENT", `Cannot rename ${quote(path)}: there is no such entry`);
      }
      // It was done before a crash.
      return this.#changeNames([path, to], () => {});
    }
    // Between two names of one file the call does nothing.
    if (!exchange && this.#areOne(path, to)) return this.#unlink(path);
    this.#changeNames([path, to], () => {
      if (!exchange) this.#lose(to, "replaced");
      keeper.withAccess([path, to], () => live.rename(path, to, { exchange }));
      keeper.moved(path, to, { exchange });
    });
  }

  #link({ path, to }: Op & { kind: "link" }): void {
    const { live, staging, keeper } = this.#context;
    if (this.#areOne(path, to)) return this.#changeNames([to], () => {});
    const stat = live.stat(path);
    if (stat === undefined) {
      throw new SystemError("ENOENT", `Cannot link ${quote(to)} to ${quote(path)}: there is no such entry`);
    }
    this.#changeNames([to], () => {
      if (live.stat(to) === undefined) {
        return keeper.withAccess([path, to], () => live.link(path, to));
      }
      this.#lose(to, "replaced");
      const name = keeper.withAccess([path], () => staging.createFurtherName(live, path));
      try {
        keeper.withAccess([to], () => staging.tree.rename(name, to, { into: live }));
      } catch (error) {
        staging.remove(name);
        throw error;
      }
    });
  }

  /** Whether two paths are names of one file. */
  #areOne(a: string, b: string): boolean {
    const { live } = this.#context;
    const [first, second] = [live.stat(a), live.stat(b)];
    return first !== undefined && second !== undefined && first.kind !== "directory" &&
      sameFile(first, second);
  }

  #unlink(path: string): void {
    const { live, keeper } = this.#context;
    this.#changeNames([path], () => {
      this.#lose(path, "removed");
      unlessAbsent(() => keeper.withAccess([path], () => live.unlink(path)));
    });
  }

  #removeDirectory(path: string): void {
    const { live, keeper } = this.#context;
    const kind = live.stat(path)?.kind;
    if (kind !== undefined && kind !== "directory") {
      throw new SystemError("ENOTDIR", `Cannot remove directory ${quote(path)}: it is a ${kind}`);
    }
    this.#changeNames([path], () => {
      this.#lose(path, "removed");
      unlessAbsent(() => keeper.withAccess([path], () => live.removeDirectory(path)));
    });
  }

  #setAttributes(op: Op & { kind: "attributes" }): OpTrouble | undefined {
    const { keeper } = this.#context;
    const stat = keeper.withAccess([parentPath(op.path)], () => this.#existing(op.path));
    const trouble = this.#change(op.path, op.attributes);
    this.#syncAttributes(op.path, stat);
    return trouble;
  }

  #existing(path: string): Stat {
    const stat = this.#context.live.stat(path);
    if (stat !== undefined) return stat;
    throw new SystemError("ENOENT", `Cannot set attributes of ${quote(path)}: there is no such entry`);
  }

  #syncAttributes(path: string, { kind }: Stat): void {
    const { syncs } = this.#context;
    if (kind === "directory") syncs.directory(path);
    else if (kind === "file") syncs.path(path);
    else syncs.unopenable(path);
  }

  #change(path: string, change: AttributeChange): OpTrouble | undefined {
    const { abilities, live, keeper } = this.#context;
    const entry = entryOf(live, path);
    const trouble = keeper.withAccess([parentPath(path)], () => setAttributes(entry, change, abilities));
    keeper.named(path, change);
    return trouble;
  }

  /** Names in the parents of `paths` change in `action`; the parents look untouched afterwards and are synced. */
  #changeNames(paths: string[], action: () => void): void {
    const { keeper, syncs } = this.#context;
    for (const path of paths) keeper.beforeChange(parentPath(path));
    action();
    for (const path of paths) syncs.directory(parentPath(path));
  }

  /** Every destructive step passes here before it happens. */
  #lose(path: string, reason: LossReason): void {
    this.#context.keepBefore(path, reason);
  }
}

/** Opens a live file for writing in place, though its owner (we) may have made it read-only. */
function openForPatch(live: Tree, path: string): OpenFile {
  try {
    return live.open(path, { access: "write" });
  } catch (error) {
    if (errorCode(error) !== "EACCES") throw error;
    const stat = live.stat(path);
    if (stat?.kind !== "file") throw error;
    live.setAttributes(path, { mode: stat.mode | 0o200 });
    return live.open(path, { access: "write" });
  }
}

function unlessAbsent(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!isAbsence(error)) throw error;
  }
}
