/**
 * Paths: bytes and strings, and how they lie in one another.
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { concatBytes, hex, utf8 } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import {
  baseName,
  checkRelativePath,
  isWithin,
  joinPath,
  movePath,
  parentPath,
  pathFromBytes,
  pathToBytes,
  quote,
} from "../../src/base/path.ts";

const anyByte = fc.integer({ min: 1, max: 255 });
/** Any bytes without NUL, often with pieces of UTF-8 in them that are right, cut short, too long or surrogates. */
const pathBytes = fc.array(
  fc.oneof(
    fc.uint8Array({ min: 1, max: 255, maxLength: 4 }),
    anyByte.map((byte) => Uint8Array.of(byte)),
    fc.string({ unit: "binary", maxLength: 3 }).map((text) => utf8(text.replaceAll("\0", ""))),
    fc.constantFrom(
      "edb280",
      "eda080",
      "c0af",
      "e282",
      "f09f98",
      "f09f9880",
      "f4908080",
      "efbbbf",
      "80",
      "ff",
    )
      .map((digits) => Uint8Array.fromHex(digits)),
  ),
  { maxLength: 8 },
).map((parts) => concatBytes(...parts));

Deno.test("pathToBytes() gives back what pathFromBytes() was given, and different bytes are different paths", () => {
  const property = fc.property(pathBytes, pathBytes, (a, b) => {
    assertEquals(hex(pathToBytes(pathFromBytes(a))), hex(a));
    assertEquals(pathFromBytes(a) === pathFromBytes(b), hex(a) === hex(b));
  });
  fc.assert(property, { numRuns: 5000 });
});

Deno.test("pathFromBytes() keeps a path's slashes and dots where they are", () => {
  const property = fc.property(pathBytes, (bytes) => {
    const path = pathFromBytes(bytes);
    assertEquals(path.split("/").length - 1, bytes.filter((byte) => byte === 0x2f).length);
    assertEquals(path.split(".").length - 1, bytes.filter((byte) => byte === 0x2e).length);
  });
  fc.assert(property, { numRuns: 2000 });
});

Deno.test("pathFromBytes() shows each stray byte as its own lone surrogate", () => {
  const rows: [string, string][] = [
    ["61ff62", "a\udcffb"],
    ["e282", "\udce2\udc82"],
    ["c0af", "\udcc0\udcaf"],
    ["edb280", "\udced\udcb2\udc80"],
    ["f09f988080", "😀\udc80"],
    ["efbbbf61", "\ufeffa"],
    ["c3a42f80", "ä/\udc80"],
    ["", ""],
  ];
  for (const [digits, path] of rows) {
    assertEquals(pathFromBytes(Uint8Array.fromHex(digits)), path);
    assertEquals(hex(pathToBytes(path)), digits);
  }
});

Deno.test("pathToBytes() takes a path of any length", () => {
  const bytes = new Uint8Array(300_000).fill(0xff);
  assertEquals(pathToBytes(pathFromBytes(bytes)).length, bytes.length);
});

Deno.test("quote() shows what would be invisible, steer a terminal or stand for something else", () => {
  const rows: [string, string][] = [
    ["a b/ä 😀", '"a b/ä 😀"'],
    ["", '""'],
    ['a"b', '"a\\"b"'],
    ["a\\b", '"a\\\\b"'],
    ["a\nb\tc\u001b[2J", '"a\\nb\\tc\\u001b[2J"'],
    ["a\u007fb", '"a\\u{7f}b"'],
    ["a\u009b2J", '"a\\u{9b}2J"'],
    ["a\u202egpj.exe", '"a\\u{202e}gpj.exe"'],
    ["a\u2028b\ufeff", '"a\\u{2028}b\\u{feff}"'],
    ["a\udcffb", '"a\\xffb"'],
    // A name that only looks like an escape.
    ["a\\xff", '"a\\\\xff"'],
    ["a\ud800", '"a\\u{d800}"'],
  ];
  for (const [path, shown] of rows) assertEquals(quote(path), shown);
});

Deno.test("quote() shows two paths alike only if they are the same", () => {
  const property = fc.property(pathBytes, pathBytes, (a, b) => {
    assertEquals(quote(pathFromBytes(a)) === quote(pathFromBytes(b)), hex(a) === hex(b));
    // deno-lint-ignore no-control-regex
    assert(!/[\u0000-\u001f\u007f-\u009f]/.test(quote(pathFromBytes(a))));
  });
  fc.assert(property, { numRuns: 2000 });
});

Deno.test("isWithin() is true for a directory itself and all below it, at whole names", () => {
  const rows: [path: string, directory: string, expected: boolean][] = [
    ["a", "a", true],
    ["a/b", "a", true],
    ["a/b/c", "a/b", true],
    ["ab", "a", false],
    ["a", "a/b", false],
    ["a", "ab", false],
    ["a-b", "a", false],
    ["b/a", "a", false],
    ["", "", true],
    ["a/b", "", true],
    ["", "a", false],
  ];
  for (const [path, directory, expected] of rows) {
    assertEquals(isWithin(path, directory), expected, `${quote(path)} in ${quote(directory)}`);
  }
});

Deno.test("movePath() moves along with its directory", () => {
  const rows: [path: string, from: string, to: string, expected: string][] = [
    ["a", "a", "b", "b"],
    ["a/x", "a", "b", "b/x"],
    ["a/x/y", "a/x", "z", "z/y"],
    ["a/a/a", "a", "a/b", "a/b/a/a"],
    ["d/\udc80", "d", "e/f", "e/f/\udc80"],
  ];
  for (const [path, from, to, expected] of rows) assertEquals(movePath(path, from, to), expected);
});

Deno.test("joinPath(), parentPath() and baseName() take a path apart and put it together", () => {
  const rows: [path: string, parent: string, name: string][] = [
    ["a", "", "a"],
    ["a/b", "a", "b"],
    ["a/b/c", "a/b", "c"],
    ["", "", ""],
  ];
  for (const [path, parent, name] of rows) {
    assertEquals([parentPath(path), baseName(path)], [parent, name]);
    assertEquals(joinPath(parent, name), path);
  }
});

Deno.test("checkRelativePath() refuses what could leave the root, and nothing else", () => {
  for (
    const path of ["", "a", "a/b", "...", "..a", "a..", ".a", "a b/\\", "-", "~", "\udcff", "a/\udcaf/b"]
  ) {
    checkRelativePath(path);
  }
  const refused = ["/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "./a", "a/.", "\0", "a\0b"];
  for (const path of refused) assertThrows(() => checkRelativePath(path), ProtocolError, "Cannot use path");
});
