import { assertEquals, assertThrows } from "@std/assert";
import { createHash } from "node:crypto";
import { ProtocolError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import type { DigestedEntry, DigestRange, ListedEntry } from "../../src/wire/message.ts";
import { file, Harness, mkdir, symlink } from "../testing/receiver.ts";
import { tempDirectory } from "../testing/temp.ts";

/** Asks, and returns the only answer. */
function digest(h: Harness, ranges: DigestRange[]): { nowNs: bigint; entries: DigestedEntry[] } {
  const [answer, ...others] = h.ask({ type: "digest", request: 9, ranges });
  assertEquals(others, []);
  if (answer.type !== "digests") throw new Error(`"${answer.type}" came`);
  assertEquals(answer.request, 9);
  return answer;
}

function sha256(bytes: string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

Deno.test("digestEntries() digests ranges of files, and tells attributes and the time of the last change", async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path });
  h.hello();
  h.apply(mkdir("d"), file("d/f", "0123456789"), symlink("l", "d/f"));
  Deno.writeTextFileSync(`${directory.path}/live/.understudy`, "ours");
  const { nowNs, entries } = digest(h, [
    { path: "", start: 0, end: 0 },
    { path: "d/f", start: 0, end: 10 },
    { path: "d/f", start: 4, end: 4_000 },
    { path: "d/f", start: 0, end: 0 },
    { path: "absent", start: 0, end: 1 },
    { path: "d", start: 0, end: 1 },
    { path: "l", start: 0, end: 1 },
    { path: ".understudy", start: 0, end: 1 },
  ]);
  assertEquals(entries.map(({ path }) => path), ["", "d/f", "d/f", "d/f", "d", "l"]);
  assertEquals(entries.map((entry) => entry.digest?.toHex()), [
    undefined,
    sha256("0123456789"),
    sha256("456789"),
    undefined,
    undefined,
    undefined,
  ]);
  assertEquals([entries[1].kind, entries[1].size, entries[5].linkTarget], ["file", 10, "d/f"]);
  const { ctime } = Deno.lstatSync(`${directory.path}/live/d/f`);
  assertEquals(Number(entries[1].ctimeNs / 1_000_000_000n), Math.floor(ctime!.getTime() / 1_000));
  assertEquals(entries[1].ctimeNs <= nowNs + 1_000_000n, true);
});

Deno.test("digestEntries() refuses more than one turn may take", async () => {
  await using directory = await tempDirectory();
  const refused = (ranges: DigestRange[]) => {
    using h = new Harness({ directory: directory.path });
    h.hello();
    assertThrows(() => digest(h, ranges), ProtocolError, "out of bounds");
  };
  const half = limits.signatureRangeSize / 2;
  refused([{ path: "a", start: 0, end: half }, { path: "b", start: 1, end: half + 2 }]);
  refused([{ path: "a", start: 1, end: 0 }]);
  refused(
    Array.from({ length: limits.digestPathsMax + 1 }, (_, i) => ({ path: `${i}`, start: 0, end: 0 })),
  );
});

Deno.test("listDirectory() lists a directory and what is in it, not below, and an entry that is none alone", async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path });
  h.hello();
  h.apply(mkdir("d"), mkdir("d/e"), file("d/e/f", "below"), file("d/g", "x"), symlink("l", "d"));
  Deno.mkdirSync(`${directory.path}/live/.understudy`);
  const list = (path: string): ListedEntry[] =>
    h.ask({ type: "list-directory", request: 1, path }).flatMap((message) =>
      message.type === "listing" ? message.entries : []
    );
  const paths = (path: string) => list(path).map((entry) => entry.path).sort();
  assertEquals(paths("d"), ["d", "d/e", "d/g"]);
  assertEquals(paths(""), ["", "d", "l"]);
  assertEquals(paths("d/g"), ["d/g"]);
  assertEquals(paths("l"), ["l"]);
  assertEquals(paths("absent"), []);
});
