/**
 * What is known of a line's speed, from writes and echoes told with their times; and what comes of it on real sockets.
 * @module
 */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { LineRate } from "../../src/wire/line_rate.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** The system's buffer is full, and drains at `rate` bytes per millisecond. */
function writeToFullBuffer(
  line: LineRate,
  { rate, size, fromMs }: Record<"rate" | "size" | "fromMs", number>,
) {
  let nowMs = fromMs;
  line.wroteUntilFull(3 * MiB, nowMs); // swallowed at once
  for (let left = size; left > 0; left -= 128 * KiB) {
    nowMs += 128 * KiB / rate;
    line.wroteUntilFull(128 * KiB, nowMs);
  }
}

Deno.test("LineRate knows nothing before the first full buffer or echo, whatever was swallowed", () => {
  const line = new LineRate();
  line.wroteAll(4 * MiB);
  assertEquals(line.pace, undefined);
  line.wroteUntilFull(2 * MiB, 5);
  assertEquals(line.pace, undefined, "one full buffer is no distance");
});

Deno.test("LineRate takes what left between two full buffers, not what the first one swallowed", () => {
  const line = new LineRate();
  writeToFullBuffer(line, { rate: 1_000, size: MiB, fromMs: 5 });
  assertAlmostEquals(line.pace!, 1 / 1_000, 1e-9);
});

Deno.test("LineRate does not count the time in which there was nothing to write", () => {
  const line = new LineRate();
  writeToFullBuffer(line, { rate: 50_000, size: MiB, fromMs: 0 });
  const { pace } = line;
  line.ranDry();
  writeToFullBuffer(line, { rate: 50_000, size: 128 * KiB, fromMs: 60_000 });
  assertAlmostEquals(line.pace!, pace!, 1e-9);
});

Deno.test("LineRate thinks ever better of a line that takes everything", () => {
  const line = new LineRate();
  writeToFullBuffer(line, { rate: 1_000, size: MiB, fromMs: 0 });
  let taken = 0;
  while (line.pace! > 1 / 10_000) {
    line.wroteAll(MiB);
    taken += MiB;
  }
  assert(taken > 50 * MiB && taken < 200 * MiB, `${taken}`);
});

/** One ping behind `size` bytes whose pong comes after `tookMs`. */
function echo(line: LineRate, { size, tookMs, nowMs }: Record<"size" | "tookMs" | "nowMs", number>): number {
  line.sent(size);
  assert(line.wantsPing);
  line.pinged(nowMs);
  assert(!line.wantsPing, "one at a time");
  line.ponged(nowMs + tookMs);
  return nowMs + tookMs;
}

Deno.test("LineRate learns a slow line from an echo while all writes are swallowed", () => {
  const line = new LineRate();
  let nowMs = echo(line, { size: 0, tookMs: 20, nowMs: 0 });
  assertEquals(line.pace, undefined, "the round trip alone says nothing");
  assert(!line.wantsPing);
  line.wroteAll(256 * KiB);
  nowMs = echo(line, { size: 256 * KiB, tookMs: 20 + 5 + 256, nowMs });
  assertAlmostEquals(line.pace!, 1 / KiB, 1e-9);
  line.sent(256 * KiB);
  assert(!line.wantsPing, "echoes become rarer");
});

Deno.test("LineRate blames no line for processors that were busy, here or there", () => {
  const line = new LineRate();
  let nowMs = echo(line, { size: 0, tookMs: 1, nowMs: 0 });
  line.sent(512 * KiB);
  line.pinged(nowMs);
  line.wasBusy(100);
  line.ponged(nowMs += 106);
  assertEquals(line.pace, 0);
  nowMs = echo(line, { size: 4 * MiB, tookMs: 50, nowMs });
  assertEquals(line.pace, 0, "the peer had to decompress");
});

Deno.test("LineRate lets the slower witness count, and a pong that nobody asked for say nothing", () => {
  const line = new LineRate();
  line.ponged(1);
  echo(line, { size: 0, tookMs: 1, nowMs: 1 });
  echo(line, { size: MiB, tookMs: 2, nowMs: 10 });
  assertEquals(line.pace, 0);
  writeToFullBuffer(line, { rate: 2_000, size: MiB, fromMs: 20 });
  assertAlmostEquals(line.pace!, 1 / 2_000, 1e-9);
});
