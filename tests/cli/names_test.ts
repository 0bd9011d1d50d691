/**
 * A target that does not tell names apart as the source does (FEATURES F2, T5): NTFS by FUSE, which ignores case. About
 * 10 s.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication } from "../testing/replication.ts";
import { tempDirectory } from "../testing/temp.ts";

const ignore = lacks("linux", "root", "command lowntfs-3g", "command mkntfs");

/** A file system that ignores case, in memory. */
async function caseIgnoringMount(): Promise<AsyncDisposable & { path: string }> {
  await using cleanup = new AsyncDisposableStack();
  const directory = cleanup.use(await tempDirectory());
  const path = `${directory.path}/mount`;
  await Deno.mkdir(path);
  const image = `${directory.path}/image`;
  await Deno.writeFile(image, new Uint8Array());
  await Deno.truncate(image, 64 << 20);
  await runProcess("mkntfs", ["-F", "-Q", "-q", image], { expectCode: 0 });
  await runProcess("lowntfs-3g", ["-o", "ignore_case,permissions", image, path], { expectCode: 0 });
  cleanup.defer(async () => void await runProcess("umount", ["-l", path], { expectCode: 0 }));
  const owned = cleanup.move();
  return { path, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function shell(directory: string, lines: string): Promise<void> {
  await runProcess("bash", ["-ec", `cd "$1"; ${lines}`, "bash", directory], { expectCode: 0 });
}

Deno.test({
  name: "a target that ignores case names what it cannot hold, and never touches its twin",
  ignore,
  async fn() {
    await using mount = await caseIgnoringMount();
    await using replication = await openReplication({ rootParent: mount.path });
    const { source, replica } = replication;
    await shell(
      source,
      "echo small > a; echo large > A; mkdir d D; echo in small > d/x; echo in large > D/x; echo plain > plain; echo 1 > Mixed",
    );
    await replication.watch();
    await replication.flush({ hasProblems: true });
    const problems = async () => {
      const { problems } = await replication.sourceStatus();
      return problems.map(({ path }) => path).sort();
    };
    assertEquals(await problems(), ["A", "D", "D/x", "Mixed"]);
    const reasons = (await replication.sourceStatus()).problems.map(({ reason }) => reason).join("\n");
    assert(/another spelling of this name is there/.test(reasons), reasons);
    assert(/it changes this name/.test(reasons), reasons);
    const contents = async () => {
      const { stdout } = await runProcess("grep", ["-r", "", "."], { cwd: replica, expectCode: 0 });
      return stdout.trim().split("\n").sort();
    };
    assertEquals(await contents(), ["./a:small", "./d/x:in small", "./plain:plain"]);
    // Whatever happens to what is not there happens to nothing.
    await shell(source, "echo changed > A; chmod 600 A; echo more > D/y; mv D/x D/z; echo changed > a");
    await replication.flush({ hasProblems: true });
    assertEquals(await contents(), ["./a:changed", "./d/x:in small", "./plain:plain"]);
    await shell(source, "rm -r A D");
    await replication.flush({ hasProblems: true });
    assertEquals(await contents(), ["./a:changed", "./d/x:in small", "./plain:plain"]);
    // Of two twins the other one takes the place that became free.
    await shell(source, "rm Mixed; mv a b; mv d/x d/y");
    await replication.flush();
    assertEquals(await problems(), []);
    assertEquals(await contents(), ["./b:changed", "./d/y:in small", "./plain:plain"]);
    // NTFS has no time finer than 100 ns: what looks different by that alone is not sent again.
    await replication.assertEqual({ ignore: ["mtime"] });
    await replication.stopWatching();
    assertEquals((await replication.mirror()).ops, {});
  },
});
