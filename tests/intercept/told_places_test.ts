import { assertEquals } from "@std/assert";
import { limits } from "../../src/base/limits.ts";
import { ToldPlaces } from "../../src/intercept/told_places.ts";

Deno.test("ToldPlaces knows what was told in a directory, and above it what was told below", () => {
  const told = new ToldPlaces();
  told.inside("a/b");
  told.below("x/y");
  for (const path of ["", "a", "a/b", "x", "x/y", "x/y/z/1"]) assertEquals(told.has(path), true, path);
  for (const path of ["a/b/c", "a/bb", "x/z", "x/yy"]) assertEquals(told.has(path), false, path);
});

Deno.test("ToldPlaces forgets after one interval and before the third", () => {
  const told = new ToldPlaces();
  const startMs = performance.now();
  told.inside("a");
  told.age(startMs + limits.recentlyHeardMs + 1_000);
  assertEquals(told.has("a"), true);
  told.age(startMs + 2 * limits.recentlyHeardMs + 3_000);
  assertEquals(told.has("a"), false);
});

Deno.test("ToldPlaces counts as knowing everything once it is full", () => {
  const told = new ToldPlaces();
  for (let i = 0; i < limits.toldPlacesMax; i++) told.inside(`d${i}`);
  assertEquals(told.has("elsewhere"), false);
  told.inside("one more");
  assertEquals(told.has("elsewhere"), true);
});
