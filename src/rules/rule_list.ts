/**
 * The rules of a set, in order, and what they say of a path. As in git, the last rule that matches decides; a directory
 * that is left out leaves out everything below it; and where nothing matches, an entry shares the fate of its directory.
 *
 * Two things are more than git does, both where a rule would mean nothing in git:
 *
 * - an *anchored* include (one with a slash before its end: `!/home/alice`) reaches into a directory that an earlier
 *   rule left out. In git it would be dead.
 * - the rule `/` leaves out the root: nothing is in the set but what later includes take into it, wherever it lies.
 *
 * A directory that is left out while an include may match below is a *passage*: it is looked into, and exists on a
 * target only as far as something included below needs it.
 * @module
 */
import { limits } from "../base/limits.ts";
import { parentPath } from "../base/path.ts";
import type { Facts } from "./conditions.ts";
import { matchesRule, parseRule, type Rule } from "./rule.ts";
import { byteText } from "./wildmatch.ts";

/** What the rules say of an entry. */
export interface Verdict {
  isIncluded: boolean;
  /** Index of the rule that decided, about the entry itself or a directory above it; -1 if no rule did. */
  rule: number;
  /** Of a directory that is left out: something below may be included. */
  isPassage: boolean;
}

/** What is asked about. */
export interface Asked {
  isDirectory: boolean;
  /** Needed where conditions may count; without them no condition is met. */
  facts?: Readonly<Facts>;
  /** Wall clock. @default now */
  nowMs?: number;
}

const NONE = -1;

/** Everything is in the set. */
const ALL: Verdict = { isIncluded: true, rule: NONE, isPassage: false };

/** Rules in their order. Does not change. */
export class RuleList {
  readonly rules: readonly Rule[];
  /** Verdicts on directories. Emptied when it is full. */
  readonly #directories = new Map<string, Verdict>();
  readonly #agesMatter: boolean;

  constructor(rules: readonly Rule[]) {
    this.rules = rules;
    this.#agesMatter = rules.some(({ conditions }) => conditions.some((condition) => condition.changesAtMs));
  }

  /** Reads lines; those that say nothing are left out. @throws {UsageError} If one cannot be read. */
  static parse(lines: Iterable<string>): RuleList {
    return new RuleList([...lines].map(parseRule).filter((rule) => rule !== undefined));
  }

  /** Whether everything is included, so that nobody need ask. */
  get isEmpty(): boolean {
    return this.rules.length === 0;
  }

  /** What the rules say of the entry at a path. */
  verdict(path: string, { isDirectory, facts, nowMs }: Asked): Verdict {
    if (this.rules.length === 0) return ALL;
    const text = byteText(path);
    if (isDirectory) return this.#onDirectory(text);
    const asked = { isDirectory: false, facts, nowMs: nowMs ?? Date.now() };
    return this.#step(this.#onDirectory(parentPath(text)), text, asked);
  }

  /** When the verdict on a file may become another by its growing older; `undefined` if never. */
  changesAtMs(path: string, facts: Readonly<Facts>, nowMs: number): number | undefined {
    if (!this.#agesMatter || facts.kind !== "file") return undefined;
    const text = byteText(path);
    let next: number | undefined;
    for (const { pattern, conditions } of this.rules) {
      for (const condition of conditions) {
        const atMs = condition.changesAtMs?.(facts);
        if (atMs === undefined || atMs <= nowMs || (next !== undefined && atMs >= next)) continue;
        if (pattern.matches(text, false)) next = atMs;
      }
    }
    return next;
  }

  #onDirectory(path: string): Verdict {
    const known = this.#directories.get(path);
    if (known) return known;
    const above = path === "" ? ALL : this.#onDirectory(parentPath(path));
    const verdict = this.#step(above, path, { isDirectory: true, facts: undefined, nowMs: 0 });
    verdict.isPassage = !verdict.isIncluded && this.#mayIncludeBelow(path, verdict.rule);
    if (this.#directories.size >= limits.ruleVerdictsMax) this.#directories.clear();
    this.#directories.set(path, verdict);
    return verdict;
  }

  /** The verdict on an entry whose directory has the verdict `above`. */
  #step(above: Verdict, path: string, asked: Parameters<typeof matchesRule>[2]): Verdict {
    const match = this.#lastMatch(path, asked);
    const rule = this.rules[match];
    const inherited = { isIncluded: above.isIncluded, rule: above.rule, isPassage: false };
    if (match === NONE) return inherited;
    const decided = { isIncluded: rule.includes, rule: match, isPassage: false };
    if (above.isIncluded) return decided;
    if (match < above.rule) return inherited;
    return rule.includes && !this.#reaches(rule, above.rule) ? inherited : decided;
  }

  /** Whether an include gets hold of what lies in a directory that the rule `leavingOut` left out. */
  #reaches(include: Rule, leavingOut: number): boolean {
    return include.pattern.isAnchored || this.rules[leavingOut].pattern.isRoot;
  }

  #lastMatch(path: string, asked: Parameters<typeof matchesRule>[2]): number {
    for (let i = this.rules.length - 1; i >= 0; i--) if (matchesRule(this.rules[i], path, asked)) return i;
    return NONE;
  }

  #mayIncludeBelow(directory: string, leavingOut: number): boolean {
    for (let i = leavingOut + 1; i < this.rules.length; i++) {
      const rule = this.rules[i];
      if (rule.includes && this.#reaches(rule, leavingOut) && rule.pattern.mayMatchBelow(directory)) {
        return true;
      }
    }
    return false;
  }
}
