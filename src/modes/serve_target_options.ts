/**
 * Help and options of `serve-target`.
 * @module
 */
import { resolve } from "node:path";
import type { Address } from "../base/address.ts";
import { UsageError } from "../base/errors.ts";
import type { OpenFileRule } from "../target/open_files.ts";
import { openFilesOption, openFilesTable } from "./open_files_option.ts";
import { address, flag, nonEmpty, one, parseArguments, word } from "./options.ts";
import { DEFAULT_PORT } from "./target_name.ts";

/** Text of `help serve-target`. */
export const help = `\
Usage: understudy serve-target --root DIR [options]

Accepts sources and keeps their replicas in DIR/NAME, plain files, ready to use. Our own state is
in DIR/.understudy. Prints "listening HOST:PORT" on stdout when ready, and runs until stopped.
A source needs an invitation first: see "understudy help invite".

Options:
  --root DIR           where the replicas are; must exist
  --listen HOST:PORT   address to accept sources on (default 0.0.0.0:${DEFAULT_PORT}); port 0 is any free one
  --owners number|name whom files belong to: the same numbers as on the source (default), or whoever has the owner's
                       name here, and the number where nobody has it
  --http HOST:PORT     also answers GET /status there, to anybody who can reach it; HOST left out is 127.0.0.1
  --open-files RULE    what becomes of a file that a program here has open, or holds a lock on, when it changed on
                       its source: replace (default) lets its name have the new version at once, while the program
                       keeps the old one; wait leaves it alone until nobody uses it, "status" names it
  -s, --state DIR      where keys and pairings are kept (default: ROOT/.understudy)
  --json               prints {"event":"listening","address":"HOST:PORT"} instead
  -h, --help           this text

Exit codes: 0 stopped by SIGTERM, 1 failed, 2 usage, 130 interrupted.
`;

/** What `serve-target` was asked for. */
export interface ServeTargetOptions {
  /** Absolute path. */
  root: string;
  /** Port 0 is any free one. */
  listen: Address;
  /** Whom files of sources belong to here. */
  owners: "number" | "name";
  /** Where the status is served; `undefined` is nowhere. */
  http: Address | undefined;
  /** What becomes of files that programs on this machine use. */
  openFiles: OpenFileRule;
  /** State directory, absolute; `undefined` is `ROOT/.understudy`. */
  state: string | undefined;
  json: boolean;
}

/** Reads the arguments of `serve-target`. @throws {UsageError} If they cannot be used. */
export function parseServeTargetOptions(args: string[]): ServeTargetOptions {
  const { options } = parseArguments(args, {
    command: "serve-target",
    options: {
      root: one(nonEmpty),
      listen: one(address({ hostname: "0.0.0.0", port: DEFAULT_PORT, anyPort: true })),
      owners: one(word(["number", "name"])),
      http: one(address({ hostname: "127.0.0.1", anyPort: true })),
      ...openFilesTable,
      state: one(nonEmpty, "s"),
      json: flag("j"),
    },
    positionals: [],
  });
  const { root, listen, owners, http, state, json } = options;
  if (root === undefined) throw new UsageError(`Cannot run "serve-target": --root DIR is missing`);
  return {
    root: resolve(root),
    listen: listen ?? { hostname: "0.0.0.0", port: DEFAULT_PORT },
    owners: owners ?? "number",
    http,
    openFiles: openFilesOption(options),
    state: state === undefined ? undefined : resolve(state),
    json,
  };
}
