/**
 * `invite` and `keys`, with real key files and pairing stores.
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { CommandError, UsageError } from "../../src/base/errors.ts";
import { serveControl } from "../../src/control/server.ts";
import { controlSocketIn } from "../../src/control/socket_path.ts";
import { exitCodes } from "../../src/modes/mode.ts";
import * as invite from "../../src/modes/invite.ts";
import * as keys from "../../src/modes/keys.ts";
import { PairingStore } from "../../src/store/pairing.ts";
import { decodeJoinToken } from "../../src/wire/join_token.ts";
import { fingerprint, formatPublicKey, KeyPair } from "../../src/wire/keys.ts";
import { tempDirectory } from "../testing/temp.ts";
import { testIo } from "../testing/test_io.ts";

/** Runs `invite` and decodes what it printed. */
async function inviteToken(...args: string[]) {
  const io = testIo();
  assertEquals(await invite.run(args, io), exitCodes.done);
  assert(/^us1-[\w-]+\n$/.test(io.out.stdout), io.out.stdout);
  return { token: decodeJoinToken(io.out.stdout), stderr: io.out.stderr, nowMs: io.nowMs };
}

async function keysJson(...args: string[]) {
  const io = testIo();
  await keys.run([...args, "--json"], io);
  return JSON.parse(io.out.stdout);
}

Deno.test("invite prints a token that the pairing store of the root takes", async () => {
  await using root = await tempDirectory();
  const { token, nowMs, stderr } = await inviteToken("www", "--root", root.path, "--address", "backup:99");
  assertEquals([token.name, token.address, token.expiresAtMs], ["www", "backup:99", nowMs + 3_600_000]);
  assertEquals(stderr, "");
  const verdict = new PairingStore(`${root.path}/.understudy/pairing`).authorize({
    name: "www",
    publicKey: KeyPair.generate().publicKey,
    tokenId: token.id,
    nowMs,
  });
  if ("refuse" in verdict) throw new Error(verdict.refuse);
  assertEquals(verdict.psk, token.secret);
  if (Deno.build.os !== "windows") {
    assertEquals(Deno.statSync(`${root.path}/.understudy`).mode! & 0o777, 0o700);
  }
});

Deno.test("invite names the same target key each time and never the same secret", async () => {
  await using root = await tempDirectory();
  const first = await inviteToken("a", "--root", root.path, "--address", "h:1");
  const second = await inviteToken("a", "--root", root.path, "--address", "h:1", "--expires", "5m");
  assertEquals(first.token.targetPublicKey, second.token.targetPublicKey);
  assertNotEquals(first.token.secret, second.token.secret);
  assertEquals(second.token.expiresAtMs, second.nowMs + 300_000);
  const shown = await keysJson("--root", root.path);
  assertEquals(shown.publicKey, formatPublicKey(first.token.targetPublicKey));
});

Deno.test("invite --json prints what is in the token beside it", async () => {
  await using root = await tempDirectory();
  const io = testIo();
  await invite.run(["www", "--root", root.path, "--address", "[::1]", "--json"], io);
  const { token, ...rest } = JSON.parse(io.out.stdout);
  assertEquals(rest, {
    name: "www",
    address: "[::1]:7420",
    expiresAt: new Date(io.nowMs + 3_600_000).toISOString(),
  });
  assertEquals(decodeJoinToken(token).address, "[::1]:7420");
});

