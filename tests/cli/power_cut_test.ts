/**
 * Goal: nothing that was acked is lost, wherever the target's process or its power ends, and however often the line breaks.
 *
 * Method: the target stands on a file system in an image, which is copied after a flush; the copy is what a power cut would
 * leave. `strace` kills the target at the n-th system call of a kind. A proxy cuts each connection after some bytes in
 * either direction. `UNDERSTUDY_CUTS=200` takes 200 images instead of 25; `UNDERSTUDY_SEED=N` does what an earlier run
 * did. About 90 s.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { lacks } from "../testing/needs.ts";
import { assertSameTree } from "../testing/manifest.ts";
import { startProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { seededRandom } from "../testing/self_describing.ts";
import { SelfDescribingLoad } from "../testing/self_describing_load.ts";
import { loopMount } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");
const cutCount = Number(Deno.env.get("UNDERSTUDY_CUTS") ?? 25);
const seed = Number(Deno.env.get("UNDERSTUDY_SEED") ?? Math.floor(Math.random() * 2 ** 31));

/** The sequence up to which a catalog says that everything is durable. Reading it replays its journal. */
function durableSequence(catalogPath: string): number {
  const database = new DatabaseSync(catalogPath);
  try {
    assertEquals(database.prepare("pragma integrity_check").get()!.integrity_check, "ok");
    const row = database.prepare("SELECT value FROM meta WHERE name = 'durableSequence'").get();
    return Number(row!.value);
  } finally {
    database.close();
  }
}

async function steps(load: SelfDescribingLoad, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await load.step();
}

Deno.test({
  name: `${cutCount} power cuts of the target at ack points (seed ${seed}) take nothing that was acked`,
  ignore: ignore || lacks("root", "loop devices", "command mkfs.ext4"),
  async fn() {
    await using disk = await loopMount({ sizeBytes: 192 << 20 });
    await using replication = await openReplication({ rootParent: disk.path });
    const load = new SelfDescribingLoad(replication.source, seed);
    await steps(load, 60);
    await replication.watch(["--guard-deletes", "off", "--guard-rewrites", "off"]);
    for (let cut = 0; cut < cutCount; cut++) {
      await steps(load, 1 + cut % 7);
      await replication.flush();
      const { lastAckedSequence } = await replication.laneStatus();
      // The copy takes its time, which a power cut does not.
      replication.server.process.kill("SIGSTOP");
      await using after = await disk.copy();
      replication.server.process.kill("SIGCONT");
      await assertSameTree(replication.source, `${after.path}/root/replica`, { root: true });
      const durable = durableSequence(`${after.path}/root/.understudy/replica/catalog.sqlite`);
      assert(
        durable >= lastAckedSequence,
        `cut ${cut}: ${durable} is durable, ${lastAckedSequence} was acked`,
      );
    }
  },
});

/** Calls that change what is on the disk, or make it durable; and those by which an ack leaves. */
const CALLS = [
  "pwrite64",
  "renameat2",
  "fsync",
  "fdatasync",
  "syncfs",
  "ftruncate",
  "unlinkat",
  "write",
  "sendto",
];

Deno.test({
  name: `target killed at the n-th system call of each kind (seed ${seed}): nothing is lost or torn`,
  ignore: ignore || lacks("command strace"),
  async fn() {
    await using replication = await openReplication();
    const load = new SelfDescribingLoad(replication.source, seed);
    const random = seededRandom(seed);
    await steps(load, 60);
    await replication.watch(["--guard-deletes", "off", "--guard-rewrites", "off"]);
    let kills = 0;
    for (let round = 0; round < 3; round++) {
      for (const call of CALLS) {
        const when = 1 + Math.floor(random() * 4 ** (1 + round));
        if (await killAtCall(replication, load, { call, when })) kills++;
        await replication.flush();
        assertEquals((await load.findTorn(replication.replica)).torn, [], `after ${call} ${when}`);
        await replication.assertEqual();
      }
    }
    console.log(`${kills} kills`);
    assert(kills >= CALLS.length, `only ${kills} kills: the calls are not those that are made`);
  },
});

/** @returns Whether the target came to that call and was killed. */
async function killAtCall(
  replication: Replication,
  load: SelfDescribingLoad,
  { call, when }: { call: string; when: number },
): Promise<boolean> {
  const { process } = replication.server;
  const injection = `inject=${call}:signal=KILL:when=${when}`;
  const args = ["-f", "-qqq", "-o", "/dev/null", "-p", `${process.pid}`, "-e", injection];
  await using tracing = startProcess("strace", args);
  await waitFor(() => isTraced(process.pid) || !process.running, { what: "strace" });
  for (let i = 0; i < 40 && process.running; i++) {
    await load.step();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  // What was changed last is on its way.
  await waitFor(() => !process.running, { what: "the end", timeoutMs: 500 }).catch(() => {});
  const isKilled = !process.running;
  tracing.kill("SIGTERM");
  await tracing.ended();
  if (isKilled) {
    await process.ended();
    await replication.startServer();
  }
  return isKilled;
}

function isTraced(pid: number): boolean {
  try {
    return /TracerPid:\s+[1-9]/.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

Deno.test({
  name: `40 connections that break after some bytes, either way (seed ${seed}), lose and double nothing`,
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    const { proxy } = replication;
    const load = new SelfDescribingLoad(replication.source, seed);
    const random = seededRandom(seed);
    await steps(load, 60);
    await replication.watch(["--guard-deletes", "off", "--guard-rewrites", "off"]);
    for (let cut = 0; cut < 40; cut++) {
      const direction = random() < 0.5 ? "forth" : "back";
      // The handshake takes some hundreds of bytes, an ack some dozens.
      const bytes = Math.floor(random() ** 2 * (direction === "forth" ? 100_000 : 3_000));
      const before = proxy!.connectionCount;
      proxy!.cutAfter = { direction, bytes };
      proxy!.cut();
      const broke = async () => {
        await load.step();
        return proxy!.connectionCount > before && proxy!.openCount === 0;
      };
      // One that is to break late may outlive its turn; after failures the source takes its time.
      await waitFor(broke, { what: "a connection to break", timeoutMs: 1_500, intervalMs: 5 }).catch(
        () => {},
      );
    }
    proxy!.cutAfter = undefined;
    proxy!.cut();
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
    assertEquals(await load.findBroken(replication.replica), []);
    const { retries } = await replication.laneStatus();
    console.log(`${proxy!.connectionCount} connections, ${retries} ops sent again`);
    assert(proxy!.connectionCount >= 30);
  },
});
