/**
 * Goal: arrows between the rooms of `src/` run downwards only, and FFI is opened in `sys/` alone (ARCHITECTURE.md).
 * Method: reads every import of every module; a module that imports from a room not below its own is named.
 */
import { assertEquals } from "@std/assert";

/** Rooms that a room may import from, besides itself. */
const below: Record<string, string[]> = {
  modes: [
    "source",
    "target",
    "control",
    "identity",
    "mirror",
    "intercept",
    "wire",
    "store",
    "rules",
    "sys",
    "ops",
    "base",
  ],
  source: ["identity", "mirror", "intercept", "wire", "store", "rules", "sys", "ops", "base"],
  target: ["identity", "mirror", "wire", "store", "sys", "ops", "base"],
  control: ["store", "rules", "base"],
  identity: ["store", "sys", "base"],
  mirror: ["sys", "ops", "base"],
  intercept: ["sys", "base"],
  wire: ["sys", "ops", "base"],
  store: ["rules", "sys", "ops", "base"],
  sys: ["base"],
  rules: ["base"],
  ops: ["sys", "base"],
  base: [],
};

const root = new URL("../src/", import.meta.url);

Deno.test("rooms import from the rooms below them only", () => {
  const wrong: string[] = [];
  let imports = 0;
  for (const [path, text] of modules()) {
    const room = path.split("/")[0];
    for (const [, target] of text.matchAll(/(?:from|import\() ?"\.\.\/([a-z]+)\/[^"]+"/g)) {
      imports++;
      if (target !== room && !below[room].includes(target)) wrong.push(`${path} imports from ${target}`);
    }
  }
  assertEquals(wrong, []);
  assertEquals(imports > 300, true, "imports were read");
});

Deno.test("FFI is opened in sys/ only", () => {
  const opening = [...modules()].filter(([, text]) => text.includes("Deno.dlopen(")).map(([path]) => path);
  assertEquals(opening.length > 0 && opening.every((path) => path.startsWith("sys/")), true, `${opening}`);
});

/** Path below `src/` and text of each module. */
function* modules(directory = ""): Iterable<[string, string]> {
  for (const entry of Deno.readDirSync(new URL(directory, root))) {
    const path = directory + entry.name;
    if (entry.isDirectory) yield* modules(`${path}/`);
    else if (path.endsWith(".ts")) yield [path, Deno.readTextFileSync(new URL(path, root))];
  }
}
