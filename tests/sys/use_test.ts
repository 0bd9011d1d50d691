/**
 * Who else uses a file: asked while other programs have it open, map it, lock it or run it.
 * @module
 */
import { assertEquals } from "@std/assert";
import { portableFileSystem } from "../../src/sys/portable.ts";
import { linuxFileSystem } from "../../src/sys/linux.ts";
import { lacks } from "../testing/needs.ts";
import { tempDirectory } from "../testing/temp.ts";

const ignore = lacks("linux", "command python3");

const script = `
import fcntl, mmap, os, sys
how, path = sys.argv[1:3]
if how == "read": kept = open(path, "rb")
if how == "write": kept = open(path, "r+b")
if how == "append": kept = open(path, "ab")
if how == "path": kept = os.open(path, os.O_PATH)
if how in ("map", "map to write"):
    with open(path, "r+b") as f:
        kept = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ if how == "map" else mmap.ACCESS_WRITE)
if how in ("flock", "shared flock"):
    kept = open(path, "rb")
    fcntl.flock(kept, fcntl.LOCK_EX if how == "flock" else fcntl.LOCK_SH)
if how == "lock of a range":
    kept = open(path, "r+b")
    fcntl.lockf(kept, fcntl.LOCK_EX, 1, 1)
if how == "lease":
    kept = open(path, "r+b")
    fcntl.fcntl(kept, 1024, fcntl.F_WRLCK)
    import signal
    signal.signal(signal.SIGIO, signal.SIG_IGN)
print("ready", flush=True)
sys.stdin.read()
`;

/** Calls `action` while another program uses a file in one of the ways of the script above. */
async function whileUsed(how: string, path: string, action: () => void): Promise<void> {
  const child = new Deno.Command("python3", {
    args: ["-c", script, how, path],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  action();
  await child.stdin.close();
  await child.status;
  await reader.cancel();
}

const ways = {
  read: "open",
  write: "open",
  append: "open",
  path: undefined,
  map: "open",
  "map to write": "open",
  flock: "locked",
  "shared flock": "locked",
  "lock of a range": "locked",
  lease: "open",
} as const;

for (const [how, use] of Object.entries(ways)) {
  Deno.test({
    name: `useOf() of a file that another program uses by "${how}"`,
    ignore,
    async fn() {
      await using directory = await tempDirectory();
      using tree = linuxFileSystem().openTree(directory.path, { confined: true });
      Deno.writeTextFileSync(`${directory.path}/f`, "contents");
      await whileUsed(how, `${directory.path}/f`, () => assertEquals(tree.useOf("f"), use));
      assertEquals(tree.useOf("f"), undefined, "not any more");
      assertEquals(Deno.readTextFileSync(`${directory.path}/f`), "contents");
    },
  });
}

Deno.test({
  name: "useOf() of a file with several names, one of which another program has open",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    using tree = linuxFileSystem().openTree(directory.path, { confined: true });
    Deno.writeTextFileSync(`${directory.path}/f`, "contents");
    Deno.linkSync(`${directory.path}/f`, `${directory.path}/g`);
    await whileUsed("read", `${directory.path}/g`, () => assertEquals(tree.useOf("f"), "open"));
  },
});

Deno.test({
  name: "useOf() of a program that runs",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    using tree = linuxFileSystem().openTree(directory.path, { confined: true });
    Deno.copyFileSync("/bin/sleep", `${directory.path}/sleep`);
    assertEquals(tree.useOf("sleep"), undefined);
    const child = new Deno.Command(`${directory.path}/sleep`, { args: ["100"] }).spawn();
    assertEquals(tree.useOf("sleep"), "open");
    child.kill();
    await child.status;
    assertEquals(tree.useOf("sleep"), undefined);
  },
});

Deno.test({
  name: "useOf() does not count our own descriptors, but a lock of another program",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    using tree = linuxFileSystem().openTree(directory.path, { confined: true });
    Deno.writeTextFileSync(`${directory.path}/f`, "contents");
    using _read = Deno.openSync(`${directory.path}/f`);
    using _write = Deno.openSync(`${directory.path}/f`, { write: true });
    assertEquals(tree.useOf("f"), undefined);
    await whileUsed("flock", `${directory.path}/f`, () => assertEquals(tree.useOf("f"), "locked"));
  },
});

Deno.test({
  name: "useOf() knows of no use of what is no regular file, or not there",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    using tree = linuxFileSystem().openTree(directory.path, { confined: true });
    tree.makeDirectory("d", 0o755);
    tree.makeSymlink("l", "d");
    tree.makeNode("p", "fifo", "", 0o600);
    using _directory = Deno.openSync(`${directory.path}/d`);
    for (const path of ["", "d", "l", "p", "absent", "absent/f", "p/f"]) {
      assertEquals(tree.useOf(path), undefined, path);
    }
  },
});

Deno.test({
  name: "useOf() leaves no lease behind, and whoever opens the file meanwhile gets it",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    using tree = linuxFileSystem().openTree(directory.path, { confined: true });
    const path = `${directory.path}/f`;
    Deno.writeTextFileSync(path, "contents");
    const child = new Deno.Command("sh", {
      args: [
        "-c",
        `i=0; while [ $i -lt 3000 ]; do : < "$0" || exit 1; : >> "$0" || exit 2; i=$((i+1)); done`,
        path,
      ],
    }).spawn();
    let isOver = false;
    child.status.then(() => isOver = true);
    let asked = 0;
    // The kernel tells by a signal of each such meeting, which must not end this process.
    while (!isOver) {
      for (let i = 0; i < 100; i++) tree.useOf("f");
      asked += 100;
      await new Promise((resolve) => setTimeout(resolve));
    }
    assertEquals((await child.status).code, 0, `asked ${asked} times`);
  },
});

Deno.test({
  name: "useOf() of the portable file system cannot tell, and says so",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    const fileSystem = portableFileSystem();
    using tree = fileSystem.openTree(directory.path);
    Deno.writeTextFileSync(`${directory.path}/f`, "contents");
    await whileUsed("flock", `${directory.path}/f`, () => assertEquals(tree.useOf("f"), undefined));
    assertEquals([fileSystem.tellsFileUse, linuxFileSystem().tellsFileUse], [false, true]);
  },
});
