/**
 * Real files, changed by real programs, replicated live by the executable and restored; on every road. About 30 s each.
 *
 * *Goal*: whatever git, cp, tar, rm, mv, editors and SQLite do to more than 5,000 files of this machine, after `flush` the replica
 * is equal in contents, modes, owners, times to the nanosecond and link targets, as `find` and `sha256sum` see it; and
 * so is what `restore` brings back.
 *
 * *Method*: one story, told once for each road.
 * @module
 */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { assertSameTree, manifest } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess, startProcess } from "../testing/process.ts";
import { openReplication, type Replication, type ReplicationOptions } from "../testing/replication.ts";
import { projectRoot } from "../testing/understudy.ts";

const ignore = lacks("linux", "command git", "command sqlite3", "command tar");

const FILE_COUNT_MIN = 5_000;

const roads: [name: string, options: ReplicationOptions, interceptor: string][] = [
  ["over TCP, encrypted, heard by inotify", {}, "inotify"],
  ["to a local directory, heard by fanotify", { road: "local" }, "fanotify"],
  [
    "over TCP with AES-256-GCM and deflate, heard by watchfs",
    { args: ["--cipher", "aes-256-gcm", "--compress", "deflate"] },
    "watchfs",
  ],
  [
    "over TCP in the clear, heard by what is best here",
    { args: ["--cipher", "none", "--compress", "none"] },
    "auto",
  ],
];

for (const [name, options, interceptor] of roads) {
  Deno.test({
    name: `watch-source follows git, cp, tar, rm, mv, editors and SQLite ${name}`,
    ignore: ignore || (interceptor === "fanotify" && lacks("root")),
    async fn() {
      await using replication = await openReplication(options);
      await makeRealTree(replication.source);
      await replication.watch(["--intercept", interceptor]);
      await replication.assertEqual();

      await step(replication, "git", useGit);
      await step(replication, "whole trees", moveTrees);
      await assertRenamesTravelAsRenames(replication);
      await step(replication, "editors", saveLikeEditors);
      await writeDatabases(replication);

      const { problems, targets } = await replication.sourceStatus();
      assertEquals(problems, []);
      assertEquals(targets[0].errors, 0);
      await replication.stopWatching();
      const restored = `${replication.directory}/restored`;
      const { code, stderr } = await replication.restore(restored);
      assertEquals([code, stderr], [0, ""]);
      await assertSameTree(replication.source, restored, { root: true });
    },
  });
}

/** Files of this machine, of every kind of program, and a clone of this repository. */
async function makeRealTree(source: string): Promise<void> {
  await shell(
    `mkdir "$1/share"; cd /
     find usr/share usr/include usr/lib usr/bin -xdev \\( -type l -o -type f -size -200k -readable \\) -print0 2>/dev/null |
       head -z -n 5500 | tar -c --null -T - | tar -x -C "$1/share"
     find usr/bin usr/lib -xdev -type f -size +1000k -size -5000k -print0 2>/dev/null | head -z -n 4 |
       tar -c --null -T - | tar -x -C "$1/share"
     git clone -q --no-hardlinks "$2" "$1/repo" 2>/dev/null || {
       mkdir "$1/repo"; cp -a "$2/src" "$2/tests" "$2/docs" "$1/repo"; cd "$1/repo"; git init -q; git add -A; git commit -qm first; }
     find "$1/share" -type d -exec touch -d 2001-02-03T04:05:06.789012345 {} +`,
    source,
    projectRoot,
  );
  const files = [...(await manifest(source)).values()].filter(({ kind }) => kind === "f");
  assertGreater(files.length, FILE_COUNT_MIN);
}

async function step(
  replication: Replication,
  what: string,
  change: (source: string) => Promise<void>,
): Promise<void> {
  await change(replication.source);
  await replication.flush();
  await replication.assertEqual().catch((cause) => {
    throw new Error(`Cannot go on: after ${what} the trees differ: ${cause.message}`, { cause });
  });
}

async function useGit(source: string): Promise<void> {
  await shell(
    `cd "$1/repo"; first=$(git rev-parse --abbrev-ref HEAD); git checkout -q -b other
     for i in 1 2 3 4 5; do for file in src/base/*.ts; do echo "// $i" >>"$file"; done; git add -A; git commit -qm "change $i"; done
     git mv src/base src/ground; git rm -rq src/wire; git commit -qm "move and remove"
     git checkout -q "$first"; git gc -q --prune=now; git checkout -q other; git tag -a -m tag tagged; git stash list
     git branch -D "$first"; git repack -adq; git checkout -q tagged~2`,
    source,
  );
}

