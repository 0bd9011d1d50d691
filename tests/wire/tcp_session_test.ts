/**
 * Sessions over real sockets: good ones, refused ones, and a hostile or broken line between the two.
 *
 * Method: both ends in one process; where the line must misbehave, a proxy stands between them and sees the bytes.
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "node:path";
import { concatBytes } from "../../src/base/bytes.ts";
import { ProtocolError, RefusedError, TransientError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { PairingStore } from "../../src/store/pairing.ts";
import { cipherNames } from "../../src/wire/cipher.ts";
import { compressionNames } from "../../src/wire/compress.ts";
import { encodeFrameHeader } from "../../src/wire/frame.ts";
import { type SessionRequest, ZERO_PSK } from "../../src/wire/handshake.ts";
import { KeyPair } from "../../src/wire/keys.ts";
import {
  type AcceptedSession,
  type AcceptOptions,
  acceptSession,
  type ConnectedSession,
  type ConnectOptions,
  connectSession,
} from "../../src/wire/tcp_session.ts";
import { waitFor } from "../testing/wait.ts";

const sourceKey = new KeyPair(new Uint8Array(32).fill(1));
const targetKey = new KeyPair(new Uint8Array(32).fill(2));
const hostname = "127.0.0.1";
const request: SessionRequest = { name: "docs", wants: "replicate" };
const text = (message: Uint8Array | undefined) => message && new TextDecoder().decode(message);
const message = (words: string) => new TextEncoder().encode(words);

/** Bytes of one direction, one read at a time, on their way through a proxy. `undefined` closes the line. */
type Tamper = (chunk: Uint8Array) => Uint8Array | undefined | Promise<Uint8Array | undefined>;

interface Setting {
  connect?: Partial<ConnectOptions>;
  accept?: Partial<AcceptOptions>;
  /** Sees what the source sends, once the handshake is done. */
  tamper?: Tamper;
}

interface Ends {
  source: ConnectedSession;
  target: AcceptedSession;
}

const pass: Tamper = (chunk) => chunk;

async function pump(from: Deno.TcpConn, to: Deno.TcpConn, tamper: Tamper): Promise<void> {
  const room = new Uint8Array(limits.readSize);
  try {
    for (let count = await from.read(room); count !== null; count = await from.read(room)) {
      const passed = await tamper(room.slice(0, count));
      if (passed === undefined) break;
      for (let at = 0; at < passed.length;) at += await to.write(passed.subarray(at));
    }
    await to.closeWrite();
  } catch {
    // One end went away: so does the other.
  }
}

/** Forwards one connection to `port` until both ends are gone. */
async function proxyOne(listener: Deno.TcpListener, port: number, tamper: Tamper): Promise<void> {
  using near = await listener.accept();
  using far = await Deno.connect({ hostname, port });
  await Promise.all([pump(near, far, tamper), pump(far, near, pass)]);
}

function connectOptions(port: number, changes: Partial<ConnectOptions> = {}): ConnectOptions {
  return { hostname, port, keyPair: sourceKey, targetPublicKey: targetKey.publicKey, request, ...changes };
}

function acceptOptions(changes: Partial<AcceptOptions> = {}): AcceptOptions {
  return { keyPair: targetKey, authorize: () => ({ psk: ZERO_PSK }), ...changes };
}

/** Opens a session, runs the test on its two ends and cleans up whatever came of them. */
async function withSession(setting: Setting, run: (ends: Ends) => Promise<void>): Promise<void> {
  using listener = Deno.listen({ hostname, port: 0 });
  let port = listener.addr.port;
  let proxying: Promise<void> | undefined;
  let open = false;
  const { tamper } = setting;
  if (tamper !== undefined) {
    const front = Deno.listen({ hostname, port: 0 });
    proxying = proxyOne(front, port, (chunk) => open ? tamper(chunk) : chunk).finally(() => front.close());
    port = front.addr.port;
  }
  const accepted = listener.accept().then((conn) => acceptSession(conn, acceptOptions(setting.accept)));
  const source = await connectSession(connectOptions(port, setting.connect));
  const target = await accepted;
  open = true;
  try {
    await run({ source, target });
  } finally {
    await Promise.all([source.close(), target.close()]);
    await proxying;
  }
}

