/**
 * `mirror` as it is run by its users, over a real line whose bytes are counted. About 30 s.
 * @module
 */
import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { compareManifests, manifest } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { makeTooDeep } from "../testing/too_deep.ts";
import { runProcess, type RunResult, startProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { tempDirectory } from "../testing/temp.ts";
import { makeTree, SeededRandom, writeBigFile } from "../testing/tree_maker.ts";
import { run, start, startTarget, understudyCommand } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");
const needsRoot = ignore || lacks("root", "command setpriv");

/** Bytes that a proxy has let through, both ways. */
function bytesOn({ proxy }: Replication): number {
  return proxy!.bytes.forth + proxy!.bytes.back;
}

/** Lines that a shell script prints. */
async function linesOf(script: string, ...args: string[]): Promise<string[]> {
  const { stdout } = await runProcess("sh", ["-ec", script, "sh", ...args], { expectCode: 0 });
  return stdout.split("\n").filter((line) => line !== "");
}

Deno.test({
  name: "mirror --dry-run changes nothing and lists what mirror then does",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    makeTree(source, { fileCount: 40, symlinks: true });
    await replication.mirror();
    await linesOf(
      `cd "$1"; echo new >new; echo more >>big; mkdir dir; echo x >dir/x; rm link-dangling; chmod 700 d0
       cd "$2"; echo extra >extra; mkdir gone; echo y >gone/y`,
      source,
      replica,
    );
    const before = await manifest(replication.directory);
    const { stdout, code } = await replication.run(["mirror", source, replica, "--dry-run", "--json"]);
    assertEquals(code, 0);
    const { planned } = JSON.parse(stdout) as { planned: { action: string; path: string }[] };
    assertEquals(compareManifests(before, await manifest(replication.directory), { root: true }), []);

    const paths = (action: string) =>
      planned.filter((step) => step.action === action).map(({ path }) => path).sort();
    assertEquals(paths("create"), ["big", "dir", "dir/x", "new"]);
    assertEquals(paths("delete"), ["extra", "gone", "gone/y", "link-dangling"]);
    assertEquals(paths("update"), []);
    assert(paths("attributes").includes("d0"), stdout);

    const { ops } = await replication.mirror();
    assertEquals(ops.file, 3);
    assertEquals(ops.mkdir, 1);
    assertEquals([ops.unlink, ops.rmdir], [3, 1]);
    await replication.assertEqual();
    const again = await replication.run(["mirror", source, replica, "--dry-run"]);
    assertMatch(again.stdout, /^would do 0 things/);
  },
});

Deno.test({
  name: "mirror --dry-run makes no target",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    makeTree(replication.source, { fileCount: 5 });
    const { stdout } = await replication.run([
      "mirror",
      replication.source,
      replication.replica,
      "--dry-run",
    ]);
    assertMatch(stdout, /^create {5}"?d0/m);
    assertEquals(await linesOf(`ls -A "$1"`, replication.directory), ["root", "source", "state"]);
  },
});

Deno.test({
  name: "mirror --no-delete keeps what only the target has",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    await Deno.writeTextFile(`${replication.source}/kept`, "1");
    await replication.mirror();
    await Deno.remove(`${replication.source}/kept`);
    await Deno.writeTextFile(`${replication.source}/new`, "2");
    await replication.mirror(["--no-delete"]);
    assertEquals(await linesOf(`cd "$1"; ls`, replication.replica), ["kept", "new"]);
    await replication.mirror();
    assertEquals(await linesOf(`cd "$1"; ls`, replication.replica), ["new"]);
  },
});

Deno.test({
  name: "mirror --full sends files whole, also those whose times and sizes are equal",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica } = replication;
    writeBigFile(`${source}/large`, 2_000_000);
    writeBigFile(`${source}/small`, 3_000);
    await replication.mirror();
    // Damaged on the target with size and time as they were: only a full mirror can see it.
    for (const name of ["large", "small"]) {
      await linesOf(
        `touch -r "$1" "$1.time"; printf X | dd of="$1" bs=1 seek=1000 conv=notrunc 2>/dev/null
         touch -r "$1.time" "$1"; rm "$1.time"`,
        `${replica}/${name}`,
      );
    }
    assertEquals((await replication.mirror()).dataBytes, 0);
    assertEquals((await replication.mirror(["--full"])).dataBytes, 2_003_000);
    await replication.assertEqual();
  },
});

