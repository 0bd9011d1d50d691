/**
 * The built file on machines less friendly than a developer's. About 20 s: each first start unpacks 100 MB.
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { runProcess, type RunResult, startProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";
import { executable, projectRoot, startTarget } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const fromSource = Deno.env.get("UNDERSTUDY_TEST_SOURCE") === "1";
if (fromSource) console.log("ignored below: the built file is not what this run tests");
const ignore = fromSource || lacks("linux");
const needsRoot = ignore || lacks("root", "network namespaces", "command setpriv");

const { version } = JSON.parse(Deno.readTextFileSync(`${projectRoot}/deno.json`));
const versionLine = new RegExp(`\\b${version.replaceAll(".", "\\.")}\\b`);

/** As no one in particular: `setpriv`'s arguments. */
const asNobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";

function assertVersion(result: RunResult): void {
  assertEquals(result.stderr, "");
  assertEquals(result.code, 0);
  assertMatch(result.stdout, versionLine);
}

/** Names below a directory, as `find` tells them. */
async function namesBelow(directory: string): Promise<string[]> {
  const { stdout } = await runProcess("find", [directory, "-printf", "%P\n"], { expectCode: 0 });
  return stdout.trim().split("\n");
}

/**
 * Runs a shell script in mount and network namespaces of its own, in which /tmp, /dev/shm and /var/cache are new and
 * empty, there is no network, and /tmp/bin/understudy is the executable.
 */
async function onBareMachine(script: string): Promise<RunResult> {
  const prepare = `exec 3<"$1"
    mount -t tmpfs -o mode=1777 tmpfs /tmp && mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit 99
    mount -t tmpfs -o mode=755 tmpfs /var/cache && mkdir /tmp/bin && cat <&3 >/tmp/bin/understudy || exit 99
    chmod 755 /tmp/bin/understudy; exec 3<&-; cd /tmp
    `;
  return await runProcess("unshare", ["-m", "-n", "sh", "-c", prepare + script, "sh", await executable()]);
}

Deno.test({
  name: "executable runs from another directory, by a relative path and by a symlink on the PATH",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    const file = await executable();
    const env = { XDG_CACHE_HOME: directory.path };
    await Deno.symlink(file, `${directory.path}/understudy`);
    assertVersion(await runProcess(file, ["version"], { cwd: "/", env }));
    const [, parent, name] = file.match(/^(.*)\/([^/]+)$/)!;
    assertVersion(await runProcess(`./${name}`, ["version"], { cwd: parent, env }));
    const byPath = { ...env, PATH: `${directory.path}:${Deno.env.get("PATH")}` };
    assertVersion(await runProcess("sh", ["-c", "exec understudy version"], { cwd: "/", env: byPath }));
  },
});

const bareStarts: [situation: string, script: string][] = [
  ["in an empty environment and without network", "exec env -i ./bin/understudy version"],
  ["as another user without HOME", `exec ${asNobody} env -i ./bin/understudy version`],
  [
    "as another user in a directory closed to it",
    `mkdir -m 700 closed; cd closed; exec ${asNobody} env -i HOME=/nonexistent /tmp/bin/understudy version`,
  ],
  [
    "with a read-only home and a /tmp where no program may run",
    `mkdir home; mount -t tmpfs -o ro tmpfs home; cp bin/understudy /dev/shm
     mount -o remount,noexec /tmp; exec ${asNobody} env -i HOME=/tmp/home /dev/shm/understudy version`,
  ],
  [
    "where another user made the cache directory first",
    `mkdir -m 777 understudy-65534; exec ${asNobody} env -i ./bin/understudy version`,
  ],
  [
    "where the cache directory is a link to another user's",
    `mkdir -m 777 trap; ln -s trap understudy-65534; ${asNobody} env -i ./bin/understudy version; rmdir trap`,
  ],
];
for (const [situation, script] of bareStarts) {
  Deno.test({
    name: `executable runs ${situation}`,
    ignore: needsRoot,
    fn: async () => assertVersion(await onBareMachine(script)),
  });
}

