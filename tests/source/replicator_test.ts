/**
 * Goal: each kind of change reaches the replica, and costs no more than it must: the ops that travel are compared, too.
 *
 * Method: real directories and the real receiver (tests/testing/loopback.ts); the test gives the hints of the change.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { lutimesSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { systemClock, yieldToEvents } from "../../src/base/clock.ts";
import { SystemError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import type { Hint } from "../../src/intercept/interceptor.ts";
import { scopeWithout } from "../../src/source/scope.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { faultyFileSystem } from "../testing/faulty_file_system.ts";
import { lookBelow, moved, Pair, type PairOptions } from "../testing/loopback.ts";
import { assertSameTree } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { writeBigFile } from "../testing/tree_maker.ts";
import { waitFor } from "../testing/wait.ts";

const needsLinux = lacks("linux");
const needsRoot = lacks("linux", "root");

/** A change of a tree: what is there before, what is done, what the source hears, and what then travels. */
interface Change {
  before?: (root: string) => void;
  change: (root: string) => void;
  hints: (Hint | string)[];
  /** Ops that travel, in order. */
  ops: string[];
  options?: PairOptions;
  ignore?: boolean;
}

async function assertSame(pair: Pair): Promise<void> {
  await assertSameTree(pair.sourceRoot, pair.replicaRoot, { root: true });
}

function test(name: string, { before, change, hints, ops, options, ignore = needsLinux }: Change): void {
  Deno.test({
    name: `Replicator: ${name}`,
    ignore,
    async fn() {
      await using pair = await Pair.open(options);
      before?.(pair.sourceRoot);
      await pair.mirror();
      await assertSame(pair);
      change(pair.sourceRoot);
      await pair.look(...hints);
      assertEquals(pair.takeOps(), ops);
      await assertSame(pair);
      assertEquals(pair.replicator.problems.list(), []);
      assertEquals(pair.target.staged(), []);
      // Nothing was left over: a look at everything finds nothing to do.
      await pair.verify();
      assertEquals(pair.takeOps(), []);
    },
  });
}

function sh(script: string): (root: string) => void {
  return (root) => {
    const { success, stderr } = new Deno.Command("sh", { args: ["-ec", script], cwd: root }).outputSync();
    if (!success) throw new Error(`Cannot run "${script}": ${new TextDecoder().decode(stderr)}`);
  };
}

test("a new file is one op, and the time of its directory another", {
  change: sh("echo x > a"),
  hints: ["a"],
  ops: ["file a (2 bytes)", 'attributes "": mtimeNs'],
});

test("what is appended to a small file sends it whole", {
  before: sh("echo x > a"),
  change: sh("echo y >> a"),
  hints: ["a"],
  ops: ["file a (4 bytes)"],
});

test("an empty file and a rewritten one", {
  before: sh("echo x > a"),
  change: sh(": > empty; echo z > a"),
  hints: ["empty", "a"],
  ops: ["file a (2 bytes)", "file empty (0 bytes)", 'attributes "": mtimeNs'],
});

test("a rewrite that keeps size and modification time is seen by its change time", {
  before: sh("echo old > a; touch -d @1600000000 a"),
  change: sh("echo new > a; touch -d @1600000000 a"),
  hints: ["a"],
  // The target is asked first: most often nothing has changed but the change time.
  ops: ["open a copy", "block 0+4", "close a"],
});

test("a change of mode sends no data", {
  before: sh("echo x > a; chmod 600 a"),
  change: sh("chmod 4755 a"),
  hints: ["a"],
  ops: ["attributes a: mode"],
});

test("a change of owner sends no data", {
  before: sh("echo x > a; mkdir d; ln -s t l"),
  change: sh("chown 1234:2345 a d; chown -h 1:2 l"),
  hints: ["a", "d", "l"],
  ops: ["attributes a: mode uid gid", "attributes l: uid gid", "attributes d: mode uid gid"],
  ignore: needsRoot,
});

