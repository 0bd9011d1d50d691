/**
 * `status` and `flush` against a control socket that answers as a daemon does.
 * @module
 */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { CommandError, UsageError } from "../../src/base/errors.ts";
import type { FlushResult, SourceStatus, TargetStatus } from "../../src/base/status.ts";
import type { ControlHandlers, FlushRequest } from "../../src/control/api.ts";
import { formatAddress } from "../../src/base/address.ts";
import { serveHttp } from "../../src/control/http.ts";
import { type ControlHandler, serveControl } from "../../src/control/server.ts";
import { controlSocketIn } from "../../src/control/socket_path.ts";
import * as flush from "../../src/modes/flush.ts";
import * as status from "../../src/modes/status.ts";
import { formatStatus } from "../../src/modes/status_text.ts";
import { tempDirectory } from "../testing/temp.ts";
import { testIo } from "../testing/test_io.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = Deno.build.os === "windows";

const source: SourceStatus = {
  role: "source",
  version: "0.1.0",
  set: "www",
  root: "/srv/www",
  pid: 42,
  interceptor: "inotify",
  interceptorReason: "the best that works here",
  promise: "convergent",
  commit: "ack",
  log: { state: "off", reason: "", count: 0, bytes: 0 },
  targets: [{
    target: "backup:7420/www",
    state: "catching-up",
    reason: "the window is full",
    lagMs: 1_500,
    queuedOps: 3,
    stackedOps: 2,
    stacked: { state: "memory", memoryOps: 2, diskOps: 0 },
    journal: { state: "off", reason: "", bytes: 0 },
    flow: { limitRate: 0, sendWhen: "at-once", reason: "" },
    inFlightOps: 1,
    lastAckedSequence: 99,
    lastAckAt: new Date(990_000).toISOString(),
    packetsSent: 1,
    packetsShared: 0,
    bytesSent: 2048,
    retries: 1,
    errors: 0,
    opsSent: { file: 5, unlink: 0 },
    leftovers: { count: 0, paths: [] },
    heldSince: "",
    pending: {
      count: 1,
      paths: [{
        path: "used",
        reason: '"used" is open in another program',
        since: "2026-01-01T00:00:00.000Z",
      }],
    },
    verification: {
      state: "contents",
      reason: "",
      lastTreeAt: new Date(940_000).toISOString(),
      treeShare: 0,
      lastContentsAt: "",
      contentsShare: 0.618,
      found: 2,
      healed: 1,
    },
  }],
  capture: {
    events: 1,
    overflows: 0,
    rescans: 2,
    unwatched: 3,
    armed: 7,
    directories: 9,
    gaps: [{
      name: "watch-limit",
      reason: "the limit of watches is reached",
      count: 2,
      paths: ["a\nb"],
      since: new Date(940_000).toISOString(),
    }],
    lastVerifyAt: "",
  },
  accounts: {
    users: 2,
    groups: 1,
    at: new Date(0).toISOString(),
    unknownUids: [4242],
    unknownGids: [],
    reason: 'there is no user "eve"',
  },
  guards: [],
  problems: [{ path: "a\nb", op: "read", reason: "no permission", since: new Date(940_000).toISOString() }],
};

const target: TargetStatus = {
  role: "target",
  version: "0.1.0",
  root: "/srv/replicas",
  listen: "0.0.0.0:7420",
  replicas: [{
    name: "www",
    connected: true,
    peer: "10.0.0.7:40000",
    state: "live",
    reason: "",
    lastAppliedSequence: 100,
    lastDurableSequence: 99,
    pendingOpenFiles: 1,
    promotedAt: "",
    openFiles: [{ path: "used", use: "open", since: "2026-01-01T00:00:00.000Z" }],
    packetsReceived: 7,
    bytesReceived: 3 * 1024 * 1024,
    bytesSent: 10,
    errors: 0,
    opsReceived: { mkdir: 1, file: 2 },
    accounts: { users: 1, groups: 2, at: new Date(0).toISOString() },
  }],
};

/** A daemon of set `name` in `state`. */
async function daemon(state: string, name: string, handlers: ControlHandlers): Promise<AsyncDisposable> {
  Deno.mkdirSync(`${state}/${name}`);
  const path = controlSocketIn(`${state}/${name}`);
  return await serveControl({ path, handlers: handlers as Record<string, ControlHandler> });
}

