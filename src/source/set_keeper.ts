/**
 * Keeps the rules of a set: on disk, and in the scope that replication asks. A change is durable before it counts.
 * @module
 */
import {
  changedLines,
  exchangeGiven,
  type PlacedRule,
  placedRules,
  ruleListOf,
  type SetChange,
  type SetLine,
} from "../rules/set_lines.ts";
import type { RuleList } from "../rules/rule_list.ts";
import type { SetStore } from "../store/set_store.ts";

/** The rules of one set. */
export class SetKeeper {
  readonly #store: SetStore;
  #lines: SetLine[];

  /** @throws {UsageError} If a rule in the store cannot be read. */
  constructor(store: SetStore) {
    this.#store = store;
    this.#lines = store.lines();
  }

  get lines(): readonly SetLine[] {
    return this.#lines;
  }

  /** What the lines say. */
  rules(): RuleList {
    return ruleListOf(this.#lines);
  }

  /** Rules with their lines, by the index of their verdicts. */
  placed(): PlacedRule[] {
    return placedRules(this.#lines);
  }

  /**
   * Takes what was given at the start. Nothing changes if it is the same as the last time, or nothing.
   *
   * @returns Whether the set's text is another one now.
   */
  take(given: readonly Omit<SetLine, "isGiven">[]): boolean {
    if (given.length === 0) return false;
    const text = given.map((line) => line.text).join("\n");
    if (text === this.#store.meta("given")) return false;
    const lines = exchangeGiven(this.#lines, given);
    // What cannot be read must not be kept.
    ruleListOf(lines);
    this.#store.save(lines, text);
    this.#lines = lines;
    return true;
  }

  /**
   * Makes a change.
   *
   * @returns Whether the set's text is another one now.
   * @throws {UsageError} If a rule cannot be read. @throws {CommandError} If a rule to be removed is not there.
   */
  change(change: SetChange): boolean {
    if (change.kind === "list") return false;
    const lines = changedLines(this.#lines, change);
    ruleListOf(lines);
    this.#store.save(lines);
    this.#lines = lines;
    return true;
  }
}