Deno.test({
  name: "mirror of an equal tree sends next to nothing, and what it says it sent is what passed",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    makeTree(replication.source, { fileCount: 2_000, sizes: [0, 4_096], bigFiles: [3_000_000] });
    const first = await replication.mirror();
    assertGreater(bytesOn(replication), 3_000_000);
    assertEquals(first.files, 2_001);
    await replication.assertEqual();

    const before = { ...replication.proxy!.bytes };
    const second = await replication.mirror();
    const { forth, back } = replication.proxy!.bytes;
    assertEquals([second.files, second.dataBytes, second.bytesRead], [0, 0, 0]);
    assertEquals(second.ops, {});
    assertLess(forth - before.forth, 2_000);
    // The listing of the target: a line an entry.
    assertLess(back - before.back, 200_000);
    // The summary counts messages; the line carries the handshake and a header a frame, too.
    assertLess(second.bytesSent, forth - before.forth + 1);
    assertLess(forth - before.forth - second.bytesSent, 1_000);
    assertLess(second.bytesReceived, back - before.back + 1);
    assertLess(back - before.back - second.bytesReceived, 1_000);
  },
});

Deno.test({
  name:
    "mirror of a 4,096-byte file of which blocks 2 and 5 of 512 bytes differ sends exactly 1,024 file bytes",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const args = ["--block-size", "512", "--fast-mirror-min", "4K"];
    writeBigFile(`${replication.source}/file`, 4_096);
    await replication.mirror(args);
    await linesOf(
      `for block in 2 5; do head -c 512 /dev/zero | dd of="$1" bs=512 seek=$block conv=notrunc 2>/dev/null; done`,
      `${replication.source}/file`,
    );
    const { dataBytes, files } = await replication.mirror(args);
    assertEquals({ dataBytes, files }, { dataBytes: 1_024, files: 1 });
    await replication.assertEqual();
  },
});

Deno.test({
  name:
    "mirror of 64 MiB with 20 changed 4 KiB blocks puts at most three times those on the line, and signatures",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    const { source } = replication;
    writeBigFile(`${source}/large`, 64 << 20);
    await replication.mirror();
    const random = new SeededRandom(20);
    {
      using file = await Deno.open(`${source}/large`, { write: true });
      for (let i = 0; i < 20; i++) {
        await file.seek(random.between(0, 16_384) * 4_096, Deno.SeekMode.Start);
        await file.write(random.bytes(4_096));
      }
    }
    const before = bytesOn(replication);
    const { dataBytes } = await replication.mirror();
    const passed = bytesOn(replication) - before;
    const changed = 20 * 4_096;
    // 16 bytes for each coarse block of 64 KiB, and for each fine one of 4 KiB in those that differ.
    const signatures = 16 * (1_024 + 20 * 16);
    assertEquals(dataBytes, changed);
    assertLess(passed, 3 * changed + signatures);
    await replication.assertEqual();
  },
});

Deno.test({
  name: "mirror of 1,000 small files sends them in few packets",
  ignore,
  async fn() {
    await using replication = await openReplication();
    makeTree(replication.source, { fileCount: 1_000, sizes: [100, 100] });
    const daemon = await replication.watch();
    const { packetsSent, opsSent } = await replication.laneStatus();
    const { packetsReceived, opsReceived } = await replication.replicaStatus();
    assertEquals(opsSent.file, 1_000);
    assertEquals(opsReceived.file, 1_000);
    // 250 KB with names and attributes: one packet would hold a quarter of it. Gathering ends when the scan pauses.
    assertLess(packetsSent, 100);
    assertLess(packetsReceived, 100);
    assert(daemon.running);
  },
});

Deno.test({
  name: "mirror of a tree that changes under it ends, and once it is quiet the next one makes it equal",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source } = replication;
    makeTree(source, { fileCount: 3_000, filesPerDirectory: 100, depthMax: 1, bigFiles: [4 << 20, 4 << 20] });
    // Files grow, shrink, vanish, are renamed, and directories with them, without a pause.
    const writer = `cd "$1"; echo going; i=0; while :; do i=$((i + 1)); d=d$((i % 30))
      mv "$d" moved; mkdir -p fresh; echo $i >"fresh/$i"; mv moved "$d"
      head -c $((i % 9000)) /dev/urandom >"$d/grown"; printf x >>big-0; : >"$d/f$i.txt"; rm -f "$d/f$((i * 7)).bin"
      dd if=/dev/urandom of=big-1 bs=4096 count=1 seek=$((i % 1000)) conv=notrunc 2>/dev/null
      mv "$d/grown" "$d/grown-$((i % 5))"; ln -sf "$i" "$d/link"; done`;
    {
      await using busy = startProcess("sh", ["-c", writer, "sh", source]);
      await busy.waitForLine("going");
      const result = await replication.run(["mirror", source, replication.target, "--json"]);
      assert(result.code === 0 || result.code === 3, result.stderr);
      assert(busy.running, busy.describe());
    }
    await replication.mirror();
    await replication.assertEqual();
    assertEquals(await linesOf(`cd "$1"; ls -A | grep understudy || :`, replication.replica), []);
  },
});

