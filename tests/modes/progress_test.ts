import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { progress } from "../../src/modes/progress.ts";
import { testIo } from "../testing/test_io.ts";

const MiB = 1024 * 1024;
const numbers = { files: 2_050, filesTotal: 5_000, bytesDone: 512 * MiB, bytesTotal: 1024 * MiB };

/** What a terminal shows in the end: a carriage return begins the line again. */
function shownLines(output: string): string[] {
  // deno-lint-ignore no-control-regex
  return output.split("\n").map((line) => line.split("\r").at(-1)!.replace(/\x1b\[K/g, ""));
}

Deno.test("progress() draws a bar over itself on a terminal", () => {
  const io = testIo({ terminalColumns: 120 });
  const shown = progress({ io, what: "mirror" });
  io.nowMs += 4_000;
  shown.update(numbers);
  assertEquals(
    shownLines(io.out.stdout),
    ["mirror [###############...............]  50%  2,050/5,000 files  512 MiB/1 GiB  128 MiB/s  4s left"],
  );
});

Deno.test("progress() fits every width and leaves the last column free", () => {
  for (let columns = 1; columns <= 200; columns++) {
    const io = testIo({ terminalColumns: columns });
    const shown = progress({ io, what: "mirror" });
    io.nowMs += 4_000;
    shown.update(numbers);
    const [line] = shownLines(io.out.stdout);
    assert(line.length <= Math.max(1, columns - 1), `${columns}: ${line.length}`);
  }
});

Deno.test("progress() draws at most ten times a second, the first time at once", () => {
  const io = testIo({ terminalColumns: 80 });
  const shown = progress({ io, what: "mirror" });
  for (let ms = 0; ms < 1_000; ms++) {
    shown.update({ ...numbers, files: ms });
    io.nowMs++;
  }
  assertEquals(io.out.stdout.split("\r").length - 1, 10);
  assertStringIncludes(io.out.stdout, " 0/5,000 files");
});

Deno.test("progress() clears the bar and ends with one line of totals, once", () => {
  const io = testIo({ terminalColumns: 80 });
  const shown = progress({ io, what: "restore" });
  shown.update(numbers);
  io.nowMs += 2_000;
  shown.done();
  shown.done();
  shown.update(numbers);
  assertEquals(shownLines(io.out.stdout), ["restore: 2,050 files, 512 MiB in 2s (256 MiB/s)", ""]);
});

Deno.test("progress() prints plain lines elsewhere, at most one in 5 s, none in a short run", () => {
  const io = testIo();
  const shown = progress({ io, what: "mirror" });
  shown.update(numbers);
  io.nowMs += 4_999;
  shown.update(numbers);
  assertEquals(io.out.stdout, "");
  io.nowMs += 1;
  shown.update(numbers);
  shown.update({ ...numbers, bytesDone: 513 * MiB });
  io.nowMs += 5_000;
  shown.update({ ...numbers, bytesDone: 1024 * MiB, files: 5_000 });
  shown.done();
  assertEquals(io.out.stdout.split("\n"), [
    "mirror: 2,050 of 5,000 files, 512 MiB of 1 GiB, 102 MiB/s, 5s left",
    "mirror: 5,000 of 5,000 files, 1 GiB of 1 GiB, 102 MiB/s",
    "mirror: 5,000 files, 1 GiB in 10s (102 MiB/s)",
    "",
  ]);
});

Deno.test("progress() does not fail on numbers that make no sense yet", () => {
  const io = testIo({ terminalColumns: 80 });
  const shown = progress({ io, what: "mirror" });
  shown.update({ files: 0, filesTotal: 0, bytesDone: 0, bytesTotal: 0 });
  io.nowMs += 200;
  shown.update({ files: 9, filesTotal: 3, bytesDone: 2 * MiB, bytesTotal: MiB });
  assertStringIncludes(shownLines(io.out.stdout)[0], "] 100%  9/3 files");
});
