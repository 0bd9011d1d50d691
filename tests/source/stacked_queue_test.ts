/** The stacked-up queue by examples: what merges, what parts, order, pieces, where data is read, the bound, memory. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import type { StackedOp, StackedOpOf } from "../../src/ops/stacked.ts";
import { limits } from "../../src/base/limits.ts";
import { StackedQueue } from "../../src/source/stacked_queue.ts";
import { runProcess } from "../testing/process.ts";

function write(start: number, end: number, path = "a", file = 1): StackedOpOf<"write"> {
  return { kind: "write", path, file, start, end };
}

function truncate(size: number): StackedOp {
  return { kind: "truncate", path: "a", file: 1, lowest: size, size };
}

function touch(mtimeNs: bigint, path = "a", file = 1): StackedOp {
  return { kind: "attributes", path, file, isDirectory: false, attributes: { mtimeNs } };
}

function create(path = "a", file = 1): StackedOp {
  return { kind: "create", path, file, attributes: { mode: 0o600 } };
}

function unlink(path = "a", file = 1, survivor?: string): StackedOp {
  return survivor === undefined ? { kind: "unlink", path, file } : { kind: "unlink", path, file, survivor };
}

function rename(path: string, to: string, exchange = false): StackedOp {
  return { kind: "rename", path, to, exchange };
}

function queueOf(...ops: StackedOp[]): StackedQueue {
  const queue = new StackedQueue({ maxPacketSize: 512 });
  for (const op of ops) queue.add(op);
  return queue;
}

/** All that waits, one line an op. */
function linesOf(queue: StackedQueue, maxBytes = Infinity): string[] {
  const lines: string[] = [];
  for (let taken = queue.take(maxBytes); taken !== undefined; taken = queue.take(maxBytes)) {
    lines.push(lineOf(taken.op));
  }
  assertEquals([queue.size, queue.bytes], [0, 0]);
  return lines;
}

function lineOf(op: StackedOp): string {
  if (op.kind === "hold") return "hold";
  if (op.kind === "write") return `write ${op.path} ${op.start}..${op.end}`;
  if (op.kind === "truncate") return `truncate ${op.path} ${op.lowest} ${op.size}`;
  return `${op.kind} ${op.path}${"to" in op ? ` ${op.to}` : ""}`;
}

Deno.test("StackedQueue makes 80 bytes at 20 of 40 bytes at 20 and 60 bytes at 40", () => {
  const queue = queueOf(write(20, 60));
  assertEquals(queue.add(write(40, 100)), "merged");
  assertEquals(linesOf(queue), ["write a 20..100"]);
});

Deno.test("StackedQueue keeps 40 bytes at 20 and 60 bytes at 1,040 apart", () => {
  const queue = queueOf(write(20, 60));
  assertEquals(queue.add(write(1_040, 1_100)), "queued");
  assertEquals(linesOf(queue), ["write a 20..60", "write a 1040..1100"]);
});

Deno.test("StackedQueue merges over 511 bytes of 512 and not over 512", () => {
  assertEquals(linesOf(queueOf(write(20, 60), write(571, 580))), ["write a 20..580"]);
  assertEquals(linesOf(queueOf(write(20, 60), write(572, 580))), ["write a 20..60", "write a 572..580"]);
});

