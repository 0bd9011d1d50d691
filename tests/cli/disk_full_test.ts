/**
 * A target without room, and files that its file system does not take. About 30 s.
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { ReplicaStatus } from "../../src/base/status.ts";
import { lacks } from "../testing/needs.ts";
import { assertSameTree } from "../testing/manifest.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { decodeVersion, encodeVersion } from "../testing/self_describing.ts";
import { loopMount, type TempDirectory, tmpfsMount } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

const MiB = 1024 ** 2;
const ignore = lacks("linux", "root");
const ignoreExt4 = ignore || lacks("loop devices", "command mkfs.ext4", "command chattr");

/** What fills the target's disk, beside the root. */
function ballast(replication: Replication): string {
  return `${replication.root}/../ballast`;
}

/** Fills the target's disk but for some room. */
async function fillDisk(replication: Replication, roomBytes: number): Promise<void> {
  const { stdout } = await runProcess("df", ["--output=avail", "-B1", replication.root], { expectCode: 0 });
  const size = Math.max(0, Number(stdout.trim().split("\n")[1]) - roomBytes);
  using file = await Deno.open(ballast(replication), { write: true, create: true, truncate: true });
  const zeros = new Uint8Array(MiB);
  for (let left = size; left > 0; left -= zeros.length) {
    await file.write(zeros.subarray(0, Math.min(left, zeros.length)));
  }
}

/** Waits until both sides say that there is no room. */
async function assertBlocked(replication: Replication): Promise<void> {
  const lane = await replication.waitForState("blocked");
  assertMatch(lane.reason, /no space|ENOSPC/i);
  const replica = await waitFor<ReplicaStatus>(async () => {
    const status = await replication.replicaStatus();
    return status.state === "blocked" && status;
  }, { what: "the server's word that it is blocked", intervalMs: 100 });
  assertMatch(replica.reason, /no space|ENOSPC/i);
  assert(replication.daemon!.running);
  assert(replication.server.process.running);
}

/** Asserts that every file that is live on the target is whole. */
async function assertNoneTorn(replication: Replication): Promise<number> {
  let count = 0;
  for await (const { name } of Deno.readDir(replication.replica)) {
    const bytes = await Deno.readFile(`${replication.replica}/${name}`);
    assert(typeof decodeVersion(bytes) === "object", `${name} of ${bytes.length} bytes is torn`);
    count++;
  }
  return count;
}

async function writeVersion(replication: Replication, id: number, size: number): Promise<void> {
  await Deno.writeFile(`${replication.source}/v${id}`, encodeVersion({ id, generation: 1 }, { size }));
}

const disks: [what: string, ignore: boolean, mount: () => Promise<TempDirectory>][] = [
  ["tmpfs", ignore, () => tmpfsMount({ sizeBytes: 48 * MiB })],
  ["ext4", ignoreExt4, () => loopMount({ sizeBytes: 64 * MiB })],
];
for (const [what, ignore, mount] of disks) {
  Deno.test({
    name:
      `target disk (${what}) that fills up during a mirror blocks it, by name; with room again it goes on`,
    ignore,
    async fn() {
      await using disk = await mount();
      await using replication = await openReplication({ rootParent: disk.path });
      for (let id = 1; id <= 40; id++) await writeVersion(replication, id, id % 4 ? 200_000 : 2 * MiB);
      await fillDisk(replication, 12 * MiB);
      await replication.startWatching();
      await assertBlocked(replication);
      assert(await assertNoneTorn(replication) < 40);
      // It does not spin: what is blocked sends nothing.
      await Deno.remove(ballast(replication));
      await replication.waitForState("live");
      await replication.flush();
      assertEquals(await assertNoneTorn(replication), 40);
      await replication.assertEqual();
    },
  });

  Deno.test({
    name: `target disk (${what}) that fills up during live replication blocks it; with room again it goes on`,
    ignore,
    async fn() {
      await using disk = await mount();
      await using replication = await openReplication({ rootParent: disk.path });
      await writeVersion(replication, 1, 500_000);
      await replication.watch();
      await replication.flush();
      await fillDisk(replication, 3 * MiB);
      for (let id = 2; id <= 20; id++) await writeVersion(replication, id, 400_000);
      await assertBlocked(replication);
      await assertNoneTorn(replication);
      // The source keeps running, also over a restart of either side, and takes what happens meanwhile.
      await writeVersion(replication, 21, 400_000);
      await Deno.rename(`${replication.source}/v1`, `${replication.source}/renamed`);
      replication.daemon!.kill("SIGKILL");
      await replication.daemon!.ended();
      await replication.startWatching();
      await assertBlocked(replication);
      await replication.stopServer();
      await replication.startServer();
      await assertBlocked(replication);
      await Deno.remove(ballast(replication));
      await replication.waitForState("live");
      await replication.flush();
      assertEquals(await assertNoneTorn(replication), 21);
      await replication.assertEqual();
    },
  });
}