/** Both results of an attempt to open a session. */
async function attempt(
  setting: Setting,
): Promise<[PromiseSettledResult<unknown>, PromiseSettledResult<unknown>]> {
  using listener = Deno.listen({ hostname, port: 0 });
  const accepted = listener.accept().then((conn) => acceptSession(conn, acceptOptions(setting.accept)));
  const connected = connectSession(connectOptions(listener.addr.port, setting.connect));
  const results = await Promise.allSettled([connected, accepted]);
  await Promise.all(
    results.map((result) => result.status === "fulfilled" ? result.value.close() : undefined),
  );
  return results;
}

function reasonsOf(results: PromiseSettledResult<unknown>[]): unknown[] {
  return results.map((result) => result.status === "rejected" ? result.reason : "no error");
}

for (const cipher of cipherNames) {
  Deno.test(`a session under ${cipher} carries messages of every size both ways, in order, over rekeys`, async () => {
    const setting = { connect: { cipher, rekeyAfterFrames: 3 }, accept: { rekeyAfterFrames: 3 } };
    await withSession(setting, async ({ source, target }) => {
      assertEquals(target.request, request);
      assertEquals(target.peerPublicKey, sourceKey.publicKey);
      const sizes = [0, 1, 127, 4_096, 12_288, 65_536, 100_000, 524_288, limits.messageSizeMax, 5];
      const send = async (from: { send(message: Uint8Array): Promise<void> }) => {
        const sent = sizes.map((size, i) => {
          const bytes = new Uint8Array(size).fill(i);
          return from.send(bytes).then(() => bytes.fill(0xff));
        });
        await Promise.all(sent);
      };
      const expect = async (to: { receive(): Promise<Uint8Array | undefined> }) => {
        for (const [i, size] of sizes.entries()) {
          const received = await to.receive();
          assertEquals(received?.length, size);
          assert(received!.every((byte) => byte === i), `message ${i} is whole`);
        }
      };
      await Promise.all([send(source), send(target), expect(target), expect(source)]);
      assertEquals(source.stats.packetsSent, sizes.length);
      assertEquals(target.stats.packetsReceived, sizes.length);
      assertEquals(target.stats.bytesReceived, source.stats.bytesSent);
    });
  });
}

for (const compression of compressionNames) {
  Deno.test(`a session with ${compression} carries text and random bytes, and sends no more than it must`, async () => {
    const connect = { compression };
    await withSession({ connect }, async ({ source, target }) => {
      const prose = message("the quick brown fox jumps over the lazy dog ".repeat(5_000));
      const random = crypto.getRandomValues(new Uint8Array(60_000));
      for (const each of [prose, random, message("tiny"), prose]) {
        await source.send(each);
        assertEquals(await target.receive(), each);
      }
      const plain = prose.length * 2 + random.length;
      if (compression === "none") assert(source.stats.bytesSent > plain);
      else {assert(
          source.stats.bytesSent < random.length + prose.length * 1.3,
          `${source.stats.bytesSent} bytes`,
        );}
    });
  });
}

Deno.test("setCompression() holds from the next message on", async () => {
  await withSession({}, async ({ source, target }) => {
    const prose = message("all work and no play ".repeat(2_000));
    await target.send(prose);
    await source.receive();
    const before = target.stats.bytesSent;
    target.setCompression("zstd");
    assertEquals(target.compression, "zstd");
    await target.send(prose);
    assertEquals(await source.receive(), prose);
    assert(target.stats.bytesSent - before < prose.length / 4);
  });
});

/** Lets `rate` bytes per millisecond pass. */
function throttle(rate: number): Tamper {
  let freeAtMs = performance.now();
  return async (chunk) => {
    freeAtMs = Math.max(freeAtMs, performance.now()) + chunk.length / rate;
    const waitMs = freeAtMs - performance.now();
    if (waitMs > 1) await new Promise((resolve) => setTimeout(resolve, waitMs));
    return chunk;
  };
}

/** Words in no order, of which zstd leaves a fifth or so. */
function wordsOf(size: number): Uint8Array<ArrayBuffer> {
  const words: string[] = [];
  let seed = 7;
  for (let length = 0; length <= size;) {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff;
    const word = (seed >>> 8).toString(36).slice(0, 2 + seed % 3) + (seed % 11 === 0 ? ".\n" : " ");
    words.push(word, "that is ");
    length += word.length + 8;
  }
  return message(words.join("").slice(0, size));
}

