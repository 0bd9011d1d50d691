/**
 * Step 1 of a group: builds what an op needs beside the live tree, in staging. Nothing of the live tree changes here.
 * An op that fails leaves nothing in staging; on trouble of the machine the op can be staged again later.
 * @module
 */
import { errorCode, SystemError } from "../base/errors.ts";
import { isWithin, quote } from "../base/path.ts";
import { ALL_TRANSFERS, type Op, opPaths } from "../ops/op.ts";
import { TARGET_STATE_NAME } from "../store/state_directory.ts";
import { PENDING } from "../wire/message.ts";
import type { AttributeChange, FileSystemAbilities, OpenFile, Stat, Tree } from "../sys/file_system.ts";
import { writeSparsely } from "../sys/holes.ts";
import { entryOf, setAttributes } from "./attributes.ts";
import type { OpenFiles } from "./open_files.ts";
import { appendExtent, appendHole, beginJournal, closeJournal } from "./patch.ts";
import type { StagedKind, Staging } from "./staging.ts";
import type { ContentSyncs } from "./syncs.ts";
import type { Transfer, Transfers } from "./transfers.ts";
import { isOpTrouble, type OpTrouble, troubleOf } from "./trouble.ts";

/** What is left to do for an op in the live tree. */
export interface Step {
  sequence: number;
  op: Op;
  /** What was staged for it. */
  staged?: Staged;
  /** Attributes that could not be set, though the rest of the op can be done. */
  trouble?: OpTrouble;
}

/** A name in staging. */
export interface Staged {
  name: string;
  /** It is the journal of a patch, not the next version. */
  isPatch: boolean;
  /** A crash came after it was made live: identity of the file that it is now. */
  installedAs?: string;
}

/** What is staged for an op, and what of its attributes could not be set. */
type Attributed = Pick<Step, "staged" | "trouble">;

/** What staging works on. */
export interface StageContext {
  live: Tree;
  staging: Staging;
  transfers: Transfers;
  abilities: FileSystemAbilities;
  /** Takes what must be durable before anything becomes live. */
  contents: ContentSyncs;
  /** Takes names in staging that nobody needs once the group is recorded. */
  garbage: string[];
  openFiles: Pick<OpenFiles, "check">;
}

/** Stages ops, one after the other. */
export class Stager {
  readonly #context: StageContext;

  constructor(context: StageContext) {
    this.#context = context;
  }

  /**
   * Stages one op; gives what is left to do in the live tree, if anything.
   *
   * @throws {SystemError} If the op failed, or the machine did (trouble.ts).
   */
  stage(sequence: number, op: Op): Step | undefined {
    for (const path of opPaths(op)) refuseReserved(path);
    if (op.kind === "link") refuseReserved(op.path);
    switch (op.kind) {
      case "file":
        return { sequence, op, ...this.#stageFile(op) };
      case "symlink":
        return { sequence, op, ...this.#stageLink(op) };
      case "node":
        return { sequence, op, ...this.#stageNode(op) };
      case "open":
        this.#open(sequence, op);
        return undefined;
      case "block":
      case "hole":
        this.#write(op);
        return undefined;
      case "close":
        return { sequence, op, ...this.#close(op) };
      case "abandon":
        for (const id of op.transfer === ALL_TRANSFERS ? this.#context.transfers.ids() : [op.transfer]) {
          this.#abandon(id);
        }
        return undefined;
      default:
        return { sequence, op };
    }
  }

  #stageFile(op: Op & { kind: "file" }): Attributed {
    let trouble: OpTrouble | undefined;
    const { name } = this.#build("f", ({ file }) => {
      writeSparsely(file, op.data);
      trouble = setAttributes(file, op.attributes, this.#context.abilities);
      this.#context.contents.own(file);
    });
    return { staged: { name, isPatch: false }, trouble };
  }

  #stageLink(op: Op & { kind: "symlink" }): Attributed {
    // A link has no mode of its own.
    const { mode: _, ...attributes } = op.attributes;
    return this.#attributed(this.#context.staging.createLink(op.target), attributes);
  }

  #stageNode(op: Op & { kind: "node" }): Attributed {
    return this.#attributed(this.#context.staging.createNode(op), op.attributes);
  }

