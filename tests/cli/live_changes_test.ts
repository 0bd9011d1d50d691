/**
 * What a running `watch-source` hears of: files still open, directories that come, go and change places, memory that
 * is mapped, and what happened while it was down. About 40 s.
 * @module
 */
import { assertEquals, assertLess } from "@std/assert";
import { lacks, watchingInterceptors } from "../testing/needs.ts";
import { runProcess, startProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { makeTree, SeededRandom, writeBigFile } from "../testing/tree_maker.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");
const interceptors = watchingInterceptors();

/** Runs a shell script in a directory. */
async function shell(directory: string, script: string): Promise<void> {
  await runProcess("sh", ["-ec", `cd "$1"; ${script}`, "sh", directory], { expectCode: 0 });
}

/** Waits until a file of the replica has these contents. */
async function contentsArrive(replication: Replication, path: string, contents: string): Promise<void> {
  await waitFor(() => Deno.readTextFileSync(`${replication.replica}/${path}`) === contents, {
    what: `the contents of ${path} on the target`,
    timeoutMs: 30_000,
  });
}

for (const interceptor of interceptors) {
  Deno.test({
    name: `watch-source by ${interceptor} has what is appended on the target before the file is closed`,
    ignore,
    async fn() {
      await using replication = await openReplication();
      await replication.watch(["--intercept", interceptor]);
      using file = await Deno.open(`${replication.source}/log`, { create: true, append: true });
      let contents = "";
      for (const line of ["first\n", "second\n", `${"long ".repeat(200_000)}\n`, "last\n"]) {
        contents += line;
        file.writeSync(new TextEncoder().encode(line));
        await contentsArrive(replication, "log", contents);
      }
      await replication.flush();
      await replication.assertEqual();
    },
  });

  Deno.test({
    name: `watch-source by ${interceptor} follows trees that are made, moved in, moved within and moved out`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source, directory } = replication;
      const outside = `${directory}/outside`;
      await Deno.mkdir(outside);
      makeTree(outside, { fileCount: 200, symlinks: true });
      await replication.watch(["--intercept", interceptor]);
      const steps = [
        `mkdir -p a/b/c/d/e/f; echo 1 >a/b/c/d/e/f/g; echo 2 >a/b/h; for i in 1 2 3 4 5; do mkdir -p n$i/m/o; echo $i >n$i/m/o/p; done`,
        `mv ../outside in`,
        `mv in/d0 a/b; mv a z; mv z/b/c in/c; echo new >in/c/d/e/f/new`,
        `mv in ../out; mv z/b/d0 ../away`,
        `mv ../out z/back; mv z/back back; mv ../away back/d0; rm -r n1 n2; mv n3 n1; mv n4 n1/m/n2`,
      ];
      for (const script of steps) {
        await shell(source, script);
        await replication.flush();
        await replication.assertEqual();
      }
    },
  });

  Deno.test({
    name:
      `watch-source by ${interceptor} is not misled by a directory that takes the name of one that moved away`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source } = replication;
      await shell(source, "mkdir -p d/sub; for i in 1 2 3; do echo $i >d/f$i; echo $i >d/sub/f$i; done");
      await replication.watch(["--intercept", interceptor]);
      for (let round = 0; round < 5; round++) {
        await shell(
          source,
          `mv d e; mkdir d; cp e/f* d; echo ${round} >d/f1; mkdir d/sub; cp e/sub/* d/sub; rm -r e`,
        );
        await replication.flush();
        await replication.assertEqual();
        await shell(
          source,
          "mv d e; cp -a e d; echo more >>d/sub/f1; mv d/sub e/sub2; mkdir d/sub; mv e/sub/* d/sub; rm -r e",
        );
        await replication.flush();
        await replication.assertEqual();
      }
    },
  });

  Deno.test({
    name: `watch-source by ${interceptor} follows files, links and directories that take each other's places`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source } = replication;
      await shell(source, "echo a >a; echo b >b; mkdir d; echo x >d/x; ln -s a l");
      writeBigFile(`${source}/big`, 3_000_000);
      await replication.watch(["--intercept", interceptor]);
      const steps = [
        "mv a t; mv b a; mv t b",
        "rm a; mkdir a; echo in >a/in; rm -r d; echo file >d; rm l; mkdir l; echo l >l/l",
        "rm -r a l; ln -s d a; mv d l; mkdir d; mv l d/l; ln -s nowhere l",
        "mv big d/big; echo small >big; mv d/big t; mv big d/big; mv t big",
        "ln d/big second; rm d/big; chmod 4711 second; : >big; echo grown >>big",
        "for i in 1 2 3 4 5 6 7 8; do mv second third; mv third second; mkdir m; rmdir m; done; touch -d @1.5 . second; chmod 750 .",
      ];
      for (const script of steps) {
        await shell(source, script);
        await replication.flush();
        await replication.assertEqual();
      }
    },
  });

  for (const seed of [1, 2]) {
    Deno.test({
      name: `watch-source by ${interceptor} keeps up with a storm of changes of few names, seed ${seed}`,
      ignore,
      async fn() {
        await using replication = await openReplication({ road: "local" });
        await replication.watch(["--intercept", interceptor]);
        const random = new SeededRandom(seed);
        for (let round = 0; round < 8; round++) {
          for (let i = 0; i < 400; i++) changeSomething(replication.source, random);
          await replication.flush();
          await replication.assertEqual();
        }
      },
    });
  }
}

