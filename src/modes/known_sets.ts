/**
 * The sets of a state directory, whether their sources run or not.
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { CommandError, UsageError, withWayOut } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { SetText } from "../control/api.ts";
import { callControl, type Daemon, findDaemons } from "../control/client.ts";
import type { SetChange } from "../rules/set_lines.ts";
import { SetKeeper } from "../source/set_keeper.ts";
import { loadJson } from "../store/durable.ts";
import { acquireLock } from "../store/lock_file.ts";
import { openSetStore, type SetStore } from "../store/set_store.ts";
import { listSets, setDirectory } from "../store/state_directory.ts";
import { daemonOptions, type daemonTable } from "./daemon_options.ts";
import type { Io } from "./mode.ts";
import type { OptionValues } from "./options.ts";

/** What is remembered about a set: `SET/set.json`. */
export interface SetFile {
  root: string;
  /** Inode of the root; another one is another directory. */
  rootIdentity: string;
}

/** A set of a state directory. */
export interface KnownSet {
  name: string;
  directory: string;
  root: string;
  /** The source that runs it. */
  daemon: Daemon | undefined;
}

/** What is remembered about the set in a directory. @throws {CorruptionError} If that is damaged. */
export function loadSetFile(directory: string): SetFile | undefined {
  const path = join(directory, "set.json");
  return withWayOut("remove it, and the set counts as new", () => loadJson(path, isSetFile));
}

function isSetFile(value: unknown): value is SetFile {
  const file = value as SetFile | null;
  return typeof file?.root === "string" && typeof file.rootIdentity === "string";
}

/** Opens the rules of the set in a directory. @throws {CorruptionError} If they are damaged. */
export function openRules(directory: string): SetStore {
  const path = join(directory, "set.sqlite");
  return withWayOut("remove it, and the set has no rules but those it is given", () => openSetStore(path));
}

/** All sets of a state directory. */
export async function knownSets(state: string): Promise<KnownSet[]> {
  const daemons = await findDaemons(state);
  return listSets(state).flatMap((name) => {
    const directory = setDirectory(state, name);
    const file = existsSync(join(directory, "set.json")) ? loadSetFile(directory) : undefined;
    return file
      ? [{ name, directory, root: file.root, daemon: daemons.find((each) => each.name === name) }]
      : [];
  });
}

/**
 * The set that a command means: the one named, else the only one that runs, else the only one.
 *
 * @throws {CommandError} If there is none. @throws {UsageError} If several could be meant.
 */
export async function chooseSet(options: OptionValues<typeof daemonTable>, io: Io): Promise<KnownSet> {
  if (options.root !== undefined) throw new UsageError("Cannot use --root: a target server has no sets");
  const { state } = daemonOptions(options, io);
  const all = await knownSets(state);
  const named = options.name === undefined ? all : all.filter(({ name }) => name === options.name);
  const running = named.filter(({ daemon }) => daemon !== undefined);
  const candidates = running.length > 0 ? running : named;
  if (candidates.length === 1) return candidates[0];
  if (candidates.length === 0) {
    const which = options.name === undefined ? "no set" : `no set ${quote(options.name)}`;
    throw new CommandError(`Cannot find a set: there is ${which} in ${quote(state)}`);
  }
  const names = candidates.map(({ name }) => quote(name)).join(", ");
  throw new UsageError(`Cannot choose a set: there are ${names} in ${quote(state)}; choose with --name SET`);
}

/** Asks the set that is meant: its running source, or what it left on disk. */
export async function askSet(
  change: SetChange,
  options: OptionValues<typeof daemonTable>,
  io: Io,
): Promise<SetText> {
  const { name, root, directory, daemon } = await chooseSet(options, io);
  if (daemon) return await callControl(daemon.path, "set", change, { signal: io.signal });
  // A source that starts just now must not miss the change.
  using _lock = acquireLock(join(directory, "set.lock"));
  using store = openRules(directory);
  const keeper = new SetKeeper(store);
  keeper.change(change);
  return { set: name, root, lines: [...keeper.lines] };
}
