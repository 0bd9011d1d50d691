import { assertEquals } from "@std/assert";
import * as fc from "fast-check";
import type { Held } from "../../src/ops/held.ts";
import { DirectoryWalk } from "../../src/source/directory_walk.ts";
import { Index } from "../../src/source/index.ts";

const entry: Held = {
  kind: "directory",
  mode: 0o755,
  uid: 0,
  gid: 0,
  size: 0,
  mtimeNs: 0n,
  ctimeNs: 0n,
  dev: 0,
  ino: 0n,
  linkTarget: "",
  trusted: true,
};

function indexOf(directories: string[], files: string[] = []): Index {
  const index = new Index();
  for (const path of directories) index.set(path, entry, 0);
  for (const path of files) index.set(path, { ...entry, kind: "file" }, 0);
  return index;
}

function rest(walk: DirectoryWalk): string[] {
  const visited: string[] = [];
  for (let path = walk.next(); path !== undefined; path = walk.next()) visited.push(path);
  return visited;
}

const tree = ["a", "a/b", "a/b/c", "a/d", "a-", "b", "b/a"];

Deno.test("DirectoryWalk visits every directory once, parents first, names in order", () => {
  const walk = new DirectoryWalk(indexOf(tree, ["f", "a/f", "a/b/c/f"]));
  assertEquals(rest(walk), ["", "a", "a/b", "a/b/c", "a/d", "a-", "b", "b/a"]);
  assertEquals(rest(new DirectoryWalk(new Index())), [""]);
});

Deno.test("DirectoryWalk goes on behind any directory that it came to", () => {
  const whole = rest(new DirectoryWalk(indexOf(tree)));
  for (const [i, path] of whole.entries()) {
    assertEquals(rest(new DirectoryWalk(indexOf(tree), path)), whole.slice(i + 1), `behind "${path}"`);
  }
});

Deno.test("DirectoryWalk goes on behind the place of a directory that is gone", () => {
  const index = indexOf(tree);
  index.remove("a/b", 0);
  assertEquals(rest(new DirectoryWalk(index, "a/b/c")), ["a/d", "a-", "b", "b/a"]);
  index.remove("a", 0);
  assertEquals(rest(new DirectoryWalk(index, "a/b/c")), ["a-", "b", "b/a"]);
});

Deno.test("DirectoryWalk leaves out what it was told to skip, and what went meanwhile", () => {
  const index = indexOf(tree);
  const walk = new DirectoryWalk(index);
  assertEquals([walk.next(), walk.next()], ["", "a"]);
  walk.skip("a/b");
  index.remove("b", 0);
  assertEquals(rest(walk), ["a/d", "a-"]);
});

Deno.test("DirectoryWalk in pieces visits the same as in one go, for any tree and any pieces", () => {
  const name = fc.constantFrom("a", "b", "-", "\udcff", "ä");
  const paths = fc.array(fc.array(name, { minLength: 1, maxLength: 4 }), { maxLength: 20 });
  fc.assert(fc.property(paths, fc.integer({ min: 1, max: 4 }), (lists, pieceSize) => {
    const directories = new Set<string>();
    for (const parts of lists) parts.forEach((_, i) => directories.add(parts.slice(0, i + 1).join("/")));
    const index = indexOf([...directories]);
    const whole = rest(new DirectoryWalk(index));
    assertEquals(new Set(whole), new Set(["", ...directories]));
    assertEquals(whole.length, directories.size + 1);
    const pieces: string[] = [];
    for (let after: string | undefined, more = true; more;) {
      const walk = new DirectoryWalk(index, after);
      for (let i = 0; i < pieceSize && more; i++) {
        const path = walk.next();
        more = path !== undefined;
        if (path !== undefined) pieces.push(after = path);
      }
    }
    assertEquals(pieces, whole);
  }));
});