/** Sends so many messages of text and takes them at the other end; gives bytes on the line per byte of text. */
async function sentPart({ source, target }: Ends, { count, size }: { count: number; size: number }) {
  const prose = wordsOf(size);
  const before = source.stats.bytesSent;
  const taking = (async () => {
    for (let i = 0; i < count; i++) assertEquals((await target.receive())?.length, size);
  })();
  for (let i = 0; i < count; i++) await source.send(prose);
  await taking;
  return (source.stats.bytesSent - before) / (count * size);
}

for (const rate of [1_000, 10_000]) {
  const title = `a session over a line of ${rate / 1_000} MB/s compresses from its first MiB on`;
  Deno.test(title, async () => {
    await withSession({ tamper: throttle(rate), connect: { compression: "zstd" } }, async (ends) => {
      const first = await sentPart(ends, { count: 4, size: 256 * 1024 });
      assert(first < 0.7, `${first} of the first MiB`);
      const next = await sentPart(ends, { count: 16, size: 256 * 1024 });
      assert(next < 0.7, `${next} of the next four`);
    });
  });
}

Deno.test("a session on loopback sends bulk as it is, as soon as it knows the line", async () => {
  await withSession({ connect: { compression: "zstd" } }, async (ends) => {
    // Other processes may hold up an echo, or the writes, for as long as they are busy: then the line is slow.
    await waitFor(async () => await sentPart(ends, { count: 32, size: 512 * 1024 }) > 0.9, {
      what: "the text to go over the line as it is",
      timeoutMs: 120_000,
    });
  });
});

Deno.test("a session under bulk lets timers and its peer's messages in, at both ends", async () => {
  await withSession({}, async ({ source, target }) => {
    let ticks = 0;
    let heard = 0;
    const timer = setInterval(() => ticks++, 1);
    const taking = (async () => {
      for (let i = 0; i < 1_000; i++) {
        if ((await target.receive())!.length > 0 && i % 50 === 0) void target.send(message("k"));
      }
    })();
    const hearing = (async () => {
      while (heard < 20) if (await source.receive()) heard++;
    })();
    const block = new Uint8Array(256 * 1024);
    let heardMeanwhile = 0;
    for (let i = 0; i < 1_000; i++) {
      await source.send(block);
      heardMeanwhile = heard;
    }
    const ticksMeanwhile = ticks;
    await Promise.all([taking, hearing]);
    clearInterval(timer);
    assert(ticksMeanwhile >= 3 && heardMeanwhile >= 3, `${ticksMeanwhile} ticks, ${heardMeanwhile} messages`);
  });
});

Deno.test("close() ends in order on both sides: what was sent arrives, then undefined", async () => {
  await withSession({}, async ({ source, target }) => {
    for (let i = 0; i < 100; i++) await source.send(message(`${i}`));
    const closed = source.close();
    for (let i = 0; i < 100; i++) assertEquals(text(await target.receive()), `${i}`);
    assertEquals(await target.receive(), undefined);
    assertEquals(await target.receive(), undefined);
    await target.close();
    await closed;
    await source.close();
    await assertRejects(() => source.send(message("late")), TransientError, "Cannot send");
    assertEquals(await source.receive(), undefined);
  });
});

Deno.test("close() of both sides at once, with messages under way, ends at once", async () => {
  await withSession({}, async ({ source, target }) => {
    for (let i = 0; i < 50; i++) {
      await Promise.all([source.send(new Uint8Array(50_000)), target.send(new Uint8Array(50_000))]);
    }
    const start = performance.now();
    await Promise.all([source.close(), target.close()]);
    assert(performance.now() - start < limits.closeMs * 3);
  });
});

Deno.test("refuse() tells the peer its reason", async () => {
  await withSession({}, async ({ source, target }) => {
    await target.refuse("another session took over");
    await assertRejects(() => source.receive(), RefusedError, "another session took over");
  });
});

Deno.test("send() waits while the peer takes nothing, and memory stays bounded", async () => {
  await withSession({}, async ({ source, target }) => {
    const block = new Uint8Array(256 * 1024);
    let sent = 0;
    let stopped = false;
    const sending = (async () => {
      while (!stopped) {
        await source.send(block);
        sent++;
      }
    })();
    let before = -1;
    // Until a round of the heart brings nothing more: everything between the two is full.
    while (before !== sent) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    assert(sent > 10, "it began");
    assert(sent * block.length < 64 * 1024 * 1024, `${sent} blocks under way`);
    stopped = true;
    for (let taken = 0; taken < sent; taken++) await target.receive();
    await sending;
  });
});

