import { assertEquals } from "@std/assert";
import { resolveWorkerUrl } from "../../src/base/workers.ts";

const places: [form: string, self: string, expected: string][] = [
  ["a checkout", "file:///home/a/src/base/workers.ts", "file:///home/a/src/target/apply_worker.ts"],
  [
    "the bundle's main module",
    "file:///c/program-0a/main.js",
    "file:///c/program-0a/src/target/apply_worker.js",
  ],
  ["a shared chunk", "file:///c/program-0a/chunk-AB.js", "file:///c/program-0a/src/target/apply_worker.js"],
  [
    "another Worker's module",
    "file:///usr/src/c/program-0a/src/mirror/hash_worker.js",
    "file:///usr/src/c/program-0a/src/target/apply_worker.js",
  ],
];
for (const [form, self, expected] of places) {
  Deno.test(`resolveWorkerUrl() finds a Worker's module from ${form}`, () => {
    assertEquals(resolveWorkerUrl("src/target/apply_worker.ts", self).href, expected);
  });
}
