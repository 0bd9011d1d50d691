/**
 * `guard`.
 * @module
 */
import { CommandError, UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { GuardStatus } from "../base/status.ts";
import { formatDuration } from "../base/units.ts";
import { callControl, findDaemon } from "../control/client.ts";
import { daemonHelp, daemonOptions, daemonTable } from "./daemon_options.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, parseArguments } from "./options.ts";

/** Text of `help guard`. */
export const help = `\
Usage: understudy guard list [options]
       understudy guard confirm ID [options]
       understudy guard refuse ID [options]

When very much is deleted or rewritten at once, a running source does not send that: what the targets have may be all
that is left. Everything else goes on. "list" shows what waits, and what was refused; "confirm" sends it; "refuse" lets
the targets keep what they have, over restarts. What was refused can be confirmed later.

Where the root is another directory than before (restored to a new disk, say), its files are replicated, and what it
lacks stays on the targets: "confirm root" makes it the root of the set, and deletions go again.

Options:
${daemonHelp}\
  -j, --json        prints what is shown as JSON
  -h, --help        this text

Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.
`;

const states = { confirm: "confirmed", refuse: "refused" } as const;

/** Runs `guard`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options, positionals } = parseArguments(args, {
    command: "guard",
    options: { ...daemonTable, json: flag("j") },
    positionals: ["list|confirm|refuse", "[ID]"],
  });
  const [action, id] = positionals;
  if (action === "list") {
    if (id !== undefined) throw new UsageError(`Cannot run "guard list": "${id}" is one argument too many`);
    const daemon = await findDaemon(daemonOptions(options, io));
    print(guardsOf(await callControl(daemon.path, "status", {}, { signal: io.signal })), options, io);
    return exitCodes.done;
  }
  if (action !== "confirm" && action !== "refuse") {
    throw new UsageError(`Cannot run "guard ${action}": it is list, confirm ID or refuse ID`);
  }
  if (id === undefined) throw new UsageError(`Cannot run "guard ${action}": ID is missing; see "guard list"`);
  const daemon = await findDaemon(daemonOptions(options, io));
  const guard = await callControl(daemon.path, "guard", { id, state: states[action] }, { signal: io.signal });
  if (options.json) printJson(io, guard);
  else io.stdout(`${states[action]} ${formatGuard(guard, io.clock.nowMs())}`);
  return exitCodes.done;
}

/** One record for people. */
export function formatGuard(
  { id, kind, state, count, of, paths, since }: GuardStatus,
  nowMs: number,
): string {
  const age = formatDuration(Math.max(0, nowMs - Date.parse(since)));
  if (kind === "root") return `${id}: another directory than before, ${state}, since ${age}\n`;
  const what = kind === "deletions" ? "deletions" : "rewritten files";
  const shown = paths.slice(0, 5).map((path) => quote(path)).join(", ");
  return `${id}: ${count} ${what} of ${of} entries, ${state}, since ${age}: ${shown}${
    paths.length > 5 ? ", …" : ""
  }\n`;
}

function guardsOf(status: { role: string; guards?: GuardStatus[] }): GuardStatus[] {
  if (status.guards === undefined) {
    throw new CommandError(`Cannot list guards: the daemon is a ${status.role}`);
  }
  return status.guards;
}

function print(guards: GuardStatus[], { json }: { json: boolean }, io: Io): void {
  if (json) return printJson(io, guards);
  for (const guard of guards) io.stdout(formatGuard(guard, io.clock.nowMs()));
  if (guards.length === 0) io.stdout("nothing is held back\n");
}
