/**
 * Names of one file are names of one file in the replica, and stay so (FEATURES F1). About 40 s.
 * @module
 */
import { assert, assertEquals, assertLess } from "@std/assert";
import type { VerifyReport } from "../../src/base/status.ts";
import { lacks, watchingInterceptors } from "../testing/needs.ts";
import { assertSameTree } from "../testing/manifest.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { SeededRandom } from "../testing/tree_maker.ts";

const ignore = lacks("linux");

async function shell(directory: string, script: string): Promise<void> {
  await runProcess("bash", ["-ec", `cd "$1"; ${script}`, "bash", directory], { expectCode: 0 });
}

/** Files with two and three names, small and large, empty; links and FIFOs with several; names in several directories. */
const GROUPS = `
  mkdir -p a/b c; echo small > small; ln small a/small; ln small c/small
  head -c 3000000 /dev/urandom > large; ln large a/b/large; : > empty; ln empty c/empty; cp large alone
  ln -s small link; ln link a/link; mkfifo fifo; ln fifo c/fifo; echo o > c/one; ln c/one c/two`;

async function settled(replication: Replication): Promise<void> {
  await replication.flush();
  await replication.assertEqual({ hardLinks: true });
}

for (const road of ["tcp", "local"] as const) {
  Deno.test({
    name: `hard links are mirrored by ${road}, sent once, found again, and restored`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road });
      const { source, replica, directory } = replication;
      await shell(source, GROUPS);
      const first = await replication.mirror();
      await replication.assertEqual({ hardLinks: true });
      assertEquals(first.ops.link, 7);
      assertLess(first.bytesSent, 7_000_000);
      const again = await replication.mirror();
      assertEquals([again.ops, again.problems], [{}, []]);
      // As after a loss of the index, or by an older version.
      await shell(
        replica,
        "cp -p a/small t; mv t a/small; ln -f large alone; ln -f c/one c/other; rm c/fifo; cp -p a/b/large t; mv t a/b/large",
      );
      await replication.mirror();
      await replication.assertEqual({ hardLinks: true });
      await replication.restore(`${directory}/restored`, [], { expectCode: 0 });
      await assertSameTree(source, `${directory}/restored`, { root: true, hardLinks: true });
    },
  });
}

Deno.test({
  name: "verify finds a name that another hand made a file of its own on the target, and heals it",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica } = replication;
    await shell(source, GROUPS);
    await replication.watch(["--verify-every", "off"]);
    await settled(replication);
    // A further name outside of what is replicated is nobody's business.
    await shell(replica, "cp -p a/small t; mv t a/small; ln c/one ../outside");
    const found = await replication.run(["verify", "--json"], { expectCode: 3 });
    const [report]: VerifyReport[] = JSON.parse(found.stdout).targets;
    const named = report.differences.filter(({ parts }) => parts.includes("names")).map(({ path }) => path);
    assertEquals(named, ["a/small"]);
    await replication.run(["verify", "--repair"], { expectCode: 0 });
    await settled(replication);
  },
});

for (const interceptor of watchingInterceptors()) {
  Deno.test({
    name:
      `hard links are followed live by ${interceptor}: a write through one name, link, unlink, replacement`,
    ignore,
    async fn() {
      await using replication = await openReplication();
      const { source } = replication;
      await shell(source, GROUPS);
      await replication.watch(["--intercept", interceptor]);
      await settled(replication);
      const steps = [
        "echo more >> a/small; printf X | dd of=large bs=1 seek=1000000 conv=notrunc status=none",
        "chmod 600 c/small; touch -d 2001-01-01 a/b/large; touch -h -d 2002-02-02 a/link; chmod 640 fifo",
        "ln small new; ln large c/large; ln alone a/alone; echo x > x; ln x y; ln a/link c/link",
        "rm small; rm a/b/large; mv a/small a/moved; mv c/two c/three; mv c d",
        // A name leaves its file, and both go on.
        "cp d/large t; mv t large; printf Y | dd of=d/large bs=1 seek=5 conv=notrunc status=none; cp x t; mv t x; echo z >> y",
        "printf Z | dd of=large bs=1 seek=2000000 conv=notrunc status=none; ln -f large alone; ln -f y x; ln -sf gone a/link",
        "ln d/large back; rm d/large large; mv back large; echo 1 > p; echo 2 > q; ln p r; ln q s; ln -f p s; ln -f q r",
        "for i in 1 2 3 4 5 6 7 8 9; do ln p n$i; done; echo more >> n5; rm n1 n3; mv n2 m2; ln -f m2 n6; cp n7 t; mv t n8; echo 9 >> n9",
        "cp -al d e; echo new >> e/one; rm -r d; mv e/small e/renamed; cp -a e f; echo f >> f/one; mv f/one e/one",
      ];
      for (const script of steps) {
        await shell(source, script);
        await settled(replication);
      }
      assertEquals((await replication.sourceStatus()).problems, []);
      await replication.stopWatching();
      await shell(source, "ln large restart; echo r >> p; cp y t; mv t y; rm n9; ln n7 n10");
      await replication.watch(["--intercept", interceptor]);
      await settled(replication);
      const before = await replication.laneStatus();
      await shell(source, "chmod 611 restart");
      await settled(replication);
      const { bytesSent } = await replication.laneStatus();
      assertLess(bytesSent - before.bytesSent, 64 * 1024);
    },
  });

  Deno.test({
    name: `a storm of links, by ${interceptor}, leaves every name with its own`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source } = replication;
      await replication.watch(["--intercept", interceptor]);
      const random = new SeededRandom(7);
      for (const name of ["d", "d/e", "f"]) Deno.mkdirSync(`${source}/${name}`);
      for (let round = 0; round < 8; round++) {
        let done = 0;
        for (let i = 0; i < 300; i++) if (changeSomething(source, random)) done++;
        assert(done > 50);
        await settled(replication);
      }
    },
  });
}

/** Does something to some name, where it can be done; gives whether it could. */
function changeSomething(root: string, random: SeededRandom): boolean {
  const path = () =>
    `${root}/${random.pick(["", "d/", "d/e/", "f/"])}${random.pick(["1", "2", "3", "4", "5", "6"])}`;
  const [at, to] = [path(), path()];
  const link = () => {
    try {
      Deno.removeSync(to);
    } catch {
      // The name is free.
    }
    Deno.linkSync(at, to);
  };
  const changes = [
    () => Deno.writeFileSync(at, random.bytes(random.between(1, 3_000)), { append: true }),
    () => Deno.writeFileSync(at, random.bytes(random.between(100_000, 700_000))),
    link,
    link,
    link,
    () => Deno.renameSync(at, to),
    () => Deno.removeSync(at),
    () => Deno.chmodSync(at, random.pick([0o600, 0o640, 0o755])),
    () => Deno.truncateSync(at, random.between(0, 500_000)),
    () => {
      Deno.copyFileSync(at, `${root}/t`);
      Deno.renameSync(`${root}/t`, at);
    },
  ];
  try {
    random.pick(changes)();
    return true;
  } catch (error) {
    if (!(error instanceof Error && ("code" in error || error.constructor.name in Deno.errors))) throw error;
    return false;
  }
}
