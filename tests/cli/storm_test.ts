/**
 * More changes at once than anybody makes by hand, by programs that are not ours, while `watch-source` runs. About 60 s.
 *
 * `UNDERSTUDY_STORM=N` makes the storm of creates and renames N times as large; 30 makes 300,000 of each.
 * @module
 */
import { assertEquals, assertGreater } from "@std/assert";
import { lacks, losslessInterceptors } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";

const ignore = lacks("linux", "command python3", "command git", "command tar", "command npm");
/** Those that lose nothing. */
const interceptors = losslessInterceptors();

const factor = Number(Deno.env.get("UNDERSTUDY_STORM") ?? 1);
/** Files that each of two writers makes, and renames. */
const FILES_EACH = 5_000 * factor;

/** Makes files in directories of 500, and renames each a little later: some into the directory before. */
const writer = `
import os, sys
root, tag, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
waiting = []
for i in range(count):
    directory = f"{root}/{tag}{i // 500}"
    if i % 500 == 0:
        os.mkdir(directory)
    with open(f"{directory}/made{i}", "w") as file:
        file.write(str(i))
    waiting.append(i)
    if len(waiting) > 100 or i == count - 1:
        for j in waiting:
            to = f"{root}/{tag}{max(j // 500 - j % 2, 0)}/named{j}"
            os.rename(f"{root}/{tag}{j // 500}/made{j}", to)
        waiting = []
`;

/** Flushes with a limit that fits the storm; nothing else is done by hand. */
async function settle(replication: Replication): Promise<void> {
  const timeout = `${60 + 20 * factor}s`;
  const timeoutMs = (90 + 20 * factor) * 1_000;
  await replication.run(["flush", "--timeout", timeout], { expectCode: 0, timeoutMs });
  await replication.assertEqual();
}

for (const interceptor of interceptors) {
  Deno.test({
    name: `watch-source by ${interceptor} loses nothing of ${
      2 * FILES_EACH
    } files made and renamed by two writers`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      await replication.watch(["--intercept", interceptor]);
      const write = (tag: string) => {
        const args = ["-c", writer, replication.source, tag, `${FILES_EACH}`];
        return runProcess("python3", args, { expectCode: 0, timeoutMs: 30_000 + 10_000 * factor });
      };
      const begunMs = performance.now();
      await Promise.all([write("a"), write("b")]);
      const writtenMs = performance.now();
      await settle(replication);
      const { capture, targets, problems } = await replication.sourceStatus();
      const seconds = (ms: number) => (ms / 1_000).toFixed(1);
      console.log(
        `${interceptor}: written in ${seconds(writtenMs - begunMs)} s, equal ${
          seconds(performance.now() - writtenMs)
        } s later; ${JSON.stringify(capture)} ${JSON.stringify(targets[0].opsSent)}`,
      );
      assertEquals([problems, targets[0].errors], [[], 0]);
      // Its queue has no limit.
      if (interceptor === "fanotify") assertEquals(capture.overflows, 0);
      const files = await runProcess("find", [replication.replica, "-name", "named*"], { expectCode: 0 });
      assertEquals(files.stdout.trim().split("\n").length, 2 * FILES_EACH);
    },
  });

  Deno.test({
    name: `watch-source by ${interceptor} follows cp -a, git clone, tar x and npm install into the tree`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const outside = `${replication.directory}/outside`;
      await Deno.mkdir(outside);
      await shell(
        outside,
        `mkdir tree; cd tree; for i in $(seq 30); do mkdir -p d$i/e/f; for j in $(seq 20); do echo $i $j >d$i/e/f/$j; ln -s f/$j d$i/e/l$j; done; done
         git init -q .; git add -A; git -c user.name=a -c user.email=a@b commit -qm first; cd ..; tar -cf tree.tar tree
         for p in one two three; do mkdir -p $p/lib; for j in $(seq 100); do echo "$p $j" >$p/lib/$j.js; done
           echo '{"name":"'$p'","version":"1.0.0","bin":"lib/1.js"}' >$p/package.json; tar -czf $p.tgz $p; done
         echo '{"name":"top","version":"1.0.0"}' >package.json`,
      );
      await replication.watch(["--intercept", interceptor]);
      const { source } = replication;
      const steps = [
        `cp -a "$O/tree" copied`,
        `git clone -q "$O/tree" cloned`,
        `tar -xf "$O/tree.tar"`,
        `cp "$O/package.json" .; npm_config_cache="$O/cache" npm install --offline --no-audit --no-fund --silent "$O/one.tgz" "$O/two.tgz" "$O/three.tgz"`,
        `npm_config_cache="$O/cache" npm uninstall --offline --no-audit --no-fund --silent two; rm -rf copied & rm -rf cloned & mv tree renamed; wait`,
      ];
      for (const script of steps) {
        await shell(source, `O='${outside}'; ${script}`);
        await settle(replication);
      }
      assertEquals((await replication.sourceStatus()).problems, []);
    },
  });

  Deno.test({
    name: `watch-source by ${interceptor} sends nothing for a storm of reads and for one beside the root`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const outside = `${replication.directory}/outside`;
      await Deno.mkdir(outside);
      await shell(
        replication.source,
        "for i in $(seq 20); do mkdir d$i; for j in $(seq 50); do echo $j >d$i/$j; done; done",
      );
      await replication.watch(["--intercept", interceptor]);
      await replication.flush();
      const before = await replication.sourceStatus();
      assertGreater(before.targets[0].opsSent.file ?? 0, 0);
      await shell(
        replication.source,
        `for round in 1 2 3; do find . -type f -exec cat {} + >/dev/null; ls -lR >/dev/null; tar -cf - . | cat >/dev/null; done
         cd ../outside; for i in $(seq 250); do echo $i >f; mv f g$((i % 7)); mkdir d; mv d e; rmdir e; done`,
      );
      await replication.flush();
      const after = await replication.sourceStatus();
      assertEquals(after.targets[0].opsSent, before.targets[0].opsSent);
      assertEquals(after.capture.events, before.capture.events);
      await replication.assertEqual();
    },
  });
}

async function shell(directory: string, script: string): Promise<void> {
  await runProcess("sh", ["-ec", `cd "$1"; ${script}`, "sh", directory], {
    expectCode: 0,
    timeoutMs: 120_000,
  });
}
