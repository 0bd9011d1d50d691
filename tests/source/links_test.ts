import { assertEquals } from "@std/assert";
import { Links } from "../../src/source/links.ts";
import type { Stat } from "../../src/sys/file_system.ts";

const stat = (ino: number, linkCount: number, kind: Stat["kind"] = "file"): Stat => ({
  kind,
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtimeNs: 0n,
  ctimeNs: 0n,
  dev: 1,
  ino: BigInt(ino),
  linkCount,
});

Deno.test("Links keeps the names of files that have several, and of nothing else", () => {
  const links = new Links();
  for (const path of ["a", "d/b", "c", "a"]) links.note(path, stat(5, 3));
  links.note("single", stat(6, 1));
  links.note("directory", stat(7, 9, "directory"));
  assertEquals(links.others("a", stat(5, 3)), ["d/b", "c"]);
  assertEquals(links.others("new", stat(5, 4)), ["a", "d/b", "c"]);
  assertEquals(links.others("single", stat(6, 2)), []);
  assertEquals(links.others("directory", stat(7, 9, "directory")), []);
  assertEquals(links.others("x", stat(8, 2)), []);
  for (const path of ["l", "m"]) links.note(path, stat(9, 2, "symlink"));
  assertEquals(links.others("l", stat(9, 2, "symlink")), ["m"], "a symbolic link may have two names, too");
});

Deno.test("Links forgets a name, and with the last one the file", () => {
  const links = new Links();
  links.note("a", stat(5, 2));
  links.note("b", stat(5, 2));
  links.forget("a", stat(5, 2));
  links.forget("never", stat(5, 2));
  assertEquals(links.others("x", stat(5, 2)), ["b"]);
  links.forget("b", stat(5, 2));
  assertEquals(links.others("x", stat(5, 2)), []);
});

Deno.test("Links tells files that have more names than are known, until they do not", () => {
  const links = new Links();
  links.note("a", stat(5, 2));
  links.note("b", stat(6, 3));
  links.note("c", stat(6, 3));
  assertEquals(links.outsideCount, 2);
  assertEquals(links.outside(1).map(({ path }) => path), ["a"]);
  assertEquals(links.outside(9).map(({ path }) => path), ["b", "a"]);
  links.note("d", stat(6, 3));
  assertEquals(links.outsideCount, 1);
  links.forget("a", stat(5, 1));
  assertEquals([links.outsideCount, links.outside(9)], [0, []]);
  links.forget("d", stat(6, 3));
  assertEquals(links.outsideCount, 1);
  links.note("b", stat(6, 2));
  assertEquals(links.outsideCount, 0);
});
