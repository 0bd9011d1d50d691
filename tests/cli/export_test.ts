/**
 * Export over the built executable, unpacked by GNU tar: everything of a replica arrives, all of it of one moment,
 * while its source writes on; and the hold ends with the export, however that ends. About 40 s.
 * @module
 */
import { assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { assertSameTree, compareManifests, manifest } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { type RunningProcess, runProcess, type RunResult, startProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { SelfDescribingLoad } from "../testing/self_describing_load.ts";
import { tmpfsMount } from "../testing/temp.ts";
import { run, start, understudyCommand } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux", "root", "command tar");
const MiB = 1024 ** 2;

/** Runs a script of bash in which `understudy` is the executable. */
async function bash(script: string, ...args: string[]): Promise<RunResult> {
  const { command, env } = await shellCommand(script, args);
  return await runProcess("bash", command, { env, timeoutMs: 120_000 });
}

async function startBash(script: string, ...args: string[]): Promise<RunningProcess> {
  const { command, env } = await shellCommand(script, args);
  return startProcess("bash", command, { env });
}

async function shellCommand(script: string, args: string[]) {
  const { command, args: before, env } = await understudyCommand();
  const words = [command, ...before].map(quoted).join(" ");
  const preamble = `set -o pipefail; command=(${words}); understudy() { "\${command[@]}" "$@"; }\n`;
  return { command: ["-c", preamble + script, "bash", ...args], env };
}

const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;

/** Exports and unpacks with GNU tar. */
async function unpack(
  { root }: Pick<Replication, "root">,
  into: string,
  ...args: string[]
): Promise<RunResult> {
  await Deno.mkdir(into);
  const script = `root=$1 into=$2; shift 2; understudy export replica --root "$root" "$@" |
    tar -xp --numeric-owner --xattrs --xattrs-include='*' --acls --warning=no-timestamp -C "$into"`;
  return await bash(script, root, into, ...args);
}

/** An export whose reader stands still, so that the replica stays held. */
class StalledExport implements AsyncDisposable {
  readonly archive: string;
  readonly #fifo: string;
  readonly #process: RunningProcess;

  private constructor(directory: string, process: RunningProcess) {
    this.archive = `${directory}/stalled.tar`;
    this.#fifo = `${directory}/go`;
    this.#process = process;
  }

  /** Starts it. The replica must have more bytes than pipes and buffers take. */
  static async start({ root, directory }: Replication): Promise<StalledExport> {
    const script = `cd "$1"; rm -f go; mkfifo go
      understudy export replica --root "$2" 2>stalled.err | { cat go; cat; } >stalled.tar; echo \${PIPESTATUS[0]}`;
    const process = await startBash(script, directory, root);
    return new StalledExport(directory, process);
  }

  /** Its process id. */
  async pid(): Promise<number> {
    const children = async (pid: number) =>
      (await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`)).split(" ").filter(Boolean).map(Number);
    return await waitFor(async () => {
      for (const child of await children(this.#process.pid)) {
        for (const pid of [child, ...await children(child).catch(() => [])]) {
          const line = await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "");
          if (line.includes("\0export\0") && !line.startsWith("bash")) return pid;
        }
      }
    }, { what: "the export's process" });
  }

  /** Lets it go on, and gives its exit code and what it wrote to stderr. */
  async goOn(): Promise<{ code: number; stderr: string }> {
    await waitFor(() => this.#open(), { what: "the end of the export", timeoutMs: 60_000 });
    const stderr = await Deno.readTextFile(this.archive.replace(/tar$/, "err"));
    return { code: Number(this.#process.stdout.trim()), stderr };
  }

  /** Opens the pipe that its reader waits for. Gives whether all have ended. */
  #open(): boolean {
    Deno.openSync(this.#fifo, { read: true, write: true }).close();
    return !this.#process.running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await waitFor(() => this.#open(), { what: "the end of the export", timeoutMs: 60_000 });
    await this.#process[Symbol.asyncDispose]();
  }
}

/** Waits until the server says that it holds its replica. */
async function waitForHold(replication: Replication): Promise<void> {
  await waitFor(async () => (await replication.replicaStatus()).reason.includes("is being exported"), {
    what: "the hold",
    timeoutMs: 60_000,
    intervalMs: 50,
  });
}

/** Names, sizes, times and modes of all kinds. */
async function makeVariety(source: string): Promise<void> {
  const script = `cd "$1"; umask 022
    printf raw >$'raw\\xff\\xfe'; printf line >$'new\\nline'; printf u >'ü – 名前'; printf d >-dash; printf s >' space '
    printf a >"$(printf 'a%.0s' {1..255})"; printf b >"$(printf '\\xfe%.0s' {1..255})"; printf c >"$(printf 'é%.0s' {1..127})"
    deep=$(printf 'directory-%02d/%.0s' {1..200}); mkdir -p "$deep"; printf deep >"$deep/file"
    odd=$(printf '\\xe9%.0s' {1..60}); mkdir -p "$odd/$odd/$odd/$odd"; printf odd >"$odd/$odd/$odd/$odd/$odd"
    ln -s "$deep/file" long-link; ln -s "$odd/$odd/$odd" $'raw-link\\xff'; ln -s nowhere dangling; ln -s ü unicode-link; ln -s /etc/passwd absolute; ln -s ../../up up; touch -hd 2002-02-02T02:02:02.2Z absolute up
    printf x >suid; chown 1234:4321 suid; chmod 6755 suid; printf x >none; chmod 0 none
    printf x >ids; chown 4000000000:3000000000 ids; chown -h 77:88 dangling
    mkdir empty sticky closed; chmod 1777 sticky; printf in >closed/in; chmod 500 closed; chown 5:6 empty
    printf 1 >old; touch -d 1960-01-02T03:04:05.678901234Z old; printf 2 >older; touch -d 1901-12-31T23:59:59.000000001Z older
    printf 3 >whole; touch -d 2001-01-01T00:00:00Z whole; touch -hd 1969-12-31T23:59:59.999999999Z dangling
    printf 4 >late; touch -d 2200-01-01T00:00:00.5Z late; : >nothing; truncate -s 512 block; truncate -s 513 more
    truncate -s 300M sparse; printf end >>sparse; head -c 5000000 /dev/urandom >random
    mkfifo -m 640 fifo; mknod null c 1 3; mknod disk b 7 300; chown 9:9 disk; touch -d 2003-03-03T03:03:03.3Z fifo null disk
    mkdir acls; setfacl -m u:99:rwx,g:70000:r acls; setfacl -d -m u:1234:rwx acls; : >acls/in; setfacl -m u:5:r none null
    printf x >capable; setcap cap_net_raw+ep capable; python3 -c 'import os
for path in "capable", "empty", "acls": os.setxattr(path, "user.text", b"of " + path.encode())
for name, value in (b"user.empty", b""), (b"user.bytes", bytes(range(256))), (b"user.\\xfe=%", b"odd"), (b"trusted.t", b"1"):
    os.setxattr("whole", name, value)
os.setxattr("dangling", "trusted.link", b"l", follow_symlinks=False)'
    touch -d 1999-09-09T09:09:09.090909090Z empty closed directory-01 .`;
  assertEquals(await bash(`set -e; ${script}`, source), { code: 0, signal: null, stdout: "", stderr: "" });
}

Deno.test({
  name: "an export is of one moment while the source writes on, and tar unpacks all of it",
  ignore: ignore || lacks("command python3", "command setfacl", "command setcap"),
  async fn() {
    await using replication = await openReplication();
    const { source, replica, directory, root } = replication;
    await makeVariety(source);
    await replication.watch();
    await Deno.mkdir(`${source}/load`);
    const load = new SelfDescribingLoad(`${source}/load`, 7);
    const writing = new AbortController();
    const written = (async () => {
      while (!writing.signal.aborted) {
        await load.step();
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    })();
    await waitFor(() => load.steps > 300, { what: "the load", timeoutMs: 60_000 });

    await using stalled = await StalledExport.start(replication);
    await waitForHold(replication);
    const held = await manifest(replica, { xattrs: true });
    // Two more under the same hold, one after the other: holds nest.
    const first = await unpack(replication, `${directory}/first`);
    assertEquals([first.code, first.stderr], [0, ""]);
    const second = await run(["export", "replica", "--root", root, "--output", `${directory}/second.tar`]);
    assertEquals([second.code, second.stdout, second.stderr], [0, "", ""]);
    const during = await replication.laneStatus();
    assertEquals(during.state, "blocked");
    assertStringIncludes(during.reason, "the replica is being exported");
    assertEquals(await stalled.goOn(), { code: 0, stderr: "" });
    await runProcess("cmp", [stalled.archive, `${directory}/second.tar`], { expectCode: 0 });
    const unpacked = await manifest(`${directory}/first`, { xattrs: true });
    assertEquals(compareManifests(held, unpacked, { root: true, hardLinks: true, xattrs: true }), []);
    const { looked, torn } = await load.findTorn(`${directory}/first/load`);
    assertGreater(looked, 10);
    assertEquals(torn, []);

    writing.abort();
    await written;
    await replication.flush();
    await replication.assertEqual({ xattrs: true });
    assertEquals((await replication.laneStatus()).state, "live");
  },
});

Deno.test({
  name:
    "an export that is killed, or whose reader goes, frees the replica; a source that comes meanwhile waits",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica, root } = replication;
    await Deno.writeFile(`${source}/large`, new Uint8Array(8 * MiB));
    await replication.watch();
    await replication.flush();
    for (const [signal, code] of [["SIGKILL", 137], ["SIGTERM", 130]] as const) {
      await using stalled = await StalledExport.start(replication);
      await waitForHold(replication);
      Deno.kill(await stalled.pid(), signal);
      await Deno.writeTextFile(`${source}/after ${signal}`, "1");
      await replication.flush();
      assertEquals((await stalled.goOn()).code, code);
    }
    {
      await using stalled = await StalledExport.start(replication);
      await waitForHold(replication);
      const before = await manifest(replica);
      // The session ends and a new one begins under the hold.
      await replication.stopWatching();
      await Deno.writeTextFile(`${source}/while away`, "2");
      await replication.startWatching();
      const lane = await replication.waitForState("blocked");
      assertStringIncludes(lane.reason, "the replica is being exported");
      assertEquals(compareManifests(before, await manifest(replica), { root: true }), []);
      assertEquals(await stalled.goOn(), { code: 0, stderr: "" });
      await replication.flush();
      await replication.assertEqual();
    }
    const piped = await bash(`understudy export replica --root "$1" | head -c 1000 | wc -c`, root);
    assertEquals([piped.code, piped.stdout.trim()], [1, "1000"]);
    assertEquals(
      piped.stderr,
      "understudy: Cannot write the archive to stdout: whoever read it has gone\n",
    );
    await Deno.writeTextFile(`${source}/after pipe`, "3");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "an export whose server dies says so, and its archive has no end",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, directory } = replication;
    await Deno.writeFile(`${source}/large`, new Uint8Array(8 * MiB));
    await replication.watch();
    await replication.flush();
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      await using stalled = await StalledExport.start(replication);
      await waitForHold(replication);
      await replication.stopServer(signal);
      const { code, stderr } = await stalled.goOn();
      assertEquals(code, 1, signal);
      assertStringIncludes(
        stderr,
        `Cannot go on exporting "replica": the server has ended, so it may change now`,
      );
      const listed = await runProcess("tar", ["-tf", `${directory}/stalled.tar`]);
      assertEquals(listed.code, 2);
      assertStringIncludes(listed.stderr, "Unexpected EOF in archive");
      await replication.startServer();
      await Deno.writeTextFile(`${source}/after ${signal}`, signal);
      await replication.flush();
      await replication.assertEqual();
    }
  },
});

Deno.test({
  name: "without a server an export recovers what the last one left, and keeps others from starting",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica, root, directory } = replication;
    await replication.watch();
    const load = new SelfDescribingLoad(source, 11);
    while (load.steps < 400) await load.step();
    await replication.stopServer("SIGKILL");
    // A replica need not have hard links; an archive of one that has them keeps them.
    await bash(
      `cd "$1"; head -c 8M /dev/zero >big; ln big same; mkdir z; ln big z/third; mkfifo pipe`,
      replica,
    );
    await using stalled = await StalledExport.start(replication);
    const out = await unpack(replication, `${directory}/out`);
    assertEquals([out.code, out.stderr], [0, ""]);
    await assertSameTree(replica, `${directory}/out`, { root: true, hardLinks: true });
    assertEquals((await load.findTorn(`${directory}/out`)).torn, []);
    const serving = await run(["serve-target", "--root", root, "--listen", "127.0.0.1:0"]);
    assertEquals(serving.code, 1);
    assertStringIncludes(serving.stderr, "Cannot start: another understudy");
    assertEquals(await stalled.goOn(), { code: 0, stderr: "" });
    await bash(`cd "$1"; rm -r big same z pipe link far`, replica);
    await replication.startServer();
    await replication.flush();
    await replication.run(["verify", "--repair"]);
    await replication.assertEqual();
  },
});

Deno.test({
  name: "a server with its state elsewhere is found by its root",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, root, directory } = replication;
    await Deno.writeTextFile(`${source}/file`, "1");
    await replication.mirror();
    await replication.stopServer();
    await using server = await start([
      ...["serve-target", "--root", root, "--listen", "127.0.0.1:0", "--state", `${directory}/elsewhere`],
    ]);
    await server.waitForLine(/^listening /);
    const out = await unpack(replication, `${directory}/out`);
    assertEquals([out.code, out.stderr], [0, ""]);
    await assertSameTree(replication.replica, `${directory}/out`, { root: true });
    await waitFor(() => server.stderr.includes(`"replica" is held`), {
      what: "the hold in the server's log",
    });
    const other = await run(["serve-target", "--root", root, "--listen", "127.0.0.1:0"]);
    assertEquals(other.code, 1);
    assertStringIncludes(other.stderr, "Cannot start: another understudy");
  },
});

Deno.test({
  name:
    "a replica that cannot be had in time is not exported: its server is stuck, or a source keeps it locally",
  ignore,
  async fn() {
    await using remote = await openReplication();
    await Deno.writeTextFile(`${remote.source}/file`, "1");
    await remote.mirror();
    const file = `${remote.directory}/out.tar`;
    const exported = (root: string) =>
      run(["export", "replica", "--root", root, "--timeout", "500ms", "--output", file]);
    remote.server.process.kill("SIGSTOP");
    const stuck = await exported(remote.root);
    remote.server.process.kill("SIGCONT");
    assertEquals(
      [stuck.code, stuck.stderr],
      [1, `understudy: Cannot hold "replica": the daemon gave no answer in 500ms\n`],
    );

    await using local = await openReplication({ road: "local" });
    await Deno.writeTextFile(`${local.source}/file`, "1");
    await local.watch();
    const inUse = await exported(local.directory);
    assertEquals(inUse.code, 1);
    assertStringIncludes(
      inUse.stderr,
      `Cannot export "replica": another understudy (pid ${local.daemon!.pid}) uses`,
    );
    assertEquals(await Deno.stat(file).catch(() => "removed"), "removed");
    await local.stopWatching();
    assertEquals((await exported(local.directory)).code, 0);
  },
});

Deno.test({
  name: "a disk that fills up fails the export, which leaves no part of a file",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await Deno.writeFile(`${replication.source}/large`, new Uint8Array(8 * MiB).fill(1));
    await replication.mirror();
    await using mount = await tmpfsMount({ sizeBytes: 4 * MiB });
    const file = `${mount.path}/out.tar`;
    const full = await run(["export", "replica", "--root", replication.root, "-o", file]);
    assertEquals([full.code, full.stderr], [
      1,
      `understudy: Cannot write the archive to "${file}": no space is left\n`,
    ]);
    assertEquals([...Deno.readDirSync(mount.path)], []);
  },
});

Deno.test({
  name: "what cannot be read is named and counted, and the archive stays whole",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica } = replication;
    await Deno.writeFile(`${source}/large`, new Uint8Array(8 * MiB).fill(1));
    await Deno.writeTextFile(`${source}/small`, "small");
    await replication.mirror();
    using _socket = Deno.listen({ transport: "unix", path: `${replica}/socket` });
    await using stalled = await StalledExport.start(replication);
    await waitFor(() => replication.server.process.stderr.includes("is held"), { what: "the hold" });
    await waitFor(async () => await isStalled(await stalled.pid()), {
      what: "full pipes",
      timeoutMs: 30_000,
    });
    await Deno.truncate(`${replica}/large`, 6 * MiB);
    const { code, stderr } = await stalled.goOn();
    assertEquals(code, 3);
    assertEquals(stderr.split("\n"), [
      `understudy: Cannot read "large": it became shorter while it was read; the rest is zeros`,
      `understudy: "socket" is left out: an archive cannot hold a socket`,
      "understudy: 1 in all are not in the archive as they are in the replica",
      "",
    ]);
    const { stdout } = await runProcess("tar", ["-tvf", stalled.archive], { expectCode: 0 });
    assertEquals(stdout.trimEnd().split("\n").length, 3);
    assertStringIncludes(stdout, ` ${8 * MiB} `);
    const large = await bash(
      `tar -xOf "$1" large | head -c 6M | tr -d '\\001' | wc -c; tar -xOf "$1" small`,
      stalled.archive,
    );
    assertEquals(large.stdout, "0\nsmall");
  },
});

/** Whether a process waits in a write, as its threads' kernel stacks show it. */
async function isStalled(pid: number): Promise<boolean> {
  const tasks = Array.from(Deno.readDirSync(`/proc/${pid}/task`), ({ name }) => name);
  const places = await Promise.all(tasks.map((task) => Deno.readTextFile(`/proc/${pid}/task/${task}/wchan`)));
  return places.some((place) => place.includes("pipe_write"));
}

Deno.test({
  name: "export writes a part of a replica, to a file that it does not overwrite unless told to",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source, replica, root, directory } = replication;
    await bash(
      `cd "$1"; mkdir -p a/b ab; echo 1 >a/b/one; echo 2 >a/two; echo 3 >ab/three; echo 4 >four`,
      source,
    );
    await replication.mirror();
    const names = async (...args: string[]) => {
      const { stdout, stderr } = await bash(
        `root=$1; shift; understudy export replica --root "$root" "$@" | tar -t`,
        root,
        ...args,
      );
      assertEquals(stderr, "");
      return stdout.trimEnd().split("\n");
    };
    assertEquals(await names(), ["./", "a/", "a/b/", "a/b/one", "a/two", "ab/", "ab/three", "four"]);
    for (const path of ["a", "./a", "a/", "a//"]) {
      assertEquals(await names(path), ["a/", "a/b/", "a/b/one", "a/two"]);
    }
    assertEquals(await names("a/b/one"), ["a/b/one"]);
    assertEquals((await names(".")).length, 8);

    const file = `${directory}/out.tar`;
    const exported = (...args: string[]) => run(["export", "replica", "--root", root, ...args]);
    assertEquals((await exported("-o", file)).code, 0);
    const before = await Deno.readFile(file);
    const again = await exported("a", "-o", file);
    assertEquals(again.code, 2);
    assertEquals(
      again.stderr,
      `understudy: Cannot write "${file}": it exists; give --force to write over it\n`,
    );
    assertEquals(await Deno.readFile(file), before);
    assertEquals((await exported("a/two", "-o", file, "--force")).code, 0);
    assertEquals((await Deno.readFile(file)).length, 10_240);

    const refusals: [args: string[], code: number, stderr: string][] = [
      [["replicas"], 2, `Cannot export "replicas": "${root}" holds no such replica; did you mean "replica"`],
      [["../replica"], 2, `Cannot use name "../replica": it must be 1 to 64 letters`],
      [["replica", "../x"], 2, `Cannot export "../x": PATH is relative to the replica`],
      [["replica", "/etc"], 2, `Cannot export "/etc": PATH is relative to the replica`],
      [["replica", "a/../b"], 2, `Cannot export "a/../b": PATH is relative to the replica`],
      [["replica", ".understudy"], 2, `Cannot export ".understudy": what is in there`],
      [["replica", "none"], 1, `Cannot export "none": the replica has no such path`],
      [
        ["replica", "-o", `${replica}/x.tar`],
        2,
        `Cannot write "${replica}/x.tar": it lies inside the replica`,
      ],
      [
        ["replica", "-o", `${directory}/none/x`],
        1,
        `Cannot write "${directory}/none/x": there is no such directory`,
      ],
      [["replica", "-o", directory], 1, `Cannot write "${directory}": it is a directory`],
      [["replica", "-o", "/dev/full"], 1, `Cannot write the archive to "/dev/full": no space is left`],
      [["replica", "--ouptut", "x"], 2, `"export" has no such option; did you mean --output`],
      [["replica", "a", "b"], 2, `"b" is one argument too many`],
      [[], 2, `Cannot run "export": NAME is missing`],
    ];
    for (const [args, code, message] of refusals) {
      const result = await run(["export", ...args, "--root", root]);
      assertEquals([result.code, result.stdout], [code, ""], result.stderr);
      assertStringIncludes(result.stderr, message);
      assertEquals(result.stderr.split("\n").length, 2, result.stderr);
    }
    assertEquals(
      (await run(["export", "replica"])).stderr,
      `understudy: Cannot run "export": --root DIR is missing\n`,
    );
    const noRoot = await run(["export", "replica", "--root", `${directory}/none`]);
    assertEquals(
      [noRoot.code, noRoot.stderr],
      [2, `understudy: Cannot use root "${directory}/none": there is no such directory\n`],
    );
    const full = await bash(`understudy export replica --root "$1" >/dev/full`, root);
    assertEquals(
      [full.code, full.stderr],
      [1, "understudy: Cannot write the archive to stdout: no space is left\n"],
    );
    const terminal = await bash(
      `script -qec "$(printf '%q ' "\${command[@]}" export replica --root "$1")" /dev/null`,
      root,
    );
    assertEquals(terminal.code, 2);
    assertStringIncludes(terminal.stdout, "Cannot write an archive to a terminal");
    assertEquals(Array.from(Deno.readDirSync(directory), ({ name }) => name).sort(), [
      "out.tar",
      "root",
      "source",
      "state",
    ]);
  },
});