Deno.test("the target's other key, and a source that expects another target, are refused with the reason", async () => {
  const [connected, accepted] = reasonsOf(
    await attempt({ connect: { targetPublicKey: KeyPair.generate().publicKey } }),
  );
  for (const error of [connected, accepted]) {
    const expected = "the target's key is not the expected one";
    assert(error instanceof RefusedError && error.message.includes(expected), `${error}`);
  }
});

Deno.test("a target that says no is heard, also after a wait", async () => {
  const authorize = () => Promise.resolve({ refuse: "not paired" });
  const reasons = reasonsOf(await attempt({ accept: { authorize } }));
  for (const error of reasons) assert(error instanceof RefusedError && error.message.includes("not paired"));
});

Deno.test("a peer of another version is told the version that is spoken here", async () => {
  using listener = Deno.listen({ hostname, port: 0 });
  const accepted = listener.accept().then((conn) => acceptSession(conn, acceptOptions()));
  using conn = await Deno.connect({ hostname, port: listener.addr.port });
  // More than the target reads, so that a careless close would reset the line and lose the answer.
  await conn.write(concatBytes(message("USTY"), Uint8Array.of(9, 0), new Uint8Array(20_000)));
  await conn.closeWrite();
  await assertRejects(() => accepted, RefusedError, "version 9");
  const answer = new Uint8Array(1_000);
  const count = await conn.read(answer);
  assert(text(answer.subarray(0, count!))!.includes("the target speaks version 1"));
});