  /** Sets the attributes of what was staged; if that fails nothing of it remains. */
  #attributed(name: string, attributes: AttributeChange): Attributed {
    const { staging, abilities } = this.#context;
    try {
      const trouble = setAttributes(entryOf(staging.tree, name), attributes, abilities);
      return { staged: { name, isPatch: false }, trouble };
    } catch (error) {
      staging.remove(name);
      throw error;
    }
  }

  /** An `open` that fails is told at its `close`; at once, too, if its file is in use: then its blocks need not come. */
  #open(sequence: number, op: Op & { kind: "open" }): void {
    const { transfers } = this.#context;
    this.#abandon(op.transfer);
    const transfer: Transfer = {
      id: op.transfer,
      path: op.path,
      base: op.base,
      staged: "",
      file: undefined,
      identity: "",
      size: 0,
      failure: undefined,
    };
    try {
      transfers.checkRoom();
      this.#checkEarly(sequence, op);
      this.#openStaged(transfer);
    } catch (error) {
      if (!isOpTrouble(error)) throw error;
      // Beyond the bound not even the failure is kept: the close finds no transfer, which is a failure too.
      if (error.code === "EMLINK") return;
      transfer.failure = troubleOf(error);
    }
    transfers.add(transfer);
    if (transfer.failure?.code === PENDING) throw new SystemError(PENDING, transfer.failure.reason);
  }

  /** Whether the file is in use counts at its `close`. What cannot be asked before is asked then. */
  #checkEarly(sequence: number, op: Op & { kind: "open" }): void {
    try {
      this.#context.openFiles.check(sequence, op);
    } catch (error) {
      if (errorCode(error) === PENDING || !isOpTrouble(error)) throw error;
    }
  }

  #openStaged(transfer: Transfer): void {
    const { contents, live } = this.#context;
    const { name, file } = this.#build(transfer.base === "patch" ? "p" : "t", ({ file }) => {
      if (transfer.base === "patch") transfer.size = beginJournal(file);
      if (transfer.base === "copy") {
        using from = live.open(transfer.path, { access: "read" });
        file.copyFrom(from);
      }
    });
    Object.assign(transfer, { staged: name, file, identity: identityOf(file.stat()) });
    contents.lend(file);
    // The catalog will name it: the name must be there after power loss.
    contents.staging();
  }

  #write(op: Op & { kind: "block" | "hole" }): void {
    const { transfers, contents, garbage } = this.#context;
    const transfer = transfers.get(op.transfer);
    if (transfer?.file === undefined) return;
    try {
      const { base, file, size } = transfer;
      if (base !== "patch") writeTo(file, op);
      else {transfers.grow(
          transfer,
          op.kind === "hole" ? appendHole(file, size, op) : appendExtent(file, size, op),
        );}
      contents.lend(transfer.file);
    } catch (error) {
      if (!isOpTrouble(error)) throw error;
      contents.forget(transfer.file);
      garbage.push(transfers.fail(transfer, troubleOf(error)));
    }
  }

  #close(op: Op & { kind: "close" }): Attributed {
    const { transfers, contents, garbage, abilities } = this.#context;
    const transfer = transfers.get(op.transfer);
    if (transfer === undefined) {
      throw new SystemError("EBADF", `Cannot close transfer of ${quote(op.path)}: it is not open`);
    }
    const { file, staged, failure } = transfer;
    if (failure !== undefined) {
      transfers.remove(transfer);
      throw new SystemError(failure.code, failure.reason);
    }
    if (file === undefined) {
      transfers.remove(transfer);
      return { staged: { name: staged, isPatch: false, installedAs: transfer.identity } };
    }
    const isPatch = transfer.base === "patch";
    let trouble: OpTrouble | undefined;
    try {
      if (isPatch) {
        closeJournal(file, transfer.size, { size: op.size, attributes: op.attributes });
        contents.staging();
      } else {
        file.truncate(op.size);
        trouble = setAttributes(file, op.attributes, abilities);
      }
    } catch (error) {
      if (isOpTrouble(error)) {
        contents.forget(file);
        garbage.push(staged);
        transfers.remove(transfer);
      }
      throw error;
    }
    transfers.remove(transfer, { keepOpen: true });
    contents.forget(file);
    contents.own(file);
    // A version takes its live name, which leaves no name here; a journal is done with when the group is recorded.
    if (isPatch) garbage.push(staged);
    return { staged: { name: staged, isPatch }, trouble };
  }

  #abandon(id: number): void {
    const { transfers, contents, garbage } = this.#context;
    const transfer = transfers.get(id);
    if (transfer === undefined) return;
    contents.forget(transfer.file);
    if (transfer.staged !== "") garbage.push(transfer.staged);
    transfers.remove(transfer);
  }

  /** Creates a staged file and fills it; if that fails nothing of it remains, so that a full disk gets room again. */
  #build(
    kind: StagedKind,
    fill: (staged: { name: string; file: OpenFile }) => void,
  ): { name: string; file: OpenFile } {
    const staged = this.#context.staging.create(kind);
    try {
      fill(staged);
      return staged;
    } catch (error) {
      staged.file.close();
      this.#context.staging.remove(staged.name);
      throw error;
    }
  }
}

function writeTo(file: OpenFile, op: Op & { kind: "block" | "hole" }): void {
  if (op.kind === "hole") file.punch(op.offset, op.size);
  else file.write(op.data, op.offset);
}

/** Identity of an entry within its file system, `""` if there is none. */
export function identityOf(stat: Stat | undefined): string {
  return stat === undefined || stat.ino === 0n ? "" : `${stat.ino}`;
}

/** Refuses a path that is ours. */
function refuseReserved(path: string): void {
  if (!isWithin(path, TARGET_STATE_NAME)) return;
  throw new SystemError(
    "EPERM",
    `Cannot use path ${quote(path)}: the name ${quote(TARGET_STATE_NAME)} is reserved`,
  );
}
