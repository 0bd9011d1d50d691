/**
 * Goal: what memory is not for waits in the transaction log, is taken in the order in which it was heard, is waited for by
 * whoever flushes, and goes from the log when every lane has done it; beyond the log's bound everything is looked at.
 *
 * Method: lanes that take hints into a list and do them when the test says so, over a log in a directory.
 * @module
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { createLog } from "../../src/base/log.ts";
import { systemClock } from "../../src/base/clock.ts";
import { TransientError } from "../../src/base/errors.ts";
import type { Hint } from "../../src/intercept/interceptor.ts";
import { Backlog } from "../../src/source/backlog.ts";
import { decodeHint, encodeHint, type LoggedHint } from "../../src/source/hint_command.ts";
import { HintLog, type LoggedLane } from "../../src/source/hint_log.ts";
import { Tickets } from "../../src/source/tickets.ts";
import { ByteWriter } from "../../src/base/bytes.ts";
import { TransactionLog } from "../../src/store/txn_log.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory, tmpfsMount } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

const log = createLog({ write: () => {} });

/** A lane that does what it took when it is told to. */
class TestLane implements LoggedLane {
  readonly tickets = new Tickets();
  readonly waiting: string[] = [];
  readonly done: string[] = [];
  readonly backlog: Backlog;
  everything = 0;
  #settled: (() => void)[] = [];

  constructor(hintLog: HintLog, waitingMax = 10) {
    this.backlog = new Backlog({
      log: hintLog,
      tickets: this.tickets,
      take: (hint) => void this.waiting.push(nameOf(hint)),
      waitingCount: () => this.waiting.length,
      lookAtEverything: () => void this.everything++,
      waitingMax,
    });
  }

  /** As a replicator does. */
  take(hints: Hint[], first: number | undefined): void {
    for (const [i, hint] of hints.entries()) {
      const isLeft = this.backlog.leave(first === undefined ? undefined : first + i);
      if (!isLeft) this.waiting.push(nameOf(hint));
    }
  }

  /** Does all that waits, and what comes from the disk then. */
  work(): void {
    do {
      this.done.push(...this.waiting.splice(0));
    } while (this.backlog.step() || this.waiting.length > 0);
    for (const settle of this.#settled.splice(0)) settle();
  }

  async reached(signal: AbortSignal): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#settled.push(resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    return !signal.aborted;
  }

  get backlogFrom(): number | undefined {
    return this.backlog.from;
  }

  loseBacklog(): void {
    this.backlog.lose();
  }
}

