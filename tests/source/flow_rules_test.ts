import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  flowBounds,
  formatFlowRules,
  gathers,
  isEnough,
  isInWindow,
  parseFlowRules,
} from "../../src/source/flow_rules.ts";
import { FlowGate } from "../../src/source/flow_gate.ts";
import { systemClock } from "../../src/base/clock.ts";

const bounds = flowBounds();
const parse = (text: string) => parseFlowRules(text, bounds);

Deno.test("parseFlowRules() reads what formatFlowRules() writes", () => {
  const table: [text: string, formatted?: string][] = [
    ["at-once"],
    ["size=1M"],
    ["count=1000"],
    ["age=30s"],
    ["window=22:00-06:00"],
    ["size=64K,count=5,age=500ms,window=00:00-06:30,window=12:00-13:00"],
    [" age=1h , count=7", "count=7,age=1h"],
  ];
  for (const [text, formatted = text] of table) assertEquals(formatFlowRules(parse(text)), formatted);
});

Deno.test("parseFlowRules() refuses what is no rule, or cannot come about", () => {
  const table: [text: string, reason: string][] = [
    ["", "it must be at-once"],
    ["soon", "it must be at-once"],
    ["size", "size"],
    ["size=0", "a size up to"],
    ["size=1T", "a size up to"],
    ["count=0", "a number up to"],
    ["count=1.5", "a number up to"],
    ["count=99999999", "a number up to"],
    ["age=0s", "a duration"],
    ["age=25h", "a duration up to 24h"],
    ["window=22-06", "a window must be"],
    ["window=24:00-06:00", "a window must be"],
    ["window=05:00-05:00", "a window must be"],
    ["window=05:60-06:00", "a window must be"],
    ["age=1s,,count=1", "it must be at-once"],
  ];
  for (const [text, reason] of table) assertThrows(() => parse(text), Error, reason, text);
});

Deno.test("isInWindow() knows windows over midnight, their first minute and their last", () => {
  const night = parse("window=22:00-06:00");
  const table: [minute: number, isIn: boolean][] = [
    [22 * 60 - 1, false],
    [22 * 60, true],
    [23 * 60 + 59, true],
    [0, true],
    [6 * 60 - 1, true],
    [6 * 60, false],
    [12 * 60, false],
  ];
  for (const [minute, isIn] of table) assertEquals(isInWindow(night, minute), isIn, `${minute}`);
  const twice = parse("window=01:00-02:00,window=03:00-04:00");
  assertEquals([90, 150, 200].map((minute) => isInWindow(twice, minute)), [true, false, true]);
  assert(isInWindow(parse("age=1s"), 700), "without windows all hours are open");
});

Deno.test("isEnough() opens at any of the rules, exactly", () => {
  const rules = parse("size=1K,count=10,age=5s");
  assert(gathers(rules) && !gathers(parse("window=01:00-02:00")));
  assertEquals(isEnough(rules, { ops: 9, bytes: 1023, ageMs: 4_999 }), false);
  assertEquals(isEnough(rules, { ops: 10, bytes: 0, ageMs: 0 }), true);
  assertEquals(isEnough(rules, { ops: 1, bytes: 1024, ageMs: 0 }), true);
  assertEquals(isEnough(rules, { ops: 1, bytes: 1, ageMs: 5_000 }), true);
});

/** A lane of which the test says what waits. */
function gateOver(minuteOfDay = () => 0) {
  const lane = {
    queuedOps: 0,
    queuedBytes: 0,
    lastSequence: 0,
    oldestUnackedMs: undefined as number | undefined,
    isGathering: false,
    push: (count: number) => {
      if (lane.queuedOps === 0) lane.oldestUnackedMs = clock.nowMs();
      lane.queuedOps += count;
      lane.lastSequence += count;
      lane.queuedBytes += 10 * count;
      gate.look();
    },
    send: () => {
      assert(!lane.isGathering, "it may not be sent");
      [lane.queuedOps, lane.queuedBytes, lane.oldestUnackedMs] = [0, 0, undefined];
      gate.look();
    },
  };
  let [isMirrored, isTransferring] = [true, false];
  const clock = { ...systemClock, nowMs: () => Date.now() };
  const gate = new FlowGate({
    lane,
    clock,
    isMirrored: () => isMirrored,
    isTransferring: () => isTransferring,
    minuteOfDay,
  });
  return {
    lane,
    gate,
    setMirrored: (value: boolean) => isMirrored = value,
    setTransferring: (value: boolean) => isTransferring = value,
    [Symbol.dispose]: () => gate[Symbol.dispose](),
  };
}

Deno.test("FlowGate lets what waits go at once when enough has gathered, and then gathers again", () => {
  using over = gateOver();
  const { lane, gate } = over;
  lane.push(1);
  assertEquals(lane.isGathering, false, "without rules all is sent at once");
  lane.send();
  gate.rules = parse("count=5");
  lane.push(4);
  assertEquals(lane.isGathering, true);
  assertEquals(gate.reason, "gathers until count=5: 4 ops, 40 B");
  lane.push(1);
  assertEquals([lane.isGathering, gate.reason], [false, ""]);
  lane.send();
  lane.push(1);
  assertEquals(lane.isGathering, true);
});

Deno.test("FlowGate opens for who is in a hurry and for the first mirror, but not outside of the hours", () => {
  let minute = 0;
  using over = gateOver(() => minute);
  const { lane, gate, setMirrored } = over;
  gate.rules = parse("count=1000,window=01:00-02:00");
  lane.push(1);
  assertEquals(gate.reason, "outside of the hours of count=1000,window=01:00-02:00");
  {
    using _hurry = gate.hurry();
    assertEquals(lane.isGathering, true);
  }
  minute = 60;
  gate.look();
  assertEquals(lane.isGathering, true, "it gathers");
  {
    using _hurry = gate.hurry();
    assertEquals(lane.isGathering, false);
  }
  assertEquals(lane.isGathering, true);
  setMirrored(false);
  gate.look();
  assertEquals(lane.isGathering, false, "the first mirror gathers nothing");
  setMirrored(true);
  gate.look();
  assertEquals(lane.isGathering, true);
});

Deno.test("FlowGate counts what the target is asked about, and sends a large file whole once it began to", () => {
  using over = gateOver();
  const { lane, gate, setTransferring } = over;
  gate.rules = parse("size=1K");
  lane.push(1);
  setTransferring(true);
  {
    using _some = gate.ask(500);
    assertEquals(lane.isGathering, true);
    using _more = gate.ask(600);
    assertEquals(lane.isGathering, false, "1,100 bytes and an op wait");
    lane.send();
  }
  lane.push(1);
  assertEquals(lane.isGathering, false, "the rest of the file");
  lane.send();
  lane.push(1);
  setTransferring(false);
  gate.look();
  assertEquals(lane.isGathering, false, "its last op is not sent yet");
  lane.send();
  assertEquals(lane.isGathering, true);
});
