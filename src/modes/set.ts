/**
 * `set`.
 * @module
 */
import { resolve } from "node:path";
import { CommandError, UsageError } from "../base/errors.ts";
import { checkRelativePath, quote } from "../base/path.ts";
import type { PurgeResult } from "../base/status.ts";
import { callControl, findDaemon } from "../control/client.ts";
import type { SetText } from "../control/api.ts";
import { formatRuleFile, placedRules, type SetChange } from "../rules/set_lines.ts";
import { daemonHelp, daemonOptions, daemonTable } from "./daemon_options.ts";
import { askSet } from "./known_sets.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, type OptionValues, parseArguments } from "./options.ts";
import { readRuleFile } from "./rule_options.ts";

/** Text of `help set`. */
export const help = `\
Usage: understudy set list | add RULE | remove RULE | export FILE | import FILE | purge [PATH] [options]

Shows and changes the rules of a replication set, whether its source runs or not. A running one follows at
once: what comes into the set is mirrored; what leaves it is replicated no more and stays on the targets as
leftover, counted in "status", until it is purged.

  list           the rules, and where each came from
  add RULE       adds a rule behind the others, so that it wins
  remove RULE    takes back a rule that stands in the set
  export FILE    writes the rules to FILE, comments included; - is stdout
  import FILE    replaces all rules by those of FILE
  purge [PATH]   shows the leftovers (at PATH and below); with --yes deletes them on the targets

A RULE is a line as in a gitignore file: it leaves out what it matches, or with "!" before it takes it in
again, and the last rule that matches decides. Beside git: "!/a/path" also reaches into a directory that is
left out; "/" alone leaves out everything that later rules do not take in; and conditions may stand before
the pattern, or alone: size>100M, age>30d, ext:iso,img.

Options:
  --yes             deletes what purge shows
${daemonHelp}\
  -j, --json        prints JSON
  -h, --help        this text

Exit codes: 0 done, 1 failed, or a purge that was not confirmed, 2 usage, 130 interrupted.
`;

const table = { ...daemonTable, yes: flag("y"), json: flag("j") };

type Options = OptionValues<typeof table>;

/** What each word behind `set` needs. */
const actions: Record<
  string,
  { argument?: string; run(argument: string, options: Options, io: Io): Promise<ExitCode> }
> = {
  list: { run: (_, options, io) => change({ kind: "list" }, options, io, printSet) },
  add: { argument: "RULE", run: (rule, options, io) => change({ kind: "add", rule }, options, io) },
  remove: { argument: "RULE", run: (rule, options, io) => change({ kind: "remove", rule }, options, io) },
  import: { argument: "FILE", run: importFile },
  export: { argument: "FILE", run: exportFile },
  purge: { argument: "[PATH]", run: purge },
};

/** A control command may have to wait for a busy daemon. */
const TIMEOUT_MS = 600_000;

/** Runs `set`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options, positionals } = parseArguments(args, {
    command: "set",
    options: table,
    positionals: ["ACTION", "[ARGUMENT]"],
  });
  const [word, argument] = positionals;
  const action = Object.hasOwn(actions, word) ? actions[word] : undefined;
  if (!action) {
    throw new UsageError(`Cannot run "set ${word}": it must be one of ${Object.keys(actions).join(", ")}`);
  }
  if (action.argument && !action.argument.startsWith("[") && argument === undefined) {
    throw new UsageError(`Cannot run "set ${word}": ${action.argument} is missing`);
  }
  if (!action.argument && argument !== undefined) {
    throw new UsageError(`Cannot run "set ${word}": "${argument}" is one argument too many`);
  }
  if (options.yes && word !== "purge") {
    throw new UsageError(`Cannot use --yes: "set ${word}" deletes nothing`);
  }
  return await action.run(argument, options, io);
}

async function change(
  wanted: SetChange,
  options: Options,
  io: Io,
  print: (text: SetText, io: Io) => void = () => {},
): Promise<ExitCode> {
  const text = await askSet(wanted, options, io);
  if (options.json) printJson(io, jsonOf(text));
  else print(text, io);
  return exitCodes.done;
}

function importFile(file: string, options: Options, io: Io): Promise<ExitCode> {
  const lines = readRuleFile(file).map(({ text }) => text);
  return change({ kind: "import", lines, origin: `file ${quote(resolve(file))}` }, options, io);
}

async function exportFile(file: string, options: Options, io: Io): Promise<ExitCode> {
  const { lines } = await askSet({ kind: "list" }, options, io);
  const bytes = formatRuleFile(lines);
  if (file === "-") {
    if (!lines.every(({ text }) => text.isWellFormed())) {
      throw new CommandError("Cannot print the rules: some are not UTF-8; export them to a file");
    }
    io.stdout(new TextDecoder().decode(bytes));
    return exitCodes.done;
  }
  try {
    Deno.writeFileSync(file, bytes);
  } catch (error) {
    throw new CommandError(`Cannot write ${quote(file)}: ${(error as Error).message}`, { cause: error });
  }
  return exitCodes.done;
}

async function purge(argument: string | undefined, options: Options, io: Io): Promise<ExitCode> {
  const path = argument?.replace(/^(\.\/+)+/, "").replace(/\/+$/, "");
  if (path !== undefined) checkPath(path);
  const daemon = await findDaemon(daemonOptions(options, io));
  const request = { paths: path === undefined ? undefined : [path], isConfirmed: options.yes };
  const result = await callControl(daemon.path, "purge", request, {
    timeoutMs: TIMEOUT_MS,
    signal: io.signal,
  });
  const count = result.targets.reduce((sum, target) => sum + target.count, 0);
  if (options.json) printJson(io, result);
  else printPurge(result, options.yes, io);
  return options.yes || count === 0 ? exitCodes.done : exitCodes.failed;
}

function checkPath(path: string): void {
  try {
    checkRelativePath(path);
  } catch (error) {
    throw new UsageError(`Cannot purge ${quote(path)}: it must be a path below the root of the set`, {
      cause: error,
    });
  }
}

function printPurge({ targets }: PurgeResult, isDone: boolean, io: Io): void {
  for (const { target, count, paths } of targets) {
    if (!isDone) { for (const path of paths) io.stdout(`${quote(path)}\n`); }
    const word = isDone ? "deleted" : "would delete";
    io.stdout(`${word} ${count} ${count === 1 ? "entry" : "entries"} on ${quote(target)}\n`);
  }
  if (!isDone && targets.some(({ count }) => count > 0)) io.stderr("understudy: add --yes to delete them\n");
}

function printSet({ set, root, lines }: SetText, io: Io): void {
  io.stdout(`set ${set}: ${quote(root)}\n`);
  const width = Math.max(0, ...lines.map(({ text }) => Math.min(40, text.length)));
  for (const [i, { text, origin }] of lines.entries()) {
    io.stdout(`${String(i + 1).padStart(4)}  ${shown(text).padEnd(width)}  (${origin})\n`);
  }
  if (placedRules(lines).length === 0) io.stdout("  no rules: everything is in the set\n");
}

/** A line for people: what would steer their terminal is escaped. */
function shown(text: string): string {
  const quoted = quote(text);
  return quoted === `"${text}"` ? text : quoted;
}

function jsonOf({ set, root, lines }: SetText): unknown {
  return { set, root, lines: lines.map(({ text, origin }, i) => ({ line: i + 1, text, origin })) };
}
