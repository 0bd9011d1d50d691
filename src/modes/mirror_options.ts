/**
 * Help and options of `mirror`.
 * @module
 */
import { resolve } from "node:path";
import { limits } from "../base/limits.ts";
import type { MassThreshold } from "../source/mass_guard.ts";
import { guardTable, guardThresholds } from "./guard_options.ts";
import type { Io } from "./mode.ts";
import type { OpenFileRule } from "../target/open_files.ts";
import { openFilesHelp, openFilesOption, openFilesTable } from "./open_files_option.ts";
import { flag, parseArguments } from "./options.ts";
import { parseTargetName, type TargetName } from "./target_name.ts";
import {
  fileSystemHelp,
  fileSystemTable,
  givenLines,
  ruleHelp,
  type RuleOptions,
  ruleTable,
} from "./rule_options.ts";
import { accountHelp, type AccountOptions, accountOptions, accountTable } from "./account_options.ts";
import {
  targetHelp,
  transferHelp,
  type TransferOptions,
  transferOptions,
  transferTable,
} from "./transfer_options.ts";

/** Text of `help mirror`. */
export const help = `\
Usage: understudy mirror DIR TARGET [options]

Makes TARGET equal to DIR in one pass, prints a summary (files, bytes read, bytes sent), and exits.

${targetHelp}
Options:
  -n, --dry-run            prints what would be done and changes nothing
  --no-delete              keeps what the target has and DIR has not
  --force-delete           deletes also very much at once: without it that is held back, and the exit code is 3
  --guard-deletes N|N%|off what is very much (default ${limits.guardDeletesCount} entries that are ${
  Math.round(limits.guardDeletesShare * 100)
}% of all, too)
  --full                   sends every file whole, without comparing blocks
  --content                compares the contents of files that look equal, too, by digests that both sides make
${ruleHelp}${fileSystemHelp}\
  --delete-excluded        removes what the target has and the rules leave out; otherwise that stays
  --progress               prints progress lines where stdout is no terminal, too
${accountHelp}${transferHelp}${openFilesHelp}\
  --json                   prints the summary as JSON
  -h, --help               this text

Exit codes: 0 equal, 1 failed, 2 usage, 3 done but some files could not be read or applied, 130 interrupted.
`;

/** What `mirror` was asked for. */
export interface MirrorOptions extends TransferOptions, RuleOptions, AccountOptions {
  /** What becomes of files that programs use in a local target. */
  openFiles: OpenFileRule;
  /** Absolute path of the source directory. */
  root: string;
  target: TargetName;
  dryRun: boolean;
  /** What the target has and the source has not is removed. */
  delete: boolean;
  /** What the target has and the rules leave out is removed, too. */
  deleteExcluded: boolean;
  /** How much is not deleted at once; `undefined`: everything is deleted. */
  guardDeletes: MassThreshold | undefined;
  full: boolean;
  /** Contents of files that look equal are compared, too. */
  content: boolean;
  /** Progress is asked for even where nobody seems to look. */
  progress: boolean;
}

/**
 * Reads the arguments of `mirror`.
 *
 * @throws {UsageError} If they cannot be used.
 */
export function parseMirrorOptions(args: string[], io: Pick<Io, "env">): MirrorOptions {
  const { options, positionals, sequence } = parseArguments(args, {
    command: "mirror",
    options: {
      ...transferTable,
      ...openFilesTable,
      ...ruleTable,
      ...fileSystemTable,
      ...accountTable,
      "delete-excluded": flag(),
      "dry-run": flag("n"),
      "no-delete": flag(),
      "force-delete": flag(),
      "guard-deletes": guardTable["guard-deletes"],
      full: flag(),
      content: flag(),
      progress: flag(),
    },
    positionals: ["DIR", "TARGET"],
  });
  return {
    ...transferOptions(options),
    ...accountOptions(options),
    openFiles: openFilesOption(options),
    given: givenLines(sequence),
    oneFileSystem: options["one-file-system"],
    deleteExcluded: options["delete-excluded"],
    root: resolve(positionals[0]),
    target: parseTargetName(positionals[1], { home: io.env("HOME") }),
    dryRun: options["dry-run"],
    delete: !options["no-delete"],
    guardDeletes: options["force-delete"]
      ? undefined
      : guardThresholds({ "guard-rewrites": undefined, ...options }).deletions,
    full: options.full,
    content: options.content,
    progress: options.progress,
  };
}
