/**
 * `connect` and `disconnect`.
 * @module
 */
import { callControl, findDaemon } from "../control/client.ts";
import { daemonHelp, daemonOptions, daemonTable } from "./daemon_options.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, parseArguments } from "./options.ts";
import { formatTargetName, parseTargetName } from "./target_name.ts";
import { targetHelp } from "./transfer_options.ts";

/** Pairing asks the other side. */
const CONNECT_MS = 60_000;

/** Text of `help connect`. */
export const help = `\
Usage: understudy connect TARGET [options]

Makes a running source replicate to a further target: it is mirrored, then kept equal, and that outlasts
restarts. The other targets go on meanwhile.

${targetHelp}
Options:
${daemonHelp}\
  -j, --json        prints the targets of the set as JSON
  -h, --help        this text

Exit codes: 0 connected, 1 failed, 2 usage, 130 interrupted.
`;

/** Text of `help disconnect`. */
export const disconnectHelp = `\
Usage: understudy disconnect TARGET [options]

Ends replication to a target of a running source. What the target has stays there, and counts when it is connected
again. A target that --to names comes back when the source is started again.

Options:
${daemonHelp}\
  -j, --json        prints the targets that are left as JSON
  -h, --help        this text

Exit codes: 0 disconnected, 1 failed, 2 usage, 130 interrupted.
`;

/** Runs `connect`. */
export function run(args: string[], io: Io): Promise<ExitCode> {
  return change("connect", args, io);
}

/** Runs `disconnect`. */
export function runDisconnect(args: string[], io: Io): Promise<ExitCode> {
  return change("disconnect", args, io);
}

async function change(command: "connect" | "disconnect", args: string[], io: Io): Promise<ExitCode> {
  const { options, positionals } = parseArguments(args, {
    command,
    options: { ...daemonTable, json: flag("j") },
    positionals: ["TARGET"],
  });
  const name = parseTargetName(positionals[0], { home: io.env("HOME") });
  // A path is told from where this command is, not from where the daemon is.
  const target = name.kind === "token" ? name.token : formatTargetName(name);
  const daemon = await findDaemon(daemonOptions(options, io));
  const result = await callControl(daemon.path, command, { target }, {
    timeoutMs: CONNECT_MS,
    signal: io.signal,
  });
  if (options.json) printJson(io, result);
  return exitCodes.done;
}
