/**
 * Applies ops in groups. A group is done in this order, and each step ends before the next begins:
 *
 * ```
 * 1 stage      new versions, links, patch journals, blocks of transfers      staging/
 * 2 sync       contents of what was staged                                   before a name can show them
 * 3 announce   renames, exchanges and patches                                catalog, durable
 * 4 install    in the order of sequences                                     live tree
 * 5 sync       patched files, then the directories whose names changed       before the catalog says so
 * 6 record     sequence, touched paths, failures, transfers                  catalog, one durable transaction
 * 7 ack        to the source; then staged names that nobody needs are removed
 * ```
 *
 * What must hold here (DESIGN §3):
 * - An ack survives power loss: contents (2), names (5), catalog (6), ack (7).
 * - A whole file appears at its live name only complete: by rename of a synced file (2, 4).
 * - A live file is changed in place only after its journal is durable and announced (2, 3); recovery redoes it.
 * - A crash between any two calls leaves a state from which a replay of the ops behind `durableSequence` ends in the
 *   same tree: ops that would not stand that do not share a group (group_names.ts).
 * - A file that another program uses is not touched: its ops fail as *pending* (open_files.ts), which is asked right
 *   before they are installed, of patches before they are announced.
 * - Trouble of the machine fails no op. Before step 2 the group ends in front of the op that met it; from then on the
 *   caller recovers the replica as after a crash and replays the ops from memory.
 * @module
 */
