import { assertEquals } from "@std/assert";
import { closest, editDistance } from "../../src/base/closest.ts";

Deno.test("editDistance() counts letters put in, taken out, exchanged and swapped", () => {
  const table: [string, string, number][] = [
    ["", "", 0],
    ["a", "", 1],
    ["", "ab", 2],
    ["status", "staus", 1],
    ["status", "sttaus", 1],
    ["status", "stAtus", 1],
    ["flush", "mirror", 6],
  ];
  for (const [a, b, distance] of table) {
    assertEquals([editDistance(a, b), editDistance(b, a)], [distance, distance]);
  }
});

Deno.test("closest() finds the word meant, and none where nothing is near", () => {
  const words = ["status", "flush", "mirror", "serve-target"];
  assertEquals(closest("staus", words), "status");
  assertEquals(closest("serve-targets", words), "serve-target");
  assertEquals(closest("mi", words), undefined);
  assertEquals(closest("xyzzy", words), undefined);
  assertEquals(closest("", words), undefined);
});
