/**
 * `status`, `flush` and the small commands against running daemons: numbers against a known workload and against what
 * passed on the line, waiting that is exact, targets that are away. About 60 s.
 * @module
 */
import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { assertSameTree } from "../testing/manifest.ts";
import { lacks, watchingInterceptors } from "../testing/needs.ts";
import { makeTooDeep } from "../testing/too_deep.ts";
import { runProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { makeTree } from "../testing/tree_maker.ts";
import { projectRoot, run, start } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

/** How one count of ops became another. */
function difference(after: Record<string, number>, before: Record<string, number>): Record<string, number> {
  const counts = Object.entries(after).map(([kind, count]) => [kind, count - (before[kind] ?? 0)] as const);
  return Object.fromEntries(counts.filter(([, count]) => count !== 0));
}

/** Does one thing, and waits until it is on the target, so that the next cannot be merged with it. */
async function oneByOne(replication: Replication, changes: (() => void)[]): Promise<void> {
  for (const change of changes) {
    change();
    await replication.flush();
  }
}

/** What both ends and the line between them counted, at a moment when nothing was on its way. */
async function countAtRest(replication: Replication) {
  return await waitFor(async () => {
    const { packetsSent, bytesSent } = await replication.laneStatus();
    const { packetsReceived, bytesReceived } = await replication.replicaStatus();
    const passed = replication.proxy!.bytes.forth;
    // The source tells the target now and then how far its index is saved.
    const isAtRest = (await replication.laneStatus()).bytesSent === bytesSent;
    return isAtRest && { packetsSent, bytesSent, packetsReceived, bytesReceived, passed };
  }, { what: "a moment when nothing is on its way", timeoutMs: 30_000 });
}

Deno.test({
  name: "status of both sides counts exactly the ops of a known workload, and what passed on the line",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    const { source } = replication;
    for (let i = 0; i < 3; i++) Deno.writeTextFileSync(`${source}/old${i}`, `old ${i}`);
    await replication.watch();
    const lane = await replication.laneStatus();
    const replica = await replication.replicaStatus();
    const atStart = await countAtRest(replication);
    assertEquals(lane.opsSent.file, 3);

    const at = (name: string) => `${source}/${name}`;
    // Whole at once: a file that is seen before its contents are written is sent twice.
    const place = (name: string, contents: Uint8Array) => {
      const beside = `${replication.directory}/beside`;
      Deno.writeFileSync(beside, contents);
      Deno.renameSync(beside, at(name));
    };
    await oneByOne(replication, [
      ...Array.from({ length: 10 }, (_, i) => () => place(`new${i}`, new Uint8Array(i + 1).fill(120))),
      ...Array.from({ length: 3 }, (_, i) => () => Deno.mkdirSync(at(`directory${i}`))),
      () => Deno.renameSync(at("old0"), at("directory0/renamed")),
      () => Deno.renameSync(at("directory1"), at("directory0/inner")),
      () => Deno.removeSync(at("old1")),
      () => Deno.removeSync(at("directory2")),
      () => Deno.symlinkSync("nowhere", at("link")),
      () => Deno.chmodSync(at("old2"), 0o600),
      () => place("large", new Uint8Array(1_000_000)),
    ]);
    await replication.assertEqual();

    const sent = difference((await replication.laneStatus()).opsSent, lane.opsSent);
    const received = difference((await replication.replicaStatus()).opsReceived, replica.opsReceived);
    const { attributes, ...others } = sent;
    assertEquals(others, {
      file: 10,
      mkdir: 3,
      rename: 2,
      unlink: 1,
      rmdir: 1,
      symlink: 1,
      open: 1,
      block: 2,
      close: 1,
    });
    // One for the chmod; each change in a directory moves that directory's time, and a rename moves two.
    assertGreater(attributes, 18);
    assertLess(attributes, 30);
    assertEquals(received, sent);

    const { lastAckedSequence, errors, retries, opsSent } = await replication.laneStatus();
    const { lastDurableSequence, lastAppliedSequence } = await replication.replicaStatus();
    assertEquals([errors, retries], [0, 0]);
    assertEquals([lastDurableSequence, lastAppliedSequence], [lastAckedSequence, lastAckedSequence]);
    assertEquals(lastAckedSequence, Object.values(opsSent).reduce((sum, count) => sum + count, 0));
    const after = await countAtRest(replication);
    assertEquals(after.packetsReceived, after.packetsSent);
    assertEquals(after.bytesReceived, after.bytesSent);
    // The line carries the handshakes, too, that of the pairing included; nothing but them is not counted.
    const handshakes = atStart.passed - atStart.bytesSent;
    assertGreater(handshakes, 0);
    assertLess(handshakes, 2_000);
    assertEquals(after.passed - after.bytesSent, handshakes);
  },
});

