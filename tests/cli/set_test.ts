/**
 * Goal: what a user chooses by rules is what arrives: on the command line, by `set` while the source runs and while it
 * does not, over restarts, in one pass and in a restore. What leaves the set stays until it is purged.
 * Method: the built executable; names on the target are compared with what the rules mean.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

async function shell(directory: string, script: string): Promise<void> {
  await runProcess("sh", ["-ec", `cd "$1"; ${script}`, "sh", directory], { expectCode: 0 });
}

/** Names below a directory, sorted, one string; directories with a slash behind them. */
async function names(root: string): Promise<string> {
  const { stdout } = await runProcess("sh", [
    "-ec",
    `cd "$1"; find . -mindepth 1 ! -path './.understudy*' \\( -type d -printf '%P/\\n' -o -printf '%P\\n' \\) | LC_ALL=C sort`,
    "sh",
    root,
  ], { expectCode: 0 });
  return stdout.trim().split("\n").join(" ");
}

/** Runs `set`. */
async function set(replication: Replication, ...args: string[]): Promise<string> {
  return (await replication.run(["set", ...args], { expectCode: 0 })).stdout;
}

async function leftovers(replication: Replication): Promise<{ count: number; paths: string[] }> {
  return (await replication.laneStatus()).leftovers;
}

const interceptors = ["inotify", "watchfs", ...(lacks("linux", "root") ? [] : ["fanotify"])];
for (const interceptor of interceptors) {
  Deno.test({
    name: `set add and remove under ${interceptor}: additions come by themselves, removals stay until purged`,
    ignore,
    async fn() {
      await using replication = await openReplication();
      const { source, replica } = replication;
      await shell(source, "mkdir -p d/cache e; echo 1 >d/cache/a; echo 1 >d/b; echo 1 >e/x.log; echo 1 >e/y");
      await replication.watch(["--intercept", interceptor, "--exclude", "*.log"]);
      assertEquals(await names(replica), "d/ d/b d/cache/ d/cache/a e/ e/y");
      await set(replication, "add", "cache/");
      await replication.flush();
      await shell(source, "echo 2 >d/cache/a; echo 2 >d/cache/new; rm -r e; echo 2 >d/c");
      await replication.flush();
      assertEquals(await names(replica), "d/ d/b d/c d/cache/ d/cache/a");
      assertEquals(await Deno.readTextFile(`${replica}/d/cache/a`), "1\n");
      assertEquals(await leftovers(replication), { count: 2, paths: ["d/cache"] });
      assertMatch(
        (await replication.run(["status"])).stdout,
        /keeps 2 leftovers that left the set: "d\/cache"/,
      );

      // What is taken in again is watched, too.
      await set(replication, "remove", "*.log");
      await set(replication, "remove", "cache/");
      await replication.flush();
      await shell(source, "echo 3 >d/cache/later; echo 3 >d/z.log");
      await replication.flush();
      await replication.assertEqual();
      assertEquals(await leftovers(replication), { count: 0, paths: [] });

      await set(replication, "add", "/d/cache");
      await replication.flush();
      await replication.stopWatching();
      await shell(source, "rm -r d/cache; echo 4 >d/b");
      await replication.watch(["--intercept", interceptor, "--exclude", "*.log"]);
      await replication.flush();
      assertEquals(await names(replica), "d/ d/b d/c d/cache/ d/cache/a d/cache/later d/cache/new d/z.log");
      const shown = await replication.run(["set", "purge"]);
      assertEquals(shown.code, 1);
      assertMatch(shown.stdout, /^"d\/cache"\nwould delete 4 entries on /);
      assertMatch(shown.stderr, /add --yes/);
      assertMatch(await set(replication, "purge", "--yes"), /^deleted 4 entries on /);
      await replication.flush();
      await replication.assertEqual();
    },
  });
}

