/**
 * Conditions of a rule on what a file is: its size, its age, the ending of its name.
 *
 * ```
 * size>100M   size>=4K   size<1   size<=10M   size=0     bytes of a regular file; K, M, G, T are binary
 * age>30d     age>=12h   age<5m   age<=7d                time since a regular file was last modified
 * ext:iso     ext:jpg,jpeg,tar.gz                        what the name ends with behind a dot, in any case
 * ```
 *
 * A directory never meets a condition. Several conditions of one rule must all be met.
 * @module
 */
import { reasonOf, UsageError } from "../base/errors.ts";
import { baseName, quote } from "../base/path.ts";
import { parseDuration, parseSize } from "../base/units.ts";

/** What conditions look at. */
export interface Facts {
  /** As `Kind` of `sys/file_system.ts`. */
  kind: string;
  /** Bytes. */
  size: number;
  /** Nanoseconds since 1970. */
  mtimeNs: bigint;
}

/** One condition. */
export interface Condition {
  /** Whether the entry at this path meets it. */
  isMet(path: string, facts: Readonly<Facts>, nowMs: number): boolean;
  /** When a regular file comes to meet it, or to meet it no longer, by growing older alone; `undefined` if never. */
  changesAtMs?(facts: Readonly<Facts>): number;
}

/** Whether a condition begins here. */
const CONDITION = /^(size|age|ext)(>=|<=|>|<|=|:)/;

/**
 * Reads the conditions at the begin of a rule.
 *
 * @param rule The whole rule, for messages. @param from Where they begin in it.
 * @returns The conditions, none if there are none, and where the pattern begins.
 * @throws {UsageError} If one of them cannot be read; says in which column.
 */
export function parseConditions(rule: string, from: number): { conditions: Condition[]; end: number } {
  const conditions: Condition[] = [];
  let at = from;
  for (;;) {
    const begin = CONDITION.exec(rule.slice(at));
    if (!begin) return { conditions, end: at };
    const space = rule.indexOf(" ", at);
    const end = space < 0 ? rule.length : space;
    const [whole, subject, operator] = begin;
    conditions.push(
      parseCondition(rule, { subject, operator, at, value: rule.slice(at + whole.length, end) }),
    );
    at = end;
    while (rule[at] === " ") at++;
  }
}

/** An error in a rule. @param at Where in it, from 0. */
export function ruleError(rule: string, at: number, reason: string): UsageError {
  return new UsageError(`Cannot read rule ${quote(rule)}: column ${at + 1}: ${reason}`);
}

function parseCondition(
  rule: string,
  { subject, operator, at, value }: { subject: string; operator: string; at: number; value: string },
): Condition {
  const isComparison = operator !== ":";
  const valueAt = at + subject.length + operator.length;
  if ((subject === "ext") === isComparison || (subject === "age" && operator === "=")) {
    const allowed =
      { ext: '":"', size: '">", ">=", "<", "<=" or "="', age: '">", ">=", "<" or "<="' }[subject];
    throw ruleError(rule, at + subject.length, `behind "${subject}" must stand ${allowed}`);
  }
  try {
    if (subject === "ext") return extensionCondition(value);
    if (subject === "size") return sizeCondition(operator, parseSize(value));
    return ageCondition(operator, parseDuration(value));
  } catch (error) {
    throw ruleError(rule, valueAt, reasonOf(error).replace(/^Cannot read (\w+) ".*?": /s, ""));
  }
}

function extensionCondition(value: string): Condition {
  const endings = value.split(",").map((ending) => `.${ending.replace(/^\./, "").toLowerCase()}`);
  if (endings.includes(".")) {
    throw new Error('it must be endings with commas between them, as in "jpg,tar.gz"');
  }
  return {
    isMet(path, { kind }) {
      if (kind === "directory") return false;
      const name = baseName(path).toLowerCase();
      // ".iso" alone is a hidden file, not one of that type.
      return endings.some((ending) => name.endsWith(ending) && name.length > ending.length);
    },
  };
}

function sizeCondition(operator: string, bytes: number): Condition {
  const compare = comparisons[operator];
  return { isMet: (_, { kind, size }) => kind === "file" && compare(size, bytes) };
}

function ageCondition(operator: string, ageMs: number): Condition {
  const compare = comparisons[operator];
  return {
    isMet: (_, { kind, mtimeNs }, nowMs) => kind === "file" && compare(nowMs - toMs(mtimeNs), ageMs),
    // One more, so that ">" is true then, and "<=" no longer.
    changesAtMs: ({ mtimeNs }) => toMs(mtimeNs) + ageMs + 1,
  };
}

const comparisons: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  "=": (a, b) => a === b,
};

function toMs(timeNs: bigint): number {
  return Number(timeNs / 1_000_000n);
}
