/**
 * Goal: background verification finds and heals by itself what nobody told of, goes on where it was after a restart,
 * does with changes of another hand what the user chose, and keeps from removing much.
 *
 * Method: real directories and the real receiver (tests/testing/loopback.ts), a clock that runs 200 times as fast.
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { limits } from "../../src/base/limits.ts";
import type { PatrolPolicy } from "../../src/source/patrol.ts";
import { isPatrolState, newPatrolState, type PatrolState } from "../../src/source/patrol_state.ts";
import { Pair, type PairOptions } from "../testing/loopback.ts";
import { assertSameTree } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { writeBigFile } from "../testing/tree_maker.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");
const MINUTE = 60_000;

/** Keeps a state as a file would: as text. */
class TextStore {
  text = "";
  saves = 0;

  load(): PatrolState | undefined {
    return this.text === "" ? undefined : JSON.parse(this.text);
  }

  save(state: PatrolState): void {
    this.text = JSON.stringify(state);
    this.saves++;
    assert(isPatrolState(JSON.parse(this.text)));
  }
}

async function openPair(
  policy: Partial<PatrolPolicy> = {},
  { store = new TextStore(), ...options }: PairOptions & { store?: TextStore } = {},
): Promise<Pair> {
  const chosen: PatrolPolicy = { everyMs: 2 * MINUTE, rateBytes: 1 << 30, foreign: "repair", ...policy };
  const pair = await Pair.open({ clockFactor: 200, patrol: { policy: chosen, store }, ...options });
  for (let d = 0; d < 30; d++) {
    Deno.mkdirSync(`${pair.sourceRoot}/d${d}/e`, { recursive: true });
    for (let i = 0; i < 20; i++) Deno.writeTextFileSync(`${pair.sourceRoot}/d${d}/f${i}`, `${d} ${i}`);
  }
  writeBigFile(`${pair.sourceRoot}/big`, 6_000_000);
  await pair.mirror();
  return pair;
}

function status(pair: Pair) {
  return pair.replicator.status().verification;
}

/** Changes a byte and gives the file its time back. */
function flip(path: string, offset: number): void {
  const { mtime, atime } = Deno.statSync(path);
  {
    using file = Deno.openSync(path, { read: true, write: true });
    file.seekSync(offset, Deno.SeekMode.Start);
    file.writeSync(new Uint8Array([0xff]));
  }
  // Deno tells milliseconds; whole ones are set on both sides before.
  Deno.utimeSync(path, atime!, mtime!);
}

async function equalInTheEnd(pair: Pair): Promise<void> {
  await waitFor(async () => {
    await assertSameTree(pair.sourceRoot, pair.replicaRoot, { root: true });
    return true;
  }, { what: "equal trees", timeoutMs: 30_000, intervalMs: 50 });
}

Deno.test({
  name: "Patrol heals by itself what was changed unheard on either side",
  ignore,
  async fn() {
    await using pair = await openPair();
    Deno.writeTextFileSync(`${pair.sourceRoot}/d3/f3`, "changed on the source");
    Deno.removeSync(`${pair.sourceRoot}/d5`, { recursive: true });
    Deno.writeTextFileSync(`${pair.replicaRoot}/d7/f7`, "changed on the target");
    Deno.removeSync(`${pair.replicaRoot}/d9`, { recursive: true });
    Deno.mkdirSync(`${pair.replicaRoot}/d10/extra/below`, { recursive: true });
    await equalInTheEnd(pair);
    await waitFor(() => status(pair).healed >= 5, { what: "all to be counted", timeoutMs: 10_000 });
    assertEquals(pair.replicator.problems.list(), []);
    pair.check();
  },
});

Deno.test({
  name: "Patrol finds flipped bits by contents, in small and in large files",
  ignore,
  async fn() {
    await using pair = await openPair();
    for (const path of ["d1/f1", "big"]) Deno.utimeSync(`${pair.sourceRoot}/${path}`, 1_000_000, 1_000_000);
    await pair.look("d1/f1", "big");
    flip(`${pair.replicaRoot}/d1/f1`, 0);
    flip(`${pair.replicaRoot}/big`, 5_000_000);
    await equalInTheEnd(pair);
    await waitFor(() => status(pair).lastContentsAt !== "", {
      what: "the end of a round",
      timeoutMs: 20_000,
    });
    assertEquals(status(pair).healed, 2);
    pair.check();
  },
});

