/**
 * The world of a command that runs as a process: its streams, its terminal, its signals.
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { Interruption, type Io } from "./mode.ts";

/** Signals that ask a command to stop. */
const stopSignals: Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGBREAK"]
  : ["SIGINT", "SIGTERM", "SIGHUP"];

/** Creates the world of this process. */
export function processIo(signal: AbortSignal): Io {
  return {
    stdout: writer(Deno.stdout),
    stderr: writer(Deno.stderr),
    writeStdout,
    stdoutIsTerminal: Deno.stdout.isTerminal(),
    // A terminal can be resized meanwhile.
    get columns() {
      return terminalColumns();
    },
    clock: systemClock,
    signal,
    env: (name) => Deno.env.get(name),
  };
}

/**
 * Turns the process's signals into a wish to stop.
 *
 * @param insist Called at a second Ctrl-C: whoever sends it does not want to wait.
 */
export function stopSignal(insist: () => void): AbortSignal {
  const stop = new AbortController();
  // Asked before the first listener is there: with it the runtime takes hold of this signal too.
  const outlivesTerminal = isHangupIgnored();
  for (const name of stopSignals) {
    Deno.addSignalListener(name, () => {
      if (name === "SIGHUP" && outlivesTerminal) return;
      if (stop.signal.aborted && name === "SIGINT") insist();
      stop.abort(new Interruption(name));
    });
  }
  return stop.signal;
}

/** Writes text until the reader has gone: `understudy … | head` is no failure, and no reason for a daemon to stop. */
function writer(stream: { writeSync(bytes: Uint8Array): number }): (text: string) => void {
  const encoder = new TextEncoder();
  let isGone = false;
  return (text) => {
    let bytes = encoder.encode(text);
    while (bytes.length > 0 && !isGone) {
      try {
        bytes = bytes.subarray(stream.writeSync(bytes));
      } catch (error) {
        // A pipe that another process made non-blocking and that is full: its reader needs a moment.
        if (error instanceof Deno.errors.WouldBlock) Atomics.wait(pause, 0, 0, 1);
        else isGone = true;
      }
    }
  };
}

async function writeStdout(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    try {
      at += await Deno.stdout.write(bytes.subarray(at));
    } catch (error) {
      // As above; there is no way to be told when it has had its moment.
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      await systemClock.sleep(1);
    }
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));

function terminalColumns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}

/** Whether the process was started to outlive its terminal: nohup(1) does it by ignoring this signal. */
function isHangupIgnored(): boolean {
  try {
    // Bit 0 is signal 1, SIGHUP: proc_pid_status(5).
    const [, ignored] = /^SigIgn:\s*([0-9a-f]+)$/m.exec(Deno.readTextFileSync("/proc/self/status"))!;
    return (BigInt(`0x${ignored}`) & 1n) !== 0n;
  } catch {
    return false;
  }
}
