/**
 * The world of a command, for tests: what it printed, a clock that stands until it is moved.
 * @module
 */
import { type Clock, systemClock } from "../../src/base/clock.ts";
import type { Io } from "../../src/modes/mode.ts";

/** An {@linkcode Io} that remembers. */
export interface TestIo extends Io {
  /** Everything printed so far. */
  readonly out: { stdout: string; stderr: string };
  /** Milliseconds that both clocks show. */
  nowMs: number;
}

/** What differs from an empty environment without a terminal. */
export interface TestIoOptions {
  env?: Record<string, string>;
  /** Width of the terminal that stdout is; none by default. */
  terminalColumns?: number;
  signal?: AbortSignal;
}

/** Creates an {@linkcode TestIo} whose clock stands at 1,000,000. */
export function testIo(options: TestIoOptions = {}): TestIo {
  const { env = {}, terminalColumns, signal = new AbortController().signal } = options;
  const out = { stdout: "", stderr: "" };
  const clock: Clock = { ...systemClock, nowMs: () => io.nowMs, monotonicMs: () => io.nowMs };
  const io: TestIo = {
    out,
    nowMs: 1_000_000,
    stdout: (text) => void (out.stdout += text),
    stderr: (text) => void (out.stderr += text),
    writeStdout: (bytes) => Promise.resolve(void (out.stdout += new TextDecoder("iso-8859-1").decode(bytes))),
    stdoutIsTerminal: terminalColumns !== undefined,
    columns: terminalColumns ?? 80,
    clock,
    signal,
    env: (name) => env[name],
  };
  return io;
}
