/**
 * Options that choose what is in a set: `--include`, `--exclude`, `--set`, `--one-file-system`.
 * @module
 */
import { resolve } from "node:path";
import { errorCode, UsageError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { quote } from "../base/path.ts";
import { formatSize } from "../base/units.ts";
import { parseRuleFile, ruleListOf, type SetLine } from "../rules/set_lines.ts";
import type { RuleList } from "../rules/rule_list.ts";
import { ruleLine } from "../rules/rule.ts";
import { flag, type GivenOption, many, nonEmpty } from "./options.ts";

/** The table of the options. */
export const ruleTable = {
  include: many((text) => (ruleLine(text, true), text), "i"),
  exclude: many((text) => (ruleLine(text, false), text), "x"),
  set: many(nonEmpty),
};

/** The table of options that choose file systems. */
export const fileSystemTable = { "one-file-system": flag() };

/** What both tables read. */
export interface RuleOptions {
  /** Lines of rules, in the order in which they were given. */
  given: GivenLine[];
  /** Nothing on other file systems than the root's is in the set. */
  oneFileSystem: boolean;
}

/** A line as it was given. */
export type GivenLine = Omit<SetLine, "isGiven">;

/** The part of a command's help that {@linkcode fileSystemTable} makes. */
export const fileSystemHelp = `\
  --one-file-system        leaves out other file systems mounted below DIR (their mount points stay, empty)
`;

/** The part of a command's help that {@linkcode ruleTable} makes. */
export const ruleHelp = `\
  -x, --exclude RULE       leaves out what RULE matches: a gitignore pattern, or a condition such as size>100M,
                           age>30d or ext:iso,img with or without a pattern behind it
  -i, --include RULE       takes it in again. The last rule that matches decides. If the first rule is an include,
                           nothing else is in the set: --include /etc --include /home
  --set FILE               rules from a file, one a line, "!" before those that include
`;

/**
 * Lines of rules, from the options in the order in which they were given.
 *
 * @param sequence As `parseArguments` gave it.
 * @throws {UsageError} If a rule or a file cannot be used.
 */
export function givenLines(sequence: readonly GivenOption[]): GivenLine[] {
  const given: GivenLine[] = [];
  for (const { name, text } of sequence) {
    if (name === "set") given.push(...readRuleFile(text));
    if (name !== "include" && name !== "exclude") continue;
    const includes = name === "include";
    // Whoever begins by naming what is in means that the rest is not.
    if (includes && given.length === 0) given.push({ text: "/", origin: COMMAND_LINE });
    given.push({ text: ruleLine(text, includes), origin: COMMAND_LINE });
  }
  return given;
}

/** What was given, as rules of one pass. */
export function rulesOfOnePass({ given }: Pick<RuleOptions, "given">): RuleList {
  return ruleListOf(given.map((line) => ({ ...line, isGiven: true })));
}

const COMMAND_LINE = "command line";

/** Reads a file of rules. @throws {UsageError} If it cannot be read, or a line of it not be used. */
export function readRuleFile(file: string): GivenLine[] {
  const path = resolve(file);
  const origin = `file ${quote(path)}`;
  return parseRuleFile(readFile(path), path).map((text) => ({ text, origin }));
}

function readFile(path: string): Uint8Array {
  try {
    const { size } = Deno.statSync(path);
    if (size > limits.ruleFileSizeMax) {
      throw new UsageError(
        `Cannot use ${quote(path)}: it is larger than ${formatSize(limits.ruleFileSizeMax)}`,
      );
    }
    return Deno.readFileSync(path);
  } catch (error) {
    if (!errorCode(error)) throw error;
    const reason = errorCode(error) === "ENOENT" ? "there is no such file" : errorCode(error);
    throw new UsageError(`Cannot use ${quote(path)}: ${reason}`, { cause: error });
  }
}
