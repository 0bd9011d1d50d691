import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { DatabaseSync } from "node:sqlite";
import { CommandError, CorruptionError } from "../../src/base/errors.ts";
import { isWithin } from "../../src/base/path.ts";
import { Index } from "../../src/source/index.ts";
import { openIndexStore, removeIndexStore } from "../../src/store/index_store.ts";
import {
  change,
  changeIndex,
  changeModel,
  contentsOf,
  isAllowed,
  type Model,
  someHeld,
  someSignature,
} from "../source/index_model.ts";

function withFile(test: (path: string) => void): () => void {
  return () => {
    const directory = Deno.makeTempDirSync({ prefix: "index_store_" });
    try {
      test(`${directory}/index.sqlite`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  };
}

/** What a process that starts now would load; the first one is as good as dead. */
function loadAgain(path: string): { index: Index; sequence: number } {
  using store = openIndexStore(path);
  const index = new Index();
  store.load(index);
  return { index: detach(index), sequence: index.acknowledged };
}

/** Reads all signatures while the store is still open, so that the index can be asked afterwards. */
function detach(index: Index): Index {
  contentsOf(index);
  return index;
}

const contentsAgain = (path: string) => contentsOf(loadAgain(path).index);

Deno.test(
  "save() and load() keep every attribute, name and signature",
  withFile((path) => {
    const index = new Index();
    index.set("", someHeld("directory", 6), 0);
    index.set("\udcff", someHeld("directory", 1), 0);
    index.set("\udcff/link", someHeld("symlink", 2), 0);
    index.set("\udcff/untrusted", someHeld("file", 3), 0);
    index.set("\udcff/file", { ...someHeld("file", 4), ino: 2n ** 64n - 1n, dev: 2 ** 40 }, 0);
    index.setSignature("\udcff/file", someSignature(4), 0);
    using store = openIndexStore(path);
    const result = store.save(index, { durable: true, meta: { streamId: "s", targetId: "t" } });
    assertEquals(result, { rowsWritten: 5, rowsDeleted: 0, signaturesWritten: 1 });
    const { index: loaded } = loadAgain(path);
    assertEquals(contentsOf(loaded), contentsOf(index));
    assertEquals(loaded.get(""), index.get(""));
    assertEquals(loaded.size, 5);
    assertEquals([store.meta("streamId"), store.meta("targetId"), store.meta("other")], [
      "s",
      "t",
      undefined,
    ]);
  }),
);

Deno.test(
  "save() writes nothing twice, one row for a move, and only what was acked",
  withFile((path) => {
    const index = new Index();
    index.set("d", someHeld("directory", 1), 1);
    for (let i = 0; i < 100; i++) index.set(`d/${i}`, someHeld("file", 1), 1);
    using store = openIndexStore(path);
    assertEquals(store.save(index).rowsWritten, 0);
    index.acknowledge(1);
    assertEquals(store.save(index).rowsWritten, 101);
    assertEquals(store.save(index).rowsWritten, 0);
    index.move("d", "e", 2);
    assertEquals(store.save(index).rowsWritten, 0);
    index.acknowledge(2);
    assertEquals(store.save(index), { rowsWritten: 1, rowsDeleted: 0, signaturesWritten: 0 });
    index.remove("e", 3);
    index.set("e", someHeld("directory", 1), 4);
    assertEquals(store.save(index).rowsDeleted, 0);
    index.acknowledge(3);
    assertEquals(store.save(index).rowsDeleted, 101);
    assertEquals(contentsAgain(path).size, 0);
    index.acknowledge(4);
    assertEquals(store.save(index), { rowsWritten: 1, rowsDeleted: 0, signaturesWritten: 0 });
    assertEquals(contentsAgain(path), contentsOf(index));
  }),
);

Deno.test(
  "save() writes the acked state of a file that changed again since",
  withFile((path) => {
    const index = new Index();
    using store = openIndexStore(path);
    index.set("f", someHeld("file", 1), 1);
    index.setSignature("f", someSignature(1), 1);
    index.set("f", someHeld("file", 2), 2);
    index.setSignature("f", someSignature(2), 2);
    index.move("f", "g", 3);
    for (let acked = 1; acked <= 3; acked++) {
      index.acknowledge(acked);
      store.save(index);
      const number = Math.min(acked, 2);
      const expected = new Map([[acked < 3 ? "f" : "g", {
        held: someHeld("file", number),
        signature: someSignature(number),
      }]]);
      assertEquals(contentsAgain(path), expected);
      assertEquals(store.meta("savedSequence"), String(acked));
    }
  }),
);

Deno.test(
  "a change with a lower sequence than one before it waits for that one",
  withFile((path) => {
    const index = new Index();
    using store = openIndexStore(path);
    index.set("d", someHeld("directory", 1), 5);
    index.set("d/f", someHeld("file", 1), 3);
    index.acknowledge(3);
    store.save(index);
    assertEquals(contentsAgain(path).size, 0);
    index.acknowledge(5);
    store.save(index);
    assertEquals(contentsAgain(path), contentsOf(index));
    index.move("d/f", "g", 8);
    index.set("g", someHeld("file", 2), 7);
    index.acknowledge(7);
    store.save(index);
    assertEquals(contentsAgain(path).get("d/f")?.held, someHeld("file", 1));
    assertEquals(index.pendingCount, 1);
  }),
);

Deno.test(
  "bad news (sequence 0) is saved at once even while changes of the same file are pending",
  withFile((path) => {
    const index = new Index();
    using store = openIndexStore(path);
    index.set("d", someHeld("directory", 1), 0);
    for (const name of ["unpending", "pending", "lost", "d/below"]) index.set(name, someHeld("file", 1), 0);
    store.save(index);
    index.set("pending", someHeld("file", 2), 10);
    index.set("unpending", { ...someHeld("file", 1), trusted: false }, 0);
    index.set("pending", { ...someHeld("file", 2), trusted: false }, 0);
    index.remove("lost", 0);
    index.move("d", "moved", 0);
    store.save(index);
    const loaded = contentsAgain(path);
    assertEquals(loaded.size, 5);
    for (const [path, { held }] of loaded) assertEquals(held.trusted, false, path);
    index.acknowledge(10);
    store.save(index);
    assertEquals(contentsAgain(path), contentsOf(index));
    assertEquals(index.get("moved/below"), someHeld("file", 1));
  }),
);

Deno.test(
  "signatures beyond the bound leave memory once saved and are read back",
  withFile((path) => {
    const index = new Index({ signatureCacheBytes: 10_000 });
    using store = openIndexStore(path);
    const tablesSize = index.byteSize;
    for (let i = 0; i < 100; i++) {
      index.set(`${i}`, someHeld("file", 1), 1);
      index.setSignature(`${i}`, someSignature(i, 300), 1);
    }
    store.save(index);
    assertEquals(index.byteSize - tablesSize, 100 * 4800);
    index.acknowledge(1);
    store.save(index);
    assertEquals(index.byteSize - tablesSize, 2 * 4800);
    for (let i = 0; i < 100; i++) assertEquals(index.getSignature(`${i}`), someSignature(i, 300));
    index.move("7", "seven", 2);
    assertEquals(index.getSignature("seven"), someSignature(7, 300));
    index.remove("8", 2);
    index.acknowledge(2);
    store.save(index);
    assertEquals(openDatabase(path, (database) => count(database, "signature")), 99);
  }),
);

Deno.test(
  "clear() and a new index empty the database with the next save, not before",
  withFile((path) => {
    using store = openIndexStore(path);
    const index = new Index();
    index.set("old", someHeld("file", 1), 0);
    index.setSignature("old", someSignature(1), 0);
    store.save(index);
    index.clear();
    index.set("new", someHeld("file", 2), 0);
    assertEquals([...contentsAgain(path).keys()], ["old"]);
    store.save(index);
    assertEquals(
      contentsAgain(path),
      new Map([["new", { held: someHeld("file", 2), signature: undefined }]]),
    );
    store.save(new Index());
    assertEquals(contentsAgain(path).size, 0);
  }),
);

Deno.test(
  "reset() empties rows and meta",
  withFile((path) => {
    using store = openIndexStore(path);
    const index = new Index();
    index.set("f", someHeld("file", 1), 3);
    index.acknowledge(3);
    store.save(index, { meta: { streamId: "s" } });
    store.reset();
    assertEquals([store.meta("streamId"), store.meta("savedSequence")], [undefined, "0"]);
    assertEquals(contentsAgain(path).size, 0);
  }),
);

Deno.test(
  "a save that fails leaves the database as it was, and the next one makes up for it",
  withFile((path) => {
    using store = openIndexStore(path);
    const index = new Index();
    index.set("f", someHeld("file", 1), 1);
    index.acknowledge(1);
    store.save(index);
    for (let i = 0; i < 500; i++) index.set(`${i}`, someHeld("file", 2), 2);
    index.acknowledge(2);
    openDatabase(path, (database) => {
      database.exec(
        "CREATE TRIGGER full BEFORE INSERT ON entry WHEN new.id > 300 BEGIN SELECT RAISE(ABORT, 'no room'); END",
      );
    });
    const error = assertThrows(() => store.save(index), CommandError);
    assertStringIncludes(error.message, "no room");
    const { index: loaded, sequence } = loadAgain(path);
    assertEquals([[...contentsOf(loaded).keys()], sequence], [["f"], 1]);
    openDatabase(path, (database) => database.exec("DROP TRIGGER full"));
    assertEquals(store.save(index).rowsWritten, 500);
    assertEquals(contentsAgain(path), contentsOf(index));
  }),
);

for (const seed of [1, 2, Date.now() % 1_000_000]) {
  Deno.test(
    `after a crash the index is what the target had acked when it was saved (seed ${seed})`,
    withFile((path) => {
      // Goal: the database is at every moment the whole tree as of the saved sequence, no older and no newer.
      // Method: random changes with sequences, acks and saves; after each save, load and compare with the model's
      // state after the last change up to the ack. Now and then go on with the loaded index instead, as after a crash.
      const step = fc.record({
        change,
        advance: fc.boolean(),
        ackBehind: fc.option(fc.nat(6), { freq: 3 }),
        save: fc.boolean(),
        crash: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
      });
      fc.assert(
        fc.property(fc.array(step, { minLength: 20, maxLength: 80, size: "max" }), (steps) => {
          removeIndexStore(path);
          let store = openIndexStore(path);
          try {
            let index = new Index({ signatureCacheBytes: 64 });
            let states: { sequence: number; model: Model }[] = [{ sequence: 0, model: new Map() }];
            let sequence = 1;
            let saved: Model = new Map();
            for (const { change, advance, ackBehind, save, crash } of steps) {
              const { model } = states.at(-1)!;
              if (isAllowed(model, change)) {
                changeIndex(index, change, sequence);
                states.push({ sequence, model: changeModel(model, change) });
              }
              if (advance) sequence++;
              // Never acks the sequence that further changes may still carry.
              if (ackBehind !== null) {
                index.acknowledge(Math.max(index.acknowledged, sequence - 1 - ackBehind));
              }
              if (save) {
                store.save(index);
                saved = states.findLast((state) => state.sequence <= index.acknowledged)!.model;
                assertEquals(contentsAgain(path), withoutUntrustedSignatures(saved));
              }
              if (!crash) continue;
              store.close();
              store = openIndexStore(path);
              index = new Index({ signatureCacheBytes: 64 });
              store.load(index);
              assertEquals(contentsOf(index), withoutUntrustedSignatures(saved));
              states = [{ sequence: index.acknowledged, model: withoutUntrustedSignatures(saved) }];
              sequence = index.acknowledged + 1;
            }
          } finally {
            store.close();
          }
        }),
        { seed, numRuns: 40 },
      );
    }),
  );

  Deno.test(
    `changes already true at the target keep the database a tree and never believed too early (seed ${seed})`,
    withFile((path) => {
      const step = fc.record({
        change,
        known: fc.boolean(),
        ackBehind: fc.option(fc.nat(6), { freq: 3 }),
        save: fc.boolean(),
      });
      fc.assert(
        fc.property(fc.array(step, { minLength: 20, maxLength: 80, size: "max" }), (steps) => {
          removeIndexStore(path);
          using store = openIndexStore(path);
          const index = new Index();
          let model: Model = new Map();
          let sequence = 0;
          let pending: { sequence: number; paths: string[] }[] = [];
          for (const { change, known, ackBehind, save } of steps) {
            if (ackBehind !== null) index.acknowledge(Math.max(index.acknowledged, sequence - ackBehind));
            if (!isAllowed(model, change)) continue;
            changeIndex(index, change, known ? 0 : ++sequence);
            pending = pending.filter(({ sequence }) => sequence > index.acknowledged);
            if (!known) pending.push({ sequence, paths: [change.a, change.b] });
            model = changeModel(model, change);
            if (!save && !known) continue;
            store.save(index);
            const loaded = contentsAgain(path);
            if (!known) continue;
            // What the change says is true now: the database agrees, or does not ask to be believed. Paths that pending
            // ops name are left out: of those the target tells after a crash.
            const isTold = (path: string) =>
              pending.some(({ paths }) => paths.some((told) => isWithin(path, told)));
            for (const [path, { held }] of loaded) {
              if (held.trusted && !isTold(path)) assertEquals(held, model.get(path)?.held, path);
            }
          }
          index.acknowledge(sequence);
          store.save(index);
          assertEquals(contentsAgain(path), withoutUntrustedSignatures(model));
        }),
        { seed, numRuns: 25 },
      );
    }),
  );
}

/** An entry that is not trusted loses its signature when it is loaded. */
function withoutUntrustedSignatures(model: Model): Model {
  return new Map(
    [...model].map((
      [path, { held, signature }],
    ) => [path, { held, signature: held.trusted ? signature : undefined }]),
  );
}

const damages: [name: string, damage: (path: string) => void, state: string][] = [
  ["is not a database", (path) => Deno.writeTextFileSync(path, "x".repeat(9000)), "not a database"],
  ["was cut off", (path) => Deno.truncateSync(path, 4096 * 3), "malformed"],
  ["has a damaged page", (path) => overwrite(path, 4096, 4096), ""],
  ["has another schema version", sql("PRAGMA user_version = 99"), "version 99, not 1"],
  ["is another program's", sql("PRAGMA application_id = 5"), "another program's"],
  ["has an orphan", sql("DELETE FROM entry WHERE id = 2"), "has no directory 2"],
  [
    "has a row cut off",
    sql("UPDATE entry SET row = substr(row, 1, 20) WHERE id = 3"),
    "row 3: row of 20 bytes",
  ],
  ["has an unknown kind", sql("UPDATE entry SET row = zeroblob(60) WHERE id = 3"), "kind 0"],
  [
    "has a name twice",
    sql("INSERT INTO entry SELECT 999, row FROM entry WHERE id = 3"),
    "has the name of another",
  ],
  ["has an impossible id", sql("UPDATE entry SET id = 9999999999 WHERE id = 3"), "id out of range"],
  [
    "has a directory within itself",
    sql("UPDATE entry SET row = CAST(x'02000000' || substr(row, 5) AS BLOB) WHERE id = 2"),
    "lie within themselves",
  ],
  ["has no saved sequence", sql("DELETE FROM meta"), "saved sequence"],
];

for (const [name, damage, state] of damages) {
  Deno.test(
    `a file that ${name} is a CorruptionError that names it`,
    withFile((path) => {
      const index = new Index();
      index.set("d", someHeld("directory", 1), 0);
      for (let i = 0; i < 300; i++) index.set(`d/${i}`, someHeld("file", 1), 0);
      const store = openIndexStore(path);
      store.save(index);
      store.close();
      damage(path);
      const loaded = new Index();
      const error = assertThrows(() => {
        using store = openIndexStore(path);
        store.load(loaded);
      }, CorruptionError);
      assertStringIncludes(error.message, path);
      assertStringIncludes(error.message, state);
      assertEquals(loaded.size, 0);
      removeIndexStore(path);
      using fresh = openIndexStore(path);
      fresh.load(loaded);
      assertEquals(fresh.meta("savedSequence"), "0");
    }),
  );
}

Deno.test("openIndexStore() says why a file cannot be opened", () => {
  const error = assertThrows(() => openIndexStore("/nonexistent/index.sqlite"), CommandError);
  assertStringIncludes(error.message, 'Cannot open index "/nonexistent/index.sqlite"');
});

Deno.test(
  "200,000 rows are saved and loaded in seconds, and only those that changed are saved again",
  withFile((path) => {
    const index = new Index();
    for (let d = 0; d < 2_000; d++) {
      index.set(`directory-${d}`, someHeld("directory", 1), 1);
      for (let f = 0; f < 99; f++) {
        index.set(
          `directory-${d}/file-${f}.txt`,
          { ...someHeld("file", 1), ino: BigInt(d * 100 + f + 1) },
          1,
        );
      }
    }
    index.acknowledge(1);
    using store = openIndexStore(path);
    const first = time(() => store.save(index, { durable: true }));
    for (let d = 0; d < 1_000; d++) {
      index.set(`directory-${d}`, someHeld("directory", 2), 2);
      for (let f = 0; f < 99; f++) index.set(`directory-${d}/file-${f}.txt`, someHeld("file", 2), 2);
    }
    index.acknowledge(2);
    const again = time(() => assertEquals(store.save(index, { durable: true }).rowsWritten, 100_000));
    const nothing = time(() => assertEquals(store.save(index, { durable: true }).rowsWritten, 0));
    const loaded = new Index();
    const open = time(() => openIndexStore(path).close());
    const load = time(() => store.load(loaded));
    assertEquals(loaded.size, 200_000);
    const bytes = Deno.statSync(path).size / 200_000;
    const ms = (value: number) => `${value.toFixed(0)} ms`;
    console.log(
      `first save ${ms(first)}, 100,000 changed ${ms(again)}, nothing changed ${ms(nothing)}, ` +
        `open ${ms(open)}, load ${ms(load)}, ${bytes.toFixed(0)} bytes a row on disk`,
    );
    // Far from what it takes: only what grows with the square would take so long.
    assert(Math.max(first, again, open, load) < 30_000, "the index is quick even on a busy machine");
  }),
);

function time(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

function openDatabase<T>(path: string, use: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(path);
  try {
    return use(database);
  } finally {
    database.close();
  }
}

function count(database: DatabaseSync, table: string): number {
  return database.prepare(`SELECT count(*) AS count FROM ${table}`).get()!.count as number;
}

function sql(statement: string): (path: string) => void {
  return (path) => openDatabase(path, (database) => database.exec(statement));
}

function overwrite(path: string, at: number, size: number): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(at, Deno.SeekMode.Start);
  file.writeSync(new Uint8Array(size).fill(0xa5));
}