Deno.test({
  name:
    "file that the target may not replace is named and counted; all others go on, and so does it when it may",
  ignore: ignoreExt4,
  async fn() {
    await using disk = await loopMount({ sizeBytes: 64 * MiB });
    await using replication = await openReplication({ rootParent: disk.path });
    for (const name of ["free", "fixed"]) await Deno.writeTextFile(`${replication.source}/${name}`, "old");
    await replication.watch();
    await replication.flush();
    const immutable = `${replication.replica}/fixed`;
    await runProcess("chattr", ["+i", immutable], { expectCode: 0 });
    try {
      for (const name of ["free", "fixed", "new"]) {
        await Deno.writeTextFile(`${replication.source}/${name}`, "now");
      }
      const status = await waitFor(async () => {
        const found = await replication.sourceStatus();
        return found.problems.length > 0 && found;
      }, { what: "a problem in status", timeoutMs: 30_000, intervalMs: 100 });
      assertEquals(status.problems.map(({ path }) => path), ["fixed"]);
      assertMatch(status.problems[0].reason, /EPERM|not permitted|no permission/i);
      assert(status.targets[0].errors > 0);
      await waitFor(async () => await Deno.readTextFile(`${replication.replica}/new`) === "now", {
        what: "the new file",
        timeoutMs: 30_000,
      });
      assertEquals(await Deno.readTextFile(`${replication.replica}/free`), "now");
      assertEquals(await Deno.readTextFile(immutable), "old");
      const mirror = await replication.run(["status"]);
      assertMatch(mirror.stdout, /fixed/);
    } finally {
      await runProcess("chattr", ["-i", immutable], { expectCode: 0 });
    }
    await Deno.writeTextFile(`${replication.source}/fixed`, "later");
    await replication.flush();
    await replication.assertEqual();
    assertEquals((await replication.sourceStatus()).problems, []);
  },
});

Deno.test({
  name: "mirror counts and lists a file that the target may not replace, and ends with 3",
  ignore: ignoreExt4,
  async fn() {
    await using disk = await loopMount({ sizeBytes: 64 * MiB });
    await using replication = await openReplication({ rootParent: disk.path });
    for (const name of ["free", "fixed"]) await Deno.writeTextFile(`${replication.source}/${name}`, "old");
    await replication.mirror();
    const immutable = `${replication.replica}/fixed`;
    await runProcess("chattr", ["+i", immutable], { expectCode: 0 });
    try {
      for (const name of ["free", "fixed"]) {
        await Deno.writeTextFile(`${replication.source}/${name}`, "newer");
      }
      const result = await replication.run(["mirror", replication.source, replication.pairedTarget]);
      assertEquals(result.code, 3, result.stderr);
      assertMatch(result.stderr, /understudy: Cannot \w+ "fixed": /);
      assertMatch(result.stdout, /1 problems?/);
      assertEquals(await Deno.readTextFile(`${replication.replica}/free`), "newer");
    } finally {
      await runProcess("chattr", ["-i", immutable], { expectCode: 0 });
    }
    await replication.mirror();
    await assertSameTree(replication.source, replication.replica);
  },
});