test("another time of a file sends it, since nothing else tells what changed", {
  before: sh("echo x > a"),
  change: sh("touch -d @1600000000.123456789 a"),
  hints: ["a"],
  ops: ["file a (2 bytes)"],
});

test("directories, one in the other, with a file at the end, from one hint", {
  change: sh("mkdir -p a/b/c; echo x > a/b/c/f"),
  hints: ["a/b/c/f"],
  ops: [
    "mkdir a",
    "mkdir a/b",
    "mkdir a/b/c",
    "file a/b/c/f (2 bytes)",
    "attributes a/b/c: mtimeNs",
    "attributes a/b: mtimeNs",
    "attributes a: mtimeNs",
    'attributes "": mtimeNs',
  ],
});

test("a new directory is looked below by itself", {
  change: sh("mkdir -p a/b; echo x > a/b/f; echo y > a/g"),
  hints: ["a"],
  ops: [
    "mkdir a",
    "attributes a: mtimeNs",
    'attributes "": mtimeNs',
    "mkdir a/b",
    "file a/g (2 bytes)",
    "attributes a/b: mtimeNs",
    "file a/b/f (2 bytes)",
  ],
});

test("a directory that is removed goes from the inside out", {
  before: sh("mkdir -p d/e; echo x > d/e/f; echo x > d/g"),
  change: sh("rm -r d"),
  hints: ["d/e/f", "d/e", "d/g", "d"],
  ops: ["unlink d/g", "unlink d/e/f", "rmdir d/e", "rmdir d", 'attributes "": mtimeNs'],
});

test("one hint at the top of what is removed is enough", {
  before: sh("mkdir -p d/e; echo x > d/e/f"),
  change: sh("rm -r d"),
  hints: ["d"],
  ops: ["unlink d/e/f", "rmdir d/e", "rmdir d", 'attributes "": mtimeNs'],
});

test("a file is removed", {
  before: sh("echo x > a"),
  change: sh("rm a; echo > b"),
  hints: ["a", "b"],
  ops: ["file b (1 bytes)", "unlink a", 'attributes "": mtimeNs'],
});

test("what came and went leaves the time of its directory", {
  before: sh("mkdir d; echo x > d/a"),
  change: sh("echo > d/tmp; rm d/tmp"),
  hints: ["d/tmp"],
  ops: ["attributes d: mtimeNs"],
});

test("symbolic links are made, pointed elsewhere and removed", {
  before: sh("ln -s old changed; ln -s x removed"),
  change: sh("ln -s nothing/there made; ln -sfn new changed; rm removed"),
  hints: ["made", "changed", "removed"],
  ops: [
    "symlink changed → new",
    "symlink made → nothing/there",
    "unlink removed",
    'attributes "": mtimeNs',
  ],
});

test("a file becomes a directory, a directory a file, and a link both", {
  before: sh("echo x > a; mkdir b; echo y > b/c; ln -s x l"),
  change: sh("rm a; mkdir a; echo z > a/n; rm -r b; echo w > b; rm l; mkdir l"),
  hints: ["a", "a/n", "b/c", "b", "l"],
  ops: [
    "unlink l",
    "mkdir l",
    "attributes l: mtimeNs",
    // What the target held at the others might have moved elsewhere: they rested first.
    "unlink a",
    "mkdir a",
    "unlink b/c",
    "rmdir b",
    "file b (2 bytes)",
    "attributes a: mtimeNs",
    'attributes "": mtimeNs',
    "file a/n (2 bytes)",
  ],
});

test("a file that is renamed costs no data", {
  before: sh("echo x > a; mkdir d"),
  change: sh("mv a d/b"),
  hints: [moved("a", "d/b")],
  ops: ["rename a → d/b", "attributes d: mtimeNs", 'attributes "": mtimeNs'],
});

