/**
 * The source is lost, its replica is promoted, and the old source comes back (FEATURES A3, A4). About 40 s.
 * @module
 */
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { existsSync } from "node:fs";
import { lacks } from "../testing/needs.ts";
import { assertSameTree } from "../testing/manifest.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { writeBigFile } from "../testing/tree_maker.ts";
import { run } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

async function shell(directory: string, script: string): Promise<void> {
  await runProcess("bash", ["-ec", `cd "$1"; ${script}`, "bash", directory], { expectCode: 0 });
}

/** What `failback` wrote of what it kept. */
interface Kept {
  kept: string[];
  removed: string[];
}

function keptOf(directory: string): { list: Kept; at: string } {
  const [name] = [...Deno.readDirSync(directory)].map(({ name }) => name)
    .filter((name) => name.startsWith("source.kept-") && name.endsWith(".json"));
  assert(name, "there is a list of what was kept");
  const path = `${directory}/${name}`;
  return { list: JSON.parse(Deno.readTextFileSync(path)), at: path.slice(0, -".json".length) };
}

/** The whole way, with a server that runs or does not when the replica is promoted. */
for (const serverRuns of [true, false]) {
  Deno.test({
    name:
      `promote and failback: the fence holds, what was not sent is kept aside, the difference comes back (server ${
        serverRuns ? "runs" : "does not run"
      })`,
    ignore,
    async fn() {
      await using replication = await openReplication();
      const { source, replica, directory } = replication;
      await shell(
        source,
        "mkdir -p d/e gone; for i in $(seq 50); do echo $i > d/f$i; done; echo 1 > gone/x; ln d/f1 l",
      );
      writeBigFile(`${source}/big`, 64 << 20, { seed: 3 });
      await replication.watch();
      await replication.flush();
      if (serverRuns) await replication.stopWatching();
      else await replication.kill();
      // What the source does when nobody hears of it, as between its last ack and its end.
      await shell(
        source,
        "echo unsent > d/f7; echo new > d/unsent; mkdir only-here; rm d/f9; echo both > d/f8",
      );
      if (!serverRuns) await replication.stopServer();
      const promoted = await replication.promote();
      assertEquals([promoted.unfinished, promoted.failed], [[], []]);
      assertMatch(promoted.lastReceivedAt, /^20/);
      assert(promoted.lastSequence > 0);
      if (!serverRuns) await replication.startServer();
      const [status] = (await replication.targetStatus()).replicas;
      assertEquals([status.state, status.promotedAt], ["promoted", promoted.promotedAt]);
      // Users go on there.
      await shell(
        replica,
        "echo there > d/f8; echo there > d/f20; rm -r gone; mv d/f30 d/renamed; chmod 600 d/f31; echo more > added; " +
          "for at in 1 20 40; do printf X | dd of=big bs=1 seek=${at}000000 conv=notrunc status=none; done",
      );
      // The old source is kept out, and says why.
      await replication.startWatching();
      await waitFor(async () => (await replication.laneStatus()).state === "refused", {
        what: "the refusal",
      });
      assertMatch((await replication.laneStatus()).reason, /was promoted at 20.*--failback/);
      await replication.stopWatching();
      assertEquals(Deno.readTextFileSync(`${replica}/d/f8`), "there\n");

      await replication.watch(["--failback"]);
      const { list, at } = keptOf(directory);
      const unsent = ["d/f7", "d/f8", "d/unsent", "only-here"];
      // After a crash it is not known of all that was sent: then more is kept.
      if (serverRuns) assertEquals(list.kept, unsent);
      else assertEquals(unsent.filter((path) => !list.kept.includes(path)), []);
      if (serverRuns) assertEquals(list.removed, ["d/f9"]);
      assertEquals(Deno.readTextFileSync(`${at}/d/f7`), "unsent\n");
      assertEquals(Deno.readTextFileSync(`${at}/d/f8`), "both\n");
      assertEquals(Deno.readTextFileSync(`${at}/d/unsent`), "new\n");
      assert(existsSync(`${at}/only-here`));
      await replication.flush();
      await replication.assertEqual();
      assertEquals(Deno.readTextFileSync(`${source}/d/f20`), "there\n");
      assert(!existsSync(`${source}/gone`));
      const { bytesReceived, bytesSent } = (await replication.targetStatus()).replicas[0];
      assertLess(bytesReceived + bytesSent, 70 << 20);
      // And on as before.
      await shell(source, "echo live > d/f40; rm d/f41");
      await replication.flush();
      await replication.assertEqual();
      assertEquals((await replication.targetStatus()).replicas[0].promotedAt, "");
    },
  });
}

