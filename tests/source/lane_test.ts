import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ByteReader } from "../../src/base/bytes.ts";
import { systemClock, yieldToEvents } from "../../src/base/clock.ts";
import { ProtocolError, TransientError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { createLog } from "../../src/base/log.ts";
import { decodeOp, type Op, opPaths } from "../../src/ops/op.ts";
import { Lane } from "../../src/source/lane.ts";
import { OrderedJournal } from "../../src/source/ordered_journal.ts";
import { TransactionLog } from "../../src/store/txn_log.ts";
import { decodeMessage, type Message } from "../../src/wire/message.ts";
import { noStats, type Session } from "../../src/wire/session.ts";
import { tempDirectory } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

/** A session that keeps what is sent, and takes it one by one if it is told to. */
class KeepingSession implements Session {
  readonly peer = "test";
  readonly stats = noStats();
  readonly sent: Message[] = [];
  /** Resolves a pending send. */
  take: (() => void) | undefined;
  isSlow = false;
  isBroken = false;

  send(message: Uint8Array): Promise<void> {
    if (this.isBroken) return Promise.reject(new TransientError("broken"));
    this.sent.push(decodeMessage(message.slice()));
    return this.isSlow ? new Promise((resolve) => this.take = resolve) : Promise.resolve();
  }

  receive(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Sequences of all ops sent, and other messages by their type. */
  lines(): (number | string)[] {
    return this.sent.flatMap((message): (number | string)[] => {
      if (message.type !== "ops") return [message.type];
      return Array.from({ length: message.count }, (_, i) => message.firstSequence + i);
    });
  }
}

const unlink = (path: string): Op => ({ kind: "unlink", path });
const file = (size: number): Op => ({ kind: "file", path: "f", attributes: {}, data: new Uint8Array(size) });

function opsOf(message: Message): Message & { type: "ops" } {
  if (message.type !== "ops") throw new Error(`"${message.type}" was sent`);
  return message;
}

function laneWith(
  options: { windowBytes?: number; journal?: OrderedJournal; onChange?: () => void } = {},
): Lane {
  return new Lane({ clock: systemClock, ...options });
}

Deno.test("Lane gives ops consecutive sequences from 1, also over messages", async () => {
  const lane = laneWith();
  const session = new KeepingSession();
  lane.attach(session, 0);
  assertEquals([lane.push(unlink("a"), "live"), lane.push(unlink("b"), "live")], [1, 2]);
  await yieldToEvents();
  assertEquals(lane.push(unlink("c"), "live"), 3);
  await yieldToEvents();
  assertEquals(session.lines(), [1, 2, 3]);
  assertEquals(session.sent.length, 2, "ops that are pushed in one go travel together");
  assertEquals([lane.lastSequence, lane.ackedSequence, lane.unackedOps, lane.queuedOps], [3, 0, 3, 0]);
});

Deno.test("Lane sends what was pushed, with its data, though the buffer was used again", async () => {
  const lane = laneWith();
  const session = new KeepingSession();
  lane.attach(session, 0);
  const data = new Uint8Array([1, 2, 3]);
  lane.push({ kind: "file", path: "f", attributes: { mode: 0o600 }, data }, "live");
  data.fill(0);
  await yieldToEvents();
  const message = opsOf(session.sent[0]);
  const op = decodeOp(new ByteReader(message.encoded));
  assertEquals(op, { kind: "file", path: "f", attributes: { mode: 0o600 }, data: new Uint8Array([1, 2, 3]) });
});

Deno.test("hasRoom() lets a lone op into an empty window, whatever its size", () => {
  const lane = laneWith({ windowBytes: 1000 });
  assert(lane.hasRoom(limits.opDataSizeMax, "live"));
  assert(lane.hasRoom(limits.opDataSizeMax, "mirror"));
  lane.push(file(5000), "live");
  assert(!lane.hasRoom(0, "live"));
  lane.acknowledge(1);
  assert(lane.hasRoom(5000, "live"));
});

Deno.test("hasRoom() keeps half of a small window for live ops", () => {
  const lane = laneWith({ windowBytes: 10_000 });
  while (lane.hasRoom(1000, "mirror")) lane.push(file(1000), "mirror");
  assert(lane.stats.windowBytesPeak <= 5000 + 1000, `${lane.stats.windowBytesPeak}`);
  assert(lane.hasRoom(1000, "live"));
  while (lane.hasRoom(1000, "live")) lane.push(file(1000), "live");
  assert(!lane.hasRoom(0, "mirror") || lane.unackedOps > 0);
});

Deno.test("hasRoom() ends at the most ops that may be on their way", () => {
  const lane = laneWith({ windowBytes: 1 << 30 });
  for (let i = 0; i < limits.windowOps; i++) {
    assert(lane.hasRoom(10, "live"));
    lane.push(unlink("a"), "live");
  }
  assert(!lane.hasRoom(10, "live"));
});

Deno.test("Lane never exceeds its window, save by one op in an empty one (random sizes and acks)", () => {
  const step = fc.record({ size: fc.integer({ min: 0, max: 3000 }), acks: fc.integer({ min: 0, max: 3 }) });
  fc.assert(fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
    const windowBytes = 8000;
    const headerMax = 64;
    const lane = laneWith({ windowBytes });
    const unacked: number[] = [];
    for (const { size, acks } of steps) {
      if (lane.hasRoom(size + headerMax, "live")) {
        lane.push(file(size), "live");
        unacked.push(size);
      }
      const sum = unacked.reduce((a, b) => a + b, 0);
      assert(unacked.length <= 1 || sum <= windowBytes, `${sum} bytes`);
      for (let i = 0; i < acks && lane.unackedOps > 0; i++) {
        lane.acknowledge(lane.ackedSequence + 1);
        unacked.shift();
      }
    }
  }));
});

