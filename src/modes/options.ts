/**
 * Reads the arguments of a command by a table of its options. Strict: whatever is not understood is a UsageError that
 * names it; nothing is guessed and nothing is ignored.
 *
 * ```ts
 * const { options, positionals } = parseArguments(args, {
 *   command: "flush",
 *   options: { timeout: one(duration({ min: 1 })), json: flag() },
 *   positionals: [],
 * });
 * ```
 *
 * Forms: `--name value`, `--name=value`, `-n value`, `-nvalue`. A value that begins with `-` needs the form with `=`;
 * a lone `-` is a value like any other. After `--` everything is positional.
 * @module
 */
import { type Address, type AddressDefaults, parseAddress } from "../base/address.ts";
import { closest } from "../base/closest.ts";
import { reasonOf, UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { checkSetName } from "../store/state_directory.ts";
import { durationOption, parseDuration, parseRate, parseSize, sizeOption } from "../base/units.ts";

/** Reads one value. Throws an Error whose message says what is allowed. */
export type ValueReader<Value> = (text: string) => Value;

/** One option of a command. */
export interface Option<Value> {
  takesValue: boolean;
  repeatable: boolean;
  /** One letter for `-x`. */
  short?: string;
  /** Makes the result of the values that were given, in their order; none if the option was left out. */
  collect(texts: string[]): Value;
}

/** Options of a command by their long names. */
export type OptionTable = Record<string, Option<unknown>>;

/** What a table of options reads. */
export type OptionValues<Table extends OptionTable> = {
  [Name in keyof Table]: Table[Name] extends Option<infer Value> ? Value : never;
};

/** What a command takes. */
export interface ArgumentsSpec<Table extends OptionTable> {
  /** Name of the command, for messages. */
  command: string;
  options: Table;
  /** Names of its positional arguments; one in brackets, as `[ADDRESS]`, may be left out. */
  positionals: string[];
  /** Options that a later version brings: refused as such. */
  later?: string[];
}

/** An option as it was given, for those whose order among others matters. */
export interface GivenOption {
  /** Long name. */
  name: string;
  text: string;
}

/** An option that is there or not. */
export function flag(short?: string): Option<boolean> {
  return { takesValue: false, repeatable: false, short, collect: (texts) => texts.length > 0 };
}

/** An option with a value, given at most once; `undefined` if left out. */
export function one<Value>(read: ValueReader<Value>, short?: string): Option<Value | undefined> {
  return {
    takesValue: true,
    repeatable: false,
    short,
    collect: (texts) => texts.length === 0 ? undefined : read(texts[0]),
  };
}

/** An option with a value that may be given several times. */
export function many<Value>(read: ValueReader<Value>, short?: string): Option<Value[]> {
  return { takesValue: true, repeatable: true, short, collect: (texts) => texts.map(read) };
}

/** Reads any text but the empty one. */
export function nonEmpty(text: string): string {
  if (text === "") throw new Error("it must not be empty");
  return text;
}

/** Reads the name of a set. */
export function setName(text: string): string {
  checkSetName(text);
  return text;
}

/** Reads a size within bounds (bytes). */
export function size(bounds: { min: number; max: number; powerOfTwo?: boolean }): ValueReader<number> {
  const { min, max, powerOfTwo = false } = bounds;
  return (text) => {
    const bytes = parseSize(text);
    if (bytes < min || bytes > max || (powerOfTwo && !Number.isInteger(Math.log2(bytes)))) {
      const what = powerOfTwo ? "a power of two" : "a size";
      throw new Error(`it must be ${what} from ${sizeOption(min)} to ${sizeOption(max)}`);
    }
    return bytes;
  };
}

/** Reads a whole number within bounds. */
export function whole({ min, max }: { min: number; max: number }): ValueReader<number> {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new Error(`it must be a whole number from ${min} to ${max}`);
  };
}

/** Reads a duration within bounds (milliseconds). */
export function duration(bounds: { min: number; max: number }): ValueReader<number> {
  const { min, max } = bounds;
  return (text) => {
    const ms = parseDuration(text);
    if (ms < min || ms > max) {
      throw new Error(`it must be a duration from ${durationOption(min)} to ${durationOption(max)}`);
    }
    return ms;
  };
}

/** Reads a rate, bytes a second; at least one. */
export function rate(text: string): number {
  const bytes = parseRate(text);
  if (bytes < 1) throw new Error("it must be 1 or more");
  return bytes;
}

/** Reads the word `off`, or something else. */
export function offOr<Value>(read: ValueReader<Value>): ValueReader<Value | "off"> {
  return (text) => text === "off" ? "off" : read(text);
}

/** Reads one of some words. `later` are words of the documentation that this version cannot do. */
export function word<const Words extends readonly string[]>(
  words: Words,
  later: string[] = [],
): ValueReader<Words[number]> {
  return (text) => {
    if (later.includes(text)) throw new Error(`not in this version; it can be ${words.join(", ")}`);
    if (!words.includes(text)) throw new Error(`it must be one of ${words.join(", ")}`);
    return text;
  };
}

/** Reads `HOST:PORT`. */
export function address(defaults: AddressDefaults = {}): ValueReader<Address> {
  return (text) => parseAddress(text, defaults);
}

