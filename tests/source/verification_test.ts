/**
 * Goal: whatever differs between source and target is found, with the side that it is of, and healed; what is equal or
 * still moving is no difference.
 *
 * Method: real directories and the real receiver (tests/testing/loopback.ts). The source hears of nothing but what the
 * test tells it; the replica is changed behind everybody's back, or the target acks ops that it does not do.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { renameSync, symlinkSync } from "node:fs";
import type { Difference, VerifyReport } from "../../src/base/status.ts";
import { scopeWithout } from "../../src/source/scope.ts";
import { Pair, type PairOptions } from "../testing/loopback.ts";
import { assertSameTree } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { writeBigFile } from "../testing/tree_maker.ts";

const ignore = lacks("linux");

function sh(script: string, cwd: string): void {
  const { success, stderr } = new Deno.Command("sh", { args: ["-ec", script], cwd }).outputSync();
  if (!success) throw new Error(`Cannot run "${script}": ${new TextDecoder().decode(stderr)}`);
}

/** A pair with a tree of some shape, mirrored. The clock is true: causes are told by times of both sides. */
async function openPair(options: PairOptions = {}): Promise<Pair> {
  const pair = await Pair.open({ clockFactor: 1, ...options });
  sh(
    "mkdir -p a/b c; echo one >a/one; echo two >a/b/two; echo three >c/three; ln -s one a/link",
    pair.sourceRoot,
  );
  writeBigFile(`${pair.sourceRoot}/big`, 9_000_000);
  await pair.mirror();
  return pair;
}

function verify(pair: Pair, request: { repair?: boolean; contents?: boolean } = {}): Promise<VerifyReport> {
  const { repair = false, contents = false } = request;
  return pair.replicator.verification.run({ repair, contents }, AbortSignal.timeout(60_000));
}

function inShort({ path, kind, parts, cause, state }: Difference): string {
  return `${path}: ${kind}${parts.length > 0 ? ` ${parts.join(" ")}` : ""}, ${cause}, ${state}`;
}

/** Does something to a file, and gives it its old times again. */
function behindItsTimes(path: string, change: () => void): void {
  const keeper = Deno.makeTempFileSync();
  sh(`touch -r '${path}' '${keeper}'`, "/");
  change();
  sh(`touch -r '${keeper}' '${path}'; rm '${keeper}'`, "/");
}

/** Flips a bit; neither size nor time tells. */
function flipByte(path: string, offset: number): void {
  behindItsTimes(path, () => {
    using file = Deno.openSync(path, { read: true, write: true });
    const byte = new Uint8Array(1);
    file.seekSync(offset, Deno.SeekMode.Start);
    file.readSync(byte);
    file.seekSync(offset, Deno.SeekMode.Start);
    file.writeSync(new Uint8Array([byte[0] ^ 1]));
  });
}

interface Case {
  options?: PairOptions;
  /** Makes the difference. */
  change: (pair: Pair) => void | Promise<void>;
  contents?: boolean;
  /** What is found, in short, when nothing is to be healed. Other differences may not be there. */
  found: string[];
}

function differs(name: string, { options, change, contents = false, found }: Case): void {
  Deno.test({
    name: `Verification finds and heals ${name}`,
    ignore,
    async fn() {
      await using pair = await openPair(options);
      await change(pair);
      const report = await verify(pair, { contents });
      assertEquals(report.differences.map(inShort).sort(), found.map((each) => `${each}, found`).sort());
      assertEquals([report.complete, report.found, report.healed], [true, found.length, 0]);
      const repaired = await verify(pair, { contents, repair: true });
      assertEquals(repaired.healed, repaired.found, repaired.differences.map(inShort).join("\n"));
      assert(repaired.found > 0);
      await assertSameTree(pair.sourceRoot, pair.replicaRoot, { root: true });
      const after = await verify(pair, { contents: true });
      assertEquals([after.complete, after.found], [true, 0], after.differences.map(inShort).join("\n"));
      assertEquals(pair.replicator.problems.list(), []);
      pair.check();
    },
  });
}

