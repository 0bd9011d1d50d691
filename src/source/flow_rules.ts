/**
 * When what waits for a target is sent: at once, or when enough of it has gathered, and only at some times of the day.
 *
 * ```
 * at-once                         the same as no rule
 * size=10M  count=1000  age=30s   any of them opens the gate, and then everything that waits is sent
 * window=22:00-06:00              outside of all windows nothing is sent at all; local time, over midnight too
 * ```
 *
 * Rules are given in one text, with commas between them. Pure.
 * @module
 */
import { limits } from "../base/limits.ts";
import { durationOption, formatSize, parseDuration, parseSize, sizeOption } from "../base/units.ts";

/** A time of the day, minutes since midnight: `start` (in) to `end` (out). Over midnight if it ends before it starts. */
export interface DayWindow {
  start: number;
  end: number;
}

/** When what waits is sent. Without any rule it is at once. */
export interface FlowRules {
  /** Bytes that wait. */
  size?: number;
  /** Ops that wait. */
  count?: number;
  /** Milliseconds that the oldest of them has waited. */
  ageMs?: number;
  windows: DayWindow[];
}

/** What waits. */
export interface Waiting {
  ops: number;
  bytes: number;
  /** Milliseconds. */
  ageMs: number;
}

/** No rule. */
export const atOnce: FlowRules = { windows: [] };

/** Bounds of rules: what is more does not gather in the window, a timer does not wait longer. */
export interface FlowBounds {
  sizeMax: number;
  countMax: number;
}

/** Half of the window, so that what gathers has room in it. */
export function flowBounds(windowBytes: number = limits.windowBytes): FlowBounds {
  return { sizeMax: windowBytes / 2, countMax: limits.windowOps / 2 };
}

const AGE_MAX_MS = 24 * 3_600_000;

/**
 * Reads rules.
 *
 * @throws {Error} If the text is none; the message says what is allowed.
 */
export function parseFlowRules(text: string, { sizeMax, countMax }: FlowBounds): FlowRules {
  const rules: FlowRules = { windows: [] };
  if (text === "at-once") return rules;
  for (const part of text.split(",")) {
    const [name, value = ""] = part.trim().split(/=(.*)/s);
    switch (name) {
      case "size":
        rules.size = within(parseSize(value), 1, sizeMax, `a size up to ${sizeOption(sizeMax)}`);
        break;
      case "count":
        rules.count = within(
          /^\d+$/.test(value) ? Number(value) : NaN,
          1,
          countMax,
          `a number up to ${countMax}`,
        );
        break;
      case "age":
        rules.ageMs = within(parseDuration(value), 1, AGE_MAX_MS, "a duration up to 24h");
        break;
      case "window":
        rules.windows.push(parseWindow(value));
        break;
      default:
        throw new Error(`it must be at-once, or some of size=SIZE, count=N, age=TIME, window=HH:MM-HH:MM`);
    }
  }
  return rules;
}

/** Rules as a text that {@linkcode parseFlowRules} reads. */
export function formatFlowRules({ size, count, ageMs, windows }: FlowRules): string {
  const parts = [
    size === undefined ? "" : `size=${sizeOption(size)}`,
    count === undefined ? "" : `count=${count}`,
    ageMs === undefined ? "" : `age=${durationOption(ageMs)}`,
    ...windows.map(({ start, end }) => `window=${formatMinute(start)}-${formatMinute(end)}`),
  ].filter((part) => part !== "");
  return parts.length === 0 ? "at-once" : parts.join(",");
}

/** Whether anything is sent at a time of the day, minutes since midnight. */
export function isInWindow({ windows }: FlowRules, minute: number): boolean {
  if (windows.length === 0) return true;
  return windows.some(({ start, end }) =>
    start < end ? minute >= start && minute < end : minute >= start || minute < end
  );
}

/** Whether things gather before they are sent. */
export function gathers({ size, count, ageMs }: FlowRules): boolean {
  return size !== undefined || count !== undefined || ageMs !== undefined;
}

/** Whether enough has gathered. */
export function isEnough(
  { size = Infinity, count = Infinity, ageMs = Infinity }: FlowRules,
  waiting: Waiting,
): boolean {
  return waiting.bytes >= size || waiting.ops >= count || waiting.ageMs >= ageMs;
}

/** What gathered so far, as in `12 ops, 3 KiB`. */
export function formatWaiting({ ops, bytes }: Waiting): string {
  return `${ops} ops, ${formatSize(bytes)}`;
}

function within(value: number, min: number, max: number, what: string): number {
  if (value >= min && value <= max) return value;
  throw new Error(`it must be ${what}`);
}

function parseWindow(text: string): DayWindow {
  const [, from, until] = /^(\d\d:\d\d)-(\d\d:\d\d)$/.exec(text) ?? [];
  const window = { start: minuteOf(from), end: minuteOf(until) };
  if (Number.isNaN(window.start + window.end) || window.start === window.end) {
    throw new Error("a window must be HH:MM-HH:MM, from 00:00 to 23:59, and not empty");
  }
  return window;
}

function minuteOf(text = ""): number {
  const [hours, minutes] = text.split(":").map(Number);
  return hours < 24 && minutes < 60 ? hours * 60 + minutes : NaN;
}

function formatMinute(minute: number): string {
  const two = (number: number) => `${number}`.padStart(2, "0");
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}
