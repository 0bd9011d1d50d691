/**
 * Time and processor time of whole programs, and what several rounds say together.
 * @module
 */

/** One run of one contender. */
export interface Sample {
  seconds: number;
  /** User and system time of all processes that took part, in seconds. */
  cpuSeconds: number;
}

/** Several samples of one quantity. */
export interface Summary {
  median: number;
  min: number;
  max: number;
}

/** Ticks of processor time in a second, as /proc counts them on every Linux of today. */
const TICKS_PER_SECOND = 100;

/** The middle, the smallest and the biggest value. */
export function summarize(values: number[]): Summary {
  return { median: quantile(values, 0.5), min: Math.min(...values), max: Math.max(...values) };
}

/** The value below which a `share` (0 to 1) of the values lies, the nearest two weighed. */
export function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)];
  return below + (sorted[Math.ceil(at)] - below) * (at - Math.floor(at));
}

/**
 * Measures `work`, which must wait for the programs that it starts.
 *
 * @param servers Process ids of servers that work along and go on afterwards.
 */
export async function measure(work: () => Promise<unknown>, servers: number[]): Promise<Sample> {
  const serverBefore = servers.map(treeTicks);
  const clientBefore = endedChildrenTicks();
  const begin = performance.now();
  await work();
  const seconds = (performance.now() - begin) / 1000;
  let ticks = endedChildrenTicks() - clientBefore;
  for (const [i, pid] of servers.entries()) ticks += treeTicks(pid) - serverBefore[i];
  return { seconds, cpuSeconds: ticks / TICKS_PER_SECOND };
}

/** The most memory that a process ever held at once, in bytes. */
export function peakMemorySize(pid: number): number {
  return 1024 * Number(Deno.readTextFileSync(`/proc/${pid}/status`).match(/^VmHWM:\s+(\d+) kB/m)![1]);
}

/** The memory that a process holds now, in bytes. */
export function memorySize(pid: number): number {
  return 1024 * Number(Deno.readTextFileSync(`/proc/${pid}/status`).match(/^VmRSS:\s+(\d+) kB/m)![1]);
}

/** Processor time that a living process and its children have used, in seconds. */
export function processorSeconds(pid: number): number {
  return treeTicks(pid) / TICKS_PER_SECOND;
}

/** Of a process with its threads, of its children that have ended, and of those that live. */
function treeTicks(pid: number): number {
  let ticks = statFields(pid).slice(11, 15).reduce((sum, field) => sum + field, 0);
  const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim();
  for (const child of children === "" ? [] : children.split(" ")) {
    try {
      ticks += treeTicks(Number(child));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // it has just ended
    }
  }
  return ticks;
}

/** Of this process's children that have ended, and theirs. */
function endedChildrenTicks(): number {
  const [user, system] = statFields(Deno.pid).slice(13, 15);
  return user + system;
}

/** The numbers of /proc/PID/stat behind the name and state: utime is [11], stime [12], cutime [13], cstime [14]. */
function statFields(pid: number): number[] {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
}
