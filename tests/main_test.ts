/**
 * The program as a process: exit codes, what goes to which stream, signals, a reader that leaves.
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { main } from "../main.ts";
import { CorruptionError } from "../src/base/errors.ts";
import type { FlushResult } from "../src/base/status.ts";
import { commands } from "../src/modes/commands.ts";
import { exitCodes, Interruption, type Io, stoppedExitCode } from "../src/modes/mode.ts";
import { serveControl } from "../src/control/server.ts";
import { controlSocketIn } from "../src/control/socket_path.ts";
import { lacks } from "./testing/needs.ts";
import { runProcess, type RunResult, startProcess } from "./testing/process.ts";
import { tempDirectory } from "./testing/temp.ts";
import { testIo } from "./testing/test_io.ts";
import { waitFor } from "./testing/wait.ts";

const mainPath = new URL("../main.ts", import.meta.url).pathname;
const run = ["run", "--quiet", "-A", mainPath];

async function understudy(...args: string[]): Promise<RunResult> {
  return await runProcess(Deno.execPath(), [...run, ...args]);
}

/** Puts a command into the table for the time of a test. */
function withCommand(name: string, behaviour: (args: string[], io: Io) => Promise<number>): Disposable {
  commands[name] = {
    summary: "",
    loadHelp: () => Promise.resolve("the help\n"),
    load: () => Promise.resolve({ run: behaviour as never }),
  };
  return { [Symbol.dispose]: () => void delete commands[name] };
}

Deno.test("main() returns the exit code of the command", async () => {
  for (const code of [0, 1, 3, 130]) {
    using _command = withCommand("x", () => Promise.resolve(code));
    assertEquals(await main(["x"], testIo()), code);
  }
});

Deno.test("main() makes an exit code and one line on stderr of an error", async () => {
  for (
    const [error, code, line] of [
      [new CorruptionError('Cannot load "x": torn'), 1, `understudy: Cannot load "x": torn\n`],
      [new TypeError("x is not a function"), 1, "understudy: Cannot go on: x is not a function\n"],
      ["a string", 1, "understudy: Cannot go on: a string\n"],
    ] as const
  ) {
    using _command = withCommand("x", () => Promise.reject(error));
    const io = testIo();
    assertEquals(await main(["x"], io), code);
    assertEquals(io.out, { stdout: "", stderr: line });
  }
});

Deno.test("main() returns 130 when a command was stopped, and still says what else went wrong", async () => {
  const stop = new AbortController();
  stop.abort(new Interruption("SIGINT"));
  for (
    const [error, stderr] of [
      [stop.signal.reason, ""],
      [new DOMException("aborted", "AbortError"), ""],
      [new Error("Cannot close: disk full"), "understudy: Cannot close: disk full\n"],
    ] as const
  ) {
    using _command = withCommand("x", () => Promise.reject(error));
    const io = testIo({ signal: stop.signal });
    assertEquals(await main(["x"], io), exitCodes.interrupted);
    assertEquals(io.out.stderr, stderr);
  }
});

Deno.test("stoppedExitCode() tells Ctrl-C from the wish of a service manager", () => {
  const aborted = (reason: unknown) => AbortSignal.abort(reason);
  assertEquals(stoppedExitCode(aborted(new Interruption("SIGINT"))), 130);
  assertEquals(stoppedExitCode(aborted(new Interruption("SIGTERM"))), 0);
  assertEquals(stoppedExitCode(aborted(new Interruption("SIGHUP"))), 0);
});

Deno.test("main() shows help for -h and --help anywhere, but not behind --", async () => {
  using _command = withCommand("x", (args) => Promise.resolve(args.length));
  for (const args of [["-h"], ["--help"], ["a", "--b", "--help", "--", "c"]]) {
    const io = testIo();
    assertEquals(await main(["x", ...args], io), 0);
    assertEquals(io.out.stdout, "the help\n");
  }
  assertEquals(await main(["x", "--", "-h", "c"], testIo()), 3);
  for (const alias of ["-h", "--help", "help"]) {
    const io = testIo();
    assertEquals(await main([alias], io), 0);
    assertStringIncludes(io.out.stdout, "Commands:");
  }
});

Deno.test("main() does not take names of Object for commands", async () => {
  for (const name of ["constructor", "toString", "__proto__", ""]) {
    const io = testIo();
    assertEquals(await main([name], io), exitCodes.usage);
    assertStringIncludes(io.out.stderr, `understudy: Cannot run "${name}": there is no such command`);
  }
});

