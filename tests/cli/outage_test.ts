/**
 * Goal: whatever happens while a target is away, the trees are equal soon after it is back, and little more travels than
 * what is another one by then; memory stays within its bound.
 *
 * Method: a proxy refuses the line while a program makes 50,000 changes: new, removed, renamed and rewritten files, one
 * file rewritten 5,000 times, one large file patched at 500 places (128 MiB; `UNDERSTUDY_OUTAGE=8` makes it 1 GiB). All
 * contents are random. In one run of two the source is killed and started again in between. About 60 s.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication } from "../testing/replication.ts";

const ignore = lacks("linux") || lacks("command python3");
const MiB = 1024 ** 2;
const LARGE_SIZE = 128 * MiB * Number(Deno.env.get("UNDERSTUDY_OUTAGE") ?? 1);

/** argv: root, bytes of the large file. */
const FILL = `
import os, sys
root, large = sys.argv[1], int(sys.argv[2])
for d in range(40):
    os.makedirs(root + "/d%d" % d)
    for i in range(200):
        with open(root + "/d%d/f%d" % (d, i), "wb") as file: file.write(os.urandom(500))
with open(root + "/large", "wb") as file:
    for i in range(large >> 20): file.write(os.urandom(1 << 20))
with open(root + "/hot", "wb") as file: file.write(os.urandom(10000))
`;

/** argv: root, bytes of the large file. Prints how many bytes are other ones afterwards. */
const CHANGE = `
import os, random, sys
root, large = sys.argv[1], int(sys.argv[2])
rng = random.Random(7)
ops = changed = 0
for i in range(5000):
    with open(root + "/hot", "wb") as file: file.write(os.urandom(10000))
    ops += 1
changed += 10000
blocks = rng.sample(range(large // 4096), 500)
with open(root + "/large", "r+b") as file:
    for block in blocks:
        file.seek(block * 4096); file.write(os.urandom(4096)); ops += 1
changed += 500 * 4096
os.mkdir(root + "/new")
for i in range(8000):
    with open(root + "/new/n%d" % i, "wb") as file: file.write(os.urandom(1000))
    ops += 2
changed += 8000 * 1000
for d in range(10):
    for i in range(200):
        os.remove(root + "/d%d/f%d" % (d, i)); ops += 1
for d in range(10, 20):
    for i in range(200):
        os.rename(root + "/d%d/f%d" % (d, i), root + "/d%d/r%d" % (d, i)); ops += 1
    os.rename(root + "/d%d" % d, root + "/moved%d" % d); ops += 1
for d in range(20, 30):
    for i in range(200):
        with open(root + "/d%d/f%d" % (d, i), "wb") as file: file.write(os.urandom(700))
        ops += 1
changed += 2000 * 700
while ops < 50000:
    path = root + "/d%d/f%d" % (rng.randrange(30, 40), rng.randrange(200))
    os.chmod(path, rng.choice([0o600, 0o640, 0o644])); ops += 1
print(changed)
`;

function python(program: string, ...args: string[]) {
  return runProcess("python3", ["-c", program, ...args], { expectCode: 0, timeoutMs: 300_000 });
}

/** The most that a process ever had resident, bytes. */
function peakBytes(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1]) * 1024;
}

for (const restarts of [false, true]) {
  Deno.test({
    name:
      `after an outage with 50,000 changes the trees are equal, and hardly more than what changed has travelled${
        restarts ? ", though the source was killed in the middle" : ""
      }`,
    ignore,
    async fn() {
      await using replication = await openReplication({ proxied: true, args: ["--compress", "none"] });
      const { source, proxy } = replication;
      await python(FILL, source, `${LARGE_SIZE}`);
      // Thousands of files go and are rewritten, as they would in an upgrade.
      const args = ["--guard-deletes", "off", "--guard-rewrites", "off"];
      await replication.watch(args);
      await replication.flush();
      proxy!.refusing = true;
      proxy!.cut();
      await replication.waitForState("disconnected");
      const { stdout } = await python(CHANGE, source, `${LARGE_SIZE}`);
      if (restarts) {
        replication.daemon!.kill("SIGKILL");
        await replication.daemon!.ended();
        await replication.startWatching(args);
        await replication.waitForState("disconnected");
      }
      const { forth, back } = proxy!.bytes;
      proxy!.refusing = false;
      await replication.waitForState("live");
      await replication.flush();
      await replication.assertEqual();
      const changed = Number(stdout);
      const travelled = proxy!.bytes.forth - forth;
      console.log(
        `changed ${changed}, sent ${travelled} (${(travelled / changed).toFixed(2)} ×), answered ${
          proxy!.bytes.back - back
        }`,
      );
      assert(travelled <= 1.5 * changed, `${travelled} bytes for ${changed} that changed`);
      const peak = peakBytes(replication.daemon!.pid);
      console.log(`the source took ${(peak / 1e6).toFixed(0)} MB at most`);
      assert(peak <= 300e6, `${peak} bytes resident`);
      assertEquals((await replication.sourceStatus()).problems, []);
    },
  });
}