const answers = (value: SourceStatus | TargetStatus): ControlHandlers => ({
  status: () => Promise.resolve(value),
});

Deno.test("formatStatus() shows a source on one screen", () => {
  assertEquals(
    formatStatus(source, 1_000_000),
    `set www: "/srv/www"
  understudy 0.1.0, pid 42, convergent, commit ack
  hears of changes by inotify (the best that works here)
  to "backup:7420/www": catching-up (the window is full)
    behind 1.5s: 3 queued, 2 stacked up, 1 in flight; acked up to 99, 10s ago
    sent 2 KiB in 1 packet (5 file); 1 retry, 0 errors
    verification: contents; whole tree 1m ago, contents 61 % of this round; 2 differences found, 1 healed
    1 path pending, for files in use there:
      "used": "used" is open in another program (0ms ago)
  capture: 1 event, 0 overflows, 2 rescans, 3 unwatched, last verified never
  gap "watch-limit" since 1m ago, 2 directories: "a\\nb", …
    the limit of watches is reached
  accounts: 2 users and 1 group, 1 owner without a name (there is no user "eve")
  1 problem:
    "a\\nb": read: no permission (1m ago)
`,
  );
});

Deno.test("formatStatus() shows ten problems and counts the rest", () => {
  const problems = Array.from({ length: 12 }, (_, i) => ({ ...source.problems[0], path: `p${i}` }));
  const text = formatStatus({ ...source, problems }, 1_000_000);
  assertStringIncludes(text, `  12 problems:\n    "p0"`);
  assertStringIncludes(text, `    "p9": read: no permission (1m ago)\n    and 2 more; see --json\n`);
});

Deno.test("formatStatus() shows a target, and one without replicas", () => {
  assertEquals(
    formatStatus(target, 0),
    `target "/srv/replicas", listening on 0.0.0.0:7420
  understudy 0.1.0
  replica www: live, from 10.0.0.7:40000
    applied up to 100, durable up to 99, 1 open file pending
      "used" is open in another program (0ms ago)
    received 3 MiB in 7 packets (1 mkdir, 2 file); 0 errors
    keeps 1 user and 2 groups
`,
  );
  assertStringIncludes(formatStatus({ ...target, replicas: [] }, 0), "no replicas");
});

Deno.test({
  name: "status --json prints exactly what the daemon says, on one line",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    await using _daemon = await daemon(state.path, "www", answers(source));
    const io = testIo();
    assertEquals(await status.run(["--state", state.path, "--json"], io), 0);
    assertEquals(io.out.stdout, JSON.stringify(source) + "\n");
  },
});

Deno.test({
  name: "status shows all daemons for people, and asks which one is meant for --json",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    await using _first = await daemon(state.path, "www", answers(source));
    await using _second = await daemon(state.path, "mail", answers({ ...source, set: "mail" }));
    const io = testIo();
    assertEquals(await status.run(["--state", state.path], io), 0);
    assertEquals(io.out.stdout.match(/^set .*:/gm), ["set mail:", "set www:"]);
    await assertRejects(() => status.run(["--state", state.path, "--json"], io), UsageError, "--name SET");
    const named = testIo();
    await status.run(["--state", state.path, "--json", "--name", "mail"], named);
    assertEquals(JSON.parse(named.out.stdout).set, "mail");
  },
});

Deno.test({
  name: "status finds a target by --root and without any state directory",
  ignore,
  async fn() {
    await using root = await tempDirectory();
    await using _daemon = await daemon(root.path, ".understudy", answers(target));
    const io = testIo();
    await status.run(["--root", root.path, "--json"], io);
    assertEquals(JSON.parse(io.out.stdout), target);
    const elsewhere = testIo();
    // A target that was started with --state.
    await status.run(["--root", "/nowhere", "--state", `${root.path}/.understudy`, "--json"], elsewhere);
    assertEquals(JSON.parse(elsewhere.out.stdout), target);
  },
});

