/**
 * Help and options of `export`.
 * @module
 */
import { resolve } from "node:path";
import { ProtocolError, UsageError } from "../base/errors.ts";
import { checkRelativePath, isWithin, quote } from "../base/path.ts";
import { checkSetName, TARGET_STATE_NAME } from "../store/state_directory.ts";
import { flag, nonEmpty, one, parseArguments } from "./options.ts";
import { TIMEOUT_DEFAULT_MS, timeoutTable } from "./timeout_option.ts";

/** Text of `help export`. */
export const help = `\
Usage: understudy export NAME [PATH] --root DIR [options]

Writes replica NAME of the target server with that root as a tar archive to stdout, for any device or command:
"understudy export docs --root /srv/replicas | tar x", "… >/dev/st0". With PATH only that and what is below.
The archive is of one moment: while a server runs, nothing is applied to the replica meanwhile. Its source waits,
and goes on when this command ends, however it ends. While no server runs, none can start.

The archive is in pax format. Names stand in it byte by byte, times with nanoseconds, owners by their numbers, names
of one file as hard links, extended attributes and ACLs; holes are written as zeros, sockets left out. GNU tar
unpacks all of it with "tar -xp --numeric-owner --xattrs --xattrs-include='*' --acls".

Options:
  --root DIR          root of the target server; must exist
  -o, --output FILE   writes there instead; a file that is there already is left alone
  -f, --force         writes over it
  --timeout TIME      how long to wait until the replica is at rest (default 30s)
  -s, --state DIR     state directory of the server (default: ROOT/.understudy)
  -h, --help          this text

Exit codes: 0 done, 1 failed and the archive has no end, 2 usage, 3 done but some files could not be read (they are
listed), 130 interrupted.
`;

/** What `export` was asked for. */
export interface ExportOptions {
  /** Absolute path. */
  root: string;
  /** Name of the replica. */
  name: string;
  /** What of it, relative to its root; `""` is all. */
  path: string;
  /** Absolute path of a file, or `undefined` for stdout. */
  output: string | undefined;
  force: boolean;
  timeoutMs: number;
  /** State directory of the server, absolute; `undefined` is `ROOT/.understudy`. */
  state: string | undefined;
}

/** Reads the arguments of `export`. @throws {UsageError} If they cannot be used. */
export function parseExportOptions(args: string[]): ExportOptions {
  const { options, positionals: [name, path = ""] } = parseArguments(args, {
    command: "export",
    options: {
      root: one(nonEmpty),
      output: one(nonEmpty, "o"),
      force: flag("f"),
      ...timeoutTable,
      state: one(nonEmpty, "s"),
    },
    positionals: ["NAME", "[PATH]"],
  });
  const { root, output, force, timeout, state } = options;
  if (root === undefined) throw new UsageError(`Cannot run "export": --root DIR is missing`);
  checkSetName(name);
  return {
    root: resolve(root),
    name,
    path: readPath(path),
    output: output === undefined || output === "-" ? undefined : resolve(output),
    force,
    timeoutMs: timeout ?? TIMEOUT_DEFAULT_MS,
    state: state === undefined ? undefined : resolve(state),
  };
}

/** A path within the replica, as users write it: `./a`, `a/`, `.` for all. */
function readPath(given: string): string {
  const path = given.replace(/^(\.\/+)+/, "").replace(/(.)\/+$/, "$1");
  if (path === ".") return "";
  try {
    checkRelativePath(path);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new UsageError(
      `Cannot export ${quote(given)}: PATH is relative to the replica, without ".." and empty names`,
      { cause: error },
    );
  }
  if (isWithin(path, TARGET_STATE_NAME)) {
    throw new UsageError(`Cannot export ${quote(given)}: what is in there is no part of the replica`);
  }
  return path;
}
