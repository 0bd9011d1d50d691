/**
 * The system's own programs for accounts (shadow-utils): they keep its locks, its four files and its habits.
 *
 * ```
 * make group     groupadd [-r] -g GID NAME
 * make user      useradd [-r] -M -N -u UID -g GID -c GECOS -d HOME -s SHELL NAME
 * change user    usermod …            set groups   usermod -G A,B NAME
 * set password   chpasswd -e          the hash goes through a pipe, where no list of processes shows it
 * ```
 *
 * Fields were checked (`checkAccounts`): none begins an option or ends a line.
 * @module
 */
import { CommandError } from "../base/errors.ts";
import { pathToBytes, quote } from "../base/path.ts";
import type { AccountStep } from "./plan.ts";

/** A program with its arguments and what it reads. */
export interface AccountCommand {
  program: string;
  args: string[];
  input?: string;
}

/** Directories of the system's programs: not all of them are in every user's PATH. */
const PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Numbers below it are a system's own: such accounts have no ageing passwords and no subordinate numbers. */
const SYSTEM_NUMBERS = 1_000;

/** The command that does a step. */
export function commandOf(step: AccountStep): AccountCommand {
  switch (step.do) {
    case "make group":
      return { program: "groupadd", args: [...systemFlag(step.gid), "-g", `${step.gid}`, step.name] };
    case "make user": {
      const { uid, gid, gecos, home, shell } = step.account;
      const known = ["-M", "-N", "-u", `${uid}`, "-g", `${gid}`, "-c", gecos, "-d", home || "/"];
      // No shell is the system's own choice; that of the source was `/bin/sh`, by passwd(5).
      return {
        program: "useradd",
        args: [...systemFlag(uid), ...known, "-s", shell || "/bin/sh", step.name],
      };
    }
    case "change user": {
      const options = { gid: "-g", gecos: "-c", home: "-d", shell: "-s" };
      const args = step.fields.flatMap((field) => [options[field], `${step.account[field]}`]);
      return { program: "usermod", args: [...args, step.name] };
    }
    case "set groups":
      return { program: "usermod", args: ["-G", step.groups.join(","), step.name] };
    case "set password":
      return { program: "chpasswd", args: ["-e"], input: `${step.name}:${step.hash}\n` };
  }
}

/**
 * Runs a command to its end.
 *
 * @throws {CommandError} If the program is missing, or failed: with its first words.
 */
export async function runAccountCommand(command: AccountCommand): Promise<void> {
  const isUnicode = command.args.every((arg) => arg.isWellFormed());
  const { program, args, input } = isUnicode ? command : byShell(command);
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command("/usr/bin/env", {
      args: [`PATH=${PROGRAM_PATH}`, "LC_ALL=C", program, ...args],
      stdin: input === undefined ? "null" : "piped",
      stdout: "null",
      stderr: "piped",
    }).spawn();
  } catch (cause) {
    throw new CommandError(`Cannot run ${quote(command.program)}: it cannot be started`, { cause });
  }
  const ended = child.output();
  if (input !== undefined) await writeAll(child.stdin, pathToBytes(input));
  const { code, stderr } = await ended;
  if (code === 0) return;
  // By env(1), and by a shell.
  if (code === 127) {
    throw new CommandError(
      `Cannot run ${
        quote(command.program)
      }: this machine has no such program; install its package ("passwd", "shadow-utils")`,
    );
  }
  const words = new TextDecoder().decode(stderr).trim().split("\n")[0];
  throw new CommandError(`Cannot run ${quote(command.program)}: ${words || `it ended with code ${code}`}`);
}

/** Arguments of a process are Unicode here; a shell reads bytes. None of these is followed by input of its own. */
function byShell({ program, args }: AccountCommand): AccountCommand {
  const words = args.map((arg) => `'${arg.replaceAll("'", "'\\''")}'`);
  return { program: "sh", args: ["-s"], input: `exec ${program} ${words.join(" ")}\n` };
}

async function writeAll(stream: WritableStream<Uint8Array>, bytes: Uint8Array): Promise<void> {
  const writer = stream.getWriter();
  try {
    await writer.write(bytes);
    await writer.close();
  } catch (error) {
    // It ended without reading: its code and words say why.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

function systemFlag(number: number): string[] {
  return number < SYSTEM_NUMBERS ? ["-r"] : [];
}
