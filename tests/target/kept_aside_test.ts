/**
 * What a failback keeps before it is lost: which versions, under which names, and as what.
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { systemFileSystem } from "../../src/sys/system.ts";
import type { Tree } from "../../src/sys/file_system.ts";
import { KeptAside } from "../../src/target/kept_aside.ts";
import { lacks } from "../testing/needs.ts";
import { tempDirectory } from "../testing/temp.ts";

const ignore = lacks("linux");

/** A live tree, and where is kept what it loses. */
async function open(paths: string[] | undefined) {
  const directory = await tempDirectory();
  const [root, at] = [`${directory.path}/live`, `${directory.path}/kept`];
  Deno.mkdirSync(root);
  const fileSystem = systemFileSystem();
  const live = fileSystem.openTree(root);
  const make = (lookedAtNs: bigint) => new KeptAside({ directory: at, paths, lookedAtNs }, fileSystem);
  return {
    live,
    root,
    at,
    make,
    [Symbol.asyncDispose]: async () => (live.close(), await directory[Symbol.asyncDispose]()),
  };
}

function write(tree: Tree, path: string, contents: string): void {
  if (tree.stat(path)) tree.unlink(path);
  using file = tree.open(path, { access: "create" });
  file.write(new TextEncoder().encode(contents), 0);
}

function read(tree: Tree, path: string): string {
  using file = tree.open(path, { access: "read" });
  const buffer = new Uint8Array(100);
  return new TextDecoder().decode(buffer.subarray(0, file.read(buffer, 0)));
}

/** Everything in a tree: path and contents. */
function contents(root: string): Record<string, string> {
  using tree = systemFileSystem().openTree(root);
  const found: Record<string, string> = {};
  const below = [""];
  for (let at = below.pop(); at !== undefined; at = below.pop()) {
    for (const { name } of tree.list(at)) {
      const path = at === "" ? name : `${at}/${name}`;
      const { kind } = tree.stat(path)!;
      if (kind === "directory") below.push(path);
      found[path] = kind === "file" ? read(tree, path) : kind;
    }
  }
  return found;
}

const FAR = 1n << 62n;

Deno.test({
  name: "keep() keeps what was found unsent, and of all else what changed after it was looked at",
  ignore,
  async fn() {
    await using place = await open(["unsent"]);
    const { live, root, at } = place;
    for (const name of ["unsent", "acked", "later"]) write(live, name, name);
    live.setAttributes("acked", { mtimeNs: 5n });
    // All were made before FAR, and after 0.
    const before = place.make(FAR);
    before.keep(live, "unsent", "replaced");
    before.keep(live, "acked", "removed");
    assertEquals(contents(at), { unsent: "unsent" });
    const after = place.make(0n);
    after.keep(live, "later", "removed");
    assertEquals(contents(at), { unsent: "unsent", later: "later" });
    assertEquals(Object.keys(contents(root)).length, 3, "nothing is lost by keeping");
  },
});

Deno.test({
  name: "keep() does not keep what the failback made itself, unless it was changed since",
  ignore,
  async fn() {
    await using place = await open([]);
    const { live, at } = place;
    using aside = place.make(0n);
    aside.keep(live, "f", "replaced");
    write(live, "f", "brought back");
    aside.noteMade(live);
    aside.keep(live, "f", "replaced");
    write(live, "f", "brought back again");
    aside.noteMade(live);
    assertThrows(() => Deno.statSync(at), Deno.errors.NotFound, undefined, "nothing is kept yet");
    write(live, "f", "changed by somebody");
    aside.keep(live, "f", "replaced");
    assertEquals(contents(at), { f: "changed by somebody" });
  },
});

Deno.test({
  name: "keep() gives further versions further names, and keeps one version once",
  ignore,
  async fn() {
    await using place = await open(undefined);
    const { live, at } = place;
    write(live, "f", "one");
    place.make(0n).keep(live, "f", "replaced");
    // As a run that was broken off before it replaced the file.
    place.make(0n).keep(live, "f", "replaced");
    write(live, "f", "two!");
    place.make(0n).keep(live, "f", "removed");
    assertEquals(contents(at), { f: "one", "f.~2~": "two!" });
    // A directory where a file has the name.
    live.unlink("f");
    live.makeDirectory("f", 0o755);
    write(live, "f/below", "three");
    place.make(0n).keep(live, "f/below", "removed");
    assertEquals(contents(at), {
      f: "one",
      "f.~2~": "two!",
      "f.~3~": "directory",
      "f.~3~/below": "three",
    });
  },
});

Deno.test({
  name: "keep() copies what may still be changed: patched files, and those with several names",
  ignore,
  async fn() {
    await using place = await open(undefined);
    const { live, at } = place;
    write(live, "patched", "old");
    live.setAttributes("patched", { mode: 0o640, mtimeNs: 1_234_567_890_123_456_789n });
    write(live, "name", "old");
    live.link("name", "other");
    using aside = place.make(0n);
    aside.keep(live, "patched", "patched");
    aside.keep(live, "name", "removed");
    for (const path of ["patched", "other"]) {
      using file = live.open(path, { access: "write" });
      file.write(new TextEncoder().encode("new"), 0);
    }
    assertEquals(contents(at), { patched: "old", name: "old" });
    using kept = systemFileSystem().openTree(at);
    const { mode, mtimeNs } = kept.stat("patched")!;
    assertEquals([mode, mtimeNs], [0o640, 1_234_567_890_123_456_789n]);
  },
});

Deno.test({
  name:
    "keep() keeps names that are no Unicode, links, FIFOs and empty directories, also on another file system",
  ignore,
  async fn() {
    await using place = await open(undefined);
    const { live, at } = place;
    live.makeDirectory("d\udcff", 0o755);
    write(live, "d\udcff/f\udcfe", "raw");
    live.makeSymlink("link", "nowhere");
    live.makeNode("fifo", "fifo", "", 0o600);
    live.makeDirectory("empty", 0o755);
    // Another file system refuses links from here.
    const elsewhere = new Proxy(live, {
      get: (tree, name) => {
        if (name === "link") return () => Deno.linkSync("/proc/self/stat", `${place.root}/x`);
        const value = Reflect.get(tree, name);
        return typeof value === "function" ? value.bind(tree) : value;
      },
    });
    using aside = place.make(0n);
    for (const path of ["d\udcff/f\udcfe", "link", "fifo", "empty"]) aside.keep(elsewhere, path, "removed");
    assertEquals(contents(at), {
      "d\udcff": "directory",
      "d\udcff/f\udcfe": "raw",
      link: "symlink",
      fifo: "fifo",
      empty: "directory",
    });
    using kept = systemFileSystem().openTree(at);
    assertEquals(kept.readLink("link"), "nowhere");
    assert((kept.stat("")!.mode & 0o077) === 0, "nobody else looks into it");
  },
});
