/**
 * `hold` and `resume`.
 * @module
 */
import { CommandError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { HoldResult } from "../base/status.ts";
import { durationOption } from "../base/units.ts";
import { ANSWER_GRACE_MS, callControl, findDaemon } from "../control/client.ts";
import { daemonHelp, daemonOptions, daemonTable } from "./daemon_options.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, nonEmpty, one, parseArguments } from "./options.ts";
import { TIMEOUT_DEFAULT_MS, timeoutTable } from "./timeout_option.ts";

const table = { ...daemonTable, target: one(nonEmpty, "t"), json: flag("j") };

/** Text of `help hold`. */
export const help = `\
Usage: understudy hold [--target TARGET] [--timeout 30s] [options]

Holds what a running source sends: when it returns, the replica is at rest and stays as it is until
"understudy resume", so that a backup program can read it. Changes wait on the source meanwhile, and the hold
outlasts restarts. Run "understudy flush" before, for a replica that has every change made until then.

Options:
  -t, --target TARGET  holds this one only, named as in "understudy status" (default: all)
  --timeout TIME       how long to wait for what is on its way (default 30s)
${daemonHelp}\
  -j, --json           prints the answer as JSON
  -h, --help           this text

Exit codes: 0 held and at rest, 1 held but not at rest at the timeout, or failed, 2 usage, 130 interrupted.
`;

/** Text of `help resume`. */
export const resumeHelp = `\
Usage: understudy resume [--target TARGET] [options]

Ends a hold: what waited is sent, in order. Returns at once; "understudy flush" waits for it.

Options:
  -t, --target TARGET  resumes this one only, named as in "understudy status" (default: all)
${daemonHelp}\
  -j, --json           prints the answer as JSON
  -h, --help           this text

Exit codes: 0 resumed, 1 failed, 2 usage, 130 interrupted.
`;

/** Runs `hold`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options } = parseArguments(args, {
    command: "hold",
    options: { ...table, ...timeoutTable },
    positionals: [],
  });
  const timeoutMs = options.timeout ?? TIMEOUT_DEFAULT_MS;
  const daemon = await findDaemon(daemonOptions(options, io));
  const result = await callControl(daemon.path, "hold", { target: options.target, timeoutMs }, {
    timeoutMs: timeoutMs + ANSWER_GRACE_MS,
    signal: io.signal,
  });
  if (options.json) printJson(io, result);
  const restless = result.targets.filter(({ isQuiet }) => !isQuiet).map(({ target }) => quote(target));
  if (restless.length === 0) return exitCodes.done;
  throw new CommandError(
    `Cannot tell that ${restless.join(", ")} is at rest after ${
      durationOption(timeoutMs)
    }: it is held, but ` +
      "what was sent before was not acked yet",
  );
}

/** Runs `resume`. */
export async function runResume(args: string[], io: Io): Promise<ExitCode> {
  const { options } = parseArguments(args, { command: "resume", options: table, positionals: [] });
  const daemon = await findDaemon(daemonOptions(options, io));
  const result: HoldResult = await callControl(daemon.path, "resume", { target: options.target }, {
    signal: io.signal,
  });
  if (options.json) printJson(io, result);
  return exitCodes.done;
}
