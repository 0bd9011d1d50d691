/**
 * Goal: guards hold back what is much by number and by share, and nothing else; decisions are remembered.
 *
 * Method: an index of made-up entries, and a book whose saves the test keeps, as a file would.
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { CommandError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import type { Held } from "../../src/ops/held.ts";
import { GuardBook, type GuardRecord, isGuardRecords } from "../../src/source/guard_book.ts";
import { Index } from "../../src/source/index.ts";
import { MassGuard, type MassThresholds, usualThresholds } from "../../src/source/mass_guard.ts";

const file: Held = {
  kind: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 5,
  mtimeNs: 1n,
  ctimeNs: 1n,
  dev: 1,
  ino: 0n,
  linkTarget: "",
  trusted: true,
};
const directory: Held = { ...file, kind: "directory" };

class Bench {
  readonly index = new Index();
  nowMs = 0;
  restingCount = 0;
  saved: GuardRecord[] = [];
  book = this.#open();
  readonly guard: MassGuard;

  /** `counts`: files in directories of these names. */
  constructor(counts: Record<string, number>, thresholds: MassThresholds = usualThresholds) {
    for (const [name, count] of Object.entries(counts)) {
      this.index.set(name, directory, 0);
      for (let i = 0; i < count; i++) this.index.set(`${name}/${i}`, file, 0);
    }
    this.guard = this.guardWith(thresholds);
  }

  guardWith(thresholds: MassThresholds): MassGuard {
    const { index, book } = this;
    return new MassGuard({
      index,
      book,
      thresholds,
      nowMs: () => this.nowMs,
      resting: () => Array.from({ length: this.restingCount }, (_, i) => `resting${i}`),
    });
  }

  /** Removes what may be removed. @returns How many that are. */
  remove(paths: string[]): number {
    const admitted = this.guard.admit(paths);
    for (const path of admitted) this.index.remove(path, 0);
    return admitted.length;
  }

  /** The book as a new process loads it. */
  reopen(): void {
    this.saved = JSON.parse(JSON.stringify(this.saved));
    assert(isGuardRecords(this.saved));
    this.book = this.#open();
  }

  #open(): GuardBook {
    return new GuardBook({
      records: this.saved,
      save: (records) => void (this.saved = records),
      nowMs: () => this.nowMs,
    });
  }
}

const files = (name: string, count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => `${name}/${i + from}`);

Deno.test("MassGuard lets pass what is little by number, or by share", () => {
  const little = new Bench({ a: 150, b: 10 });
  assertEquals(little.guard.admit(files("a", 150)).length, 150, "many of them, but not many");
  const large = new Bench({ node_modules: 1_000, b: 9_000 });
  assertEquals(large.guard.admit(["node_modules"]), ["node_modules"], "many, but not many of them");
  assertEquals(large.book.list(), []);
});

Deno.test("MassGuard holds what is much, counted with all that is below, and goes on holding", () => {
  const { guard, book, index } = new Bench({ a: 600, b: 400, c: 10 });
  assertEquals(guard.admit(["a", ...files("a", 600)]), []);
  const [record] = book.list();
  assertEquals([record.id, record.kind, record.state, record.count, record.of], [
    "g1",
    "deletions",
    "waiting",
    601,
    index.size,
  ]);
  assertEquals(record.paths, ["a"], "what is below is meant, too");
  assertEquals(guard.admit(["c/1"]), [], "no deletion passes while one waits");
  assertEquals(guard.admit(["never/there"]), ["never/there"]);
  assert(guard.reason.startsWith("guard g1: 602 deletions of "));
});

Deno.test("MassGuard counts what was deleted shortly before, what rests, and what is foreseen", () => {
  const slow = new Bench({ a: 1_000 });
  for (let i = 0; i < 4; i++) assertEquals(slow.remove(files("a", 100, 100 * i)), 100);
  assertEquals(slow.guard.admit(files("a", 100, 400)), []);
  const slower = new Bench({ a: 1_000 });
  for (let i = 0; i < 9; i++) {
    assertEquals(slower.remove(files("a", 100, 100 * i)), 100);
    slower.nowMs += limits.guardWindowMs + 1;
  }
  const resting = new Bench({ a: 1_000 });
  resting.restingCount = 500;
  assertEquals(resting.guard.admit(["a/1"]), []);
  const foreseen = new Bench({ a: 1_000 });
  foreseen.guard.foresee(files("a", 500));
  assertEquals(foreseen.guard.admit(files("a", 100)), []);
});

Deno.test("a confirmation is remembered until the targets are reached, a refusal until it is taken back", () => {
  const bench = new Bench({ a: 600, b: 400 });
  bench.guard.admit(["a"]);
  const decisions: unknown[] = [];
  bench.book.onDecision((...decision) => decisions.push(decision));
  bench.book.decide("g1", "refused");
  assertEquals(decisions, [["g1", ["a"], "refused"]]);
  bench.reopen();
  let guard = bench.guardWith(usualThresholds);
  assertEquals([guard.admit(["a"]), guard.reason], [[], ""]);
  assert(bench.index.isLeftover("a"), "it stays on the target, and is counted as leftover");
  assertEquals(guard.admit(["b/1"]), ["b/1"], "other deletions pass");

  bench.book.decide("g1", "confirmed");
  assertThrows(() => bench.book.decide("g1", "refused"), CommandError, "it was confirmed");
  assertThrows(() => bench.book.decide("g7", "refused"), CommandError, "there is no such guard");
  bench.reopen();
  guard = bench.guardWith(usualThresholds);
  assertEquals(guard.admit(["a"]), ["a"]);
  bench.nowMs += limits.guardConfirmedMs + 1;
  bench.book.sweep(() => true, true);
  assertEquals(bench.book.list().length, 1, "a target still has it");
  bench.book.sweep(() => false, false);
  assertEquals(bench.book.list().length, 1, "and not all that it was sent");
  bench.book.sweep(() => false, true);
  assertEquals([bench.book.list(), bench.saved], [[], []]);
});

