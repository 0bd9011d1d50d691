/**
 * Archives as GNU tar reads them, which is what they are for; and the edges of fields and records.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { pathFromBytes, pathToBytes } from "../../src/base/path.ts";
import { aclText } from "../../src/target/acl_text.ts";
import {
  BLOCK_SIZE,
  encodeTarEnd,
  encodeTarEntry,
  RECORD_SIZE,
  type TarEntry,
} from "../../src/target/tar.ts";
import { manifest } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";

const ignore = lacks("linux", "command tar");

function entry(change: Partial<TarEntry> & { path: string }): TarEntry {
  return {
    kind: "file",
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    mtimeNs: 1_000_000_000_000_000_000n,
    ...change,
  };
}

function archive(entries: TarEntry[]): Uint8Array<ArrayBuffer> {
  const bytes = concatBytes(...entries.map(encodeTarEntry));
  return concatBytes(bytes, encodeTarEnd(bytes.length));
}

/** Unpacks with GNU tar. */
async function extract(entries: TarEntry[], directory: string, args: string[] = []): Promise<void> {
  await runProcess("tar", ["-xp", "--numeric-owner", "-C", directory, ...args], {
    stdin: archive(entries),
    expectCode: 0,
  });
}

/** A name with a byte that is not UTF-8. */
const rawName = pathFromBytes(new Uint8Array([0x72, 0xff, 0xfe]));

for (const size of [99, 100, 101, 155, 156, 157, 200, 255, 256, 257, 1000, 4000]) {
  Deno.test({
    name: `encodeTarEntry() keeps paths of ${size} bytes, also in pieces, in Unicode and in no character set`,
    ignore,
    async fn() {
      await using place = await tempDirectory();
      const names = ["a", "é", rawName].map((unit) => pathOf(unit, size));
      await extract(names.map((path) => entry({ path })), place.path);
      const found = await manifest(place.path);
      for (const path of names) assert(found.has(latin1(path)), `${JSON.stringify(path)} is there`);
    },
  });
}

/** A path of `size` bytes in names of at most 99, made of `unit` and filled up with `x`. */
function pathOf(unit: string, size: number): string {
  const parts: string[] = [];
  for (let left = size; left > 0; left -= 100) {
    const partSize = Math.min(99, left);
    const count = Math.floor(partSize / pathToBytes(unit).length);
    parts.push(
      unit.repeat(count).padEnd(unit.repeat(count).length + partSize % pathToBytes(unit).length, "x"),
    );
  }
  return parts.join("/");
}

/** A path as manifests have it: a character a byte. */
function latin1(path: string): string {
  return String.fromCharCode(...pathToBytes(path));
}

Deno.test({
  name: "encodeTarEntry() keeps numbers, times and links that no field of the header holds",
  ignore: ignore || lacks("root"),
  async fn() {
    await using place = await tempDirectory();
    const long = `${rawName}/${"l".repeat(150)}`;
    await extract([
      entry({ path: "ids", uid: 4_000_000_000, gid: 2_097_152 }),
      entry({ path: "edge", uid: 2_097_151, gid: 2_097_151, mode: 0o7755 }),
      entry({ path: "old", mtimeNs: -1n }),
      entry({ path: "older", mtimeNs: -1_000_000_000_123_456_789n }),
      entry({ path: "second", mtimeNs: -1_000_000_000n }),
      entry({ path: "fraction", mtimeNs: 1_500_000_000_100_000_000n }),
      entry({ path: "late", mtimeNs: 9_000_000_000_000_000_001n }),
      entry({ path: "to long", kind: "symlink", mode: 0o777, linkPath: `${"t".repeat(120)}\n` }),
      entry({ path: "to raw", kind: "symlink", mode: 0o777, linkPath: long }),
      entry({ path: "to é", kind: "symlink", mode: 0o777, linkPath: "é", mtimeNs: 5n }),
      entry({ path: long }),
      entry({ path: `${rawName}${"n".repeat(200)}`, kind: "link", linkPath: long, mtimeNs: 7n }),
      entry({ path: "pipe", kind: "fifo" }),
      entry({ path: "null", kind: "character", device: { major: 1, minor: 3 } }),
      entry({ path: "disk", kind: "block", device: { major: 259, minor: 70_000 } }),
      entry({ path: "empty", kind: "directory", mode: 0o1700 }),
    ], place.path);
    const found = await manifest(place.path);
    const times = ["old", "older", "second", "fraction", "late"].map((path) => found.get(path)!.mtime);
    assertEquals(times, [
      "-1.999999999",
      "-1000000001.876543211",
      "-1.000000000",
      "1500000000.100000000",
      "9000000000.000000001",
    ]);
    const ids = found.get("ids")!, edge = found.get("edge")!;
    assertEquals([ids.uid, ids.gid, edge.uid, edge.gid], [4_000_000_000, 2_097_152, 2_097_151, 2_097_151]);
    assertEquals([edge.mode, found.get("empty")!.mode], ["7755", "1700"]);
    assertEquals(found.get("to long")!.target, `${"t".repeat(120)}\n`);
    assertEquals(found.get("to raw")!.target, latin1(long));
    assertEquals([found.get(latin1("to é"))!.target, found.get(latin1("to é"))!.mtime], [
      latin1("é"),
      "0.000000005",
    ]);
    const names = [latin1(long), latin1(`${rawName}${"n".repeat(200)}`)].sort();
    assertEquals(found.get(names[1])!.sameAs, names[0]);
    assertEquals(["pipe", "null", "disk"].map((path) => found.get(path)!.kind), ["p", "c", "b"]);
    const { stdout } = await runProcess("stat", ["-c", "%t:%T", `${place.path}/null`, `${place.path}/disk`]);
    assertEquals(stdout, "1:3\n103:11170\n");
  },
});

