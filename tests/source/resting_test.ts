/**
 * Goal: names rest as long as they must and no longer, and nobody who waits for them is forgotten.
 *
 * Method: a clock that the test moves; what is asked of the interceptor is answered when the test says so.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { limits } from "../../src/base/limits.ts";
import { Resting } from "../../src/source/resting.ts";
import { Tickets } from "../../src/source/tickets.ts";

class Bench implements Disposable {
  readonly tickets = new Tickets();
  nowMs = 0;
  /** Answers what was asked of the interceptor. */
  answers: ((isComplete: boolean) => void)[] = [];
  readonly resting = new Resting({
    tickets: this.tickets,
    nowMs: () => this.nowMs,
    hear: () => new Promise((resolve) => this.answers.push(resolve)),
    onDue: () => {},
  });

  /** Paths taken now. */
  take({ oldestTicket = Infinity, isSearching = false } = {}): string[] {
    const { names, certainty } = this.resting.take({ oldestTicket, isSearching });
    for (const { hold } of names) hold[Symbol.dispose]();
    return names.length === 0 ? [] : [certainty, ...names.map(({ path }) => path)];
  }

  /** Lets the interceptor answer, and takes again. */
  async hear(isComplete = true): Promise<void> {
    for (const answer of this.answers.splice(0)) answer(isComplete);
    // The answer passes through two promises.
    for (let turn = 0; turn < 4; turn++) await Promise.resolve();
  }

  [Symbol.dispose](): void {
    this.resting.clear();
  }
}

Deno.test("Resting gives a gone name out after its rest, once everything was heard and nothing changed", async () => {
  using bench = new Bench();
  bench.resting.add("a", "gone", 1);
  assertEquals(bench.take(), []);
  assertEquals(bench.answers.length, 0, "nothing is asked before it is due");
  bench.nowMs += limits.deletionRestMs;
  assertEquals(bench.take(), [], "now it is asked");
  await bench.hear();
  bench.resting.noteChange();
  assertEquals(bench.take(), [], "a name changed meanwhile: it is asked again");
  await bench.hear();
  assertEquals(bench.take({ oldestTicket: 1 }), [], "what was heard is not looked at yet");
  assertEquals(bench.take(), ["quiet", "a"]);
  assertEquals(bench.tickets.oldest, undefined);
});

Deno.test("Resting gives a taken name out as soon as it is quiet, before those that are gone", async () => {
  using bench = new Bench();
  bench.resting.add("gone", "gone", 1);
  bench.nowMs += limits.deletionRestMs;
  bench.resting.add("taken", "taken", 2);
  bench.take();
  await bench.hear();
  assertEquals(bench.take(), ["quiet", "taken"]);
  bench.take();
  await bench.hear();
  assertEquals(bench.take(), ["quiet", "gone"]);
});

Deno.test("Resting is never sure where the interceptor is not", async () => {
  using bench = new Bench();
  bench.resting.add("a", "taken", 1);
  bench.take();
  await bench.hear(false);
  assertEquals(bench.take(), []);
  bench.nowMs += limits.takenRestMs;
  assertEquals(bench.take(), [], "its time is over: what happened until now is to be heard");
  await bench.hear(false);
  assertEquals(bench.take(), ["pressed", "a"]);
});

Deno.test("Resting gives names out when their time is over, without quiet, and later while renames go on", async () => {
  using bench = new Bench();
  const busy = { oldestTicket: 1_000 };
  bench.resting.add("a", "gone", 1);
  bench.nowMs += 2 * limits.deletionRestMs - 1;
  bench.take(busy);
  assertEquals(bench.answers.length, 0);
  bench.nowMs++;
  assertEquals(bench.take(busy), []);
  await bench.hear();
  assertEquals(bench.take(busy), ["pressed", "a"]);
  bench.resting.add("b", "gone", 2);
  for (let i = 0; i < limits.restMovesMin; i++) bench.resting.noteMove();
  bench.nowMs += limits.restMaxMs - 1;
  bench.take(busy);
  assertEquals(bench.answers.length, 0);
  bench.nowMs++;
  bench.take(busy);
  await bench.hear();
  assertEquals(bench.take(busy), ["pressed", "b"]);
  bench.resting.add("c", "taken", 3);
  bench.nowMs += limits.restMaxMs - 1;
  assertEquals(bench.take({ isSearching: true }), [], "a scan may find it");
});

