/**
 * Lines that spoil, and peers that do not speak as they should, while a good source goes on. About 45 s.
 * @module
 */
import { assert, assertEquals, assertFalse } from "@std/assert";
import { ByteWriter, utf8 } from "../../src/base/bytes.ts";
import { limits } from "../../src/base/limits.ts";
import { loadPrivateKey } from "../../src/store/key_file.ts";
import { PeerStore } from "../../src/store/peers.ts";
import { encodeFrameHeader } from "../../src/wire/frame.ts";
import { encodePreamble, encodeRefusal, preambleFor } from "../../src/wire/handshake.ts";
import { connectHandshake } from "../../src/wire/handshake_io.ts";
import { KeyPair, parsePublicKey } from "../../src/wire/keys.ts";
import { lacks } from "../testing/needs.ts";
import type { BitFlip } from "../testing/proxy.ts";
import { assertRefused, unchanged } from "../testing/refusals.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { run } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

/** Asserts that the good source still replicates: what is written now arrives within a flush. */
async function assertStillReplicates(replication: Replication): Promise<void> {
  await Deno.writeTextFile(`${replication.source}/${crypto.randomUUID()}`, "contents");
  await replication.flush();
  await replication.assertEqual();
}

/** Connects to the server. */
function connectTo(replication: Replication): Promise<Deno.TcpConn> {
  const [hostname, port] = replication.server.address.split(":");
  return Deno.connect({ hostname, port: Number(port) });
}

/** Reads until the other side closes, which it must do within `timeoutMs`. */
async function readToEnd(conn: Deno.TcpConn, timeoutMs = 30_000): Promise<Uint8Array> {
  const pieces: number[] = [];
  const timer = setTimeout(() => conn.close(), timeoutMs);
  const buffer = new Uint8Array(65_536);
  try {
    for (let size; (size = await conn.read(buffer)) !== null;) pieces.push(...buffer.subarray(0, size));
  } catch (error) {
    // A reset is an end, too.
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  } finally {
    clearTimeout(timer);
  }
  return new Uint8Array(pieces);
}

/** Closes connections when the scope ends. */
function closing(conns: Deno.TcpConn[]): Disposable {
  return {
    [Symbol.dispose]() {
      for (const conn of conns) {
        try {
          conn.close();
        } catch { /* closed already */ }
      }
    },
  };
}

/** In the handshake, then in the body of a frame: a length that is spoiled is told by silence only, after long. */
const flips: BitFlip[] = [
  { direction: "back", offset: 30, bit: 0 },
  { direction: "back", offset: 120, bit: 2 },
  { direction: "forth", offset: 20_000, bit: 7 },
  { direction: "forth", offset: 40_001, bit: 4 },
  { direction: "forth", offset: 30, bit: 3 },
];

Deno.test({
  name:
    "bit flipped on the line ends the session; nothing wrong is written, and the source comes back by itself",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true, args: ["--compress", "none"] });
    await replication.watch();
    const proxy = replication.proxy!;
    const known = new Map<string, Uint8Array>();
    for (const [i, flip] of flips.entries()) {
      proxy.flip = flip;
      const before = proxy.connectionCount;
      proxy.cut();
      const contents = new Uint8Array(60_000);
      crypto.getRandomValues(contents);
      const path = `${replication.source}/f${i}`;
      await Deno.writeFile(path, contents);
      known.set(`f${i}`, contents);
      // The spoiled session and one more: it was ended, or it would still be the only one.
      await waitFor(() => proxy.connectionCount >= before + 2, {
        what: `another connection after a flip ${JSON.stringify(flip)}`,
        timeoutMs: 60_000,
      });
      for await (const { name } of Deno.readDir(replication.replica)) {
        assertEquals(await Deno.readFile(`${replication.replica}/${name}`), known.get(name), name);
      }
      proxy.flip = undefined;
      proxy.cut();
    }
    await replication.flush();
    await replication.assertEqual();
    assert(replication.daemon!.running);
  },
});

Deno.test({
  name: "peer of another version is told so, by the server and by the source",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await replication.watch();
    {
      using conn = await connectTo(replication);
      const preamble = encodePreamble(preambleFor("chacha20-poly1305"));
      // Version u16 at 4; what a later version sends behind it is not known.
      preamble.set([0x7f, 0xff], 4);
      await conn.write(preamble);
      const answer = await readToEnd(conn);
      const expected = encodeRefusal("version", "");
      assertEquals(answer.subarray(0, 2), expected.subarray(0, 2));
      assert(/version/.test(new TextDecoder().decode(answer.subarray(4))));
    }
    const peers = JSON.parse(await Deno.readTextFile(`${replication.state}/peers.json`)).peers;
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const answering = answerEach(listener, encodeRefusal("version", "the target speaks version 32767"));
    try {
      const { port } = listener.addr;
      await Deno.mkdir(`${replication.directory}/other-state`);
      await Deno.copyFile(`${replication.state}/key`, `${replication.directory}/other-state/key`);
      await Deno.chmod(`${replication.directory}/other-state/key`, 0o600);
      await Deno.writeTextFile(
        `${replication.directory}/other-state/peers.json`,
        JSON.stringify({ peers: [{ ...peers[0], port }] }),
      );
      const state = `${replication.directory}/other-state`;
      const target = `127.0.0.1:${port}/replica`;
      const result = await run(["mirror", replication.source, target, "--state", state]);
      assertRefused(result, { code: 1, message: /the target speaks version 32767/ });
    } finally {
      listener.close();
      await answering;
    }
    await assertStillReplicates(replication);
  },
});

