import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { CorruptionError, SystemError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { Catalog, type GroupRecord } from "../../src/store/catalog.ts";
import { lacks } from "../testing/needs.ts";
import { tempDirectory, tmpfsMount } from "../testing/temp.ts";

const nothing: GroupRecord = { durableSequence: 1, touched: [], failures: [], transfers: undefined };

/** Opens the catalog of a directory, and closes it again. */
function withCatalog<T>(directory: string, use: (catalog: Catalog) => T): T {
  const catalog = Catalog.open(`${directory}/catalog.sqlite`);
  try {
    return use(catalog);
  } finally {
    catalog.close();
  }
}

Deno.test("Catalog keeps its identity and everything that a group leaves behind", async () => {
  await using directory = await tempDirectory();
  const touched = [
    { path: "", sequence: 1, recursive: false },
    { path: "a\udcff", sequence: 2, recursive: true },
    { path: "b", sequence: 3, recursive: false },
  ];
  const failures = [{ sequence: 3, path: "b\udc80", op: "file", code: "EACCES", reason: "Cannot" }];
  const transfers = [
    {
      id: 7,
      path: "t",
      base: "patch" as const,
      staged: "p1",
      identity: "12",
      size: 99,
      failureCode: "",
      failureReason: "",
    },
  ];
  const { replicaId, receivedAt } = withCatalog(directory.path, (catalog) => {
    catalog.begin("stream");
    catalog.setMeta({ clean: false, rootIdentity: "5" });
    catalog.record({ durableSequence: 3, touched, failures, transfers });
    return catalog.meta;
  });
  withCatalog(directory.path, (catalog) => {
    assertEquals(catalog.meta, {
      replicaId,
      streamId: "stream",
      durableSequence: 3,
      clean: false,
      compareAll: false,
      rootIdentity: "5",
      receivedAt,
    });
    assertMatch(receivedAt, /^20.*Z$/);
    assertEquals(catalog.touched(0, undefined, 10), touched);
    assertEquals(catalog.touched(1, "", 1), [touched[1]]);
    assertEquals(catalog.touched(2, undefined, 10), [touched[2]]);
    assertEquals([catalog.failures(0), catalog.failures(3)], [failures, []]);
    assertEquals(catalog.transfers(), transfers);
    catalog.begin("another");
    assertEquals(catalog.touched(0, undefined, 10), []);
    assertEquals([catalog.failures(0), catalog.transfers()], [[], []]);
    assertEquals([catalog.meta.durableSequence, catalog.meta.replicaId], [0, replicaId]);
  });
});

Deno.test("Catalog.record() ends announcements of its group, and not those behind it", async () => {
  await using directory = await tempDirectory();
  withCatalog(directory.path, (catalog) => {
    const exchange = (sequence: number) => ({ sequence, fromIdentity: "1", toIdentity: "2" });
    const touched = [{ path: "x", sequence: 9, recursive: true }];
    catalog.announce({
      touched,
      patches: [{ journal: "p1", path: "f\udcff" }],
      exchanges: [exchange(4), exchange(9)],
    });
    assertEquals(catalog.patches(), [{ journal: "p1", path: "f\udcff" }]);
    assertEquals(catalog.touched(8, undefined, 10), touched);
    catalog.record({ ...nothing, durableSequence: 4 });
    assertEquals([catalog.patches(), catalog.exchange(4)], [[], undefined]);
    assertEquals(catalog.exchange(9)?.toIdentity, "2");
  });
});

Deno.test("Catalog.forgetTouched() takes effect with the next transaction, and at once for readers", async () => {
  await using directory = await tempDirectory();
  withCatalog(directory.path, (catalog) => {
    const touched = [1, 2, 3].map((sequence) => ({ path: `${sequence}`, sequence, recursive: false }));
    catalog.record({ ...nothing, durableSequence: 3, touched });
    catalog.forgetTouched(2);
    assertEquals(catalog.touched(0, undefined, 10).map(({ path }) => path), ["3"]);
    catalog.record({ ...nothing, durableSequence: 4 });
  });
  withCatalog(directory.path, (catalog) => {
    assertEquals(catalog.touched(0, undefined, 10).map(({ path }) => path), ["3"]);
  });
});

Deno.test("Catalog turns too many failures into one fact: compare everything", async () => {
  await using directory = await tempDirectory();
  withCatalog(directory.path, (catalog) => {
    const failures = [...Array(limits.failuresKeptMax + 1).keys()]
      .map((i) => ({ sequence: i + 1, path: `${i}`, op: "file", code: "EIO", reason: "" }));
    catalog.record({ ...nothing, failures, touched: [{ path: "a", sequence: 1, recursive: false }] });
    assertEquals([catalog.meta.compareAll, catalog.failures(0), catalog.touched(0, undefined, 9)], [
      true,
      [],
      [],
    ]);
  });
});

Deno.test("Catalog.open() refuses what is no catalog, or one of another format, and names the file", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/catalog.sqlite`;
  await Deno.writeTextFile(path, "no database at all ".repeat(300));
  assertThrows(() => Catalog.open(path), CorruptionError, "catalog.sqlite");
  await Deno.remove(path);
  withCatalog(directory.path, () => {});
  const database = new DatabaseSync(path);
  database.exec("UPDATE meta SET value = '99' WHERE name = 'format'");
  database.close();
  assertThrows(() => Catalog.open(path), CorruptionError, 'its format is "99"');
  await Deno.remove(path);
  const other = new DatabaseSync(path);
  other.exec("CREATE TABLE meta (x)");
  other.close();
  assertThrows(() => Catalog.open(path), CorruptionError, "catalog.sqlite");
});

Deno.test({
  name: "Catalog tells a full disk as ENOSPC and stands as it was before",
  ignore: lacks("linux", "root"),
  async fn() {
    await using mount = await tmpfsMount({ sizeBytes: 512 * 1024 });
    withCatalog(mount.path, (catalog) => {
      const touched = [...Array(5_000).keys()].map((i) => ({
        path: `${i}${"x".repeat(200)}`,
        sequence: i + 1,
        recursive: false,
      }));
      const error = assertThrows(() => catalog.record({ ...nothing, durableSequence: 5_000, touched }));
      assert(error instanceof SystemError && error.code === "ENOSPC", String(error));
      assertEquals(catalog.meta.durableSequence, 0);
      catalog.record({ ...nothing, durableSequence: 2 });
    });
    withCatalog(mount.path, (catalog) => assertEquals(catalog.meta.durableSequence, 2));
  },
});