Deno.test({
  name: "encodeTarEntry() says sizes of 8 GiB and more",
  ignore,
  async fn() {
    const size = 8 * 1024 ** 3;
    for (const each of [size - 1, size, 2 ** 50]) {
      const { stdout } = await runProcess("tar", ["-tv", "--numeric-owner"], {
        stdin: encodeTarEntry(entry({ path: "large", size: each })),
      });
      assert(stdout.includes(` ${each} `), stdout);
    }
  },
});

Deno.test({
  name: "encodeTarEntry() keeps extended attributes and ACLs, as GNU tar restores them",
  ignore: ignore || lacks("root"),
  async fn() {
    await using place = await tempDirectory();
    const acl = encodeAcl([[1, 6, -1], [2, 7, 1000], [4, 4, -1], [8, 1, 70_000], [16, 7, -1], [32, 4, -1]]);
    await extract(
      [
        entry({
          path: "file",
          mode: 0o674,
          xattrs: [
            { name: "user.text", value: utf8("value") },
            { name: "user.bytes", value: new Uint8Array([0, 10, 61, 255]) },
            { name: "user.a=b%3D", value: utf8("odd") },
            { name: "trusted.x", value: utf8("t") },
            { name: "system.posix_acl_access", value: acl },
          ],
        }),
        entry({
          path: "directory",
          kind: "directory",
          xattrs: [{ name: "system.posix_acl_default", value: acl }],
        }),
      ],
      place.path,
      ["--xattrs", "--xattrs-include=*", "--acls"],
    );
    const script = "import os,sys\nfor p in sys.argv[1:]:\n" +
      " print(sorted((n, os.getxattr(p, n).hex()) for n in os.listxattr(p)))";
    const { stdout } = await runProcess("python3", ["-c", script, "file", "directory"], {
      cwd: place.path,
      expectCode: 0,
    });
    const pair = (name: string, value: Uint8Array) => `('${name}', '${value.toHex()}')`;
    assertEquals(stdout.split("\n"), [
      `[${
        [
          pair("system.posix_acl_access", acl),
          pair("trusted.x", utf8("t")),
          pair("user.a=b%3D", utf8("odd")),
          pair("user.bytes", new Uint8Array([0, 10, 61, 255])),
          pair("user.text", utf8("value")),
        ].join(", ")
      }]`,
      `[${pair("system.posix_acl_default", acl)}]`,
      "",
    ]);
  },
});

Deno.test("aclText() writes the entries by their numbers, and nothing of what is no ACL", () => {
  const acl = encodeAcl([[1, 6, -1], [2, 5, 42], [32, 0, -1]]);
  assertEquals(aclText(acl), "user::rw-,user:42:r-x:42,other::---");
  assertEquals(aclText(acl.subarray(0, 11)), undefined);
  assertEquals(aclText(new Uint8Array(3)), undefined);
  assertEquals(aclText(new Uint8Array([1, 0, 0, 0])), undefined);
  assertEquals(aclText(encodeAcl([[3, 0, 0]])), undefined);
});

/** As `linux/posix_acl_xattr.h` has it. */
function encodeAcl(entries: [tag: number, permissions: number, id: number][]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(4 + 8 * entries.length));
  view.setUint32(0, 2, true);
  entries.forEach(([tag, permissions, id], i) => {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, permissions, true);
    view.setInt32(8 + 8 * i, id, true);
  });
  return new Uint8Array(view.buffer);
}

Deno.test("encodeTarEnd() fills up whole records and has two blocks of zeros at least", () => {
  for (const blocks of [0, 1, 17, 18, 19, 20, 21]) {
    const size = blocks * BLOCK_SIZE;
    const end = encodeTarEnd(size);
    assertEquals((size + end.length) % RECORD_SIZE, 0);
    assert(end.length >= 2 * BLOCK_SIZE && end.length < RECORD_SIZE + 2 * BLOCK_SIZE);
  }
});

Deno.test("encodeTarEntry() counts the digits of a record's length", () => {
  // " path=" and the line feed are seven bytes, the digits two or three.
  for (let size = 60; size < 1100; size++) {
    const bytes = encodeTarEntry(
      entry({ path: "x", xattrs: [{ name: "user.a", value: new Uint8Array(size) }] }),
    );
    const record = bytes.subarray(BLOCK_SIZE);
    const space = record.indexOf(0x20);
    const length = Number(new TextDecoder().decode(record.subarray(0, space)));
    assertEquals(record[length - 1], 0x0a, `${size}`);
    assert(length % BLOCK_SIZE === 0 || record[length] === 0, `${size}`);
  }
});
