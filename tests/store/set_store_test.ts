import { assertEquals, assertThrows } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { CorruptionError, UsageError } from "../../src/base/errors.ts";
import type { SetLine } from "../../src/rules/set_lines.ts";
import { SetKeeper } from "../../src/source/set_keeper.ts";
import { openSetStore } from "../../src/store/set_store.ts";
import { tempDirectory } from "../testing/temp.ts";

const lines: SetLine[] = [
  { text: "# why\udcff", origin: 'file "/r"', isGiven: true },
  { text: "!*.log", origin: "set add", isGiven: false },
];

Deno.test("SetStore keeps lines and what was given, whole or not at all", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/set.sqlite`;
  {
    using store = openSetStore(path);
    assertEquals([store.lines(), store.meta("given")], [[], undefined]);
    store.save(lines, "x\ny");
    store.save(lines.toReversed());
    store.saveMeta("oneFileSystem", "true");
    // A line that cannot be stored takes the whole change back.
    const broken = { text: "a", origin: "b", isGiven: null } as unknown as SetLine;
    assertThrows(() => store.save([lines[0], { ...broken, text: undefined as unknown as string }], "z"));
    assertEquals(store.lines(), lines.toReversed());
  }
  using store = openSetStore(path);
  assertEquals(store.lines(), lines.toReversed());
  assertEquals([store.meta("given"), store.meta("oneFileSystem")], ["x\ny", "true"]);
});

Deno.test("openSetStore() refuses what is no set, and says so", async () => {
  await using directory = await tempDirectory();
  const garbage = `${directory.path}/garbage`;
  Deno.writeTextFileSync(
    garbage,
    "not a database, but long enough to be looked at as if it were one".repeat(20),
  );
  assertThrows(() => openSetStore(garbage), CorruptionError);
  const other = `${directory.path}/other`;
  using database = new DatabaseSync(other);
  database.exec("CREATE TABLE t (x)");
  assertThrows(() => openSetStore(other), CorruptionError, "another program's database");
});

Deno.test("SetKeeper: what is given at a start counts when it is another than at the last start", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/set.sqlite`;
  const start = (...given: string[]) => {
    using store = openSetStore(path);
    const keeper = new SetKeeper(store);
    const isChanged = keeper.take(given.map((text) => ({ text, origin: "command line" })));
    return { isChanged, texts: keeper.lines.map(({ text }) => text) };
  };
  const change = (kind: "add" | "remove", rule: string) => {
    using store = openSetStore(path);
    new SetKeeper(store).change({ kind, rule });
  };
  assertEquals(start(), { isChanged: false, texts: [] });
  assertEquals(start("a"), { isChanged: true, texts: ["a"] });
  change("add", "!b");
  assertEquals(start("a"), { isChanged: false, texts: ["a", "!b"] });
  assertEquals(start(), { isChanged: false, texts: ["a", "!b"] });
  assertEquals(start("c", "d"), { isChanged: true, texts: ["c", "d", "!b"] });
  // What was removed by hand does not come back with the same command line.
  change("remove", "c");
  assertEquals(start("c", "d"), { isChanged: false, texts: ["d", "!b"] });
  assertThrows(() => start("size>"), UsageError);
  assertEquals(start("c", "d").texts, ["d", "!b"]);
});
