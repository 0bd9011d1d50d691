/**
 * Takes away from the target what the source has no more.
 * @module
 */
import { joinPath, parentPath } from "../base/path.ts";
import type { Batch } from "./batch.ts";
import type { DetectContext } from "./detect_context.ts";

/** Removes entries of one target. */
export class Deletions {
  readonly #context: DetectContext;

  constructor(context: DetectContext) {
    this.#context = context;
  }

  /** Removes a path and everything below from the target, if the policy deletes at all. */
  async remove(path: string, batch: Batch): Promise<void> {
    const { index, policy } = this.#context;
    const held = index.get(path);
    this.#context.solved(path);
    if (!held || !policy.deleteAbsent) return;
    if (held.kind === "directory") {
      for (const name of index.children(path)) await this.remove(joinPath(path, name), batch);
    }
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
