/**
 * Goal: whatever is merged, and whenever ops are serviced, the target ends as the source; on the way every op fits the
 * target, names change in the order in which they changed, and no byte is one that the source never had there.
 *
 * Method: random writes against a map of bytes; random histories of a source in memory, of which the target sees only
 * the queue (tests/source/stacked_model.ts). Names are few, so that they meet; numbers of files are given again.
 *
 * `UNDERSTUDY_HISTORIES=50000 UNDERSTUDY_SEED=1 deno test -A tests/source/stacked_model_test.ts` runs that many.
 * @module
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import type { Range } from "../../src/ops/range.ts";
import { isDeparture, type StackedOp } from "../../src/ops/stacked.ts";
import { type ChangedPath, StackedQueue } from "../../src/source/stacked_queue.ts";
import { isWithin } from "../../src/base/path.ts";
import { ModelFiles, ModelSource, type SourceAction } from "./stacked_model.ts";

const HISTORIES = Number(Deno.env.get("UNDERSTUDY_HISTORIES") ?? 3_000);
const SEED = Number(Deno.env.get("UNDERSTUDY_SEED") ?? Date.now() % 1_000_000);
const parameters = { seed: SEED, numRuns: HISTORIES };

type Write = { at: number; size: number } | "hold" | "there and back";

/** What writes between two barriers come to: runs of bytes, in the order of the first write in each. */
function runsOf(writes: Range[], maxPacketSize: number): Range[] {
  const firstWrites: number[] = [];
  for (const [index, { start, end }] of writes.entries()) {
    for (let at = start; at < end; at++) firstWrites[at] ??= index;
  }
  const runs: (Range & { first: number })[] = [];
  // Skips what was never written.
  firstWrites.forEach((first, at) => {
    const last = runs.at(-1);
    if (last === undefined || at - last.end >= maxPacketSize) {
      return runs.push({ start: at, end: at + 1, first });
    }
    last.end = at + 1;
    last.first = Math.min(last.first, first);
  });
  return runs.sort((a, b) => a.first - b.first).map(({ start, end }) => ({ start, end }));
}

const anyWrite: fc.Arbitrary<Write> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({ at: fc.nat({ max: 200 }), size: fc.integer({ min: 1, max: 12 }) }),
  },
  { weight: 1, arbitrary: fc.constantFrom("hold" as const, "there and back" as const) },
);

Deno.test(`StackedQueue leaves of writes what a map of bytes does, between barriers (seed ${SEED})`, () => {
  const writesOf = fc.array(anyWrite, { maxLength: 60, size: "max" });
  const property = fc.property(writesOf, fc.integer({ min: 1, max: 20 }), (writes, maxPacketSize) => {
    const queue = new StackedQueue({ maxPacketSize });
    const parts: Range[][] = [[]];
    for (const write of writes) {
      if (typeof write === "string") parts.push([]);
      else parts.at(-1)!.push({ start: write.at, end: write.at + write.size });
      for (const op of opsOf(write)) queue.add(op);
    }
    const left: Range[][] = [[]];
    for (let taken = queue.take(Infinity); taken !== undefined; taken = queue.take(Infinity)) {
      const { op } = taken;
      if (op.kind === "write") left.at(-1)!.push({ start: op.start, end: op.end });
      else if (op.kind !== "rename" || op.path === "a") left.push([]);
    }
    assertEquals(left, parts.map((part) => runsOf(part, maxPacketSize)));
  });
  fc.assert(property, parameters);
});

function opsOf(write: Write): StackedOp[] {
  if (write === "hold") return [{ kind: "hold" }];
  if (write === "there and back") {
    return [["a", "b"], ["b", "a"]].map(([path, to]) => ({ kind: "rename", path, to, exchange: false }));
  }
  return [{ kind: "write", path: "a", file: 1, start: write.at, end: write.at + write.size }];
}

/** What happens: the source changes, or so many ops have their turn. */
type Action = SourceAction | { do: "service"; count: number; maxBytes: number };

const path = fc.oneof(
  fc.constantFrom("a", "b"),
  fc.constantFrom("a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "c", "c/a"),
);
const at = fc.nat({ max: 24 });
const weighted: [number, fc.Arbitrary<Action>][] = [
  [12, fc.record({ do: fc.constant("write"), path, at, size: fc.integer({ min: 1, max: 8 }) })],
  [6, fc.record({ do: fc.constant("truncate"), path, size: at })],
  [4, fc.record({ do: fc.constantFrom("chmod", "touch", "settle"), path })],
  [3, fc.record({ do: fc.constantFrom("mkdir", "remove", "symlink"), path })],
  [2, fc.record({ do: fc.constantFrom("mkdir", "remove"), path })],
  [6, fc.record({ do: fc.constantFrom("rename", "exchange", "link"), path, to: path })],
  [1, fc.record({ do: fc.constant("hold") })],
  [
    3,
    fc.record({
      do: fc.constant("service"),
      count: fc.integer({ min: 1, max: 6 }),
      maxBytes: fc.constantFrom(3, 100),
    }),
  ],
] as [number, fc.Arbitrary<Action>][];
const history = fc.array(fc.oneof(...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary }))), {
  minLength: 1,
  maxLength: 60,
  size: "max",
});

