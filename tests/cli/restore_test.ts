/**
 * `restore` from a server and from a local replica: everything, parts, over what is there already. About 25 s.
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { assertSameTree, compareManifests, manifest } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess, startProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { tmpfsMount } from "../testing/temp.ts";
import { makeTree, writeBigFile } from "../testing/tree_maker.ts";

const ignore = lacks("linux");
const roads = ["tcp", "local"] as const;

/** What a shell script prints, run in a directory. */
async function shell(directory: string, script: string): Promise<string> {
  return (await runProcess("sh", ["-ec", `cd "$1"; ${script}`, "sh", directory], { expectCode: 0 })).stdout;
}

/** A mirrored tree of everything that version 1 replicates. */
async function openMirrored(road: (typeof roads)[number]): Promise<Replication> {
  await using cleanup = new AsyncDisposableStack();
  const replication = cleanup.use(await openReplication({ road }));
  makeTree(replication.source, {
    fileCount: 60,
    depthMax: 2,
    oddNames: true,
    symlinks: true,
    bigFiles: [2_000_000],
  });
  await shell(
    replication.source,
    "mkdir -p sub/deep; echo 1 >sub/one; echo 2 >sub/deep/two; chmod 2750 sub; touch -d @9.5 sub/deep sub",
  );
  await replication.mirror();
  cleanup.move();
  return replication;
}

/** Asserts that nothing of ours stands in or beside a directory. */
async function assertNothingOfOurs(directory: string): Promise<void> {
  const beside = `${directory}/..`;
  assertEquals(await shell(directory, "find . -name '.understudy*'"), "");
  // Beside a local replica stands its own state: none of the restored directory may be in it.
  const name = directory.slice(directory.lastIndexOf("/") + 1);
  assertEquals(
    await shell(beside, `find . -path './.understudy*' -name '${name}' -o -name '.understudy-*'`),
    "",
  );
}

