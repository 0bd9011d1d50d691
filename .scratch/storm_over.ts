import { openReplication } from "/work/main/tests/testing/replication.ts";
import { runProcess } from "/work/main/tests/testing/process.ts";
const text = Deno.readTextFileSync("/work/main/tests/cli/rename_storm_test.ts");
const STORM = text.match(/const STORM = `([\s\S]*?)`;/)![1];
const FILL = text.match(/const program = `([\s\S]*?)`;/)![1];
const [interceptor, seed, rounds] = Deno.args;
{
  await using r = await openReplication({ road: "local" });
  await runProcess("python3", ["-c", FILL, r.source, "1000"], { expectCode: 0 });
  await Deno.mkdir(`${r.directory}/outside`);
  await r.watch(["--intercept", interceptor, "--guard-deletes", "off"]);
  const pid = JSON.parse((await r.run(["status", "--json"])).stdout).pid;
  let go = true;
  const stopMs = Number(Deno.args[3] ?? 0), runMs = Number(Deno.args[4] ?? 300);
  const toggling = (async () => {
    while (go && stopMs > 0) {
      Deno.kill(pid, "SIGSTOP");
      await new Promise((d) => setTimeout(d, Math.random() * 2 * stopMs));
      Deno.kill(pid, "SIGCONT");
      await new Promise((d) => setTimeout(d, Math.random() * 2 * runMs));
    }
  })();
  let before = (await r.laneStatus()).opsSent;
  for (let round = 0; round < Number(rounds); round++) {
    const { stdout } = await runProcess("python3", [
      "-c",
      STORM,
      r.source,
      `${r.directory}/outside`,
      "5000",
      `${Number(seed) + 10 * round}`,
      "1",
    ], { expectCode: 0, timeoutMs: 120000 });
    await r.flush();
    await r.assertEqual();
    const st = JSON.parse((await r.run(["status", "--json"])).stdout);
    const { opsSent } = await r.laneStatus();
    console.log(
      interceptor,
      seed,
      round,
      "sent",
      (opsSent.file ?? 0) - (before.file ?? 0),
      "came",
      stdout.trim(),
      "overflows",
      st.capture.overflows,
      "rescans",
      st.capture.rescans,
    );
    before = opsSent;
  }
  go = false;
  await toggling;
}