Deno.test({
  name: "status --json has the shape that scripts are written against",
  ignore,
  async fn() {
    await using replication = await openReplication();
    makeTree(replication.source, { fileCount: 10 });
    const daemon = await replication.watch(["--intercept", "inotify"]);
    const source = await replication.sourceStatus();
    const isoTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/;
    assertMatch(source.set, /^source-[0-9a-f]+$/);
    assertMatch(source.targets[0].lastAckAt, isoTime);
    assertMatch(source.capture.lastVerifyAt, isoTime);
    const { version } = JSON.parse(await Deno.readTextFile(`${projectRoot}/deno.json`));
    const lane = source.targets[0];
    const { users, groups, unknownUids, unknownGids } = source.accounts;
    assertEquals(source, {
      role: "source",
      version,
      set: source.set,
      root: replication.source,
      pid: daemon.pid,
      interceptor: "inotify",
      interceptorReason: source.interceptorReason,
      promise: "convergent",
      commit: "ack",
      log: { state: "off", reason: "", count: 0, bytes: 0 },
      targets: [{
        target: replication.pairedTarget,
        state: "live",
        reason: "",
        lagMs: 0,
        queuedOps: 0,
        stackedOps: 0,
        stacked: { state: "none", memoryOps: 0, diskOps: 0 },
        journal: { state: "off", reason: "", bytes: 0 },
        flow: { limitRate: 0, sendWhen: "at-once", reason: "" },
        inFlightOps: 0,
        lastAckedSequence: lane.lastAckedSequence,
        lastAckAt: lane.lastAckAt,
        packetsSent: lane.packetsSent,
        packetsShared: 0,
        bytesSent: lane.bytesSent,
        retries: 0,
        errors: 0,
        opsSent: lane.opsSent,
        leftovers: { count: 0, paths: [] },
        heldSince: "",
        verification: {
          // It has just come to life: the patrol looks for its target again within a second.
          state: lane.verification.state,
          reason: lane.verification.reason,
          lastTreeAt: "",
          treeShare: 0,
          lastContentsAt: "",
          contentsShare: 0,
          found: 0,
          healed: 0,
        },
      }],
      capture: {
        ...source.capture,
        overflows: 0,
        rescans: 0,
        unwatched: 0,
        armed: source.capture.directories,
        directories: source.capture.directories,
        gaps: [],
      },
      guards: [],
      accounts: { users, groups, at: source.accounts.at, unknownUids, unknownGids, reason: "" },
      problems: [],
    });
    assertMatch(source.accounts.at, isoTime);
    assertEquals([users, groups, unknownUids.length + unknownGids.length].every(Number.isSafeInteger), true);
    assertEquals(Object.keys(source.capture), [
      "events",
      "overflows",
      "rescans",
      "unwatched",
      "armed",
      "directories",
      "gaps",
      "lastVerifyAt",
    ]);

    const target = await replication.targetStatus();
    const replica = target.replicas[0];
    assertMatch(replica.peer, /^127\.0\.0\.1:\d+$/);
    assertEquals(target, {
      role: "target",
      version,
      root: `${replication.directory}/root`,
      listen: replication.server.address,
      replicas: [{
        name: "replica",
        connected: true,
        peer: replica.peer,
        state: replica.state,
        reason: "",
        lastAppliedSequence: lane.lastAckedSequence,
        lastDurableSequence: lane.lastAckedSequence,
        pendingOpenFiles: 0,
        promotedAt: "",
        packetsReceived: replica.packetsReceived,
        bytesReceived: replica.bytesReceived,
        bytesSent: replica.bytesSent,
        errors: 0,
        opsReceived: replica.opsReceived,
        accounts: { users, groups, at: source.accounts.at },
      }],
    });
    assertEquals(replica.opsReceived.file, 10);
    assertGreater(replica.bytesSent, 0);
  },
});

Deno.test({
  name: "status for people names set, target and state, and without a daemon it fails with a reason",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const none = await replication.run(["status"]);
    assertEquals(none.code, 1);
    assertMatch(none.stderr, /^understudy: Cannot reach a daemon: none runs on /);
    await replication.watch();
    const { code, stdout } = await replication.run(["status"]);
    assertEquals(code, 0);
    for (const part of [replication.source, replication.replica, "live"]) assertStringIncludes(stdout, part);
  },
});

Deno.test({
  name: "status names a path that cannot be replicated until it can be, or is gone",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const { source } = replication;
    await replication.watch();
    await Deno.mkdir(`${source}/deep`);
    const tooDeep = makeTooDeep(source, "deep");
    await replication.flush({ hasProblems: true });
    const { problems, targets } = await replication.sourceStatus();
    assertEquals(problems.map(({ path }) => path), [tooDeep]);
    assertStringIncludes(problems[0].reason, "its path is longer than 65535 bytes");
    assertEquals(targets[0].state, "live");
    await runProcess("rm", ["-r", `${source}/deep`], { expectCode: 0 });
    await replication.flush();
    assertEquals((await replication.sourceStatus()).problems, []);
  },
});

