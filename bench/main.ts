/**
 * Ours and rsync side by side; see {@linkcode help}.
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { runProcess } from "../tests/testing/process.ts";
import { tempDirectory } from "../tests/testing/temp.ts";
import { run } from "../tests/testing/understudy.ts";
import { measureIdle } from "./idle.ts";
import { measureLatency, measureMemory } from "./live.ts";
import { measureMillion } from "./million.ts";
import { type BenchResult, describeMachine, markdown } from "./report.ts";
import { type BenchOptions, compare, type ComparedRow, comparedRows } from "./rows.ts";
import { measureUntar } from "./untar.ts";

/** Rows of ours alone, by their key in the result. */
const liveMeasures = {
  latency: measureLatency,
  memory: measureMemory,
  idle: measureIdle,
  million: measureMillion,
  untar: measureUntar,
};
const liveRows = Object.keys(liveMeasures) as (keyof typeof liveMeasures)[];
const rowNames: string[] = [...comparedRows, ...liveRows];

const help = `Measures the built executable against rsync -a to an rsync daemon on loopback.

Usage: deno task bench [--only ROW ...] [--rounds N] [--dir DIR] [--json] [--update]

  --only ROW       one of ${rowNames.join(", ")} (again for more)
  --rounds N       how often each program runs each row (default 5)
  --dir DIR        measure the file system of DIR (default: memory-backed)
  --json           print JSON instead of Markdown
  --update         also write the tables into bench/README.md
  --contender C    only rsync or only understudy
  --mirror-arg A   give A to every understudy mirror, as in --mirror-arg=--compress=none
  --watch-arg A    the same for watch-source
  --scale N        divide sizes and counts by N: to try the bench itself, not to publish`;

const strings = ["only", "rounds", "dir", "contender", "mirror-arg", "watch-arg", "scale"];

async function main(args: string[]): Promise<number> {
  const unknown: string[] = [];
  const flags = parseArgs(args, {
    string: strings,
    boolean: ["json", "update", "help"],
    collect: ["only", "mirror-arg", "watch-arg"],
    default: { rounds: "5", scale: "1" },
    unknown: (argument: string) => (unknown.push(argument), false),
  });
  if (flags.help) {
    console.log(help);
    return 0;
  }
  const only: string[] = flags.only.length > 0 ? flags.only : rowNames;
  unknown.push(...only.filter((name) => !rowNames.includes(name)));
  const rounds = Number(flags.rounds);
  if (unknown.length > 0 || !(rounds >= 1)) {
    console.error(`bench: Cannot use ${unknown.join(" ") || `--rounds ${flags.rounds}`}: see --help`);
    return 2;
  }
  const contenders = flags.contender
    ? [flags.contender as "rsync" | "understudy"]
    : ["rsync", "understudy"] as const;
  const report = (line: string) => console.error(line);
  await using directory = await tempDirectory({ parent: flags.dir, prefix: "understudy-bench-" });
  const options: BenchOptions = {
    directory: directory.path,
    rounds,
    mirrorArgs: flags["mirror-arg"],
    scale: Number(flags.scale),
    contenders: [...contenders],
    report,
  };
  const live = { directory: directory.path, watchArgs: flags["watch-arg"], scale: options.scale };
  // Builds and unpacks the executable before anything is timed.
  if (contenders.some((name) => name === "understudy")) {
    await run(["version"], { expectCode: 0, timeoutMs: 300_000 });
  }

  const result: BenchResult = {
    machine: await describeMachine(directory.path),
    rounds,
    scale: options.scale,
    comparisons: [],
  };
  for (const name of only) {
    if (name in liveMeasures) continue;
    result.comparisons.push(await compare(name as ComparedRow, options));
  }
  if (options.contenders.includes("understudy")) {
    for (const name of liveRows.filter((row) => only.includes(row))) {
      report(name);
      Object.assign(result, { [name]: await liveMeasures[name](live) });
    }
  }
  console.log(flags.json ? JSON.stringify(result, undefined, 2) : markdown(result));
  if (flags.update) await updateReadme(markdown(result));
  return 0;
}

/** Replaces what stands between the two marks of bench/README.md. */
async function updateReadme(tables: string): Promise<void> {
  const readme = new URL("README.md", import.meta.url);
  const text = Deno.readTextFileSync(readme);
  const [begin, end] = ["<!-- measured -->", "<!-- /measured -->"].map((mark) => text.indexOf(mark));
  Deno.writeTextFileSync(readme, `${text.slice(0, begin)}<!-- measured -->\n\n${tables}\n${text.slice(end)}`);
  // Wrapped and aligned as `deno task ok` wants it.
  await runProcess(Deno.execPath(), ["fmt", "--quiet", readme.pathname], { expectCode: 0 });
}

if (import.meta.main) Deno.exit(await main(Deno.args));