for (const road of roads) {
  const from = road === "tcp" ? "from a server" : "from a local replica";

  Deno.test({
    name: `restore ${from} brings everything back into a directory that it makes`,
    ignore,
    async fn() {
      await using replication = await openMirrored(road);
      const restored = `${replication.directory}/new/restored`;
      const before = await manifest(replication.replica);
      const { code, stdout, stderr } = await replication.restore(restored);
      assertEquals([code, stderr], [0, ""]);
      assertMatch(stdout, /^restored \d+ files of \d+ entries/m);
      await assertSameTree(replication.source, restored, { root: true });
      assertEquals(await shell(`${restored}/..`, "ls -A"), "restored\n");
      await assertNothingOfOurs(restored);
      assertEquals(compareManifests(before, await manifest(replication.replica), { root: true }), []);
      // Once more there is nothing to do.
      const { files, ops } = JSON.parse((await replication.restore(restored, ["--json"])).stdout);
      assertEquals({ files, ops }, { files: 0, ops: {} });
    },
  });

  Deno.test({
    name: `restore --path ${from} brings back subtrees and single files and nothing else`,
    ignore,
    async fn() {
      await using replication = await openMirrored(road);
      const { source, directory } = replication;
      const restored = `${directory}/restored`;
      assertEquals((await replication.restore(restored, ["--path", "sub"])).code, 0);
      assertEquals(
        await shell(restored, "find . | sort"),
        "./sub\n./sub/deep\n./sub/deep/two\n./sub/one\n".replace(/^/, ".\n"),
      );
      await assertSameTree(`${source}/sub`, `${restored}/sub`, { root: true });

      const parts = `${directory}/parts`;
      const args = [
        "--path",
        "sub/deep/two",
        "--path",
        "big-0",
        "-p",
        "odd/new\nline",
        "--path",
        "link-dangling",
      ];
      assertEquals((await replication.restore(parts, args)).code, 0);
      const names = await shell(parts, `find . ! -type d -print0 | LC_ALL=C sort -z | tr '\\0' '|'`);
      assertEquals(names, "./big-0|./link-dangling|./odd/new\nline|./sub/deep/two|");
      for (const path of ["sub/deep/two", "big-0", "odd/new\nline"]) {
        const [wanted, found] = [await Deno.lstat(`${source}/${path}`), await Deno.lstat(`${parts}/${path}`)];
        assertEquals([found.mode, found.mtime, found.size], [wanted.mode, wanted.mtime, wanted.size]);
        assertEquals(await Deno.readFile(`${parts}/${path}`), await Deno.readFile(`${source}/${path}`));
      }
      await assertNothingOfOurs(parts);
    },
  });

  Deno.test({
    name: `restore ${from} keeps what is newer, names it and ends with 3, unless it is told otherwise`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road });
      const { source, directory } = replication;
      await shell(source, "for n in newer older same gone; do echo source >$n; touch -d 2020-01-01 $n; done");
      writeBigFile(`${source}/big`, 600_000);
      await shell(source, "touch -d 2020-01-01 big");
      await replication.mirror();
      const local = `${directory}/local`;
      const begin = `mkdir local; cd local; cp -a ../source/same .
        echo local >newer; echo local >older; echo local >extra; touch -d 2021-01-01 newer; touch -d 2019-01-01 older
        printf X >big; touch -d 2022-01-01 big`;
      const contents = () =>
        shell(local, "for n in *; do echo $n $(head -c 7 $n | tr -d '\\0'); done | grep -v big");

      await shell(directory, begin);
      const guarded = await replication.restore(local);
      assertEquals(guarded.code, 3);
      assertMatch(guarded.stderr, /kept "?newer"?: newer/);
      assertMatch(guarded.stderr, /kept "?big"?: newer/);
      assertEquals(guarded.stderr.trim().split("\n").length, 2);
      assertEquals(await contents(), "extra local\ngone source\nnewer local\nolder source\nsame source\n");
      const again = await replication.restore(local, ["--overwrite", "older", "--json"]);
      assertEquals(again.code, 3);
      assertEquals(JSON.parse(again.stdout).kept.map(({ path }: { path: string }) => path).sort(), [
        "big",
        "newer",
      ]);

      await shell(directory, `rm -r local; ${begin}`);
      const none = await replication.restore(local, ["--overwrite", "none"]);
      assertEquals(none.code, 0, none.stderr);
      assertEquals(await contents(), "extra local\ngone source\nnewer local\nolder local\nsame source\n");

      const all = await replication.restore(local, ["--overwrite", "all"]);
      assertEquals(all.code, 0, all.stderr);
      assertEquals(await contents(), "extra local\ngone source\nnewer source\nolder source\nsame source\n");

      const exact = await replication.restore(local, ["--overwrite", "all", "--delete"]);
      assertEquals(exact.code, 0, exact.stderr);
      await assertSameTree(source, local, { root: true });
      await assertNothingOfOurs(local);
    },
  });

  Deno.test({
    name: `restore --delete --path ${from} removes below the path and nowhere else`,
    ignore,
    async fn() {
      await using replication = await openMirrored(road);
      const restored = `${replication.directory}/restored`;
      assertEquals((await replication.restore(restored)).code, 0);
      await shell(
        restored,
        "mkdir extra; echo 1 >extra/1; echo 2 >sub/extra; mkdir sub/deep/more; echo 3 >sub/deep/more/3; rm big-0",
      );
      assertEquals(
        (await replication.restore(restored, ["--path", "sub", "--delete", "--overwrite", "all"])).code,
        0,
      );
      await assertSameTree(`${replication.source}/sub`, `${restored}/sub`, { root: true });
      assertEquals(await shell(restored, "cat extra/1; ls big-0 2>/dev/null || :"), "1\n");
    },
  });

  Deno.test({
    name: `restore --dry-run ${from} changes nothing and lists what restore would do`,
    ignore,
    async fn() {
      await using replication = await openMirrored(road);
      const { directory } = replication;
      const restored = `${directory}/restored`;
      const dry = await replication.restore(restored, ["--dry-run", "--path", "sub"]);
      assertEquals([dry.code, dry.stderr], [0, ""]);
      assertMatch(dry.stdout, /^create {5}"?sub\/deep\/two"?$/m);
      assertMatch(dry.stdout, /^would do [4-9] things$/m);
      assertEquals(await shell(directory, "ls -d restored 2>/dev/null || echo none"), "none\n");

      assertEquals((await replication.restore(restored)).code, 0);
      await shell(restored, "echo mine >sub/one; echo extra >extra; rm big-0");
      const before = await manifest(directory);
      const args = ["--dry-run", "--overwrite", "all", "--delete", "--json"];
      const { planned } = JSON.parse((await replication.restore(restored, args)).stdout);
      const steps = planned.map(({ action, path }: { action: string; path: string }) => `${action} ${path}`);
      assertEquals(steps.filter((step: string) => !step.startsWith("attributes")).sort(), [
        "create big-0",
        "delete extra",
        "update sub/one",
      ]);
      const exclude = (path: string) => road === "tcp" && path.startsWith("root/.understudy");
      assertEquals(compareManifests(before, await manifest(directory), { root: true, exclude }), []);
    },
  });

  Deno.test({
    name:
      `restore ${from} refuses a path that is not there, one that leads out, and a file in the directory's place`,
    ignore,
    async fn() {
      await using replication = await openMirrored(road);
      const { directory } = replication;
      const restored = `${directory}/restored`;
      const unknown = await replication.restore(restored, ["--path", "no/such"]);
      assertEquals(unknown.code, 1);
      assertMatch(unknown.stderr, /^understudy: Cannot restore .*"?no\/such"?.*$/m);
      const outside = await replication.restore(restored, ["--path", "../state"]);
      assertEquals(outside.code, 2);
      assertStringIncludes(outside.stderr, "../state");
      assertEquals(await shell(directory, "find . -path './restored/*'"), "");
      const file = `${directory}/file`;
      await Deno.writeTextFile(file, "a file");
      const inTheWay = await replication.restore(file);
      assert(inTheWay.code === 1 || inTheWay.code === 2);
      assertMatch(inTheWay.stderr, /^understudy: Cannot restore into .*: it is not a directory$/m);
      assertEquals(await Deno.readTextFile(file), "a file");
    },
  });
}

