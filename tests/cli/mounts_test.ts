/**
 * File systems mounted below the root: one that is gone took its files with it, and nobody deleted them. About 20 s.
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication } from "../testing/replication.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux", "root", "command mount");

async function mount(...args: string[]): Promise<AsyncDisposable> {
  await runProcess("mount", args, { expectCode: 0 });
  const point = args.at(-1)!;
  return { [Symbol.asyncDispose]: () => unmount(point) };
}

async function unmount(point: string): Promise<void> {
  await runProcess("umount", ["-l", point], {});
}

for (
  const [what, isOtherDevice] of [["another file system", true], ["the same file system", false]] as const
) {
  Deno.test({
    name: `what a vanished mount of ${what} took with it stays on the target, until it is mounted again`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source, replica, directory } = replication;
      const outside = `${directory}/outside`;
      await Deno.mkdir(outside);
      await Deno.mkdir(`${source}/d/m`, { recursive: true });
      await using _disk = isOtherDevice ? await mount("-t", "tmpfs", "tmpfs", outside) : undefined;
      for (let i = 0; i < 20; i++) await Deno.writeTextFile(`${outside}/f${i}`, `${i}`);
      await Deno.writeTextFile(`${source}/beside`, "beside");
      const again = () => mount("--bind", outside, `${source}/d/m`);
      await using _first = await again();
      await replication.watch();
      await replication.flush();

      await unmount(`${source}/d/m`);
      const isVanished = async () =>
        (await replication.sourceStatus()).problems.some(({ path }) => path === "d/m");
      await waitFor(isVanished, { what: "the problem of the mount point", timeoutMs: 60_000 });
      // All else goes on.
      await Deno.remove(`${source}/beside`);
      await Deno.writeTextFile(`${source}/new`, "new");
      await replication.flush({ hasProblems: true });
      assertEquals([...Deno.readDirSync(replica)].map(({ name }) => name).sort(), ["d", "new"]);
      assertEquals([...Deno.readDirSync(`${replica}/d/m`)].length, 20);

      await Deno.remove(`${outside}/f0`);
      await using _second = await again();
      await waitFor(async () => !await isVanished(), { what: "the end of the problem", timeoutMs: 60_000 });
      await waitFor(() => [...Deno.readDirSync(`${replica}/d/m`)].length === 19, {
        what: "the file that was deleted on the disk",
        timeoutMs: 60_000,
      });
      await replication.flush();
      await replication.assertEqual();
      assert((await replication.sourceStatus()).problems.length === 0);

      await unmount(`${source}/d/m`);
      await waitFor(isVanished, { what: "the problem of the mount point", timeoutMs: 60_000 });
      // Neither another run nor one pass takes it for a deletion.
      await replication.stopWatching();
      const pass = await replication.run(["mirror", source, replica]);
      assertEquals(pass.code, 3);
      assertMatch(pass.stderr, /Cannot read "d\/m": what was mounted here is gone/);
      assertEquals([...Deno.readDirSync(`${replica}/d/m`)].length, 19);
      await replication.watch();
      await replication.flush({ hasProblems: true });
      assertEquals([...Deno.readDirSync(`${replica}/d/m`)].length, 19);
    },
  });
}
