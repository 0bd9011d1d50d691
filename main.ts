/**
 * Understudy: name → mode, errors → exit code. Nothing else happens here, and only here the process ends.
 * @module
 */
import { reasonOf, UsageError } from "./src/base/errors.ts";
import { systemClock } from "./src/base/clock.ts";
import { type ExitCode, exitCodes, Interruption, type Io } from "./src/modes/mode.ts";
import { findCommand, overview } from "./src/modes/help.ts";

/** Runs the command line `args` and returns its exit code. Never throws. */
export async function main(args: string[], io: Io): Promise<ExitCode> {
  try {
    return await dispatch(args, io);
  } catch (error) {
    if (!isInterruption(error)) io.stderr(`understudy: ${messageOf(error)}\n`);
    if (io.signal.aborted) return exitCodes.interrupted;
    return error instanceof UsageError ? exitCodes.usage : exitCodes.failed;
  }
}

async function dispatch(args: string[], io: Io): Promise<ExitCode> {
  const [given, ...rest] = args;
  if (given === undefined) {
    io.stderr(overview());
    return exitCodes.usage;
  }
  const name = aliases[given] ?? given;
  const command = findCommand(name);
  if (asksForHelp(rest)) {
    io.stdout(await command.loadHelp());
    return exitCodes.done;
  }
  return await (await command.load()).run(rest, io);
}

const aliases: Record<string, string> = {
  "-h": "help",
  "--help": "help",
  "-V": "version",
  "--version": "version",
};

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

function processIo(signal: AbortSignal): Io {
  return {
    stdout: writer(Deno.stdout),
    stderr: writer(Deno.stderr),
    stdoutIsTerminal: Deno.stdout.isTerminal(),
    columns: columns(),
    clock: systemClock,
    signal,
    env: (name) => Deno.env.get(name),
  };
}

/** Writes text until the reader has gone: `understudy … | head` is no failure, and no reason for a daemon to stop. */
function writer(stream: { writeSync(bytes: Uint8Array): number }): (text: string) => void {
  const encoder = new TextEncoder();
  let gone = false;
  return (text) => {
    let bytes = encoder.encode(text);
    while (bytes.length > 0 && !gone) {
      try {
        bytes = bytes.subarray(stream.writeSync(bytes));
      } catch (error) {
        // A pipe that another process made non-blocking and that is full: its reader needs a moment.
        if (error instanceof Deno.errors.WouldBlock) Atomics.wait(pause, 0, 0, 1);
        else gone = true;
      }
    }
  };
}

const pause = new Int32Array(new SharedArrayBuffer(4));

function columns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}

/** The first signal asks the command to stop; a second Ctrl-C does not wait for it. */
function stopOnSignals(stop: AbortController): void {
  const names: Deno.Signal[] = Deno.build.os === "windows"
    ? ["SIGINT", "SIGBREAK"]
    : ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const name of names) {
    Deno.addSignalListener(name, () => {
      if (stop.signal.aborted && name === "SIGINT") Deno.exit(exitCodes.interrupted);
      stop.abort(new Interruption(name));
    });
  }
}

if (import.meta.main) {
  const stop = new AbortController();
  stopOnSignals(stop);
  Deno.exit(await main(Deno.args, processIo(stop.signal)));
}