Deno.test({
  name: "mirror of 8 sources with equal paths to one server at the same time does not mix them",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    await Deno.mkdir(`${directory.path}/root`);
    await using server = await startTarget(`${directory.path}/root`);
    const numbers = [1, 2, 3, 4, 5, 6, 7, 8];
    await Promise.all(numbers.map(async (seed) => {
      const source = `${directory.path}/source-${seed}`;
      await Deno.mkdir(source);
      makeTree(source, { seed: seed * 100, fileCount: 60, depthMax: 1 });
      const token = await server.invite(`replica-${seed}`);
      const args = ["mirror", source, token, "--state", `${directory.path}/state-${seed}`];
      await run(args, { expectCode: 0, timeoutMs: 120_000 });
    }));
    const digests = new Set<string>();
    for (const seed of numbers) {
      const [source, replica] = [
        `${directory.path}/source-${seed}`,
        `${directory.path}/root/replica-${seed}`,
      ];
      const [expected, found] = [await manifest(source), await manifest(replica)];
      assertEquals(found, expected);
      digests.add(expected.get("d0/f0.bin")?.content ?? expected.get("d0/f0.txt")!.content);
    }
    assertGreater(digests.size, 6);
  },
});

Deno.test({
  name: "mirror copies symbolic links as links and follows none",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica, directory } = replication;
    await Deno.mkdir(`${directory}/outside`);
    await Deno.writeTextFile(`${directory}/outside/secret`, "not yours");
    makeTree(source, { fileCount: 10, symlinks: true });
    await linesOf(
      `cd "$1"; ln -s ../outside out; ln -s "$1/../outside/secret" secret; ln -s "$(printf 'a\\nb')" odd`,
      source,
    );
    await replication.mirror();
    await replication.assertEqual();
    assertEquals(await Deno.readLink(`${replica}/out`), "../outside");
    // A file in the place of a link, and a link in the place of a file and of a directory.
    await linesOf(
      `cd "$1"; rm out secret; echo file >secret; mkdir out; echo x >out/secret; rm -r d0; ln -s ../outside d0`,
      source,
    );
    await replication.mirror();
    await replication.assertEqual();
    assertEquals(await Deno.readTextFile(`${directory}/outside/secret`), "not yours");
    assertEquals(await linesOf(`ls "$1"`, `${directory}/outside`), ["secret"]);
  },
});

Deno.test({
  name: "mirror copies odd names and modes",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    const { source } = replication;
    makeTree(source, { fileCount: 5, oddNames: true });
    await linesOf(
      `cd "$1"; mkdir modes; cd modes; for mode in 0 111 444 600 755 1777 2755 4711 6777; do echo $mode >m$mode; mkdir d$mode
       chmod $mode m$mode d$mode; done; touch -d 1901-12-14 old; touch -d 2262-01-01T00:00:00.123456789 far
       touch -d @0 epoch; ln -s x before; touch -hd @-1.5 before`,
      source,
    );
    const deep = `${source}/${"deep/".repeat(200)}`;
    await Deno.mkdir(deep, { recursive: true });
    await Deno.writeTextFile(`${deep}/bottom`, "x");
    await replication.mirror();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "mirror by another user lists what it cannot read, does the rest and ends with 3",
  ignore: needsRoot,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    await linesOf(
      `cd "$1"; mkdir closed open; echo a >closed/in; echo b >open/secret; echo c >open/plain; echo d >plain
       chmod 700 closed; chmod 600 open/secret`,
      source,
    );
    const { code, stdout, stderr } = await mirrorAsNobody(replication);
    assertEquals(code, 3, stderr);
    assertMatch(stderr, /^understudy: Cannot read "?closed"?: .*EACCES/m);
    assertMatch(stderr, /^understudy: Cannot read "?open\/secret"?: .*EACCES/m);
    assertStringIncludes(stdout, "2 problems");
    assertEquals(await Deno.readTextFile(`${replica}/open/plain`), "c\n");
    assertEquals(await Deno.readTextFile(`${replica}/plain`), "d\n");
    assertEquals(await linesOf(`cd "$1"; find . -name secret -o -name in`, replica), []);
  },
});

