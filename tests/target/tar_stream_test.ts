import { assertEquals, assertRejects } from "@std/assert";
import { utf8 } from "../../src/base/bytes.ts";
import { type Problem, SystemError } from "../../src/base/errors.ts";
import type { Kind, Tree } from "../../src/sys/file_system.ts";
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
    onLeftOut: () => {},
    signal: new AbortController().signal,
    ...change,
  });
  await stream.writeEntries();
  await stream.end();
  return { bytes: new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer()), problems };
}

/** A tree with other answers to some calls. */
function treeWith(tree: Tree, answers: Partial<Tree>): Tree {
  return new Proxy(tree, {
    get(target, name) {
      const value = Reflect.get(answers, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function list(bytes: Uint8Array): Promise<string[]> {
  const { stdout } = await runProcess("tar", ["-tv", "--numeric-owner"], { stdin: bytes, expectCode: 0 });
  return stdout.trimEnd().split("\n");
}

Deno.test({
  name: "TarStream names a device node whose numbers are not known, and a socket",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    for (const name of ["file", "node", "socket"]) await Deno.writeTextFile(`${directory.path}/${name}`, "");
    using real = systemFileSystem().openTree(directory.path);
    const kinds: Record<string, Kind> = { node: "character", socket: "socket" };
    const tree = treeWith(real, {
      stat: (path) => ({ ...real.stat(path)!, ...path in kinds && { kind: kinds[path], device: "" } }),
    });
    const leftOut: string[] = [];
    const { bytes, problems } = await streamed(tree, {
      onLeftOut: (path, kind) => leftOut.push(`${path} ${kind}`),
    });
    assertEquals((await list(bytes)).length, 2);
    assertEquals(problems, [
      { path: "node", op: "archive", reason: "the numbers of its device are not known" },
    ]);
    assertEquals(leftOut, ["socket socket"]);
  },
});

Deno.test({
  name: "TarStream asks for extended attributes of each entry once, and keeps an entry without them",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    for (const name of ["a", "b"]) await Deno.mkdir(`${directory.path}/${name}`);
    await Deno.symlink("x", `${directory.path}/c`);
    await runProcess("ln", ["-P", "c", "d"], { cwd: directory.path, expectCode: 0 });
    using real = systemFileSystem().openTree(directory.path);
    const asked: string[] = [];
    const tree = treeWith(real, {
      xattrs(path) {
        asked.push(path);
        if (path === "b") throw new SystemError("EIO", "Cannot read attributes: EIO");
        return [{ name: "user.name", value: utf8(`of ${path}`) }];
      },
    });
    const { bytes, problems } = await streamed(tree);
    assertEquals(asked, ["", "a", "b", "c"]);
    assertEquals(problems.map(({ path, op }) => [path, op]), [["b", "read attributes of"]]);
    const text = new TextDecoder().decode(bytes);
    assertEquals(text.match(/SCHILY\.xattr\.user\.name=of .*/g), [
      "SCHILY.xattr.user.name=of ",
      "SCHILY.xattr.user.name=of a",
      "SCHILY.xattr.user.name=of c",
    ]);
    assertEquals((await list(bytes)).length, 5);
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