Deno.test("what stands again is released, what was below it and is gone stays held", () => {
  const { guard, book } = new Bench({ a: 600, b: 400 });
  guard.admit(["a"]);
  guard.notePresent("a");
  assertEquals(book.list()[0].count, 600);
  for (const path of files("a", 599)) guard.notePresent(path);
  assertEquals(book.list()[0].paths, ["a/599"]);
  guard.notePresent("a/599");
  assertEquals([book.list(), guard.reason], [[], ""]);
});

Deno.test("MassGuard holds new contents once much was rewritten, and deletions with them", () => {
  const bench = new Bench({ a: 900 });
  const { guard, book } = bench;
  const held = files("a", 900).filter((path) => guard.holdsRewrite(path, file));
  assertEquals(held.length, 900 - limits.guardRewritesCount + 1);
  assertEquals([book.list()[0].kind, book.list()[0].count], ["rewrites", held.length]);
  assertEquals(guard.admit(["a/1"]), [], "the last copy may be there");
  const foreseen = new Bench({ a: 900 });
  foreseen.guard.foreseeRewrites(600);
  assert(foreseen.guard.holdsRewrite("a/1", file), "nothing of a batch is sent that holds so much");
  assert(!foreseen.guard.holdsRewrite("a/2", { ...file, size: 0 }), "nothing is lost");
  assert(!foreseen.guard.holdsRewrite("a/2", { ...file, ctimeNs: 0n }), "a mirror makes equal what is old");
  book.decide("g1", "confirmed");
  assertEquals(held.filter((path) => guard.holdsRewrite(path, file)), []);
});

Deno.test("guards that are off let all pass, save what was refused", () => {
  const bench = new Bench({ a: 600, b: 400 });
  bench.guard.admit(["a"]);
  bench.book.decide("g1", "refused");
  const off = bench.guardWith({ deletions: undefined, rewrites: undefined });
  assertEquals(off.admit(["a", "b"]), ["b"]);
  assert(!off.holdsRewrite("b/1", file));
});

Deno.test("GuardBook keeps directories in place of more paths than its bound", () => {
  const bench = new Bench({});
  const paths = files("a", limits.guardPathsMax + 1).map((path) => [path, 1] as [string, number]);
  bench.book.hold("deletions", paths, 30_000);
  const [{ count, paths: named }] = bench.book.list();
  assertEquals([count, named], [limits.guardPathsMax + 1, ["a"]]);
  assertEquals(bench.book.verdict("a/5"), "waiting");
});

Deno.test("MassGuard does not count what was made of late: temporary files that go again are no loss", () => {
  const { guard, book, index } = new Bench({ a: 600, b: 10 });
  for (const path of files("a", 600)) {
    index.remove(path, 0);
    guard.noteMade(path, { ...file, linkCount: 1 });
    index.set(path, file, 0);
  }
  assertEquals(guard.admit(["b/1", ...files("a", 600)]).length, 601);
  assertEquals(book.list(), []);
});

/** Makes 600 files under the names that programs write them under first. */
function makeBeside({ guard, index }: Bench, links = 1): void {
  for (let i = 0; i < 600; i++) {
    const made = { ...file, ino: BigInt(1_000 + i) };
    guard.noteMade(`a/.tmp-${i}`, { ...made, linkCount: links });
    index.set(`a/.tmp-${i}`, made, 0);
  }
}

Deno.test("MassGuard knows what was made of late under the name that it was given since", () => {
  const bench = new Bench({ a: 0, b: 10 });
  makeBeside(bench);
  for (let i = 0; i < 600; i++) bench.index.move(`a/.tmp-${i}`, `a/${i}`, 0);
  bench.index.move("a", "c", 0);
  assertEquals(bench.guard.admit(["c", ...files("c", 600)]).length, 601);
  assertEquals(bench.book.list(), []);
});

Deno.test("MassGuard counts the loss of files that were renamed over, if those were there before", () => {
  const bench = new Bench({ a: 600, b: 10 });
  makeBeside(bench);
  const { guard, index } = bench;
  for (let i = 0; i < 600; i++) {
    guard.noteReplaced(`a/${i}`, index.get(`a/${i}`)!, index.get(`a/.tmp-${i}`)!);
    index.move(`a/.tmp-${i}`, `a/${i}`, 0);
  }
  assertEquals(guard.admit(files("a", 600)).length, 0);
});

Deno.test("MassGuard does not count new names of files that have several", () => {
  const bench = new Bench({ a: 0, b: 600 });
  makeBeside(bench, 2);
  assertEquals(bench.guard.admit(Array.from({ length: 600 }, (_, i) => `a/.tmp-${i}`)).length, 600);
  assertEquals(bench.book.list(), []);
});
