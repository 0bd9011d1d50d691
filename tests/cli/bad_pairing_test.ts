/**
 * Keys, tokens and names that must not open a replica. About 15 s.
 * @module
 */
import { assert, assertEquals, assertFalse } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { assertRefused, unchanged } from "../testing/refusals.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { run } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

/** Another source of the same server: its directory, its state and its replica's name. */
async function pairOther(
  replication: Replication,
  name: string,
): Promise<{ source: string; state: string[] }> {
  const source = `${replication.directory}/${name}-source`;
  await Deno.mkdir(source);
  await Deno.writeTextFile(`${source}/of-${name}`, name);
  const state = ["--state", `${replication.directory}/${name}-state`];
  await run(["mirror", source, await replication.server.invite(name), ...state], { expectCode: 0 });
  return { source, state };
}

/** Makes `state` believe that it is paired with another replica too. */
async function forgePeer(state: string, name: string): Promise<void> {
  const path = `${state}/peers.json`;
  const { peers } = JSON.parse(await Deno.readTextFile(path));
  await Deno.writeTextFile(path, JSON.stringify({ peers: [...peers, { ...peers[0], name, tokenId: "00" }] }));
}

Deno.test({
  name: "sources of one server cannot reach each other's replicas, nor one that does not exist",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await Deno.writeTextFile(`${replication.source}/file`, "contents");
    await replication.watch();
    const other = await pairOther(replication, "other");
    const { address } = replication.server;
    const root = `${replication.directory}/root`;
    const ours = (path: string) => path === ".understudy" || path.startsWith(".understudy/");
    const attempts = [
      { from: other.source, state: other.state[1], name: "replica" },
      { from: replication.source, state: replication.state, name: "other" },
      { from: other.source, state: other.state[1], name: "nosuch" },
    ];
    for (const { from, state, name } of attempts) {
      const mirror = ["mirror", from, `${address}/${name}`, "--state", state];
      const restore = ["restore", `${address}/${name}`, `${replication.directory}/stolen`, "--state", state];
      const unpaired = await unchanged([root], () => run(mirror), ours);
      assertRefused(unpaired, {
        code: 1,
        message: new RegExp(`/${name}": not paired in .*ask for a join token`),
      });
      await forgePeer(state, name);
      const message = new RegExp(`this source is not paired with replica "${name}"`);
      for (const args of [mirror, restore]) {
        assertRefused(await unchanged([root], () => run(args), ours), { code: 1, message });
      }
      assertFalse(await exists(`${root}/nosuch`));
      assertFalse(await exists(`${replication.directory}/stolen/file`));
    }
    await Deno.writeTextFile(`${replication.source}/later`, "contents");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "join token that is used, expired, mistyped or of another server is refused, and pairs nobody",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await Deno.writeTextFile(`${replication.source}/file`, "contents");
    await replication.watch();
    const { directory, server } = replication;
    const root = `${directory}/root`;
    const stranger = `${directory}/stranger`;
    await Deno.mkdir(stranger);
    await Deno.writeTextFile(`${stranger}/intruder`, "contents");
    const state = ["--state", `${directory}/stranger-state`];
    const attempt = (token: string) => run(["mirror", stranger, token, ...state]);

    const used = await unchanged([`${root}/replica`], () => attempt(replication.target));
    assertRefused(used, { code: 1, message: /Cannot pair with .*: the join token is used already/ });

    const invitation = [
      "invite",
      "late",
      "--root",
      root,
      "--address",
      server.address,
      "--expires",
      "1s",
      "--json",
    ];
    const { token, expiresAt } = JSON.parse((await run(invitation, { expectCode: 0 })).stdout);
    await waitFor(() => Date.now() > Date.parse(expiresAt), { what: "the token's end", intervalMs: 50 });
    assertRefused(await attempt(token), {
      code: 1,
      message: /Cannot pair with .*: the join token is expired/,
    });

    const good = await server.invite("fresh");
    const typo = good.slice(0, 20) + (good[20] === "A" ? "B" : "A") + good.slice(21);
    assertRefused(await attempt(typo), { code: 2, message: /mistyped or cut off/ });
    assertRefused(await attempt(good.slice(0, -3)), { code: 2, message: /mistyped or cut off/ });

    for (const name of ["late", "fresh"]) assertFalse(await exists(`${root}/${name}`), name);
    assertEquals((await replication.targetStatus()).replicas.map(({ name }) => name), ["replica"]);
    // What was refused did not use it up.
    assertEquals((await attempt(good)).code, 0);
    await Deno.writeTextFile(`${replication.source}/later`, "contents");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "server with another key than the paired one gets nothing, and the source says so",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await Deno.writeTextFile(`${replication.source}/file`, "contents");
    const daemon = await replication.watch();
    await replication.stopServer();
    const key = `${replication.directory}/root/.understudy/key`;
    await Deno.rename(key, `${key}.away`);
    await replication.startServer();
    await Deno.writeTextFile(`${replication.source}/later`, "contents");
    await daemon.waitForLine(/^refused .*the target's key is not the expected one/);
    const lane = await replication.laneStatus();
    assertEquals(lane.state, "refused");
    assert(/key is not the expected one/.test(lane.reason), lane.reason);
    assertFalse(await exists(`${replication.replica}/later`));
    const args = ["mirror", replication.source, replication.pairedTarget];
    const mirror = await unchanged([replication.replica], () => replication.run(args));
    assertRefused(mirror, { code: 1, message: /key is not the expected one/ });
    // The right server is back: it goes on by itself.
    await replication.stopServer();
    await Deno.rename(`${key}.away`, key);
    await replication.startServer();
    await waitFor(() => exists(`${replication.replica}/later`), { what: "the file", timeoutMs: 60_000 });
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "cipher none is used only when it is asked for: otherwise nobody on the line can read",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true, args: ["--compress", "none"] });
    const secret = "a secret that stands in a file ".repeat(40);
    await Deno.writeTextFile(`${replication.source}/file`, secret);
    const proxy = replication.proxy!;
    proxy.recording = [];
    await replication.mirror();
    assert(proxy.recording.length > 0);
    assertFalse(recorded(proxy.recording).includes(secret.slice(0, 31)));
    await Deno.writeTextFile(`${replication.source}/other`, secret);
    proxy.recording = [];
    await replication.mirror(["--cipher", "none"]);
    assert(recorded(proxy.recording).includes(secret.slice(0, 31)));
    await replication.assertEqual();
  },
});

function recorded(pieces: Uint8Array[]): string {
  return pieces.map((piece) => new TextDecoder("iso-8859-1").decode(piece)).join("");
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