Deno.test({
  name:
    "Patrol only reports what another hand did if that was chosen, and takes the report back when it is over",
  ignore,
  async fn() {
    await using pair = await openPair({ foreign: "report" });
    const path = `${pair.replicaRoot}/d2/f2`;
    const before = Deno.readTextFileSync(path);
    const { mtime } = Deno.statSync(`${pair.sourceRoot}/d2/f2`);
    Deno.writeTextFileSync(path, "another hand");
    const problem = await waitFor(() => pair.replicator.problems.of("d2/f2"), {
      what: "a problem",
      timeoutMs: 20_000,
    });
    assertEquals(problem.op, "verify");
    assertMatch(problem.reason, /^size, mtime differ on the target: another hand changed it$/);
    assertEquals(Deno.readTextFileSync(path), "another hand");
    // Whoever asks for a repair gets one.
    const report = await pair.replicator.verification.run(
      { repair: true, contents: false },
      AbortSignal.timeout(20_000),
    );
    assertEquals(report.healed, report.found);
    assertEquals(Deno.readTextFileSync(path), before);
    assertEquals(Deno.statSync(path).mtime, mtime);
    await waitFor(() => pair.replicator.problems.count === 0, {
      what: "no problem",
      timeoutMs: 20_000,
    });
  },
});

Deno.test({
  name: "Patrol leaves many extra entries on the target, and says how to remove them",
  ignore,
  async fn() {
    await using pair = await openPair();
    Deno.mkdirSync(`${pair.replicaRoot}/more`);
    for (let i = 0; i <= limits.extrasRemovedMax; i++) {
      Deno.writeTextFileSync(`${pair.replicaRoot}/more/${i}`, "");
    }
    const problem = await waitFor(() => pair.replicator.problems.of("more"), {
      what: "a problem",
      timeoutMs: 20_000,
    });
    assertMatch(problem.reason, /"understudy verify --repair" removes them$/);
    assertEquals([...Deno.readDirSync(`${pair.replicaRoot}/more`)].length, limits.extrasRemovedMax + 1);
    await pair.replicator.verification.run({ repair: true, contents: false }, AbortSignal.timeout(30_000));
    await equalInTheEnd(pair);
  },
});

Deno.test({
  name: "Patrol goes on after a restart where it was, and begins anew with another replica",
  ignore,
  async fn() {
    const store = new TextStore();
    // So slow that a round is not over soon.
    await using pair = await openPair({ rateBytes: 100_000, everyMs: 60 * MINUTE }, { store });
    await waitFor(() => status(pair).contentsShare > 0.2, { what: "a part of a round", timeoutMs: 60_000 });
    await pair.stop();
    const saved = store.load()!;
    assert(saved.contents.startedAtMs > 0 && saved.contents.directory !== undefined);
    await pair.mirror();
    await waitFor(() => status(pair).contentsShare > 0, {
      what: "the state to be loaded",
      timeoutMs: 30_000,
    });
    await waitFor(() => status(pair).lastContentsAt !== "", {
      what: "the end of the round",
      timeoutMs: 60_000,
    });
    await pair.stop();
    const after = store.load()!;
    assertEquals(after.contents.startedAtMs, 0);
    assert(after.contents.doneAtMs > 0);

    store.save({ ...newPatrolState("another"), contents: saved.contents });
    await pair.mirror();
    await waitFor(() => status(pair).state !== "paused", { what: "a patrol", timeoutMs: 30_000 });
    assertEquals([status(pair).contentsShare, status(pair).lastContentsAt], [0, ""]);
  },
});

Deno.test({
  name: "Patrol that is off compares nothing and says so",
  ignore,
  async fn() {
    await using pair = await openPair({ everyMs: undefined });
    Deno.writeTextFileSync(`${pair.replicaRoot}/d7/f7`, "changed on the target");
    await new Promise((resolve) => setTimeout(resolve, 500));
    assertEquals(status(pair).state, "off");
    assertEquals(pair.target.messageCounts["list-directory"], undefined);
    assertEquals(Deno.readTextFileSync(`${pair.replicaRoot}/d7/f7`), "changed on the target");
  },
});

Deno.test("isPatrolState() knows a state, and what is none", () => {
  assert(isPatrolState(newPatrolState("a")));
  assert(isPatrolState(JSON.parse(JSON.stringify(newPatrolState("a")))));
  for (const value of [undefined, null, 1, {}, { ...newPatrolState("a"), both: null }, { replicaId: "a" }]) {
    assertEquals(isPatrolState(value), false);
  }
});
