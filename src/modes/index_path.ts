/**
 * Where what is remembered about a target is in the directory of its set.
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";

/** Its index, by the target's label. */
export function indexPath(directory: string, label: string): string {
  return join(directory, `index-${nameOf(label)}.sqlite`);
}

/** How far verification of it has come. */
export function patrolPath(directory: string, label: string): string {
  return join(directory, `verify-${nameOf(label)}.json`);
}

/** Where its ordered journal is. */
export function journalPath(directory: string, label: string): string {
  return join(directory, `journal-${nameOf(label)}`);
}

function nameOf(label: string): string {
  return createHash("sha256").update(label).digest("hex").slice(0, 16);
}
