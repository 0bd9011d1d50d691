/**
 * Understudy: name → mode, errors → exit code. Nothing else happens here, and only here the process ends.
 * @module
 */
import { reasonOf, UsageError } from "./src/base/errors.ts";
import { type ExitCode, exitCodes, Interruption, type Io } from "./src/modes/mode.ts";
import { findCommand, overview } from "./src/modes/help.ts";
import { processIo, stopSignal } from "./src/modes/process_io.ts";

/** Runs the command line `args` and returns its exit code. Never throws. */
export async function main(args: string[], io: Io): Promise<ExitCode> {
  try {
    return await dispatch(args, io);
  } catch (error) {
    const stopped = io.signal.aborted;
    if (!stopped || !isInterruption(error)) io.stderr(`understudy: ${messageOf(error)}\n`);
    if (stopped) return exitCodes.interrupted;
    return error instanceof UsageError ? exitCodes.usage : exitCodes.failed;
  }
}

async function dispatch(args: string[], io: Io): Promise<ExitCode> {
  const [given, ...rest] = args;
  if (given === undefined) {
    io.stderr(overview());
    return exitCodes.usage;
  }
  const name = aliases.get(given) ?? given;
  const command = findCommand(name);
  if (asksForHelp(rest)) {
    io.stdout(await command.loadHelp());
    return exitCodes.done;
  }
  return await (await command.load()).run(rest, io);
}

const aliases = new Map([["-h", "help"], ["--help", "help"], ["-V", "version"], ["--version", "version"]]);

function asksForHelp(args: string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end < 0 ? args.length : end).some((arg) => arg === "-h" || arg === "--help");
}

/** Whether this is only the wish to stop, on its way back. */
function isInterruption(error: unknown): boolean {
  return error instanceof Interruption || (error instanceof DOMException && error.name === "AbortError");
}

/** What a person needs: the message of what we threw on purpose; of anything else also what it was. */
function messageOf(error: unknown): string {
  const reason = reasonOf(error);
  return reason.startsWith("Cannot ") ? reason : `Cannot go on: ${reason}`;
}

if (import.meta.main) {
  const signal = stopSignal(() => Deno.exit(exitCodes.interrupted));
  Deno.exit(await main(Deno.args, processIo(signal)));
}