const examples: { what: string; ops: StackedOp[]; left: string[] }[] = [
  {
    what: "puts a merged write where the oldest part was",
    ops: [write(0, 10), create("b", 2), write(2_000, 2_010), create("c", 3), write(500, 1_600)],
    left: ["write a 0..2010", "create b", "create c"],
  },
  {
    what: "keeps writes of two files apart",
    ops: [write(0, 10), write(10, 20, "b", 2)],
    left: ["write a 0..10", "write b 10..20"],
  },
  {
    what: "moves no write over a rename there and back",
    ops: [write(0, 10), rename("a", "b"), rename("b", "a"), write(10, 20)],
    left: ["write a 0..10", "rename a b", "rename b a", "write a 10..20"],
  },
  {
    what: "moves no write over a rename of a directory above it",
    ops: [write(0, 10, "d/e/a"), rename("d", "f"), { kind: "mkdir", path: "d", attributes: {} }, {
      kind: "mkdir",
      path: "d/e",
      attributes: {},
    }, write(10, 20, "d/e/a")],
    left: ["write d/e/a 0..10", "rename d f", "mkdir d", "mkdir d/e", "write d/e/a 10..20"],
  },
  {
    what: "moves no write over an exchange, whichever of the two names it is of",
    ops: [
      write(0, 10),
      write(0, 10, "b", 2),
      rename("a", "b", true),
      write(10, 20, "b", 1),
      write(10, 20, "a", 2),
    ],
    left: ["write a 0..10", "write b 0..10", "rename a b", "write b 10..20", "write a 10..20"],
  },
  {
    what: "merges over renames of other names",
    ops: [write(0, 10), rename("ab", "b"), rename("c", "a2"), write(10, 20)],
    left: ["write a 0..20", "rename ab b", "rename c a2"],
  },
  {
    what: "moves nothing over a link, nor from one name of a file to another",
    ops: [
      write(0, 10),
      { kind: "link", path: "a", file: 1, to: "b" },
      write(10, 20),
      write(20, 30, "b"),
      write(30, 40),
    ],
    left: ["write a 0..10", "link a b", "write a 10..20", "write b 20..30", "write a 30..40"],
  },
  {
    what: "moves nothing over a hold mark",
    ops: [create(), write(0, 10), { kind: "hold" }, write(10, 20), unlink()],
    left: ["create a", "write a 0..10", "hold", "unlink a"],
  },
  {
    what: "moves no write over a truncation below its range",
    ops: [write(0, 100), truncate(50), write(40, 60)],
    left: ["write a 0..50", "truncate a 50 50", "write a 40..60"],
  },
  {
    what: "moves a write over a truncation that leaves its range",
    ops: [write(0, 100), truncate(50), write(40, 50)],
    left: ["write a 0..50", "truncate a 50 50"],
  },
  {
    what: "cuts those of many writes that a truncation cuts",
    ops: [write(0, 9), write(1_000, 1_009), write(2_000, 2_009), write(3_000, 3_009), truncate(2_008)],
    left: ["write a 0..9", "write a 1000..1009", "write a 2000..2008", "truncate a 2008 2008"],
  },
  {
    what: "makes one of truncations, past the writes between them",
    ops: [truncate(50), write(0, 700), truncate(60), truncate(55)],
    left: ["truncate a 50 55", "write a 0..55"],
  },
  {
    what: "moves no write over attributes",
    ops: [write(0, 10), touch(1n), write(10, 20)],
    left: ["write a 0..10", "attributes a", "write a 10..20"],
  },
  {
    what: "merges what attributes parted once they are set again",
    ops: [write(0, 10), touch(1n), write(10, 20), touch(2n)],
    left: ["write a 0..20", "attributes a"],
  },
  {
    what: "forgets a file that came and is gone",
    ops: [create(), write(0, 10), touch(1n), truncate(5), write(5_000, 5_001), unlink()],
    left: [],
  },
  {
    what: "forgets what was done to a file that is gone, and not its removal",
    ops: [write(0, 10), write(5_000, 5_001), unlink()],
    left: ["unlink a"],
  },
  {
    what: "takes a file of the same name and number for another one",
    ops: [write(0, 10), unlink(), create(), write(10, 20), unlink(), create(), write(20, 30)],
    left: ["unlink a", "create a", "write a 20..30"],
  },
  {
    what: "keeps what was done to a file that has another name",
    ops: [write(0, 10), unlink("a", 1, "b"), write(10, 20, "b")],
    left: ["write a 0..10", "unlink a", "write b 10..20"],
  },
];

for (const { what, ops, left } of examples) {
  Deno.test(`StackedQueue ${what}`, () => assertEquals(linesOf(queueOf(...ops)), left));
}

Deno.test("StackedQueue stays small, whatever is done over and over to one file", () => {
  const loops: Record<string, (round: number) => StackedOp[]> = {
    append: (round) => [write(round * 10, round * 10 + 10)],
    "append and touch": (round) => [write(round * 10, round * 10 + 10), touch(BigInt(round))],
    rewrite: (round) => [truncate(0), write(0, 100 + round), touch(BigInt(round))],
    "cut and grow": (round) => [truncate(round % 70), truncate(5_000), write(4_990, 5_001)],
    "temporary file": (round) => [create("t", round), write(0, 9, "t", round), unlink("t", round)],
  };
  for (const [name, opsOf] of Object.entries(loops)) {
    const queue = queueOf();
    for (let round = 1; round <= 1_000; round++) for (const op of opsOf(round)) queue.add(op);
    assert(queue.size <= 5, `${name}: ${queue.size} ops`);
  }
});

Deno.test("StackedQueue gives a large write in pieces, and the rest still merges", () => {
  const queue = queueOf(write(0, 1_000), create("b", 2));
  assertEquals(queue.take(400)?.op, write(0, 400));
  assertEquals(queue.add(write(900, 1_100)), "merged");
  assertEquals(linesOf(queue, 400), ["write a 400..800", "write a 800..1100", "create b"]);
});

Deno.test("StackedQueue merges nothing into an op that was taken", () => {
  const queue = queueOf(write(0, 100), write(5_000, 5_010));
  queue.take();
  assertEquals(queue.add(write(50, 60)), "queued");
  assertEquals(linesOf(queue), ["write a 5000..5010", "write a 50..60"]);
});