Deno.test("main() without a command shows on stderr which there are", async () => {
  const io = testIo();
  assertEquals(await main([], io), exitCodes.usage);
  assertEquals(io.out.stdout, "");
  assertStringIncludes(io.out.stderr, "Commands:");
});

Deno.test("understudy exits 0, 1 and 2 with its words on the right stream", async () => {
  const [version, failed, usage, later] = await Promise.all([
    understudy("--version"),
    understudy("status", "--state", "/nonexistent/state"),
    understudy("status", "--wat"),
    understudy("discover", "--repair"),
  ]);
  assertEquals([version.code, version.stderr], [0, ""]);
  assert(/^understudy \d+\.\d+\.\d+\n$/.test(version.stdout));
  assertEquals([failed.code, failed.stdout], [1, ""]);
  assertEquals(failed.stderr, `understudy: Cannot reach a daemon: none runs on "/nonexistent/state"\n`);
  assertEquals([usage.code, usage.stdout], [2, ""]);
  assertStringIncludes(usage.stderr, "understudy: Cannot use --wat: ");
  assertEquals([later.code, later.stderr], [2, `understudy: Cannot run "discover": not in this version\n`]);
});

Deno.test({
  name: "understudy runs without HOME, in an empty environment",
  ignore: lacks("linux"),
  async fn() {
    const version = await runProcess(Deno.execPath(), [...run, "version"], {
      clearEnv: true,
      env: { DENO_DIR: await denoDirectory(), NO_COLOR: "1" },
    });
    assertEquals(version.code, 0, version.stderr);
  },
});

/** A daemon whose `flush` ends only when it is aborted or released, for a command that waits. */
async function waitingDaemon(state: string) {
  Deno.mkdirSync(`${state}/www`);
  const log: string[] = [];
  const { promise: released, resolve: release } = Promise.withResolvers<FlushResult>();
  const server = await serveControl({
    path: controlSocketIn(`${state}/www`),
    handlers: {
      flush: (_args, signal) =>
        new Promise((resolve, reject) => {
          log.push("asked");
          signal.addEventListener("abort", () => reject(log.push("stopped")));
          released.then(resolve);
        }),
    },
  });
  return {
    log,
    release: () => release({ committed: true, commit: "ack", reason: "", waiting: [], problems: [] }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.test({
    name: `understudy ends with 130 on ${signal} while it waits, and the daemon hears of it`,
    ignore: lacks("linux"),
    async fn() {
      await using state = await tempDirectory();
      await using daemon = await waitingDaemon(state.path);
      await using process = startProcess(Deno.execPath(), [...run, "flush", "--state", state.path]);
      await waitFor(() => daemon.log.includes("asked"), { what: "the flush" });
      process.kill(signal);
      assertEquals((await process.ended()).code, 130);
      assertEquals(process.stderr, "");
      await waitFor(() => daemon.log.includes("stopped"), { what: "the daemon to hear of it" });
    },
  });
}

Deno.test({
  name: "understudy started by nohup outlives its terminal",
  ignore: lacks("linux", "command nohup"),
  async fn() {
    await using state = await tempDirectory();
    await using daemon = await waitingDaemon(state.path);
    const command = [Deno.execPath(), ...run, "flush", "--state", state.path];
    await using process = startProcess("nohup", command);
    await waitFor(() => daemon.log.includes("asked"), { what: "the flush" });
    process.kill("SIGHUP");
    await waitFor(() => !/^...Pnd:.*[1-9a-f]/m.test(Deno.readTextFileSync(`/proc/${process.pid}/status`)), {
      what: "the signal to be delivered",
    });
    daemon.release();
    assertEquals((await process.ended()).code, 0, process.describe());
  },
});

Deno.test({
  name: "understudy is not bothered by a reader that leaves",
  ignore: lacks("command bash"),
  async fn() {
    const command = `"$@" help mirror | true; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = await runProcess("bash", ["-c", command, "bash", Deno.execPath(), ...run]);
    assertEquals([stdout, stderr], ["0\n", ""]);
  },
});

/** Where the runtime keeps what it has loaded, so that an empty environment need not load it again. */
async function denoDirectory(): Promise<string> {
  const { stdout } = await runProcess(Deno.execPath(), ["info", "--json"]);
  return JSON.parse(stdout).denoDir;
}
