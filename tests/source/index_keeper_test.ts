import { assertEquals } from "@std/assert";
import { TransientError } from "../../src/base/errors.ts";
import { createLog, silentLog } from "../../src/base/log.ts";
import { Index } from "../../src/source/index.ts";
import { IndexKeeper } from "../../src/source/index_keeper.ts";
import { type IndexStore, openIndexStore } from "../../src/store/index_store.ts";
import { tempDirectory } from "../testing/temp.ts";
import { someHeld } from "./index_model.ts";

/** What a new process finds of an index. */
function reopen(path: string): { stream: unknown; savedSequence: number; paths: string[] } {
  const keeper = new IndexKeeper(openIndexStore(path), silentLog);
  const index = new Index();
  try {
    return {
      stream: keeper.load(index),
      savedSequence: keeper.savedSequence,
      paths: index.children("").sort(),
    };
  } finally {
    keeper.close();
  }
}

Deno.test("IndexKeeper finds nothing before the first save, also when a stream has begun", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/index.sqlite`;
  const nothing = { stream: undefined, savedSequence: 0, paths: [] };
  assertEquals(reopen(path), nothing);
  const keeper = new IndexKeeper(openIndexStore(path), silentLog);
  keeper.begin("s", "r");
  keeper.close();
  assertEquals(reopen(path), nothing);
});

Deno.test("IndexKeeper saves what is acked and not what is on its way", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/index.sqlite`;
  const keeper = new IndexKeeper(openIndexStore(path), silentLog);
  const index = new Index();
  keeper.begin("s", "r");
  index.set("acked", someHeld("file", 1), 1);
  index.set("flying", someHeld("file", 2), 2);
  assertEquals(keeper.save(index, 1), 1);
  assertEquals([keeper.savedSequence, keeper.save(index, 1)], [1, undefined], "nothing more is to be saved");
  const stream = { streamId: "s", replicaId: "r" };
  assertEquals(reopen(path), { stream, savedSequence: 1, paths: ["acked"] });
  assertEquals(keeper.save(index, 2), 2);
  keeper.close();
  assertEquals(reopen(path), { stream, savedSequence: 2, paths: ["acked", "flying"] });
});

Deno.test("IndexKeeper forgets the old stream when a new one begins, before anything of it is saved", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/index.sqlite`;
  const keeper = new IndexKeeper(openIndexStore(path), silentLog);
  const index = new Index();
  keeper.begin("s", "r");
  index.set("a", someHeld("file", 1), 1);
  keeper.save(index, 1);
  index.clear();
  keeper.begin("t", "r");
  assertEquals(keeper.savedSequence, 0);
  keeper.close();
  assertEquals(reopen(path), { stream: undefined, savedSequence: 0, paths: [] });
});

Deno.test("IndexKeeper warns and goes on when the disk is full, and the next save writes it all", () => {
  let fails = true;
  const lines: string[] = [];
  const saves: unknown[] = [];
  const store = {
    reset() {},
    save(_index: Index, { meta }: { meta: unknown }) {
      if (fails) throw new TransientError("Cannot save index: the disk is full");
      saves.push(meta);
    },
  } as unknown as IndexStore;
  const keeper = new IndexKeeper(store, createLog({ write: (line) => lines.push(line) }));
  const index = new Index();
  keeper.begin("s", "r");
  index.set("a", someHeld("file", 1), 1);
  assertEquals([keeper.save(index, 1), keeper.savedSequence, lines.length], [undefined, 0, 1]);
  fails = false;
  assertEquals(keeper.save(index, 1), 1);
  assertEquals(saves, [{ streamId: "s", replicaId: "r" }]);
});
