/**
 * Sees renames by identity: an entry that the index knows under another name, which is gone, is renamed on the target
 * and costs no data.
 * @module
 */
import { isWithin, parentPath } from "../base/path.ts";
import { digestXattrs } from "../mirror/xattrs.ts";
import type { Held } from "../ops/held.ts";
import { sameFile, type Stat } from "../sys/file_system.ts";
import { type Batch, identity, statOrUndefined, withXattrsOrUndefined } from "./batch.ts";
import type { Deletions } from "./deletions.ts";
import type { DetectContext } from "./detect_context.ts";
import type { Entries } from "./entries.ts";
import { holdsData, letRest, looksMoved } from "./taken.ts";

/** Renames entries of one target. */
export class Moves {
  readonly #context: DetectContext;
  readonly #deletions: Deletions;
  readonly #entries: Entries;

  constructor(context: DetectContext, { deletions, entries }: { deletions: Deletions; entries: Entries }) {
    this.#context = context;
    this.#deletions = deletions;
    this.#entries = entries;
    entries.bringHere = async (path, batch) => {
      if (this.mayHaveMoved(path, batch)) await this.look(path, batch);
    };
  }

  /** Whether the index knows this entry by another name. */
  mayHaveMoved(path: string, batch: Batch): boolean {
    const { dev, ino } = batch.present.get(path)!;
    const from = this.#context.index.findByIdentity(dev, ino);
    return from !== undefined && from !== path && from !== "" && path !== "";
  }

  /** If an entry came here from another name that is gone, the target renames it too. */
  async look(path: string, batch: Batch): Promise<void> {
    const { index, tree } = this.#context;
    const stat = batch.present.get(path)!;
    const held = index.get(path);
    // An earlier move of the batch may have brought it here.
    if (held && sameFile(held, stat)) return;
    const from = index.namesOf(stat.dev, stat.ino).find((name) => {
      const standing = statOrUndefined(tree, name);
      return !standing || !sameFile(standing, stat);
    });
    if (from === undefined) return;
    if (!looksMoved(stat, index.get(from)!) || isWithin(from, path) || isWithin(path, from)) return;
    if (this.#context.planned) return this.#planMove(from, path);
    if (!await this.#entries.makeParents(path, batch)) return;
    if (held && !await this.#clearWay(path, from, held, stat, batch)) return;
    await this.#move(from, path, stat, batch, held);
  }

  /** Makes room at the new name. @returns Whether the move can go on as a plain rename. */
  async #clearWay(path: string, from: string, held: Held, stat: Stat, batch: Batch): Promise<boolean> {
    const elsewhere = batch.byIdentity.get(identity(held));
    const livesOn = elsewhere !== undefined && elsewhere !== path;
    const mayLiveOn = batch.certainty !== "quiet" && held.ino !== 0n &&
      holdsData(this.#context.index, path, held);
    if ((livesOn || mayLiveOn) && this.#context.policy.exchange) {
      // What stands at the new name lives on under another one: swap, so that neither costs data.
      await this.#context.room(path.length, batch.priority);
      const standing = this.#context.index.get(path);
      if (!this.#context.index.has(from) || !standing || !sameFile(standing, held)) return false;
      const sequence = this.#context.push(
        { kind: "rename", path: from, to: path, exchange: true },
        batch.priority,
      );
      this.#context.index.exchange(from, path, sequence);
      this.#context.index.markLeftover(path, false);
      this.#context.resting?.noteMove();
      this.#noteMoved(path, stat, sequence);
      if (elsewhere === from) this.#noteMoved(from, batch.present.get(from)!, sequence);
      batch.directories.add(parentPath(from)).add(parentPath(path));
      if (stat.kind === "directory") this.#noteMovedTree(path, batch);
      if (held.kind === "directory" && livesOn) this.#noteMovedTree(from, batch);
      batch.tickets.pass(path, from);
      if (!livesOn) this.#park(from, batch);
      return false;
    }
    const plain = held.kind !== "directory" && stat.kind !== "directory";
    return plain || await this.#deletions.makeRoom(path, batch);
  }

  /** Where it lives on is not known yet: until then the target keeps it under a name that is gone, or is looked at. */
  #park(from: string, batch: Batch): void {
    batch.parked.add(from);
    // If a directory stands there, what is below it may be what others lack: it is looked into before they go.
    const standing = statOrUndefined(this.#context.tree, from);
    if (!letRest(this.#context, from, standing, batch)) this.#context.lookAgain(from, batch.tickets.of(from));
  }

  async #move(
    from: string,
    path: string,
    stat: Stat,
    batch: Batch,
    replaced: Held | undefined,
  ): Promise<void> {
    const { index } = this.#context;
    await this.#context.room(from.length + path.length, batch.priority);
    if (!index.has(from) || !index.isDirectory(parentPath(path))) return;
    const standing = index.get(path);
    // Another one came here meanwhile, on the way to where it is.
    const isExpected = !standing || (replaced && sameFile(standing, replaced));
    if (!isExpected) return this.#context.lookAgain(path, batch.tickets.of(path));
    const sequence = this.#context.push(
      { kind: "rename", path: from, to: path, exchange: false },
      batch.priority,
    );
    index.move(from, path, sequence);
    this.#context.gone(from);
    index.markLeftover(path, false);
    if (standing) this.#context.guard?.noteReplaced(path, standing, stat);
    this.#context.resting?.noteMove();
    this.#noteMoved(path, stat, sequence);
    batch.directories.add(parentPath(from)).add(parentPath(path));
    await this.#deletions.removePassage(parentPath(from), batch);
    if (stat.kind === "directory") this.#noteMovedTree(path, batch);
  }

  /** What changed below under the old name is looked for under the new one; until then nothing below is certain. */
  #noteMovedTree(path: string, batch: Batch): void {
    if (batch.certainty === "quiet") batch.certainty = undefined;
    this.#context.lookBelow(path, batch.tickets.of(path));
  }

  /** A rename moves the change time: that alone is no reason to send the contents again. */
  #noteMoved(path: string, stat: Stat, sequence: number): void {
    const { index, policy } = this.#context;
    const held = index.get(path)!;
    if (held.size !== stat.size || held.mtimeNs !== stat.mtimeNs) return;
    // Of an extended attribute that was changed as well only the change time tells.
    const full = withXattrsOrUndefined(this.#context, path, stat, held);
    const isSame = !policy.abilities.xattrs || digestXattrs(full?.xattrs) === (held.xattrDigest ?? 0n);
    if (isSame) index.set(path, { ...held, ctimeNs: stat.ctimeNs }, sequence);
  }

  #planMove(from: string, path: string): void {
    const { index } = this.#context;
    if (!index.isDirectory(parentPath(path))) return;
    this.#context.planned!("rename", `${from} -> ${path}`, 0);
    index.move(from, path, 0);
  }
}
