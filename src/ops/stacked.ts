/**
 * Ops as they wait in the stacked-up queue: with all parameters but without file data. The data is read from the
 * source when the op is serviced, so later bytes than those of the op may be sent.
 *
 * A file is named twice. `path` is its name when the op was done, which is its name on the target when the op has its
 * turn. `file` is any number that stands for the file under all of its names, as an inode number does; it may stand
 * for another file once this one is gone.
 * @module
 */
import type { AttributeChange } from "../sys/file_system.ts";
import type { Range } from "./range.ts";

/** An op without its data. */
export type StackedOp =
  /** A new, empty file. */
  | { kind: "create"; path: string; file: number; attributes: AttributeChange }
  /** Bytes `start` (in) to `end` (out) were written. */
  | { kind: "write"; path: string; file: number } & Range
  /** The size was set to `lowest`, and to `size` after it: so any number of truncations is one. */
  | { kind: "truncate"; path: string; file: number; lowest: number; size: number }
  | { kind: "attributes"; path: string; file: number; isDirectory: boolean; attributes: AttributeChange }
  | { kind: "symlink"; path: string; file: number; target: string; attributes: AttributeChange }
  | { kind: "mkdir"; path: string; attributes: AttributeChange }
  /** A further name of a file. */
  | { kind: "link"; path: string; file: number; to: string }
  /** Removes a name of anything but a directory. */
  | { kind: "unlink"; path: string; file: number; survivor?: Survivor }
  | { kind: "rmdir"; path: string }
  /**
   * Moves an entry with everything below it. Between two names of one file a rename does nothing: it is no op.
   * `survivor` is of the file that `to` was a name of before.
   */
  | { kind: "rename"; path: string; to: string; exchange: boolean; survivor?: Survivor }
  /** Where a hold begins: what came before it is never mixed with what came after it. */
  | { kind: "hold" };

/**
 * Another name, at that moment, of a file that lost one; `""` if it has one that is not known. Without it the file is
 * gone, and so is what was still to be read from it. Wherever the link count stays above zero one must be given.
 */
export type Survivor = string;

/** Name of a kind of stacked op. */
export type StackedKind = StackedOp["kind"];

/** The op of one kind. */
export type StackedOpOf<Kind extends StackedKind> = Extract<StackedOp, { kind: Kind }>;

/** An op that takes a name from what had it. */
export type DepartureOp = StackedOpOf<"unlink" | "rmdir" | "rename">;

/** An op of a file that is named by its number. */
export type FileOp = Extract<StackedOp, { file: number }>;

/** Whether names are other ones after an op, so that no op of such a name, or of one below it, may be moved over it. */
export function isDeparture(op: StackedOp): op is DepartureOp {
  return op.kind === "unlink" || op.kind === "rmdir" || op.kind === "rename";
}
