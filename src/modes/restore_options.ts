/**
 * Help and options of `restore`.
 * @module
 */
import { resolve } from "node:path";
import { ProtocolError, UsageError } from "../base/errors.ts";
import { checkRelativePath, quote } from "../base/path.ts";
import type { Io } from "./mode.ts";
import { flag, many, nonEmpty, one, parseArguments, word } from "./options.ts";
import { parseTargetName, type TargetName } from "./target_name.ts";
import { type GivenLine, givenLines, ruleHelp, ruleTable } from "./rule_options.ts";
import {
  targetHelp,
  transferHelp,
  type TransferOptions,
  transferOptions,
  transferTable,
} from "./transfer_options.ts";

const overwriteRules = ["older", "all", "none"] as const;

/** Text of `help restore`. */
export const help = `\
Usage: understudy restore TARGET DIR [options]

Brings what TARGET keeps back into DIR, which is created where it is missing.

${targetHelp}
Options:
  -p, --path P             only P and what is below it, relative to the replica; may be given several times
${ruleHelp}\
  --accounts               also rebuilds the source's users, groups and memberships here, with the same numbers where
                           they are free; else files follow the numbers that they have here
  --owners number|name     whom files belong to: the same numbers, or whoever has the owner's name here (default number)
  --force                  with --accounts: changes users of the same name that Understudy did not make, too
  --overwrite WHICH        existing files that differ: older (default: a newer file is kept and reported), all or none
  --delete                 removes what DIR has and the replica has not
  -n, --dry-run            prints what would be done and changes nothing
  --progress               prints progress lines where stdout is no terminal, too
${transferHelp}\
  --json                   prints the summary as JSON
  -h, --help               this text

Exit codes: 0 restored, 1 failed, 2 usage, 3 done but some files were kept or could not be written, 130 interrupted.
`;

/** What `restore` was asked for. */
export interface RestoreOptions extends TransferOptions {
  target: TargetName;
  /** Absolute path of the directory to restore into. */
  directory: string;
  /** Paths relative to the replica; none means everything. */
  paths: string[];
  overwrite: typeof overwriteRules[number];
  /** Lines of rules: what they leave out is neither restored nor removed. */
  given: GivenLine[];
  /** What the directory has and the replica has not is removed. */
  delete: boolean;
  dryRun: boolean;
  /** The accounts of the source are rebuilt here. */
  accounts: boolean;
  /** Whom what is restored belongs to. */
  owners: "number" | "name";
  /** Accounts of others may be changed, too. */
  force: boolean;
  /** Progress is asked for even where nobody seems to look. */
  progress: boolean;
}

/**
 * Reads the arguments of `restore`.
 *
 * @throws {UsageError} If they cannot be used.
 */
export function parseRestoreOptions(args: string[], io: Pick<Io, "env">): RestoreOptions {
  const { options, positionals, sequence } = parseArguments(args, {
    command: "restore",
    options: {
      ...transferTable,
      ...ruleTable,
      path: many(nonEmpty, "p"),
      overwrite: one(word(overwriteRules)),
      delete: flag(),
      "dry-run": flag("n"),
      progress: flag(),
      accounts: flag(),
      owners: one(word(["number", "name"])),
      force: flag(),
    },
    positionals: ["TARGET", "DIR"],
    later: ["at"],
  });
  if (options.force && !options.accounts) {
    throw new UsageError("Cannot use --force: it says how --accounts are rebuilt");
  }
  if (options.accounts && options.cipher === "none") {
    throw new UsageError(
      "Cannot use --accounts: with --cipher none everybody on the line could read passwords",
    );
  }
  return {
    ...transferOptions(options),
    given: givenLines(sequence),
    target: parseTargetName(positionals[0], { home: io.env("HOME") }),
    directory: resolve(positionals[1]),
    paths: options.path.map(parseReplicaPath),
    overwrite: options.overwrite ?? "older",
    delete: options.delete,
    dryRun: options["dry-run"],
    accounts: options.accounts,
    owners: options.owners ?? "number",
    force: options.force,
    progress: options.progress,
  };
}

/** A path below the replica's root: `./` before it and `/` behind it are the user's habit and mean nothing. */
function parseReplicaPath(text: string): string {
  const path = text.replace(/^(\.\/+)+/, "").replace(/\/+$/, "");
  try {
    checkRelativePath(path);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new UsageError(
      `Cannot use --path ${quote(text)}: it must be relative to the replica, without ".."`,
    );
  }
  if (path === "" || path === ".") {
    throw new UsageError(`Cannot use --path ${quote(text)}: it names everything`);
  }
  return path;
}
