/**
 * Takes the target's listing into the index, and uses the time until the next part of it comes: a directory of which
 * all entries are listed is compared with the disk at once.
 * @module
 */
import { parentPath } from "../base/path.ts";
import type { ListedEntry } from "../wire/message.ts";
import type { Detector } from "./detect.ts";
import { believe } from "./doubts.ts";
import type { Index } from "./index.ts";

/** One listing on its way. */
export class ListingTaker {
  readonly #index: Index;
  readonly #detector: Detector;
  /** The directory whose entries are coming. */
  #open: string | undefined;

  constructor(index: Index, detector: Detector) {
    this.#index = index;
    this.#detector = detector;
  }

  /** Takes a part of the listing. */
  take(entries: ListedEntry[]): void {
    for (const entry of entries) {
      if (!this.#isInOpen(entry.path)) this.#begin(parentPath(entry.path));
      believe(this.#index, entry, { trusted: true });
    }
  }

  /** Nothing more will come. */
  end(): void {
    if (this.#open !== undefined) this.#detector.lookAhead(this.#open);
  }

  #isInOpen(path: string): boolean {
    const open = this.#open;
    if (open === undefined || !path.startsWith(open)) return false;
    return path.lastIndexOf("/") === (open === "" ? -1 : open.length);
  }

  #begin(directory: string): void {
    this.end();
    // Should it come in two parts, what was found after the first was found too early.
    this.#detector.forgetAhead(directory);
    this.#open = directory;
  }
}