test("a file that is renamed forth and back costs no data", {
  before: sh("echo x > a"),
  change: sh("mv a b; mv b a"),
  hints: ["a", "b"],
  ops: ["attributes a: mode uid gid mtimeNs xattrs", 'attributes "": mtimeNs'],
});

test("a rename that is only heard as two looks is a rename", {
  before: sh("echo x > a"),
  change: sh("mv a b"),
  hints: ["a", "b"],
  ops: ["rename a → b", 'attributes "": mtimeNs'],
});

test("a large file that is renamed costs no data", {
  before: (root) => writeBigFile(`${root}/a`, 2 << 20),
  change: sh("mv a b"),
  hints: [moved("a", "b")],
  ops: ["rename a → b", 'attributes "": mtimeNs'],
});

test("a rename over an existing file replaces it", {
  before: sh("echo new > a; echo old > b"),
  change: sh("mv a b"),
  hints: [moved("a", "b")],
  ops: ["rename a → b", 'attributes "": mtimeNs'],
});

test("an editor's save by rename of a file that was never seen sends the file", {
  before: sh("echo old > a"),
  change: sh("echo new > .a.tmp; mv .a.tmp a"),
  hints: [".a.tmp", moved(".a.tmp", "a")],
  ops: ["file a (4 bytes)", 'attributes "": mtimeNs'],
});

test("two files that change places cost no data", {
  before: sh("echo first > a; echo second > b"),
  change: sh("mv a t; mv b a; mv t b"),
  hints: [moved("a", "t"), moved("b", "a"), moved("t", "b")],
  ops: ["exchange b → a", 'attributes "": mtimeNs'],
});

test("three files that change places in a ring cost no data", {
  before: sh("echo first > a; echo second > b; echo third > c"),
  change: sh("mv a t; mv b a; mv c b; mv t c"),
  hints: [moved("a", "t"), moved("b", "a"), moved("c", "b"), moved("t", "c")],
  ops: ["exchange b → a", "exchange c → b", 'attributes "": mtimeNs'],
});

test("two directories that change places cost no data", {
  before: sh("mkdir a b; echo first > a/f; echo second > b/g"),
  change: sh("mv a t; mv b a; mv t b"),
  hints: [moved("a", "t", true), moved("b", "a", true), moved("t", "b", true)],
  ops: ["exchange b → a", 'attributes "": mtimeNs'],
});

test("a directory of 5,000 files that is renamed is one op", {
  before: (root) => {
    mkdirSync(`${root}/d`);
    for (let i = 0; i < 5000; i++) writeFileSync(`${root}/d/${i}`, "");
  },
  change: sh("mv d e"),
  hints: [moved("d", "e", true)],
  ops: ["rename d → e", 'attributes "": mtimeNs'],
});

test("a directory is renamed while paths below its old name are still to be looked at", {
  before: sh("mkdir -p d/e; echo old > d/f; echo x > d/e/g"),
  change: sh("echo new1 > d/f; echo y > d/n; rm d/e/g; mv d m"),
  hints: ["d/f", "d/n", "d/e/g", moved("d", "m", true)],
  ops: [
    "rename d → m",
    "file m/f (5 bytes)",
    "file m/n (2 bytes)",
    "attributes m: mtimeNs",
    'attributes "": mtimeNs',
    "attributes m/e: mtimeNs",
    "unlink m/e/g",
  ],
});

test("a chain of renames is one, from the first name to the last", {
  before: sh("echo x > a; mkdir d; echo y > d/f"),
  change: sh("mv a b; mv b c; mv c z; mv d e; mv e y"),
  hints: [
    moved("a", "b"),
    moved("b", "c"),
    moved("c", "z"),
    moved("d", "e", true),
    moved("e", "y", true),
  ],
  ops: ["rename d → y", "rename a → z", 'attributes "": mtimeNs'],
});

test("a log that is rotated costs no data of the old one", {
  before: sh("seq 1000 > log; seq 900 > log.1"),
  change: sh("mv log.1 log.2; mv log log.1; echo new > log"),
  hints: [moved("log.1", "log.2"), moved("log", "log.1"), "log"],
  ops: ["rename log.1 → log.2", "rename log → log.1", "file log (4 bytes)", 'attributes "": mtimeNs'],
});

