/**
 * What could not be read or applied, as commands list it.
 * @module
 */
import { quote } from "../base/path.ts";
import type { Io } from "./mode.ts";

/** Prints a line a problem on stderr. There are at most `limits.problemsMax` of them a target. */
export function printProblems(problems: { path: string; op: string; reason: string }[], io: Io): void {
  for (const { path, op, reason } of problems) {
    io.stderr(`understudy: Cannot ${op} ${quote(path)}: ${reason.replace(/^Cannot [^:]*: /, "")}\n`);
  }
}