async function moveTrees(source: string): Promise<void> {
  await shell(
    `cd "$1"; cp -a repo copied; tar -cf all.tar copied; mkdir -p deep/er; tar -xf all.tar -C deep/er; rm all.tar
     rm -rf copied/src; mv deep/er/copied/src moved; mv moved copied; ln -sfn ../moved deep/link; rm -rf deep/er/copied/tests
     cd copied; chmod -R go-rwx docs; chown -R 1:2 docs 2>/dev/null || :
     touch -d 1999-12-31T23:59:59.999999999 docs docs/*; touch -hd 1980-01-01 ../deep/link; rmdir ../deep/er/none 2>/dev/null || :`,
    source,
  );
}

/** A directory of more than 5,000 files takes another name: nothing of it may travel. */
async function assertRenamesTravelAsRenames(replication: Replication): Promise<void> {
  const before = await replication.laneStatus();
  await step(
    replication,
    "the rename of a directory",
    (source) => shell(`cd "$1"; mv share 'other name'`, source),
  );
  const after = await replication.laneStatus();
  const sent = (kind: string) => (after.opsSent[kind] ?? 0) - (before.opsSent[kind] ?? 0);
  assertEquals(
    {
      rename: sent("rename"),
      file: sent("file"),
      block: sent("block"),
      mkdir: sent("mkdir"),
      unlink: sent("unlink"),
    },
    { rename: 1, file: 0, block: 0, mkdir: 0, unlink: 0 },
  );
  assertLess(after.bytesSent - before.bytesSent, 16 * 1024);
}

/** As vi, emacs and most others save: a new file takes the old one's name, with or without a backup. */
async function saveLikeEditors(source: string): Promise<void> {
  await shell(
    `mkdir "$1/texts"; cd "$1/texts"; for i in $(seq 40); do echo "text $i" >"$i"; done
     for round in 1 2 3; do for i in $(seq 40); do
       { cat "$i"; echo "round $round"; } >".$i.tmp"; mv ".$i.tmp" "$i"
       mv "$i" "$i~"; { cat "$i~"; echo "more $round"; } >"$i"; [ $((i % 3)) = 0 ] || rm "$i~"
       ln "$i" ".#$i" 2>/dev/null; rm -f ".#$i"; echo "in place" >>"$i"; done; done`,
    source,
  );
}

/** Two databases are written while they are replicated, one in each journal mode; in the end their copies are sound. */
async function writeDatabases(replication: Replication): Promise<void> {
  const { source, replica } = replication;
  const modes = ["wal", "delete"];
  const script = modes.map((mode) =>
    `{ echo "pragma journal_mode=${mode}; create table t(id integer primary key, x blob);"
       for i in $(seq 150); do
         echo "insert into t(x) values (randomblob(3000)), (randomblob(20)); update t set x = zeroblob(100) where id % 17 = $i % 17;"
       done; } | sqlite3 -batch "$1/${mode}.db" >/dev/null &`
  ).join("\n");
  {
    await using writing = startProcess("sh", ["-ec", `${script}\necho begun; wait`, "sh", source]);
    await writing.waitForLine("begun");
    // Somebody who flushes is answered, although the writing goes on.
    await replication.flush();
    assertEquals((await writing.ended({ timeoutMs: 120_000 })).code, 0, writing.describe());
  }
  await replication.flush();
  await replication.assertEqual();
  for (const mode of modes) {
    const copy = `${replication.directory}/${mode}.db`;
    await Deno.copyFile(`${replica}/${mode}.db`, copy);
    const { stdout } = await runProcess("sqlite3", [copy, "pragma integrity_check; select count(*) from t"], {
      expectCode: 0,
    });
    assertEquals(stdout.trim().split("\n"), ["ok", "300"]);
    assert((await Deno.stat(copy)).size > 100_000);
  }
}

async function shell(script: string, ...args: string[]): Promise<void> {
  const env = {
    LC_ALL: "C",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_AUTHOR_NAME: "A",
    GIT_AUTHOR_EMAIL: "a@localhost",
    GIT_COMMITTER_NAME: "A",
    GIT_COMMITTER_EMAIL: "a@localhost",
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: "safe.directory",
    GIT_CONFIG_VALUE_0: "*",
  };
  await runProcess("sh", ["-ec", script, "sh", ...args], { env, expectCode: 0, timeoutMs: 120_000 });
}
