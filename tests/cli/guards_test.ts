/**
 * Guards: what looks like a disaster goes nowhere until the user decides; everything else goes on. About 60 s.
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { GuardStatus } from "../../src/base/status.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

/** Runs a shell script in a directory. */
async function shell(directory: string, script: string): Promise<void> {
  await runProcess("sh", ["-ec", `cd "$1"; ${script}`, "sh", directory], { expectCode: 0 });
}

/** 600 files in two directories, and 100 elsewhere. */
const fill = `mkdir a b c; for d in a b; do for i in $(seq 300); do echo "$d $i" >$d/$i; done; done
  for i in $(seq 100); do echo "c $i" >c/$i; done`;

async function guards(replication: Replication): Promise<GuardStatus[]> {
  return JSON.parse((await replication.run(["guard", "list", "--json"], { expectCode: 0 })).stdout);
}

/** Waits until a guard holds something, or at least so many entries. */
function waitForGuard(replication: Replication, count = 1): Promise<GuardStatus> {
  const isHeld = async () => (await guards(replication)).find((guard) => guard.count >= count);
  return waitFor(isHeld, { what: `a guard of ${count}`, timeoutMs: 60_000 });
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

function count(directory: string): number {
  return [...Deno.readDirSync(directory)].length;
}

for (const road of ["tcp", "local"] as const) {
  Deno.test({
    name: `a mass deletion goes nowhere until it is confirmed, also over restarts (${road})`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road });
      const { source, replica } = replication;
      await shell(source, fill);
      await replication.watch();
      await shell(source, "rm -r a; find b -type f -delete");
      const guard = await waitForGuard(replication);
      assertEquals([guard.kind, guard.state, guard.count], ["deletions", "waiting", 601]);
      assertEquals([count(`${replica}/a`), count(`${replica}/b`)], [300, 300]);
      // Everything else goes on.
      await shell(source, "echo new >new; echo changed >c/1; mv c/2 c/renamed");
      await waitFor(() => exists(`${replica}/c/renamed`), { what: "the rename", timeoutMs: 30_000 });
      await waitFor(() => exists(`${replica}/new`), { what: "the new file", timeoutMs: 30_000 });
      const flush = await replication.run(["flush", "--timeout", "2s"]);
      assertEquals(flush.code, 1, "a flush does not say that the trees are equal");
      assertMatch(
        flush.stderr,
        /blocked \(guard g1: 601 deletions of \d+ entries wait for "guard confirm g1"/,
      );
      const { state, reason } = await replication.laneStatus();
      assertEquals(state, "blocked");
      assertStringIncludes(reason, "guard g1");
      assertStringIncludes(
        (await replication.run(["status"], { expectCode: 0 })).stdout,
        "guard g1: 601 deletions",
      );

      await replication.stopWatching();
      await replication.startWatching();
      await replication.waitForState("blocked");
      assertEquals((await guards(replication)).map(({ id }) => id), ["g1"]);
      assertEquals([count(`${replica}/a`), count(`${replica}/b`)], [300, 300]);
      await replication.run(["guard", "confirm", "g1"], { expectCode: 0 });
      await replication.flush();
      await replication.assertEqual();
      await waitFor(async () => (await guards(replication)).length === 0, {
        what: "the end of the guard",
        timeoutMs: 60_000,
      });
    },
  });
}

Deno.test({
  name: "what was refused stays on the target, over restarts, until it is confirmed or is there again",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    await shell(source, fill);
    // Each of both is held by itself, however slow the second one comes.
    await replication.watch(["--guard-deletes", "250"]);
    await shell(source, "mv a ../away; rm -r b");
    const { id } = await waitForGuard(replication, 602);
    await replication.run(["guard", "refuse", id], { expectCode: 0 });
    await replication.waitForState("live");
    await replication.flush();
    assertEquals([count(`${replica}/a`), count(`${replica}/b`)], [300, 300]);
    await replication.stopWatching();
    await replication.watch();
    // A small deletion passes.
    await shell(source, "rm c/5");
    await replication.flush();
    assertEquals([count(`${replica}/a`), count(`${replica}/b`), count(`${replica}/c`)], [300, 300, 99]);
    assertEquals((await guards(replication)).map(({ state }) => state), ["refused"]);
    // The one that is back is replicated as before; deleting a file of it is an ordinary deletion.
    await shell(source, "mv ../away a");
    await waitFor(async () => (await guards(replication))[0]?.paths.join() === "b", {
      what: "a's return",
      timeoutMs: 60_000,
    });
    await shell(source, "rm a/7");
    await replication.flush();
    await waitFor(() => count(`${replica}/a`) === 299, { what: "the deletion in a", timeoutMs: 30_000 });
    assertEquals(count(`${replica}/b`), 300);
    await replication.run(["guard", "confirm", id], { expectCode: 0 });
    await waitFor(async () => !await exists(`${replica}/b`), {
      what: "the confirmed deletion",
      timeoutMs: 30_000,
    });
    await replication.flush();
    await replication.assertEqual();
  },
});

