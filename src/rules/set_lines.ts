/**
 * The text of a set: lines of rules and comments, each with where it came from. Pure.
 *
 * What was given at the start of `watch-source` stands first, what was added later behind it, so that it wins. Given
 * again at the next start, it changes nothing; given otherwise, it takes the place of what was given before, and what was
 * added later stays.
 * @module
 */
import { CommandError, reasonOf, UsageError } from "../base/errors.ts";
import { pathFromBytes, pathToBytes, quote } from "../base/path.ts";
import { parseRule, type Rule } from "./rule.ts";
import { RuleList } from "./rule_list.ts";

/** One line. */
export interface SetLine {
  text: string;
  /** For people: `command line`, `file "/etc/www.rules"`, `set add`. */
  origin: string;
  /** Whether it was given at the start, and not by a later command. */
  isGiven: boolean;
}

/** A change of a set. */
export type SetChange =
  | { kind: "list" }
  | { kind: "add"; rule: string }
  | { kind: "remove"; rule: string }
  | { kind: "import"; lines: string[]; origin: string };

/** A rule and the line that it stands in. */
export interface PlacedRule {
  rule: Rule;
  /** From 1. */
  lineNumber: number;
  line: SetLine;
}

/** The rules of the lines, in their order. @throws {UsageError} If a line cannot be read. */
export function placedRules(lines: readonly SetLine[]): PlacedRule[] {
  return lines.flatMap((line, i) => {
    const rule = parseRule(line.text);
    return rule ? [{ rule, lineNumber: i + 1, line }] : [];
  });
}

/** What the lines say. */
export function ruleListOf(lines: readonly SetLine[]): RuleList {
  return new RuleList(placedRules(lines).map(({ rule }) => rule));
}

/**
 * The lines after a change.
 *
 * @throws {UsageError} If a rule cannot be read. @throws {CommandError} If a rule that is to be removed is not there.
 */
export function changedLines(lines: readonly SetLine[], change: SetChange): SetLine[] {
  switch (change.kind) {
    case "list":
      return [...lines];
    case "add":
      checkRule(change.rule);
      return [...lines, { text: change.rule, origin: "set add", isGiven: false }];
    case "remove": {
      const wanted = checkRule(change.rule);
      const left = lines.filter((line) => parseRule(line.text)?.text !== wanted);
      if (left.length === lines.length) {
        throw new CommandError(`Cannot remove rule ${quote(change.rule)}: the set has no such rule`);
      }
      return left;
    }
    case "import":
      return change.lines.map((text) => ({ text, origin: change.origin, isGiven: false }));
  }
}

/** The lines once `given` took the place of what was given before. */
export function exchangeGiven(
  lines: readonly SetLine[],
  given: readonly Omit<SetLine, "isGiven">[],
): SetLine[] {
  return [
    ...given.map((line) => ({ ...line, isGiven: true })),
    ...lines.filter((line) => !line.isGiven),
  ];
}

/**
 * Reads the lines of a file of rules.
 *
 * @param name Of the file, for messages.
 * @throws {UsageError} If a line cannot be read; says which.
 */
export function parseRuleFile(bytes: Uint8Array, name: string): string[] {
  const text = pathFromBytes(bytes).replace(/^\u{feff}/u, "");
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  // What ends with a line feed has no line behind it.
  if (lines.at(-1) === "") lines.pop();
  for (const [i, line] of lines.entries()) {
    try {
      parseRule(line);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new UsageError(`Cannot use ${quote(name)}: line ${i + 1}: ${reasonOf(error)}`, { cause: error });
    }
  }
  return lines;
}

/** The bytes of a file of rules; {@linkcode parseRuleFile} reads them. */
export function formatRuleFile(lines: readonly Pick<SetLine, "text">[]): Uint8Array<ArrayBuffer> {
  return pathToBytes(lines.map(({ text }) => `${text}\n`).join(""));
}

/** @returns The rule's text as it counts. @throws {UsageError} If it is none. */
function checkRule(text: string): string {
  const rule = parseRule(text);
  if (!rule || rule.text === "!") throw new UsageError(`Cannot use rule ${quote(text)}: it says nothing`);
  return rule.text;
}
