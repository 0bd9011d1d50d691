/**
 * Goal: after a crash at any call, and after trouble of the machine at any call, the replica ends as if nothing had
 * happened, and no live file is partial at any moment.
 *
 * Method: random ops with a model as oracle, on real files. A wrapper of the file system crashes at the n-th changing
 * call, before or after it is done; the replica is opened again and the ops behind its durable sequence are replayed.
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Op } from "../../src/ops/op.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { initHasher } from "../../src/mirror/signature.ts";
import { Crash, CrashPoint, faultyFileSystem, Trouble } from "../testing/faulty_file_system.ts";
import { ModelTree } from "../testing/model_tree.ts";
import { file, Harness, mkdir, rename, snapshot, symlink, transfer } from "../testing/receiver.ts";
import { tempDirectory } from "../testing/temp.ts";

await initHasher();

/** Ops, and the tree after them. */
interface Script {
  ops: Op[];
  expected: string[];
}

function scriptOf(seed: number, steps: number): Script {
  const model = new ModelTree();
  const ops: Op[] = [];
  let state = seed >>> 0;
  const choose = (count: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(state / 0x1_0000_0000 * count);
  };
  for (let i = 0; i < steps; i++) {
    ops.push(...model.step(choose));
    assert(model.isSound(), `the model is sound after step ${i}`);
  }
  return { ops, expected: model.lines() };
}

function treeLines(directory: string): string[] {
  return snapshot(`${directory}/live`).filter((line) => !line.startsWith(". "));
}

/** Fails if a live file holds something that it never was meant to hold; `patched` ones may be under way. */
function assertNoPartialFile(directory: string, patched: string[], what: string): void {
  for (const line of treeLines(directory)) {
    const [path, kind] = line.split(" ");
    if (kind !== "file" || patched.includes(path)) continue;
    const contents = line.split(" ").slice(4).join(" ");
    assert(everyVersion.has(contents), `${what}: partial file: ${line}`);
  }
}

/** Failures that were told, as text. */
function failuresOf({ sent }: Harness): string[] {
  return sent.flatMap((message) => message.type === "ack" ? message.failures : [])
    .map(({ sequence, op, reason }) => `${sequence} ${op} ${reason}`);
}

/** Applies all ops from the durable sequence on, cut into messages as `cut` says. */
function replay(harness: Harness, ops: Op[], cut: number): void {
  harness.hello();
  const rest = ops.slice(harness.replica.durableSequence);
  for (let at = 0; at < rest.length; at += cut) harness.apply(...rest.slice(at, at + cut));
}

const seeds = [1, 2, 3, 4, 5, 6, 7, 8];

for (const seed of seeds) {
  Deno.test(`random ops, seed ${seed}: the tree is the model's, whatever the groups, and no op fails`, async () => {
    const script = scriptOf(seed, 120);
    for (const cut of [1, 7, 100_000]) {
      await using directory = await tempDirectory();
      using harness = new Harness({ directory: directory.path });
      replay(harness, script.ops, cut);
      assertEquals(treeLines(directory.path), script.expected);
      assertEquals(failuresOf(harness), []);
      assertEquals(harness.staged(), []);
    }
  });
}

Deno.test("random ops: a replay from any durable point over the whole group behind it ends in the model's tree", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer(),
      fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1 }),
      async (seed, cuts) => {
        const script = scriptOf(seed, 12);
        await using directory = await tempDirectory();
        let at = 0;
        for (const cut of cuts) {
          // A crash with everything of a group done, but not recorded.
          const part = script.ops.slice(0, at + cut);
          crashBeforeRecord(directory.path, part);
          using harness = new Harness({ directory: directory.path });
          harness.hello();
          at = harness.replica.durableSequence;
        }
        using harness = new Harness({ directory: directory.path });
        replay(harness, script.ops, 1000);
        assertEquals(treeLines(directory.path).map(untimed), script.expected.map(untimed));
        assertEquals(harness.staged(), []);
      },
    ),
    { numRuns: 150, examples: [[-246939662, [7, 1, 3, 4, 1]], [1738860213, [3, 1, 1, 2, 10, 1]]] },
  );
});

