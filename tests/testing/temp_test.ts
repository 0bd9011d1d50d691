import { assert, assertEquals, assertThrows } from "@std/assert";
import { lacks } from "./needs.ts";
import { loopMount, tempDirectory, tmpfsMount } from "./temp.ts";

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("tempDirectory() is gone after its scope, with all that is in it", async () => {
  let path;
  {
    await using directory = await tempDirectory();
    path = directory.path;
    Deno.mkdirSync(`${path}/closed`);
    Deno.writeTextFileSync(`${path}/closed/file`, "x");
    Deno.chmodSync(`${path}/closed`, 0o500);
  }
  assert(!exists(path));
});

for (const [name, mount] of [["tmpfsMount", tmpfsMount], ["loopMount", loopMount]] as const) {
  Deno.test({
    name: `${name}() is as big as asked, even with an open file gone after its scope`,
    ignore: name === "loopMount"
      ? lacks("linux", "root", "loop devices", "command mkfs.ext4")
      : lacks("linux", "root"),
    async fn() {
      let path;
      let open;
      {
        await using directory = await mount({ sizeBytes: 8 << 20 });
        path = directory.path;
        Deno.writeFileSync(`${path}/fits`, new Uint8Array(4 << 20));
        assertThrows(
          () => Deno.writeFileSync(`${path}/fits not`, new Uint8Array(8 << 20)),
          Error,
          "No space left",
        );
        open = Deno.openSync(`${path}/fits`);
      }
      assert(!exists(path));
      assertEquals((await open.stat()).size, 4 << 20);
      open.close();
    },
  });
}
