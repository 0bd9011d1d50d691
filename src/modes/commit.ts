/**
 * `commit`.
 * @module
 */
import { UsageError } from "../base/errors.ts";
import type { CommitStatus, LogStatus } from "../base/status.ts";
import { formatSize } from "../base/units.ts";
import { callControl, findDaemon } from "../control/client.ts";
import { daemonHelp, daemonOptions, daemonTable } from "./daemon_options.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, parseArguments, word } from "./options.ts";

/** Modes of a watching interceptor, and one that needs another. */
export const commitMode = word(["ack", "real", "local"], ["remote"]);

/** What the modes mean, for help texts. */
export const commitHelp = `\
                           ack: when every target has made it durable (default)
                           real: when it was heard of, and is on its way or stacked up
                           local: when its command is in the transaction log on this disk
`;

/** Text of `help commit`. */
export const help = `\
Usage: understudy commit [MODE] [options]

Shows when a change of a running source counts as committed, or changes that: what "understudy flush" waits for.
It outlasts restarts that are not told another mode.

MODE is one of:
${commitHelp}
Options:
${daemonHelp}\
  -j, --json        prints mode and transaction log as JSON
  -h, --help        this text

Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.
`;

/** Runs `commit`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options, positionals } = parseArguments(args, {
    command: "commit",
    options: { ...daemonTable, json: flag("j") },
    positionals: ["[MODE]"],
  });
  const mode = positionals[0] === undefined ? undefined : readMode(positionals[0]);
  const daemon = await findDaemon(daemonOptions(options, io));
  const result: CommitStatus = await callControl(daemon.path, "commit", { mode }, { signal: io.signal });
  if (options.json) printJson(io, result);
  else io.stdout(`${result.commit}, ${formatLog(result.log)}\n`);
  return exitCodes.done;
}

/** As in `transaction log writing: 12 commands, 4 KiB`. */
export function formatLog({ state, reason, count, bytes }: LogStatus): string {
  const held = count > 0 ? `: ${count} commands, ${formatSize(bytes)}` : "";
  return `transaction log ${state}${reason === "" ? "" : ` (${reason})`}${held}`;
}

function readMode(text: string): "ack" | "real" | "local" {
  try {
    return commitMode(text);
  } catch (error) {
    throw new UsageError(
      `Cannot use commit mode "${text}": ${error instanceof Error ? error.message : error}`,
    );
  }
}