/** Does something to some entry, where it can be done. */
function changeSomething(root: string, random: SeededRandom): void {
  const path = () =>
    Array.from({ length: random.between(1, 4) }, () => random.pick(["a", "b", "c"])).join("/");
  const [at, to] = [`${root}/${path()}`, `${root}/${path()}`];
  const changes = [
    () => Deno.mkdirSync(at),
    () => Deno.mkdirSync(at, { recursive: true }),
    () => Deno.writeFileSync(at, random.bytes(random.between(0, 5_000))),
    () => Deno.writeFileSync(at, random.bytes(10), { append: true }),
    () => Deno.writeFileSync(at, random.bytes(300_000)),
    () => Deno.truncateSync(at, random.between(0, 400_000)),
    () => Deno.renameSync(at, to),
    () => Deno.renameSync(at, to),
    () => Deno.renameSync(at, to),
    () => Deno.removeSync(at, { recursive: random.between(0, 4) === 0 }),
    () => Deno.symlinkSync(random.pick(["a", "../b", "/c"]), at),
    () => Deno.chmodSync(at, random.pick([0o700, 0o755, 0o770])),
    () => Deno.utimeSync(at, random.between(0, 1e9), random.between(0, 1e9)),
  ];
  try {
    random.pick(changes)();
  } catch (error) {
    // Not there, in the way, or into itself: what a real program would be told, too.
    if (!(error instanceof Error && ("code" in error || error.constructor.name in Deno.errors))) throw error;
  }
}

Deno.test({
  name:
    "watch-source follows mode, owner and time of a large file that change together, and sends no contents",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source } = replication;
    writeBigFile(`${source}/large`, 1_500_000);
    writeBigFile(`${source}/small`, 5_000);
    await replication.watch();
    const before = await replication.laneStatus();
    await shell(
      source,
      "for f in large small; do chown 1:2 $f || :; chmod 4751 $f; touch -d @123456789.987654321 $f; done",
    );
    await replication.flush();
    await replication.assertEqual();
    const { opsSent, bytesSent } = await replication.laneStatus();
    assertEquals([opsSent.open, opsSent.block], [before.opsSent.open, before.opsSent.block]);
    assertLess(bytesSent - before.bytesSent, 16 * 1024);
  },
});

Deno.test({
  name: "watch-source finds at its start what changed while it was down, and sends little else",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source } = replication;
    makeTree(source, { fileCount: 1_000, depthMax: 1, bigFiles: [8 << 20] });
    await replication.watch();
    await replication.stopWatching();
    await shell(
      source,
      `echo changed >d0/new; mkdir fresh; echo 1 >fresh/1; mv d1 fresh/d1; rm -r d2; chmod 700 d3
       printf X | dd of=big-0 bs=1 seek=5000000 conv=notrunc 2>/dev/null; touch -d 2010-01-01 d0/f0.*`,
    );
    await replication.watch();
    const { opsSent, bytesSent } = await replication.laneStatus();
    await replication.assertEqual();
    assertEquals(opsSent.file, 3, "d0/new, fresh/1, and d0/f0 whose time changed");
    assertEquals(opsSent.rename, 1);
    assertEquals([opsSent.open, opsSent.block, opsSent.close], [1, 1, 1]);
    assertLess(bytesSent, 64 * 1024);
  },
});

Deno.test({
  name: "watch-source that starts again after nothing happened sends next to nothing",
  ignore,
  async fn() {
    await using replication = await openReplication();
    makeTree(replication.source, { fileCount: 2_000 });
    await replication.watch();
    await replication.stopWatching();
    await replication.watch();
    const { opsSent, bytesSent } = await replication.laneStatus();
    const { abandon: _, ...others } = opsSent;
    assertEquals(others, {});
    assertLess(bytesSent, 4 * 1024);
    await replication.assertEqual();
  },
});

Deno.test({
  name: "watch-source has what was stored into mapped memory once the program lets go of the file",
  ignore: ignore || lacks("command python3"),
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    writeBigFile(`${source}/mapped`, 2_000_000);
    await replication.watch();
    const program = `import mmap, sys
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
memory[1000000:1000006] = b"stored"
memory.flush()
print("stored", flush=True)
sys.stdin.readline()`;
    {
      // The kernel tells of no store into memory: a flush now may not find it. At its end the program lets go.
      await using mapping = startProcess("python3", ["-c", program, `${source}/mapped`], { pipeStdin: true });
      await mapping.waitForLine("stored");
      await replication.flush();
      await mapping.endInput("\n");
      assertEquals((await mapping.ended()).code, 0, mapping.describe());
    }
    await replication.flush();
    await replication.assertEqual();
    const bytes = (await Deno.readFile(`${replica}/mapped`)).subarray(1_000_000, 1_000_006);
    assertEquals(new TextDecoder().decode(bytes), "stored");
  },
});

Deno.test({
  name: "watch-source replicates every change of a file that is rewritten 1,000 times, in the end",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await replication.watch();
    for (let i = 0; i < 1_000; i++) Deno.writeTextFileSync(`${replication.source}/counter`, `${i}`);
    await contentsArrive(replication, "counter", "999");
    await replication.flush();
    await replication.assertEqual();
  },
});