Deno.test("status reads a daemon's --http address", async () => {
  await using server = serveHttp({
    address: { hostname: "127.0.0.1", port: 0 },
    status: () => Promise.resolve(target),
  });
  const io = testIo();
  assertEquals(await status.run([formatAddress(server.address), "--json"], io), 0);
  assertEquals(JSON.parse(io.out.stdout), target);
  await assertRejects(() => status.run(["h:1", "--name", "x"], io), UsageError, "Cannot use --name");
  await assertRejects(() => status.run(["h"], io), UsageError, "the port is missing");
});

Deno.test({
  name: "status and flush say that no daemon runs",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    for (const { run } of [status, flush]) {
      for (const args of [[], ["--json"], ["--name", "x"], ["--root", state.path]]) {
        const options = ["--state", state.path, ...args];
        await assertRejects(() => run(options, testIo()), CommandError, "Cannot reach a daemon: none runs");
      }
    }
    await assertRejects(() => status.run(["--watch"], testIo()), UsageError, "not in this version");
  },
});

/** A daemon that answers `flush` with `result`, and what it was asked. */
async function flushDaemon(state: string, result: FlushResult) {
  const asked: FlushRequest[] = [];
  const server = await daemon(state, "www", {
    flush(args) {
      asked.push(args);
      return Promise.resolve(result);
    },
  });
  return { asked, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

const committed = { committed: true, commit: "ack", reason: "" } as const;

Deno.test({
  name: "flush succeeds silently when everything is committed, and waits 30 s unless told otherwise",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    await using server = await flushDaemon(state.path, { ...committed, waiting: [], problems: [] });
    const io = testIo();
    assertEquals(await flush.run(["--state", state.path], io), 0);
    assertEquals(await flush.run(["--state", state.path, "--timeout", "500ms"], io), 0);
    assertEquals(server.asked, [{ timeoutMs: 30_000 }, { timeoutMs: 500 }]);
    assertEquals(io.out, { stdout: "", stderr: "" });
    await flush.run(["--state", state.path, "--json"], io);
    assertEquals(io.out.stdout, `{"committed":true,"commit":"ack","reason":"","waiting":[],"problems":[]}\n`);
  },
});

Deno.test({
  name: "flush lists what could not be read, and ends with 3",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    const problem = { path: "a b", op: "read", reason: 'Cannot open "a b": it is locked', since: "" };
    await using _server = await flushDaemon(state.path, {
      ...committed,
      waiting: [],
      problems: [problem],
    });
    const io = testIo();
    assertEquals(await flush.run(["--state", state.path], io), 3);
    assertEquals(io.out, { stdout: "", stderr: 'understudy: Cannot read "a b": it is locked\n' });
  },
});

Deno.test({
  name: "flush fails at its timeout and says which target is behind, with --json too",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    const waiting = [{ target: "b:7420/www", state: "disconnected", reason: "connection refused" }];
    await using _server = await flushDaemon(state.path, {
      ...committed,
      committed: false,
      waiting,
      problems: [],
    });
    const io = testIo();
    await assertRejects(
      () => flush.run(["--state", state.path, "--timeout", "2s", "--json"], io),
      CommandError,
      `Cannot flush within 2s: "b:7420/www" is disconnected (connection refused)`,
    );
    assertEquals(JSON.parse(io.out.stdout).committed, false);
    for (const timeout of ["0s", "25h", "x"]) {
      await assertRejects(
        () => flush.run(["--timeout", timeout], io),
        UsageError,
        `Cannot use --timeout "${timeout}"`,
      );
    }
  },
});

Deno.test({
  name: "flush that is interrupted tells the daemon to stop waiting",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    const log: string[] = [];
    await using _daemon = await daemon(state.path, "www", {
      flush: (_args, signal) =>
        new Promise((_resolve, reject) => {
          log.push("asked");
          signal.addEventListener("abort", () => reject(log.push("stopped")));
        }),
    });
    const stop = new AbortController();
    const flushing = flush.run(["--state", state.path], testIo({ signal: stop.signal }));
    await waitFor(() => log.includes("asked"), { what: "the daemon" });
    stop.abort(new Error("interrupted"));
    await assertRejects(() => flushing, Error, "interrupted");
    await waitFor(() => log.includes("stopped"), { what: "the daemon to hear of it" });
  },
});
