/** The small queues of a replicator: tickets, dirty paths, scans, transfers, problems. */
import { assert, assertEquals } from "@std/assert";
import { TransientError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { DirtyQueue } from "../../src/source/dirty_queue.ts";
import { Problems } from "../../src/source/problems.ts";
import type { Wanted } from "../../src/source/batch.ts";
import { Scans, type ScanVisitor } from "../../src/source/scans.ts";
import { Tickets } from "../../src/source/tickets.ts";
import { Transfers } from "../../src/source/transfers.ts";
import type { Priority } from "../../src/source/lane.ts";
import { yieldToEvents } from "../../src/base/clock.ts";

Deno.test("Tickets knows the oldest in work, as often as it is held", () => {
  const tickets = new Tickets();
  const [a, b] = [tickets.take(), tickets.take()];
  assert(a < b);
  assertEquals(tickets.oldest, undefined);
  const holds = [tickets.hold(b), tickets.hold(a), tickets.hold(a)];
  holds[1][Symbol.dispose]();
  assertEquals(tickets.oldest, a);
  holds[2][Symbol.dispose]();
  assertEquals(tickets.oldest, b);
  holds[0][Symbol.dispose]();
  assertEquals(tickets.oldest, undefined);
});

Deno.test("a hold that is disposed of twice ends once", () => {
  const tickets = new Tickets();
  const [first, second] = [tickets.hold(1), tickets.hold(1)];
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assertEquals(tickets.oldest, 1);
  second[Symbol.dispose]();
  second[Symbol.dispose]();
  assertEquals(tickets.oldest, undefined);
});

Deno.test("DirtyQueue keeps a path once, in the order in which paths came", () => {
  const queue = new DirtyQueue(new Tickets());
  for (const path of ["b", "a", "b", "c", "a"]) queue.add(path, 5);
  assertEquals([queue.size, queue.oldestSinceMs], [3, 5]);
  assertEquals(queue.take(2).map(({ path }) => path), ["b", "a"]);
  assertEquals(queue.take(2).map(({ path }) => path), ["c"]);
  assertEquals([queue.size, queue.oldestTicket, queue.oldestSinceMs], [0, undefined, undefined]);
  assertEquals(queue.take(2), []);
});

Deno.test("DirtyQueue gives a path a new ticket when it comes again after it was taken", () => {
  const queue = new DirtyQueue(new Tickets());
  queue.add("a", 0);
  const [first] = queue.take(1);
  queue.add("a", 0);
  assert(queue.oldestTicket! > first.ticket);
});

Deno.test("DirtyQueue is as old as the ticket that a path inherited, until it is taken", () => {
  const tickets = new Tickets();
  const queue = new DirtyQueue(tickets);
  const old = tickets.take();
  queue.add("a", 0);
  queue.add("b", 0, old);
  assertEquals(queue.oldestTicket, old);
  queue.add("b", 0, old);
  assertEquals(queue.take(2).map(({ ticket }) => ticket), [old + 1, old]);
  assertEquals(queue.oldestTicket, undefined);
  queue.add("d", 0);
  queue.add("c", 0, 0);
  assertEquals(queue.oldestTicket, 0);
  queue.clear();
  queue.add("e", 0);
  assertEquals([queue.size, queue.oldestTicket! > 0], [1, true]);
});

Deno.test("DirtyQueue.move() adds new names of what waits below, and nothing else", () => {
  const queue = new DirtyQueue(new Tickets());
  for (const path of ["d", "d/a", "d/e/f", "de/g"]) queue.add(path, 3);
  queue.move("d", "x/y");
  assertEquals(queue.take(9).map(({ path }) => path), ["d", "d/a", "d/e/f", "de/g", "x/y/a", "x/y/e/f"]);
});

Deno.test("DirtyQueue is full at its bound", () => {
  const queue = new DirtyQueue(new Tickets());
  for (let i = 0; i < limits.dirtyPathsMax; i++) {
    assert(!queue.isFull);
    queue.add(`${i}`, 0);
  }
  assert(queue.isFull);
  queue.clear();
  assertEquals([queue.size, queue.isFull], [0, false]);
});

/** A tree of directories whose visits are written down. */
class Visits implements ScanVisitor {
  readonly log: string[] = [];
  readonly #directories: Record<string, string[]>;
  readonly #absent: Record<string, string[]>;
  /** Directories that are there again when they are asked for. */
  readonly standing = new Set<string>();
  /** Awaited in each visit. */
  gate: Promise<void> = Promise.resolve();

  constructor(directories: Record<string, string[]>, absent: Record<string, string[]> = {}) {
    this.#directories = directories;
    this.#absent = absent;
  }

  async look(wanted: Wanted[]): Promise<void> {
    await this.gate;
    this.log.push(`look ${wanted.map(({ path }) => path).join(" ")}`);
  }

  async lookInside(
    directory: string,
    ...[, , absent]: Parameters<ScanVisitor["lookInside"]> extends [
      string,
      ...infer Rest,
    ] ? Rest
      : never
  ): Promise<string[]> {
    await this.gate;
    this.log.push(`inside ${directory || "."}`);
    for (const path of this.#absent[directory] ?? []) absent(path);
    return this.#directories[directory] ?? [];
  }

  isStanding(path: string): boolean {
    return this.standing.has(path);
  }
}

async function runAll(scans: Scans): Promise<void> {
  for (let i = 0; i < 1000 && !scans.isIdle; i++) await scans.step();
}

Deno.test("Scans goes through directories in order, and looks at what seemed absent at the end", async () => {
  const tickets = new Tickets();
  const visits = new Visits({ "": ["a", "b"], a: ["a/c"] }, { "": ["gone"], "a/c": ["a/c/gone"] });
  const scans = new Scans(visits, { tickets, priority: "mirror" });
  let done = 0;
  scans.add("", { onDone: () => done++ });
  await runAll(scans);
  const inside = ["inside .", "inside a", "inside a/c", "inside b"];
  assertEquals(visits.log, [...inside, "look gone a/c/gone"]);
  assertEquals([done, tickets.oldest, scans.directoriesDone], [1, undefined, 4]);
});

Deno.test("a scan that waits covers what lies below it; the one of everything covers all", async () => {
  const tickets = new Tickets();
  const visits = new Visits({});
  const scans = new Scans(visits, { tickets, priority: "live" });
  const done: string[] = [];
  for (const path of ["a", "a/b", "b", "", "c"]) scans.add(path, { onDone: () => done.push(path) });
  await runAll(scans);
  assertEquals(visits.log, ["look a", "inside a", "look b", "inside b", "inside ."]);
  assertEquals(done.sort(), ["", "a", "a/b", "b", "c"]);
  assertEquals(tickets.oldest, undefined);
});

Deno.test("a scan that is asked for again while it runs runs again", async () => {
  const visits = new Visits({ a: ["a/b"] });
  const scans = new Scans(visits, { tickets: new Tickets(), priority: "live" });
  scans.add("a");
  await scans.step();
  scans.add("a");
  await runAll(scans);
  assertEquals(visits.log.filter((line) => line === "inside a").length, 2);
});

Deno.test("clear() in the middle of a step leaves no ticket held, and forgets nobody who waits", async () => {
  const tickets = new Tickets();
  const visits = new Visits({});
  const scans = new Scans(visits, { tickets, priority: "mirror" });
  const told: string[] = [];
  scans.add("", { onDone: () => told.push("first") });
  const gate = Promise.withResolvers<void>();
  visits.gate = gate.promise;
  const step = scans.step();
  scans.add("a", { onDone: () => told.push("waiting") });
  scans.clear();
  gate.resolve();
  await step;
  assert(scans.isIdle);
  assertEquals(tickets.oldest, undefined);
  scans.add("", { onDone: () => told.push("second") });
  await runAll(scans);
  assertEquals([told.sort(), tickets.oldest], [["first", "second", "waiting"], undefined]);
});

Deno.test("a directory that seemed absent in a scan and is there at its end is looked into", async () => {
  const visits = new Visits({ "": ["a", "b"] }, { "": ["gone"], a: ["a"] });
  visits.standing.add("a");
  const scans = new Scans(visits, { tickets: new Tickets(), priority: "live" });
  scans.add("");
  for (let i = 0; i < 4; i++) await scans.step();
  assertEquals(visits.log, ["inside .", "inside a", "inside b", "look gone a"]);
  visits.standing.clear();
  await runAll(scans);
  assertEquals(visits.log.slice(4), ["inside a", "look a"]);
});

Deno.test("a step that fails goes on where it was", async () => {
  let fails = true;
  const log: string[] = [];
  const visitor: ScanVisitor = {
    look: () => Promise.resolve(),
    isStanding: () => false,
    lookInside(directory) {
      if (directory === "a" && fails) return Promise.reject(new TransientError("once"));
      log.push(directory);
      return Promise.resolve(directory === "" ? ["a", "b"] : []);
    },
  };
  const scans = new Scans(visitor, { tickets: new Tickets(), priority: "mirror" });
  scans.add("");
  await scans.step();
  await scans.step().catch(() => fails = false);
  await runAll(scans);
  assertEquals(log, ["", "a", "b"]);
});

/** Transfers whose end the test decides. */
class Sends {
  readonly begun: string[] = [];
  readonly ends = new Map<string, () => void>();
  readonly again: string[] = [];
  readonly tickets = new Tickets();
  readonly transfers: Transfers;
  nowMs = 0;

  constructor() {
    this.transfers = new Transfers({
      tickets: this.tickets,
      nowMs: () => this.nowMs,
      send: (path: string, priority: Priority) => {
        this.begun.push(`${priority} ${path}`);
        return new Promise((resolve) => this.ends.set(path, resolve));
      },
      onDirtyAgain: (path) => this.again.push(path),
      onIdle: () => {},
    });
  }

  add(path: string, priority: Priority, ticket = this.tickets.take()): void {
    this.transfers.add(path, priority, ticket);
  }

  async end(path: string): Promise<void> {
    this.ends.get(path)!();
    await yieldToEvents();
  }
}

Deno.test("Transfers runs a few at a time, live ones first, each path once", async () => {
  const sends = new Sends();
  for (const path of ["a", "b", "c", "d", "c"]) sends.add(path, "mirror");
  sends.add("live", "live");
  sends.add("d", "live");
  assertEquals(limits.transfersMax, 2);
  assertEquals([sends.begun, sends.transfers.count], [["mirror a", "mirror b"], 5]);
  await sends.end("a");
  await sends.end("b");
  assertEquals(sends.begun.slice(2), ["live live", "live d"]);
  await sends.end("live");
  await sends.end("d");
  assertEquals(sends.begun.slice(4), ["mirror c"]);
  await sends.end("c");
  assertEquals([sends.transfers.count, sends.tickets.oldest, sends.again], [0, undefined, []]);
});

Deno.test("a path that becomes dirty while it is on its way is looked at again, and held until then", async () => {
  const sends = new Sends();
  sends.add("a", "live");
  sends.add("a", "live");
  assert(sends.transfers.isRunning("a"));
  await sends.end("a");
  assertEquals([sends.again, sends.transfers.count, sends.tickets.oldest], [["a"], 0, undefined]);
});

Deno.test("Transfers tells since when a change waits, and whether what the first look found was sent", async () => {
  const sends = new Sends();
  const { transfers } = sends;
  for (const path of ["a", "b", "c"]) sends.add(path, "mirror", 0);
  assertEquals([transfers.oldestSinceMs, transfers.isFirstLookDone], [undefined, false]);
  sends.nowMs = 5;
  sends.add("c", "live");
  sends.nowMs = 9;
  sends.add("d", "live");
  assertEquals(transfers.oldestSinceMs, 5, "the change, not the mirror's wish");
  for (const path of ["a", "b"]) await sends.end(path);
  assertEquals([transfers.oldestSinceMs, transfers.isFirstLookDone], [5, false], "they are on their way");
  await sends.end("c");
  assertEquals([transfers.oldestSinceMs, transfers.isFirstLookDone], [9, true]);
  await sends.end("d");
  assertEquals(transfers.oldestSinceMs, undefined);
});

Deno.test("Transfers.clear() forgets what waits, and end() waits for what is on its way", async () => {
  const sends = new Sends();
  for (const path of ["a", "b", "c"]) sends.add(path, "live");
  sends.transfers.clear();
  assertEquals(sends.transfers.count, 2);
  let ended = false;
  const ending = sends.transfers.end().then(() => ended = true);
  await sends.end("a");
  assert(!ended);
  await sends.end("b");
  await ending;
  assertEquals([sends.begun, sends.tickets.oldest], [["live a", "live b"], undefined]);
});

Deno.test("Problems keeps one a path with the time since when it stands, up to a bound", () => {
  const problems = new Problems();
  problems.add({ path: "a", op: "read", reason: "first" }, 1);
  problems.add({ path: "a", op: "write", reason: "second" }, 2);
  assertEquals(problems.list(), [{ path: "a", op: "write", reason: "second", sinceMs: 1 }]);
  problems.clear("a");
  problems.clear("never there");
  assertEquals([problems.count, problems.list()], [0, []]);
  for (const path of ["d", "d/e", "d-f"]) problems.add({ path, op: "read", reason: "" }, 1);
  problems.clearFrom("d");
  assertEquals(problems.list().map(({ path }) => path), ["d-f"]);
  problems.clearAll();
  for (let i = 0; i < limits.problemsMax + 3; i++) problems.add({ path: `${i}`, op: "read", reason: "" }, i);
  assertEquals([problems.count, problems.list().length], [limits.problemsMax + 3, limits.problemsMax]);
  problems.clearAll();
  assertEquals(problems.count, 0);
});
