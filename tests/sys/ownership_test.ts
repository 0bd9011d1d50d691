/**
 * Owners under other numbers: both directions undo each other, and a tree that was made equal is found equal.
 * @module
 */
import { assertEquals } from "@std/assert";
import * as fc from "fast-check";
import { assignOwners } from "../../src/identity/assign_owners.ts";
import { ownedFileSystem, Owners } from "../../src/sys/ownership.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";

const ignore = lacks("linux", "root", "command setfacl");

Deno.test("Owners lead from each number there and back, and give no two the same one", () => {
  const number = fc.integer({ min: 0, max: 20 });
  const pairs = fc.uniqueArray(fc.tuple(number, number), { selector: ([source]) => source })
    .map((list) => list.filter(([, here], i) => list.findIndex((each) => each[1] === here) === i));
  fc.assert(fc.property(pairs, (users) => {
    const owners = new Owners({ users, groups: [] });
    const here = Array.from({ length: 30 }, (_, source) => owners.toHere("users", source));
    assertEquals(here.map((each) => owners.toSource("users", each)), Array.from(here, (_, source) => source));
    assertEquals(new Set(here).size, here.length);
    const seen = Array.from({ length: 30 }, (_, each) => owners.toSource("users", each));
    assertEquals(new Set(seen).size, seen.length);
  }));
});

Deno.test({
  name:
    "ownedFileSystem() reads and sets the source's numbers, of lists too, while the disk has those of the map",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    const map = { users: [[7001, 7002]], groups: [[8001, 8002]] } satisfies ConstructorParameters<
      typeof Owners
    >[0];
    using plain = systemFileSystem().openTree(directory.path);
    using owned = ownedFileSystem(systemFileSystem(), new Owners(map)).openTree(directory.path);
    using file = owned.open("f", { access: "create", mode: 0o640 });
    await runProcess("setfacl", ["-m", "u:7002:r,g:8005:r", `${directory.path}/f`], { expectCode: 0 });
    owned.setAttributes("f", { uid: 7001, gid: 8001 });
    const owner = (stat: { uid: number; gid: number } | undefined) => [stat?.uid, stat?.gid];
    assertEquals(owner(plain.stat("f")), [7002, 8002]);
    assertEquals([owner(owned.stat("f")), owner(file.stat())], [[7001, 8001], [7001, 8001]]);
    owned.scan("", (_name, stat) => assertEquals(owner(stat), [7001, 8001]));
    const [{ name, value }] = owned.xattrs("f");
    assertEquals([...new Uint32Array(value.slice(4).buffer)].includes(7001), true);
    owned.setXattr("f", name, value);
    assertEquals(plain.xattrs("f")[0].value.includes(7002 & 0xff), true);
    file.setAttributes({ uid: 7002 });
    // That number is somebody else's here: the source's 7002 has one of its own.
    assertEquals(plain.stat("f")!.uid, 7002 + 2 ** 31);
    assertEquals(owned.stat("f")!.uid, 7002);
  },
});

Deno.test({
  name: "assignOwners() gives a tree to others and leaves modes, times and capabilities",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    const { path } = directory;
    await runProcess("sh", [
      "-ec",
      `cd ${path}; mkdir -p d .keep; echo x >d/f; ln -s f d/l; echo y >g; echo z >.keep/k
       chown -h 7001:8001 d d/f d/l .keep/k; chmod 4751 d/f; setfacl -m u:7001:r g; touch -d @9 d/f d g`,
    ], { expectCode: 0 });
    using tree = systemFileSystem().openTree(path);
    const map = { users: [[7001, 7002]] as [number, number][], groups: [[8001, 8002]] as [number, number][] };
    const result = await assignOwners(tree, map, { isExcluded: (path) => path === ".keep" });
    assertEquals(result, { changedCount: 4, problems: [] });
    const shown = await runProcess("sh", [
      "-ec",
      `cd ${path}; stat -c '%n %u:%g %a %Y' d d/f; stat -c '%u:%g' d/l .keep/k; getfacl -np g | grep user:7; stat -c %Y g`,
    ], { expectCode: 0 });
    assertEquals(
      shown.stdout,
      "d 7002:8002 755 9\nd/f 7002:8002 4751 9\n7002:8002\n7001:8001\nuser:7002:r--\n9\n",
    );
  },
});
