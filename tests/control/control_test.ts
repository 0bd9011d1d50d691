import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  CommandError,
  CorruptionError,
  ProtocolError,
  RefusedError,
  UsageError,
} from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { LineReader, writeAll } from "../../src/control/line_reader.ts";
import { callControl } from "../../src/control/client.ts";
import { ControlConnection } from "../../src/control/connection.ts";
import { type ControlHandler, isAnswered, serveControl } from "../../src/control/server.ts";
import { controlSocketIn, fitsSocketAddress } from "../../src/control/socket_path.ts";
import { startProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

const windows = Deno.build.os === "windows";

/** Serves `handlers` in a fresh directory. */
async function serve(handlers: Record<string, ControlHandler>) {
  const directory = await tempDirectory();
  const path = controlSocketIn(directory.path);
  const server = await serveControl({ path, handlers });
  return {
    path,
    server,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

const echo: ControlHandler = (args) => Promise.resolve(args);

/** A handler that answers only when it is aborted. */
function untilAborted(log: string[]): ControlHandler {
  return (_args, signal) =>
    new Promise((_resolve, reject) => {
      log.push("started");
      signal.addEventListener("abort", () => {
        log.push("aborted");
        reject(new CommandError("Cannot go on: stopped"));
      });
    });
}

/** Writes bytes to a socket and returns the lines that come back until the server hangs up or `count` came. */
async function exchange(path: string, bytes: Uint8Array, count = 1): Promise<string[]> {
  using conn = await Deno.connect({ transport: "unix", path });
  const lines = new LineReader(conn, 1024 * 1024);
  // A server that refuses closes before everything was written.
  const writing = writeAll(conn, bytes).catch(() => {});
  const received: string[] = [];
  while (received.length < count) {
    const line = await lines.read();
    if (line === undefined) break;
    received.push(line);
  }
  await writing;
  return received;
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

Deno.test({
  name: "serveControl() answers two clients at the same time, one of which waits",
  ignore: windows,
  async fn() {
    let release = () => {};
    const released = new Promise<void>((resolve) => release = resolve);
    await using served = await serve({ echo, slow: () => released.then(() => "late") });
    const slow = callControl(served.path, "slow", {});
    assertEquals(await callControl(served.path, "echo", { path: "a\udc80\n" }), { path: "a\udc80\n" });
    release();
    assertEquals(await slow, "late");
  },
});

Deno.test({
  name: "serveControl() makes a socket that only its owner can open, and removes it",
  ignore: windows,
  async fn() {
    await using directory = await tempDirectory();
    const path = controlSocketIn(directory.path);
    {
      await using _server = await serveControl({ path, handlers: { echo } });
      assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
    }
    assertEquals([...Deno.readDirSync(directory.path)], []);
  },
});

Deno.test({
  name: "callControl() throws what the daemon threw, by its class",
  ignore: windows,
  async fn() {
    const classes = [UsageError, CommandError, CorruptionError, RefusedError, ProtocolError];
    await using served = await serve({
      throw: (args) => Promise.reject(new classes[(args as { index: number }).index]("Cannot go on: x")),
      crash: () => Promise.reject(new TypeError("undefined is not a function")),
    });
    for (const [index, Class] of classes.entries()) {
      const error = await assertRejects(
        () => callControl(served.path, "throw", { index }),
        Class,
        "Cannot go on: x",
      );
      assertEquals(error.name, Class.name);
    }
    await assertRejects(
      () => callControl(served.path, "crash", {}),
      CommandError,
      "undefined is not a function",
    );
  },
});

Deno.test({
  name: "serveControl() refuses a command that it does not know, whatever its name",
  ignore: windows,
  async fn() {
    await using served = await serve({ echo });
    for (const name of ["flush", "constructor", "__proto__", ""]) {
      await assertRejects(() => callControl(served.path, name, {}), UsageError, `Cannot run "${name}"`);
    }
  },
});

Deno.test({
  name: "serveControl() answers a malformed request with an error and goes on",
  ignore: windows,
  async fn() {
    await using served = await serve({ echo });
    for (const request of ["", "nonsense", "null", "[]", "{}", `{"command":1}`, "\x00\xff"]) {
      const [line] = await exchange(served.path, bytesOf(request + "\n"));
      assertStringIncludes(line, `"name":"UsageError","message":"Cannot read request`);
    }
    const lines = await exchange(served.path, bytesOf(`x\n{"command":"echo","args":7}\n`), 2);
    assertEquals(lines.map((line) => JSON.parse(line).result), [undefined, 7]);
  },
});

Deno.test({
  name: "serveControl() takes a request of exactly the bound and refuses one byte more",
  ignore: windows,
  async fn() {
    await using served = await serve({ size: (args) => Promise.resolve(String(args).length) });
    const frame = `{"command":"size","args":""}`.length;
    const request = (size: number) => bytesOf(`{"command":"size","args":"${"x".repeat(size - frame)}"}\n`);
    const [fits] = await exchange(served.path, request(limits.controlRequestSizeMax));
    assertEquals(JSON.parse(fits), { result: limits.controlRequestSizeMax - frame });
    const [tooLong] = await exchange(served.path, request(limits.controlRequestSizeMax + 1));
    assertEquals(JSON.parse(tooLong).error.name, "ProtocolError");
    assertEquals(await callControl(served.path, "size", "abc"), 3);
  },
});

Deno.test({
  name: "serveControl() takes a request byte by byte, and several in one write",
  ignore: windows,
  async fn() {
    await using served = await serve({ echo });
    using conn = await Deno.connect({ transport: "unix", path: served.path });
    const lines = new LineReader(conn, 1024);
    for (const byte of bytesOf(`{"command":"echo","args":"ü"}\n`)) await conn.write(Uint8Array.of(byte));
    assertEquals(await lines.read(), `{"result":"ü"}`);
    await writeAll(conn, bytesOf(`{"command":"echo","args":1}\n{"command":"echo","args":2}\n`));
    assertEquals([await lines.read(), await lines.read()], [`{"result":1}`, `{"result":2}`]);
  },
});

Deno.test({
  name: "serveControl() aborts what was asked when the asker hangs up",
  ignore: windows,
  async fn() {
    const log: string[] = [];
    await using served = await serve({ wait: untilAborted(log) });
    const asker = new AbortController();
    const asked = callControl(served.path, "wait", {}, { signal: asker.signal });
    await waitFor(() => log.includes("started"), { what: "the handler" });
    asker.abort(new Error("enough"));
    await assertRejects(() => asked, Error, "enough");
    await waitFor(() => log.includes("aborted"), { what: "the abort" });
  },
});

Deno.test({
  name: "callControl() gives up on a stuck daemon at its deadline",
  ignore: windows,
  async fn() {
    const log: string[] = [];
    await using served = await serve({ wait: untilAborted(log) });
    await assertRejects(
      () => callControl(served.path, "wait", {}, { timeoutMs: 30 }),
      CommandError,
      `Cannot run "wait": the daemon gave no answer in 30ms`,
    );
    await waitFor(() => log.includes("aborted"), { what: "the abort" });
  },
});

Deno.test({
  name: "disposing a control server aborts what runs and hangs up",
  ignore: windows,
  async fn() {
    const log: string[] = [];
    const served = await serve({ wait: untilAborted(log) });
    const asked = assertRejects(() => callControl(served.path, "wait", {}), CommandError);
    await waitFor(() => log.includes("started"), { what: "the handler" });
    await served[Symbol.asyncDispose]();
    await asked;
    assertEquals(log, ["started", "aborted"]);
  },
});

Deno.test({
  name: "serveControl() refuses connections beyond the bound and serves again when some have gone",
  ignore: windows,
  async fn() {
    await using served = await serve({ echo });
    const idle = await Promise.all(
      Array.from(
        { length: limits.controlConnectionsMax },
        () => Deno.connect({ transport: "unix", path: served.path }),
      ),
    );
    await assertRejects(() => callControl(served.path, "echo", 1), CommandError, "connections are open");
    for (const conn of idle) conn.close();
    await waitFor(async () => await callControl(served.path, "echo", 1) === 1, { what: "a free connection" });
  },
});

Deno.test({
  name: "serveControl() refuses to replace a living daemon",
  ignore: windows,
  async fn() {
    await using served = await serve({ echo });
    await assertRejects(
      () => serveControl({ path: served.path, handlers: {} }),
      CommandError,
      "Cannot start: another understudy answers on",
    );
    assertEquals(await callControl(served.path, "echo", 1), 1);
  },
});

/** Directory depths of a short socket path and of one that no socket address can hold. */
for (
  const [situation, below] of [["a short path", "s"], ["a path too long for a socket", "long".repeat(40)]]
) {
  Deno.test({
    name: `serveControl() replaces the socket of a killed daemon at ${situation}`,
    ignore: windows,
    async fn() {
      await using directory = await tempDirectory();
      const path = controlSocketIn(`${directory.path}/${below}`);
      Deno.mkdirSync(`${directory.path}/${below}`);
      assertEquals(fitsSocketAddress(path), below === "s");
      await using daemon = startProcess(Deno.execPath(), [
        "eval",
        `import { serveControl } from ${JSON.stringify(import.meta.resolve("../../src/control/server.ts"))};
         const server = await serveControl({ path: Deno.args[0], handlers: {} });
         console.log("at", server.socketPath);`,
        path,
      ]);
      const socketPath = (await daemon.waitForLine("at ")).slice(3);
      assert(await isAnswered(path));
      daemon.kill("SIGKILL");
      await daemon.ended();
      assert(Deno.lstatSync(socketPath).isSocket);
      await assertRejects(() => callControl(path, "echo", 1), CommandError, "Cannot reach a daemon");
      {
        await using _server = await serveControl({ path, handlers: { echo } });
        assertEquals(await callControl(path, "echo", 1), 1);
      }
      assertEquals([...Deno.readDirSync(`${directory.path}/${below}`)], []);
      const shortDirectory = socketPath.slice(0, socketPath.lastIndexOf("/"));
      if (below !== "s") await assertRejects(() => Deno.lstat(shortDirectory), Deno.errors.NotFound);
    },
  });
}

Deno.test("LineReader gives the same lines however the bytes are delivered", async () => {
  const text = "first\n\nthird with ü\nno line feed";
  const bytes = bytesOf(text);
  for (let size = 1; size <= bytes.length; size++) {
    let at = 0;
    const reader = new LineReader({
      read(buffer) {
        if (at === bytes.length) return Promise.resolve(null);
        const part = bytes.subarray(at, at + size);
        buffer.set(part);
        at += part.length;
        return Promise.resolve(part.length);
      },
    }, 100);
    const lines = [];
    for (let line; (line = await reader.read()) !== undefined;) lines.push(line);
    assertEquals(lines, ["first", "", "third with ü"], `${size} bytes at a time`);
  }
});

Deno.test("LineReader refuses an endless line at its bound", async () => {
  let reads = 0;
  const reader = new LineReader({
    read(buffer) {
      reads++;
      buffer.fill(120);
      return Promise.resolve(buffer.length);
    },
  }, 1024 * 1024);
  await assertRejects(() => reader.read(), ProtocolError, "more than 1048576 bytes");
  assert(reads <= 17);
});

/** How connections ask in these tests. */
const asking = { timeoutMs: 10_000, signal: new AbortController().signal };

Deno.test({
  name: "a ControlConnection asks several times, and what it asked for lasts until it ends",
  ignore: windows,
  async fn() {
    const log: string[] = [];
    await using served = await serve({
      "hold-replica": (args, signal) => {
        signal.addEventListener("abort", () => log.push("released"));
        return Promise.resolve(args);
      },
      status: echo,
    });
    {
      using connection = (await ControlConnection.open(served.path))!;
      assertEquals(await connection.ask("hold-replica", { name: "a" }, asking) as unknown, { name: "a" });
      assertEquals(await connection.ask("status", {}, asking) as unknown, {});
      assertEquals([log, connection.ended.aborted], [[], false]);
      await assertRejects(() => connection.ask("flush", { timeoutMs: 1 }, asking), UsageError, `"flush"`);
    }
    await waitFor(() => log.length > 0, { what: "the release" });
    assertEquals(log, ["released"]);
  },
});

Deno.test({
  name: "a ControlConnection hears when the daemon stops, and asks nothing of one that is not there",
  ignore: windows,
  async fn() {
    const log: string[] = [];
    await using served = await serve({ flush: untilAborted(log), status: echo });
    using stuck = (await ControlConnection.open(served.path))!;
    await assertRejects(
      () => stuck.ask("flush", { timeoutMs: 1 }, { ...asking, timeoutMs: 20 }),
      CommandError,
      `Cannot run "flush": the daemon gave no answer in 20ms`,
    );
    assertEquals(stuck.ended.aborted, true);
    await waitFor(() => log.includes("aborted"), { what: "the daemon to hear of it" });
    using connection = (await ControlConnection.open(served.path))!;
    const asked = connection.ask("flush", { timeoutMs: 1 }, asking).catch((error) => error.message);
    await served.server[Symbol.asyncDispose]();
    assertStringIncludes(await asked, "Cannot ");
    await waitFor(() => connection.ended.aborted, { what: "the end" });
    await assertRejects(() => connection.ask("status", {}, asking), CommandError, "the daemon hung up");
    assertEquals(await ControlConnection.open(served.path), undefined);
  },
});