test("names with a line feed, and names that are not UTF-8", {
  change: sh(`mkdir "$(printf 'a\\nb')"; echo x > "$(printf 'a\\nb')/$(printf 'c\\377')"`),
  hints: ["a\nb/c\udcff"],
  ops: [
    'mkdir "a\\nb"',
    'file "a\\nb/c\\xff" (2 bytes)',
    'attributes "a\\nb": mtimeNs',
    'attributes "": mtimeNs',
  ],
});

test("a further name of a file travels as such", {
  before: sh("echo x > a"),
  change: sh("ln a b"),
  hints: ["a", "b"],
  ops: ["attributes a: mode uid gid mtimeNs xattrs", "link a as b", 'attributes "": mtimeNs'],
});

test("a change through one name of a file shows at its other names", {
  before: sh("echo x > a; mkdir d; ln a d/b; ln a c"),
  change: sh("echo yy >> d/b; chmod 600 d/b"),
  hints: ["d/b"],
  ops: ["file a (5 bytes)", "link a as c", "link a as d/b"],
});

test("a change through a new name of a file shows at the one it had", {
  before: sh("echo x > a"),
  change: sh("ln a b; chmod 600 b"),
  hints: ["b"],
  ops: ["attributes a: mode", "link a as b", 'attributes "": mtimeNs'],
});

test("a name that was linked once and names another file now is not mixed with it", {
  before: sh("echo x > a; ln a b; ln a c"),
  change: sh("rm b; echo other > b; echo yy >> a"),
  hints: ["b", "a"],
  ops: ["file a (5 bytes)", "link a as c", "file b (6 bytes)", 'attributes "": mtimeNs'],
});

test("a directory fifty deep", {
  change: (root) => {
    mkdirSync(`${root}/${Array(50).fill("d").join("/")}`, { recursive: true });
    writeFileSync(`${root}/${Array(50).fill("d").join("/")}/f`, "x");
  },
  hints: [lookBelow("d")],
  ops: [
    ...Array.from({ length: 50 }, (_, i) => {
      const path = Array(i + 1).fill("d").join("/");
      return [`mkdir ${path}`, `attributes ${path}: mtimeNs`, ...(i === 0 ? ['attributes "": mtimeNs'] : [])];
    }).flat(),
    `file ${Array(50).fill("d").join("/")}/f (1 bytes)`,
  ],
});

Deno.test({
  name: "Replicator: a directory that is moved in or out, heard of at one end only",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open();
    sh("mkdir d; echo x > d/f; echo y > a")(pair.sourceRoot);
    const outside = `${pair.sourceRoot}/../outside`;
    mkdirSync(outside);
    writeFileSync(`${outside}/in`, "z");
    await pair.mirror();
    renameSync(`${pair.sourceRoot}/d`, `${outside}/d`);
    await pair.look("d");
    assertEquals(pair.takeOps(), ["unlink d/f", "rmdir d", 'attributes "": mtimeNs']);
    renameSync(outside, `${pair.sourceRoot}/o`);
    await pair.look(lookBelow("o"));
    await assertSame(pair);
  },
});

Deno.test({
  name: "Replicator: of a large file only what changed travels, and a renamed one stays known by its blocks",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open();
    const at = `${pair.sourceRoot}/big`;
    writeBigFile(at, 4 << 20);
    await pair.mirror();
    patch(at, 1_500_000, "changed");
    await pair.look("big");
    const [block] = pair.takeOps().filter((op) => op.startsWith("block"));
    assertEquals(block, `block ${1_500_000 - 1_500_000 % limits.blockSize}+${limits.blockSize}`);
    await assertSame(pair);
    renameSync(at, `${pair.sourceRoot}/renamed`);
    await pair.look(moved("big", "renamed"));
    patch(`${pair.sourceRoot}/renamed`, 10, "again");
    await pair.look("renamed");
    assertEquals(pair.takeOps().filter((op) => op.startsWith("block")), [`block 0+${limits.blockSize}`]);
    await assertSame(pair);
    Deno.writeTextFileSync(`${pair.sourceRoot}/renamed`, "appended", { append: true });
    await pair.look("renamed");
    const sent = pair.takeOps().filter((op) => op.startsWith("block"));
    assertEquals(sent.length, 1);
    await assertSame(pair);
    assertEquals(pair.target.staged(), []);
  },
});

