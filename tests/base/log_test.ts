import { assertEquals } from "@std/assert";
import { systemClock } from "../../src/base/clock.ts";
import { createLog, type LogLevel, withoutSecrets } from "../../src/base/log.ts";

function logLines(level: LogLevel, write: (log: ReturnType<typeof createLog>) => void): string[] {
  const lines: string[] = [];
  write(createLog({
    level,
    write: (text) => lines.push(text),
    clock: { ...systemClock, nowMs: () => Date.UTC(2026, 10, 22, 10, 20, 51, 123) },
  }));
  return lines;
}

Deno.test("createLog() writes one line an entry, with time and level", () => {
  assertEquals(logLines("info", (log) => log.warn("Cannot go on: disk full")), [
    "2026-11-22T10:20:51.123Z warn  Cannot go on: disk full\n",
  ]);
});

Deno.test("createLog() leaves out what is below its level", () => {
  const lines = logLines("warn", (log) => {
    log.debug("d");
    log.info("i");
    log.warn("w");
    log.error("e");
  });
  assertEquals(lines.map((line) => line.slice(25)), ["warn  w\n", "error e\n"]);
});

Deno.test("createLog() keeps a name with a line feed on one line", () => {
  const [line] = logLines("info", (log) => log.info("a\nb\x1b[31m"));
  assertEquals(line.slice(25), "info  a\\nb\\u001b[31m\n");
});

Deno.test("createLog() never writes a join token", () => {
  const [line] = logLines("info", (log) => log.info("joined with us1-c2VjcmV0_-x, then us1-b"));
  assertEquals(line.slice(31), "joined with us1-…, then us1-…\n");
  assertEquals(withoutSecrets("usk1-public stays"), "usk1-public stays");
});
