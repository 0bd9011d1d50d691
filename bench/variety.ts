/**
 * What it costs that files are more than their contents: the first mirror of many trees of everything that a file can be,
 * and that of as many plain files of the same sizes, by turns. At most 1.5 times as much is the aim.
 *
 * Usage: `deno run -A bench/variety.ts [trees]`, as root; 1,000 trees by default
 * @module
 */
import { openReplication } from "../tests/testing/replication.ts";
import { runProcess } from "../tests/testing/process.ts";
import { tempDirectory } from "../tests/testing/temp.ts";
import { makeVariety } from "../tests/testing/variety.ts";
import { summarize } from "./measure.ts";

const ROUNDS = 3;

/** Makes a plain file for each entry that is no directory. */
const PLAIN = `
import os, sys
source, copy = sys.argv[1:]
for at, directories, files in os.walk(source):
    into = os.path.join(copy, os.path.relpath(at, source))
    os.makedirs(into, exist_ok=True)
    for name in files + [d for d in directories if os.path.islink(os.path.join(at, d))]:
        stat = os.lstat(os.path.join(at, name))
        size = stat.st_size if os.path.isfile(os.path.join(at, name)) else 0
        with open(os.path.join(into, name), "wb") as file: file.write(os.urandom(size))
`;

const count = Number(Deno.args[0] ?? 1_000);
await using place = await tempDirectory();
const [one, plain] = [`${place.path}/one`, `${place.path}/plain`];
for (const path of [one, plain]) Deno.mkdirSync(path);
await makeVariety(one);
// The large files of it are not what this is about.
await runProcess("bash", ["-c", `find "$1" -name large -exec truncate -s 20000 {} +`, "bash", one], {
  expectCode: 0,
});
await runProcess("python3", ["-c", PLAIN, one, plain], { expectCode: 0 });

async function mirrorSeconds(of: string): Promise<{ seconds: number; entries: number }> {
  await using replication = await openReplication();
  const script = `for i in $(seq ${count}); do cp -a "$1" "$2/$i"; done`;
  await runProcess("bash", ["-ec", script, "bash", of, replication.source], {
    expectCode: 0,
    timeoutMs: 600_000,
  });
  const begin = performance.now();
  const { entries, problems } = await replication.mirror([], { timeoutMs: 600_000 });
  if (problems.length > 0) throw new Error(`Cannot measure: ${problems[0].path}: ${problems[0].reason}`);
  return { seconds: (performance.now() - begin) / 1_000, entries };
}

const took = { variety: [] as number[], plain: [] as number[] };
for (let round = 0; round < ROUNDS; round++) {
  const variety = await mirrorSeconds(one);
  const ordinary = await mirrorSeconds(plain);
  took.variety.push(variety.seconds);
  took.plain.push(ordinary.seconds);
  console.log(
    `${variety.entries} entries: ${variety.seconds.toFixed(1)} s; ` +
      `${ordinary.entries} plain ones: ${ordinary.seconds.toFixed(1)} s`,
  );
}
const ratios = took.variety.map((seconds, i) => seconds / took.plain[i]);
console.log(`ratio ${summarize(ratios).median.toFixed(2)}`);
