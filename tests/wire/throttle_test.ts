import { assert, assertEquals } from "@std/assert";
import { limits } from "../../src/base/limits.ts";
import { Throttle } from "../../src/wire/throttle.ts";

/** A clock that goes on when it is slept by. */
function sleepingClock() {
  const clock = {
    nowMs: 1_000,
    monotonicMs: () => clock.nowMs,
    sleep: (ms: number) => {
      clock.nowMs += ms;
      return Promise.resolve();
    },
  };
  return clock;
}

Deno.test("Throttle lets bytes pass at its rate, and nothing waits without one", async () => {
  const clock = sleepingClock();
  const throttle = new Throttle(clock, 100_000);
  const startMs = clock.nowMs;
  for (let i = 0; i < 1_000; i++) await throttle.pass(1_000);
  const tookMs = clock.nowMs - startMs;
  assert(Math.abs(tookMs - 10_000) <= limits.throttleBurstMs, `${tookMs} ms for a megabyte`);
  throttle.bytesPerSecond = undefined;
  assertEquals(throttle.pass(1e9), undefined);
  assertEquals([throttle.pace, throttle.bytesIn(10), throttle.bytesIn(10, 7)], [0, Infinity, 7]);
});

Deno.test("Throttle keeps to a rate that is changed, and makes up for no more than a moment", async () => {
  const clock = sleepingClock();
  const throttle = new Throttle(clock, 10_000);
  await throttle.pass(1_000);
  throttle.bytesPerSecond = 1_000_000;
  let startMs = clock.nowMs;
  for (let i = 0; i < 1_000; i++) await throttle.pass(1_000);
  assert(Math.abs(clock.nowMs - startMs - 1_000) <= limits.throttleBurstMs);
  // A long rest is no credit.
  clock.nowMs += 60_000;
  startMs = clock.nowMs;
  for (let i = 0; i < 1_000; i++) await throttle.pass(1_000);
  assert(clock.nowMs - startMs >= 1_000 - limits.throttleBurstMs);
  assertEquals(throttle.bytesIn(20), 20_000);
});
