/**
 * Sources that are empty, gone or exchanged: a delete needs evidence (DESIGN §3.8). About 20 s.
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { unchanged } from "../testing/refusals.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

async function fill(directory: string): Promise<void> {
  await Deno.mkdir(`${directory}/d`, { recursive: true });
  for (const name of ["a", "b", "d/c"]) await Deno.writeTextFile(`${directory}/${name}`, name);
}

/** Waits until the only lane is blocked and says why. */
async function blockedReason(replication: Replication): Promise<string> {
  return (await replication.waitForState("blocked")).reason;
}

Deno.test({
  name: "mirror of an empty directory to a full replica deletes nothing, says so and fails",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await fill(replication.source);
    await replication.mirror();
    const empty = `${replication.directory}/empty`;
    await Deno.mkdir(empty);
    const args = ["mirror", empty, replication.pairedTarget];
    const result = await unchanged([replication.replica], () => replication.run(args));
    assertEquals(result.code, 1);
    assertMatch(result.stderr, /Cannot delete: the source is empty: 3 entries of its root are kept/);
    // Who means it says so by deleting all but one: that is no unmounted disk.
    await Deno.writeTextFile(`${empty}/one`, "one");
    await replication.run(args, { expectCode: 0 });
    assertEquals((await Array.fromAsync(Deno.readDir(replication.replica))).map(({ name }) => name), ["one"]);
  },
});

Deno.test({
  name:
    "watch-source started on an emptied source is blocked, deletes nothing, and goes on when files are back",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await fill(replication.source);
    await replication.watch();
    await replication.flush();
    await replication.stopWatching();
    for (const name of ["a", "b", "d"]) {
      await Deno.rename(`${replication.source}/${name}`, `${replication.directory}/${name}`);
    }
    await unchanged([replication.replica], async () => {
      await replication.startWatching();
      assertMatch(await blockedReason(replication), /the source is empty: 3 entries of its root are kept/);
    });
    for (const name of ["a", "b", "d"]) {
      await Deno.rename(`${replication.directory}/${name}`, `${replication.source}/${name}`);
    }
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name:
    "root replaced by an empty directory while it is watched: blocked, nothing deleted; put back, it goes on",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await fill(replication.source);
    await replication.watch();
    await replication.flush();
    const away = `${replication.directory}/away`;
    await unchanged([replication.replica], async () => {
      await Deno.rename(replication.source, away);
      await Deno.mkdir(replication.source);
      assertMatch(await blockedReason(replication), /the root is|the source is empty/);
    });
    await Deno.remove(replication.source);
    await Deno.writeTextFile(`${away}/meanwhile`, "changed while it was away");
    await Deno.rename(away, replication.source);
    await replication.waitForState("live");
    await Deno.writeTextFile(`${replication.source}/later`, "contents");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "root replaced by another directory: what the replica has stays until a user confirms the root",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await fill(replication.source);
    await replication.watch();
    await replication.flush();
    await Deno.rename(replication.source, `${replication.directory}/away`);
    await Deno.mkdir(replication.source);
    await Deno.writeTextFile(`${replication.source}/stranger`, "contents");
    assertMatch(await blockedReason(replication), /the root is/);
    // The new directory is taken up, but what it lacks was not deleted by anybody.
    await waitFor(() => Deno.readTextFile(`${replication.replica}/stranger`), {
      what: "the file of the new directory",
      timeoutMs: 30_000,
    });
    assertMatch(
      await blockedReason(replication),
      /the root is another directory than before: deletions wait/,
    );
    for (const name of ["a", "b", "d/c"]) {
      assertEquals(await Deno.readTextFile(`${replication.replica}/${name}`), name);
    }
    // A user says that it is the root now.
    const guard = (...args: string[]) => replication.run(["guard", ...args]);
    assertMatch((await guard("list")).stdout, /^root: another directory than before, waiting, since/);
    const refused = await guard("refuse", "root");
    assertEquals([refused.code, refused.stdout], [1, ""]);
    assertMatch((await guard("confirm", "root")).stdout, /^confirmed root: another directory than before/);
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
    assertEquals((await guard("confirm", "root")).code, 1);
    await replication.stopWatching();
    await replication.startWatching();
    await replication.waitForState("live");
    assertEquals((await guard("list")).stdout.includes("root"), false);
  },
});

Deno.test({
  name: "watch-source on a known set whose root is missing starts blocked, and goes on when it is back",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await fill(replication.source);
    await replication.watch();
    await replication.flush();
    await replication.stopWatching();
    const away = `${replication.directory}/away`;
    await Deno.rename(replication.source, away);
    await unchanged([replication.replica], async () => {
      const daemon = await replication.startWatching();
      await daemon.waitForLine(/^blocked .*the root is missing/);
      assertMatch(await blockedReason(replication), /the root is missing/);
    });
    await Deno.writeTextFile(`${away}/later`, "contents");
    await Deno.rename(away, replication.source);
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
    await waitFor(() => replication.daemon!.stdout.includes("live"), { what: "the word live" });
  },
});