const look = (name: string): Hint => ({ kind: "look", path: name });
const names = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`);

function nameOf(hint: Hint): string {
  return hint.kind === "moved" ? `${hint.from}>${hint.to}` : "path" in hint ? hint.path : "";
}

function openLog(
  directory: string,
  { bytesMax, segmentBytes = 200 }: { bytesMax?: number; segmentBytes?: number } = {},
) {
  return new HintLog({
    isThere: () => [...Deno.readDirSync(directory)].length > 0,
    open: () => TransactionLog.open(directory, { segmentBytes }),
    clock: systemClock,
    log,
    bytesMax,
  });
}

/** Gives hints to lanes as a running set does. */
function give(hintLog: HintLog, lanes: TestLane[], hints: Hint[]): void {
  const isNeeded = lanes.some(({ backlog }) => backlog.needsLog(hints.length));
  const first = hintLog.append(hints, { isNeeded });
  for (const lane of lanes) lane.take(hints, first);
}

Deno.test("hints come back from their commands, odd names too", () => {
  const hints: LoggedHint[] = [
    { kind: "look", path: "" },
    { kind: "look", path: "a\udc80/b\nc" },
    { kind: "look-below", path: "d", reason: "it was logged" },
    { kind: "moved", from: "é", to: "x".repeat(5_000), directory: true },
    { kind: "moved", from: "a", to: "b", directory: false },
  ];
  const writer = new ByteWriter();
  for (const hint of hints) assertEquals(decodeHint(encodeHint(hint, writer)), hint);
});

Deno.test("a lane whose memory is full leaves hints on the disk and takes them in order, while more come", async () => {
  await using place = await tempDirectory();
  using hintLog = openLog(place.path);
  const [slow, quick] = [new TestLane(hintLog), new TestLane(hintLog)];
  const stop = new AbortController();
  const following = [slow, quick].map((lane) => hintLog.follow(lane, stop.signal));
  for (let i = 1; i <= 1_000; i++) {
    give(hintLog, [slow, quick], [look(`${i}`)]);
    quick.work();
    assert(slow.waiting.length <= 10);
  }
  assertEquals([slow.backlog.count + slow.waiting.length, hintLog.status.state], [1_000, "writing"]);
  assert(slow.waiting.length >= 9, "memory is used first");
  assertEquals(quick.done, names(1, 1_000), "the other lane has them from memory");
  const flushed = slow.tickets.take();
  assert(slow.tickets.oldest! < flushed, "a flush waits for what is on the disk");
  slow.done.push(...slow.waiting.splice(0));
  assertEquals(slow.backlog.step(), true);
  give(hintLog, [slow], [look("1001"), { kind: "moved", from: "a", to: "b", directory: false }]);
  slow.work();
  assertEquals(slow.done, [...names(1, 1_001), "a>b"]);
  assertEquals([slow.backlog.from, slow.tickets.oldest, slow.everything], [undefined, undefined, 0]);
  give(hintLog, [slow], [look("later")]);
  assertEquals([hintLog.status.state, slow.waiting], ["off", ["later"]], "memory is enough again");
  stop.abort();
  await Promise.all(following);
});

Deno.test("what a lane took from the disk last is as old for a flush as what it took first", async () => {
  await using place = await tempDirectory();
  using hintLog = openLog(place.path);
  const tickets = new Tickets();
  const taken: number[] = [];
  const backlog = new Backlog({
    log: hintLog,
    tickets,
    take: (_hint, ticket) => void taken.push(ticket),
    waitingCount: () => taken.length === 0 ? 10 : 0,
    lookAtEverything: () => {},
    waitingMax: 10,
  });
  const first = hintLog.append([look("a"), look("b")], { isNeeded: true })!;
  assert(backlog.leave(first) && backlog.leave(first + 1));
  const flushed = tickets.take();
  taken.push(0);
  while (backlog.step());
  assert(taken.length === 3 && taken.every((ticket) => ticket < flushed));
});

Deno.test("commands go from the log when every lane has done them, and are taken up by the next run if not", async () => {
  await using place = await tempDirectory();
  {
    using hintLog = openLog(place.path);
    hintLog.isWanted = true;
    const lanes = [new TestLane(hintLog), new TestLane(hintLog)];
    const stop = new AbortController();
    const following = lanes.map((lane) => hintLog.follow(lane, stop.signal));
    give(hintLog, lanes, names(1, 5).map(look));
    await hintLog.commit();
    await waitFor(() => {
      lanes[0].work();
      return lanes[0].done.length === 5;
    }, { what: "the first lane" });
    assertEquals(hintLog.status.count, 5, "the other lane has not done them");
    await waitFor(() => (lanes.forEach((lane) => lane.work()), hintLog.status.count === 0), {
      what: "an empty log",
      timeoutMs: 20_000,
    });
    give(hintLog, lanes, names(6, 8).map(look));
    await hintLog.commit();
    stop.abort();
    await Promise.all(following);
  }
  using hintLog = openLog(place.path);
  hintLog.begin();
  const lane = new TestLane(hintLog);
  lane.backlog.begin();
  lane.work();
  assertEquals(lane.done, names(6, 8));
});

Deno.test("beyond its bound the log begins anew, lanes that lag look at everything, and so does the next run", async () => {
  await using place = await tempDirectory();
  {
    using hintLog = openLog(place.path, { bytesMax: 3_000 });
    hintLog.isWanted = true;
    const lane = new TestLane(hintLog);
    const stop = new AbortController();
    const following = hintLog.follow(lane, stop.signal);
    let most = 0;
    for (let i = 1; i <= 2_000; i++) {
      give(hintLog, [lane], [look(`${i}`)]);
      // A flush writes it out.
      if (i % 10 === 0) await hintLog.commit();
      most = Math.max(most, hintLog.status.bytes);
    }
    assert(lane.everything > 0);
    assert(most < 4_000, `${most} bytes`);
    assertEquals(hintLog.status.state, "full");
    stop.abort();
    await following;
  }
  using hintLog = openLog(place.path);
  hintLog.isWanted = true;
  hintLog.begin();
  const lane = new TestLane(hintLog, 10_000);
  lane.backlog.begin();
  lane.work();
  assert(lane.done.includes("") && lane.done.length < 1_000, "everything stands for what is gone");
  assertEquals(lane.done.at(-1), "2000");
  const stop = new AbortController();
  const following = hintLog.follow(lane, stop.signal);
  await waitFor(() => (lane.work(), hintLog.status.count === 0), { what: "an empty log", timeoutMs: 20_000 });
  stop.abort();
  await following;
});

Deno.test({
  name:
    "a log that cannot be written promises nothing, says why, and begins again with everything when it can",
  ignore: lacks("linux", "root"),
  async fn() {
    await using place = await tmpfsMount({ sizeBytes: 64 * 1024 });
    using hintLog = openLog(`${place.path}`, { segmentBytes: 1 << 20 });
    hintLog.isWanted = true;
    const lane = new TestLane(hintLog);
    const error = await assertRejects(async () => {
      for (let i = 0;; i++) {
        give(hintLog, [lane], [look(`${i}`)]);
        await hintLog.commit();
      }
    }, TransientError);
    assertStringIncludes(error.message, "No space left");
    assertEquals(hintLog.status.state, "failed");
    assertStringIncludes(hintLog.status.reason, "No space left");
    const before = lane.waiting.length;
    give(hintLog, [lane], [look("memory")]);
    assertEquals(lane.waiting.length, before + 1, "it is looked at nevertheless");
    await assertRejects(() => hintLog.commit(), TransientError, "No space left");
    await runProcess("mount", ["-o", "remount,size=1m", place.path], { expectCode: 0 });
    await waitFor(async () => {
      give(hintLog, [lane], [look("again")]);
      return await hintLog.commit().then(() => true, () => false);
    }, { what: "the log to be written again", timeoutMs: 20_000 });
    assertEquals(hintLog.status.state, "writing");
    const last = [...TransactionLog.open(place.path).read()].map(({ payload }) =>
      nameOf(decodeHint(payload))
    );
    assert(last.indexOf("") > 0 && last.at(-1) === "again");
  },
});
