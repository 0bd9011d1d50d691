/**
 * Goal: a simulated disk does what a real one does, and forgets what it may forget when its power is cut.
 *
 * Method: random calls to both, with the same outcome, errors included; and cuts with every seed of a range.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { linkSync } from "node:fs";
import { errorCode, SystemError } from "../../src/base/errors.ts";
import { joinPath, parentPath } from "../../src/base/path.ts";
import type { Tree } from "../../src/sys/file_system.ts";
import { linuxFileSystem } from "../../src/sys/linux.ts";
import { lacks } from "../testing/needs.ts";
import { tempDirectory } from "../testing/temp.ts";
import { SimulatedDisk, SimulatedTree } from "./disk.ts";
import { Random } from "./random.ts";

const path = fc.array(fc.constantFrom("a", "b"), { minLength: 1, maxLength: 3 }).map((names) =>
  names.join("/")
);
const call = fc.record({
  do: fc.constantFrom(
    "stat",
    "create",
    "write",
    "truncate",
    "mkdir",
    "symlink",
    "mksocket",
    "link",
    "unlink",
    "rmdir",
    "rename",
    "exchange",
    "chmod",
  ),
  path,
  to: path,
  size: fc.integer({ min: 0, max: 20 }),
});
type Call = typeof call extends fc.Arbitrary<infer Value> ? Value : never;

function doCall(tree: Tree, { do: what, path, to, size }: Call): void {
  switch (what) {
    case "stat":
      return void tree.stat(path);
    case "create":
      return tree.open(path, { access: "create", mode: 0o640 }).close();
    case "write":
    case "truncate": {
      using file = tree.open(path, { access: "write" });
      return what === "write" ? file.write(new Uint8Array(size).fill(size), size) : file.truncate(size);
    }
    case "mkdir":
      return tree.makeDirectory(path, 0o750);
    case "symlink":
      return tree.makeSymlink(path, to);
    case "mksocket":
      return tree.makeNode(path, "socket", "", 0o640);
    case "link":
      return link(tree, path, to);
    case "unlink":
      return tree.unlink(path);
    case "rmdir":
      return tree.removeDirectory(path);
    case "rename":
    case "exchange":
      return tree.rename(path, to, { exchange: what === "exchange" });
    case "chmod":
      // A link's mode is the system's own matter.
      if (tree.stat(path)?.kind !== "symlink") tree.setAttributes(path, { mode: 0o700 + size });
  }
}

/** One more name; no tree of the product does that. */
function link(tree: Tree, path: string, to: string): void {
  if (!tree.stat(path)) throw new SystemError("ENOENT", path);
  const parent = tree.stat(parentPath(to));
  if (!parent) throw new SystemError("ENOENT", to);
  // The call would follow a link in the middle of a path.
  if (parent.kind !== "directory") throw new SystemError(parent.kind === "symlink" ? "ELOOP" : "ENOTDIR", to);
  if (tree instanceof SimulatedTree) return tree.link(path, to);
  linkSync(joinPath(tree.rootPath, path), joinPath(tree.rootPath, to));
}

function outcome(tree: Tree, each: Call): string {
  try {
    doCall(tree, each);
    return "";
  } catch (error) {
    const code = errorCode(error);
    if (code === "") throw error;
    return code;
  }
}

function linesOf(tree: Tree, at = "", lines: string[] = []): string[] {
  const { kind, mode, size } = tree.stat(at)!;
  let contents = kind === "symlink" ? tree.readLink(at) : "";
  if (kind === "file") {
    using file = tree.open(at, { access: "read" });
    const bytes = new Uint8Array(size);
    file.read(bytes, 0);
    contents = `${bytes}`;
  }
  lines.push(`${at} ${kind} ${kind === "file" ? mode : ""} ${contents}`);
  if (kind === "directory") {
    for (const name of tree.list(at).map((entry) => entry.name).sort()) {
      linesOf(tree, joinPath(at, name), lines);
    }
  }
  return lines;
}

/** How many names each entry that is no directory has. */
function linkCountsOf(tree: Tree, at = ""): number[] {
  const { kind, linkCount } = tree.stat(at)!;
  if (kind !== "directory") return [linkCount];
  const names = tree.list(at).map(({ name }) => name).sort();
  return names.flatMap((name) => linkCountsOf(tree, joinPath(at, name)));
}

function newDisk(): SimulatedDisk {
  return new SimulatedDisk({ nowMs: () => 0, device: 1 });
}

Deno.test({
  name: "SimulatedDisk does what the system's does",
  ignore: lacks("linux"),
  async fn() {
    await using directory = await tempDirectory();
    let number = 0;
    fc.assert(
      fc.property(fc.array(call, { maxLength: 40, size: "max" }), (calls) => {
        const root = `${directory.path}/${++number}`;
        Deno.mkdirSync(root);
        using real = linuxFileSystem().openTree(root);
        using simulated = newDisk().openTree(root);
        for (const each of calls) {
          assertEquals(outcome(simulated, each), outcome(real, each), JSON.stringify(each));
        }
        assertEquals(linesOf(simulated), linesOf(real));
        assertEquals(linkCountsOf(simulated), linkCountsOf(real));
      }),
      { numRuns: 500 },
    );
  },
});

/** What is left of what `act` did to a disk with a file "old", for each of many seeds. */
function leftAfter(act: (tree: Tree) => void): Set<string> {
  const left = new Set<string>();
  for (let seed = 0; seed < 100; seed++) {
    const disk = newDisk();
    const tree = disk.openTree("/root");
    {
      using file = tree.open("old", { access: "create" });
      file.write(new Uint8Array([1]), 0);
    }
    tree.syncAll();
    act(tree);
    disk.cutPower(new Random(seed));
    left.add(
      linesOf(disk.openTree("/root")).slice(1).map((line) => line.replace(/ file \d+ /, "=")).join(" "),
    );
  }
  return left;
}

Deno.test("SimulatedDisk loses a name that was not synced, and contents, each for itself", () => {
  const left = leftAfter((tree) => {
    using file = tree.open("new", { access: "create" });
    file.write(new Uint8Array([2]), 0);
  });
  assertEquals(left, new Set(["old=1", "new= old=1", "new=2 old=1"]));
});

Deno.test("SimulatedDisk keeps what was synced, and a rename is whole or not at all", () => {
  const left = leftAfter((tree) => {
    using file = tree.open("new", { access: "create" });
    file.write(new Uint8Array([2]), 0);
    file.sync();
    tree.syncDirectory("");
    tree.rename("new", "old");
  });
  assertEquals(left, new Set(["new=2 old=1", "old=2"]));
});

Deno.test("SimulatedDisk lets nobody use what was open when its power was cut", () => {
  const disk = newDisk();
  const tree = disk.openTree("/root");
  disk.cutPower(new Random(1));
  assert(outcome(tree, { do: "create", path: "a", to: "", size: 0 }) === "EBADF");
});
