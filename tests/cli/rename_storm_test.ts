/**
 * Goal: whatever is renamed, however fast, the replica follows, and no bytes of files travel, save very rarely.
 *
 * Method: a native writer (python3) renames at random: files and directories, to new names and over existing ones,
 * swaps (`RENAME_EXCHANGE`), rings, directories with many children, and out of the tree and back. Each file is unique,
 * so a replica that mixes two of them differs. 10,000 renames; `UNDERSTUDY_STORM=10` makes ten times as many, in
 * directories of 10,000 children. About 30 s.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { lacks, losslessInterceptors } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";

const ignore = lacks("linux") || lacks("command python3");
const FACTOR = Number(Deno.env.get("UNDERSTUDY_STORM") ?? 1);

/** Files of 5,000 renames that may be sent after all. In 250 such storms none was; the last mistake sent 32 and more. */
const GIVEN_UP_MAX = 20;

/** argv: root, outside, steps, seed, ways in and out (0 or 1). Prints how many files came in from outside. */
const STORM = `
import ctypes, os, random, sys
root, outside, steps, seed, leaves = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
rng = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
def exchange(a, b):
    libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), 2)
tops = sorted(os.listdir(root))
names = ["f%d" % i for i in range(400)] + ["g%d" % i for i in range(100)]
def directory():
    return root + "/" + rng.choice(tops) + rng.choice(["", "", "", "/s0", "/s1", "/s1/t"])
def path():
    return directory() + "/" + rng.choice(names)
came = 0
away = []
for step in range(steps):
    dice = rng.random()
    try:
        if dice < 0.55:
            os.rename(path(), path())
        elif dice < 0.70:
            exchange(path(), path())
        elif dice < 0.80:
            a, b, c = path(), path(), path()
            spare = directory() + "/spare"
            os.rename(a, spare); os.rename(b, a); os.rename(c, b); os.rename(spare, c)
        elif dice < 0.85:
            exchange(directory(), directory())
        elif dice < 0.88:
            d, name = directory(), directory() + "/m"
            os.rename(d, name); os.rename(name, d)
        elif dice < 0.90:
            a, b = rng.sample(tops, 2)
            spare = root + "/spare"
            os.rename(root + "/" + a, spare); os.rename(root + "/" + b, root + "/" + a); os.rename(spare, root + "/" + b)
        elif dice < 0.95 and leaves:
            name = outside + "/" + str(step)
            os.rename(path(), name); away.append(name)
        elif leaves and away:
            name = away.pop(rng.randrange(len(away)))
            os.rename(name, path()); came += 1
        else:
            os.rename(path(), path())
    except OSError:
        pass
print(came)
`;

async function fill({ source, directory }: Replication): Promise<string> {
  const count = FACTOR > 1 ? 10_000 : 1_000;
  const program = `
import os, sys
root, count = sys.argv[1], int(sys.argv[2])
for top in ["a", "b", "c", "d"]:
    for below in ["", "/s0", "/s1", "/s1/t"]:
        at = root + "/" + top + below
        os.mkdir(at)
        for i in range(count if top == "a" and below == "" else 200):
            with open(at + "/f%d" % i, "w") as file: file.write("%s %d" % (at, i))
`;
  await runProcess("python3", ["-c", program, source, `${count}`], { expectCode: 0 });
  const outside = `${directory}/outside`;
  await Deno.mkdir(outside);
  return outside;
}

const interceptors = losslessInterceptors();

for (const interceptor of interceptors) {
  for (const leaves of [false, true]) {
    const what = leaves ? "and sends no more than what came back from outside" : "and sends no data";
    for (const seed of FACTOR > 1 ? [1, 2] : [leaves ? 2 : 1]) {
      Deno.test({
        name: `watch-source by ${interceptor} follows a storm of renames ${what}, seed ${seed}`,
        ignore,
        async fn() {
          await using replication = await openReplication({ road: "local" });
          const outside = await fill(replication);
          // So much is renamed over something else that it looks like a disaster.
          await replication.watch(["--intercept", interceptor, "--guard-deletes", "off"]);
          let before = (await replication.laneStatus()).opsSent;
          for (let round = 0; round < 2; round++) {
            const args = [replication.source, outside, `${5_000 * FACTOR}`, `${seed + 10 * round}`];
            const { stdout } = await runProcess(
              "python3",
              ["-c", STORM, ...args, leaves ? "1" : "0"],
              { expectCode: 0, timeoutMs: 120_000 },
            );
            await replication.flush();
            await replication.assertEqual();
            const { opsSent } = await replication.laneStatus();
            const files = (opsSent.file ?? 0) - (before.file ?? 0);
            const cameIn = leaves ? Number(stdout) : 0;
            assert(files <= cameIn + GIVEN_UP_MAX * FACTOR, `${files} files were sent, ${cameIn} came in`);
            assertEquals(opsSent.open, before.open);
            assert((opsSent.rename ?? 0) > (before.rename ?? 0));
            before = opsSent;
          }
        },
      });
    }
  }
}