Deno.test("random ops: crashes at random calls, each with groups of another size, end in the model's tree", async () => {
  const crash = fc.record({
    at: fc.integer({ min: 1, max: 80 }),
    phase: fc.constantFrom("before", "after"),
    cut: fc.integer({ min: 1, max: 30 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.integer(), fc.array(crash, { minLength: 1, maxLength: 8 }), async (seed, crashes) => {
      const script = scriptOf(seed, 25);
      await using directory = await tempDirectory();
      for (const { at, phase, cut } of crashes) {
        crashDuring(directory.path, script.ops, new CrashPoint(at, phase), cut);
      }
      using harness = new Harness({ directory: directory.path });
      replay(harness, script.ops, 1000);
      assertEquals(treeLines(directory.path).map(untimed), script.expected.map(untimed));
      assertEquals(harness.staged(), []);
      assertEquals(failuresOf(harness), []);
    }),
    { numRuns: 150 },
  );
});

/** Applies ops up to the last sync before a group is recorded, then crashes. */
function crashBeforeRecord(directory: string, ops: Op[]): void {
  let syncs = 0;
  const liveRoot = `${directory}/live`;
  const fileSystem = faultyFileSystem(systemFileSystem(), {
    after({ method, root }) {
      if (root === liveRoot && (method === "syncDirectory" || method === "syncAll") && ++syncs >= 2) {
        throw new Crash();
      }
    },
  });
  const harness = new Harness({ directory, fileSystem });
  try {
    replay(harness, ops, 1000);
    harness.receiver.closeSession();
    harness.replica.close();
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
    harness.replica.release();
  }
}

/** Directory times are put back by the comparison that follows an unclean stop, not by the replay. */
function untimed(line: string): string {
  return line.replace(/^(\S+ directory \d+) .*$/, "$1");
}

/** A group with every kind of op, after one that prepares it. */
const everything: { before: Op[]; ops: Op[] } = {
  before: [
    mkdir("d"),
    mkdir("old"),
    file("old/x", "old x"),
    file("p", "patched file, before"),
    file("c", "copied file, before"),
    file("e1", "first"),
    file("e2", "second"),
    file("gone", "gone"),
    file("over", "gone"),
    ...transfer(1, "slow", { blocks: [[0, "begun "]], size: 10 }).slice(0, 2),
    ...transfer(2, "p2", { blocks: [[0, "PATCH"]], base: "patch", size: 9 }).slice(0, 0),
    file("p2", "0123456789"),
    { kind: "open", transfer: 2, path: "p2", base: "patch" },
    { kind: "block", transfer: 2, offset: 1, data: new TextEncoder().encode("AB") },
  ],
  ops: [
    mkdir("d/sub"),
    file("d/sub/f", "in sub"),
    file("d/g", "in d"),
    symlink("link", "d/g"),
    { kind: "link", path: "d/g", to: "d/again" },
    { kind: "link", path: "d/sub/f", to: "over" },
    { kind: "link", path: "link", to: "d/link" },
    ...transfer(3, "p", { base: "patch", blocks: [[0, "PATCHED"], [7, 2], [15, "AFTER"]], size: 20 }),
    ...transfer(4, "c", { base: "copy", blocks: [[0, "COPIED"], [6, 1]], size: 12 }),
    rename("e1", "e2", true),
    rename("old", "new"),
    rename("new/x", "d/moved"),
    file("old", "a file where a directory was"),
    { kind: "unlink", path: "gone" },
    { kind: "rmdir", path: "new" },
    { kind: "block", transfer: 1, offset: 6, data: new TextEncoder().encode("done") },
    { kind: "close", transfer: 1, path: "slow", size: 10, attributes: { mode: 0o600, mtimeNs: 7n } },
    { kind: "hole", transfer: 2, offset: 4, size: 1 },
    { kind: "block", transfer: 2, offset: 5, data: new TextEncoder().encode("CD") },
    { kind: "close", transfer: 2, path: "p2", size: 8, attributes: { mode: 0o600, mtimeNs: 7n } },
    { kind: "attributes", path: "d", attributes: { mode: 0o700, mtimeNs: 5n } },
    { kind: "attributes", path: "e1", attributes: { mode: 0o400 } },
  ],
};
const everyVersion = new Set([
  ...[
    "old x",
    "patched file, before",
    "PATCHED\0\0ile, bAFTER",
    "copied file, before",
    "COPIED\0file,",
    "first",
  ],
  ...[
    "second",
    "gone",
    "0123456789",
    "0AB3\0CD7",
    "in sub",
    "in d",
    "a file where a directory was",
    "begun done",
  ],
]);

/** Files that are changed in place: between the crash and the recovery they are neither old nor new. */
const patched = ["p", "p2"];

async function expectedOfEverything(): Promise<string[]> {
  await using directory = await tempDirectory();
  using harness = new Harness({ directory: directory.path });
  harness.hello();
  assertEquals(harness.apply(...everything.before), []);
  assertEquals(harness.apply(...everything.ops), []);
  return treeLines(directory.path).map(untimed);
}

for (const phase of ["before", "after"] as const) {
  Deno.test(`a crash ${phase} the n-th changing call, for every n, is made good by recovery and replay`, async () => {
    const expected = await expectedOfEverything();
    const all = [...everything.before, ...everything.ops];
    for (let at = 1;; at++) {
      await using directory = await tempDirectory();
      {
        using prepared = new Harness({ directory: directory.path });
        prepared.hello();
        prepared.apply(...everything.before);
      }
      const point = new CrashPoint(at, phase);
      const crashed = crashDuring(directory.path, all, point);
      assertNoPartialFile(directory.path, patched, `crash ${phase} call ${at}, before recovery`);
      // A second crash, while recovering and replaying.
      if (crashed) crashDuring(directory.path, all, new CrashPoint(1 + at % 17, phase));
      assertNoPartialFile(directory.path, patched, `crash ${phase} call ${at}, before the second recovery`);
      using harness = new Harness({ directory: directory.path });
      assertNoPartialFile(directory.path, [], `crash ${phase} call ${at}, recovered`);
      replay(harness, all, 100_000);
      assertEquals(treeLines(directory.path).map(untimed), expected, `crash ${phase} call ${at}`);
      assertEquals(harness.staged(), [], `crash ${phase} call ${at}`);
      assertEquals(failuresOf(harness), [], `crash ${phase} call ${at}`);
      if (!crashed) return assert(at > 60, `crashes were tried (${at})`);
    }
  });
}

/** Opens and replays until the crash; gives whether there was one. */
function crashDuring(directory: string, ops: Op[], point: CrashPoint, cut = 100_000): boolean {
  let harness: Harness | undefined;
  try {
    harness = new Harness({ directory, fileSystem: faultyFileSystem(systemFileSystem(), point) });
    replay(harness, ops, cut);
    harness.receiver.closeSession();
    harness.replica.close();
    return false;
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
    harness?.replica.release();
    return true;
  }
}

for (const code of ["ENOSPC", "EIO"]) {
  Deno.test(`${code} at the n-th changing call, for every n, blocks, fails no op, and goes on when it is over`, async () => {
    const expected = await expectedOfEverything();
    for (let at = 1;; at++) {
      await using directory = await tempDirectory();
      let count = -100_000;
      let isOver = false;
      const trouble = new Trouble(code, ({ method }) => {
        // Removing needs no room.
        if (isOver || (code === "ENOSPC" && (method === "unlink" || method === "syncAll"))) return false;
        return ++count >= at;
      });
      using harness = new Harness({
        directory: directory.path,
        fileSystem: faultyFileSystem(systemFileSystem(), trouble),
      });
      harness.hello();
      harness.apply(...everything.before);
      count = 0;
      harness.apply(...everything.ops);
      const wasBlocked = harness.receiver.blockedReason !== "";
      assertNoPartialFile(directory.path, patched, `${code} at call ${at}`);
      harness.receiver.flush();
      isOver = true;
      harness.receiver.flush();
      assertEquals(harness.receiver.blockedReason, "");
      assertEquals(treeLines(directory.path).map(untimed), expected, `${code} at call ${at}`);
      assertEquals(harness.staged(), []);
      assertEquals(failuresOf(harness), []);
      assertEquals(harness.last("ack").sequence, everything.before.length + everything.ops.length);
      const blocked = harness.sent.filter((message) => message.type === "blocked");
      assertEquals(blocked.map(({ reason }) => reason !== ""), wasBlocked ? [true, false] : []);
      if (!wasBlocked) return assert(at > 60, `failures were tried (${at})`);
    }
  });
}
