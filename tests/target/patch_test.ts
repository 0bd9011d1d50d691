import { assertEquals, assertThrows } from "@std/assert";
import { utf8 } from "../../src/base/bytes.ts";
import { CorruptionError } from "../../src/base/errors.ts";
import type { OpenFile } from "../../src/sys/file_system.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import {
  appendExtent,
  applyJournal,
  beginJournal,
  closeJournal,
  readJournalEnd,
} from "../../src/target/patch.ts";
import { plain } from "../testing/receiver.ts";
import { tempDirectory } from "../testing/temp.ts";

/** A journal with two extents, and a live file to apply it to. */
async function prepared(): Promise<AsyncDisposable & { journal: OpenFile; live: OpenFile; size: number }> {
  const directory = await tempDirectory();
  const tree = systemFileSystem().openTree(directory.path);
  const [journal, live] = ["journal", "live"].map((name) => tree.open(name, { access: "create" }));
  live.write(utf8("0123456789"), 0);
  let size = beginJournal(journal);
  size = appendExtent(journal, size, { offset: 2, data: utf8("AB") });
  size = appendExtent(journal, size, { offset: 3, data: utf8("CD") });
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

Deno.test("applyJournal() writes extents in order and cuts the file; twice is the same as once", async () => {
  await using p = await prepared();
  assertEquals(applyJournal(p.journal, p.live), { size: 8, attributes: plain });
  assertEquals(contentsOf(p.live), "01ACD567");
  applyJournal(p.journal, p.live);
  assertEquals(contentsOf(p.live), "01ACD567");
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
