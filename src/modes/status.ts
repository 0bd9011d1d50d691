/**
 * `status`.
 * @module
 */
import { parseAddress } from "../base/address.ts";
import { CommandError, UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { DaemonStatus } from "../base/status.ts";
import { callControl, type Daemon, findDaemon, findDaemons } from "../control/client.ts";
import { fetchStatus } from "../control/http.ts";
import { daemonHelp, daemonOptions, daemonTable } from "./daemon_options.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, type OptionValues, parseArguments } from "./options.ts";
import { formatStatus } from "./status_text.ts";

/** Text of `help status`. */
export const help = `\
Usage: understudy status [ADDRESS] [options]

Shows what the running daemons of a state directory do, one screen each. ADDRESS is the HOST:PORT that a
daemon was given with --http.

Options:
${daemonHelp}\
  -j, --json        prints the status of one daemon as JSON
  -h, --help        this text

Exit codes: 0 done, 1 no daemon answers, 2 usage, 130 interrupted.
`;

const table = { ...daemonTable, json: flag("j") };

/** Runs `status`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options, positionals } = parseArguments(args, {
    command: "status",
    options: table,
    positionals: ["[ADDRESS]"],
    later: ["watch"],
  });
  const statuses = positionals.length > 0
    ? [await statusAt(positionals[0], options, io)]
    : await Promise.all((await chooseDaemons(options, io)).map((daemon) => statusOf(daemon, io)));
  if (options.json) printJson(io, statuses[0]);
  else io.stdout(statuses.map((status) => formatStatus(status, io.clock.nowMs())).join("\n"));
  return exitCodes.done;
}

async function statusAt(
  address: string,
  options: OptionValues<typeof table>,
  io: Io,
): Promise<DaemonStatus> {
  const other = (["state", "name", "root"] as const).find((name) => options[name] !== undefined);
  if (other !== undefined) throw new UsageError(`Cannot use --${other}: ADDRESS names the daemon already`);
  return await fetchStatus(parseAddress(address, { hostname: "127.0.0.1" }), io.signal);
}

/** For people all daemons, for a script exactly one. */
async function chooseDaemons(options: OptionValues<typeof table>, io: Io): Promise<Daemon[]> {
  const wanted = daemonOptions(options, io);
  const one = options.json || wanted.name !== undefined || wanted.root !== undefined;
  if (one) return [await findDaemon(wanted)];
  const daemons = await findDaemons(wanted.state);
  if (daemons.length === 0) {
    throw new CommandError(`Cannot reach a daemon: none runs on ${quote(wanted.state)}`);
  }
  return daemons;
}

async function statusOf(daemon: Daemon, io: Io): Promise<DaemonStatus> {
  return await callControl(daemon.path, "status", {}, { signal: io.signal });
}
