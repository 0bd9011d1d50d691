import { assertEquals, assertRejects } from "@std/assert";
import { assertSameTree, compareManifests, manifest } from "./manifest.ts";
import { lacks } from "./needs.ts";
import { runProcess } from "./process.ts";
import { tempDirectory } from "./temp.ts";
import { makeTree, oddNames } from "./tree_maker.ts";

const ignore = lacks("linux");

/** A tree with odd names and symlinks, and its copy by `cp -a`. */
async function twoTrees() {
  const directory = await tempDirectory();
  const [a, b] = [`${directory.path}/a`, `${directory.path}/b`];
  Deno.mkdirSync(a);
  makeTree(a, { fileCount: 30, oddNames: true, symlinks: true });
  await runProcess("cp", ["-a", a, b], { expectCode: 0 });
  return { a, b, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
}

Deno.test({
  name: "assertSameTree() accepts a copy by cp -a",
  ignore,
  async fn() {
    await using trees = await twoTrees();
    await assertSameTree(trees.a, trees.b, { root: true, hardLinks: true });
    // find, sha256sum and we agree on how many there are: 30 files, 6 links, the odd ones with their own and two more.
    const files = [...(await manifest(trees.a)).values()].filter((entry) => entry.kind === "f");
    assertEquals(files.length, 30 + oddNames.length + 2);
    assertEquals(files.filter((entry) => entry.content.length !== 64), []);
  },
});

const changes: [name: string, script: string, expected: RegExp][] = [
  [
    "a byte with the same size and time",
    "touch -r d0/f0* ../t; printf X | dd of=$(echo d0/f0*) conv=notrunc 2>&1; touch -r ../t d0/f0*",
    /^differs: "d0\/f0\S+: content \S+ became \S+$/,
  ],
  ["a mode", "chmod 700 d0", /^differs: "d0": mode 755 became 700$/],
  ["an owner", "chown 12:34 big-0", /^differs: "big-0": uid 0 became 12, gid 0 became 34$/],
  [
    "a nanosecond of time",
    'touch -d "2024-01-01 00:00:00.000000001" big-0',
    /^differs: "big-0": mtime \d+\.\d{9} became 1704067200\.000000001$/,
  ],
  [
    "the target of a symlink",
    ": >../t; touch -hr link ../t; ln -sfn elsewhere link; touch -hr ../t link",
    /^differs: "link": target here became elsewhere$/,
  ],
  [
    "a kind",
    "touch -r big-0 ../t; rm big-0; mkfifo -m 644 big-0; touch -r ../t big-0",
    /^differs: "big-0": kind f became p/,
  ],
  ["something missing", "rm link", /^missing: "link" \(l\)$/],
  ["something new with a name that is not UTF-8", "mkdir \"$(printf '\\377')\"", /^too many: "ÿ" \(d\)$/],
];
for (const [name, script, expected] of changes) {
  Deno.test({
    name: `compareManifests() finds ${name}`,
    ignore: ignore || lacks("root"),
    async fn() {
      await using directory = await tempDirectory();
      const root = `${directory.path}/root`;
      Deno.mkdirSync(root);
      makeTree(root, { fileCount: 2, sizes: [9, 99], bigFiles: [100] });
      Deno.symlinkSync("here", `${root}/link`);
      const before = await manifest(root);
      await runProcess("sh", ["-c", script], { cwd: root, expectCode: 0, env: { TZ: "UTC" } });
      // Whether the directory's time changed is not asked here.
      const differences = compareManifests(before, await manifest(root));
      assertEquals(differences.length, 1, differences.join("\n"));
      assertEquals(expected.test(differences[0]), true, differences[0]);
    },
  });
}

Deno.test({
  name: "compareManifests() compares hard links, leaves out what it is told, and counts only so much aloud",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    const [a, b] = [`${directory.path}/a`, `${directory.path}/b`];
    await runProcess("sh", [
      "-c",
      "mkdir a b; echo 1 >a/x; ln a/x a/y; echo 1 >b/x; cp -p b/x b/y; touch -d @1 */*",
    ], {
      cwd: directory.path,
      expectCode: 0,
    });
    const manifests = [await manifest(a), await manifest(b)] as const;
    assertEquals(compareManifests(...manifests), []);
    assertEquals(compareManifests(...manifests, { hardLinks: true }), ['differs: "y": sameAs x became ""']);
    assertEquals(compareManifests(...manifests, { hardLinks: true, exclude: (path) => path === "y" }), []);
    for (let i = 0; i < 25; i++) Deno.writeTextFileSync(`${b}/n${i}`, "");
    await assertRejects(() => assertSameTree(a, b), Error, "… and 5 more");
  },
});
