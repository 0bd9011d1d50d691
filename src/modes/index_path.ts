/**
 * Where the index of a target is in the directory of its set.
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";

/** The file, by the target's label. */
export function indexPath(directory: string, label: string): string {
  const name = createHash("sha256").update(label).digest("hex").slice(0, 16);
  return join(directory, `index-${name}.sqlite`);
}