for (const interceptor of watchingInterceptors()) {
  Deno.test({
    name: `flush by ${interceptor} returns when the target is equal and not before, 25 times`,
    ignore,
    async fn() {
      await using replication = await openReplication();
      const { source, replica } = replication;
      makeTree(source, { fileCount: 30 });
      await replication.watch(["--intercept", interceptor]);
      for (let round = 0; round < 25; round++) {
        Deno.mkdirSync(`${source}/r${round}/in`, { recursive: true });
        Deno.writeTextFileSync(`${source}/r${round}/in/file`, `${round}`);
        Deno.writeTextFileSync(`${source}/same`, `${round}`);
        Deno.writeTextFileSync(`${source}/log`, `${round}\n`, { append: true });
        if (round > 1) Deno.renameSync(`${source}/r${round - 1}/in`, `${source}/r${round}/moved`);
        if (round > 2) Deno.removeSync(`${source}/r${round - 2}`, { recursive: true });
        await replication.flush();
        // A look at once, before anything else can happen.
        assertEquals(Deno.readTextFileSync(`${replica}/r${round}/in/file`), `${round}`);
        assertEquals(Deno.readTextFileSync(`${replica}/same`), `${round}`);
        assertEquals(Deno.readTextFileSync(`${replica}/log`), Deno.readTextFileSync(`${source}/log`));
        if (round % 10 === 9) await assertSameTree(source, replica, { root: true });
      }
    },
  });
}

Deno.test({
  name: "flush fails at its timeout while the target is stopped, and succeeds when it goes on",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, server } = replication;
    await replication.watch();
    server.process.kill("SIGSTOP");
    Deno.writeTextFileSync(`${source}/file`, "x");
    const started = performance.now();
    const { code, stderr } = await replication.run(["flush", "--timeout", "700ms"]);
    assertEquals(code, 1);
    assertGreater(performance.now() - started, 700);
    assertMatch(stderr, /^understudy: Cannot flush within 700ms: ".*" is [a-z-]+/);
    const { inFlightOps, queuedOps, stackedOps } = await replication.laneStatus();
    assertGreater(inFlightOps + queuedOps + stackedOps, 0);
    server.process.kill("SIGCONT");
    assertEquals((await replication.flush()).committed, true);
    await replication.assertEqual();
  },
});

Deno.test({
  name: "flush fails with the target's state while the server is gone, and changes arrive when it is back",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source } = replication;
    makeTree(source, { fileCount: 50 });
    const daemon = await replication.watch();
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await replication.stopServer(signal);
      await daemon.waitForLine(/^disconnected /);
      Deno.writeTextFileSync(`${source}/while-gone-${signal}`, "x");
      Deno.renameSync(`${source}/d0`, `${source}/moved`);
      const { code, stderr, stdout } = await replication.run(["flush", "--timeout", "300ms", "--json"]);
      assertEquals(code, 1);
      assertStringIncludes(stderr, "disconnected");
      const { committed, waiting } = JSON.parse(stdout);
      assertEquals([committed, waiting.length, waiting[0].state], [false, 1, "disconnected"]);
      assertEquals((await replication.laneStatus()).state, "disconnected");

      await replication.startServer();
      await daemon.waitForLine(/^live /, { timeoutMs: 60_000 });
      await replication.flush();
      await replication.assertEqual();
      Deno.renameSync(`${source}/moved`, `${source}/d0`);
      await replication.flush();
    }
    // Nothing was sent anew: the stream went on.
    assertEquals((await replication.laneStatus()).opsSent.mkdir, await countDirectories(source));
  },
});

async function countDirectories(root: string): Promise<number> {
  const { stdout } = await runProcess("find", [root, "-mindepth", "1", "-type", "d"], { expectCode: 0 });
  return stdout.trim().split("\n").length;
}

Deno.test({
  name: "flush without a daemon, and with a timeout that is none, fails with a reason",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    const none = await replication.run(["flush"]);
    assertEquals(none.code, 1);
    assertMatch(none.stderr, /^understudy: Cannot /);
    const wrong = await replication.run(["flush", "--timeout", "soon"]);
    assertEquals(wrong.code, 2);
    assertStringIncludes(wrong.stderr, "soon");
  },
});