Deno.test({
  name: "Replicator passes over a directory that goes while it is made for what is in it",
  ignore: needsLinux,
  async fn() {
    let goes = true;
    const before = ({ method, path }: { method: string; path: string }) => {
      if (method !== "xattrs" || path !== "d" || !goes) return;
      goes = false;
      throw new SystemError("ENOENT", "Cannot read attributes: it does not exist (ENOENT)");
    };
    await using pair = await Pair.open({
      sourceFileSystem: faultyFileSystem(systemFileSystem(), { before }),
    });
    await pair.mirror();
    sh("mkdir d; echo 1 > d/f")(pair.sourceRoot);
    await pair.look("d/f");
    assert(!goes);
    assertEquals(pair.replicator.problems.list(), []);
    await pair.look("d", "d/f");
    await assertSame(pair);
  },
});

Deno.test({
  name:
    "Replicator: where the clock of files is coarse, what changed within its tick is found without a hint",
  ignore: needsLinux,
  async fn() {
    for (const change of ["contents", "attribute"]) {
      // Whatever the machine's pace, the file is as old as its tick when it is read.
      const clock = { ...systemClock, nowMs: () => startMs };
      const startMs = Date.now();
      await using pair = await Pair.open({ coarseFileTimes: true, clock });
      await pair.mirror();
      using tree = systemFileSystem().openTree(pair.sourceRoot);
      Deno.writeTextFileSync(`${pair.sourceRoot}/a`, "1\n");
      tree.setXattr("a", "user.a", Uint8Array.of(1));
      const looking = pair.look("a");
      while ((pair.replicator.lane.stats.opsSent.file ?? 0) === 0) await yieldToEvents();
      if (change === "contents") Deno.writeTextFileSync(`${pair.sourceRoot}/a`, "2\n");
      else tree.setXattr("a", "user.a", Uint8Array.of(2));
      await looking;
      await assertSame(pair);
      using replica = systemFileSystem().openTree(pair.replicaRoot);
      assertEquals(replica.xattrs("a"), tree.xattrs("a"), change);
    }
  },
});

Deno.test({
  name:
    "Replicator: a FIFO, a socket and device nodes are made, changed, renamed and removed as what they are",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open();
    await pair.mirror();
    sh("mkfifo -m 640 pipe; mknod null c 1 3; mknod disk b 7 300; echo x > a")(pair.sourceRoot);
    await pair.look("pipe", "null", "disk", "a");
    assertEquals(pair.replicator.problems.list(), []);
    await assertSame(pair);
    sh(
      "chmod 600 pipe; rm null; mknod null c 1 5; mv disk moved; rm a; mkfifo a; chown 5:6 moved; touch -d 2001-01-01 a",
    )(
      pair.sourceRoot,
    );
    await pair.look("pipe", "null", "disk", "moved", "a");
    await assertSame(pair);
    const { opsSent } = pair.replicator.lane.stats;
    assertEquals([opsSent.rename, opsSent.node], [1, 5]);
    sh("rm pipe; mkdir pipe; rm null; echo y > null")(pair.sourceRoot);
    await pair.look("pipe", "null");
    await assertSame(pair);
  },
});