Deno.test("used, expired and unknown tokens, another replica's key: refused; a good token pairs once", async () => {
  const root = Deno.makeTempDirSync();
  try {
    const store = new PairingStore(join(root, "pairing"));
    let nowMs = 1_000_000;
    const authorize: AcceptOptions["authorize"] = (asked, publicKey) =>
      store.authorize({ ...asked, publicKey, nowMs });
    const other = KeyPair.generate();
    const open = (
      name: string,
      { keyPair = sourceKey, token }: {
        keyPair?: KeyPair;
        token?: { tokenId: Uint8Array; secret: Uint8Array };
      },
    ) =>
      attempt({
        connect: {
          keyPair,
          psk: token?.secret,
          request: { name, wants: "replicate", tokenId: token?.tokenId },
        },
        accept: { authorize },
      });
    const token = store.createInvite("docs", { expiresMs: 1_000, nowMs });
    const late = store.createInvite("docs", { expiresMs: 1_000, nowMs });

    // Who knows the id only learns nothing and uses nothing up.
    const guessed = { tokenId: token.tokenId, secret: new Uint8Array(32) };
    const [guess] = reasonsOf(await open("docs", { keyPair: other, token: guessed }));
    assert(guess instanceof ProtocolError, `${guess}`);
    assertEquals(store.boundKey("docs"), undefined);

    assertEquals(reasonsOf(await open("docs", { token })), ["no error", "no error"]);
    assertEquals(store.boundKey("docs"), sourceKey.publicKey);
    assertEquals(reasonsOf(await open("docs", {})), ["no error", "no error"]);

    const refused = async (attempted: ReturnType<typeof open>, reason: string) => {
      for (const error of reasonsOf(await attempted)) {
        assert(error instanceof RefusedError && error.message.includes(reason), `${error}`);
      }
    };
    await refused(open("docs", { keyPair: other, token }), "the join token is used already");
    await refused(open("docs", { keyPair: other }), "not paired with replica");
    await refused(open("photos", {}), "not paired with replica");
    await refused(open("../docs", {}), "name is not allowed");
    const unknown = { tokenId: new Uint8Array(16), secret: new Uint8Array(32) };
    await refused(open("docs", { keyPair: other, token: unknown }), "the join token is unknown");
    nowMs += 1_000;
    await refused(open("docs", { keyPair: other, token: late }), "the join token is expired");
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
});

Deno.test("a source whose confirmation fails is refused after all, by a close frame", async () => {
  using listener = Deno.listen({ hostname, port: 0 });
  const confirm = () => {
    throw new RefusedError("the join token is used already");
  };
  const accepted = listener.accept().then((conn) =>
    acceptSession(conn, acceptOptions({ authorize: () => ({ psk: ZERO_PSK, confirm }) }))
  );
  const source = await connectSession(connectOptions(listener.addr.port));
  const [target] = await Promise.allSettled([
    accepted,
    assertRejects(() => source.receive(), RefusedError, "used already"),
  ]);
  assert(target.status === "rejected" && target.reason instanceof RefusedError);
  await source.close();
});

for (const cipher of cipherNames) {
  Deno.test(`a bit flipped on the way under ${cipher} ends the session: counted, nothing handed up`, async () => {
    let seen = 0;
    // The 40th byte after the first message lies in the second one's body.
    const tamper: Tamper = (chunk) => {
      if (seen++ > 0) chunk[40] ^= 4;
      return chunk;
    };
    await withSession({ tamper, connect: { cipher } }, async ({ source, target }) => {
      await source.send(message("good"));
      assertEquals(text(await target.receive()), "good");
      await source.send(new Uint8Array(500));
      await source.send(message("after"));
      await assertRejects(() => target.receive(), ProtocolError);
      await assertRejects(() => target.receive(), ProtocolError);
      assertEquals(target.stats.framesRefused, 1);
      assertEquals(target.stats.packetsReceived, 1);
      await assertRejects(() => target.send(message("no")), TransientError);
      // The line is closed under the source, too.
      await assertRejects(() => source.receive(), TransientError);
    });
  });

  Deno.test(`a frame replayed or exchanged with its neighbour under ${cipher} is refused`, async () => {
    const replay: Tamper = (chunk) => concatBytes(chunk, chunk);
    await withSession({ tamper: replay, connect: { cipher } }, async ({ source, target }) => {
      await source.send(message("once"));
      assertEquals(text(await target.receive()), "once");
      await assertRejects(() => target.receive(), ProtocolError);
    });
    const swap: Tamper = (chunk) => {
      const half = chunk.length / 2;
      return concatBytes(chunk.subarray(half), chunk.subarray(0, half));
    };
    await withSession({ tamper: swap, connect: { cipher } }, async ({ source, target }) => {
      // Sent together they are written together, so the proxy sees both.
      await Promise.all([source.send(message("aaaa")), source.send(message("bbbb"))]);
      await assertRejects(() => target.receive(), ProtocolError);
      assertEquals(target.stats.framesRefused, 1);
    });
  });
}

Deno.test("a frame with an impossible length is refused at its header", async () => {
  const tamper: Tamper = () => encodeFrameHeader({ type: "message", flags: 0, sealedSize: 0xffff_ffff });
  await withSession({ tamper }, async ({ source, target }) => {
    await source.send(message("never"));
    await assertRejects(() => target.receive(), ProtocolError, "4294967295 is not allowed");
    assertEquals(target.stats.framesRefused, 1);
  });
});

Deno.test("a line cut in the middle of a frame, or without a close, is a broken line, not an end", async () => {
  for (const keep of [5, 0]) {
    let cut = false;
    const tamper: Tamper = (chunk) => cut || keep === 0 ? undefined : (cut = true, chunk.subarray(0, keep));
    await withSession({ tamper }, async ({ source, target }) => {
      await source.send(message("cut"));
      if (keep > 0) await source.send(message("cut again"));
      const settled = target.receive();
      if (keep > 0) await source.send(new Uint8Array(9)).catch(() => {});
      if (keep > 0) void source.close();
      await assertRejects(() => settled, TransientError);
    });
  }
});

Deno.test("a handshake that takes too long is dropped on both sides", async () => {
  using listener = Deno.listen({ hostname, port: 0 });
  const accepted = listener.accept().then((conn) => acceptSession(conn, acceptOptions({ handshakeMs: 100 })));
  const silent = await Deno.connect({ hostname, port: listener.addr.port });
  await assertRejects(() => accepted, TransientError, "takes longer than 100 ms");
  assertEquals(await silent.read(new Uint8Array(1)), null);
  silent.close();

  const waiting = listener.accept();
  await assertRejects(
    () => connectSession(connectOptions(listener.addr.port, { handshakeMs: 100 })),
    TransientError,
    "takes longer than 100 ms",
  );
  (await waiting).close();
});

Deno.test("an authorize() that never answers does not hold the connection beyond the deadline", async () => {
  const authorize = () => new Promise<never>(() => {});
  const reasons = reasonsOf(await attempt({ accept: { authorize, handshakeMs: 100 }, connect: {} }));
  for (const error of reasons) assert(error instanceof TransientError, `${error}`);
});

Deno.test("connectSession() stops when its signal aborts, and a refused port is worth another try", async () => {
  using listener = Deno.listen({ hostname, port: 0 });
  const waiting = listener.accept();
  const stop = new AbortController();
  const connecting = connectSession(connectOptions(listener.addr.port, { signal: stop.signal }));
  const conn = await waiting;
  stop.abort();
  await assertRejects(() => connecting, TransientError, "given up");
  conn.close();
  const aborted = connectOptions(listener.addr.port, { signal: AbortSignal.abort() });
  await assertRejects(() => connectSession(aborted), TransientError, "given up");

  const closed = Deno.listen({ hostname, port: 0 });
  const { port } = closed.addr;
  closed.close();
  const error = await assertRejects(
    () => connectSession(connectOptions(port)),
    TransientError,
    `${hostname}:${port}`,
  );
  assert(error.cause instanceof Deno.errors.ConnectionRefused);
});

Deno.test("64 stalled handshakes do not stop a good one", async () => {
  using listener = Deno.listen({ hostname, port: 0 });
  const accept = () =>
    listener.accept().then((conn) => acceptSession(conn, acceptOptions({ handshakeMs: 3_000 })));
  const stalled: Deno.TcpConn[] = [];
  const accepting: Promise<unknown>[] = [];
  for (let i = 0; i < 64; i++) {
    accepting.push(accept().catch((error) => error));
    const conn = await Deno.connect({ hostname, port: listener.addr.port });
    await conn.write(message("USTY").subarray(0, i % 5));
    stalled.push(conn);
  }
  const good = accept();
  const start = performance.now();
  const source = await connectSession(connectOptions(listener.addr.port));
  const target = await good;
  assert(performance.now() - start < 2_000, "before any stalled one is dropped");
  await source.send(message("through"));
  assertEquals(text(await target.receive()), "through");
  await Promise.all([source.close(), target.close()]);
  for (const conn of stalled) conn.close();
  for (const error of await Promise.all(accepting)) assert(error instanceof Error);
});

Deno.test("a dead peer is found by its silence", async () => {
  using listener = Deno.listen({ hostname, port: 0 });
  using front = Deno.listen({ hostname, port: 0 });
  const accepted = listener.accept().then((conn) => acceptSession(conn, acceptOptions()));
  const proxied = proxyUntilSilent(front, listener.addr.port);
  const source = await connectSession(connectOptions(front.addr.port, { pingAfterMs: 50, deadAfterMs: 200 }));
  const target = await accepted;
  const silence = await proxied;
  silence.begin();
  const start = performance.now();
  await assertRejects(() => source.receive(), TransientError, "the peer is silent");
  assert(performance.now() - start >= 150, "not before its time");
  await Promise.all([source.close(), (silence.end(), target.close())]);
  await silence.done;
});

Deno.test("an idle session with both ends alive stays, and a peer that takes nothing is not dead", async () => {
  const short = { pingAfterMs: 40, deadAfterMs: 160 };
  await withSession({ connect: short, accept: short }, async ({ source, target }) => {
    await waitUntil(() => source.stats.packetsReceived >= 10 && target.stats.packetsReceived >= 10);
    // Fill everything in between: the target's loop then reads nothing, but its heart beats.
    const sending = (async () => {
      for (let i = 0; i < 200; i++) await source.send(new Uint8Array(128 * 1024));
    })();
    const { packetsReceived } = source.stats;
    await waitUntil(() => source.stats.packetsReceived >= packetsReceived + 8);
    for (let i = 0; i < 200; i++) assertEquals((await target.receive())?.length, 128 * 1024);
    await sending;
  });
});

/** Waits for a state, five seconds at most. */
async function waitUntil(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("the expected state did not come within five seconds");
}

/** A proxy that can swallow everything in both directions. */
async function proxyUntilSilent(listener: Deno.TcpListener, port: number) {
  const near = await listener.accept();
  const far = await Deno.connect({ hostname, port });
  let silent = false;
  const swallow: Tamper = (chunk) => silent ? new Uint8Array() : chunk;
  const done = Promise.all([pump(near, far, swallow), pump(far, near, swallow)]).then(() => {});
  const end = () => {
    near.close();
    far.close();
  };
  return { begin: () => silent = true, end, done };
}
