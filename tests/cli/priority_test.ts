/**
 * The watched application goes first: every thread of `watch-source` has a lower priority than it. About 3 s.
 * @module
 */
import { assertEquals } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { openReplication } from "../testing/replication.ts";

const cases: [args: string[], nice: number][] = [[[], 5], [["--nice", "11"], 11], [["--nice", "0"], 0]];
for (const [args, nice] of cases) {
  Deno.test({
    name: `${["watch-source", ...args].join(" ")} runs all its threads at nice ${nice}`,
    ignore: lacks("linux"),
    async fn() {
      await using replication = await openReplication();
      const daemon = await replication.watch(args);
      await Deno.writeTextFile(`${replication.source}/file`, "contents");
      await replication.flush();
      assertEquals(niceValues(daemon.pid), new Set([nice]));
    },
  });
}

/** Nice values of all threads of a process: the 19th field of proc_pid_stat(5). */
function niceValues(pid: number): Set<number> {
  const values = new Set<number>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const stat = Deno.readTextFileSync(`/proc/${pid}/task/${name}/stat`);
    // The second field is a name in parentheses that may hold anything.
    values.add(Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]));
  }
  return values;
}
