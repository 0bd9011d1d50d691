/**
 * Goal: `verify` tells the truth about a running source, and heals.
 *
 * Method: the executable over TCP and on a local disk, with each interceptor; the replica is changed behind its back.
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { VerifyReport, VerifyResult } from "../../src/base/status.ts";
import { lacks } from "../testing/needs.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { makeTree, writeBigFile } from "../testing/tree_maker.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

async function verify(replication: Replication, args: string[], expectCode: number): Promise<VerifyReport> {
  const { stdout } = await replication.run(["verify", "--json", ...args], { expectCode });
  const { targets }: VerifyResult = JSON.parse(stdout);
  assertEquals(targets.length, 1);
  return targets[0];
}

/** Changes a byte, and neither size nor time tell. */
function flip(path: string, offset: number): void {
  const script = 'cp -p --attributes-only "$0" "$0.times"; byte=$(od -An -tu1 -j"$1" -N1 "$0"); ' +
    'printf "\\\\$(printf %03o $((byte ^ 1)))" | dd of="$0" bs=1 seek="$1" conv=notrunc 2>/dev/null; ' +
    'touch -r "$0.times" "$0"; rm "$0.times"; ';
  const { success } = new Deno.Command("sh", { args: ["-ec", script, path, `${offset}`] }).outputSync();
  assert(success, `the byte at ${offset} of ${path} was changed`);
}

for (const interceptor of ["inotify", "watchfs"]) {
  Deno.test({
    name: `verify finds and heals what another hand did to the replica, and flipped bits (${interceptor})`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: interceptor === "inotify" ? "tcp" : "local" });
      const { source, replica } = replication;
      makeTree(source, { fileCount: 200 });
      writeBigFile(`${source}/big`, 20_000_000);
      Deno.writeTextFileSync(`${source}/small`, "some bytes");
      await replication.watch(["--intercept", interceptor]);
      const equal = await verify(replication, ["--content"], 0);
      assertEquals([equal.complete, equal.found, equal.restless], [true, 0, 0]);
      assert(equal.files >= 200 && equal.bytes > 20_000_000);

      flip(`${replica}/big`, 15_000_000);
      flip(`${replica}/small`, 3);
      assertEquals((await verify(replication, [], 3)).differences.map(({ path }) => path), [""]);
      assertEquals((await verify(replication, ["--repair"], 0)).healed, 1, "the time of the root");
      Deno.removeSync(`${replica}/d0`, { recursive: true });
      Deno.writeTextFileSync(`${replica}/extra`, "x");
      const found = await verify(replication, ["--content"], 3);
      assertEquals(found.differences.map(({ path, cause }) => `${path} ${cause}`).sort(), [
        " target",
        "big target",
        "d0 target",
        "extra target",
        "small target",
      ]);
      const text = await replication.run(["verify", "--content"], { expectCode: 3 });
      assertMatch(text.stdout, /^missing {2}"d0": the target does not have it; another hand/m);
      assertMatch(text.stdout, /^changed {2}"big": contents differ; another hand/m);
      assertMatch(text.stdout, /^.*: compared \d+ entries, contents of \d+ files \(.*\): 5 differ$/m);

      const healed = await verify(replication, ["--content", "--repair"], 0);
      assertEquals([healed.found, healed.healed], [5, 5]);
      await replication.assertEqual();
      assertEquals((await verify(replication, ["--content"], 0)).found, 0);
    },
  });
}

