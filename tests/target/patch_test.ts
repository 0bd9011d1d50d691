import { assert, assertEquals, assertThrows } from "@std/assert";
import { utf8 } from "../../src/base/bytes.ts";
import { CorruptionError } from "../../src/base/errors.ts";
import type { OpenFile } from "../../src/sys/file_system.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import {
  appendExtent,
  appendHole,
  applyJournal,
  beginJournal,
  closeJournal,
  readJournalEnd,
} from "../../src/target/patch.ts";
import { plain } from "../testing/receiver.ts";
import { tempDirectory } from "../testing/temp.ts";

/** A journal with two extents and a hole, and a live file to apply it to. */
async function prepared(): Promise<AsyncDisposable & { journal: OpenFile; live: OpenFile; size: number }> {
  const directory = await tempDirectory();
  const tree = systemFileSystem().openTree(directory.path);
  const [journal, live] = ["journal", "live"].map((name) => tree.open(name, { access: "create" }));
  live.write(utf8("0123456789"), 0);
  let size = beginJournal(journal);
  size = appendExtent(journal, size, { offset: 2, data: utf8("AB") });
  size = appendExtent(journal, size, { offset: 3, data: utf8("CD") });
  size = appendHole(journal, size, { offset: 4, size: 2 });
  size = closeJournal(journal, size, { size: 8, attributes: plain });
  return {
    journal,
    live,
    size,
    async [Symbol.asyncDispose]() {
      for (const each of [journal, live, tree]) each.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

function contentsOf(file: OpenFile): string {
  const buffer = new Uint8Array(100);
  return new TextDecoder().decode(buffer.subarray(0, file.read(buffer, 0)));
}

Deno.test("applyJournal() writes extents and holes in order and cuts the file; twice is the same as once", async () => {
  await using p = await prepared();
  assertEquals(applyJournal(p.journal, p.live), { size: 8, attributes: plain });
  assertEquals(contentsOf(p.live), "01AC\0\x0067");
  applyJournal(p.journal, p.live);
  assertEquals(contentsOf(p.live), "01AC\0\x0067");
});

Deno.test("readJournalEnd() takes a journal cut anywhere, with any byte flipped, or with a tail as not complete", async () => {
  await using p = await prepared();
  const whole = new Uint8Array(p.size);
  p.journal.read(whole, 0);
  for (let size = 0; size < whole.length; size++) {
    p.journal.truncate(size);
    assertEquals(readJournalEnd(p.journal), undefined, `cut at ${size}`);
  }
  p.journal.write(whole, 0);
  assertEquals(readJournalEnd(p.journal)?.size, 8);
  for (let at = 0; at < whole.length; at++) {
    const flipped = whole.slice();
    flipped[at] ^= 0x10;
    p.journal.write(flipped, 0);
    assertEquals(readJournalEnd(p.journal), undefined, `flipped at ${at}`);
  }
  p.journal.write(whole, 0);
  p.journal.write(Uint8Array.of(0), whole.length);
  assertEquals(readJournalEnd(p.journal), undefined, "a tail");
  assertThrows(() => applyJournal(p.journal, p.live), CorruptionError);
});

Deno.test("appendExtent() overwrites what a replay finds behind the size that counts", async () => {
  await using p = await prepared();
  let size = appendExtent(p.journal, 8, { offset: 0, data: utf8("Z") });
  assertEquals(readJournalEnd(p.journal), undefined);
  size = closeJournal(p.journal, size, { size: 3, attributes: {} });
  assertEquals(p.journal.stat().size, size);
  applyJournal(p.journal, p.live);
  assertEquals(contentsOf(p.live), "Z12");
});

Deno.test("applyJournal() makes holes up to the end of the file, whatever comes before or behind them", async () => {
  await using directory = await tempDirectory();
  using tree = systemFileSystem().openTree(directory.path);
  using journal = tree.open("journal", { access: "create" });
  using live = tree.open("live", { access: "create" });
  const KiB = 1024;
  live.write(new Uint8Array(512 * KiB).fill(7), 0);
  let size = beginJournal(journal);
  size = appendHole(journal, size, { offset: 64 * KiB, size: 2 ** 40 });
  size = appendExtent(journal, size, { offset: 768 * KiB, data: new Uint8Array(64 * KiB).fill(8) });
  size = appendHole(journal, size, { offset: 800 * KiB, size: 8 * KiB });
  closeJournal(journal, size, { size: 2 ** 34, attributes: {} });
  for (const round of ["once", "twice"]) {
    applyJournal(journal, live);
    const expected = new Uint8Array(1024 * KiB).fill(7, 0, 64 * KiB).fill(8, 768 * KiB, 832 * KiB);
    const found = new Uint8Array(expected.length);
    live.read(found, 0);
    assertEquals(found, expected.fill(0, 800 * KiB, 808 * KiB), round);
    assertEquals(live.stat().size, 2 ** 34, round);
    assert(Deno.lstatSync(`${directory.path}/live`).blocks! * 512 <= 128 * KiB, round);
  }
});