Deno.test("attach() sends everything again that is not durable, from the message that holds it", async () => {
  const lane = laneWith();
  const first = new KeepingSession();
  lane.attach(first, 0);
  for (const path of ["a", "b", "c"]) {
    lane.push(unlink(path), "live");
    await yieldToEvents();
  }
  lane.detach();
  lane.push(unlink("d"), "live");
  await yieldToEvents();
  assertEquals(first.lines(), [1, 2, 3], "nothing is sent without a session");
  const second = new KeepingSession();
  lane.attach(second, 1);
  await yieldToEvents();
  assertEquals(second.lines(), [2, 3, 4]);
  assertEquals(lane.stats.retries, 2);
  assertEquals(lane.stats.opsSent.unlink, 4, "each op counts once");
});

Deno.test("acknowledge() within a message keeps all of it, and a new session skips nothing", async () => {
  const lane = laneWith();
  const first = new KeepingSession();
  lane.attach(first, 0);
  for (const path of ["a", "b", "c"]) lane.push(unlink(path), "live");
  await yieldToEvents();
  lane.acknowledge(2);
  assertEquals([lane.ackedSequence, lane.unackedOps], [2, 1]);
  assertEquals(lane.unackedPaths(), ["a", "b", "c"]);
  const second = new KeepingSession();
  lane.attach(second, 2);
  await yieldToEvents();
  assertEquals(second.lines(), [1, 2, 3], "the receiver skips what it has");
  lane.acknowledge(3);
  assertEquals(lane.unackedPaths(), []);
});

Deno.test("acknowledge() takes an old ack for nothing", () => {
  const lane = laneWith();
  lane.push(unlink("a"), "live");
  lane.push(unlink("b"), "live");
  lane.acknowledge(2);
  lane.acknowledge(1);
  assertEquals(lane.ackedSequence, 2);
});

Deno.test("acknowledge() and attach() refuse what cannot be", () => {
  const lane = laneWith();
  lane.push(unlink("a"), "live");
  lane.push(unlink("b"), "live");
  assertThrows(() => lane.acknowledge(3), ProtocolError, "Cannot take ack 3: the last op sent is 2");
  lane.acknowledge(1);
  const session = new KeepingSession();
  assertThrows(() => lane.attach(session, 0), ProtocolError, "the target has 0, not 1 to 2");
  assertThrows(() => lane.attach(session, 3), ProtocolError, "the target has 3, not 1 to 2");
});

Deno.test("post() keeps its place among the ops", async () => {
  const lane = laneWith();
  const session = new KeepingSession();
  session.isSlow = true;
  lane.attach(session, 0);
  lane.push(unlink("a"), "live");
  lane.post({ type: "indexed", sequence: 0 });
  await yieldToEvents();
  lane.push(unlink("b"), "live");
  lane.post({ type: "compared" });
  lane.push(unlink("c"), "mirror");
  for (let i = 0; i < 6; i++) {
    await yieldToEvents();
    session.take?.();
  }
  await waitFor(() => session.lines().length === 5, { what: "five things sent" });
  const lines = session.lines();
  assert(lines.indexOf("indexed") > lines.indexOf(1) && lines.indexOf("indexed") < lines.indexOf("compared"));
  assert(lines.indexOf("compared") > lines.indexOf(2), `${lines}`);
  assertEquals(lines.filter((line) => typeof line === "number"), [1, 2, 3]);
});

