/**
 * Files that a program uses on the target are not touched until nobody uses them (FEATURES F6). About 40 s.
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { existsSync } from "node:fs";
import { lacks } from "../testing/needs.ts";
import { type RunningProcess, runProcess, startProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux", "root", "command flock", "command sqlite3");

const wait = ["--open-files", "wait"];

async function shell(directory: string, script: string): Promise<void> {
  await runProcess("bash", ["-ec", `cd "$1"; ${script}`, "bash", directory], { expectCode: 0 });
}

/** A program that has a file of the replica open, or locked, until it is disposed of. */
async function user(replication: Replication, how: string): Promise<RunningProcess> {
  const program = startProcess("bash", ["-ec", `cd "$1"; ${how}`, "bash", replication.replica]);
  await program.waitForLine(/^using$/);
  return program;
}

const ways = {
  "open for reading": "exec 9<used; echo using; sleep 1000",
  "open for writing": "exec 9<>used; echo using; sleep 1000",
  "locked by flock": "exec 9<used; flock 9; echo using; sleep 1000",
};

async function waits(replication: Replication, count = 1): Promise<void> {
  await waitFor(async () => (await replication.laneStatus()).pending.count === count, {
    what: `${count} pending`,
  });
}

for (const road of ["tcp", "local"] as const) {
  for (const [way, how] of Object.entries(ways)) {
    Deno.test({
      name: `a file that is ${way} on the target stays as it is until it is free, by ${road}`,
      ignore,
      async fn() {
        await using replication = await openReplication({
          road,
          args: road === "local" ? wait : [],
          serverArgs: wait,
        });
        const { source, replica } = replication;
        await shell(source, "echo before > used; mkdir d; echo 1 > d/other");
        await replication.watch();
        await replication.flush();
        const { ino } = Deno.statSync(`${replica}/used`);
        {
          await using _user = await user(replication, how);
          for (let i = 0; i < 5; i++) {
            await shell(source, `echo change ${i} > used; echo ${i} > d/other`);
            await waitFor(() => Deno.readTextFileSync(`${replica}/d/other`) === `${i}\n`, {
              what: "the others",
            });
          }
          await waits(replication);
          assertEquals(Deno.readTextFileSync(`${replica}/used`), "before\n");
          assertEquals(Deno.statSync(`${replica}/used`).ino, ino);
          const { pending } = await replication.laneStatus();
          assertEquals(pending.paths[0].path, "used");
          assertMatch(pending.paths[0].reason, /is (open|locked)/);
          const explained = await replication.run(["explain", `${source}/used`]);
          assertMatch(explained.stdout, /pending/);
          if (road === "tcp") {
            const [{ pendingOpenFiles, openFiles }] = (await replication.targetStatus()).replicas;
            assertEquals([pendingOpenFiles, openFiles[0].path], [1, "used"]);
          }
          const flushed = await replication.run(["flush", "--timeout", "1s"], { expectCode: 1 });
          assertMatch(flushed.stderr, /in use/);
        }
        await replication.flush();
        await replication.assertEqual();
        assertEquals((await replication.sourceStatus()).problems, []);
      },
    });
  }
}

Deno.test({
  name:
    "renames, removals and directories of a file in use wait with it, and end right, over restarts of both sides",
  ignore,
  async fn() {
    await using replication = await openReplication({ serverArgs: wait });
    const { source, replica } = replication;
    await shell(source, "mkdir d; for f in a b c e; do echo $f > d/$f; done; echo used > used; ln used twin");
    await replication.watch();
    await replication.flush();
    {
      await using _user = await user(
        replication,
        "exec 9<used; exec 8<d/a; exec 7<d/b; echo using; sleep 1000",
      );
      await shell(
        source,
        "echo new > used; mv used moved; echo more >> moved; rm d/a; mv d/b d/renamed; echo 1 > d/b; mv d f; echo 2 > f/c; rm f/e",
      );
      await waitFor(async () => (await replication.laneStatus()).pending.count > 0, {
        what: "pending paths",
      });
      assertEquals(Deno.readTextFileSync(`${replica}/used`), "used\n");
      assert(existsSync(`${replica}/d/a`) && existsSync(`${replica}/d/b`));
      await replication.kill();
      await replication.stopServer("SIGKILL");
      await replication.startServer();
      await shell(source, "echo again >> moved; echo 5 > f/new");
      await replication.startWatching();
      await waitFor(async () => (await replication.laneStatus()).pending.count > 0, {
        what: "pending paths",
      });
      assertEquals(Deno.readTextFileSync(`${replica}/used`), "used\n");
    }
    await replication.flush();
    await replication.assertEqual();
    assertEquals((await replication.sourceStatus()).problems, []);
  },
});

Deno.test({
  name:
    "a database that is used on the target is replaced between its transactions' programs, and a mirror names it",
  ignore,
  async fn() {
    await using replication = await openReplication({ serverArgs: wait });
    const { source, replica } = replication;
    await shell(source, "sqlite3 used 'create table t (x); insert into t values (1)'");
    await replication.mirror();
    {
      await using _user = await user(
        replication,
        "exec sqlite3 used < <({ echo 'begin exclusive;'; echo '.shell echo using'; exec sleep 20; } 2> /dev/null)",
      );
      await shell(source, "sqlite3 used 'insert into t values (2)'");
      const { problems } = await replication.mirror([], { expectCode: 3 });
      assertEquals(problems.map(({ path }) => path), ["used"]);
    }
    await replication.mirror();
    await replication.assertEqual();
    const { stdout } = await runProcess("sqlite3", [`${replica}/used`, "select count(*) from t"]);
    assertEquals(stdout, "2\n");
  },
});
