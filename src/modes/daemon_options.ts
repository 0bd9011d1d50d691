/**
 * Options that choose a running daemon: `--state`, `--name`, `--root`.
 * @module
 */
import type { FindDaemonOptions } from "../control/client.ts";
import { stateDirectory } from "../store/state_directory.ts";
import type { Io } from "./mode.ts";
import { nonEmpty, one, type OptionValues, setName } from "./options.ts";

/** The table of the options. */
export const daemonTable = {
  state: one(nonEmpty, "s"),
  name: one(setName),
  root: one(nonEmpty),
};

/** The part of a command's help that the options make. */
export const daemonHelp = `\
  -s, --state DIR   state directory of the daemon (default: the user's)
  --name SET        which one, where several daemons run
  --root ROOT       the daemon of a target server with that root
`;

/**
 * Which daemon is meant.
 *
 * @throws {UsageError} If no state directory was given and there is no default.
 */
export function daemonOptions(
  values: OptionValues<typeof daemonTable>,
  io: Pick<Io, "env">,
): FindDaemonOptions {
  const { state, name, root } = values;
  // A target that was started with --state keeps its socket there and not below its root.
  if (root !== undefined && state === undefined) return { name, root, state: "" };
  return { name, state: stateDirectory(state, io) };
}
