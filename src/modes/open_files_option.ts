/**
 * The option that says what becomes of files that other programs use on a target.
 * @module
 */
import type { OpenFileRule } from "../target/open_files.ts";
import { one, word } from "./options.ts";

/** Its lines in the help of commands that may have a local directory as target. */
export const openFilesHelp = `\
  --open-files RULE        a file that a program has open or locked in a local TARGET: replace it at once (default), or
                           wait until it is free; a server has a rule of its own
`;

/** For `parseArguments`. */
export const openFilesTable = { "open-files": one(word(["wait", "replace"] as const)) };

/** The rule that was chosen. */
export function openFilesOption(values: { "open-files": OpenFileRule | undefined }): OpenFileRule {
  return values["open-files"] ?? "replace";
}