Deno.test({
  name: "promote refuses while the source is connected, unless it is told to cut it off",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, root } = replication;
    await shell(source, "echo 1 > f");
    await replication.watch();
    const refused = await run(["promote", "replica", "--root", root], { expectCode: 1 });
    assertMatch(refused.stderr, /Cannot promote "replica": its source is connected .*--force/);
    await shell(source, "echo 2 > f");
    await replication.flush();
    await replication.promote(["--force"]);
    await waitFor(async () => (await replication.laneStatus()).state === "refused", { what: "the refusal" });
    await shell(source, "echo 3 > f");
    const again = await replication.promote();
    const more = await replication.promote();
    assertEquals(again, more, "once more changes nothing");
    // The source was right after all.
    const undone = await run(["promote", "replica", "--root", root, "--undo"], { expectCode: 0 });
    assertMatch(undone.stdout, /takes its source again/);
    await replication.stopWatching();
    await replication.watch();
    await replication.flush();
    await replication.assertEqual();
    await run(["promote", "replica", "--root", root, "--undo"], { expectCode: 1 });
    await run(["promote", "nobody", "--root", root], { expectCode: 2 });
  },
});

Deno.test({
  name:
    "failback that is killed on its way goes on when it is begun again, and loses nothing of what was not sent",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica, directory } = replication;
    await shell(
      source,
      "for d in $(seq 40); do mkdir d$d; for i in $(seq 50); do echo $i > d$d/f$i; done; done",
    );
    await replication.watch();
    await replication.flush();
    await replication.kill();
    await shell(source, "for d in $(seq 40); do echo unsent $d > d$d/f7; done");
    await replication.promote();
    await shell(replica, "for d in $(seq 40); do for i in $(seq 50); do echo there > d$d/f$i; done; done");
    for (let delayMs = 150;; delayMs += 150) {
      await replication.startWatching(["--failback"]);
      await new Promise((go) => setTimeout(go, delayMs));
      if ((await replication.laneStatus().catch(() => undefined))?.state === "live") break;
      await replication.kill();
      const { promotedAt } = (await replication.targetStatus()).replicas[0];
      if (promotedAt === "") {
        await replication.watch();
        break;
      }
    }
    await replication.flush();
    await replication.assertEqual();
    const texts: string[] = [];
    for (const { name, isDirectory } of Deno.readDirSync(directory)) {
      if (!name.startsWith("source.kept-") || !isDirectory) continue;
      for (const below of Deno.readDirSync(`${directory}/${name}`)) {
        const path = `${directory}/${name}/${below.name}/f7`;
        if (!existsSync(path)) continue;
        const text = Deno.readTextFileSync(path);
        if (text.startsWith("unsent")) texts.push(text.trim());
      }
    }
    assertEquals(new Set(texts).size, 40);
  },
});

Deno.test({
  name: "failback from what was never promoted, and others that cannot be, are clear errors",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source } = replication;
    await shell(source, "echo 1 > f");
    await replication.mirror();
    const failed = await watchFails(replication, ["--failback"]);
    assertMatch(failed, /it is not promoted; start without --failback/);
    await replication.promote();
    assertMatch(
      await watchFails(replication, ["--failback", "--keep-aside", `${source}/in`]),
      /lies inside the source/,
    );
    const refused = await replication.run(["mirror", source, replication.target], { expectCode: 1 });
    assertMatch(refused.stderr, /was promoted at/);
    await assertSameTree(source, replication.replica);
  },
});

Deno.test({
  name: "a local target is promoted by its parent directory, and failed back from",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica, directory } = replication;
    await shell(source, "mkdir d; echo 1 > d/f; echo 2 > d/g");
    await replication.watch();
    await replication.flush();
    await replication.stopWatching();
    await shell(source, "echo unsent > d/f");
    await replication.promote();
    await shell(replica, "echo there > d/f; rm d/g; echo there > new");
    const refused = await watchFails(replication, []);
    assertMatch(refused, /was promoted at/);
    await replication.watch(["--failback"]);
    await replication.flush();
    await replication.assertEqual();
    assertEquals(keptOf(directory).list.kept, ["d/f"]);
  },
});

/** Starts `watch-source`, which fails or is refused; gives what it says. */
async function watchFails(replication: Replication, args: string[]): Promise<string> {
  await replication.startWatching(args);
  const said = () => replication.daemon!.describe();
  await waitFor(() => /Cannot/.test(said()), { what: "an error" });
  await replication.kill().catch(() => {});
  return said();
}