import { assert, SystemError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { quote } from "../base/path.ts";
import { type Op, opPaths } from "../ops/op.ts";
import type { ExchangeRow, TouchedRow } from "../store/catalog.ts";
import type { Tree } from "../sys/file_system.ts";
import { type OpFailure, PENDING } from "../wire/message.ts";
import { GroupNames } from "./group_names.ts";
import { Installer } from "./install.ts";
import type { Replica } from "./replica.ts";
import { identityOf, type StageContext, Stager, type Step } from "./stage.ts";
import { ContentSyncs, LiveSyncs } from "./syncs.ts";
import { isMachineTrouble, isOpTrouble, type OpTrouble } from "./trouble.ts";

/** An op with its place in the stream. */
export interface SequencedOp {
  sequence: number;
  op: Op;
  /** Bytes that it takes in memory. */
  size: number;
}

/** What became of a group. */
export interface AppliedGroup {
  /** Ops from the front of those given that are done. At least one. */
  count: number;
  /** Sequence of the last one. It is durable. */
  sequence: number;
  /** Those that failed, in order. */
  failures: OpFailure[];
}

/**
 * Applies as many ops from the front of `ops` as one group may hold, and makes them durable. `ops` follow the
 * replica's durable sequence without a gap.
 *
 * @param opsMax Ops that the group may hold at most.
 * @throws {SystemError} Trouble of the machine. The replica must be recovered before anything else is applied.
 */
export function applyGroup(
  replica: Replica,
  ops: readonly SequencedOp[],
  opsMax: number = limits.groupOps,
): AppliedGroup {
  assert(
    ops.length > 0 && ops[0].sequence === replica.durableSequence + 1,
    "a group follows what is durable",
  );
  using group = new Group(replica);
  group.stage(ops.length > opsMax ? ops.slice(0, opsMax) : ops);
  group.syncContents();
  group.announce();
  group.install();
  group.syncLive();
  return group.record();
}

class Group implements Disposable {
  readonly #replica: Replica;
  readonly #contents: ContentSyncs;
  readonly #syncs: LiveSyncs;
  readonly #garbage: string[] = [];
  #steps: Step[] = [];
  readonly #failures: OpFailure[] = [];
  readonly #touched = new Map<string, TouchedRow>();
  #ops: readonly SequencedOp[] = [];
  /** Renames and patches change the tree in a way that must be known before. */
  #mustAnnounce = false;

  constructor(replica: Replica) {
    this.#replica = replica;
    const { abilities, live, staging } = replica;
    this.#contents = new ContentSyncs(staging.tree, abilities.syncAll);
    this.#syncs = new LiveSyncs(live, abilities.syncAll);
  }

  stage(ops: readonly SequencedOp[]): void {
    const { live, staging, transfers, abilities, openFiles } = this.#replica;
    checkRoot(live);
    // Others may have moved directories since the last group.
    live.forgetDirectories();
    const context: StageContext = {
      live,
      staging,
      transfers,
      abilities,
      contents: this.#contents,
      garbage: this.#garbage,
      openFiles,
    };
    const stager = new Stager(context);
    const names = new GroupNames();
    let count = 0;
    for (let size = 0; count < ops.length && count < limits.groupOps && size < limits.groupBytes; count++) {
      const { sequence, op } = ops[count];
      const isPatch = op.kind === "close" && transfers.get(op.transfer)?.base === "patch";
      if (!names.tryAdd(op, isPatch)) break;
      if (!this.#stageOne(stager, ops[count], count > 0)) break;
      this.#touch(sequence, op);
      if (op.kind === "rename" || isPatch) this.#mustAnnounce = true;
      size += ops[count].size;
    }
    this.#ops = ops.slice(0, count);
    if (this.#ops.some(({ op }) => "data" in op || op.kind === "open")) checkSpace(live);
  }

  /** Contents before names: a renamed file may outlive its bytes otherwise. */
  syncContents(): void {
    this.#contents.finish();
  }

  announce(): void {
    const { catalog } = this.#replica;
    // What is announced will be done, by recovery if not by us: a patch must not wait after that.
    this.#steps = this.#steps.filter((step) => !step.staged?.isPatch || this.#mayPatch(step));
    if (this.#steps.length > 0 && catalog.meta.clean) catalog.setMeta({ clean: false });
    if (!this.#mustAnnounce) return;
    const patches = this.#steps.filter(({ staged }) => staged?.isPatch)
      .map(({ op, staged }) => ({ journal: staged!.name, path: opPaths(op)[0] }));
    catalog.announce({ touched: [...this.#touched.values()], patches, exchanges: this.#exchanges() });
  }

  install(): void {
    const { live, staging, keeper, abilities, keepBefore } = this.#replica;
    const installer = new Installer({
      live,
      staging,
      keeper,
      abilities,
      syncs: this.#syncs,
      isExchanged: (step) => this.#isExchanged(step),
      keepBefore,
    });
    for (const step of this.#steps) this.#installOne(installer, step);
    keeper.restore();
  }

  /** Files and directories before the catalog: rename(2) alone may vanish. */
  syncLive(): void {
    this.#syncs.finish();
  }

  record(): AppliedGroup {
    const { catalog, transfers, keeper, staging, stats } = this.#replica;
    const count = this.#ops.length;
    const { sequence } = this.#ops[count - 1];
    const failures = this.#failures.sort((a, b) => a.sequence - b.sequence);
    const touched = [...this.#touched.values()];
    catalog.record({ durableSequence: sequence, touched, failures, transfers: transfers.takeRows() });
    keeper.forget();
    // Journals after the catalog: until then recovery needs them.
    for (const name of this.#garbage) staging.remove(name);
    stats.count(this.#ops, failures.filter(({ code }) => code !== PENDING).length);
    this.#replica.afterGroup();
    return { count, sequence, failures };
  }

  [Symbol.dispose](): void {
    this.#contents[Symbol.dispose]();
    this.#syncs[Symbol.dispose]();
  }

  /** Gives whether the op belongs to this group; it does not if the machine failed it and others can go before. */
  #stageOne(stager: Stager, { sequence, op }: SequencedOp, hasOthers: boolean): boolean {
    try {
      const step = stager.stage(sequence, op);
      if (step !== undefined) this.#steps.push(step);
    } catch (error) {
      if (isMachineTrouble(error) && hasOthers) return false;
      this.#fail(sequence, op, error);
    }
    return true;
  }

  /** Gives whether nobody uses the file that is to be patched; otherwise the op waits. */
  #mayPatch({ sequence, op }: Step): boolean {
    try {
      this.#checkUse(sequence, op);
      return true;
    } catch (error) {
      this.#fail(sequence, op, error);
      return false;
    }
  }

  #checkUse(sequence: number, op: Op): void {
    const { keeper, openFiles } = this.#replica;
    keeper.withAccess(opPaths(op), () => openFiles.check(sequence, op));
  }

  #installOne(installer: Installer, step: Step): void {
    try {
      if (!step.staged?.isPatch) this.#checkUse(step.sequence, step.op);
      const trouble = installer.install(step);
      if (trouble) this.#note(step.sequence, step.op, trouble);
    } catch (error) {
      this.#fail(step.sequence, step.op, error);
      if (step.staged !== undefined) this.#garbage.push(step.staged.name);
    }
  }

  #fail(sequence: number, op: Op, error: unknown): void {
    if (!isOpTrouble(error)) throw error;
    const path = opPaths(op)[0] ?? "";
    this.#failures.push({ sequence, path, op: op.kind, code: error.code, reason: error.message });
  }

  /** The op was done, but for some of its attributes. */
  #note(sequence: number, op: Op, { code, reason }: OpTrouble): void {
    this.#failures.push({ sequence, path: opPaths(op)[0], op: "attributes", code, reason });
  }

  #touch(sequence: number, op: Op): void {
    // An opened transfer has changed nothing that can be seen.
    if (op.kind === "open") return;
    for (const path of opPaths(op)) {
      const recursive = op.kind === "rename" || this.#touched.get(path)?.recursive === true;
      this.#touched.set(path, { path, sequence, recursive });
    }
  }

  #exchanges(): ExchangeRow[] {
    const found: ExchangeRow[] = [];
    for (const { sequence, op } of this.#steps) {
      if (op.kind !== "rename" || !op.exchange) continue;
      // The first announcement holds: on a replay the entries may have changed places already.
      if (this.#isExchanged({ sequence, op })) continue;
      const { fromIdentity, toIdentity } = this.#identities(op);
      if (fromIdentity !== "" && toIdentity !== "") found.push({ sequence, fromIdentity, toIdentity });
    }
    return found;
  }

  #isExchanged({ sequence, op }: Step & { op: { kind: "rename" } }): boolean {
    const announced = this.#replica.catalog.exchange(sequence);
    if (announced === undefined) return false;
    const { fromIdentity, toIdentity } = this.#identities(op);
    return fromIdentity === announced.toIdentity && toIdentity === announced.fromIdentity;
  }

  #identities(op: Op & { kind: "rename" }): { fromIdentity: string; toIdentity: string } {
    return {
      fromIdentity: identityAt(this.#replica.live, op.path),
      toIdentity: identityAt(this.#replica.live, op.to),
    };
  }
}

/** Identity of what is at a path, `""` if that cannot be known. */
function identityAt(tree: Tree, path: string): string {
  try {
    return identityOf(tree.stat(path));
  } catch (error) {
    if (isOpTrouble(error)) return "";
    throw error;
  }
}

/** Once files are live the catalog must still find room to say so. */
function checkSpace(live: Tree): void {
  const { freeBytes } = live.space();
  if (freeBytes >= limits.freeBytesMin) return;
  const root = quote(live.rootPath);
  throw new SystemError(
    "ENOSPC",
    `Cannot write to replica ${root}: only ${freeBytes} bytes of its disk are free (ENOSPC)`,
  );
}

/** A removed root fails every op, though no op is to blame. */
function checkRoot(live: Tree): void {
  const root = live.stat("");
  if (root !== undefined && root.linkCount > 0) return;
  throw new SystemError("ENODEV", `Cannot reach replica ${quote(live.rootPath)}: its root directory is gone`);
}