Deno.test({
  name:
    "watch-source keeps one target live while another one is dead, and that one catches up when it is back",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, directory, state } = replication;
    makeTree(source, { fileCount: 100 });
    // Pairs, so that the server may be away at the start.
    await replication.mirror();
    await replication.stopServer();
    const local = `${directory}/local`;
    const args = ["watch-source", source, "--to", replication.target, "--to", local, "--state", state];
    await using daemon = await start(args);
    await waitFor(async () => {
      const { targets } = await replication.sourceStatus();
      return targets[0].state === "disconnected" && targets[1].state === "live";
    }, { what: "one live and one disconnected target", timeoutMs: 60_000, intervalMs: 100 });
    Deno.writeTextFileSync(`${source}/new`, "while one is dead");
    await waitFor(() => Deno.readTextFileSync(`${local}/new`) === "while one is dead", {
      what: "the change on the target that lives",
      timeoutMs: 30_000,
    });
    const { code, stderr } = await replication.run(["flush", "--timeout", "300ms"]);
    assertEquals(code, 1);
    assertStringIncludes(stderr, replication.pairedTarget);
    await assertSameTree(source, local, { root: true });

    await replication.startServer();
    await daemon.waitForLine(/^live$/, { timeoutMs: 60_000 });
    await replication.flush();
    await replication.assertEqual();
    const { targets } = await replication.sourceStatus();
    assertEquals(targets.map(({ state }) => state), ["live", "live"]);
  },
});

Deno.test({
  name: "watch-source prints live and nothing else from its start to an end in order, and leaves no socket",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    makeTree(replication.source, { fileCount: 20 });
    const daemon = await replication.watch();
    Deno.writeTextFileSync(`${replication.source}/new`, "x");
    await replication.flush();
    await replication.stopWatching();
    assertEquals([daemon.stdout, daemon.stderr], ["live\n", ""]);
    const { stdout } = await runProcess("find", [replication.directory, "-type", "s"], { expectCode: 0 });
    assertEquals(stdout, "");
    await replication.assertEqual();
  },
});

Deno.test({
  name: "watch-source that is interrupted ends with 130, by SIGTERM with 0",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 0]] as const) {
      const daemon = await replication.watch();
      daemon.kill(signal);
      assertEquals((await daemon.ended()).code, code, daemon.describe());
    }
  },
});

Deno.test({
  name: "keys shows the source's key, which the target has bound to the replica, and never a private one",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const none = await replication.run(["keys"]);
    assertEquals(none.code, 1);
    assertMatch(none.stderr, /^understudy: Cannot show a key: /);
    await replication.mirror();
    const ours = JSON.parse((await replication.run(["keys", "--json"], { expectCode: 0 })).stdout);
    const root = `${replication.directory}/root`;
    const theirs = JSON.parse((await run(["keys", "--root", root, "--json"], { expectCode: 0 })).stdout);
    assertEquals([ours.role, theirs.role], ["source", "target"]);
    assert(ours.publicKey !== theirs.publicKey);
    assertEquals(theirs.replicas, [
      { name: "replica", publicKey: ours.publicKey, fingerprint: ours.fingerprint },
    ]);
    const secret = await Deno.readTextFile(`${replication.state}/key`);
    const { stdout } = await replication.run(["keys"]);
    assertStringIncludes(stdout, ours.fingerprint);
    for (const word of secret.split(/\s+/).filter((word) => word.length > 20 && word !== ours.publicKey)) {
      assert(!stdout.includes(word));
    }
  },
});

Deno.test({
  name: "version, help and usage go where they belong, with their exit codes",
  ignore,
  async fn() {
    const { version } = JSON.parse(await Deno.readTextFile(`${projectRoot}/deno.json`));
    assertEquals((await run(["version"], { expectCode: 0 })).stdout, `understudy ${version}\n`);
    assertEquals((await run(["--version"], { expectCode: 0 })).stdout, `understudy ${version}\n`);
    const commands = [
      "serve-target",
      "invite",
      "watch-source",
      "mirror",
      "restore",
      "status",
      "flush",
      "keys",
    ];
    const { stdout: overview } = await run(["help"], { expectCode: 0 });
    for (const command of commands) {
      assertStringIncludes(overview, command);
      const { stdout, stderr } = await run(["help", command], { expectCode: 0 });
      assertEquals(stderr, "");
      assertStringIncludes(stdout, `Usage: understudy ${command}`);
      assertEquals((await run([command, "--help"], { expectCode: 0 })).stdout, stdout);
      const wrong = await run([command, "--no-such-option"]);
      assertEquals([wrong.code, wrong.stdout], [2, ""]);
      assertMatch(wrong.stderr, /^understudy: Cannot .*no-such-option/);
    }
    const nothing = await run([]);
    assertEquals([nothing.code, nothing.stdout], [2, ""]);
    assertStringIncludes(nothing.stderr, "watch-source");
  },
});