/** Answers each connection with the same bytes, whatever it says. */
async function answerEach(listener: Deno.TcpListener, answer: Uint8Array): Promise<void> {
  try {
    for await (const conn of listener) {
      using open = conn;
      await open.read(new Uint8Array(1_000));
      await open.write(answer);
      await open.closeWrite();
      await readToEnd(open);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

const preamble = encodePreamble(preambleFor("chacha20-poly1305"));
const noise = (size: number) => crypto.getRandomValues(new Uint8Array(size));
const garbage: [what: string, bytes: () => Uint8Array][] = [
  ["another protocol", () => utf8("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")],
  ["random bytes", () => noise(5_000)],
  ["zeros", () => new Uint8Array(5_000)],
  ["half a preamble", () => preamble.subarray(0, 7)],
  ["a preamble with an unknown suite", () => new Uint8Array(12).map((_, i) => i === 6 ? 99 : preamble[i])],
  ["a preamble with unknown flags", () => new Uint8Array(12).map((_, i) => i === 7 ? 0xfe : preamble[i])],
  [
    "a first message that is too large",
    () => new ByteWriter().raw(preamble).u16(65_535).raw(noise(65_535)).take(),
  ],
  ["an empty first message", () => new ByteWriter().raw(preamble).u16(0).take()],
  ["a first message of random bytes", () => new ByteWriter().raw(preamble).u16(200).raw(noise(200)).take()],
  ["a first message that is cut off", () => new ByteWriter().raw(preamble).u16(200).raw(noise(90)).take()],
];

Deno.test({
  name: "bytes that are no handshake get the connection closed, and nothing else happens",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await replication.watch();
    const root = `${replication.directory}/root`;
    for (const [what, bytes] of garbage) {
      await unchanged([root], async () => {
        using conn = await connectTo(replication);
        await conn.write(bytes());
        await conn.closeWrite();
        await readToEnd(conn);
      });
      assert(replication.server.process.running, what);
    }
    await assertStillReplicates(replication);
  },
});

/** Frames as a paired source would send them, but wrong. They follow a good handshake. */
const badFrames: [what: string, bytes: Uint8Array][] = [
  [
    "a frame that is cut off",
    concat(encodeFrameHeader({ type: "message", flags: 0, sealedSize: 1_000 }), noise(500)),
  ],
  [
    "a header that is cut off",
    encodeFrameHeader({ type: "message", flags: 0, sealedSize: 1_000 }).slice(0, 3),
  ],
  ["an oversized frame", oversized(limits.frameBodySizeMax + 17)],
  ["a frame of 4 GiB", oversized(0xffff_ffff)],
  ["an unknown type", Uint8Array.of(16, 0, 0, 0, 77, 0, ...noise(16))],
  ["unknown flags", Uint8Array.of(16, 0, 0, 0, 1, 0xf8, ...noise(16))],
  [
    "a frame that is not authentic",
    concat(encodeFrameHeader({ type: "message", flags: 0, sealedSize: 64 }), noise(64)),
  ],
  ["random bytes", noise(5_000)],
];

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  return new ByteWriter().raw(a).raw(b).take();
}

function oversized(size: number): Uint8Array {
  return new ByteWriter().u32(size).u8(1).u8(0).raw(noise(2_000)).take();
}

Deno.test({
  name:
    "frames that are cut off, oversized or not authentic end their session, and the replica stays as it was",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await Deno.writeTextFile(`${replication.source}/file`, "contents");
    await replication.mirror();
    const privateKey = loadPrivateKey(`${replication.state}/key`)!;
    const [hostname, port] = replication.server.address.split(":");
    const peer = new PeerStore(replication.state).find({ hostname, port: Number(port), name: "replica" })!;
    for (const [what, bytes] of badFrames) {
      await unchanged([replication.replica], async () => {
        using conn = await connectTo(replication);
        await connectHandshake(conn, {
          preamble: preambleFor("chacha20-poly1305"),
          keyPair: new KeyPair(privateKey.slice()),
          targetPublicKey: parsePublicKey(peer.targetPublicKey),
          request: { name: "replica", wants: "replicate" },
        });
        await conn.write(bytes).catch(() => {});
        await conn.closeWrite().catch(() => {});
        await readToEnd(conn);
      });
      assert(replication.server.process.running, what);
    }
    await waitFor(async () => !(await replication.replicaStatus()).connected, {
      what: "the end of the last session",
    });
    await replication.watch();
    await assertStillReplicates(replication);
  },
});

Deno.test({
  name:
    "200 connections of garbage and 100 that stall do not stop a good source, nor keep it from coming back",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    await replication.watch();
    const conns: Deno.TcpConn[] = [];
    using _closing = closing(conns);
    const attack = async () => {
      for (let i = 0; i < 100; i++) {
        const stalling = await connectTo(replication);
        conns.push(stalling);
        // Some say nothing, some stop in the middle.
        await stalling.write(preamble.subarray(0, i % 12)).catch(() => {});
        for (let n = 0; n < 2; n++) {
          const spoiling = await connectTo(replication);
          conns.push(spoiling);
          await spoiling.write(noise(1 + i * 40)).catch(() => {});
        }
      }
    };
    await attack();
    await assertStillReplicates(replication);
    assertEquals((await replication.laneStatus()).state, "live");
    // And one that has to shake hands anew, among new ones that stall.
    const before = replication.proxy!.connectionCount;
    replication.proxy!.cut();
    await attack();
    await Deno.writeTextFile(`${replication.source}/after`, "contents");
    await waitFor(async () => await exists(`${replication.replica}/after`), {
      what: "the file, after the source came back",
      timeoutMs: 60_000,
      intervalMs: 50,
    });
    assert(replication.proxy!.connectionCount > before);
    await assertStillReplicates(replication);
    assertFalse(
      /Uncaught|at .*\.ts:/.test(replication.server.process.stderr),
      replication.server.process.stderr,
    );
  },
});

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
