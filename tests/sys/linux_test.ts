import { assert, assertEquals, assertMatch, assertNotEquals, assertThrows } from "@std/assert";
import { codeThrownBy, testFileSystem } from "../contract/file_system_suite.ts";
import { ExactTree } from "../../src/sys/exact_tree.ts";
import { SystemError } from "../../src/base/errors.ts";
import type { FileSystem, Tree } from "../../src/sys/file_system.ts";
import { linuxFileSystem } from "../../src/sys/linux.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { openPaths } from "../testing/descriptors.ts";
import { lacks } from "../testing/needs.ts";
import { loopMount, tmpfsMount } from "../testing/temp.ts";

const fileSystem = findFileSystem();
const ignore = fileSystem === undefined;
const isRoot = Deno.build.os !== "windows" && Deno.uid() === 0;

if (fileSystem === undefined) {
  console.log("linux file system not tested: libc cannot be used here");
} else {
  testFileSystem("linux", fileSystem);
  testFileSystem("linux without openat2", linuxFileSystem({ openat2: false }));
  testFileSystem("linux, names exactly", {
    ...fileSystem,
    openTree: (root, options) => new ExactTree(fileSystem.openTree(root, options)),
  });
}

function findFileSystem(): FileSystem | undefined {
  const found = systemFileSystem();
  return found.name === "linux" ? found : undefined;
}

function withTree(
  run: (tree: Tree, outside: string) => void,
  options?: { openat2?: boolean; confined?: boolean },
) {
  const outside = Deno.makeTempDirSync({ prefix: "understudy-sys-" });
  Deno.mkdirSync(`${outside}/root`);
  try {
    using tree = linuxFileSystem(options).openTree(`${outside}/root`, options);
    run(tree, outside);
  } finally {
    Deno.removeSync(outside, { recursive: true });
  }
}

function run(command: string, ...args: string[]): Deno.CommandOutput {
  return new Deno.Command(command, { args }).outputSync();
}

for (const openat2 of [true, false]) {
  const how = openat2 ? "openat2" : "without openat2";

  Deno.test(`linux, ${how}: paths of more than 4,096 bytes work in every method`, { ignore }, () => {
    withTree((tree) => {
      let path = "";
      for (let depth = 0; depth < 60; depth++) {
        path += (path && "/") + `${depth}-` + "ä".repeat(60);
        tree.makeDirectory(path, 0o755);
      }
      assert(new TextEncoder().encode(path).length > 7_000);
      tree.forgetDirectories();
      tree.open(`${path}/f`, { access: "create" }).close();
      tree.setAttributes(`${path}/f`, { mtimeNs: 5n });
      assertEquals(tree.stat(`${path}/f`)!.mtimeNs, 5n);
      tree.rename(`${path}/f`, `${path}/g`);
      assertEquals(tree.list(path).map((entry) => entry.name), ["g"]);
      tree.syncDirectory(path);
      using sub = tree.subtree(path);
      sub.unlink("g");
      while (path !== "") {
        tree.removeDirectory(path);
        path = path.slice(0, Math.max(0, path.lastIndexOf("/")));
      }
      assertEquals(tree.list(""), []);
    }, { openat2 });
  });

  Deno.test(`linux, ${how}: a tree that is confined refuses mounts`, { ignore: ignore || !isRoot }, () => {
    withTree((tree, outside) => {
      tree.makeDirectory("mount", 0o755);
      tree.makeDirectory("plain", 0o755);
      const mounted = run("mount", "-t", "tmpfs", "tmpfs", `${outside}/root/mount`);
      if (!mounted.success) return console.log("not tested: mount(8) is not allowed here");
      try {
        Deno.mkdirSync(`${outside}/root/mount/d`);
        assertEquals(codeThrownBy(() => tree.list("mount")), "EXDEV");
        assertEquals(codeThrownBy(() => tree.makeDirectory("mount/new", 0o755)), "EXDEV");
        assertEquals(codeThrownBy(() => tree.stat("mount/d/x")), "EXDEV");
        assertEquals(codeThrownBy(() => tree.setAttributes("mount", { mode: 0 })), "EXDEV");
        assertEquals(tree.list("plain"), []);
        assertEquals([...Deno.readDirSync(`${outside}/root/mount`)].map((entry) => entry.name), ["d"]);
        using open = linuxFileSystem({ openat2 }).openTree(`${outside}/root`);
        open.makeDirectory("mount/new", 0o755);
        assertEquals(open.stat("mount/new")!.kind, "directory");
      } finally {
        run("umount", `${outside}/root/mount`);
      }
    }, { openat2, confined: true });
  });

  /*
   * Goal: nothing appears outside of the root while somebody swaps a directory for a symbolic link to the outside.
   * Method: another process swaps `root/d` and a link to `away`; meanwhile every modifying method is used below `d`.
   */
  Deno.test(`linux, ${how}: swapping a directory for a symbolic link leads nothing outside`, {
    ignore,
  }, async () => {
    const outside = Deno.makeTempDirSync({ prefix: "understudy-sys-" });
    try {
      for (const directory of ["root/d", "away/sub"]) {
        Deno.mkdirSync(`${outside}/${directory}`, { recursive: true });
      }
      Deno.symlinkSync(`${outside}/away`, `${outside}/root/link`);
      Deno.writeTextFileSync(`${outside}/away/canary`, "sings");
      const before = describe(`${outside}/away`);
      const codes = await modifyWhileSwapping(`${outside}/root`, openat2);
      assertEquals(describe(`${outside}/away`), before);
      // Both states must have been met, or nothing was tested.
      assert((codes.get("") ?? 0) > 0 && (codes.get("ELOOP") ?? 0) > 0, JSON.stringify([...codes]));
    } finally {
      Deno.removeSync(outside, { recursive: true });
    }
  });
}

