/**
 * `flush`.
 * @module
 */
import { CommandError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { durationOption } from "../base/units.ts";
import type { FlushResult } from "../base/status.ts";
import { ANSWER_GRACE_MS, callControl, findDaemon } from "../control/client.ts";
import { daemonHelp, daemonOptions, daemonTable } from "./daemon_options.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, parseArguments } from "./options.ts";
import { printProblems } from "./problem_lines.ts";
import { TIMEOUT_DEFAULT_MS, timeoutTable } from "./timeout_option.ts";

/** Text of `help flush`. */
export const help = `\
Usage: understudy flush [--timeout 30s] [options]

Returns when every change made before the call is committed on every target of a running source, as its commit mode
means it: see "understudy help commit". What could not be read or applied is listed.

Options:
  --timeout TIME    how long to wait, as in 500ms, 30s, 5m (default 30s)
${daemonHelp}\
  -j, --json        prints the answer as JSON
  -h, --help        this text

Exit codes: 0 committed, 1 not committed at the timeout, or failed, 2 usage, 3 committed but for files that could not
be read or applied, 130 interrupted.
`;

/** Runs `flush`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options } = parseArguments(args, {
    command: "flush",
    options: { ...daemonTable, ...timeoutTable, json: flag("j") },
    positionals: [],
  });
  const timeoutMs = options.timeout ?? TIMEOUT_DEFAULT_MS;
  const daemon = await findDaemon(daemonOptions(options, io));
  const result = await callControl(daemon.path, "flush", { timeoutMs }, {
    timeoutMs: timeoutMs + ANSWER_GRACE_MS,
    signal: io.signal,
  });
  if (options.json) printJson(io, result);
  else printProblems(result.problems, io);
  if (result.reason !== "") throw new CommandError(`Cannot flush: ${result.reason}`);
  if (!result.committed) throw new CommandError(notCommitted(result, timeoutMs));
  return result.problems.length > 0 ? exitCodes.partial : exitCodes.done;
}

function notCommitted(result: FlushResult, timeoutMs: number): string {
  const waiting = result.waiting.map(({ target, state, reason }) =>
    `${quote(target)} is ${state}${reason === "" ? "" : ` (${reason})`}`
  );
  const state = waiting.length === 0 ? "" : `: ${waiting.join(", ")}`;
  return `Cannot flush within ${durationOption(timeoutMs)}${state}`;
}
