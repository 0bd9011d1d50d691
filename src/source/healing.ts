/**
 * Puts right what verification found: never itself, but by telling detection what the target really holds. What then
 * travels are ordinary ops, with every guard that deletions have.
 * @module
 */
import { parentPath } from "../base/path.ts";
import type { TouchedPath } from "../wire/message.ts";
import type { Index } from "./index.ts";
import { Judgement, type Verdict } from "./judgement.ts";

/** What healing needs. */
export interface HealingOptions {
  index: Index;
  judgement: Judgement;
  /** These paths may hold anything on the target: it is asked, and they are looked at again. */
  doubt: (paths: TouchedPath[]) => void;
  /** The contents of this file are not what was sent. */
  distrust: (path: string) => void;
  /** Looks at a path as if an event had told of it. */
  lookAgain: (path: string) => void;
  /** Why deletions wait, `""` if they do not. */
  deletionsWait: () => string;
}

/** Heals what is found on one target. */
export class Healing {
  readonly #options: HealingOptions;

  constructor(options: HealingOptions) {
    this.#options = options;
  }

  /** Heals, and writes into each verdict how that ended. @throws {TransientError} If the session breaks. */
  async heal(verdicts: Verdict[], signal: AbortSignal): Promise<void> {
    const { deletionsWait, judgement } = this.#options;
    const tried: Verdict[] = [];
    for (const verdict of verdicts) {
      const { difference } = verdict;
      difference.state = "standing";
      if (difference.kind === "extra" && difference.cause !== "problem" && deletionsWait() !== "") {
        difference.reason = `deletions wait: ${deletionsWait()}`;
        continue;
      }
      this.#healOne(verdict);
      tried.push(verdict);
    }
    if (tried.length === 0) return;
    const standing = await judgement.stillDiffers(tried, signal);
    for (const { difference } of tried) {
      if (!standing.has(difference.path)) {
        difference.state = "healed";
        difference.reason = "";
      } else {
        difference.reason ||= "it was sent and still differs";
      }
    }
  }

  #healOne(verdict: Verdict): void {
    const { doubt, distrust, lookAgain, index } = this.#options;
    const { difference: { path, kind, parts, cause }, remote } = verdict;
    // What a known problem keeps from being replicated is tried once more.
    if (cause === "source" || cause === "problem") return lookAgain(path);
    const held = index.get(path);
    if (parts.every((part) => part === "contents") && parts.length > 0) return distrust(path);
    if (held && remote && Judgement.isOfAttributes(verdict)) {
      const { mode, uid, gid, mtimeNs } = remote;
      index.set(path, { ...held, mode, uid, gid, mtimeNs }, 0);
      return lookAgain(path);
    }
    const recursive = kind === "extra" || parts.includes("kind");
    doubt([{ path: parentPath(path), recursive: false }, { path, recursive: recursive && path !== "" }]);
  }
}
