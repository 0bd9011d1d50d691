/**
 * Damaged files of our own: each is named, with the way out, and never repaired silently. About 30 s.
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { assertRefused, unchanged } from "../testing/refusals.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { run } from "../testing/understudy.ts";

const ignore = lacks("linux");

/** A replication that was live once and is stopped. */
async function stoppedReplication(road: "tcp" | "local"): Promise<Replication> {
  const replication = await openReplication({ road });
  try {
    await Deno.writeTextFile(`${replication.source}/file`, "contents");
    await replication.watch();
    await replication.flush();
    await replication.stopWatching();
    return replication;
  } catch (error) {
    await replication[Symbol.asyncDispose]();
    throw error;
  }
}

/** The only path below a directory whose name matches. */
async function find(directory: string, name: RegExp): Promise<string> {
  for await (const entry of Deno.readDir(directory)) {
    const path = `${directory}/${entry.name}`;
    if (entry.isFile && name.test(entry.name)) return path;
    if (entry.isDirectory && entry.name !== "staging") {
      const found = await find(path, name).catch(() => undefined);
      if (found) return found;
    }
  }
  throw new Error(`Cannot find ${name} below ${directory}`);
}

/** Puts garbage in place of a file's contents, its mode kept. */
async function spoil(path: string): Promise<Uint8Array> {
  const before = await Deno.readFile(path);
  await Deno.writeFile(path, crypto.getRandomValues(new Uint8Array(5_000)));
  return before;
}

const sourceFiles: [what: string, name: RegExp, message: RegExp][] = [
  ["index", /^index-.*\.sqlite$/, /index-.*\.sqlite": .*; remove it to mirror anew$/m],
  [
    "set of rules",
    /^set\.sqlite$/,
    /set\.sqlite": .*; remove it, and the set has no rules but those it is given$/m,
  ],
  ["set file", /^set\.json$/, /set\.json": .*; remove it, and the set counts as new$/m],
  ["key file", /^key$/, /key": it does not hold a key; put it back, or remove it and pair again$/m],
  ["peers file", /^peers\.json$/, /peers\.json": .*; remove it and pair again$/m],
];
for (const [what, name, message] of sourceFiles) {
  Deno.test({
    name: `watch-source with a damaged ${what} names it and ends; put back, it goes on`,
    ignore,
    async fn() {
      await using replication = await stoppedReplication("tcp");
      const path = await find(replication.state, name);
      const before = await spoil(path);
      const args = ["watch-source", replication.source, "--to", replication.pairedTarget];
      const spoiled = await Deno.readFile(path);
      assertRefused(await unchanged([replication.replica], () => replication.run(args)), {
        code: 1,
        message,
      });
      assertEquals(await Deno.readFile(path), spoiled, "it was changed");
      await Deno.writeFile(path, before);
      await Deno.writeTextFile(`${replication.source}/later`, "contents");
      await replication.watch();
      await replication.flush();
      await replication.assertEqual();
    },
  });
}

Deno.test({
  name:
    "watch-source whose damaged index was removed, as the message says, mirrors anew and sends nothing twice",
  ignore,
  async fn() {
    await using replication = await stoppedReplication("tcp");
    const path = await find(replication.state, /^index-.*\.sqlite$/);
    await spoil(path);
    await Deno.remove(path);
    await replication.watch();
    await replication.flush();
    await replication.assertEqual();
    assertEquals((await replication.laneStatus()).opsSent.file ?? 0, 0);
  },
});

Deno.test({
  name:
    "catalog that is damaged is named by the local mirror, which changes nothing; removed, it mirrors anew",
  ignore,
  async fn() {
    await using replication = await stoppedReplication("local");
    const path = await find(`${replication.directory}/.understudy`, /^catalog\.sqlite$/);
    await spoil(path);
    const spoiled = await Deno.readFile(path);
    await Deno.writeTextFile(`${replication.source}/later`, "contents");
    const args = ["mirror", replication.source, replication.target];
    const result = await unchanged([replication.replica], () => replication.run(args));
    assertRefused(result, { code: 1, message: /catalog\.sqlite": .*; remove it to mirror anew$/m });
    assertEquals(await Deno.readFile(path), spoiled, "it was changed");
    await Deno.remove(path);
    await replication.mirror();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "catalog that is damaged on a server is named by the source, and other replicas are served",
  ignore,
  async fn() {
    await using replication = await stoppedReplication("tcp");
    const path = await find(`${replication.directory}/root/.understudy/replica`, /^catalog\.sqlite$/);
    const before = await spoil(path);
    const daemon = await replication.startWatching();
    const line = await daemon.waitForLine(/^(refused|disconnected) .*catalog\.sqlite/);
    assertMatch(line, /; remove it to mirror anew$/);
    const other = ["--state", `${replication.directory}/other-state`];
    const token = await replication.server.invite("other");
    await run(["mirror", replication.source, token, ...other], { expectCode: 0 });
    await Deno.writeFile(path, before);
    await daemon.waitForLine(/^live/, { timeoutMs: 60_000 });
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "key file that others may read is refused, on either side, with what to do",
  ignore,
  async fn() {
    await using replication = await stoppedReplication("tcp");
    const message = /key": its mode is 0640, so others may read or change it \(make it 0600/;
    await Deno.chmod(`${replication.state}/key`, 0o640);
    const args = ["mirror", replication.source, replication.pairedTarget];
    assertRefused(await replication.run(args), { code: 1, message });
    await Deno.chmod(`${replication.state}/key`, 0o600);
    await replication.stopServer();
    const root = `${replication.directory}/root`;
    await Deno.chmod(`${root}/.understudy/key`, 0o640);
    assertRefused(await run(["serve-target", "--root", root, "--listen", "127.0.0.1:0"]), {
      code: 1,
      message,
    });
    await Deno.chmod(`${root}/.understudy/key`, 0o600);
    await replication.startServer();
    await replication.run(args, { expectCode: 0 });
    await replication.assertEqual();
  },
});
