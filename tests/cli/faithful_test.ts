/**
 * Everything a file is, in the replica and back (FEATURES F1): modes, owners, times, extended attributes, access control
 * lists, capabilities, hard links, holes, FIFOs, sockets and device nodes. About 30 s.
 *
 * Method: a tree of all of that, three levels deep, made by the programs that users make it with; compared by `find` and
 * Python, and with what `rsync -aHAXS --numeric-ids` makes of it.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { VerifyReport } from "../../src/base/status.ts";
import { lacks, watchingInterceptors } from "../testing/needs.ts";
import { assertSameTree } from "../testing/manifest.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { loopMount } from "../testing/temp.ts";
import { makeVariety, varietyShell as shell } from "../testing/variety.ts";

const ignore = lacks(
  "linux",
  "root",
  "command python3",
  "command setfacl",
  "command setcap",
  "command rsync",
);

function assertFaithful(replication: Replication): Promise<void> {
  return replication.assertEqual({ xattrs: true });
}

for (const road of ["tcp", "local"] as const) {
  Deno.test({
    name: `everything a file is arrives by ${road}, as rsync would have it, and comes back`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road });
      const { source, directory } = replication;
      await makeVariety(source);
      const { problems } = await replication.mirror();
      assertEquals(problems, []);
      await assertFaithful(replication);
      await runProcess("rsync", ["-aHAXS", "--numeric-ids", `${source}/`, `${directory}/rsync/`], {
        expectCode: 0,
      });
      await assertSameTree(`${directory}/rsync`, replication.replica, {
        root: true,
        xattrs: true,
        hardLinks: true,
        // rsync leaves the time of a directory as its own work left it where a socket was made in it.
        exclude: (path) => /(^|\/)socket$/.test(path),
      });
      // Nothing of it is sent again.
      const again = await replication.mirror();
      assertEquals([again.ops, again.problems], [{}, []]);
      await replication.restore(`${directory}/restored`, [], { expectCode: 0 });
      await assertSameTree(source, `${directory}/restored`, { root: true, xattrs: true, hardLinks: true });
    },
  });
}

for (const interceptor of watchingInterceptors()) {
  Deno.test({
    name: `changes of everything a file is arrive live by ${interceptor}`,
    ignore,
    async fn() {
      await using replication = await openReplication();
      const { source } = replication;
      await makeVariety(source);
      await replication.watch(["--intercept", interceptor]);
      const settled = async () => {
        await replication.flush();
        await assertFaithful(replication);
      };
      await settled();
      await shell(
        source,
        String
          .raw`xattr plain user.comment changed; xattr plain user.empty -; xattr a/plain user.new 1; xattr link trusted.l -
        setfacl -b acl; setcap -r capable; setfacl -m u:1234:r a/acl; setcap cap_sys_admin+ep a/capable; setfacl -k acls
        chmod 600 a/b/acl; chown 8:8 a/b/capable; setfacl -d -m u:5:rwx a/acls; xattr a/acls user.of-directory -`,
      );
      await settled();
      // What changes contents, owner or mode takes capabilities away, and must not do so on the target alone.
      await shell(
        source,
        String
          .raw`printf more >> large; setcap cap_chown+i large; chown 15:16 a/large; setcap cap_chown+i a/large
        dd if=/dev/urandom of=a/b/large bs=4096 count=1 seek=100 conv=notrunc status=none
        echo 2 > acls/new; mkdir acls/new-directory; echo 3 > acls/new-directory/in; mv acl acls/moved; cp -a a/acl acls/copied`,
      );
      await settled();
      await shell(
        source,
        String
          .raw`mv plain moved; xattr moved user.comment 'after the move'; mv a/acls a/moved; setfacl -m u:3:r a/moved/in
        rm fifo null disk socket; mkfifo null; mknod fifo c 1 5; mkdir disk; echo 1 > socket; chmod 604 a/null
        rm a/b/link; ln -s elsewhere a/b/link; xattr a/b/link trusted.x y; chmod 7777 a/b/sticky; xattr . user.root 1`,
      );
      await settled();
      assertEquals((await replication.sourceStatus()).problems, []);
      // Nothing is left to be found.
      const verified = await replication.run(["verify", "--json"], { expectCode: 0 });
      const [report]: VerifyReport[] = JSON.parse(verified.stdout).targets;
      assertEquals([report.complete, report.found], [true, 0]);
    },
  });
}

Deno.test({
  name: "verify finds and heals an extended attribute that another hand changed on the target",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica } = replication;
    await makeVariety(source);
    await replication.watch();
    await replication.flush();
    await shell(
      replica,
      "xattr plain user.comment forged; setfacl -b a/acl; xattr a/b/fifo trusted.f -; xattr large user.extra 1",
    );
    const found = await replication.run(["verify", "--repair"]);
    assert(/extended attributes/.test(found.stdout), found.stdout + found.stderr);
    await replication.flush();
    await assertFaithful(replication);
  },
});

Deno.test({
  name: "an extended attribute that the target's file system refuses is named; all else of the file arrives",
  ignore: ignore || lacks("loop devices", "command mkfs.ext4"),
  async fn() {
    await using disk = await loopMount({ sizeBytes: 64 << 20 });
    await using replication = await openReplication({ rootParent: disk.path });
    const { source } = replication;
    await shell(
      source,
      String.raw`echo 1 > fits; xattr fits user.small 1; echo contents > f; xattr f user.small 1
      python3 -c 'import os; os.setxattr("f", "user.large", b"x" * 60_000)'; mkdir d; echo 2 > d/g`,
    );
    await replication.watch();
    await replication.flush({ hasProblems: true });
    const { problems } = await replication.sourceStatus();
    assertEquals(problems.map(({ path }) => path), ["f"]);
    assert(/user\.large/.test(problems[0].reason), problems[0].reason);
    await replication.assertEqual();
    const values = await runProcess("python3", [
      "-c",
      "import os, sys; print(os.listxattr(sys.argv[1]))",
      `${replication.replica}/f`,
    ]);
    assertEquals(values.stdout.trim(), "['user.small']");
    await shell(source, "xattr f user.large -");
    await replication.flush();
    await assertFaithful(replication);
    assertEquals((await replication.sourceStatus()).problems, []);
  },
});

Deno.test({
  name: "extended attributes beyond the bound are named, and the file arrives without them",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source } = replication;
    await shell(
      source,
      String.raw`echo contents > f; python3 -c 'import os
for i in range(5): os.setxattr("f", f"trusted.{i}", b"x" * 60_000)'; echo 1 > g`,
    );
    await replication.watch();
    await replication.flush({ hasProblems: true });
    const { problems } = await replication.sourceStatus();
    assertEquals(problems.map(({ path, reason }) => [path, reason]), [
      ["f", "its extended attributes are larger than 262144 bytes"],
    ]);
    await replication.assertEqual();
    await shell(source, "for i in 0 1 2; do xattr f trusted.$i -; done");
    await replication.flush();
    await assertFaithful(replication);
  },
});
