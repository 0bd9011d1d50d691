/**
 * Deletions need evidence (DESIGN §3.8): a root that is gone, exchanged or emptied, and a directory that cannot be read,
 * delete nothing on the target.
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { isSameRoot, RootGuard } from "../../src/source/root_guard.ts";
import { SystemError } from "../../src/base/errors.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { faultyFileSystem } from "../testing/faulty_file_system.ts";
import { lookBelow, Pair } from "../testing/loopback.ts";
import { assertSameTree } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { tempDirectory } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

function fill(root: string): void {
  mkdirSync(`${root}/d/e`, { recursive: true });
  for (const path of ["a", "d/b", "d/e/c"]) writeFileSync(`${root}/${path}`, path);
}

const isDeletion = (op: string) => /^(unlink|rmdir)/.test(op);

Deno.test({
  name: "Replicator deletes nothing when the root was replaced by an empty directory",
  ignore,
  async fn() {
    await using pair = await Pair.open();
    fill(pair.sourceRoot);
    await pair.mirror();
    renameSync(pair.sourceRoot, `${pair.sourceRoot}.gone`);
    mkdirSync(pair.sourceRoot);
    pair.hint("a", "d", "d/b", lookBelow(""), lookBelow("d"));
    await waitFor(() => pair.replicator.status().state === "blocked", { what: "a blocked lane" });
    assertEquals(pair.replicator.status().reason, "the root is gone");
    assertEquals(pair.takeOps().filter(isDeletion), []);
    await assertSameTree(`${pair.sourceRoot}.gone`, pair.replicaRoot);
    rmSync(`${pair.sourceRoot}.gone`, { recursive: true });
    pair.hint("a", "d", "d/b", lookBelow(""));
    await pair.replicator.settled(AbortSignal.timeout(300));
    assertEquals(pair.takeOps().filter(isDeletion), []);
    assertEquals(readdirSync(pair.replicaRoot).sort(), ["a", "d"]);
  },
});

Deno.test({
  name: "Replicator deletes nothing when a scan finds the source empty, and says so until it is not",
  ignore,
  async fn() {
    await using pair = await Pair.open();
    fill(pair.sourceRoot);
    await pair.mirror();
    for (const name of ["a", "d"]) rmSync(`${pair.sourceRoot}/${name}`, { recursive: true });
    pair.hint(lookBelow(""));
    await waitFor(() => pair.replicator.deletionsWait, { what: "deletions that wait" });
    assertEquals(await pair.replicator.settled(), false, "a flush does not say that this is committed");
    assertStringIncludes(pair.replicator.status().reason, "the source is empty: 2 entries");
    assertEquals(pair.takeOps().filter(isDeletion), []);
    writeFileSync(`${pair.sourceRoot}/new`, "x");
    await waitFor(async () => {
      pair.hint(lookBelow(""));
      return await pair.replicator.settled();
    }, { what: "the end of the wait" });
    assertEquals(pair.replicator.deletionsWait, "");
    await assertSameTree(pair.sourceRoot, pair.replicaRoot);
  },
});

Deno.test({
  name: "Replicator follows when users remove the last entries one by one",
  ignore,
  async fn() {
    await using pair = await Pair.open();
    fill(pair.sourceRoot);
    await pair.mirror();
    for (const name of ["a", "d"]) rmSync(`${pair.sourceRoot}/${name}`, { recursive: true });
    await pair.look("d/e/c", "d/e", "d/b", "d", "a");
    await assertSameTree(pair.sourceRoot, pair.replicaRoot);
    await pair.verify();
  },
});

Deno.test({
  name: "Replicator goes on when a scan found the source empty and hints then tell of every deletion",
  ignore,
  async fn() {
    await using pair = await Pair.open();
    writeFileSync(`${pair.sourceRoot}/a`, "x");
    await pair.mirror();
    rmSync(`${pair.sourceRoot}/a`);
    pair.hint(lookBelow(""));
    await waitFor(() => pair.replicator.deletionsWait, { what: "deletions that wait" });
    await pair.look("a");
    assertEquals(pair.replicator.deletionsWait, "");
    await assertSameTree(pair.sourceRoot, pair.replicaRoot);
  },
});

for (const method of ["scan", "stat"]) {
  Deno.test({
    name:
      `Replicator deletes nothing below a directory that it cannot read (${method}), and names the problem`,
    ignore,
    async fn() {
      let isUnreadable = false;
      const sourceFileSystem = faultyFileSystem(systemFileSystem(), {
        before(call) {
          if (!isUnreadable || call.method !== method || !call.path.startsWith("d")) return;
          throw new SystemError("EACCES", `Cannot ${method} "${call.path}": permission denied`);
        },
      });
      await using pair = await Pair.open({ sourceFileSystem });
      fill(pair.sourceRoot);
      await pair.mirror();
      isUnreadable = true;
      await pair.look("d", "d/b", "d/e/c", lookBelow("d"), lookBelow(""));
      assertEquals(pair.takeOps(), []);
      assert(pair.replicator.problems.list().some(({ path, op }) => path === "d" && op === "read"));
      isUnreadable = false;
      await pair.look("d", lookBelow("d"));
      await assertSameTree(pair.sourceRoot, pair.replicaRoot);
    },
  });
}

Deno.test({
  name:
    "Replicator sends what is new below an exchanged root, deletes nothing and does not say that it settled",
  ignore,
  async fn() {
    const reason = "the root is another directory than before: deletions wait";
    await using pair = await Pair.open({ policy: { deleteAbsent: false }, pausedDeletions: reason });
    fill(pair.sourceRoot);
    pair.start();
    await waitFor(() => pair.replicator.status().lastAckedSequence > 0, { what: "the first acks" });
    await pair.replicator.mirrored();
    pair.takeOps();
    rmSync(`${pair.sourceRoot}/a`);
    writeFileSync(`${pair.sourceRoot}/new`, "x");
    pair.hint("a", "new", lookBelow(""));
    assertEquals(await pair.replicator.settled(), false);
    assertEquals(pair.takeOps().filter(isDeletion), []);
    assertEquals(readdirSync(pair.replicaRoot).sort(), ["a", "d", "new"]);
    assertEquals(pair.replicator.status().reason, reason);
  },
});

Deno.test({
  name: "RootGuard stands while its path names the directory that was opened, and no longer",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    const root = `${directory.path}/root`;
    mkdirSync(root);
    const guard = new RootGuard(systemFileSystem(), root);
    using _tree = guard.tree;
    assert(guard.stands());
    assertMatch(guard.identity, new RegExp(`^${Deno.statSync(root).ino}:\\d+:[0-9a-f]*$`));
    writeFileSync(`${root}/a`, "changes inside are none of the root");
    assert(guard.stands());
    renameSync(root, `${root}.moved`);
    assert(!guard.stands(), "gone");
    mkdirSync(root);
    assert(!guard.stands(), "another directory");
    rmSync(root, { recursive: true });
    writeFileSync(root, "");
    assert(!guard.stands(), "a file");
    rmSync(root);
    Deno.symlinkSync(`${root}.moved`, root);
    assert(guard.stands(), "the same directory by another way");
  },
});

Deno.test("isSameRoot() tells roots with one inode number apart by when and where they were made, if that is known", () => {
  assert(isSameRoot("2:1000", "2:1000"));
  assert(!isSameRoot("2:1000", "2:2000"), "the root of another file system");
  assert(!isSameRoot("2:1000", "3:1000"));
  assert(isSameRoot("2:0", "2:2000") && isSameRoot("2:1000", "2:0"), "no time of making");
  assert(!isSameRoot("2:1000:a", "2:1000:b"), "two file systems that were made in one second");
  assert(isSameRoot("2:1000:a", "2:1000:a") && isSameRoot("2:1000:a", "2:1000:"));
  assert(isSameRoot("2:1000", "2:1000:a"), "as the version before told it");
  assert(isSameRoot("2", "2:1000") && !isSameRoot("2", "3:1000"), "as an earlier version told it");
});
