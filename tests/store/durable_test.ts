import { assertEquals, assertThrows } from "@std/assert";
import { utf8 } from "../../src/base/bytes.ts";
import { CorruptionError } from "../../src/base/errors.ts";
import {
  loadJson,
  readIfThere,
  removeTemporaryFiles,
  saveJson,
  writeDurably,
} from "../../src/store/durable.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";

const isAnything = (_value: unknown): _value is unknown => true;
const isNumber = (value: unknown): value is number => typeof value === "number";

Deno.test("writeDurably() replaces a file and leaves nothing beside it", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/settings`;
  writeDurably(path, utf8("old, and longer"));
  writeDurably(path, utf8("new"));
  assertEquals(Deno.readTextFileSync(path), "new");
  assertEquals([...Deno.readDirSync(directory.path)].map((entry) => entry.name), ["settings"]);
});

Deno.test({
  name: "writeDurably() gives the mode asked for, whatever the umask and the old file say",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using directory = await tempDirectory();
    const path = `${directory.path}/key`;
    Deno.writeFileSync(path, utf8("public"), { mode: 0o644 });
    writeDurably(path, utf8("secret"));
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
    // In a process of its own: tests of other files create files meanwhile.
    const writer = new URL("durable_writer.ts", import.meta.url).pathname;
    await runProcess(Deno.execPath(), ["run", "-A", writer, path], { expectCode: 0 });
    assertEquals(Deno.readTextFileSync(path), "shared");
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o644);
  },
});

Deno.test("writeDurably() that fails keeps the old contents and no temporary file", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/taken`;
  Deno.mkdirSync(`${path}/full`, { recursive: true });
  assertThrows(() => writeDurably(path, utf8("new")));
  assertEquals([...Deno.readDirSync(directory.path)].map((entry) => entry.name), ["taken"]);
});

Deno.test({
  name: "a reader never sees half of what writeDurably() writes",
  ignore: lacks("linux"),
  async fn() {
    await using directory = await tempDirectory();
    const path = `${directory.path}/state`;
    const over = `${directory.path}/over`;
    writeDurably(path, utf8("0".repeat(100_000)));
    const writer = new Deno.Command(Deno.execPath(), {
      args: [
        "eval",
        `import { writeDurably } from ${JSON.stringify(import.meta.resolve("../../src/store/durable.ts"))};
         for (let i = 0; !await Deno.stat(Deno.args[1]).catch(() => false); i++) {
           writeDurably(Deno.args[0], new TextEncoder().encode(String(i % 10).repeat(100_000)));
         }`,
        path,
        over,
      ],
      stderr: "inherit",
    }).spawn();
    let last = "0";
    for (let changes = 0; changes < 30;) {
      const text = new TextDecoder().decode(readIfThere(path));
      assertEquals(text.length, 100_000);
      assertEquals(text.replaceAll(text[0], ""), "");
      if (text[0] !== last) changes++;
      last = text[0];
      await new Promise((resolve) => setTimeout(resolve));
    }
    Deno.writeTextFileSync(over, "");
    assertEquals((await writer.status).code, 0);
  },
});

Deno.test("loadJson() returns what saveJson() saved, lone surrogates of odd paths too", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/set.json`;
  assertEquals(loadJson(path, isAnything), undefined);
  const value = { name: "a\udc80b", list: [1, null] };
  saveJson(path, value);
  assertEquals(loadJson(path, isAnything), value);
});

Deno.test("loadJson() calls a file corrupt that is cut off, empty, garbage or of another shape", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/set.json`;
  for (const contents of ["", `{"a":`, "\0\0\0\0", `"a number"`]) {
    Deno.writeTextFileSync(path, contents);
    assertThrows(() => loadJson(path, isNumber), CorruptionError, `Cannot load "${path}": `);
  }
});

Deno.test("removeTemporaryFiles() removes what a killed writer left, and nothing else", async () => {
  await using directory = await tempDirectory();
  const names = ["set.json", "set.json.tmp-0123456789ab", "notes.tmp-x", "a.tmp-0123456789ab.txt"];
  for (const name of names) Deno.writeTextFileSync(`${directory.path}/${name}`, "x");
  assertEquals(removeTemporaryFiles(directory.path), 1);
  assertEquals(
    [...Deno.readDirSync(directory.path)].map((entry) => entry.name).sort(),
    ["a.tmp-0123456789ab.txt", "notes.tmp-x", "set.json"],
  );
});

Deno.test("loadJson() names a damaged file in one line, without the damage", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/damaged.json`;
  Deno.writeFileSync(path, Uint8Array.of(0x22, 0x0a, 0x00, 0x1b, 0xff, 0x0d));
  const error = assertThrows(() => loadJson(path, isAnything), CorruptionError);
  assertEquals((error as Error).message, `Cannot load "${path}": it is not JSON`);
});
