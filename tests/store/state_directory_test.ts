import { assert, assertEquals, assertMatch, assertNotEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/base/errors.ts";
import {
  checkSetName,
  defaultSetName,
  defaultStateDirectory,
  listSets,
  makeStateDirectory,
  setDirectory,
  stateDirectory,
  targetStateDirectory,
} from "../../src/store/state_directory.ts";
import { tempDirectory } from "../testing/temp.ts";

function context(env: Record<string, string>, uid: number | null = 1000, os: typeof Deno.build.os = "linux") {
  return { env: (name: string) => env[name], uid, os };
}

Deno.test("defaultStateDirectory() follows user and environment", () => {
  const table: [ReturnType<typeof context>, string][] = [
    [context({ HOME: "/home/a", XDG_STATE_HOME: "/x" }, 0), "/var/lib/understudy"],
    [context({}, 0), "/var/lib/understudy"],
    [context({ HOME: "/home/a" }), "/home/a/.local/state/understudy"],
    [context({ HOME: "/home/a", XDG_STATE_HOME: "/x" }), "/x/understudy"],
    [context({ HOME: "/home/a", XDG_STATE_HOME: "relative" }), "/home/a/.local/state/understudy"],
    [context({ HOME: "/home/a", XDG_STATE_HOME: "" }), "/home/a/.local/state/understudy"],
  ];
  for (const [given, path] of table) assertEquals(defaultStateDirectory(given), path);
});

Deno.test("defaultStateDirectory() without HOME asks for --state", () => {
  for (const env of [{}, { HOME: "" }, { HOME: "relative" }]) {
    assertThrows(
      () => defaultStateDirectory(context(env as Record<string, string>)),
      UsageError,
      "--state DIR",
    );
  }
  assertEquals(stateDirectory("/given", context({})), "/given");
});

Deno.test({
  name: "makeStateDirectory() makes 0700 directories and keeps an existing one as it is",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using directory = await tempDirectory();
    const path = `${directory.path}/a/state`;
    makeStateDirectory(path);
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o700);
    Deno.chmodSync(path, 0o750);
    makeStateDirectory(path);
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o750);
  },
});

Deno.test({
  name: "makeStateDirectory() refuses a file, and a directory that everybody may write to",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using directory = await tempDirectory();
    Deno.writeTextFileSync(`${directory.path}/file`, "");
    for (const path of [`${directory.path}/file`, `${directory.path}/file/below`]) {
      assertThrows(() => makeStateDirectory(path), UsageError, "it is not a directory");
    }
    Deno.mkdirSync(`${directory.path}/open`);
    Deno.chmodSync(`${directory.path}/open`, 0o1777);
    assertThrows(() => makeStateDirectory(`${directory.path}/open`), UsageError, "everybody may write to it");
  },
});

Deno.test("defaultSetName() is readable, valid and different for each root", () => {
  assertMatch(defaultSetName("/srv/www"), /^www-[0-9a-f]{8}$/);
  const roots = [
    "/",
    "/srv/www",
    "/var/www",
    "/srv/WWW",
    "/srv/www\u0300",
    "/.hidden",
    "/...",
    "/日本",
    "/日本語",
    "/-x",
  ];
  const odd = ["/with space\n", "/a\udc80", "/a\udc81", `/${"long".repeat(60)}`, `/${"long".repeat(60)}er`];
  const names = [...roots, ...odd].map(defaultSetName);
  for (const name of names) checkSetName(name);
  assertEquals(new Set(names).size, names.length);
  assertEquals(defaultSetName("/srv/www"), defaultSetName("/srv/www"));
  assertNotEquals(defaultSetName("/"), "");
});

Deno.test("checkSetName() refuses names that could leave the directory or be hidden in it", () => {
  for (const name of ["a", "A-1_b.c", "_", "0", "x".repeat(64)]) checkSetName(name);
  for (
    const name of [
      "",
      ".",
      "..",
      ".understudy",
      "-x",
      "a/b",
      "a\\b",
      "a b",
      "a\n",
      "ä",
      "a\0",
      "x".repeat(65),
    ]
  ) {
    assertThrows(() => checkSetName(name), UsageError, "Cannot use name");
    assertThrows(() => setDirectory("/state", name), UsageError);
  }
});

Deno.test("listSets() lists the directories that are sets, sorted, and nothing where there is nothing", async () => {
  await using directory = await tempDirectory();
  assertEquals(listSets(`${directory.path}/none`), []);
  for (const name of ["b", "a", ".hidden"]) Deno.mkdirSync(`${directory.path}/${name}`);
  Deno.writeTextFileSync(`${directory.path}/key`, "");
  assertEquals(listSets(directory.path), ["a", "b"]);
  assertEquals(listSets(`${directory.path}/key`), []);
});

Deno.test("targetStateDirectory() lies in the root", () => {
  assert(targetStateDirectory("/srv/replicas/").endsWith("/srv/replicas/.understudy"));
});