for (const interceptor of ["inotify", "watchfs"]) {
  Deno.test({
    name: `watch-source --verify-every heals by itself what another hand did to the replica (${interceptor})`,
    ignore,
    async fn() {
      await using replication = await openReplication();
      const { source, replica, state } = replication;
      makeTree(source, { fileCount: 100 });
      writeBigFile(`${source}/big`, 5_000_000);
      await replication.watch(["--intercept", interceptor, "--verify-every", "2s", "--verify-rate", "1G"]);
      flip(`${replica}/big`, 4_000_000);
      Deno.removeSync(`${replica}/d0`, { recursive: true });
      Deno.writeTextFileSync(`${replica}/extra`, "x");
      await waitFor(async () => {
        await replication.assertEqual();
        return true;
      }, { what: "equal trees", timeoutMs: 120_000, intervalMs: 500 });
      const { verification } = await waitFor(async () => {
        const lane = await replication.laneStatus();
        return lane.verification.lastContentsAt !== "" && lane.verification.healed >= 3 && lane;
      }, { what: "the end of a round", timeoutMs: 60_000, intervalMs: 200 });
      assert(verification.lastTreeAt !== "");
      const text = (await replication.run(["status"], { expectCode: 0 })).stdout;
      assertMatch(text, /^ {4}verification: .*whole tree .*contents .*differences found, \d+ healed$/m);
      await replication.stopWatching();
      const [set] = [...Deno.readDirSync(state)].filter(({ name }) => name.startsWith("source-"));
      const names = [...Deno.readDirSync(`${state}/${set.name}`)].map(({ name }) => name);
      assertEquals(names.filter((name) => /^verify-[0-9a-f]{16}\.json$/.test(name)).length, 1);
      await replication.watch(["--intercept", interceptor, "--verify-every", "24h"]);
      const later = await waitFor(async () => {
        const lane = await replication.laneStatus();
        return lane.verification.lastTreeAt !== "" && lane.verification;
      }, { what: "the state to be loaded", timeoutMs: 60_000, intervalMs: 200 });
      assert(later.lastTreeAt >= verification.lastTreeAt && later.healed >= 3);
    },
  });
}

Deno.test({
  name: "watch-source --foreign report names what another hand did as a problem, and leaves it",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    Deno.writeTextFileSync(`${source}/file`, "original");
    await replication.watch(["--verify-every", "1s", "--foreign", "report"]);
    Deno.writeTextFileSync(`${replica}/file`, "another hand");
    const [problem] = await waitFor(async () => {
      const { problems } = await replication.sourceStatus();
      return problems.length > 0 && problems;
    }, { what: "a problem", timeoutMs: 60_000, intervalMs: 200 });
    assertEquals(problem.path, "file");
    // Whichever round comes to it first.
    assertMatch(problem.op, /^verify/);
    assertStringIncludes(problem.reason, "another hand changed it");
    assertEquals(Deno.readTextFileSync(`${replica}/file`), "another hand");
  },
});

Deno.test({
  name: "verify says what to do where no source runs, and what keeps it from comparing",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source } = replication;
    const none = await replication.run(["verify"], { expectCode: 1 });
    assertStringIncludes(none.stderr, 'start "understudy watch-source DIR --to TARGET" first');
    Deno.writeTextFileSync(`${source}/file`, "x");
    await replication.watch();
    await replication.stopServer();
    const away = await replication.run(["verify", "--json"], { expectCode: 1 });
    assertStringIncludes(away.stderr, "Cannot verify everything: ");
    assertStringIncludes(away.stderr, "disconnected");
    const [report] = (JSON.parse(away.stdout) as VerifyResult).targets;
    assertEquals([report.complete, report.found], [false, 0]);
  },
});

Deno.test({
  name:
    "mirror --content finds contents that differ behind equal sizes and times, and sends those files alone",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source, replica } = replication;
    makeTree(source, { fileCount: 50 });
    writeBigFile(`${source}/big`, 5_000_000);
    Deno.writeTextFileSync(`${source}/small`, "some bytes");
    await replication.mirror();
    flip(`${replica}/big`, 4_000_000);
    flip(`${replica}/small`, 3);
    assertEquals((await replication.mirror()).files, 0, "sizes and times are believed");
    const { stdout } = await replication.run(
      ["mirror", source, replica, "--content", "--dry-run", "--json"],
      { expectCode: 0 },
    );
    const planned = JSON.parse(stdout).planned.map(({ action, path }: Record<string, string>) =>
      `${action} ${path}`
    );
    assertEquals(planned.sort(), ["update big", "update small"]);
    const summary = await replication.mirror(["--content"]);
    assertEquals([summary.files, summary.compared!.differing], [2, 2]);
    await replication.assertEqual();
    const again = await replication.mirror(["--content"]);
    assertEquals([again.files, again.compared!.differing], [0, 0]);
  },
});
