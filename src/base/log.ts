/**
 * The daemons' log: one line an entry on stderr, with time and level, fit for a journal. Join tokens never reach it.
 *
 * ```
 * 2026-11-22T10:20:51.123Z warn  Cannot reach "backup:7420": connection refused
 * ```
 * @module
 */
import { type Clock, systemClock } from "./clock.ts";

/** How much an entry matters. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Takes entries. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** Where a log goes. */
export interface LogOptions {
  /** Takes whole lines, each with its line feed. */
  write: (text: string) => void;
  /** Entries below it are left out. @default {"info"} */
  level?: LogLevel;
  /** @default {systemClock} */
  clock?: Clock;
}

const ranks: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Creates a log. An entry is always one line: control characters in it are escaped. */
export function createLog(options: LogOptions): Log {
  const { write, level = "info", clock = systemClock } = options;
  const entry = (entryLevel: LogLevel) => (message: string) => {
    if (ranks[entryLevel] < ranks[level]) return;
    write(
      `${new Date(clock.nowMs()).toISOString()} ${entryLevel.padEnd(5)} ${
        oneLine(withoutSecrets(message))
      }\n`,
    );
  };
  return { debug: entry("debug"), info: entry("info"), warn: entry("warn"), error: entry("error") };
}

/** A log that keeps nothing. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** A text with the secret part of every join token in it replaced by `…`. */
export function withoutSecrets(text: string): string {
  return text.replace(/\b(us\d+-)[A-Za-z0-9_-]+/g, "$1…");
}

function oneLine(message: string): string {
  // deno-lint-ignore no-control-regex
  return message.replace(/[\x00-\x1f\x7f]/g, (symbol) => JSON.stringify(symbol).slice(1, -1));
}
