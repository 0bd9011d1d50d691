import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { zstdCompressSync } from "node:zlib";
import { assertSameTree, manifest } from "./manifest.ts";
import { lacks } from "./needs.ts";
import { tempDirectory } from "./temp.ts";
import { makeTree, SeededRandom, writeBigFile } from "./tree_maker.ts";

Deno.test({
  name: "makeTree() makes the same tree for the same seed and another for another",
  ignore: lacks("linux"),
  async fn() {
    await using directory = await tempDirectory();
    const roots = ["a", "b", "c"].map((name) => `${directory.path}/${name}`);
    for (const root of roots) Deno.mkdirSync(root);
    const options = { fileCount: 50, oddNames: true, symlinks: true, bigFiles: [3_000_000] };
    const [first] = [1, 1, 2].map((seed, i) => makeTree(roots[i], { ...options, seed }));
    // Odd names and symlinks keep the time when they were made.
    const exclude = (path: string) => path.startsWith("odd") || path.startsWith("link");
    await assertSameTree(roots[0], roots[1], { exclude });
    assertNotEquals(await manifest(roots[0]), await manifest(roots[2]));
    assertEquals(first.files.length, 51);
    let byteCount = 0;
    for (const path of first.files) byteCount += Deno.statSync(`${roots[0]}/${path}`).size;
    assertEquals(byteCount, first.byteCount);
  },
});

Deno.test("writeBigFile() writes exactly so many bytes, which compress or do not", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/file`;
  const compressed = (["random", "text"] as const).map((content) => {
    writeBigFile(path, 2_500_001, { content });
    const bytes = Deno.readFileSync(path);
    assertEquals(bytes.length, 2_500_001);
    return zstdCompressSync(bytes).length;
  });
  assert(compressed[0] > 2_490_000, `random: ${compressed[0]}`);
  assert(compressed[1] < 1_500_000, `text: ${compressed[1]}`);
});

Deno.test("SeededRandom.between() reaches both ends of its range and nothing else", () => {
  const random = new SeededRandom(3);
  const seen = new Set(Array.from({ length: 1000 }, () => random.between(5, 9)));
  assertEquals([...seen].sort(), [5, 6, 7, 8]);
});