Deno.test("Resting gives no name out before what was heard until its time was over is looked at, within a bound", async () => {
  using bench = new Bench();
  for (let i = 0; i < 4; i++) bench.tickets.take();
  bench.resting.add("a", "gone", 1);
  bench.nowMs += 2 * limits.deletionRestMs;
  bench.take({ oldestTicket: 4 });
  bench.nowMs += 1;
  bench.resting.add("later", "taken", 5);
  await bench.hear();
  const ticket = bench.tickets.take();
  assertEquals(bench.take({ oldestTicket: 4 }), [], "that waits since before");
  bench.nowMs += limits.takenRestMs;
  assertEquals(bench.take({ oldestTicket: ticket }), ["pressed", "a"], "the other's time was not over then");
  bench.take({ oldestTicket: 4 });
  await bench.hear();
  bench.nowMs += limits.restBacklogMs - 1;
  assertEquals(bench.take({ oldestTicket: 4 }), []);
  bench.nowMs++;
  assertEquals(bench.take({ oldestTicket: 4 }), ["pressed", "later"]);
});

Deno.test("Resting gives gone names out although names are taken all the time while renames go on", async () => {
  using bench = new Bench();
  const busy = { oldestTicket: 1_000 };
  bench.resting.add("gone", "gone", 1);
  const out = new Map<string, number>();
  for (let i = 0; !out.has("gone") && i < 200; i++) {
    bench.resting.add(`taken${i}`, "taken", 2);
    for (let move = 0; move < limits.restMovesMin; move++) bench.resting.noteMove();
    bench.nowMs += 1_000;
    bench.take(busy);
    await bench.hear();
    for (const path of bench.take(busy)) out.set(path, bench.nowMs);
  }
  const atMs = out.get("gone") ?? Infinity;
  assert(atMs >= limits.restMaxMs, "what is taken when it was may hold what it lacks");
  assert(atMs <= 2 * limits.restMaxMs + 2_000, `it rested for ${atMs} ms`);
  assert(out.has("taken0"));
});

Deno.test("Resting calls the first look done when its names have rested, or while renames go on all the time", async () => {
  using bench = new Bench();
  const { resting } = bench;
  resting.add("later", "gone", 1);
  assert(resting.isFirstLookDone, "that is not of the first look");
  resting.add("a", "gone", 0);
  bench.nowMs += limits.firstRestMs;
  assert(!resting.isFirstLookDone);
  bench.take();
  await bench.hear();
  assertEquals(bench.take().toSorted(), ["a", "later", "quiet"]);
  assert(resting.isFirstLookDone);
  resting.add("b", "taken", 0);
  for (let i = 0; i < limits.restMovesMin; i++) resting.noteMove();
  bench.nowMs += limits.firstRestMs - 1;
  assert(!resting.isFirstLookDone);
  bench.nowMs++;
  assert(resting.isFirstLookDone);
});

Deno.test("Resting lets many deletions go together, when no further one comes", async () => {
  using bench = new Bench();
  const paths = Array.from({ length: limits.deletionBurstMin }, (_, i) => `f${i}`);
  for (const path of paths) {
    bench.resting.add(path, "gone", 1);
    bench.nowMs += 10;
  }
  bench.take();
  await bench.hear();
  assertEquals(bench.take(), []);
  bench.nowMs += limits.deletionRestMs;
  bench.take();
  await bench.hear();
  assertEquals(bench.take(), ["quiet", ...paths]);
});

Deno.test("Resting holds the oldest ticket of a name, and hurries for whoever waits", async () => {
  using bench = new Bench();
  bench.resting.add("a", "gone", 5);
  bench.resting.add("a", "gone", 3);
  assertEquals(bench.tickets.oldest, 3);
  bench.resting.add("a", "taken", 4);
  assertEquals([bench.tickets.oldest, bench.resting.size], [3, 1]);
  bench.resting.add("a", "gone", 4);
  {
    using _hurry = bench.resting.hurry();
    bench.take();
    await bench.hear();
    assertEquals(bench.take(), ["quiet", "a"]);
  }
  bench.resting.add("b", "gone", 1);
  assertEquals(bench.take(), [], "nobody waits any more");
  bench.resting.drop("b")!.hold[Symbol.dispose]();
  assertEquals(bench.resting.drop("b"), undefined);
  assertEquals(bench.tickets.oldest, undefined);
});

Deno.test("Resting takes no more than its bound", () => {
  using bench = new Bench();
  for (let i = 0; i < limits.restingMax; i++) bench.resting.add(`f${i}`, "gone", 1);
  assert(!bench.resting.add("one more", "gone", 1));
  assert(bench.resting.add("f0", "gone", 1), "what rests already goes on");
});