/** Counts what the calls came to, by errno name; `""` is success. */
async function modifyWhileSwapping(root: string, openat2: boolean): Promise<Map<string, number>> {
  await using _swapping = await startSwapping(root);
  using tree = linuxFileSystem({ openat2 }).openTree(root);
  const codes = new Map<string, number>();
  for (let i = 0; i < 1_000; i++) {
    if (i % 2 === 0) tree.forgetDirectories();
    for (const call of modifyingCalls(tree, i)) {
      const code = codeThrownBy(call);
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
  }
  return codes;
}

/** Starts a process that exchanges `d` and `link` in a loop, and waits until it does. */
async function startSwapping(root: string): Promise<AsyncDisposable> {
  const swapper = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", new URL("./swapper.ts", import.meta.url).href, root],
    stdout: "piped",
  }).spawn();
  const reader = swapper.stdout.getReader();
  await reader.read();
  reader.releaseLock();
  return {
    async [Symbol.asyncDispose]() {
      swapper.kill("SIGKILL");
      await swapper.stdout.cancel();
      await swapper.status;
    },
  };
}

function modifyingCalls(tree: Tree, i: number): (() => void)[] {
  return [
    () => tree.open(`d/f${i}`, { access: "create" }).close(),
    () => tree.open("d/canary", { access: "write" }).truncate(0),
    () => tree.makeDirectory(`d/d${i}`, 0o755),
    () => tree.makeSymlink(`d/l${i}`, "x"),
    () => tree.rename(`d/f${i}`, `d/g${i}`),
    () => tree.rename("d/canary", `gone${i}`),
    () => tree.setAttributes("d/canary", { mode: 0 }),
    () => tree.unlink("d/canary"),
    () => tree.removeDirectory("d/sub"),
    () => tree.subtree("d").unlink("canary"),
  ];
}

/** Names, sizes, modes and contents below a directory. */
function describe(directory: string): string[] {
  const entries = [...Deno.readDirSync(directory)].map(({ name, isFile }) => {
    const { mode, size } = Deno.lstatSync(`${directory}/${name}`);
    return `${name} ${mode} ${isFile ? `${size} ${Deno.readTextFileSync(`${directory}/${name}`)}` : ""}`;
  });
  return entries.sort();
}

