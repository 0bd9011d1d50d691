/**
 * What must not outlive a run that ended in order.
 * @module
 */
import { runProcess } from "./process.ts";

/** Staged files, temporary files, sockets and the like of ours below a directory. */
export async function leftovers(directory: string): Promise<string[]> {
  const { stdout } = await runProcess("find", [
    directory,
    "(",
    ...["-path", "*/staging/*", "-o", "-name", "*.tmp-*", "-o", "-name", ".understudy-probe-*"],
    ...["-o", "-name", "control.sock*", "-o", "-name", "listen", "-o", "-name", "*.sqlite-*", ")"],
  ], { expectCode: 0 });
  return stdout.split("\n").filter((line) => line !== "");
}
