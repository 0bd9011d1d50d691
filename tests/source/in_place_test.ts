/** When a large file is changed in place on the target: only where the source's was, too. */
import { assertEquals } from "@std/assert";
import { Pair } from "../testing/loopback.ts";

const MiB = 1024 ** 2;

/** Makes a file equal on both sides, lets `change` change it, and gives the base of the transfer that follows. */
async function baseAfter(change: (path: string, contents: Uint8Array) => void): Promise<string[]> {
  await using pair = await Pair.open();
  const path = `${pair.sourceRoot}/file`;
  const contents = new Uint8Array(2 * MiB);
  for (let at = 0; at < contents.length; at += 65_536) {
    crypto.getRandomValues(contents.subarray(at, at + 65_536));
  }
  Deno.writeFileSync(path, contents);
  await pair.mirror();
  change(path, contents);
  await pair.look("file");
  const opened = pair.takeOps().filter((op) => op.startsWith("open "));
  assertEquals(Deno.readFileSync(`${pair.replicaRoot}/file`), Deno.readFileSync(path));
  return opened;
}

function replaceByRename(path: string, contents: Uint8Array): void {
  Deno.writeFileSync(`${path}.new`, contents);
  Deno.renameSync(`${path}.new`, path);
}

Deno.test("Replicator patches a large file in which blocks were changed, or to which some were appended", async () => {
  assertEquals(
    await baseAfter((path, contents) => Deno.writeFileSync(path, contents.fill(1, 4096, 8192))),
    ["open file patch"],
  );
  assertEquals(
    await baseAfter((path) => Deno.writeFileSync(path, new Uint8Array(3 * MiB), { append: true })),
    ["open file patch"],
  );
});

Deno.test("Replicator does not patch a large file whose new version took its name by rename: it appears at once", async () => {
  assertEquals(
    await baseAfter((path, contents) => replaceByRename(path, contents.fill(1, 4096, 8192))),
    ["open file copy"],
  );
  assertEquals(
    await baseAfter((path, contents) => replaceByRename(path, contents.map((byte) => byte ^ 1))),
    ["open file empty"],
  );
});

Deno.test("Replicator does not patch a large file of which most is new, since that would be torn for long", async () => {
  assertEquals(
    await baseAfter((path, contents) => Deno.writeFileSync(path, contents.map((byte) => byte ^ 1))),
    ["open file empty"],
  );
});
