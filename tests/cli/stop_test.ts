/**
 * Ends in order, by SIGTERM and by Ctrl-C: nothing is lost, nothing stays behind, nothing is sent again. About 20 s.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { leftovers } from "../testing/leftovers.ts";
import { openReplication } from "../testing/replication.ts";
import { run, startTarget } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");
const MiB = 1024 ** 2;

const stops: [signal: Deno.Signal, code: number][] = [["SIGTERM", 0], ["SIGINT", 130]];
for (const [signal, code] of stops) {
  Deno.test({
    name:
      `${signal} ends source and server with ${code}: nothing stays behind, and a restart sends nothing again`,
    ignore,
    async fn() {
      await using replication = await openReplication();
      for (let i = 0; i < 200; i++) {
        await Deno.writeTextFile(`${replication.source}/f${i}`, `${i}`.repeat(1_000));
      }
      await Deno.writeFile(`${replication.source}/large`, new Uint8Array(3 * MiB).fill(7));
      const daemon = await replication.watch();
      await replication.flush();
      const { lastAckedSequence } = await replication.laneStatus();
      const server = replication.server.process;
      daemon.kill(signal);
      assertEquals((await daemon.ended()).code, code, daemon.describe());
      server.kill(signal);
      assertEquals((await server.ended()).code, code, server.describe());
      for (const process of [daemon, server]) assert(!process.stderr.includes("Cannot"), process.describe());
      await replication.assertEqual();
      assertEquals(await leftovers(`${replication.directory}/root`), []);
      assertEquals(await leftovers(replication.state), []);
      // Address, lock and socket are free.
      await replication.startServer();
      await replication.watch();
      await replication.flush();
      const lane = await replication.laneStatus();
      assertEquals([lane.opsSent, lane.lastAckedSequence], [{ abandon: 1 }, lastAckedSequence + 1]);
    },
  });
}

Deno.test({
  name: "SIGTERM in the middle of a mirror ends both sides in order; what was acked is not sent again",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true, args: ["--compress", "none"] });
    const contents = new Uint8Array(100_000);
    const fileCount = 600;
    for (let i = 0; i < fileCount; i++) {
      crypto.getRandomValues(contents.subarray(0, 65_536));
      crypto.getRandomValues(contents.subarray(65_536));
      await Deno.writeFile(`${replication.source}/f${i}`, contents);
    }
    const total = contents.length * fileCount;
    const { bytes } = replication.proxy!;
    const daemon = await replication.startWatching();
    await waitFor(() => bytes.forth > total / 2, { what: "half of the mirror", timeoutMs: 60_000 });
    daemon.kill("SIGTERM");
    assertEquals((await daemon.ended()).code, 0, daemon.describe());
    await replication.stopServer();
    assertEquals(replication.server.process.describe().includes("exit code 0"), true);
    assertEquals(await leftovers(`${replication.directory}/root`), []);
    await replication.startServer();
    await replication.watch();
    await replication.flush();
    await replication.assertEqual();
    assert(bytes.forth < total * 1.3, `${bytes.forth} bytes went over the line for ${total}`);
  },
});

Deno.test({
  name: "SIGINT ends a mirror with 130, and the next one goes on",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    for (let i = 0; i < 2_000; i++) await Deno.writeTextFile(`${replication.source}/f${i}`, `${i}`);
    const mirror = replication.startCommand(["mirror", replication.source, replication.target]);
    await using process = await mirror;
    await waitFor(async () => (await Array.fromAsync(Deno.readDir(replication.replica))).length > 0, {
      what: "the first file",
      timeoutMs: 30_000,
    });
    process.kill("SIGINT");
    const { code } = await process.ended();
    // It may have been done just before.
    assert(code === 130 || code === 0, process.describe());
    await replication.mirror();
    await replication.assertEqual();
    assertEquals(await leftovers(`${replication.directory}/.understudy`), []);
  },
});

Deno.test({
  name: "serve-target stops with a source connected and takes it back after its restart",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await replication.watch();
    await replication.stopServer();
    await Deno.writeTextFile(`${replication.source}/meanwhile`, "contents");
    await replication.waitForState("disconnected");
    const flush = await replication.run(["flush", "--timeout", "1s"]);
    assertEquals(flush.code, 1);
    assert(/Cannot flush within 1s: .* is disconnected/.test(flush.stderr), flush.stderr);
    await replication.startServer();
    await replication.flush();
    await replication.assertEqual();
    // Its root is locked by the one that runs.
    const root = `${replication.directory}/root`;
    assertEquals((await run(["serve-target", "--root", root, "--listen", "127.0.0.1:0"])).code, 1);
    await replication.stopServer();
    await using again = await startTarget(root);
    assert(again.process.running);
  },
});