Deno.test({
  name: "mirror deletes nothing below a directory that it cannot read now",
  ignore: needsRoot,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    await linesOf(`cd "$1"; mkdir -p a/b; echo 1 >a/b/c`, source);
    assertEquals((await mirrorAsNobody(replication)).code, 0);
    await linesOf(`cd "$1"; chmod 700 a; chown 0 a`, source);
    const { code, stderr } = await mirrorAsNobody(replication);
    assertEquals(code, 3, stderr);
    assertMatch(stderr, /^understudy: Cannot read "?a"?: .*EACCES/m);
    assertEquals(await Deno.readTextFile(`${replica}/a/b/c`), "1\n");
  },
});

/** Runs `mirror` as no one in particular, who owns all but the source. */
async function mirrorAsNobody({ directory, source, replica }: Replication): Promise<RunResult> {
  const { command, args } = await understudyCommand();
  const home = `${directory}/home`;
  // The executable may be where only root can go.
  await linesOf(
    `chmod 755 "$1" "$1/source"; chown 65534 "$1"; mkdir -p -m 700 "$1/home"; cp -L "$2" "$1/home/program"
     chown -R 65534 "$1/home"; chmod 755 "$1/home/program"`,
    directory,
    command,
  );
  const program = args.length === 0 ? [`${home}/program`] : [command, ...args];
  return await runProcess(
    "setpriv",
    ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", ...program, "mirror", source, replica],
    {
      env: { HOME: home, XDG_STATE_HOME: "", XDG_CACHE_HOME: "", UNDERSTUDY_CACHE_DIR: `${home}/cache` },
      cwd: "/",
    },
  );
}

Deno.test({
  name: "mirror names what it cannot copy, does the rest and ends with 3",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica } = replication;
    await linesOf(`cd "$1"; mkdir d e; echo x >d/file; echo y >file`, source);
    const paths = ["d", "e"].map((directory) => makeTooDeep(source, directory));
    const result = await replication.run(["mirror", source, replication.target]);
    assertEquals(result.code, 3);
    for (const path of paths) {
      assertStringIncludes(result.stderr, `Cannot read "${path}": its path is longer`);
    }
    assertEquals(await linesOf(`cd "$1"; find . -type f | sort`, replica), ["./d/file", "./file"]);
    // In JSON they are in the summary, by path.
    const { problems } = await replication.mirror([], { expectCode: 3 });
    assertEquals(problems.map(({ path }) => path).sort(), paths);
  },
});

Deno.test({
  name: "mirror tells its progress and ends with a summary line",
  ignore,
  async fn() {
    await using replication = await openReplication();
    makeTree(replication.source, { fileCount: 100 });
    const { stdout, stderr, code } = await replication.run(
      ["mirror", replication.source, replication.target, "--progress"],
    );
    assertEquals([code, stderr], [0, ""]);
    const lines = stdout.trimEnd().split("\n");
    assertMatch(lines.at(-2)!, /^mirror: 100 files, .* in .*/);
    assertMatch(
      lines.at(-1)!,
      /^mirrored 100 files of \d+ entries, read .* bytes\), sent .* bytes\), 0 problems$/,
    );
  },
});

Deno.test({
  name: "mirror draws a bar on a terminal",
  ignore: ignore || lacks("command script"),
  async fn() {
    await using replication = await openReplication({ road: "local" });
    makeTree(replication.source, { fileCount: 500, bigFiles: [20_000_000] });
    const { command, args, env } = await understudyCommand();
    const words = [
      command,
      ...args,
      "mirror",
      replication.source,
      replication.replica,
      "--state",
      replication.state,
    ];
    const { stdout } = await runProcess("script", [
      "-qec",
      words.map((word) => `'${word}'`).join(" "),
      "/dev/null",
    ], {
      env,
      expectCode: 0,
    });
    assertMatch(stdout, /\rmirror .*\d+%.*\d+\/\d+ files/);
    assertMatch(stdout, /mirrored 501 files/);
  },
});

Deno.test({
  name: "mirror that is interrupted ends with 130 and leaves nothing unfinished in the replica",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    const { source, target, state, replica, proxy } = replication;
    for (let i = 0; i < 2; i++) writeBigFile(`${source}/big-${i}`, 32 << 20, { seed: i });
    await using mirror = await start(["mirror", source, target, "--state", state]);
    await waitFor(() => proxy!.bytes.forth > 4 << 20, { what: "the first blocks", timeoutMs: 30_000 });
    // From here on it cannot end by itself.
    proxy!.stall();
    proxy!.refusing = true;
    mirror.kill("SIGINT");
    proxy!.cut();
    assertEquals((await mirror.ended()).code, 130, mirror.describe());
    proxy!.resume();
    proxy!.refusing = false;
    assertEquals(await linesOf(`ls -A "$1"`, replica), []);
    await replication.mirror();
    await replication.assertEqual();
  },
});