Deno.test({
  name: "executable says what to do where no directory can hold the program",
  ignore: needsRoot,
  async fn() {
    const result = await onBareMachine(
      `cp bin/understudy /var/cache; for d in /tmp /dev/shm; do mount -o remount,noexec $d; done
       mount -t tmpfs -o ro tmpfs /run; exec ${asNobody} env -i /var/cache/understudy version`,
    );
    assertEquals(result.code, 1);
    assertStringIncludes(result.stderr, "understudy: Cannot unpack the program: ");
    assertStringIncludes(result.stderr, "/tmp/understudy-65534: programs may not run there");
    assertStringIncludes(result.stderr, "UNDERSTUDY_CACHE_DIR");
  },
});

Deno.test({
  name: "executable unpacks once when four first starts come together, and leaves nothing else behind",
  ignore: needsRoot,
  async fn() {
    if (!await isSelfExtracting()) return;
    const result = await onBareMachine(
      `mkdir home; for i in 1 2 3 4; do env -i HOME=/tmp/home bin/understudy version & done; wait
       find . -mindepth 1 -path "*/deno" -prune -o -printf "%P\n" | grep -v "\\.js$" | sort`,
    );
    assertEquals([result.code, result.stderr], [0, ""]);
    const lines = result.stdout.trim().split("\n");
    assertEquals(lines.filter((line) => versionLine.test(line)).length, 4, result.stdout);
    const names = lines.filter((line) => !versionLine.test(line));
    const inCache = names.filter((name) => name.startsWith("home/.cache/understudy/"))
      .map((name) => name.slice("home/.cache/understudy/".length).replace(/-[0-9a-f]{16}/, ""))
      .filter((name) => !name.startsWith("program/"));
    assertEquals(inCache, ["program", "runtime", "runtime/understudy"]);
    const elsewhere = names.filter((name) => !name.startsWith("home/.cache/understudy/"));
    assertEquals(elsewhere, ["bin", "bin/understudy", "home", "home/.cache", "home/.cache/understudy"]);
  },
});

const damages: [damage: string, script: string][] = [
  ["cut short", 'truncate -s 1000 "$1"/runtime-*/understudy'],
  ["changed in place", 'printf "garbage(" | dd of="$(echo "$1"/program-*/main.js)" conv=notrunc 2>/dev/null'],
  ["taken away", 'rm "$1"/program-*/main.js'],
  ["made unusable", 'chmod 600 "$1"/runtime-*/understudy'],
];
for (const [damage, script] of damages) {
  Deno.test({
    name: `executable repairs what was unpacked and then ${damage}`,
    ignore,
    async fn() {
      if (!await isSelfExtracting()) return;
      await using directory = await tempDirectory();
      const env = { UNDERSTUDY_CACHE_DIR: `${directory.path}/cache` };
      const file = await executable();
      assertVersion(await runProcess(file, ["version"], { env }));
      await runProcess("sh", ["-c", script, "sh", env.UNDERSTUDY_CACHE_DIR], { expectCode: 0 });
      assertVersion(await runProcess(file, ["version"], { env }));
    },
  });
}

Deno.test({
  name: "executable that is itself damaged says so and starts nothing",
  ignore,
  async fn() {
    if (!await isSelfExtracting()) return;
    await using directory = await tempDirectory();
    const file = `${directory.path}/understudy`;
    await Deno.copyFile(await executable(), file);
    await Deno.truncate(file, (await Deno.stat(file)).size - 1);
    const env = { UNDERSTUDY_CACHE_DIR: `${directory.path}/cache` };
    const result = await runProcess(file, ["version"], { env });
    assertEquals([result.code, result.stdout], [1, ""]);
    assertStringIncludes(result.stderr, `${file} is damaged`);
    assertEquals(
      (await namesBelow(`${directory.path}/cache`)).filter((name) => /\.js$|understudy$/.test(name)),
      [],
    );
  },
});

Deno.test({
  name: "executable passes exit codes through",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    const env = { XDG_CACHE_HOME: directory.path };
    const result = await runProcess(await executable(), ["no-such-command"], { env });
    assertEquals(result.code, 2);
    assertStringIncludes(result.stderr, "understudy: ");
  },
});