Deno.test({
  name: "Replicator: a name that the target keeps for itself is left out",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open();
    await pair.mirror();
    sh("mkdir .understudy; echo x > .understudy/f; echo y > a")(pair.sourceRoot);
    await pair.look(".understudy", ".understudy/f", "a");
    assertEquals(pair.takeOps(), ["file a (2 bytes)", 'attributes "": mtimeNs']);
    await pair.verify();
    await assertSameTree(pair.sourceRoot, pair.replicaRoot, {
      root: true,
      exclude: (path) => path.startsWith(".understudy"),
    });
  },
});

Deno.test({
  name: "Replicator: what is excluded is neither sent nor removed",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open({ scope: scopeWithout((path) => path.split("/")[0] === "cache") });
    sh("echo x > a; mkdir cache; echo x > cache/f")(pair.sourceRoot);
    await pair.mirror();
    sh("echo x > b; echo y > cache/g")(pair.sourceRoot);
    await pair.look("cache", "cache/g", "b", lookBelow(""));
    assertEquals(pair.takeOps(), ["file b (2 bytes)", 'attributes "": mtimeNs']);
  },
});

Deno.test({
  name: "Replicator: settled() waits for everything that a path made dirty before led to",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open();
    await pair.mirror();
    for (let round = 0; round < 20; round++) {
      const at = `${pair.sourceRoot}/${round}`;
      mkdirSync(`${at}/b/c`, { recursive: true });
      writeBigFile(`${at}/b/c/large`, 400 << 10);
      writeFileSync(`${at}/b/small`, "x");
      symlinkSync("x", `${at}/b/link`);
      lutimesSync(`${at}/b`, 1_600_000_000, 1_600_000_000);
      await pair.look(`${round}`);
      await assertSame(pair);
    }
  },
});

Deno.test({
  name: "Replicator: a source that comes back goes on with its index, and sends only what changed meanwhile",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open();
    sh("mkdir d; seq 100 > d/a; seq 100 > b")(pair.sourceRoot);
    await pair.mirror();
    await pair.stop();
    sh("echo x > d/new; mv b c")(pair.sourceRoot);
    pair.start();
    await pair.settle();
    const ops = pair.takeOps().filter((op) => op !== "abandon");
    assertEquals(ops.filter((op) => /^(file|rename|unlink|open)/.test(op)).sort(), [
      "file d/new (2 bytes)",
      "rename b → c",
    ]);
    assertEquals(pair.target.messageCounts.list, 1, "the replica was listed once, by the first source");
    await assertSame(pair);
  },
});

Deno.test({
  name:
    "Replicator: a source without an index compares with the target's listing and sends nothing that is equal",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open({ keepsIndex: false });
    sh("mkdir d; seq 100 > d/a; seq 100 > b; ln -s x l")(pair.sourceRoot);
    await pair.mirror();
    await pair.stop();
    pair.start();
    await pair.settle();
    assertEquals(pair.takeOps(), []);
    rmSync(`${pair.sourceRoot}/b`);
    await pair.look("b");
    await assertSame(pair);
  },
});

Deno.test({
  name: "Replicator: what others changed on the target is found when the source starts over",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open({ keepsIndex: false });
    sh("mkdir d; seq 100 > d/a; seq 100 > b")(pair.sourceRoot);
    await pair.mirror();
    await pair.stop();
    sh("rm d/a; echo more >> b; mkdir -p extra/deep; echo x > extra/deep/f; ln -s x d/a")(pair.replicaRoot);
    pair.start();
    await pair.settle();
    await assertSame(pair);
  },
});

Deno.test({
  name: "Replicator: a failing op names its problem, and is done again when the way is free",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open();
    sh("mkdir d; echo x > d/a")(pair.sourceRoot);
    await pair.mirror();
    // Something that the source does not know of stands in the way.
    sh("mkdir -p d/b/stranger/below; echo x > d/b/stranger/below/f")(pair.replicaRoot);
    sh("echo y > d/b")(pair.sourceRoot);
    await pair.look("d/b");
    await assertSame(pair);
    assertEquals(pair.replicator.problems.list(), []);
  },
});