Deno.test({
  name: "Verification finds nothing in equal trees, says what it compared, and sends nothing",
  ignore,
  async fn() {
    await using pair = await openPair();
    const report = await verify(pair);
    const { target, complete, reason, entries, files, found, restless } = report;
    assertEquals({ target, complete, reason, found, restless }, {
      target: "loopback",
      complete: true,
      reason: "",
      found: 0,
      restless: 0,
    });
    assertEquals([entries, files], [8, 0]);
    const whole = await verify(pair, { contents: true });
    assertEquals([whole.entries, whole.files, whole.bytes, whole.found], [8, 4, 9_000_000 + 4 + 4 + 6, 0]);
    assertEquals(pair.takeOps(), []);
  },
});

differs("a file that was changed on the target", {
  change: ({ replicaRoot }) => Deno.writeTextFileSync(`${replicaRoot}/a/one`, "another"),
  found: ["a/one: changed size mtime, target"],
});

differs("a bit that flipped in a small file of the target", {
  change: ({ replicaRoot }) => flipByte(`${replicaRoot}/a/b/two`, 1),
  contents: true,
  found: ["a/b/two: changed contents, target"],
});

differs("a bit that flipped in a large file of the target", {
  change: ({ replicaRoot }) => flipByte(`${replicaRoot}/big`, 8_999_999),
  contents: true,
  found: ["big: changed contents, target"],
});

differs("a bit that flipped in a small file of the source", {
  change: ({ sourceRoot }) => flipByte(`${sourceRoot}/a/b/two`, 1),
  found: ["a/b/two: changed contents, source"],
  contents: true,
});

differs("a bit that flipped in a large file of the source", {
  change: ({ sourceRoot }) => flipByte(`${sourceRoot}/big`, 5_000_000),
  contents: true,
  found: ["big: changed contents, source"],
});

differs("attributes that were changed on the target", {
  change: ({ replicaRoot }) =>
    sh("chmod 600 a/one; chmod 700 c; touch -d @5 c; touch -d @7 a/b/two", replicaRoot),
  found: [
    "a/one: changed mode, target",
    "c: changed mtime mode, target",
    "a/b/two: changed mtime, target",
  ],
});

differs("what is missing on the target, a directory as one", {
  change: ({ replicaRoot }) => sh("rm -r a/b; rm c/three", replicaRoot),
  found: [
    "a/b: missing, target",
    "a: changed mtime, target",
    "c/three: missing, target",
    "c: changed mtime, target",
  ],
});

differs("what nobody sent to the target", {
  change: ({ replicaRoot }) => sh("mkdir -p x/y; echo z >x/y/z; echo w >c/w; ln -s x l", replicaRoot),
  found: [
    "x: extra, target",
    "l: extra, target",
    ": changed mtime, target",
    "c/w: extra, target",
    "c: changed mtime, target",
  ],
});

differs("what is of another kind on the target", {
  change: ({ replicaRoot }) =>
    sh(
      "rm -r a; echo file >a; rm c/three; mkdir c/three; echo x >c/three/x; rm big; ln -s c big",
      replicaRoot,
    ),
  found: [
    "a: changed kind, target",
    "c/three: changed kind, target",
    "c: changed mtime, target",
    "big: changed kind, target",
    ": changed mtime, target",
  ],
});

differs("changes of the source that nobody heard of", {
  change: ({ sourceRoot }) => {
    sh("echo new >new; mkdir -p n/m; echo k >n/m/k; rm -r c; echo more >>a/one; chmod 711 a/b", sourceRoot);
    Deno.removeSync(`${sourceRoot}/a/link`);
    symlinkSync("two", `${sourceRoot}/a/link`);
  },
  found: [
    ": changed mtime, source",
    "a: changed mtime, source",
    "a/b: changed mode, source",
    "a/link: changed link mtime, source",
    "a/one: changed size mtime, source",
    "c: extra, source",
    "n: missing, source",
    "new: missing, source",
  ],
});

differs("a change of the source whose times were put back", {
  change: ({ sourceRoot }) => flipByte(`${sourceRoot}/c/three`, 0),
  contents: true,
  found: ["c/three: changed contents, source"],
});