Deno.test({
  name: "executable is one process, which SIGTERM reaches and which then ends cleanly",
  ignore,
  async fn() {
    await using root = await tempDirectory();
    await using server = await startTarget(root.path);
    const { stdout } = await runProcess("ps", ["-o", "comm=", "-p", String(server.process.pid)]);
    assertEquals(stdout.trim(), "understudy");
    server.process.kill("SIGTERM");
    assertEquals((await server.process.ended({ timeoutMs: 10_000 })).code, 0);
  },
});

Deno.test({
  name:
    "compile.sh packs Workers, foreign functions, SQLite and file watching into a file that works elsewhere",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    const project = `${directory.path}/project`;
    await Deno.mkdir(`${project}/src/base`, { recursive: true });
    await Deno.mkdir(`${project}/src/target`);
    for (const path of ["deno.json", "deno.lock", "src/base/workers.ts"]) {
      await Deno.copyFile(`${projectRoot}/${path}`, `${project}/${path}`);
    }
    await runProcess("cp", ["-r", `${projectRoot}/scripts`, project], { expectCode: 0 });
    await Deno.writeTextFile(`${project}/main.ts`, sampleMain);
    await Deno.writeTextFile(`${project}/src/shared.ts`, sampleShared);
    await Deno.writeTextFile(`${project}/src/target/sample_worker.ts`, sampleWorker);
    const built = `${directory.path}/sample`;
    const env = { DENO: Deno.execPath() };
    const { stdout } = await runProcess("bash", [`${project}/scripts/compile.sh`, "--output", built], {
      cwd: "/",
      env,
      expectCode: 0,
    });
    assertMatch(stdout, /^built \S+ for \S+: (deno compile|self-extracting file)/m);
    await Deno.remove(project, { recursive: true });

    const cache = { XDG_CACHE_HOME: directory.path };
    await using process = startProcess(built, ["two words", ""], { cwd: "/", env: cache });
    await process.waitForLine("watching");
    const watched = `${directory.path}/understudy`;
    await waitFor(() => {
      Deno.writeTextFileSync(`${directory.path}/seen`, "x");
      return process.stdout.includes("done");
    }, { what: `the end of the sample (${watched})`, intervalMs: 50 });
    assertEquals((await process.ended()).code, 42, process.describe());
    const found = JSON.parse(process.stdout.split("\n").find((line) => line.startsWith("{"))!);
    assertEquals(found, {
      args: ["two words", ""],
      sum: 3,
      pid: process.pid,
      fromWorker: { pid: process.pid, hash: "06b05ab6733a618578af5f94892f3950" },
    });
    assert(!process.stderr.includes("error"), process.stderr);
  },
});

/** Whether the executable is the self-extracting kind. The other has no cache: says so, as there is nothing to test. */
async function isSelfExtracting(): Promise<boolean> {
  using file = await Deno.open(await executable());
  const head = new Uint8Array(2);
  await file.read(head);
  if (new TextDecoder().decode(head) === "#!") return true;
  console.log("not tested: the executable is not a self-extracting file");
  return false;
}

const sampleShared = `
export const libc = Deno.dlopen("libc.so.6", { getpid: { parameters: [], result: "i32" } });
`;

const sampleWorker = `
import { xxhash128 } from "hash-wasm";
import { libc } from "../shared.ts";
self.onmessage = async ({ data }: MessageEvent) => {
  self.postMessage({ pid: libc.symbols.getpid(), hash: await xxhash128(data) });
};
`;

const sampleMain = `
import { parseArgs } from "@std/cli/parse-args";
import { DatabaseSync } from "node:sqlite";
import { workerUrl } from "./src/base/workers.ts";
import { libc } from "./src/shared.ts";
const { _: args } = parseArgs(Deno.args, { string: ["_"] });
const { sum } = new DatabaseSync(":memory:").prepare("select 1 + 2 as sum").get()!;
const worker = new Worker(workerUrl("src/target/sample_worker.ts"), { type: "module" });
const fromWorker = await new Promise((resolve) => {
  worker.onmessage = ({ data }) => resolve(data);
  worker.postMessage("abc");
});
console.log(JSON.stringify({ args, sum, pid: libc.symbols.getpid(), fromWorker }));
const watcher = Deno.watchFs(Deno.env.get("XDG_CACHE_HOME")!);
console.log("watching");
for await (const _event of watcher) break;
console.log("done");
Deno.exit(42);
`;