Deno.test({
  name: "invite takes the address where the server listens, the machine's name where that is everywhere",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using root = await tempDirectory();
    const state = `${root.path}/.understudy`;
    Deno.mkdirSync(state, { mode: 0o700 });
    const addressWith = async (listen: string) => {
      Deno.writeTextFileSync(`${state}/listen`, `${listen}\n`);
      return (await inviteToken("www", "--root", root.path)).token.address;
    };
    {
      await using _server = await serveControl({ path: controlSocketIn(state), handlers: {} });
      assertEquals(await addressWith("127.0.0.1:5555"), "127.0.0.1:5555");
      assertEquals(await addressWith("[::1]:5555"), "[::1]:5555");
      assertEquals(await addressWith("0.0.0.0:5555"), `${Deno.hostname()}:5555`);
      assertEquals(await addressWith("[::]:5555"), `${Deno.hostname()}:5555`);
    }
    // What a killed server left is not believed.
    assertEquals(await addressWith("127.0.0.1:5555"), `${Deno.hostname()}:7420`);
    const { stderr } = await inviteToken("www", "--root", root.path);
    assert(stderr.includes("--address HOST:PORT"));
  },
});

Deno.test("invite refuses bad names, roots and durations, and makes nothing then", async () => {
  await using root = await tempDirectory();
  Deno.writeTextFileSync(`${root.path}/file`, "");
  const table: [args: string[], message: string][] = [
    [[], "NAME is missing"],
    [["www"], "--root DIR is missing"],
    [["a/b", "--root", root.path], `Cannot use name "a/b"`],
    [[".understudy", "--root", root.path], `Cannot use name ".understudy"`],
    [["www", "--root", `${root.path}/none`], "there is no such directory"],
    [["www", "--root", `${root.path}/file`], "it is not a directory"],
    [["www", "--root", root.path, "--expires", "0s"], "from 1s to 30d"],
    [["www", "--root", root.path, "--expires", "31d"], "from 1s to 30d"],
    [["www", "--root", root.path, "--address", "h:0"], "from 1 to 65535"],
    [["www", "x", "--root", root.path], "one argument too many"],
  ];
  for (const [args, message] of table) {
    await assertRejects(() => invite.run(args, testIo()), UsageError, message);
  }
  assertEquals([...Deno.readDirSync(root.path)].map((entry) => entry.name), ["file"]);
});

Deno.test("keys makes no key unless it is asked to, and then shows the same one each time", async () => {
  await using directory = await tempDirectory();
  const state = `${directory.path}/state`;
  assertThrows(() => keys.run(["--state", state], testIo()), CommandError, `there is none in "${state}" yet`);
  assertEquals([...Deno.readDirSync(directory.path)], []);
  const made = await keysJson("--state", state, "--create");
  assertEquals([made.role, made.state, made.replicas], ["source", state, undefined]);
  assertEquals(await keysJson("--state", state, "--create"), made);
  assertEquals(await keysJson("--state", state), made);
  const io = testIo();
  await keys.run(["--state", state], io);
  assertEquals(
    io.out.stdout,
    `source "${state}"\n  public key   ${made.publicKey}\n  fingerprint  ${made.fingerprint}\n`,
  );
});

Deno.test("keys --root shows which key opens which replica", async () => {
  await using root = await tempDirectory();
  const { token, nowMs } = await inviteToken("www", "--root", root.path, "--address", "h:1");
  assertEquals((await keysJson("--root", root.path)).replicas, []);
  const { publicKey } = KeyPair.generate();
  const store = new PairingStore(`${root.path}/.understudy/pairing`);
  const verdict = store.authorize({ name: "www", publicKey, tokenId: token.id, nowMs });
  if ("refuse" in verdict) throw new Error(verdict.refuse);
  verdict.confirm();
  const shown = await keysJson("--root", root.path);
  assertEquals(shown.role, "target");
  assertEquals(shown.replicas, [
    { name: "www", publicKey: formatPublicKey(publicKey), fingerprint: fingerprint(publicKey) },
  ]);
});

Deno.test("keys never prints a private key", async () => {
  await using state = await tempDirectory();
  const io = testIo();
  await keys.run(["--state", state.path, "--create"], io);
  const written = Deno.readTextFileSync(`${state.path}/key`).split("\n")[1];
  assertEquals(written.length, 43);
  assert(!io.out.stdout.includes(written));
});
