import { assert, assertEquals } from "@std/assert";
import { type Proxy, startProxy } from "./proxy.ts";
import { waitFor } from "./wait.ts";

/** A server that sends back what it gets, and a proxy before it. */
function echoThroughProxy() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    for await (const connection of listener) {
      connection.readable.pipeTo(connection.writable).catch(() => {});
    }
  })().catch(() => {});
  const proxy = startProxy(`127.0.0.1:${listener.addr.port}`);
  return {
    proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      listener.close();
      await serving;
    },
  };
}

function connect(proxy: Proxy): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname: "127.0.0.1", port: Number(proxy.address.split(":")[1]) });
}

/** Sends bytes and reads until as many have come back, or the line ends. */
async function echo(connection: Deno.TcpConn, sent: Uint8Array): Promise<Uint8Array> {
  const writing = connection.write(sent).catch(() => 0);
  const back = new Uint8Array(sent.length);
  let size = 0;
  while (size < sent.length) {
    const read = await connection.read(back.subarray(size)).catch(() => null);
    if (read === null) break;
    size += read;
  }
  await writing;
  return back.subarray(0, size);
}

Deno.test("Proxy passes bytes unchanged and counts them each way", async () => {
  await using server = echoThroughProxy();
  const sent = crypto.getRandomValues(new Uint8Array(50_000));
  for (let i = 0; i < 2; i++) {
    using connection = await connect(server.proxy);
    assertEquals(await echo(connection, sent), sent);
  }
  assertEquals(server.proxy.bytes, { forth: 100_000, back: 100_000 });
  assertEquals(server.proxy.connectionCount, 2);
});

Deno.test("Proxy flips the one bit it is told to", async () => {
  await using server = echoThroughProxy();
  server.proxy.flip = { direction: "back", offset: 3, bit: 7 };
  using connection = await connect(server.proxy);
  assertEquals(await echo(connection, new Uint8Array(3)), new Uint8Array(3));
  assertEquals(await echo(connection, new Uint8Array(3)), Uint8Array.of(0x80, 0, 0));
});

Deno.test("Proxy cuts after so many bytes, and lets the next connection live", async () => {
  await using server = echoThroughProxy();
  server.proxy.cutAfter = { direction: "forth", bytes: 5 };
  {
    using connection = await connect(server.proxy);
    await echo(connection, new Uint8Array(20));
    assertEquals(server.proxy.bytes.forth, 5);
  }
  server.proxy.cutAfter = undefined;
  using connection = await connect(server.proxy);
  assertEquals((await echo(connection, new Uint8Array(20))).length, 20);
});

Deno.test("Proxy.cut() and refusing end open and new connections", async () => {
  await using server = echoThroughProxy();
  using open = await connect(server.proxy);
  assertEquals((await echo(open, new Uint8Array(1))).length, 1);
  server.proxy.cut();
  assertEquals((await echo(open, new Uint8Array(1))).length, 0);
  server.proxy.refusing = true;
  using refused = await connect(server.proxy);
  assertEquals((await echo(refused, new Uint8Array(1))).length, 0);
});

Deno.test("Proxy.stall() holds bytes back and resume() delivers them", async () => {
  await using server = echoThroughProxy();
  using connection = await connect(server.proxy);
  assertEquals((await echo(connection, new Uint8Array(1))).length, 1);
  server.proxy.stall();
  const echoed = echo(connection, Uint8Array.of(9));
  using other = await connect(server.proxy);
  await waitFor(() => server.proxy.openCount === 2, { what: "the second connection" });
  const echoedToo = echo(other, Uint8Array.of(8));
  assertEquals(server.proxy.bytes.back, 1);
  server.proxy.resume();
  assertEquals(await Promise.all([echoed, echoedToo]), [Uint8Array.of(9), Uint8Array.of(8)]);
});

Deno.test("proxy keeps to a rate, and bytes take their time, in order", async () => {
  await using through = echoThroughProxy();
  const connection = await connect(through.proxy);
  try {
    const sent = crypto.getRandomValues(new Uint8Array(50_000));
    through.proxy.weather = { bytesPerSecond: 100_000 };
    let startMs = performance.now();
    assertEquals(await echo(connection, sent), sent);
    let tookMs = performance.now() - startMs;
    assert(tookMs > 400 && tookMs < 2_500, `${tookMs} ms`);
    through.proxy.weather = { delayMs: 200, lossShare: 0.05 };
    startMs = performance.now();
    assertEquals(await echo(connection, sent), sent);
    tookMs = performance.now() - startMs;
    assert(tookMs > 400, `${tookMs} ms`);
  } finally {
    connection.close();
  }
});