Deno.test("post() ahead goes before all that is not sent yet, ops from before the session too", async () => {
  const lane = laneWith();
  const session = new KeepingSession();
  lane.push(unlink("a"), "live");
  lane.push(unlink("b"), "mirror");
  lane.attach(session, 0);
  lane.post({ type: "compared" });
  lane.post({ type: "indexed", sequence: 0 }, { ahead: true });
  await waitFor(() => session.lines().length === 4, { what: "all sent" });
  assertEquals(session.lines(), ["indexed", 1, 2, "compared"]);
});

Deno.test("detach() loses what was posted, and keeps the ops", async () => {
  const lane = laneWith();
  lane.push(unlink("a"), "live");
  lane.post({ type: "compared" });
  lane.detach();
  const session = new KeepingSession();
  lane.attach(session, 0);
  await yieldToEvents();
  assertEquals(session.lines(), [1]);
});

Deno.test("Lane goes on with a new session when the old one broke in the middle of a message", async () => {
  const lane = laneWith();
  const broken = new KeepingSession();
  broken.isBroken = true;
  lane.attach(broken, 0);
  lane.push(unlink("a"), "live");
  await yieldToEvents();
  const session = new KeepingSession();
  lane.attach(session, 0);
  await yieldToEvents();
  assertEquals(session.lines(), [1]);
});

Deno.test("a mirror's ops gather for a moment, live ones go at once", async () => {
  const lane = laneWith();
  const session = new KeepingSession();
  lane.attach(session, 0);
  lane.push(unlink("a"), "mirror");
  await yieldToEvents();
  assertEquals(session.lines(), []);
  lane.push(unlink("b"), "mirror");
  await waitFor(() => session.sent.length === 1, { what: "the gathered message" });
  assertEquals(session.lines(), [1, 2]);
  lane.push(unlink("c"), "mirror");
  lane.push(unlink("d"), "live");
  await yieldToEvents();
  assertEquals(session.lines(), [1, 2, 3, 4], "a live op takes along what gathers");
});

Deno.test("detach() ends the gathering: no timer is left", async () => {
  const lane = laneWith();
  lane.attach(new KeepingSession(), 0);
  lane.push(unlink("a"), "mirror");
  await yieldToEvents();
  lane.detach();
  const session = new KeepingSession();
  lane.attach(session, 0);
  await waitFor(() => session.sent.length === 1, { what: "the gathered message" });
  lane.push(unlink("b"), "mirror");
  await yieldToEvents();
  lane.detach();
});

Deno.test("a mirror that fills the window is not held up by gathering", async () => {
  const lane = laneWith({ windowBytes: 2000 });
  const session = new KeepingSession();
  lane.attach(session, 0);
  lane.push(file(1500), "mirror");
  await yieldToEvents();
  assertEquals(session.lines(), [1]);
});

Deno.test("restart() forgets everything and counts from there", async () => {
  const lane = laneWith();
  for (let i = 0; i < 3; i++) lane.push(file(1000), "mirror");
  lane.restart(41, "stream");
  assertEquals([lane.lastSequence, lane.ackedSequence, lane.unackedOps, lane.queuedOps], [41, 41, 0, 0]);
  assertEquals([lane.oldestUnackedMs, lane.unackedPaths()], [undefined, []]);
  const session = new KeepingSession();
  lane.attach(session, 41);
  assertEquals(lane.push(unlink("a"), "live"), 42);
  await yieldToEvents();
  assertEquals(session.lines(), [42]);
});

Deno.test("Lane tells of every ack and of every loss", () => {
  let changes = 0;
  const lane = laneWith({ onChange: () => changes++ });
  lane.push(unlink("a"), "live");
  lane.acknowledge(1);
  assertEquals(changes, 1);
  lane.detach();
  assertEquals(changes, 2);
  lane.restart(0, "stream");
  assertEquals(changes, 3);
});

