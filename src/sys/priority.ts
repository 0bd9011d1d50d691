/**
 * The share of the processors that this process takes when others want them too.
 * @module
 */
import { getPriority, setPriority } from "node:os";

/**
 * Lowers the priority of this process, all its threads and those that they start, to `nice` (0 to 19, as in nice(1));
 * one that is lower already stays. Only others that want the processor at the same moment are served before.
 *
 * @throws {Error} If the system does not allow it.
 */
export function stepBack(nice: number): void {
  for (const id of threadIds()) if (getPriority(id) < nice) setPriority(id, nice);
}

/** On Linux each thread has a priority of its own; elsewhere (0: ourselves) the process has. */
function threadIds(): number[] {
  if (Deno.build.os !== "linux") return [0];
  return [...Deno.readDirSync("/proc/self/task")].map(({ name }) => Number(name));
}
