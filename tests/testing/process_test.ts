import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { runProcess, startProcess } from "./process.ts";

Deno.test("runProcess() passes input, environment and directory, and returns both outputs and the code", async () => {
  const result = await runProcess("sh", ["-c", 'cat; echo "$WORD"; pwd >&2; exit 7'], {
    stdin: "in ",
    env: { WORD: "here" },
    cwd: "/",
  });
  assertEquals(result, { code: 7, signal: null, stdout: "in here\n", stderr: "/\n" });
});

Deno.test("runProcess() kills a program that takes too long and says what it printed", async () => {
  const error = await assertRejects(() =>
    runProcess("sh", ["-c", "echo started; exec sleep 60"], { timeoutMs: 200 })
  );
  assertStringIncludes(String(error), "started");
});

Deno.test("runProcess() throws on another code than expected", async () => {
  const error = await assertRejects(() =>
    runProcess("sh", ["-c", "echo why >&2; exit 3"], { expectCode: 0 })
  );
  assertStringIncludes(String(error), "why");
});

Deno.test("RunningProcess.waitForLine() goes on behind the line found last", async () => {
  await using process = startProcess("sh", ["-c", "echo a1; echo b; echo a2; exec sleep 60"]);
  assertEquals(await process.waitForLine("a"), "a1");
  assertEquals(await process.waitForLine(/^a/), "a2");
  await assertRejects(() => process.waitForLine("a", { timeoutMs: 100 }), Error, "Cannot wait for line");
});

Deno.test("RunningProcess.waitForLine() fails at once when the program has ended", async () => {
  await using process = startProcess("sh", ["-c", "echo only >&2; exit 4"]);
  const error = await assertRejects(() => process.waitForLine("never", { timeoutMs: 60_000 }));
  assertStringIncludes(String(error), "exit code 4");
  assertStringIncludes(String(error), "only");
});

Deno.test("RunningProcess is ended by its disposal, stopped or not", async () => {
  let pid;
  {
    await using process = startProcess("sleep", ["60"]);
    process.kill("SIGSTOP");
    pid = process.pid;
    assert(process.running);
  }
  const { code } = await runProcess("kill", ["-0", String(pid)]);
  assertEquals(code, 1);
});