Deno.test("a receiver that follows the rules gets each op once and in order (random cuts and acks)", async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("push" as const), size: fc.integer({ min: 0, max: 200 }) }),
    fc.record({ do: fc.constant("ack" as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ do: fc.constant("cut" as const), loses: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ do: fc.constant("turn" as const) }),
  );
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), async (steps) => {
    const lane = laneWith();
    let session = new KeepingSession();
    lane.attach(session, 0);
    /** Ops that the receiver took, and how many of them it made durable. */
    let taken = 0;
    let durable = 0;
    let seen = 0;
    const receive = () => {
      for (; seen < session.sent.length; seen++) {
        const message = opsOf(session.sent[seen]);
        assert(message.firstSequence <= taken + 1, "no gap");
        taken = Math.max(taken, message.firstSequence + message.count - 1);
      }
    };
    for (const each of steps) {
      if (each.do === "push") lane.push(file(each.size), "live");
      if (each.do === "turn") await yieldToEvents();
      receive();
      if (each.do === "ack") lane.acknowledge(durable = Math.min(taken, durable + each.count));
      if (each.do === "cut") {
        durable = Math.max(durable, taken - each.loses);
        taken = durable;
        seen = 0;
        lane.detach();
        lane.attach(session = new KeepingSession(), durable);
      }
    }
    await yieldToEvents();
    await yieldToEvents();
    receive();
    assertEquals(taken, lane.lastSequence);
  }));
});

Deno.test("with a journal a receiver gets each op once and in order, over outages and restarts, within the window", async () => {
  await using place = await tempDirectory();
  const step = fc.oneof(
    fc.record({ do: fc.constant("push" as const), size: fc.integer({ min: 0, max: 900 }) }),
    fc.record({ do: fc.constant("push" as const), size: fc.integer({ min: 0, max: 900 }) }),
    fc.record({ do: fc.constant("ack" as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({
      do: fc.constantFrom("lose" as const, "reach" as const, "restart" as const, "turn" as const),
    }),
  );
  const windowBytes = 3_000;
  let histories = 0;
  let keptOnDisk = 0;
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), async (steps) => {
    const directory = `${place.path}/${++histories}`;
    const open = () => {
      const journal = new OrderedJournal({
        open: () => TransactionLog.open(directory, { segmentBytes: 2_000 }),
        isThere: () => true,
        bytesMax: 20_000,
        log: createLog({ write: () => {} }),
      });
      return laneWith({ windowBytes, journal });
    };
    /** Paths by sequence, as pushed and as taken; and what the receiver has made durable. */
    const pushed: string[] = [];
    let [taken, durable, seen] = [0, 0, 0];
    let lane = open();
    let session: KeepingSession | undefined;
    lane.restart(0, "stream");
    const receive = () => {
      for (; session && seen < session.sent.length; seen++) {
        const message = opsOf(session.sent[seen]);
        assert(message.firstSequence <= taken + 1, "no gap");
        for (const [i, path] of pathsOf(message).entries()) {
          assertEquals(path, pushed[message.firstSequence + i - 1]);
        }
        taken = Math.max(taken, message.firstSequence + message.count - 1);
      }
      const { windowBytesPeak } = lane.stats;
      assert(windowBytesPeak <= windowBytes + 1_500, `${windowBytesPeak} bytes in memory`);
    };
    const lose = () => {
      [session, taken, seen] = [undefined, durable, 0];
      lane.detach();
    };
    for (const each of steps) {
      if (each.do === "push" && lane.hasRoom(each.size + 64, "live")) {
        const path = `f${crypto.randomUUID()}`;
        const sequence = lane.push(
          { kind: "file", path, attributes: {}, data: new Uint8Array(each.size) },
          "live",
        );
        pushed[sequence - 1] = path;
      }
      if (each.do === "turn") await yieldToEvents();
      receive();
      if (each.do === "ack" && session) lane.acknowledge(durable = Math.min(taken, durable + each.count));
      if (each.do === "lose") lose();
      if (each.do === "reach" && !session) lane.attach(session = new KeepingSession(), durable);
      keptOnDisk += lane.journalStatus.bytes;
      if (each.do !== "restart") continue;
      lose();
      lane.close();
      lane = open();
      lane.restart(durable, "stream");
      // What nobody took was on the disk, at the latest when it ended in order.
      assertEquals(lane.lastSequence, pushed.length);
    }
    if (!session) lane.attach(session = new KeepingSession(), durable);
    while (lane.unackedOps > 0) {
      await yieldToEvents();
      receive();
      lane.acknowledge(durable = taken);
    }
    assertEquals(taken, pushed.length);
    await waitFor(() => lane.journalStatus.state === "idle", { what: "an empty journal", intervalMs: 1 });
    lane.close();
  }));
  assert(keptOnDisk > 0);
});

/** Paths of the ops of a message. */
function pathsOf(message: Message & { type: "ops" }): string[] {
  const reader = new ByteReader(message.encoded);
  return Array.from({ length: message.count }, () => opPaths(decodeOp(reader))[0]);
}