for (
  const [what, replace] of [["a link", "ln -s ../d d"], ["a file", "echo new >d"], ["another", "mv e d"]]
) {
  Deno.test({
    name: `a directory in whose place ${what} stands was deleted: that is held, too, until it is confirmed`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source, replica } = replication;
      await shell(source, `${fill}; mkdir d e; mv a b d; echo e >e/f`);
      await replication.watch();
      await shell(source, `mv d ..; ${replace}`);
      const guard = await waitForGuard(replication);
      assertEquals([guard.kind, guard.state], ["deletions", "waiting"]);
      await shell(source, "echo new >new");
      await waitFor(() => exists(`${replica}/new`), { what: "the new file", timeoutMs: 30_000 });
      const kept = [...Deno.readDirSync(replica)].map(({ name }) => `${replica}/${name}`)
        .find((path) => Deno.lstatSync(path).isDirectory && count(path) > 1 && !path.endsWith("/c"));
      assertEquals([count(`${kept}/a`), count(`${kept}/b`)], [300, 300]);
      await replication.stopWatching();
      await replication.startWatching();
      await replication.waitForState("blocked");
      assertEquals([count(`${kept}/a`), count(`${kept}/b`)], [300, 300]);
      await replication.run(["guard", "confirm", guard.id], { expectCode: 0 });
      await replication.flush();
      await replication.assertEqual();
    },
  });
}

Deno.test({
  name: "files that come back end the guard by themselves",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source } = replication;
    await shell(source, fill);
    await replication.watch();
    await shell(source, "mv a b ..");
    await waitForGuard(replication);
    await shell(source, "mv ../a ../b .");
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
    assertEquals(await guards(replication), []);
  },
});

Deno.test({
  name: "guards let pass what is no disaster: renames, many deletions in a larger tree, what is rebuilt",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source } = replication;
    await shell(
      source,
      `mkdir node_modules big; for i in $(seq 500); do echo "$i" >node_modules/$i; done
       for i in $(seq 1000); do echo "$i" >big/$i; done`,
    );
    await replication.watch();
    const before = (await replication.laneStatus()).opsSent;
    for (
      const script of [
        "mv big renamed",
        "cd renamed; for i in $(seq 1000); do mv $i m$i; done",
        "rm -r node_modules",
        "mkdir node_modules; for i in $(seq 500); do echo new $i >node_modules/$i; done",
      ]
    ) {
      await shell(source, script);
      await replication.flush();
      await replication.assertEqual();
      assertEquals(await guards(replication), []);
    }
    const { opsSent } = await replication.laneStatus();
    assertEquals([opsSent.unlink ?? 0, (opsSent.file ?? 0) - (before.file ?? 0)], [500, 500]);
  },
});

Deno.test({
  name: "a mass rewrite holds the old contents on the target, and deletions, until it is confirmed",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    await shell(source, fill);
    await replication.watch();
    await shell(source, "for f in a/* b/* c/*; do echo scrambled $f >$f.x; cat $f.x >$f; rm $f.x; done");
    const guard = await waitForGuard(replication);
    assertEquals([guard.kind, guard.state], ["rewrites", "waiting"]);
    await shell(source, "echo new >new; rm c/9");
    await waitFor(() => exists(`${replica}/new`), { what: "the new file", timeoutMs: 30_000 });
    assertEquals(await Deno.readTextFile(`${replica}/c/100`), "c 100\n");
    assert(await exists(`${replica}/c/9`));
    await replication.run(["guard", "confirm", guard.id], { expectCode: 0 });
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "--guard-deletes says how much is too much, and off that nothing is",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    await shell(source, fill);
    await replication.watch(["--guard-deletes", "20"]);
    await shell(source, "rm c/1?");
    await replication.flush();
    await shell(source, "rm c/2? c/3? c/4?");
    await waitForGuard(replication);
    assertEquals(count(`${replica}/c`), 90);
    await replication.stopWatching();
    await replication.watch(["--guard-deletes", "off"]);
    await shell(source, "rm -r a b");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "mirror deletes no mass without being told to, and knows what was refused",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    await shell(source, fill);
    await replication.mirror();
    await shell(source, "rm c/1; rm -r a; rm b/1* b/2*");
    const args = ["mirror", source, replica];
    const held = await replication.run(args);
    assertEquals(held.code, 3);
    assertMatch(
      held.stderr,
      /Cannot delete so much at once: 524 deletions of \d+ entries stay; use --force-delete/,
    );
    assertEquals([count(`${replica}/a`), count(`${replica}/b`), count(`${replica}/c`)], [300, 300, 100]);
    await replication.run([...args, "--force-delete"], { expectCode: 0 });
    await replication.assertEqual();
    await shell(source, "rm c/3 c/4");
    await replication.run(args, { expectCode: 0 });
    await replication.assertEqual();
    await shell(source, "for i in $(seq 500); do echo $i >b/new$i; done");
    await replication.run(args, { expectCode: 0 });
    await shell(source, "rm -r b; ln -s c b");
    assertEquals((await replication.run(args)).code, 3, "a link in the place of a directory deletes it");
    assert(count(`${replica}/b`) >= 500);
    await replication.run([...args, "--force-delete"], { expectCode: 0 });
    await replication.assertEqual();
  },
});
