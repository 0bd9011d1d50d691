import { assert, assertEquals } from "@std/assert";
import { limits } from "../../src/base/limits.ts";
import { MemoryKeeper } from "../../src/base/memory.ts";
import { runProcess } from "../testing/process.ts";

Deno.test("MemoryKeeper collects when the process has grown, and not again for what is needed", () => {
  let resident = 100e6;
  let collected = 0;
  const keeper = new MemoryKeeper({
    residentBytes: () => resident,
    collect: () => {
      collected++;
      resident -= 5e6;
    },
  });
  keeper.check();
  assertEquals(collected, 0);
  resident += limits.memorySlackBytes;
  keeper.check();
  assertEquals(collected, 1);
  keeper.check();
  assertEquals(collected, 1);
});

Deno.test("MemoryKeeper looks often while the process grows, and rarely while it does not", () => {
  let resident = 100e6;
  const keeper = new MemoryKeeper({ residentBytes: () => resident, collect: () => {} });
  for (let i = 0; i < 10; i++) keeper.step();
  assertEquals(keeper.step(), limits.memoryCheckIdleMs);
  resident += limits.memorySlackBytes / 8;
  assertEquals(keeper.step(), limits.memoryCheckMs);
  assertEquals(keeper.step(), 2 * limits.memoryCheckMs);
});

Deno.test("MemoryKeeper gives back what was freed once it has collected", () => {
  let resident = 100e6;
  const done: string[] = [];
  const keeper = new MemoryKeeper({
    residentBytes: () => resident,
    collect: () => void done.push("collect"),
    giveBack: () => void done.push("give back"),
  });
  resident += limits.memorySlackBytes;
  keeper.check();
  assertEquals(done, ["collect", "give back"]);
});

Deno.test("MemoryKeeper gives memory back to the system", async () => {
  // In a process of its own: tests of other files take and free memory meanwhile.
  const user = new URL("memory_user.ts", import.meta.url).pathname;
  const { stdout } = await runProcess(Deno.execPath(), ["run", "-A", user], { expectCode: 0 });
  const [before, full, after] = JSON.parse(stdout);
  assert(full - before > 100e6);
  assert(after < full - 50e6);
});
