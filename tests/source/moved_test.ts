/** Which entries count as moved. What a rename brings to a live name must be a whole file there. */
import { assertEquals } from "@std/assert";
import { Pair } from "../testing/loopback.ts";

const LARGE = 400_000;

Deno.test("Replicator does not rename a half-written large file to its final name, as an editor's save would have it", async () => {
  await using pair = await Pair.open();
  const [temporary, final] = [`${pair.sourceRoot}/.tmp`, `${pair.sourceRoot}/final`];
  Deno.writeFileSync(temporary, new Uint8Array(LARGE / 4));
  await pair.mirror();
  Deno.writeFileSync(temporary, new Uint8Array(LARGE));
  Deno.renameSync(temporary, final);
  await pair.look(".tmp", "final");
  const ops = pair.takeOps();
  assertEquals(ops.filter((op) => op.startsWith("rename")), []);
  assertEquals(Deno.statSync(`${pair.replicaRoot}/final`).size, LARGE);
});

Deno.test("Replicator renames a large file that did not change, and sends none of it", async () => {
  await using pair = await Pair.open();
  Deno.writeFileSync(`${pair.sourceRoot}/from`, new Uint8Array(LARGE).fill(7));
  await pair.mirror();
  Deno.renameSync(`${pair.sourceRoot}/from`, `${pair.sourceRoot}/to`);
  await pair.look("from", "to");
  const ops = pair.takeOps();
  assertEquals(ops.map((op) => op.split(" ")[0]), ["rename", "attributes"], ops.join("\n"));
});

Deno.test("Replicator looks below a directory that took the place of another one, however early it is looked at", async () => {
  await using pair = await Pair.open();
  const root = pair.sourceRoot;
  Deno.mkdirSync(`${root}/d/below`, { recursive: true });
  Deno.writeTextFileSync(`${root}/d/below/f`, "of the first");
  await pair.mirror();
  Deno.renameSync(`${root}/d`, `${root}/away`);
  Deno.mkdirSync(`${root}/d`);
  // The rename itself is told of only after this look.
  await pair.look("d");
  assertEquals([...Deno.readDirSync(`${pair.replicaRoot}/d`)], []);
  await pair.look("d", "away");
  assertEquals(Deno.readTextFileSync(`${pair.replicaRoot}/away/below/f`), "of the first");
  assertEquals([...Deno.readDirSync(`${pair.replicaRoot}/d`)], []);
});

Deno.test("Replicator does not take for a directory's own what it finds under its name in another one", async () => {
  await using pair = await Pair.open();
  const root = pair.sourceRoot;
  for (const name of ["first", "second"]) Deno.mkdirSync(`${root}/${name}`);
  await pair.mirror();
  Deno.renameSync(`${root}/first`, `${root}/away`);
  Deno.renameSync(`${root}/second`, `${root}/first`);
  Deno.writeTextFileSync(`${root}/first/f`, "of the second");
  // As fanotify tells it: by the name of now. That of the renames comes later.
  await pair.look("first/f");
  await pair.look("first", "second", "away");
  assertEquals([...Deno.readDirSync(pair.replicaRoot)].map(({ name }) => name).sort(), ["away", "first"]);
  assertEquals([...Deno.readDirSync(`${pair.replicaRoot}/away`)], []);
  assertEquals(Deno.readTextFileSync(`${pair.replicaRoot}/first/f`), "of the second");
});
