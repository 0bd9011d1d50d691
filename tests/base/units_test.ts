import { assertEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { UsageError } from "../../src/base/errors.ts";
import {
  durationOption,
  formatDuration,
  formatRate,
  formatSize,
  parseDuration,
  parseRate,
  parseSize,
  sizeOption,
} from "../../src/base/units.ts";

Deno.test("parseSize() reads plain bytes and binary units", () => {
  const table: [string, number][] = [
    ["0", 0],
    ["1", 1],
    ["4096", 4096],
    ["64K", 65_536],
    ["64k", 65_536],
    ["10M", 10_485_760],
    ["1G", 1_073_741_824],
    ["2T", 2_199_023_255_552],
    ["8191T", 8191 * 1024 ** 4],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
  ];
  for (const [text, bytes] of table) assertEquals(parseSize(text), bytes, text);
});

Deno.test("parseSize() refuses what is not a size and says what is", () => {
  for (
    const text of [
      "",
      " ",
      "K",
      "-1",
      "+1",
      "1.5G",
      "1 K",
      "1KB",
      "0x10",
      "1e3",
      "٣",
      "8192T",
      "9007199254740992",
    ]
  ) {
    assertThrows(() => parseSize(text), UsageError, `Cannot read size "${text}": it must be`);
  }
});

Deno.test("parseDuration() reads each unit and refuses a number without one", () => {
  const table: [string, number][] = [
    ["0ms", 0],
    ["500ms", 500],
    ["30s", 30_000],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["7d", 604_800_000],
  ];
  for (const [text, ms] of table) assertEquals(parseDuration(text), ms, text);
  for (const text of ["", "5", "1.5s", "-1s", "5M", "5 s", "1w", "1h30m", "99999999999999d"]) {
    assertThrows(() => parseDuration(text), UsageError, `Cannot read duration "${text}": it must be`);
  }
});

Deno.test("parseRate() reads a size each second", () => {
  assertEquals(parseRate("10M"), 10_485_760);
  assertThrows(() => parseRate("10M/s"), UsageError, `Cannot read rate "10M/s"`);
});

Deno.test("sizeOption() and durationOption() are read back exactly", () => {
  fc.assert(fc.property(fc.maxSafeNat(), (number) => {
    assertEquals(parseSize(sizeOption(number)), number);
    assertEquals(parseDuration(durationOption(number)), number);
  }));
  assertEquals([sizeOption(0), sizeOption(1000), sizeOption(65_536)], ["0", "1000", "64K"]);
  assertEquals([durationOption(0), durationOption(90_000), durationOption(120_000)], ["0ms", "90s", "2m"]);
});

Deno.test("formatSize() changes its unit exactly where the rounded number would reach 1024", () => {
  const table: [number, string][] = [
    [0, "0 B"],
    [1, "1 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [99.94 * 1024, "99.9 KiB"],
    [99.96 * 1024, "100 KiB"],
    [1023.4 * 1024, "1023 KiB"],
    [1023.5 * 1024, "1 MiB"],
    [1024 ** 2 - 1, "1 MiB"],
    [1.25 * 1024 ** 3, "1.3 GiB"],
    [5000 * 1024 ** 4, "5000 TiB"],
  ];
  for (const [bytes, text] of table) assertEquals(formatSize(bytes), text, String(bytes));
  assertEquals(formatRate(1024.4), "1 KiB/s");
});

Deno.test("formatDuration() never shows a unit beyond its end", () => {
  const table: [number, string][] = [
    [0, "0ms"],
    [999.4, "999ms"],
    [999.5, "1s"],
    [3_240, "3.2s"],
    [9_949, "9.9s"],
    [9_950, "10s"],
    [59_499, "59s"],
    [59_500, "1m"],
    [245_000, "4m 05s"],
    [3_599_499, "59m 59s"],
    [3_599_500, "1h"],
    [7_800_000, "2h 10m"],
    [86_399_499, "23h 59m"],
    [86_399_500, "1d"],
    [608_400_000, "7d 01h"],
  ];
  for (const [ms, text] of table) assertEquals(formatDuration(ms), text, String(ms));
});
