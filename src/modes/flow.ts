/**
 * `flow`.
 * @module
 */
import type { FlowStatus } from "../base/status.ts";
import { quote } from "../base/path.ts";
import { formatRate } from "../base/units.ts";
import { callControl, findDaemon } from "../control/client.ts";
import { flowBounds, formatFlowRules, parseFlowRules } from "../source/flow_rules.ts";
import { limitRate, limitRateHelp } from "./rate_option.ts";
import { daemonHelp, daemonOptions, daemonTable } from "./daemon_options.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, nonEmpty, one, parseArguments, type ValueReader } from "./options.ts";

/** Reads flow rules, as the text that is kept. */
export function sendWhen(windowBytes: number): ValueReader<string> {
  return (text) => formatFlowRules(parseFlowRules(text, flowBounds(windowBytes)));
}

/** The part of a help text that `--send-when` makes. */
export const sendWhenHelp = `\
  --send-when RULES        at-once (default), or with commas between: size=10M, count=1000, age=30s: changes gather
                           until any of these is reached, or a flush or a verify waits for them, and a large file
                           goes whole then; window=22:00-06:00: outside of these hours (local time) nothing is sent
`;

const table = {
  ...daemonTable,
  target: one(nonEmpty, "t"),
  "limit-rate": one(limitRate),
  // The source knows its window, and refuses what is more than it.
  "send-when": one(nonEmpty),
  json: flag("j"),
};

/** Text of `help flow`. */
export const help = `\
Usage: understudy flow [--target TARGET] [options]

Shows when and how fast a running source sends, or changes that at once. It outlasts restarts that are not told
otherwise. A target to which nothing may be sent now is "held", with the reason; an "understudy flush" that waits for
the targets (commit mode ack) sends what gathers, but not outside of the hours.

Options:
  -t, --target TARGET      of this one only, named as in "understudy status" (default: all)
${limitRateHelp}${sendWhenHelp}${daemonHelp}\
  -j, --json               prints the answer as JSON
  -h, --help               this text

Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.
`;

/** Runs `flow`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options } = parseArguments(args, { command: "flow", options: table, positionals: [] });
  const daemon = await findDaemon(daemonOptions(options, io));
  const request = {
    target: options.target,
    limitRate: options["limit-rate"],
    sendWhen: options["send-when"],
  };
  const result = await callControl(daemon.path, "flow", request, { signal: io.signal });
  if (options.json) printJson(io, result);
  else for (const each of result.targets) io.stdout(`${quote(each.target)}: ${formatFlow(each)}\n`);
  return exitCodes.done;
}

/** As in `at most 1 MiB/s; sent when age=30s`. */
export function formatFlow({ limitRate, sendWhen, reason }: Omit<FlowStatus, "target">): string {
  const speed = limitRate === 0 ? "as fast as it goes" : `at most ${formatRate(limitRate)}`;
  const when = sendWhen === "at-once" ? "at once" : `when ${sendWhen}`;
  return `sent ${when}, ${speed}${reason === "" ? "" : ` (${reason})`}`;
}