/** A source, its queue, and a target that has no more than the queue gives. */
class World {
  readonly source = new ModelSource();
  readonly target = new ModelFiles();
  readonly queue: StackedQueue;
  /** Ops that change names, as they were added and as they were serviced. */
  readonly #added: string[] = [];
  readonly #serviced: string[] = [];
  #annulledCount = 0;

  constructor(queue: StackedQueue) {
    this.queue = queue;
  }

  /** Whether the queue is still open. */
  live(action: Action): boolean {
    if (action.do === "service") {
      for (let i = 0; i < action.count; i++) this.service(action.maxBytes);
      return true;
    }
    for (const op of this.source.act(action)) this.#add(op);
    return this.queue.state === "open";
  }

  service(maxBytes: number): boolean {
    const taken = this.queue.take(maxBytes);
    if (taken === undefined) return false;
    const { op, source } = taken;
    assertNotEquals(source.state, "hidden", "every other name was told");
    if (changesNames(op)) this.#serviced.push(JSON.stringify(nameOf(op)));
    if (op.kind !== "write" || source.state !== "at") {
      this.target.apply(op);
    } else {
      assertEquals(this.source.fileAt(source.path), op.file, "the data is read from the same file");
      this.target.apply(op, this.source.read(source.path, op.start, op.end));
    }
    return true;
  }

  /** No byte is one that the source never had there. */
  checkBytes(): void {
    for (const { path, file, at, value } of this.target.allBytes()) {
      const written = this.source.written.get(value);
      const isTrue = value === 0 ||
        written !== undefined && written.file === file && at >= written.start && at < written.end;
      assert(isTrue, `${path} has ${value} at ${at}`);
    }
  }

  finish(): void {
    while (this.service(5)) this.checkBytes();
    assertEquals(this.target.lines(), this.source.lines());
    assertEquals([this.queue.size, this.queue.bytes], [0, 0]);
    // What is missing was annulled: a name that came, and its removal.
    assertEquals(this.#serviced.length, this.#added.length - 2 * this.#annulledCount);
    const added = this.#added.values();
    for (const op of this.#serviced) assert(added.some((each) => each === op), `${op} in its order`);
  }

  #add(op: StackedOp): void {
    if (this.queue.state !== "open") return;
    const result = this.queue.add(op);
    if (changesNames(op)) this.#added.push(JSON.stringify(nameOf(op)));
    if (result === "annulled") this.#annulledCount++;
  }
}

function changesNames(op: StackedOp): boolean {
  return isDeparture(op) || ["create", "mkdir", "symlink", "link", "hold"].includes(op.kind);
}

function nameOf(op: StackedOp): unknown[] {
  return op.kind === "hold" ? ["hold"] : [op.kind, op.path, "to" in op ? op.to : ""];
}

Deno.test(`StackedQueue makes the target equal after any history (seed ${SEED}, ${HISTORIES} histories)`, () => {
  const property = fc.property(history, fc.integer({ min: 1, max: 9 }), (actions, maxPacketSize) => {
    const world = new World(new StackedQueue({ maxPacketSize }));
    for (const action of actions) {
      world.live(action);
      if (action.do === "service") world.checkBytes();
    }
    world.finish();
  });
  fc.assert(property, parameters);
});

Deno.test(`StackedQueue tells of every difference when it overflows (seed ${SEED}, ${HISTORIES} histories)`, () => {
  const property = fc.property(history, fc.integer({ min: 1, max: 20 }), (actions, count) => {
    const world = new World(new StackedQueue({ maxPacketSize: 4, bytesMax: 170 * count }));
    for (const action of actions) if (!world.live(action)) break;
    const untold = new Set(differences(world));
    for (const changed of world.queue.drain()) {
      for (const path of untold) if (isToldBy(path, changed, world.source)) untold.delete(path);
    }
    assertEquals([...untold], []);
    assertEquals([world.queue.state, world.queue.size], ["open", 0]);
  });
  fc.assert(property, parameters);
});

/** Paths of which the lines differ. */
function differences({ source, target }: World): Set<string> {
  const [ours, theirs] = [source, target].map((tree) => new Set(tree.lines(false)));
  return new Set([...ours.symmetricDifference(theirs)].map((line) => line.slice(0, line.indexOf(" "))));
}

/** A look at a name finds what it is, what is gone with it, and all names of its file. */
function isToldBy(path: string, changed: ChangedPath, source: ModelSource): boolean {
  if (path === changed.path || changed.below && isWithin(path, changed.path)) return true;
  return source.namesLike(changed.path).includes(path) || isWithin(path, changed.path) && !source.has(path);
}
