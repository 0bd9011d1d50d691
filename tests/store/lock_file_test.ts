import { assertEquals, assertThrows } from "@std/assert";
import { CommandError } from "../../src/base/errors.ts";
import { acquireLock } from "../../src/store/lock_file.ts";
import { type RunningProcess, startProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";

/** Starts a process that takes the lock and keeps it. */
async function startHolder(path: string): Promise<RunningProcess> {
  const process = startProcess(Deno.execPath(), [
    "eval",
    `import { acquireLock } from ${JSON.stringify(import.meta.resolve("../../src/store/lock_file.ts"))};
     const lock = acquireLock(Deno.args[0]);
     console.log("held");
     setInterval(() => lock, 1000);`,
    path,
  ]);
  await process.waitForLine("held");
  return process;
}

Deno.test("acquireLock() refuses a second holder in another process and names the first", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/lock`;
  await using holder = await startHolder(path);
  const error = assertThrows(() => acquireLock(path), CommandError);
  assertEquals(error.message, `Cannot start: another understudy (pid ${holder.pid}) uses "${path}"`);
});

Deno.test("acquireLock() takes over the moment its holder was killed with SIGKILL", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/lock`;
  await using holder = await startHolder(path);
  holder.kill("SIGKILL");
  await holder.ended();
  using _lock = acquireLock(path);
  assertEquals(JSON.parse(Deno.readTextFileSync(path)).pid, Deno.pid);
});

Deno.test("acquireLock() refuses a second holder in the same process", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/lock`;
  {
    using _first = acquireLock(path);
    assertThrows(() => acquireLock(path), CommandError, `another understudy (pid ${Deno.pid})`);
  }
  using _again = acquireLock(path);
});

Deno.test("acquireLock() keeps the file, emptied, when it is freed twice", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/lock`;
  const lock = acquireLock(path);
  lock[Symbol.dispose]();
  lock[Symbol.dispose]();
  assertEquals(Deno.readTextFileSync(path), "");
});

Deno.test("acquireLock() does not mind garbage in the file", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/lock`;
  Deno.writeTextFileSync(path, "{".repeat(1000));
  using _lock = acquireLock(path);
  assertEquals(JSON.parse(Deno.readTextFileSync(path)).pid, Deno.pid);
});

Deno.test("acquireLock() shares with others who share, and with nobody else", async () => {
  await using directory = await tempDirectory();
  const path = `${directory.path}/lock`;
  {
    using alone = acquireLock(path);
    assertThrows(() => acquireLock(path, { shared: true }), CommandError);
    alone.share();
    using _second = acquireLock(path, { shared: true });
    assertThrows(() => acquireLock(path), CommandError);
  }
  using _free = acquireLock(path);
});
