/**
 * `version`.
 * @module
 */
import { VERSION } from "../base/version.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, parseArguments } from "./options.ts";

/** Text of `help version`. */
export const help = `\
Usage: understudy version [--json]

Shows the version of understudy; with --json also of the runtime, and the system it was built for.
`;

/** Runs `version`. */
export function run(args: string[], io: Io): Promise<ExitCode> {
  const { options } = parseArguments(args, {
    command: "version",
    options: { json: flag("j") },
    positionals: [],
  });
  if (options.json) {
    printJson(io, { version: VERSION, deno: Deno.version.deno, os: Deno.build.os, arch: Deno.build.arch });
  } else {
    io.stdout(`understudy ${VERSION}\n`);
  }
  return Promise.resolve(exitCodes.done);
}