/**
 * Reads the arguments of a command.
 *
 * @throws {UsageError} If they are not what the command takes.
 */
export function parseArguments<Table extends OptionTable>(
  args: string[],
  spec: ArgumentsSpec<Table>,
): { options: OptionValues<Table>; positionals: string[]; sequence: GivenOption[] } {
  const given = new Map<string, string[]>();
  const sequence: GivenOption[] = [];
  const positionals = sortArguments(args, spec, (name, text) => {
    given.set(name, [...(given.get(name) ?? []), text]);
    sequence.push({ name, text });
  });
  checkPositionals(positionals, spec);
  const options = Object.entries(spec.options).map(([name, option]) => {
    const texts = given.get(name) ?? [];
    if (texts.length > 1 && !option.repeatable) {
      throw new UsageError(`Cannot use --${name}: it is given twice`);
    }
    return [name, collect(name, option, texts)];
  });
  return { options: Object.fromEntries(options), positionals, sequence };
}

/** Tells of each option and returns the positional arguments. */
function sortArguments(
  args: string[],
  spec: ArgumentsSpec<OptionTable>,
  onOption: (name: string, text: string) => void,
): string[] {
  const positionals: string[] = [];
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--") return positionals.concat(args.slice(i + 1));
    if (!args[i].startsWith("-") || args[i] === "-") {
      positionals.push(args[i]);
      continue;
    }
    const { name, shown, option, attached } = recognise(args[i], spec);
    let value = attached;
    if (option.takesValue && value === undefined) {
      value = args[++i];
      // A value that looks like an option is far more often a forgotten value.
      if (value === undefined || /^-./.test(value)) {
        throw new UsageError(`Cannot use ${shown}: its value is missing`);
      }
    }
    onOption(name, value ?? "");
  }
  return positionals;
}

interface Recognised {
  /** Long name. */
  name: string;
  /** As the user wrote it. */
  shown: string;
  option: Option<unknown>;
  /** A value in the same argument. */
  attached: string | undefined;
}

function recognise(argument: string, spec: ArgumentsSpec<OptionTable>): Recognised {
  const [, shown, behindEquals, behind] = argument.startsWith("--")
    ? /^(--[^=]*)(?:=(.*))?$/s.exec(argument)!
    : /^(-.)(?:=(.*)|(.+))?$/su.exec(argument)!;
  const attached = behindEquals ?? behind;
  // "-state x" is --state with a dash too few, not -s with the value "tate".
  if (behind !== undefined && Object.hasOwn(spec.options, argument.slice(1).split("=")[0])) {
    throw new UsageError(`Cannot use ${argument}: did you mean -${argument}`);
  }
  const name = longName(shown, spec);
  const option = spec.options[name];
  if (!option.takesValue && attached !== undefined) {
    throw new UsageError(`Cannot use ${shown}: it takes no value, but "${attached}" is given`);
  }
  return { name, shown, option, attached };
}

/** The long name of an option as the user wrote it. */
function longName(shown: string, spec: ArgumentsSpec<OptionTable>): string {
  const name = shown.replace(/^--?/, "");
  if (!shown.startsWith("--")) {
    const found = Object.entries(spec.options).find(([, option]) => option.short === name);
    if (found !== undefined) return found[0];
  } else if (Object.hasOwn(spec.options, name)) {
    return name;
  }
  if (shown.startsWith("--") && spec.later?.includes(name)) {
    throw new UsageError(`Cannot use ${shown}: not in this version`);
  }
  const near = closest(name, Object.keys(spec.options));
  const hint = near === undefined ? `see "understudy help ${spec.command}"` : `did you mean --${near}`;
  throw new UsageError(`Cannot use ${shown}: "${spec.command}" has no such option; ${hint}`);
}

function checkPositionals(positionals: string[], spec: ArgumentsSpec<OptionTable>): void {
  const missing = spec.positionals[positionals.length];
  if (missing !== undefined && !missing.startsWith("[")) {
    throw new UsageError(
      `Cannot run "${spec.command}": ${missing} is missing; see "understudy help ${spec.command}"`,
    );
  }
  const extra = positionals[spec.positionals.length];
  if (extra !== undefined) {
    throw new UsageError(`Cannot run "${spec.command}": "${extra}" is one argument too many`);
  }
  const empty = spec.positionals[positionals.indexOf("")];
  if (empty !== undefined) throw new UsageError(`Cannot run "${spec.command}": ${empty} is empty`);
}

function collect(name: string, option: Option<unknown>, texts: string[]): unknown {
  try {
    return option.collect(texts);
  } catch (error) {
    const wrong = texts.find((text) => !isCollectable(option, text));
    // What a reader says about its value is the state found; its own "Cannot read …" would say it twice.
    const reason = reasonOf(error).replace(/^Cannot (read|use) \w+ ".*?": /s, "");
    throw new UsageError(`Cannot use --${name} ${quote(wrong ?? "")}: ${reason}`, { cause: error });
  }
}

function isCollectable(option: Option<unknown>, text: string): boolean {
  try {
    option.collect([text]);
    return true;
  } catch {
    return false;
  }
}
