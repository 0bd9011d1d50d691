/**
 * The table for `bench/README.md`, and the machine that it was measured on.
 * @module
 */
import { runProcess } from "../tests/testing/process.ts";
import type { IdleCost } from "./idle.ts";
import type { Latency, Memory } from "./live.ts";
import type { Million } from "./million.ts";
import type { Summary } from "./measure.ts";
import type { Comparison } from "./rows.ts";
import type { Untar } from "./untar.ts";

/** What a reader must know of the machine. */
export interface Machine {
  cpu: string;
  cores: number;
  kernel: string;
  fileSystem: string;
  rsync: string;
  runtime: string;
  date: string;
}

/** Everything that one run of the bench found. */
export interface BenchResult {
  machine: Machine;
  rounds: number;
  /** What sizes and counts were divided by; 1 in an honest run. */
  scale: number;
  comparisons: Comparison[];
  latency?: Latency;
  memory?: Memory;
  idle?: IdleCost;
  million?: Million;
  untar?: Untar;
}

/** Describes this machine and the file system of `directory`. */
export async function describeMachine(directory: string): Promise<Machine> {
  const output = async (command: string, args: string[]) =>
    (await runProcess(command, args)).stdout.split("\n")[0].trim();
  const cpuInfo = await Deno.readTextFile("/proc/cpuinfo");
  return {
    cpu: cpuInfo.match(/^model name\s*: (.*)$/m)?.[1] ?? "unknown",
    cores: navigator.hardwareConcurrency,
    kernel: `${Deno.build.os} ${Deno.osRelease()}`,
    fileSystem: await output("stat", ["-f", "-c", "%T", directory]),
    rsync: await rsyncVersion(output),
    runtime: `Deno ${Deno.version.deno}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

/** Not every row needs it. */
async function rsyncVersion(output: (command: string, args: string[]) => Promise<string>): Promise<string> {
  try {
    return (await output("rsync", ["--version"])).replace(/\s+protocol.*/, "").replace(/\s+/g, " ");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return "no rsync";
  }
}

/** The whole result as Markdown. */
export function markdown(result: BenchResult): string {
  const { machine, rounds, scale, comparisons, latency, memory, idle, million, untar } = result;
  const lines = [
    `${machine.date}: ${machine.cpu}, ${machine.cores} cores, ${machine.kernel}, ${machine.fileSystem}, ` +
    `${machine.rsync}, ${machine.runtime}.`,
    "",
  ];
  if (scale !== 1) lines.push(`**A trial: every size and count below was divided by ${scale}.**`, "");
  if (comparisons.length > 0) lines.push(...comparisonTable(comparisons, rounds), "");
  if (latency || memory || idle) lines.push(...liveTable({ latency, memory, idle }), "");
  if (million) lines.push(...millionTable(million), "");
  if (untar) lines.push(...untarTable(untar), "");
  return lines.join("\n");
}

function comparisonTable(comparisons: Comparison[], rounds: number): string[] {
  const lines = [
    `Median (smallest to biggest) of ${rounds} rounds, the programs taking turns. Ratio: understudy by rsync, below 1 is ` +
    "better. CPU: user and system seconds of client and server together. Sent: both ways, by a proxy, in a run of its own.",
    "",
    "| work | program | seconds | ratio | CPU s | ratio | MiB sent |",
    "|---|---|---|---|---|---|---|",
  ];
  for (const { title, outcomes } of comparisons) {
    const base = outcomes.find((outcome) => outcome.contender.startsWith("rsync"));
    for (const outcome of outcomes) {
      const ratio = (pick: (of: typeof outcome) => number) =>
        base && base !== outcome ? (pick(outcome) / pick(base)).toFixed(2) : "";
      const cells = [
        outcome === outcomes[0] ? title : "",
        outcome.contender,
        spread(outcome.seconds),
        ratio((of) => of.seconds.median),
        outcome.cpuSeconds.median.toFixed(2),
        ratio((of) => of.cpuSeconds.median),
        mebibytes(outcome.bytes),
      ];
      lines.push(`| ${cells.join(" | ")} |`);
    }
  }
  return lines;
}

function liveTable({ latency, memory, idle }: Pick<BenchResult, "latency" | "memory" | "idle">): string[] {
  const lines = ["| understudy watch-source, TCP, encrypted | measured | goal |", "|---|---|---|"];
  if (latency) {
    const { sampleCount, p50Ms, p90Ms, p99Ms, maxMs } = latency;
    const what = `4 KiB change, write to visible on the target, ${sampleCount} samples`;
    lines.push(
      `| ${what}: p50 | ${p50Ms.toFixed(2)} ms | 5 ms |`,
      `| p90 | ${p90Ms.toFixed(2)} ms | |`,
      `| p99 | ${p99Ms.toFixed(2)} ms | 25 ms |`,
      `| longest | ${maxMs.toFixed(2)} ms | |`,
    );
  }
  if (memory) {
    const what = `memory of the source at ${memory.fileCount.toLocaleString("en")} files`;
    lines.push(
      `| ${what}: most ever (VmHWM) | ${(memory.peakSize / 1e6).toFixed(0)} MB | 150 MB |`,
      `| when live (VmRSS) | ${(memory.liveSize / 1e6).toFixed(0)} MB | |`,
      `| from the start to live | ${memory.liveAfterSeconds.toFixed(2)} s | |`,
    );
  }
  if (idle) {
    const what = `${idle.fileCount.toLocaleString("en")} files in which nothing happens`;
    const share = (of: number) => `${(100 * of).toFixed(2)} %`;
    lines.push(
      `| processor, ${what}, over ${idle.seconds.toFixed(0)} s: source | ${share(idle.source)} | 1 % |`,
      `| target server | ${share(idle.target)} | |`,
    );
  }
  return lines;
}

function millionTable(million: Million): string[] {
  const megabytes = (size: number) => `${(size / 1e6).toFixed(0)} MB`;
  const seconds = (value: number) => `${value.toFixed(1)} s`;
  const { fileCount, visibleMs } = million;
  return [
    `| source of ${fileCount.toLocaleString("en")} files, TCP, encrypted | measured | goal |`,
    "|---|---|---|",
    `| first mirror | ${seconds(million.firstMirrorSeconds)} | |`,
    `| its most memory (VmHWM) | ${megabytes(million.firstPeakSize)} | 300 MB |`,
    `| when live (VmRSS) | ${megabytes(million.firstLiveSize)} | |`,
    `| restart, nothing changed, until live | ${seconds(million.restartSeconds)} | 90 s |`,
    `| its most memory (VmHWM) | ${megabytes(million.restartPeakSize)} | 300 MB |`,
    `| later (VmRSS) | ${megabytes(million.restartLiveSize)} | |`,
    `| a change, until visible: median | ${visibleMs.median.toFixed(0)} ms | 1,000 ms |`,
    `| longest of 20 | ${visibleMs.longest.toFixed(0)} ms | |`,
  ];
}

function untarTable({ fileCount, watched, unwatched, ratio }: Untar): string[] {
  return [
    `| \`tar x\` of ${fileCount.toLocaleString("en")} files of 1 to 16 KiB | seconds | ratio | goal |`,
    "|---|---|---|---|",
    `| into a tree that is not watched | ${spread(unwatched)} | | |`,
    `| into a watched tree | ${spread(watched)} | ${ratio.toFixed(2)} | 1.3 |`,
  ];
}

function spread({ median, min, max }: Summary): string {
  return `${median.toFixed(3)} (${min.toFixed(3)} to ${max.toFixed(3)})`;
}

function mebibytes(size: number): string {
  const value = size / 2 ** 20;
  return value.toFixed(value < 10 ? 3 : 1);
}
