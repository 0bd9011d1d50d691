import { assertEquals, assertRejects } from "@std/assert";
import { CommandError, UsageError } from "../../src/base/errors.ts";
import { callControl, findDaemon, findDaemons } from "../../src/control/client.ts";
import { serveControl } from "../../src/control/server.ts";
import { controlSocketIn, pointToSocket } from "../../src/control/socket_path.ts";
import { setDirectory, targetStateDirectory } from "../../src/store/state_directory.ts";
import { tempDirectory } from "../testing/temp.ts";

const ignore = Deno.build.os === "windows";

/** Serves a control socket without commands in a directory that it makes. */
async function daemonIn(directory: string): Promise<AsyncDisposable> {
  Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
  return await serveControl({ path: controlSocketIn(directory), handlers: {} });
}

Deno.test({
  name: "findDaemon() takes the only one that runs, whatever else is in the state directory",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    await using _daemon = await daemonIn(setDirectory(state.path, "www"));
    Deno.mkdirSync(setDirectory(state.path, "stopped"));
    Deno.writeTextFileSync(`${state.path}/key`, "");
    const found = await findDaemon({ state: state.path });
    assertEquals(found, { path: `${state.path}/www/control.sock`, name: "www" });
  },
});

Deno.test({
  name: "findDaemon() asks which one is meant when several run, and takes the one named",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    await using _first = await daemonIn(setDirectory(state.path, "www"));
    await using _second = await daemonIn(setDirectory(state.path, "mail"));
    await assertRejects(
      () => findDaemon({ state: state.path }),
      UsageError,
      `Cannot choose a daemon: "mail", "www" run on "${state.path}"; choose with --name SET`,
    );
    assertEquals((await findDaemon({ state: state.path, name: "www" })).name, "www");
    assertEquals((await findDaemons(state.path)).map((daemon) => daemon.name), ["mail", "www"]);
  },
});

Deno.test({
  name: "findDaemon() says where none runs",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    const none = (options: { name?: string; root?: string }) =>
      assertRejects(() => findDaemon({ state: state.path, ...options }), CommandError);
    assertEquals((await none({})).message, `Cannot reach a daemon: none runs on "${state.path}"`);
    assertEquals(
      (await none({ name: "x" })).message,
      `Cannot reach a daemon: none runs for set "x" on "${state.path}"`,
    );
    const root = `${state.path}/root`;
    assertEquals((await none({ root })).message, `Cannot reach a daemon: none runs on "${root}/.understudy"`);
    await assertRejects(() => findDaemon({ state: state.path, name: "../x" }), UsageError);
  },
});

Deno.test({
  name: "findDaemon() finds a target by its root and by its state directory",
  ignore,
  async fn() {
    await using root = await tempDirectory();
    const state = targetStateDirectory(root.path);
    await using _daemon = await daemonIn(state);
    const path = `${state}/control.sock`;
    assertEquals(await findDaemon({ state: "/nowhere", root: root.path }), { path, name: root.path });
    assertEquals((await findDaemon({ state })).path, path);
  },
});

Deno.test({
  name: "pointToSocket() lets a target be found from the user's state directory, until it is disposed",
  ignore,
  async fn() {
    await using state = await tempDirectory();
    await using root = await tempDirectory();
    const directory = targetStateDirectory(root.path);
    Deno.mkdirSync(directory);
    const handlers = { status: () => Promise.resolve("here") };
    await using server = await serveControl({ path: controlSocketIn(directory), handlers });
    {
      using _pointer = pointToSocket(`${state.path}/target-x`, server.socketPath);
      const found = await findDaemon({ state: state.path });
      assertEquals(found.name, "target-x");
      assertEquals<unknown>(await callControl(found.path, "status", {}), "here");
    }
    assertEquals([...Deno.readDirSync(state.path)], []);
    // The next start of a killed daemon replaces what it left.
    pointToSocket(`${state.path}/target-x`, "/nowhere/control.sock");
    assertEquals(await findDaemons(state.path), []);
    using _again = pointToSocket(`${state.path}/target-x`, server.socketPath);
    assertEquals((await findDaemons(state.path)).length, 1);
  },
});
