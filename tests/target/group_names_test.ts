import { assertEquals } from "@std/assert";
import type { Op } from "../../src/ops/op.ts";
import { GroupNames } from "../../src/target/group_names.ts";
import { file, mkdir, plain, rename, symlink } from "../testing/receiver.ts";

const close = (path: string): Op => ({ kind: "close", transfer: 1, path, size: 0, attributes: plain });
const unlink = (path: string): Op => ({ kind: "unlink", path });
const rmdir = (path: string): Op => ({ kind: "rmdir", path });
const attributes = (path: string): Op => ({ kind: "attributes", path, attributes: plain });
const link = (path: string, to: string): Op => ({ kind: "link", path, to });
const copy = (path: string): Op => ({ kind: "open", transfer: 2, path, base: "copy" });

/** Ops that may share a group, and pairs that may not: why, first, second. */
const together: [why: string, ops: Op[]][] = [
  ["files and directories as they come", [mkdir("d"), file("d/f", ""), symlink("d/l", ""), file("d/f", "")]],
  ["a tree that is removed", [unlink("d/f"), unlink("d/g"), rmdir("d")]],
  ["a file that lives shortly", [mkdir("d"), file("d/f", ""), unlink("d/f")]],
  ["a storm of renames in one directory", [
    rename("d/a", "d/b"),
    rename("d/c", "e/d"),
    attributes("d"),
    attributes("e"),
  ]],
  ["work in what was renamed", [rename("d", "e"), file("e/f", ""), attributes("e"), mkdir("e/g")]],
  ["a rename into a directory that is made sure of", [mkdir("d"), rename("a", "d/a")]],
  ["a transfer and its attributes", [close("f"), attributes("f"), mkdir("d"), close("d/f")]],
  ["a file with its names", [
    file("a", ""),
    link("a", "d/b"),
    link("a", "c"),
    attributes("c"),
    link("c", "e"),
  ]],
  ["a transfer with its names", [close("a"), link("a", "b"), attributes("a")]],
  ["a copy beside what changes", [file("a", ""), copy("b"), rename("c", "d")]],
];
const apart: [why: string, first: Op, second: Op][] = [
  ["a new entry under the old name", rename("a", "b"), file("a", "")],
  ["a new directory under the old name", rename("a", "b"), mkdir("a")],
  ["a transfer under the old name", rename("a", "b"), close("a")],
  ["an entry that is renamed away", file("a", ""), rename("a", "b")],
  ["an entry below one that is renamed away", file("a/f", ""), rename("a", "b")],
  ["an entry that is replaced", file("b", ""), rename("a", "b")],
  ["a removal for the renamed one", unlink("b"), rename("a", "b")],
  ["a removal of the renamed one", rename("a", "b"), unlink("b")],
  ["a chain of renames", rename("a", "b"), rename("b", "c")],
  ["a rename inside a renamed one", rename("a", "b"), rename("b/x", "c")],
  ["an exchange and one of its names", rename("a", "b", true), file("b", "")],
  ["another kind under a removed name", unlink("a"), mkdir("a")],
  ["an entry below a removed name", unlink("a"), file("a/f", "")],
  ["a directory that something was made in", file("d/f", ""), rmdir("d")],
  ["an entry whose attributes were set", attributes("f"), unlink("f")],
  ["two transfers of one name", close("a"), close("a")],
  ["a file over a transfer", close("a"), file("a", "")],
  ["a transfer over a file", file("a", ""), close("a")],
  ["a transfer that is removed", close("a"), unlink("a")],
  ["a copy of what changes", file("a", ""), copy("a")],
  ["a new file under a name that was linked", link("a", "b"), file("a", "")],
  ["a transfer to a name that was linked", link("a", "b"), close("a")],
  ["a link to what was linked", link("a", "b"), link("c", "a")],
  ["a removal of a name that was linked", link("a", "b"), unlink("a")],
  ["a rename of a name that was linked", link("a", "b"), rename("a", "c")],
  ["a rename of a directory in which a name was linked", link("d/a", "b"), rename("d", "c")],
  ["a link to what came by a rename", rename("a", "b"), link("b", "c")],
  ["a link below what came by a rename", rename("a", "b"), link("b/f", "c")],
  ["a copy inside what is renamed", rename("a", "b"), copy("b/f")],
];

for (const [why, ops] of together) {
  Deno.test(`GroupNames.tryAdd() takes ${why}`, () => {
    const names = new GroupNames();
    assertEquals(ops.map((op) => names.tryAdd(op, false)), ops.map(() => true));
  });
}

for (const [why, first, second] of apart) {
  Deno.test(`GroupNames.tryAdd() begins a new group for ${why}`, () => {
    const names = new GroupNames();
    assertEquals([names.tryAdd(first, false), names.tryAdd(second, false)], [true, false]);
    assertEquals(new GroupNames().tryAdd(second, false), true);
    // A name that only begins the same is another one.
    const other = new GroupNames();
    assertEquals([other.tryAdd(file("ab", ""), false), other.tryAdd(rename("bc", "ac"), false)], [
      true,
      true,
    ]);
    assertEquals(other.tryAdd(file("a", ""), false), true);
  });
}

Deno.test("GroupNames.tryAdd() keeps a patch apart from everything that touches its file", () => {
  for (const other of [file("f", ""), unlink("f"), rename("f", "g"), rename("g", "f"), close("f")]) {
    const before = new GroupNames();
    assertEquals([before.tryAdd(other, false), before.tryAdd(close("f"), true)], [true, false]);
    const after = new GroupNames();
    assertEquals([after.tryAdd(close("f"), true), after.tryAdd(other, false)], [true, false]);
  }
});
