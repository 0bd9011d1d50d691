/**
 * Takes away from the target what the source has no more.
 * @module
 */
import { joinPath, parentPath } from "../base/path.ts";
import type { Held } from "../ops/held.ts";
import type { Batch } from "./batch.ts";
import { type DetectContext, standingOf } from "./detect_context.ts";
import type { Leftovers } from "./leftovers.ts";

/** Removes entries of one target. */
export class Deletions {
  readonly #context: DetectContext;
  readonly #leftovers: Leftovers;

  constructor(context: DetectContext, leftovers: Leftovers) {
    this.#context = context;
    this.#leftovers = leftovers;
  }

  /**
   * Removes a path and everything below from the target, if the policy deletes at all.
   *
   * @returns `false` if leftovers, or files in use on the target, stay there.
   */
  async remove(path: string, batch: Batch): Promise<boolean> {
    const { index, pending, policy } = this.#context;
    const held = index.get(path);
    if (pending.covers(path)) return false;
    this.#context.gone(path);
    if (!held || !policy.deleteAbsent) return true;
    if (this.#leftovers.stays(path, held)) return false;
    let isEmpty = true;
    if (held.kind === "directory") {
      for (const name of index.children(path)) {
        if (!await this.remove(joinPath(path, name), batch)) isEmpty = false;
      }
    }
    if (!isEmpty) {
      const waiting = pending.below(path);
      if (waiting !== undefined) pending.addBehind(path, waiting, { coversBelow: false });
      return false;
    }
    await this.#removeOne(path, held, batch);
    await this.removePassage(parentPath(path), batch);
    return true;
  }

  /**
   * Removes what the target has where something else stands now, unless a guard or leftovers keep what is below it.
   *
   * @returns Whether there is room now.
   */
  async makeRoom(path: string, batch: Batch): Promise<boolean> {
    const { guard, planned, problem } = this.#context;
    // It is looked at again when the user has decided.
    if (guard && !planned && !guard.admitsClearing(path)) return false;
    if (await this.remove(path, batch)) return true;
    // It is looked at again when the file in it is in use no more.
    if (this.#context.pending.covers(path)) return false;
    problem(path, "replace", new Error("leftovers stand in its place on the target"));
    return false;
  }

  /**
   * Removes a leftover with everything below it.
   *
   * @returns How many entries were removed.
   */
  async purge(path: string, batch: Batch): Promise<number> {
    const { index } = this.#context;
    const held = index.get(path);
    if (!held) return 0;
    let count = 1;
    if (held.kind === "directory") {
      for (const name of index.children(path)) count += await this.purge(joinPath(path, name), batch);
    }
    await this.#removeOne(path, held, batch);
    await this.removePassage(parentPath(path), batch);
    return count;
  }

  /** Removes a passage in which nothing is left that would need it. */
  async removePassage(path: string, batch: Batch): Promise<void> {
    const { index, policy } = this.#context;
    const held = index.get(path);
    if (path === "" || !held || !policy.deleteAbsent || index.countChildren(path) > 0) return;
    if (standingOf(path, held, this.#context) !== "passage") return;
    await this.#removeOne(path, held, batch);
    await this.removePassage(parentPath(path), batch);
  }

  /** Removes one entry that has nothing below it any more. */
  async #removeOne(path: string, held: Held, batch: Batch): Promise<void> {
    const { index } = this.#context;
    batch.directories.add(parentPath(path));
    batch.directories.delete(path);
    if (this.#context.planned) {
      this.#context.planned("delete", path, 0);
      return index.remove(path, 0);
    }
    await this.#context.room(path.length, batch.priority);
    if (!index.has(path)) return;
    const kind = held.kind === "directory" ? "rmdir" : "unlink";
    index.remove(path, this.#context.push({ kind, path }, batch.priority));
  }
}
