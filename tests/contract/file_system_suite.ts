/**
 * What every {@linkcode FileSystem} must do. `tests/sys/` runs it over each implementation.
 * @module
 */
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { hex } from "../../src/base/bytes.ts";
import { errorCode, SystemError } from "../../src/base/errors.ts";
import type { DataRange, FileSystem, OpenFile, Stat, Tree } from "../../src/sys/file_system.ts";
import { setXattrs } from "../../src/sys/xattrs.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

const encode = (text: string) => new TextEncoder().encode(text);

/** A fresh directory with a tree in it. Gone when disposed. */
class Place implements Disposable {
  /** Holds `root` and whatever must stay outside of it. */
  readonly outside = Deno.makeTempDirSync({ prefix: "understudy-sys-" });
  readonly root = `${this.outside}/root`;
  readonly tree: Tree;

  constructor(fileSystem: FileSystem, options?: { confined?: boolean }) {
    Deno.mkdirSync(this.root);
    this.tree = fileSystem.openTree(this.root, options);
  }

  [Symbol.dispose](): void {
    this.tree.close();
    Deno.removeSync(this.outside, { recursive: true });
  }
}

function writeFile(tree: Tree, path: string, content: string): void {
  using file = tree.open(path, { access: "create" });
  file.write(encode(content), 0);
}

function readFile(tree: Tree, path: string): string {
  using file = tree.open(path, { access: "read" });
  return readAll(file);
}

function readAll(file: OpenFile): string {
  const buffer = new Uint8Array(file.stat().size + 10);
  return new TextDecoder().decode(buffer.subarray(0, file.read(buffer, 0)));
}

function assertCode(code: string | string[], call: () => unknown): void {
  const error = assertThrows(call, SystemError);
  assert([code].flat().includes(error.code), `${error.code} instead of ${code}: ${error.message}`);
  assert(error.message.startsWith("Cannot "), error.message);
}

function scanAll(tree: Tree, path: string): Map<string, Stat | undefined> {
  const found = new Map<string, Stat | undefined>();
  tree.scan(path, (name, stat) => {
    assert(!found.has(name), `${name} was visited twice`);
    found.set(name, stat && { ...stat });
  });
  return found;
}

/** Where a file has data. */
function dataOf(file: OpenFile): DataRange[] {
  const ranges: DataRange[] = [];
  for (let data = file.nextData(0); data; data = file.nextData(data.end)) ranges.push(data);
  return ranges;
}

