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