Deno.test({
  name:
    "restore from a server whose source is live and busy brings back complete files, and the source goes on",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, directory } = replication;
    makeTree(source, { fileCount: 500, depthMax: 1 });
    await replication.watch();
    // Each file that changes holds one letter only, 20,000 times: a mixture would be torn.
    const writer = `cd "$1"; echo going; while :; do for c in a b c d e f; do for i in 1 2 3 4; do
      head -c 20000 /dev/zero | tr '\\0' $c >.new; mv .new d$i/letters; done; done; done`;
    const restored = `${directory}/restored`;
    {
      await using busy = startProcess("sh", ["-c", writer, "sh", source]);
      await busy.waitForLine("going");
      await replication.flush();
      const { code, stderr } = await replication.restore(restored);
      assert(code === 0 || code === 3, stderr);
      assert(busy.running);
    }
    for (const i of [1, 2, 3, 4]) {
      const text = await Deno.readTextFile(`${restored}/d${i}/letters`);
      assertEquals(text, text[0].repeat(20_000));
    }
    await replication.flush();
    await replication.assertEqual();
    assertEquals((await replication.restore(restored, ["--overwrite", "all", "--delete"])).code, 0);
    await assertSameTree(source, restored, { root: true });
    assertEquals((await replication.laneStatus()).state, "live");
  },
});

Deno.test({
  name: "restore into the root of a mount keeps its state there only while it runs",
  ignore: ignore || lacks("root"),
  async fn() {
    await using replication = await openMirrored("local");
    await using mount = await tmpfsMount({ sizeBytes: 64 << 20 });
    const { code, stderr } = await replication.restore(mount.path);
    assertEquals([code, stderr], [0, ""]);
    await assertSameTree(replication.source, mount.path, { root: true });
  },
});

Deno.test({
  name: "restore over the source itself brings back what was lost, and watch-source then goes on from there",
  ignore,
  async fn() {
    await using replication = await openMirrored("tcp");
    const { source, directory } = replication;
    await shell(directory, "cp -a source kept");
    await shell(source, "rm -r sub d0; echo damaged >big-0; touch -d 2000-01-01 big-0");
    const { code, stderr } = await replication.restore(source);
    assertEquals([code, stderr], [0, ""]);
    await assertSameTree(`${directory}/kept`, source, { root: true });
    await replication.watch();
    await replication.assertEqual();
    await shell(source, "echo on >and-on");
    await replication.flush();
    await replication.assertEqual();
  },
});