/** Registers the suite for one implementation. */
export function testFileSystem(label: string, fileSystem: FileSystem): void {
  const { abilities } = fileSystem;
  const knowsHoles = fileSystem.name === "linux";
  const test = (name: string, run: (place: Place) => void, ignore = false) =>
    Deno.test(`${label}: ${name}`, { ignore }, () => {
      using place = new Place(fileSystem);
      run(place);
    });

  test("openTree() refuses a missing directory and a file", ({ outside }) => {
    Deno.writeTextFileSync(`${outside}/file`, "x");
    assertCode("ENOENT", () => fileSystem.openTree(`${outside}/missing`));
    assertCode("ENOTDIR", () => fileSystem.openTree(`${outside}/file`));
  });

  test("openTree() may lead through a symbolic link", ({ outside, tree }) => {
    writeFile(tree, "a", "through");
    Deno.symlinkSync("root", `${outside}/link`);
    using linked = fileSystem.openTree(`${outside}/link`);
    assertEquals(readFile(linked, "a"), "through");
  });

  test("stat() tells kind, size, mode and identity", ({ root, tree }) => {
    tree.makeDirectory("d", 0o750);
    writeFile(tree, "d/f", "12345");
    tree.makeSymlink("l", "anywhere");
    const [directory, file, link] = ["d", "d/f", "l"].map((path) => tree.stat(path)!);
    assertEquals([directory.kind, file.kind, link.kind], ["directory", "file", "symlink"]);
    assertEquals(file.size, 5);
    if (abilities.modes) assertEquals([directory.mode, file.mode], [0o750, 0o600]);
    const known = Deno.lstatSync(`${root}/d/f`);
    assertEquals([file.dev, file.ino, file.linkCount], [known.dev, BigInt(known.ino!), known.nlink!]);
    assertEquals(file.mtimeNs / 1_000_000n, BigInt(known.mtime!.getTime()));
    // Deno cuts change times to seconds.
    assertEquals(file.ctimeNs / 1_000_000_000n, BigInt(known.ctime!.getTime()) / 1_000n);
    assertEquals(tree.stat("")!.kind, "directory");
  });

  test("stat() is undefined where nothing is, and below a file", ({ tree }) => {
    writeFile(tree, "f", "");
    assertEquals(tree.stat("missing"), undefined);
    assertEquals(tree.stat("missing/deeper"), undefined);
    assertEquals(tree.stat("f/below"), undefined);
  });

  test("list() and scan() tell every entry once, without dots", ({ tree }) => {
    tree.makeDirectory("d", 0o755);
    const names = ["a", ".hidden", "..both", "ü ñ", "dir", "link"];
    for (const name of names.slice(0, 4)) writeFile(tree, `d/${name}`, name);
    tree.makeDirectory("d/dir", 0o755);
    tree.makeSymlink("d/link", "a");
    assertEquals(new Set(tree.list("d").map((entry) => entry.name)), new Set(names));
    const scanned = scanAll(tree, "d");
    assertEquals(new Set(scanned.keys()), new Set(names));
    for (const { name, kind } of tree.list("d")) {
      assertEquals(kind ?? scanned.get(name)!.kind, scanned.get(name)!.kind);
      assertEquals(scanned.get(name), tree.stat(`d/${name}`));
    }
    assertEquals([...scanAll(tree, "").keys()], ["d"]);
    assertCode("ENOENT", () => tree.list("missing"));
    assertCode("ENOTDIR", () => tree.scan("d/a", () => {}));
  });

  test("scan() sees all of 10,000 entries", ({ root, tree }) => {
    for (let i = 0; i < 10_000; i++) Deno.writeFileSync(`${root}/entry-${i}`, new Uint8Array(i % 3));
    const found = scanAll(tree, "");
    assertEquals(found.size, 10_000);
    for (let i = 0; i < 10_000; i++) assertEquals(found.get(`entry-${i}`)!.size, i % 3);
  });

  test("scan() leaves out what vanishes, and its visitor may scan and rename", ({ tree }) => {
    for (const name of ["a", "b", "c"]) {
      tree.makeDirectory(name, 0o755);
      writeFile(tree, `${name}/${name}1`, name);
    }
    const below: string[] = [];
    tree.scan("", (name, stat) => {
      const { ino } = stat!;
      tree.scan(name, (inner) => below.push(`${name}/${inner}`));
      assertEquals(stat!.ino, ino);
    });
    assertEquals(below.sort(), ["a/a1", "b/b1", "c/c1"]);
    tree.scan("a", () => {
      tree.rename("a", "moved");
      tree.makeDirectory("a", 0o755);
    });
    assertEquals(tree.stat("a/a1"), undefined);
    assertEquals(readFile(tree, "moved/a1"), "a");
  });

  test("open() creates once, reads and writes at offsets", ({ tree }) => {
    {
      using file = tree.open("f", { access: "create", mode: 0o640 });
      file.write(encode("world"), 6);
      file.write(encode("hello "), 0);
      assertEquals(readAll(file), "hello world");
      file.sync();
      if (abilities.modes) assertEquals(file.stat().mode, 0o640);
    }
    assertCode("EEXIST", () => tree.open("f", { access: "create" }));
    using file = tree.open("f", { access: "write" });
    file.write(encode("W"), 6);
    const buffer = new Uint8Array(4);
    using reader = tree.open("f", { access: "read" });
    assertEquals(reader.read(buffer, 5), 4);
    assertEquals(new TextDecoder().decode(buffer), " Wor");
    assertEquals(reader.read(buffer, 9), 2);
    assertEquals(reader.read(buffer, 100), 0);
    assertCode(["EBADF", "EACCES"], () => reader.write(encode("no"), 0));
  });

  test("open() gives a created file the mode asked for, whatever the umask", ({ tree }) => {
    tree.open("f", { access: "create", mode: 0o4777 }).close();
    tree.makeDirectory("d", 0o2777);
    assertEquals([tree.stat("f")!.mode, tree.stat("d")!.mode], [0o4777, 0o2777]);
  }, !abilities.modes);

  test("open() refuses what is not a regular file", ({ tree }) => {
    tree.makeDirectory("d", 0o755);
    writeFile(tree, "f", "");
    tree.makeSymlink("l", "f");
    for (const access of ["read", "write"] as const) {
      assertCode("EISDIR", () => tree.open("d", { access }));
      assertCode("ELOOP", () => tree.open("l", { access }));
      assertCode("ENOENT", () => tree.open("missing", { access }));
      assertCode("ENOTDIR", () => tree.open("f/below", { access }));
    }
    assertCode("EEXIST", () => tree.open("l", { access: "create" }));
  });

  test("open() of a FIFO fails and never waits", ({ root, tree }) => {
    const made = new Deno.Command("mkfifo", { args: [`${root}/fifo`] }).outputSync();
    assert(made.success);
    assertEquals(tree.stat("fifo")!.kind, "fifo");
    assertCode("EINVAL", () => tree.open("fifo", { access: "read" }));
    assertCode("EINVAL", () => tree.open("fifo", { access: "write" }));
  }, Deno.build.os === "windows");

  test("makeNode() makes FIFOs and sockets as they are asked for, and device nodes", ({ tree }) => {
    if (!abilities.nodes) return assertCode("ENOTSUP", () => tree.makeNode("n", "fifo", "", 0o640));
    tree.makeNode("fifo", "fifo", "", 0o640);
    tree.makeNode("socket", "socket", "", 0o600);
    assertCode("EEXIST", () => tree.makeNode("fifo", "socket", "", 0o640));
    assertEquals([tree.stat("fifo")!.kind, tree.stat("socket")!.kind], ["fifo", "socket"]);
    assertEquals([tree.stat("fifo")!.mode, tree.stat("fifo")!.device], [0o640, ""]);
    if (Deno.uid() !== 0) return assertCode("EPERM", () => tree.makeNode("null", "character", "1:3", 0o666));
    tree.makeNode("null", "character", "1:3", 0o600);
    tree.makeNode("disk", "block", "259:70000", 0o600);
    assertEquals(scanAll(tree, "").get("null")!.device, "1:3");
    const { kind, device } = tree.stat("disk")!;
    assertEquals([kind, device], ["block", "259:70000"]);
  });

  test("setXattr() sets, replaces and removes, of the entry itself, and xattrs() reads in order", ({ tree }) => {
    tree.makeDirectory("d", 0o755);
    writeFile(tree, "d/f", "contents");
    tree.makeSymlink("d/l", "f");
    assertEquals([tree.xattrs(""), tree.xattrs("d"), tree.xattrs("d/f"), tree.xattrs("d/l")], [
      [],
      [],
      [],
      [],
    ]);
    assertCode(["ENOENT", "ENOTSUP"], () => tree.setXattr("d/missing", "user.a", encode("1")));
    if (!abilities.xattrs) return assertCode("ENOTSUP", () => tree.setXattr("d/f", "user.a", encode("1")));
    const named = (path: string) => tree.xattrs(path).map(({ name, value }) => `${name}=${hex(value)}`);
    for (const path of ["", "d", "d/f"]) {
      tree.setXattr(path, "user.b", encode("1"));
      tree.setXattr(path, "user.\udcfe", new Uint8Array());
      tree.setXattr(path, "user.a", Uint8Array.of(0, 255));
      assertEquals(named(path), ["user.a=00ff", "user.b=31", "user.\udcfe="]);
      tree.setXattr(path, "user.b", encode("2"));
      tree.setXattr(path, "user.a", undefined);
      tree.setXattr(path, "user.never", undefined);
      assertEquals(named(path), ["user.b=32", "user.\udcfe="]);
    }
    // Of a link itself users keep nothing: what it leads to must not get it.
    assertCode("EPERM", () => tree.setXattr("d/l", "user.a", encode("1")));
    assertEquals(named("d/f"), ["user.b=32", "user.\udcfe="]);
    using file = tree.open("d/f", { access: "write" });
    file.setXattr("user.c", encode("3"));
    file.setXattr("user.b", undefined);
    assertEquals(file.xattrs().map(({ name }) => name), ["user.c", "user.\udcfe"]);
    assertEquals(named("d/f"), ["user.c=33", "user.\udcfe="]);
  });

  test(
    "setXattrs() gives exactly what is wanted, and says what was refused when the rest is set",
    ({ tree }) => {
      writeFile(tree, "f", "");
      using file = tree.open("f", { access: "write" });
      const one = encode("1");
      for (const name of ["user.old", "user.kept"]) file.setXattr(name, one);
      const wanted = [{ name: "user.kept", value: one }, { name: "user.new", value: one }];
      setXattrs(file, wanted);
      assertEquals(file.xattrs(), wanted);
      const large = { name: "user.large", value: new Uint8Array(70_000) };
      assertCode("E2BIG", () => setXattrs(file, [large, { name: "user.last", value: one }]));
      assertEquals(file.xattrs().map(({ name }) => name), ["user.last"]);
    },
    !abilities.xattrs,
  );

  test("truncate() cuts and extends with zeros, without filling the disk", ({ root, tree }) => {
    using file = tree.open("f", { access: "create" });
    file.write(encode("12345678"), 0);
    file.truncate(3);
    file.truncate(6);
    assertEquals(readAll(file), "123\0\0\0");
    const large = 5 * 2 ** 32 + 7;
    file.truncate(large);
    assertEquals(file.stat().size, large);
    file.write(encode("end"), large - 3);
    const buffer = new Uint8Array(4);
    assertEquals(file.read(buffer, large - 4), 4);
    assertEquals(new TextDecoder().decode(buffer), "\0end");
    const blocks = Deno.lstatSync(`${root}/f`).blocks;
    assert(blocks === null || blocks < 1_000, `${blocks} blocks`);
  });

  test("copyFrom() copies contents whole", ({ tree }) => {
    const content = new Uint8Array(3_500_001).map((_, i) => (i * 7 + (i >> 8)) & 0xff);
    using from = tree.open("from", { access: "create" });
    from.write(content, 0);
    for (const size of [content.length, 1, 0]) {
      from.truncate(size);
      using to = tree.open(`to${size}`, { access: "create" });
      using reader = tree.open("from", { access: "read" });
      to.copyFrom(reader);
      const copied = new Uint8Array(size + 1);
      assertEquals(to.read(copied, 0), size);
      assertEquals(copied.subarray(0, size), content.subarray(0, size));
    }
  });

  test("nextData() finds the data between holes, or says that all is data", ({ tree }) => {
    using file = tree.open("f", { access: "create" });
    assertEquals([file.nextData(0), file.nextData(5)], [undefined, undefined], "an empty file");
    const ranges = [{ start: 2 * MiB, end: 2 * MiB + 64 * KiB }, { start: 8 * MiB, end: 9 * MiB }];
    for (const { start, end } of ranges) file.write(new Uint8Array(end - start).fill(7), start);
    file.truncate(2 ** 34);
    if (!knowsHoles) return assertEquals(file.nextData(5), { start: 5, end: 2 ** 34 });
    assertEquals(dataOf(file), ranges);
    assertEquals(file.nextData(8 * MiB + 5), { start: 8 * MiB + 5, end: 9 * MiB });
    assertEquals([file.nextData(9 * MiB), file.nextData(2 ** 35)], [undefined, undefined]);
    file.truncate(8 * MiB + 1);
    assertEquals(dataOf(file), [ranges[0], { start: 8 * MiB, end: 8 * MiB + 1 }]);
  });

  test("nextData() says that all is data of a file without holes", ({ tree }) => {
    using file = tree.open("f", { access: "create" });
    file.write(new Uint8Array(MiB), 0);
    assertEquals(dataOf(file), [{ start: 0, end: MiB }], "zeros that were written are data");
    assertEquals(file.nextData(MiB - 1), { start: MiB - 1, end: MiB });
    assertEquals(file.nextData(MiB), undefined);
  });

  test("punch() makes zeros, which take no room where holes are known, and keeps the size", ({ root, tree }) => {
    using file = tree.open("f", { access: "create" });
    const size = 4 * MiB + 5;
    const expected = new Uint8Array(size).fill(7);
    file.write(expected, 0);
    const blocks = Deno.lstatSync(`${root}/f`).blocks;
    for (const [start, end] of [[100, 200], [MiB - 3, 2 * MiB + 7], [3 * MiB, 4 * MiB], [MiB, MiB]]) {
      for (let round = 0; round < 2; round++) file.punch(start, end - start);
      expected.fill(0, start, end);
    }
    const found = new Uint8Array(size);
    assertEquals([file.read(found, 0), file.stat().size], [size, size]);
    assert(Buffer.compare(found, expected) === 0, "contents");
    // Across the end of the file, and behind it.
    file.punch(4 * MiB, 100);
    file.punch(8 * MiB, MiB);
    assertEquals([file.stat().size, file.read(found, 0)], [size, size]);
    assert(Buffer.compare(found, expected.fill(0, 4 * MiB)) === 0, "contents");
    if (!knowsHoles) return;
    assert(Deno.lstatSync(`${root}/f`).blocks! <= blocks! - 2 * MiB / 512, "two MiB are free");
    assertEquals(file.nextData(MiB), { start: 2 * MiB, end: 3 * MiB });
  });

  test("copyFrom() copies holes as holes", ({ root, tree }) => {
    const size = 64 * MiB;
    using from = tree.open("from", { access: "create" });
    for (const at of [MiB, 20 * MiB + 77]) from.write(new Uint8Array(100_000).fill(7), at);
    from.truncate(size);
    using to = tree.open("to", { access: "create" });
    to.copyFrom(from);
    const [a, b] = [from, to].map((file) => {
      const bytes = new Uint8Array(size + 1);
      return bytes.subarray(0, file.read(bytes, 0));
    });
    assert(Buffer.compare(a, b) === 0, "contents");
    if (!knowsHoles) return;
    assertEquals(dataOf(to), dataOf(from));
    const [room, copiedRoom] = ["from", "to"].map((name) => Deno.lstatSync(`${root}/${name}`).blocks!);
    assert(copiedRoom <= room + 64, `${copiedRoom} blocks, ${room} in what was copied`);
  });

  test("a closed file and a closed tree fail with EBADF", ({ tree, root }) => {
    const file = tree.open("f", { access: "create" });
    file.close();
    file.close();
    assertCode("EBADF", () => file.read(new Uint8Array(1), 0));
    assertCode("EBADF", () => file.write(encode("x"), 0));
    assertCode("EBADF", () => file.nextData(0));
    assertCode("EBADF", () => file.punch(0, 1));
    const other = fileSystem.openTree(root);
    other.close();
    other.close();
    assertCode("EBADF", () => other.list(""));
    assertCode("EBADF", () => other.makeDirectory("d", 0o755));
  });

  test("makeSymlink() and readLink() keep the target as it is", ({ tree }) => {
    for (const target of ["/absolute/../x", "..", "ü", "dangling"]) {
      tree.makeSymlink("l", target);
      assertEquals(tree.readLink("l"), target);
      assertCode("EEXIST", () => tree.makeSymlink("l", "again"));
      tree.unlink("l");
    }
    writeFile(tree, "f", "");
    assertCode("EINVAL", () => tree.readLink("f"));
    assertCode("ENOENT", () => tree.readLink("missing"));
  });

  test("link() gives a further name, also in another tree, and follows no symbolic link", ({ outside, tree }) => {
    writeFile(tree, "f", "same");
    tree.makeDirectory("d", 0o755);
    tree.link("f", "d/again");
    const [first, second] = [tree.stat("f")!, tree.stat("d/again")!];
    assertEquals([second.ino, first.linkCount, second.linkCount], [first.ino, 2, 2]);
    tree.makeSymlink("l", "f");
    tree.link("l", "l2");
    assertEquals([tree.stat("l2")!.kind, tree.readLink("l2")], ["symlink", "f"]);
    Deno.mkdirSync(`${outside}/other`);
    using other = fileSystem.openTree(`${outside}/other`);
    tree.link("d/again", "third", { into: other });
    assertEquals([readFile(other, "third"), tree.stat("f")!.linkCount], ["same", 3]);
    assertCode("EEXIST", () => tree.link("f", "d/again"));
    assertCode("ENOENT", () => tree.link("missing", "new"));
    assertCode(["EPERM", "EISDIR"], () => tree.link("d", "d2"));
    tree.unlink("f");
    assertEquals(readFile(tree, "d/again"), "same");
  });

  test("unlink() and removeDirectory() take their own kind only", ({ tree }) => {
    tree.makeDirectory("d", 0o755);
    assertCode("EEXIST", () => tree.makeDirectory("d", 0o755));
    writeFile(tree, "d/f", "");
    tree.makeSymlink("l", "d");
    assertCode("EISDIR", () => tree.unlink("d"));
    assertCode("ENOTDIR", () => tree.removeDirectory("d/f"));
    assertCode("ENOTDIR", () => tree.removeDirectory("l"));
    assertCode("ENOTEMPTY", () => tree.removeDirectory("d"));
    assertCode("ENOENT", () => tree.unlink("missing"));
    assertCode("ENOENT", () => tree.removeDirectory("missing"));
    tree.unlink("l");
    tree.unlink("d/f");
    tree.removeDirectory("d");
    assertEquals(tree.list(""), []);
  });

  test("a removed and remade directory is the new one at once", ({ tree }) => {
    for (let round = 0; round < 3; round++) {
      tree.makeDirectory("d", 0o755);
      tree.makeDirectory("d/e", 0o755);
      writeFile(tree, "d/e/f", `${round}`);
      assertEquals(readFile(tree, "d/e/f"), `${round}`);
      tree.unlink("d/e/f");
      tree.removeDirectory("d/e");
      tree.removeDirectory("d");
    }
  });

  test("rename() moves, replaces and carries directories along", ({ tree }) => {
    writeFile(tree, "a", "A");
    writeFile(tree, "b", "B");
    tree.rename("a", "b");
    assertEquals([tree.stat("a"), readFile(tree, "b")], [undefined, "A"]);
    tree.makeDirectory("d", 0o755);
    tree.makeDirectory("d/e", 0o755);
    writeFile(tree, "d/e/f", "deep");
    tree.rename("d", "moved");
    assertEquals([tree.stat("d/e/f"), readFile(tree, "moved/e/f")], [undefined, "deep"]);
    tree.makeDirectory("d", 0o755);
    assertEquals(tree.list("d"), []);
    assertCode("ENOTEMPTY", () => tree.rename("d", "moved"));
    assertCode("ENOENT", () => tree.rename("missing", "x"));
    assertCode("EINVAL", () => tree.rename("moved", "moved/e/inside"));
  });

  test("rename() with exchange swaps two entries, or says that it cannot", ({ tree }) => {
    tree.makeDirectory("d", 0o755);
    writeFile(tree, "d/x", "x");
    writeFile(tree, "f", "f");
    if (!abilities.exchange) {
      return assertCode("ENOTSUP", () => tree.rename("d", "f", { exchange: true }));
    }
    assertEquals(readFile(tree, "d/x"), "x");
    tree.rename("d", "f", { exchange: true });
    assertEquals([readFile(tree, "f/x"), readFile(tree, "d")], ["x", "f"]);
    assertCode("ENOENT", () => tree.rename("d", "missing", { exchange: true }));
  });

  test("rename() into another tree moves across", ({ outside, tree }) => {
    Deno.mkdirSync(`${outside}/other/in`, { recursive: true });
    using other = fileSystem.openTree(`${outside}/other`);
    tree.makeDirectory("d", 0o755);
    writeFile(tree, "d/f", "moved");
    tree.rename("d/f", "in/g", { into: other });
    assertEquals([tree.stat("d/f"), readFile(other, "in/g")], [undefined, "moved"]);
    tree.rename("d", "in/d", { into: other });
    assertEquals(other.stat("in/d")!.kind, "directory");
  });

  test("setAttributes() sets what is given and leaves the rest", ({ root, tree }) => {
    tree.makeDirectory("d", 0o755);
    writeFile(tree, "f", "f");
    Deno.utimeSync(`${root}/f`, 1_000, 2_000);
    const mtimeNs = abilities.nanoseconds ? 1_234_567_890_123_456_789n : 1_234_567_890_123_000_000n;
    for (const path of ["f", "d", ""]) {
      tree.setAttributes(path, { mtimeNs });
      if (abilities.modes) tree.setAttributes(path, { mode: 0o1711 });
      if (abilities.ownership) tree.setAttributes(path, { uid: 4_000_000_123, gid: 4_000_000_124 });
      const stat = tree.stat(path)!;
      assertEquals(stat.mtimeNs, mtimeNs);
      if (abilities.modes) assertEquals(stat.mode, 0o1711);
      if (abilities.ownership) assertEquals([stat.uid, stat.gid], [4_000_000_123, 4_000_000_124]);
    }
    assertEquals(Deno.lstatSync(`${root}/f`).atime!.getTime(), 1_000_000);
    assertCode("ENOENT", () => tree.setAttributes("missing", { mtimeNs }));
  });

  test("setAttributes() of owner and mode together keeps set-id bits", ({ tree }) => {
    writeFile(tree, "f", "f");
    tree.setAttributes("f", { mode: 0o6755, uid: 1234, gid: 1234 });
    assertEquals(tree.stat("f")!.mode, 0o6755);
    using file = tree.open("f", { access: "write" });
    file.setAttributes({ mode: 0o4711, uid: 1235 });
    assertEquals([file.stat().mode, file.stat().uid, file.stat().gid], [0o4711, 1235, 1234]);
  }, !abilities.ownership);

  test("setAttributes() of a symbolic link never touches what it names", ({ tree }) => {
    writeFile(tree, "f", "f");
    tree.makeSymlink("l", "f");
    const before = tree.stat("f")!;
    const mtimeNs = 1_111_111_111_000_000_000n;
    tree.setAttributes("l", abilities.ownership ? { uid: 77, gid: 78, mtimeNs, mode: 0o600 } : { mtimeNs });
    const link = tree.stat("l")!;
    assertEquals(link.mtimeNs, mtimeNs);
    if (abilities.ownership) assertEquals([link.uid, link.gid], [77, 78]);
    assertEquals(tree.stat("f"), before);
  }, Deno.build.os === "windows");

  test("setAttributes() takes times before 1970 and an open file", ({ tree }) => {
    using file = tree.open("f", { access: "create" });
    for (const mtimeNs of [-1_500_000_000n, 0n, 1_000_000n, 2_222_222_222_987_000_000n]) {
      file.setAttributes({ mtimeNs });
      assertEquals(file.stat().mtimeNs, mtimeNs);
    }
    if (abilities.modes) file.setAttributes({ mode: 0o444 });
    if (abilities.modes) assertEquals(tree.stat("f")!.mode, 0o444);
  });

  test("syncDirectory(), syncAll() and space() work", ({ tree }) => {
    tree.makeDirectory("d", 0o755);
    tree.syncDirectory("");
    tree.syncDirectory("d");
    tree.syncAll();
    assertCode("ENOENT", () => tree.syncDirectory("missing"));
    const { freeBytes, totalBytes } = tree.space();
    assert(freeBytes > 0 && freeBytes <= totalBytes, `${freeBytes} of ${totalBytes}`);
  });

  test("subtree() is rooted at its directory", ({ tree }) => {
    tree.makeDirectory("d", 0o755);
    writeFile(tree, "d/f", "in");
    using sub = tree.subtree("d");
    assertEquals([sub.rootPath, readFile(sub, "f")], [`${tree.rootPath}/d`, "in"]);
    assertCode("EINVAL", () => sub.stat("../d"));
    assertCode("ENOENT", () => tree.subtree("missing"));
  });

  for (
    const path of [
      "..",
      "../canary",
      "a/..",
      "a/../../canary",
      "/etc",
      "/etc/passwd",
      ".",
      "a//b",
      "a/",
      "a\0b",
    ]
  ) {
    test(`every method refuses ${JSON.stringify(path)}`, ({ outside, tree }) => {
      Deno.writeTextFileSync(`${outside}/canary`, "sings");
      tree.makeDirectory("a", 0o755);
      writeFile(tree, "f", "f");
      for (const call of allCalls(tree, path)) assertCode("EINVAL", call);
      assertEquals(Deno.readTextFileSync(`${outside}/canary`), "sings");
      assertEquals(tree.list("").map((entry) => entry.name).sort(), ["a", "f"]);
    });
  }

  test("every method refuses a path through a symbolic link", ({ outside, tree }) => {
    Deno.mkdirSync(`${outside}/away/d`, { recursive: true });
    Deno.writeTextFileSync(`${outside}/away/canary`, "sings");
    writeFile(tree, "f", "f");
    tree.makeSymlink("absolute", `${outside}/away`);
    tree.makeSymlink("relative", "../away");
    tree.makeSymlink("inside", ".");
    for (const link of ["absolute", "relative", "inside"]) {
      for (const name of ["canary", "d", "d/deeper"]) {
        for (const call of allCalls(tree, `${link}/${name}`)) assertCode("ELOOP", call);
      }
      assertCode(["ELOOP", "ENOTDIR"], () => tree.list(link));
      assertCode(["ELOOP", "ENOTDIR"], () => tree.scan(link, () => {}));
      assertCode(["ELOOP", "ENOTDIR"], () => tree.subtree(link));
    }
    assertEquals(Deno.readTextFileSync(`${outside}/away/canary`), "sings");
    assertEquals([...Deno.readDirSync(`${outside}/away/d`)].length, 0);
  });

  test("names of 255 bytes work and longer ones fail", ({ tree }) => {
    const name = "n".repeat(255);
    writeFile(tree, name, "long");
    assertEquals(readFile(tree, name), "long");
    assertCode("ENAMETOOLONG", () => writeFile(tree, name + "n", ""));
  });

  test("names that are not Unicode are kept byte for byte, or refused", ({ tree }) => {
    const names = ["\udcff\udcfe", "a\udc80b", "line\nbreak", "tab\t\"quote'", "\u{1f600}"];
    if (!abilities.rawNames) return assertCode("EILSEQ", () => writeFile(tree, names[0], ""));
    tree.makeDirectory("\udcc3", 0o755);
    for (const name of names) {
      writeFile(tree, `\udcc3/${name}`, name.length.toString());
      tree.makeSymlink(`\udcc3/${name}.link`, name);
      assertEquals(tree.readLink(`\udcc3/${name}.link`), name);
      tree.unlink(`\udcc3/${name}.link`);
    }
    assertEquals(new Set(scanAll(tree, "\udcc3").keys()), new Set(names));
    for (const name of names) assertEquals(readFile(tree, `\udcc3/${name}`), name.length.toString());
    tree.rename("\udcc3", "plain");
    for (const name of names) tree.unlink(`plain/${name}`);
    tree.removeDirectory("plain");
  });

  test("more directories than are kept open stay right", ({ tree }) => {
    for (let i = 0; i < 200; i++) {
      tree.makeDirectory(`d${i}`, 0o755);
      writeFile(tree, `d${i}/f`, `${i}`);
    }
    for (let i = 0; i < 200; i++) {
      const other = (i * 37) % 200;
      tree.rename(`d${i}/f`, `d${other}/g${i}`);
      assertEquals(readFile(tree, `d${other}/g${i}`), `${i}`);
    }
    tree.forgetDirectories();
    assertEquals(tree.list("d0").map((entry) => entry.name), ["g0"]);
  });

  test("statDirectory() tells of the directory that its path leads to, and of nothing else", ({ root, tree }) => {
    tree.makeDirectory("d", 0o755);
    tree.makeDirectory("d/e", 0o750);
    writeFile(tree, "d/f", "");
    assertEquals(tree.statDirectory("")?.ino, tree.stat("")?.ino);
    assertEquals(tree.statDirectory("d/e"), tree.stat("d/e"));
    for (const path of ["d/f", "d/f/g", "none", "d/none/g"]) {
      assertEquals(tree.statDirectory(path), undefined, path);
    }
    Deno.renameSync(`${root}/d`, `${root}/away`);
    Deno.mkdirSync(`${root}/d`);
    tree.forgetDirectories();
    assertEquals(tree.statDirectory("d")?.ino, tree.stat("d")?.ino);
    assertEquals(tree.statDirectory("d/e"), undefined);
  });

  test("forgetDirectories() sees what others moved", ({ root, tree }) => {
    tree.makeDirectory("d", 0o755);
    writeFile(tree, "d/f", "old");
    Deno.renameSync(`${root}/d`, `${root}/gone`);
    Deno.mkdirSync(`${root}/d`);
    Deno.writeTextFileSync(`${root}/d/f`, "new");
    tree.forgetDirectories();
    assertEquals(readFile(tree, "d/f"), "new");
  });
}

/** One call of every method that takes a path; each must be refused without effect. */
function allCalls(tree: Tree, path: string): (() => unknown)[] {
  return [
    () => tree.stat(path),
    () => tree.statDirectory(path),
    () => tree.list(path),
    () => tree.scan(path, () => {}),
    () => tree.open(path, { access: "read" }),
    () => tree.open(path, { access: "write" }),
    () => tree.open(path, { access: "create" }),
    () => tree.readLink(path),
    () => tree.makeDirectory(path, 0o755),
    () => tree.makeSymlink(path, "target"),
    () => tree.link(path, "name"),
    () => tree.link("f", path),
    () => tree.unlink(path),
    () => tree.removeDirectory(path),
    () => tree.rename(path, "renamed"),
    () => tree.rename("f", path),
    () => tree.setAttributes(path, { mtimeNs: 0n }),
    () => tree.syncDirectory(path),
    () => tree.subtree(path),
  ];
}

/** The errno name of what a call throws, or `""` if it throws nothing. */
export function codeThrownBy(call: () => unknown): string {
  try {
    call();
    return "";
  } catch (error) {
    return errorCode(error);
  }
}
