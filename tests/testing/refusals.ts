/**
 * Asserts about commands that must be refused: a clear word, the right exit code, and nothing changed.
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { compareManifests, manifest } from "./manifest.ts";
import type { RunResult } from "./process.ts";

/** What a refusal must look like. */
export interface Refusal {
  code: number;
  /** What stderr must say, beyond beginning with `understudy: Cannot`. */
  message: RegExp;
}

/** Asserts that a command ended as a refusal should: with one line on stderr and nothing on stdout. */
export function assertRefused(result: RunResult, { code, message }: Refusal): void {
  const shown = `${result.stdout}\n${result.stderr}`;
  assertEquals(result.code, code, shown);
  assertMatch(result.stderr, message);
  assert(result.stderr.startsWith("understudy: Cannot "), shown);
  assertEquals(result.stderr.trimEnd().split("\n").length, 1, shown);
  assertEquals(result.stdout, "");
}

/**
 * Runs `action`, and asserts that nothing below the directories changed meanwhile: no entry, content, mode or time.
 *
 * @param exclude Paths, relative to their directory, that may change.
 */
export async function unchanged<T>(
  directories: string[],
  action: () => Promise<T>,
  exclude?: (path: string) => boolean,
): Promise<T> {
  const before = await Promise.all(directories.map((directory) => manifest(directory)));
  const result = await action();
  for (const [i, directory] of directories.entries()) {
    const differences = compareManifests(before[i], await manifest(directory), { root: true, exclude });
    assertEquals(differences, [], `${directory} changed`);
  }
  return result;
}
