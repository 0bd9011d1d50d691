/**
 * A rule of a replication set, one line of text:
 *
 * ```
 * rule  =  [ "!" ] ( conditions [ pattern ] | pattern )
 *
 * *.tmp                  excludes what has such a name
 * !keep.tmp              includes it again
 * /build/                excludes a directory of the root, with all that is below
 * size>100M *.log        excludes large logs
 * !age<30d               includes what is younger than 30 days
 * # why                  a comment; an empty line means nothing either
 * ```
 *
 * A pattern is one of gitignore(5), a condition one of conditions.ts. A rule of conditions alone is about every file. A
 * name that looks like a condition is written with a backslash before it: `\size>1`.
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { type Condition, type Facts, parseConditions, ruleError } from "./conditions.ts";
import { parsePattern, type Pattern } from "./pattern.ts";

/** A rule, ready to be asked. */
export interface Rule {
  /** The line, as written. */
  readonly text: string;
  /** Whether it takes into the set what it matches, and does not leave it out. */
  readonly includes: boolean;
  readonly pattern: Pattern;
  readonly conditions: readonly Condition[];
}

/**
 * Reads one line. `undefined` if it says nothing: a comment, or empty.
 *
 * @throws {UsageError} If it cannot be read; says in which column.
 */
export function parseRule(line: string): Rule | undefined {
  const text = trimSpaces(line.replace(/\r$/, ""));
  if (text === "" || text.startsWith("#")) return undefined;
  if (/[\n\0]/.test(text)) throw ruleError(text, text.search(/[\n\0]/), "a rule is one line of text");
  const includes = text.startsWith("!");
  const { conditions, end } = parseConditions(text, includes ? 1 : 0);
  const pattern = text.slice(end);
  if (conditions.length === 0) return { text, includes, conditions, pattern: parsePattern(pattern) };
  if (pattern.endsWith("/")) {
    throw ruleError(
      text,
      text.length - 1,
      `no directory meets a condition; for the files below it, write ${quote(`${pattern}**`)}`,
    );
  }
  return { text, includes, conditions, pattern: pattern === "" ? anything : parsePattern(pattern) };
}

const anything: Pattern = {
  isRoot: false,
  isAnchored: false,
  matches: (path) => path !== "",
  mayMatchBelow: () => true,
};

/**
 * The line of a rule that was given on the command line as what it includes or excludes.
 *
 * @throws {UsageError} If it says the opposite itself, says nothing, or cannot be read.
 */
export function ruleLine(given: string, includes: boolean): string {
  if (given.startsWith("!")) {
    const other = includes ? "exclude" : "include";
    throw new UsageError(
      `Cannot use rule ${
        quote(given)
      }: for the opposite there is --${other}; a name that begins so is written "\\!…"`,
    );
  }
  const escaped = given.startsWith("#") ? `\\${given}` : given;
  const line = includes ? `!${escaped}` : escaped;
  if (!parseRule(line) || line === "!") throw new UsageError(`Cannot use rule ${quote(given)}: it is empty`);
  return line;
}

/** Whether a rule speaks of the entry at this path (a byte text). Without facts of a file, its conditions are not met. */
export function matchesRule(
  rule: Rule,
  path: string,
  { isDirectory, facts, nowMs }: { isDirectory: boolean; facts: Readonly<Facts> | undefined; nowMs: number },
): boolean {
  if (!rule.pattern.matches(path, isDirectory)) return false;
  if (rule.conditions.length === 0) return true;
  return !isDirectory && facts !== undefined &&
    rule.conditions.every((condition) => condition.isMet(path, facts, nowMs));
}

/** As git: spaces at the end mean nothing unless a backslash stands before them. */
function trimSpaces(line: string): string {
  let end = 0;
  for (let i = 0; i < line.length; i++) {
    if (line[i] === "\\") end = Math.min(line.length, ++i + 1);
    else if (line[i] !== " ") end = i + 1;
  }
  return line.slice(0, end);
}