Deno.test({
  name: "watch-source --include watches and replicates only that, wherever the rest is",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    await shell(
      source,
      "mkdir -p etc/a home/alice home/bob usr/lib/x/y var; echo 1 >etc/a/f; echo 1 >home/alice/f; echo 1 >home/bob/f; echo 1 >usr/lib/x/y/f",
    );
    await replication.watch(["--include", "/etc", "--include", "/home/alice"]);
    assertEquals(await names(replica), "etc/ etc/a/ etc/a/f home/ home/alice/ home/alice/f");
    const before = (await replication.sourceStatus()).capture.events;
    await shell(
      source,
      "for i in 1 2 3 4 5; do echo $i >usr/lib/x/y/f$i; mkdir var/d$i; done; rm -r home/bob",
    );
    await replication.flush();
    // Of the root and of "home" alone something may be heard.
    assert((await replication.sourceStatus()).capture.events - before <= 4);
    await shell(
      source,
      "mkdir -p home/alice/new/er etc/b; echo 2 >home/alice/new/er/f; mv home/alice home/a2; mv home/a2 home/alice; echo 2 >etc/b/g",
    );
    await replication.flush();
    assertEquals(
      await names(replica),
      "etc/ etc/a/ etc/a/f etc/b/ etc/b/g home/ home/alice/ home/alice/f home/alice/new/ home/alice/new/er/ home/alice/new/er/f",
    );
    await shell(source, "rm -r home etc");
    await replication.flush();
    assertEquals(await names(replica), "");
  },
});

Deno.test({
  name: "files enter and leave the set by size and by age",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    await shell(
      source,
      "echo 1 >small; head -c 9000 /dev/zero >big; touch -d '1 hour ago' old; echo 1 >young; touch -d '+25 seconds' young",
    );
    const oldEnoughMs = (await Deno.stat(`${source}/young`)).mtime!.getTime() + 3_000;
    await replication.watch([
      "--exclude",
      "size>8K",
      "--exclude",
      "age>30m old*",
      "--exclude",
      "age<3s young",
    ]);
    const arrived = await names(replica);
    // Should the start have taken longer than that, nothing can be seen of it.
    if (Date.now() < oldEnoughMs) assertEquals(arrived, "small");
    // It grows old enough, which nobody is told of.
    await waitFor(async () => await names(replica) === "small young", { what: "young", timeoutMs: 120_000 });
    assert(Date.now() >= oldEnoughMs);
    // At once: while it grew it would still be in the set.
    await shell(
      source,
      "head -c 9000 /dev/zero >../grown; mv ../grown small; head -c 100 /dev/zero >big; touch old",
    );
    await replication.flush();
    assertEquals(await names(replica), "big old small young");
    assertEquals((await Deno.stat(`${replica}/small`)).size, 2);
    assertEquals(await leftovers(replication), { count: 1, paths: ["small"] });
  },
});

Deno.test({
  name: "set export and import take the rules with their comments from set to set, running or not",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, directory } = replication;
    const rules = "# logs are large\n*.log\n\n!keep.log\nsize>1G\n";
    await Deno.writeTextFile(`${directory}/rules`, rules);
    await shell(source, "echo 1 >a.log; echo 1 >keep.log; echo 1 >b");
    await replication.watch(["--set", `${directory}/rules`]);
    assertEquals(await names(replication.replica), "b keep.log");
    assertEquals(await set(replication, "export", "-"), rules);
    const list = JSON.parse(await set(replication, "list", "--json"));
    assertEquals(list.lines[1], { line: 2, text: "*.log", origin: `file "${directory}/rules"` });
    await replication.stopWatching();
    await set(replication, "add", "!a.log");
    await set(replication, "export", `${directory}/out`);
    assertEquals(await Deno.readTextFile(`${directory}/out`), `${rules}!a.log\n`);
    await replication.watch(["--set", `${directory}/rules`]);
    assertEquals(await names(replication.replica), "a.log b keep.log");
    await Deno.writeTextFile(`${directory}/rules2`, "b\n");
    await set(replication, "import", `${directory}/rules2`);
    await shell(source, "echo 2 >b; echo 2 >a.log");
    await replication.flush();
    assertEquals(await Deno.readTextFile(`${replication.replica}/b`), "1\n");
    assertEquals(await Deno.readTextFile(`${replication.replica}/a.log`), "2\n");
    for (
      const [args, message] of [
        [["add", "size>1X"], /Cannot read rule "size>1X": column 6: it must be/],
        [["import", `${directory}/none`], /Cannot use ".*\/none": there is no such file/],
        [["frobnicate"], /Cannot run "set frobnicate": it must be one of list, add/],
        [["add"], /Cannot run "set add": RULE is missing/],
      ] as const
    ) {
      const { code, stderr } = await replication.run(["set", ...args]);
      assertEquals(code, 2);
      assertMatch(stderr, message);
    }
    assertEquals((await replication.run(["set", "remove", "nix"])).code, 1);
  },
});

