import { assertEquals, assertRejects } from "@std/assert";
import { utf8 } from "../../src/base/bytes.ts";
import { type Problem, SystemError } from "../../src/base/errors.ts";
import type { Stat, Tree } from "../../src/sys/file_system.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { BlockOutput } from "../../src/target/block_output.ts";
import { TarStream, type TarStreamOptions } from "../../src/target/tar_stream.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";

const ignore = lacks("linux", "command tar");

/** Streams a tree into memory. */
async function streamed(
  tree: Tree,
  change: Partial<TarStreamOptions> = {},
): Promise<{ bytes: Uint8Array<ArrayBuffer>; problems: Problem[] }> {
  const parts: Uint8Array[] = [];
  const problems: Problem[] = [];
  const stream = new TarStream({
    tree,
    path: "",
    write: (bytes) => Promise.resolve(void parts.push(bytes.slice())),
    onProblem: (problem) => problems.push(problem),
    signal: new AbortController().signal,
    ...change,
  });
  await stream.writeEntries();
  await stream.end();
  return { bytes: new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer()), problems };
}

/** A tree whose attributes say what the test wants of some paths. */
function treeWith(tree: Tree, stats: Record<string, Partial<Stat> & { device?: string }>): Tree {
  return new Proxy(tree, {
    get(target, name) {
      if (name === "stat") {
        return (path: string) => {
          const stat = target.stat(path);
          return stat && { ...stat, ...stats[path] };
        };
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function list(bytes: Uint8Array): Promise<string[]> {
  const { stdout } = await runProcess("tar", ["-tv", "--numeric-owner"], { stdin: bytes, expectCode: 0 });
  return stdout.trimEnd().split("\n");
}

Deno.test({
  name: "TarStream writes device nodes by the numbers that the system tells, and names those without",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    for (const name of ["disk", "null", "unknown"]) await Deno.writeTextFile(`${directory.path}/${name}`, "");
    using real = systemFileSystem().openTree(directory.path);
    const tree = treeWith(real, {
      disk: { kind: "block", device: "259:70000" },
      null: { kind: "character", device: "1:3" },
      unknown: { kind: "character" },
    });
    const { bytes, problems } = await streamed(tree);
    const lines = await list(bytes);
    assertEquals(lines.map((line) => line.split(/ +/)).slice(1).map((line) => [line[0][0], line[2]]), [
      ["b", "259,70000"],
      ["c", "1,3"],
    ]);
    assertEquals(problems, [
      { path: "unknown", op: "archive", reason: "the numbers of its device are not known" },
    ]);
  },
});

Deno.test({
  name: "TarStream asks for extended attributes of each entry once, and keeps an entry without them",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    for (const name of ["a", "b"]) await Deno.writeTextFile(`${directory.path}/${name}`, name);
    await Deno.link(`${directory.path}/a`, `${directory.path}/c`);
    using tree = systemFileSystem().openTree(directory.path);
    const asked: string[] = [];
    const { bytes, problems } = await streamed(tree, {
      xattrs(path) {
        asked.push(path);
        if (path === "b") throw new SystemError("EIO", "Cannot read attributes: EIO");
        return [["user.name", utf8(`of ${path}`)]];
      },
    });
    assertEquals(asked, ["", "a", "b"]);
    assertEquals(problems.map(({ path, op }) => [path, op]), [["b", "read attributes of"]]);
    const text = new TextDecoder().decode(bytes);
    assertEquals(text.match(/SCHILY\.xattr\.user\.name=of .*/g), [
      "SCHILY.xattr.user.name=of ",
      "SCHILY.xattr.user.name=of a",
    ]);
    assertEquals((await list(bytes)).length, 4);
  },
});

Deno.test({
  name: "TarStream leaves the reserved name at the root out, and makes the same bytes of the same tree",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    for (const path of [".understudy/staging", "d/.understudy", "b", "a"]) {
      await Deno.mkdir(`${directory.path}/${path}`, { recursive: true });
    }
    using tree = systemFileSystem().openTree(directory.path);
    const { bytes } = await streamed(tree);
    const { stdout } = await runProcess("tar", ["-t"], { stdin: bytes });
    assertEquals(stdout, "./\na/\nb/\nd/\nd/.understudy/\n");
    assertEquals((await streamed(tree)).bytes, bytes);
  },
});

Deno.test("TarStream ends with the reason of its signal, between entries and within a file", async () => {
  await using directory = await tempDirectory();
  await Deno.writeFile(`${directory.path}/file`, new Uint8Array(8 * 1024 ** 2));
  using tree = systemFileSystem().openTree(directory.path);
  for (const writes of [0, 2]) {
    const stop = new AbortController();
    let count = 0;
    const write = () => {
      if (++count === writes) stop.abort(new Error("stopped"));
      return Promise.resolve();
    };
    if (writes === 0) stop.abort(new Error("stopped"));
    await assertRejects(() => streamed(tree, { write, signal: stop.signal }), Error, "stopped");
    assertEquals(count, writes);
  }
});

Deno.test("BlockOutput fills one buffer while another is written, and waits for a slow reader then", async () => {
  const writes: { size: number; done: () => void }[] = [];
  const output = new BlockOutput((bytes) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    writes.push({ size: bytes.length, done: resolve });
    return promise;
  });
  let taken = 0;
  const piece = new Uint8Array(100_000);
  const adding = (async () => {
    for (let i = 0; i < 50; i++) {
      await output.add(piece);
      taken += piece.length;
    }
    await output.finish();
  })();
  const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
  await turn();
  const [{ size }] = writes;
  assertEquals(writes.length, 1, "one at a time");
  assertEquals(taken < 2 * size && taken > size, true, "two buffers are full at most");
  for (let i = 0; i < 5; i++) {
    writes[i].done();
    await turn();
  }
  await adding;
  assertEquals(writes.reduce((sum, write) => sum + write.size, 0), 5_000_000);
  assertEquals(output.size, 5_000_000);
});

Deno.test("BlockOutput tells a failed write to the next that adds", async () => {
  const output = new BlockOutput(() => Promise.reject(new Error("full")));
  const add = async () => {
    for (let i = 0; i < 50; i++) await output.add(new Uint8Array(100_000));
  };
  await assertRejects(add, Error, "full");
});
