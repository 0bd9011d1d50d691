/** A path that no op can name: one local user could make it, and must not stop the others' replication with it. */
import { assert, assertEquals } from "@std/assert";
import { systemFileSystem } from "../../src/sys/system.ts";
import { Pair } from "../testing/loopback.ts";
import { lacks } from "../testing/needs.ts";
import { makeTooDeep } from "../testing/too_deep.ts";

Deno.test({
  name: "Replicator leaves out what lies too deep for an op, names it as a problem, and replicates the rest",
  ignore: lacks("linux"),
  async fn() {
    await using pair = await Pair.open();
    Deno.mkdirSync(`${pair.sourceRoot}/deep`);
    const path = makeTooDeep(pair.sourceRoot, "deep");
    Deno.writeTextFileSync(`${pair.sourceRoot}/z`, "the rest");
    await pair.mirror();
    assertEquals(Deno.readTextFileSync(`${pair.replicaRoot}/z`), "the rest");
    using replica = systemFileSystem().openTree(pair.replicaRoot);
    const deepest = path.slice(0, path.lastIndexOf("/"));
    assert(replica.stat(deepest)?.kind === "directory");
    assertEquals(replica.list(deepest), []);
    const problems = pair.replicator.problems.list();
    assertEquals(problems.map(({ path, reason }) => [path.length, reason]), [
      [path.length, "its path is longer than 65535 bytes"],
    ]);
  },
});