Deno.test("linux: a user who is not root changes no owners", { ignore: ignore || !isRoot }, () => {
  withTree((tree, outside) => {
    Deno.chmodSync(outside, 0o755);
    tree.setAttributes("", { mode: 0o777 });
    // The child runs as another user and may not read this user's cache: it gets one bundled file.
    const script = `${outside}/script.js`;
    const entry = new URL("./other_user.ts", import.meta.url).href;
    const bundled = run(Deno.execPath(), "bundle", "-q", "-o", script, entry);
    if (!bundled.success) return console.log("not tested: the script cannot be bundled here");
    Deno.chmodSync(script, 0o644);
    const child = new Deno.Command("setpriv", {
      args: ["--reuid=65534", "--regid=65534", "--clear-groups", Deno.execPath()]
        .concat("run", "-A", "--no-config", script, `${outside}/root`),
      env: { HOME: `${outside}/root`, DENO_DIR: `${outside}/root/.deno`, DENO_NO_UPDATE_CHECK: "1" },
      cwd: outside,
    }).outputSync();
    const text = new TextDecoder();
    assertEquals(
      text.decode(child.stdout).trim(),
      '["linux",false,"EPERM","EPERM","",0,65534]',
      text.decode(child.stderr),
    );
  });
});

Deno.test("linux: errors name the errno, the verb and the whole path", { ignore }, () => {
  withTree((tree) => {
    const error = assertThrows(() => tree.list("a\n\udcff"), SystemError);
    assertEquals(error.code, "ENOENT");
    assertEquals(error.message, `Cannot list "${tree.rootPath}/a\\n\\xff": it does not exist (ENOENT)`);
    const renamed = assertThrows(() => tree.rename("a", "b"), SystemError);
    assertEquals(
      renamed.message,
      `Cannot rename "${tree.rootPath}/a" to "${tree.rootPath}/b": it does not exist (ENOENT)`,
    );
  });
});

Deno.test("linux: trees leave no descriptor open", { ignore }, () => {
  withTree((tree) => {
    // Those of this tree: tests of other files run in the same process.
    const count = () => openPaths().filter((path) => path.startsWith(tree.rootPath)).length;
    for (let i = 0; i < 100; i++) tree.makeDirectory(`d${i}`, 0o755);
    tree.open("file", { access: "create" }).close();
    tree.forgetDirectories();
    const before = count();
    for (let i = 0; i < 100; i++) {
      tree.scan(`d${i}`, () => {});
      tree.stat(`d${i}/x`);
      tree.syncDirectory(`d${i}`);
      codeThrownBy(() => tree.list("file"));
      codeThrownBy(() => tree.open(`d${i}`, { access: "read" }));
      tree.subtree(`d${i}`).close();
    }
    assert(count() <= before + 64, `${count()} open, ${before} before`);
    tree.forgetDirectories();
    assertEquals(count(), before);
  });
});

Deno.test({
  name: "fileSystemId() tells two file systems apart, and tells nothing where that would not last",
  ignore: lacks("linux", "root", "loop devices", "command mkfs.ext4"),
  async fn() {
    await using one = await loopMount({ sizeBytes: 8 << 20 });
    await using other = await loopMount({ sizeBytes: 8 << 20 });
    await using passing = await tmpfsMount({ sizeBytes: 8 << 20 });
    const idOf = (path: string) => {
      using tree = linuxFileSystem().openTree(path);
      return tree.fileSystemId();
    };
    Deno.mkdirSync(`${one.path}/below`);
    assertMatch(idOf(one.path), /^[0-9a-f]+$/);
    assertEquals(idOf(`${one.path}/below`), idOf(one.path));
    assertNotEquals(idOf(other.path), idOf(one.path));
    assertEquals(idOf(passing.path), "");
  },
});

Deno.test({
  name: "linux: where a file system knows no holes all is data, and punch() writes zeros",
  ignore: ignore || lacks("root"),
  fn() {
    const place = Deno.makeTempDirSync({ prefix: "understudy-sys-" });
    // ramfs has neither fallocate(2) nor an answer to SEEK_HOLE.
    assert(run("mount", "-t", "ramfs", "ramfs", place).success);
    try {
      using tree = linuxFileSystem().openTree(place);
      using file = tree.open("f", { access: "create" });
      const expected = new Uint8Array(100_000).fill(7);
      file.write(expected, 0);
      file.truncate(3_000_000);
      assertEquals(file.nextData(5), { start: 5, end: 3_000_000 });
      file.punch(10_000, 80_000);
      file.punch(2_999_999, 5_000);
      const found = new Uint8Array(100_000);
      file.read(found, 0);
      assertEquals(found, expected.fill(0, 10_000, 90_000));
      assertEquals(file.stat().size, 3_000_000);
    } finally {
      // Lazily: whoever looks at all mounts just now keeps it busy for a moment.
      assert(run("umount", "-l", place).success);
      Deno.removeSync(place);
    }
  },
});
