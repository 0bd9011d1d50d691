/**
 * `help [COMMAND]`.
 * @module
 */
import { closest } from "../base/closest.ts";
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { type Command, commands, laterCommands } from "./commands.ts";
import { type ExitCode, exitCodes, type Io } from "./mode.ts";
import { parseArguments } from "./options.ts";

/** Text of `help help`. */
export const help = `\
Usage: understudy help [COMMAND]

Shows what a command does and takes; without COMMAND, which commands there are.
`;

/** Runs `help`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { positionals } = parseArguments(args, { command: "help", options: {}, positionals: ["[COMMAND]"] });
  io.stdout(positionals.length === 0 ? overview() : await findCommand(positionals[0]).loadHelp());
  return exitCodes.done;
}

/** Text of `help` without a command. */
export function overview(): string {
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(14)}${summary}\n`);
  return `\
Usage: understudy COMMAND [options]

Keeps a live, usable replica of a directory on another machine or disk, and hands it back.

Commands:
${lines.join("")}
"understudy help COMMAND" says more about one.

Exit codes: 0 done, 1 failed, 2 usage, 3 done but some files could not be read or applied, 130 interrupted.
`;
}

/**
 * The command of a name.
 *
 * @throws {UsageError} If this version has none; says which was probably meant.
 */
export function findCommand(name: string): Command {
  if (Object.hasOwn(commands, name)) return commands[name];
  if (laterCommands.includes(name)) throw new UsageError(`Cannot run ${quote(name)}: not in this version`);
  const near = closest(name, Object.keys(commands));
  const hint = near === undefined ? `see "understudy help"` : `did you mean "${near}"`;
  throw new UsageError(`Cannot run ${quote(name)}: there is no such command; ${hint}`);
}
