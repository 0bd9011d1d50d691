/**
 * Goal: without root, directories that their mode closes even to their owner are filled, renamed and emptied, and end
 * with the mode and time that the source gave them.
 *
 * Method: the tests run as root, for whom nothing is closed, so a wrapper of the file system says `EACCES` where the
 * kernel would say it to an owner without root.
 */
import { assertEquals } from "@std/assert";
import { SystemError } from "../../src/base/errors.ts";
import { parentPath } from "../../src/base/path.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { type Call, faultyFileSystem } from "../testing/faulty_file_system.ts";
import { file, Harness, mkdir, rename, transfer } from "../testing/receiver.ts";
import { tempDirectory } from "../testing/temp.ts";

const changesNames = new Set(["makeDirectory", "makeSymlink", "unlink", "removeDirectory", "create"]);

/** Refuses what an owner without root could not do in directories of their own. */
function refuseAsOwner(live: string) {
  const modeOf = (path: string) => Deno.lstatSync(path === "" ? live : `${live}/${path}`).mode!;
  const needs = (path: string, bits: number) => {
    if ((modeOf(path) & bits) !== bits) {
      throw new SystemError("EACCES", `Cannot reach "${path}": permission denied`);
    }
  };
  const search = (path: string) => {
    for (let at = path; at !== "";) needs(at = parentPath(at), 0o100);
  };
  return {
    before({ method, path, root, arguments: [, to, options] }: Call) {
      const isInto = method === "rename" && (options as { into?: unknown } | undefined)?.into !== undefined;
      if (isInto) return changeIn(to as string);
      if (root !== live || path === "" || method === "scan" || method === "list") return;
      search(path);
      if (changesNames.has(method)) changeIn(path);
      if (method !== "rename") return;
      changeIn(path);
      changeIn(to as string);
      if (Deno.lstatSync(`${live}/${path}`).isDirectory && parentPath(path) !== parentPath(to as string)) {
        needs(path, 0o200);
      }
    },
  };

  function changeIn(path: string): void {
    search(path);
    needs(parentPath(path), 0o300);
  }
}

Deno.test("closed directories are filled, renamed and emptied by their owner, and end as the source gave them", async () => {
  await using directory = await tempDirectory();
  const live = `${directory.path}/live`;
  const listener: { before?: (call: Call) => void } = {};
  using h = new Harness({
    directory: directory.path,
    fileSystem: faultyFileSystem(systemFileSystem(), listener),
  });
  h.hello();
  listener.before = refuseAsOwner(live).before;
  const closed = (mode: number) => ({ mode, mtimeNs: 1_600_000_000_000_000_000n + BigInt(mode) });
  const made = h.apply(
    mkdir("ro", closed(0o555)),
    file("ro/f", "in read-only"),
    mkdir("ro/sub", closed(0o500)),
    file("ro/sub/g", "x"),
    mkdir("none", closed(0)),
    file("none/f", "y"),
  );
  assertEquals(made, []);
  const changed = h.apply(
    file("ro/f", "again"),
    rename("ro/sub", "moved"),
    { kind: "unlink", path: "none/f" },
    ...transfer(1, "none/g", { blocks: [[0, "new"]], size: 3 }),
    { kind: "attributes", path: "none/g", attributes: { mode: 0o600 } },
  );
  assertEquals(changed, []);
  using tree = systemFileSystem().openTree(live);
  const expected = { ro: 0o555, moved: 0o500, none: 0 };
  for (const [path, mode] of Object.entries(expected)) {
    const stat = tree.stat(path)!;
    assertEquals({ mode: stat.mode, mtimeNs: stat.mtimeNs }, closed(mode), path);
  }
  assertEquals(Deno.readTextFileSync(`${live}/none/g`), "new");
  assertEquals(h.staged(), []);
});