Deno.test({
  name: "mirror and restore take rules, and keep what they leave out",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica, directory } = replication;
    await shell(source, "mkdir -p d/e; echo 1 >d/e/a.tmp; echo 1 >d/e/b; echo 1 >c");
    await replication.mirror();
    await shell(source, "rm d/e/a.tmp; echo 2 >c");
    const kept = JSON.parse(
      (await replication.run(["mirror", source, replication.pairedTarget, "-x", "*.tmp", "--json"], {
        expectCode: 0,
      })).stdout,
    );
    assertEquals(kept.leftovers, { count: 1, paths: ["d/e/a.tmp"] });
    assertEquals(await names(replica), "c d/ d/e/ d/e/a.tmp d/e/b");
    const back = `${directory}/back`;
    await Deno.mkdir(`${back}/d`, { recursive: true });
    await Deno.writeTextFile(`${back}/d/mine.tmp`, "mine");
    assertEquals(
      (await replication.restore(back, ["--include", "/d", "--exclude", "*.tmp", "--delete"])).code,
      0,
    );
    assertEquals(await names(back), "d/ d/e/ d/e/b d/mine.tmp");
    await replication.run(["mirror", source, replication.pairedTarget, "-x", "*.tmp", "--delete-excluded"], {
      expectCode: 0,
    });
    assertEquals(await names(replica), "c d/ d/e/ d/e/b");
    await shell(source, "echo 3 >d/e/new");
    await replication.run([
      "mirror",
      source,
      replication.pairedTarget,
      "-i",
      "/d/e/b",
      "--delete-excluded",
      "-n",
    ], { expectCode: 0 });
    assertEquals(await names(replica), "c d/ d/e/ d/e/b");
    await replication.run(["mirror", source, replication.pairedTarget, "-i", "/d/e/b", "--delete-excluded"], {
      expectCode: 0,
    });
    assertEquals(await names(replica), "d/ d/e/ d/e/b");
  },
});

Deno.test({
  name: "explain says how a path stands and by which rule, with and without a running source",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, directory } = replication;
    await shell(
      source,
      "mkdir -p d/cache home/alice .understudy; echo 1 >a; echo 1 >d/cache/b; echo 1 >x.log; mkfifo fifo; ln -s a l; echo 1 >home/alice/f",
    );
    const explain = async (path: string, expectCode = 0) => {
      const { stdout } = await replication.run(["explain", path, "--json"], { expectCode });
      const { state, reason, rule, targets } = JSON.parse(stdout);
      const by = rule ? ` by ${rule.line} ${rule.text} at ${rule.matched}` : "";
      return `${state}${by}${reason && state !== "passage" ? `: ${reason}` : ""}; ${
        targets.map((t: { state: string }) => t.state)
      }`;
    };
    await replication.watch(["-x", "*.log", "-x", "cache/", "-x", "/home", "-i", "/home/alice"]);
    const constant = [
      ["a", "replicated; replicated"],
      ["l", "replicated; replicated"],
      ["d/cache/b", "excluded by 2 cache/ at d/cache; absent"],
      ["x.log", "excluded by 1 *.log at x.log; absent"],
      ["home", "passage by 3 /home at home; replicated"],
      ["home/alice/f", "replicated by 4 !/home/alice at home/alice; replicated"],
      ["fifo", "replicated; replicated"],
      [".understudy/x", 'never: the name ".understudy" is reserved; absent'],
      ["nix", "absent: the source has no such entry; absent"],
    ];
    for (const [path, said] of constant) assertEquals(await explain(`${source}/${path}`), said);
    assertEquals(await explain(directory), `never: it lies outside the root "${source}"; `);
    await set(replication, "add", "/a");
    await replication.flush();
    assertEquals(await explain(`${source}/a`), "excluded by 5 /a at a; leftover");
    await replication.stopWatching();
    for (const [path, said] of constant.slice(1)) assertEquals(await explain(`${source}/${path}`), said);
    await shell(source, "echo 2 >>home/alice/f");
    assertEquals(
      await explain(`${source}/home/alice/f`),
      "pending by 4 !/home/alice at home/alice: the source does not run; pending",
    );
    const text = (await replication.run(["explain", `${source}/x.log`], { expectCode: 0 })).stdout;
    assertMatch(text, /x\.log": excluded\n {2}excluded by rule 1 "\*\.log" \(command line\)\n/);
  },
});