differs("ops that came to nothing", {
  async change(pair) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    sh("echo changed >a/one; echo new >c/new; rm a/b/two; chmod 700 c", pair.sourceRoot);
    pair.target.faults = {
      loses: (op) =>
        ["file", "unlink"].includes(op.kind) ||
        (op.kind === "attributes" && op.path === "c" && op.attributes.mode !== undefined),
    };
    await pair.look("a/one", "c/new", "a/b/two", "c");
    pair.target.faults = {};
  },
  found: [
    "a/one: changed size mtime, lost",
    "c/new: missing, lost",
    "a/b/two: extra, lost",
    "c: changed mtime mode, lost",
  ],
});

differs("the same path changed on both sides", {
  change: ({ sourceRoot, replicaRoot }) => {
    Deno.writeTextFileSync(`${sourceRoot}/a/one`, "source");
    Deno.writeTextFileSync(`${replicaRoot}/a/one`, "target's");
    Deno.utimeSync(`${replicaRoot}/a/one`, 5, 5);
  },
  found: ["a/one: changed size mtime, both"],
});

Deno.test({
  name: "Verification leaves alone what is excluded, and extra entries while deletions wait",
  ignore,
  async fn() {
    await using pair = await Pair.open({
      scope: scopeWithout((path) => path === "ignored"),
      policy: { deleteAbsent: false },
      pausedDeletions: "the test says so",
    });
    sh("echo x >kept", pair.sourceRoot);
    pair.start();
    await pair.replicator.mirrored();
    sh("echo x >ignored", pair.sourceRoot);
    // Else both roots may have changed within one tick of the clock.
    sh("mkdir ignored; echo x >extra; touch -d 2001-01-01 .", pair.replicaRoot);
    const report = await verify(pair, { repair: true });
    const extra = report.differences.find(({ path }) => path === "extra")!;
    assertEquals([extra.state, extra.reason], ["standing", "deletions wait: the test says so"]);
    assertEquals(report.differences.map(({ path }) => path).sort(), ["", "extra"]);
    assertEquals(report.healed, 1);
    assert(Deno.lstatSync(`${pair.replicaRoot}/extra`).isFile);
    assert(Deno.lstatSync(`${pair.replicaRoot}/ignored`).isDirectory);
  },
});

Deno.test({
  name:
    "Verification finds nothing while files are changed, renamed and removed all the time and hints tell of it",
  ignore,
  async fn() {
    await using pair = await openPair();
    for (let i = 0; i < 300; i++) Deno.writeTextFileSync(`${pair.sourceRoot}/c/f${i}`, `${i}`);
    await pair.look({ kind: "look-below", path: "c", reason: "test" });
    let [isOver, round] = [false, 0];
    const changing = (async () => {
      while (!isOver) {
        const [from, to] = [`c/f${round % 300}`, `c/f${(round * 7) % 300}`];
        Deno.writeTextFileSync(`${pair.sourceRoot}/${to}`, `${round}`);
        renameSync(`${pair.sourceRoot}/${to}`, `${pair.sourceRoot}/${from}`);
        Deno.writeTextFileSync(`${pair.sourceRoot}/${to}`, `again ${round++}`);
        pair.hint(from, to, "c");
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    for (let i = 0; i < 5; i++) {
      const report = await verify(pair, { contents: true });
      assertEquals([report.complete, report.differences.map(inShort)], [true, []]);
    }
    isOver = true;
    await changing;
    assert(round > 10);
    await pair.settle();
    assertEquals((await verify(pair, { contents: true })).found, 0);
  },
});

Deno.test({
  name: "Verification goes on in the next session when the line breaks",
  ignore,
  async fn() {
    await using pair = await openPair();
    Deno.writeTextFileSync(`${pair.replicaRoot}/c/three`, "another");
    for (let cutAfter = 0; cutAfter < 6; cutAfter++) {
      pair.target.faults = { cutAfter };
      const report = await verify(pair, { contents: true });
      assertEquals([report.complete, report.differences.map(({ path }) => path)], [true, ["c/three"]]);
    }
  },
});
