/**
 * The scope of a set: its rules, and before them what is never replicated. The rules can be exchanged while it is used.
 * @module
 */
import { parentPath } from "../base/path.ts";
import { RuleList, type Verdict } from "../rules/rule_list.ts";
import { AgeWatch } from "./age_watch.ts";
import type { Scope, ScopeFacts, Standing } from "./scope.ts";

/** A path that is never replicated, whatever the rules say. */
export interface KeptOut {
  path: string;
  reason: string;
  /** Only what is below it: the directory itself is replicated, empty. @default {false} */
  keepsDirectory?: boolean;
  /** It is the user's option that keeps it out. @default {false} */
  isByOption?: boolean;
}

/** What a {@linkcode SetScope} is made of. */
export interface SetScopeOptions {
  rules: RuleList;
  /** What is never replicated; asked each time, since mounts come and go. @default nothing */
  keptOut?: () => ReadonlyMap<string, KeptOut>;
  /** Wall clock, for ages. @default {Date.now} */
  nowMs?: () => number;
}

/** Why an entry stands as it does. */
export interface ScopeReason {
  standing: Standing;
  /** What keeps it out before the rules are asked. */
  keptOut?: KeptOut;
  verdict: Verdict;
}

/** Rules that can be exchanged, and what is kept out. */
export class SetScope implements Scope {
  #rules: RuleList;
  readonly #keptOut: () => ReadonlyMap<string, KeptOut>;
  readonly #nowMs: () => number;
  /** Files whose standing will change by their age alone. */
  readonly ages = new AgeWatch();

  constructor({ rules, keptOut = () => nothing, nowMs = Date.now }: SetScopeOptions) {
    this.#rules = rules;
    this.#keptOut = keptOut;
    this.#nowMs = nowMs;
  }

  get rules(): RuleList {
    return this.#rules;
  }

  /** From now on these rules count. Whoever uses the scope must look at everything again. */
  exchange(rules: RuleList): void {
    this.#rules = rules;
    this.ages.clear();
  }

  standing(path: string, facts: Readonly<ScopeFacts>): Standing {
    if (this.#holding(path)) return "out";
    if (this.#rules.isEmpty) return "in";
    const nowMs = this.#nowMs();
    const changesAtMs = this.#rules.changesAtMs(path, facts, nowMs);
    if (changesAtMs !== undefined) this.ages.note(path, changesAtMs);
    return standingBy(this.#rules.verdict(path, askedOf(facts, nowMs)));
  }

  isClosed(directory: string): boolean {
    if (this.#keptOut().has(directory) || this.#holding(directory)) return true;
    if (this.#rules.isEmpty) return false;
    return standingBy(this.#rules.verdict(directory, { isDirectory: true })) === "out";
  }

  /** Why an entry stands as it does. */
  explain(path: string, facts: Readonly<ScopeFacts>): ScopeReason {
    const keptOut = this.#holding(path);
    const verdict = this.#rules.verdict(path, askedOf(facts, this.#nowMs()));
    return { standing: keptOut ? "out" : standingBy(verdict), keptOut, verdict };
  }

  /** What keeps the entry at a path out. */
  #holding(path: string): KeptOut | undefined {
    const all = this.#keptOut();
    if (all.size === 0) return undefined;
    for (let at = path; at !== ""; at = parentPath(at)) {
      const found = all.get(at);
      if (found && !(found.keepsDirectory && at === path)) return found;
    }
    return undefined;
  }
}

const nothing: ReadonlyMap<string, KeptOut> = new Map();

function askedOf(facts: Readonly<ScopeFacts>, nowMs: number) {
  return { isDirectory: facts.kind === "directory", facts, nowMs };
}

function standingBy({ isIncluded, isPassage }: Verdict): Standing {
  return isIncluded ? "in" : isPassage ? "passage" : "out";
}
