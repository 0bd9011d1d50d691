import { assertEquals } from "@std/assert";
import { tempDirectory } from "./temp.ts";
import { executable, replaceExecutable, run, startTarget } from "./understudy.ts";

/** Puts a shell script in the place of the executable while `body` runs. */
async function withScript(script: string, body: (path: string) => Promise<void>): Promise<void> {
  await using directory = await tempDirectory();
  const path = `${directory.path}/script`;
  await Deno.writeTextFile(path, `#!/bin/sh\n${script}`, { mode: 0o755 });
  using _replaced = replaceExecutable(path);
  await body(path);
}

Deno.test("run() runs the executable with arguments, input and a cache of its own", async () => {
  await withScript('cat; echo "$# $1 $2"; test -n "$UNDERSTUDY_CACHE_DIR"', async (path) => {
    assertEquals(await executable(), path);
    const result = await run(["status", "two words"], { stdin: "in " });
    assertEquals(result, { code: 0, signal: null, stdout: "in 2 status two words\n", stderr: "" });
  });
});

Deno.test("startTarget() waits for the address, and invites with it or with a proxy's", async () => {
  const script = `case $1 in
    serve-target) echo starting; echo "listening 127.0.0.1:4711"; exec sleep 60 ;;
    invite) echo "us1-$2-$6" ;;
  esac`;
  await withScript(script, async () => {
    await using server = await startTarget("/root-of-target");
    assertEquals(server.address, "127.0.0.1:4711");
    assertEquals(await server.invite("a"), "us1-a-127.0.0.1:4711");
    assertEquals(await server.invite("a", "127.0.0.1:1"), "us1-a-127.0.0.1:1");
  });
});