Deno.test("StackedQueue says where data is to be read now", () => {
  const source = (...later: StackedOp[]) => queueOf(write(0, 10, "d/a"), ...later).take()?.source;
  assertEquals(source(), { state: "at", path: "d/a" });
  assertEquals(source(rename("d/a", "b"), rename("b", "c")), { state: "at", path: "c" });
  assertEquals(source(rename("d", "e"), rename("e/a", "e/b")), { state: "at", path: "e/b" });
  assertEquals(source(rename("x", "d", true), rename("y/z", "x/z")), { state: "at", path: "x/a" });
  assertEquals(source(rename("d/a", "b"), unlink("b")), { state: "gone" });
  assertEquals(source(rename("b", "d/a")), { state: "gone" });
  assertEquals(source(unlink("d/a", 9, "b"), rename("b", "c")), { state: "at", path: "c" });
  assertEquals(source({ ...rename("b", "d/a"), survivor: "c" } as StackedOp), { state: "at", path: "c" });
  assertEquals(source(unlink("d/a", 9, "")), { state: "hidden" });
  assertEquals(source(rename("dd", "e"), rename("d/aa", "c")), { state: "at", path: "d/a" });
});

Deno.test("StackedQueue says so, however many renames of a name were taken before", () => {
  const queue = queueOf();
  for (let round = 0; round < 50; round++) {
    for (const op of [rename("a", "b"), write(0, 10, "b"), rename("b", "a"), write(0, 10, "a")]) {
      queue.add(op);
    }
  }
  queue.add(rename("a", "c"));
  for (let taken = queue.take(); taken !== undefined; taken = queue.take()) {
    if (taken.op.kind === "write") assertEquals(taken.source, { state: "at", path: "c" });
  }
});

Deno.test("StackedQueue copies the op that it is given", () => {
  const op = write(0, 10);
  const queue = queueOf(op);
  queue.add(write(10, 20));
  op.start = 5;
  assertEquals(linesOf(queue), ["write a 0..20"]);
});

Deno.test("StackedQueue is overflowed at its bound, says what changed, and is open again", () => {
  const room = 3 * (limits.stackedOpSize + 2);
  const queue = new StackedQueue({ bytesMax: room });
  assertEquals(
    [queue.add(write(0, 9)), queue.add(create("b", 2)), queue.add(unlink("c", 3))],
    Array(3).fill("queued"),
  );
  assertEquals([queue.bytes, queue.state, queue.add(write(9, 10))], [room, "open", "merged"]);
  assertEquals(queue.add(rename("a", "d")), "overflow");
  assertEquals(queue.state, "overflowed");
  assertThrows(() => queue.add(create("e", 4)), Error, "drained");
  assertEquals(queue.drain(), [
    { path: "d", below: true },
    { path: "b", below: false },
    { path: "c", below: false },
    { path: "a", below: false },
  ]);
  assertEquals([queue.state, queue.size, queue.bytes, queue.take()], ["open", 0, 0, undefined]);
  assertEquals([queue.add(write(0, 9)), queue.take()?.source], ["queued", { state: "at", path: "a" }]);
});

Deno.test("StackedQueue tells to look at everything for a file whose other name is not known", () => {
  assertEquals(queueOf(write(0, 9), unlink("a", 1, "")).drain(), [
    { path: "", below: true },
    { path: "a", below: false },
  ]);
});

Deno.test("StackedQueue takes at most 200 bytes of memory an op, and no longer the more wait", async () => {
  // In a process of its own: tests of other files take memory meanwhile.
  const user = new URL("stacked_memory.ts", import.meta.url).pathname;
  const args = ["run", "-A", "--v8-flags=--expose-gc", user];
  const { stdout } = await runProcess(Deno.execPath(), args, { expectCode: 0 });
  console.log(stdout.trim());
  for (const line of stdout.trim().split("\n")) {
    const { load, bytesPerOp, estimatePerOp, keptPerOp, slowdown } = JSON.parse(line);
    // A rename has two names; numbers beyond 32 bits are objects of their own.
    const isLarge = load === "renames" || load.includes("beyond 32 bits");
    assert(bytesPerOp <= (isLarge ? 300 : 200), `${load}: ${bytesPerOp} bytes an op`);
    assert(bytesPerOp <= estimatePerOp, `${load}: ${bytesPerOp} bytes, estimated ${estimatePerOp}`);
    assert(keptPerOp <= 5, `${load}: ${keptPerOp} bytes an op are kept when all were taken`);
    assert(slowdown < 20, `${load}: the last op takes ${slowdown} times as long as the first ones`);
  }
});
