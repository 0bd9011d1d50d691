/**
 * Sizes, durations and rates as a user writes and reads them.
 *
 * ```
 * size      65536  64K  10M  1G  2T      binary; a plain number is bytes
 * duration  500ms  30s  5m  2h  7d       always with its unit
 * rate      10M                          a size, each second
 * ```
 *
 * `parse…` and `…Option` are each other's inverse; `format…` is for people and rounds.
 * @module
 */
import { UsageError } from "./errors.ts";

const sizeUnits: [letter: string, bytes: number][] = [
  ["T", 1024 ** 4],
  ["G", 1024 ** 3],
  ["M", 1024 ** 2],
  ["K", 1024],
];

const durationUnits: [name: string, ms: number][] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
];

/**
 * Bytes of a size such as `64K`, `10M` or `4096`. Letters may be small.
 *
 * @throws {UsageError} If it is not a size or is 2^53 bytes or more.
 */
export function parseSize(text: string): number {
  const match = /^(\d+)([KMGT]?)$/i.exec(text);
  if (match === null) throw notA("size", text, "a number of bytes, or with K, M, G or T behind it as in 64K");
  const bytes = Number(match[1]) * unitOf(sizeUnits, match[2].toUpperCase());
  if (!Number.isSafeInteger(bytes)) throw notA("size", text, "less than 8192T");
  return bytes;
}

/**
 * Milliseconds of a duration such as `500ms`, `30s`, `5m`, `2h` or `7d`.
 *
 * @throws {UsageError} If it is not a duration or is 2^53 ms or more.
 */
export function parseDuration(text: string): number {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text);
  if (match === null) {
    throw notA("duration", text, "a whole number with ms, s, m, h or d behind it as in 30s");
  }
  const ms = Number(match[1]) * unitOf(durationUnits, match[2]);
  if (!Number.isSafeInteger(ms)) throw notA("duration", text, "less than 2^53 ms");
  return ms;
}

/**
 * Bytes a second of a rate such as `10M`.
 *
 * @throws {UsageError} If it is not a rate.
 */
export function parseRate(text: string): number {
  const match = /^\d+[KMGT]?$/i.exec(text);
  if (match === null) throw notA("rate", text, "bytes a second, as in 512K or 10M");
  return parseSize(text);
}

/** A size in the form that {@linkcode parseSize} takes, exactly: 65536 is `64K`, 1000 is `1000`. */
export function sizeOption(bytes: number): string {
  return exactly(bytes, sizeUnits) ?? String(bytes);
}

/** A duration in the form that {@linkcode parseDuration} takes, exactly: 90000 is `90s`. */
export function durationOption(ms: number): string {
  return exactly(ms, durationUnits) ?? `${ms}ms`;
}

/** A size for people: `512 B`, `64 KiB`, `1.5 GiB`. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = "B";
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    // Rounding comes first, so that nothing is ever shown as "1024 KiB".
    if (roundTenth(value) < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${roundTenth(value)} ${unit}`;
}

/** A rate for people: `12.3 MiB/s`. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatSize(Math.round(bytesPerSecond))}/s`;
}

/** A duration for people, in at most two units: `850ms`, `3.2s`, `4m 05s`, `2h 10m`, `7d 01h`. */
export function formatDuration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)}ms`;
  if (ms < 9_950) return `${roundTenth(ms / 1_000)}s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return pair(seconds, 60, "m", 1, "s");
  if (seconds < 86_400) return pair(seconds, 3_600, "h", 60, "m");
  return pair(seconds, 86_400, "d", 3_600, "h");
}

function pair(seconds: number, big: number, bigName: string, small: number, smallName: string): string {
  const rest = Math.floor((seconds % big) / small);
  const bigPart = `${Math.floor(seconds / big)}${bigName}`;
  return rest === 0 ? bigPart : `${bigPart} ${String(rest).padStart(2, "0")}${smallName}`;
}

function unitOf(units: [string, number][], name: string): number {
  return units.find(([candidate]) => candidate === name)?.[1] ?? 1;
}

function exactly(value: number, units: [string, number][]): string | undefined {
  if (value === 0) return undefined;
  const unit = units.find(([, size]) => value % size === 0);
  return unit && `${value / unit[1]}${unit[0]}`;
}

function roundTenth(value: number): number {
  return value < 100 ? Math.round(value * 10) / 10 : Math.round(value);
}

function notA(what: string, text: string, allowed: string): UsageError {
  return new UsageError(`Cannot read ${what} "${text}": it must be ${allowed}`);
}
