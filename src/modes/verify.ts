/**
 * `verify`.
 * @module
 */
import { CommandError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { VerifyReport } from "../base/status.ts";
import { callControl, type Daemon, findDaemon } from "../control/client.ts";
import { daemonHelp, daemonOptions, daemonTable } from "./daemon_options.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, parseArguments } from "./options.ts";
import { formatDifference, formatReport } from "./verify_text.ts";

/** A large tree takes as long as it takes; the longest that a timer can wait. */
const TIMEOUT_MS = 2 ** 31 - 1;

/** Text of `help verify`. */
export const help = `\
Usage: understudy verify [--repair] [--content] [options]

Compares the whole tree of a running source with each of its targets, now, and lists what differs and which
side that is of. What is still being changed is no difference: it is looked at again when it is on the target.

Options:
  --repair          heals what differs: the targets are made equal to the source again. What the source does not
                    have is removed there
  --content         compares the contents of all files too, by digests that both sides make
${daemonHelp}\
  -j, --json        prints what was found as JSON
  -h, --help        this text

Exit codes: 0 equal, or all was healed; 1 failed, or not everything could be compared; 2 usage; 3 differences were
found (and with --repair not all of them healed), 130 interrupted.
`;

/** Runs `verify`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options } = parseArguments(args, {
    command: "verify",
    options: { ...daemonTable, repair: flag(), content: flag(), json: flag("j") },
    positionals: [],
  });
  const daemon = await findSource(daemonOptions(options, io));
  const request = { repair: options.repair, contents: options.content };
  const { targets } = await callControl(daemon.path, "verify", request, {
    timeoutMs: TIMEOUT_MS,
    signal: io.signal,
  });
  if (options.json) printJson(io, { targets });
  else for (const report of targets) print(report, io);
  const incomplete = targets.filter(({ complete }) => !complete);
  if (incomplete.length > 0) throw new CommandError(notCompared(incomplete));
  return targets.every(({ found, healed }) => found === healed) ? exitCodes.done : exitCodes.partial;
}

async function findSource(options: ReturnType<typeof daemonOptions>): Promise<Daemon> {
  try {
    return await findDaemon(options);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const wayOut = `start "understudy watch-source DIR --to TARGET" first, or compare once with ` +
      `"understudy mirror DIR TARGET --content --dry-run"`;
    throw new CommandError(`${error.message}; ${wayOut}`, { cause: error });
  }
}

function print(report: VerifyReport, io: Io): void {
  for (const difference of report.differences) io.stdout(formatDifference(difference));
  const unlisted = report.found - report.differences.length;
  if (unlisted > 0) io.stdout(`and ${unlisted} more\n`);
  io.stdout(formatReport(report));
}

function notCompared(reports: VerifyReport[]): string {
  const reasons = reports.map(({ target, reason }) => `${quote(target)}: ${reason}`);
  return `Cannot verify everything: ${reasons.join("; ")}`;
}
