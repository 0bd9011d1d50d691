/**
 * A mirror's part of the window against a model of a target: ops that wait are applied as one group, which takes `sync`
 * ms and `op` ms for each of them; a message takes `line` ms each way.
 * @module
 */
import { assertEquals, assertGreater, assertLess, assertLessOrEqual } from "@std/assert";
import type { Clock } from "../../src/base/clock.ts";
import { limits } from "../../src/base/limits.ts";
import { MirrorWindow } from "../../src/source/mirror_window.ts";

interface Target {
  syncMs: number;
  opMs: number;
  lineMs: number;
}

/** Mirrors for `forMs`. Gives ops a millisecond, and the longest time to an ack, of the last half. */
function mirror(target: Target, { live, forMs }: { live: boolean; forMs: number }) {
  let nowMs = 0;
  const clock = { monotonicMs: () => nowMs } as Clock;
  const window = new MirrorWindow({ clock, windowBytes: limits.windowBytes });
  // Each: when it was sent, with how many ops; then when it arrives, and when its ack does.
  const waiting: { sentMs: number; count: number }[] = [];
  const acks: { atMs: number; parcels: typeof waiting }[] = [];
  let [freeMs, doneOps, longestMs] = [0, 0, 0];
  for (; nowMs < forMs; nowMs += 0.25) {
    if (live && nowMs % 20 === 0) window.noteLive();
    let count = 0;
    for (; window.hasRoom(1_000); count++) window.add(1_000);
    if (count > 0) waiting.push({ sentMs: nowMs, count });
    const arrived = waiting.filter(({ sentMs }) => sentMs + target.lineMs <= nowMs);
    if (freeMs <= nowMs && arrived.length > 0) {
      waiting.splice(0, arrived.length);
      const ops = arrived.reduce((sum, parcel) => sum + parcel.count, 0);
      freeMs = nowMs + target.syncMs + ops * target.opMs;
      acks.push({ atMs: freeMs + target.lineMs, parcels: arrived });
    }
    while (acks.length > 0 && acks[0].atMs <= nowMs) {
      const { parcels } = acks.shift()!;
      for (const parcel of parcels) {
        window.release(1_000 * parcel.count, parcel.count);
        if (nowMs < forMs / 2) continue;
        doneOps += parcel.count;
        longestMs = Math.max(longestMs, nowMs - parcel.sentMs);
      }
      window.noteAck(nowMs - parcels.at(-1)!.sentMs);
    }
  }
  return { rate: doneOps / (forMs / 2), longestMs };
}

const targets: Record<string, Target> = {
  "memory": { syncMs: 0.3, opMs: 0.04, lineMs: 0.1 },
  "a quick disk": { syncMs: 2, opMs: 0.05, lineMs: 0.1 },
  "a disk in the cloud": { syncMs: 10, opMs: 0.05, lineMs: 0.5 },
  "a disk that turns": { syncMs: 30, opMs: 0.3, lineMs: 0.5 },
  "a disk far away": { syncMs: 2, opMs: 0.05, lineMs: 100 },
};

for (const [name, target] of Object.entries(targets)) {
  const { syncMs, lineMs } = target;
  // What a lone op takes, at worst behind another group.
  const leastMs = 2 * (syncMs + lineMs);
  Deno.test(`a mirror to ${name} keeps out of the way of live changes, and goes on`, () => {
    const quiet = mirror(target, { live: false, forMs: 8_000 });
    const beside = mirror(target, { live: true, forMs: 8_000 });
    assertLess(beside.longestMs, Math.max(25, 4.5 * leastMs));
    assertLessOrEqual(beside.longestMs, quiet.longestMs);
    assertGreater(beside.rate, quiet.rate * 0.25);
  });
}

Deno.test("without live changes a mirror has all of its part of the window", () => {
  const clock = { monotonicMs: () => 0 } as Clock;
  const window = new MirrorWindow({ clock, windowBytes: limits.windowBytes });
  for (let i = 0; i < 1_000; i++) window.noteAck(500);
  assertEquals(window.opsMax, limits.mirrorWindowOps);
  window.noteLive();
  assertEquals(window.opsMax, limits.mirrorWindowOpsMin);
});

Deno.test("a mirror has all of its part again when live changes have stopped for a while", () => {
  let nowMs = 0;
  const window = new MirrorWindow({
    clock: { monotonicMs: () => nowMs } as Clock,
    windowBytes: limits.windowBytes,
  });
  window.noteLive();
  window.noteAck(1);
  for (let i = 0; i < 20; i++) window.noteAck(500);
  assertEquals(window.opsMax, limits.mirrorWindowOpsMin);
  nowMs = limits.liveLatelyMs + 1;
  assertEquals(window.opsMax, limits.mirrorWindowOps);
});