Deno.test({
  name: "Replicator: a directory with strangers on the target goes with them",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open();
    sh("mkdir d; echo x > d/a")(pair.sourceRoot);
    await pair.mirror();
    sh("mkdir -p d/stranger/below; echo x > d/stranger/below/f")(pair.replicaRoot);
    sh("rm -r d; echo y > e")(pair.sourceRoot);
    await pair.look("d/a", "d", "e");
    await assertSame(pair);
    assertEquals(pair.replicator.problems.list(), []);
  },
});

Deno.test({
  name: "Replicator: a window of 64 KiB carries large files and many small ones",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open({ windowBytes: 64 << 10 });
    writeBigFile(`${pair.sourceRoot}/big`, 3 << 20);
    mkdirSync(`${pair.sourceRoot}/d`);
    for (let i = 0; i < 500; i++) writeFileSync(`${pair.sourceRoot}/d/${i}`, `${i}`.repeat(100));
    pair.start();
    await pair.settle();
    await assertSame(pair);
    // A lone op may be larger than the window: a block is.
    assert(pair.replicator.lane.stats.windowBytesPeak < (64 << 10) + limits.opDataSizeMax + 1024);
  },
});

Deno.test({
  name: "Replicator: a file is not patched over what took its place on the target while it was compared",
  ignore: needsLinux,
  async fn() {
    await using pair = await Pair.open();
    writeBigFile(`${pair.sourceRoot}/a`, 2 << 20);
    writeFileSync(`${pair.sourceRoot}/x`, "small");
    await pair.mirror();
    patch(`${pair.sourceRoot}/a`, 5000, "changed");
    pair.target.faults = { isHeld: true };
    const readBefore = pair.replicator.bytesRead;
    pair.hint("a");
    await waitFor(() => pair.replicator.bytesRead >= readBefore + (2 << 20), { what: "the comparison" });
    // Its question for fine hashes is on its way before the exchange is.
    for (let i = 0; i < 20; i++) await yieldToEvents();
    const swap = sh("mv a t; mv x a; mv t x");
    const hints = [moved("a", "t"), moved("x", "a"), moved("t", "x")];
    swap(pair.sourceRoot);
    pair.hint(...hints);
    await waitFor(() => pair.replicator.lane.stats.opsSent.rename === 1, { what: "the exchange" });
    swap(pair.sourceRoot);
    pair.target.faults = {};
    await waitFor(() => pair.replicator.transfersCount === 0, { what: "the end of the transfer" });
    await pair.look(...hints);
    await assertSame(pair);
    assertEquals(pair.target.staged(), []);
  },
});

function patch(path: string, offset: number, text: string): void {
  using tree = systemFileSystem().openTree(path.slice(0, path.lastIndexOf("/")));
  using file = tree.open(path.slice(path.lastIndexOf("/") + 1), { access: "write" });
  file.write(new TextEncoder().encode(text), offset);
}

Deno.test("Replicator keeps the problem of a directory that cannot be listed when its own attributes are looked at", async () => {
  let isLocked = true;
  const sourceFileSystem = faultyFileSystem(systemFileSystem(), {
    before: ({ method, path }) => {
      if (isLocked && method === "scan" && path === "d") {
        throw new SystemError("EACCES", "Cannot list: locked");
      }
    },
  });
  await using pair = await Pair.open({ sourceFileSystem });
  Deno.mkdirSync(`${pair.sourceRoot}/d`);
  await pair.mirror();
  const problems = () => pair.replicator.problems.list().map(({ path, op }) => `${op} ${path}`);
  assertEquals(problems(), ["read d"]);
  await pair.look("d");
  assertEquals(problems(), ["read d"]);
  Deno.chmodSync(`${pair.sourceRoot}/d`, 0o700);
  await pair.look("d");
  assertEquals(problems(), ["read d"]);
  isLocked = false;
  await pair.look(lookBelow("d"));
  assertEquals(problems(), []);
});
