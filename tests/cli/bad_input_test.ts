/**
 * Command lines and places that must be refused, before anything is touched. About 30 s.
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { runProcess, type RunResult } from "../testing/process.ts";
import { assertRefused, type Refusal, unchanged } from "../testing/refusals.ts";
import { openReplication } from "../testing/replication.ts";
import { tempDirectory } from "../testing/temp.ts";
import { executable, run, start, startTarget } from "../testing/understudy.ts";

const ignore = lacks("linux");
const needsNobody = ignore || lacks("root", "command setpriv") ||
  Deno.env.get("UNDERSTUDY_TEST_SOURCE") === "1";

/** A source with a file, a replica of it, and what else bad input needs. */
async function somePlaces() {
  await using cleanup = new AsyncDisposableStack();
  const directory = cleanup.use(await tempDirectory());
  const path = directory.path;
  for (const name of ["source", "source/inner", "replica", "empty", "state"]) {
    await Deno.mkdir(`${path}/${name}`);
  }
  await Deno.writeTextFile(`${path}/source/file`, "contents");
  await Deno.writeTextFile(`${path}/source/inner/file`, "more");
  await Deno.writeTextFile(`${path}/replica/file`, "what was there before");
  await Deno.symlink("source", `${path}/link`);
  const moved = cleanup.move();
  return { path, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

/** Command line, the exit code and what must be said. `%` is the directory of {@linkcode somePlaces}. */
const refused: [args: string[], code: number, message: RegExp][] = [
  // Words that are not known.
  [["frobnicate"], 2, /"frobnicate": there is no such command/],
  [["miror", "%/source", "%/replica"], 2, /"miror".*mirror/],
  [["mirror", "%/source", "%/replica", "--frobnicate"], 2, /--frobnicate: "mirror" has no such option/],
  [["mirror", "%/source"], 2, /TARGET is missing/],
  [["mirror", "%/source", "%/replica", "%/empty"], 2, /empty".*too many|"[^"]*empty"/],
  [["watch-source", "%/source"], 2, /--to TARGET is missing/],
  [["mirror", "%/source", "%/replica", "--cipher", "rot13"], 2, /--cipher "rot13".*chacha20-poly1305/],
  [["mirror", "%/source", "%/replica", "--cipher", ""], 2, /--cipher ""/],
  [["mirror", "%/source", "%/replica", "--block-size", "1000"], 2, /--block-size "1000".*power of two/],
  [["mirror", "%/source", "http://host/name"], 2, /only understudy:\/\/ is known/],
  [["mirror", "%/source", "host:99999/name"], 2, /port/],
  [["mirror", "%/source", "us1-AAAA"], 2, /mistyped or cut off/],
  [["invite", "a/b", "--root", "%/replica"], 2, /name "a\/b"/],
  [["invite", "..", "--root", "%/replica"], 2, /name "\.\."/],
  [["invite", "name", "--root", "%/replica", "--expires", "soon"], 2, /--expires "soon"/],
  [["flush", "--timeout=-1s"], 2, /--timeout "-1s"/],
  // Nothing, or nothing of use, where a directory should be.
  [["mirror", "", "%/replica"], 2, /DIR is empty/],
  [["mirror", "%/source", ""], 2, /TARGET is empty/],
  [["serve-target", "--root", ""], 2, /--root "": it must not be empty/],
  [["serve-target", "--root", "%/missing"], 2, /missing": there is no such directory/],
  [["serve-target", "--root", "%/source/file"], 2, /file": it is not a directory/],
  [["invite", "name", "--root", "%/missing"], 2, /missing": there is no such directory/],
  [["mirror", "%/missing", "%/replica"], 1, /missing": there is no such directory/],
  [["mirror", "%/source/file", "%/replica"], 1, /file": it is not a directory/],
  [["watch-source", "%/missing", "--to", "%/replica"], 1, /missing": there is no such directory/],
  [["watch-source", "%/source/file", "--to", "%/replica"], 1, /file": it is not a directory/],
  [["restore", "%/missing", "%/empty"], 1, /missing": there is no such directory/],
  [["restore", "%/replica", "%/source/file"], 1, /file": it is not a directory/],
  // One inside the other, seen or through a link.
  [["mirror", "%/source", "%/source"], 1, /they are the same directory/],
  [["mirror", "%/source", "%/link"], 1, /they are the same directory/],
  [["mirror", "%/source", "%/source/inner"], 1, /the target lies inside the source/],
  [["mirror", "%/source", "%/source/not/yet/there"], 1, /the target lies inside the source/],
  [["mirror", "%/source", "%/link/inner"], 1, /the target lies inside the source/],
  [["mirror", "%/link", "%/source/inner"], 1, /the target lies inside the source/],
  [["mirror", "%/source/inner", "%/source"], 1, /the source lies inside the target/],
  [["mirror", "%/link/inner", "%/source"], 1, /the source lies inside the target/],
  [["mirror", "%/source", "/"], 1, /the source lies inside the target/],
  [["watch-source", "%/source", "--to", "%/source"], 1, /they are the same directory/],
  [["watch-source", "%/source", "--to", "%/link/inner"], 1, /the target lies inside the source/],
  [["watch-source", "%/link/inner", "--to", "%/source"], 1, /the source lies inside the target/],
  [["restore", "%/replica", "%/replica"], 1, /they are the same directory/],
  [["restore", "%/source", "%/link/inner"], 1, /the target lies inside the source/],
  [["restore", "%/replica", "/"], 1, /the source lies inside the target/],
  // Nobody there.
  [["mirror", "%/source", "localhost:1/name"], 1, /not paired in .*state"; ask for a join token/],
  [["status"], 1, /none runs on/],
  [["flush"], 1, /none runs on/],
];
/** Commands that take no state directory here. */
const withoutState = new Set(["frobnicate", "miror", "serve-target", "invite"]);

for (const [args, code, message] of refused) {
  Deno.test({
    name: `understudy ${args.map((arg) => arg.replace("%/", "") || '""').join(" ")} is refused with ${code}`,
    ignore,
    async fn() {
      await using places = await somePlaces();
      const given = args.map((arg) => arg.replace("%", places.path));
      const state = withoutState.has(args[0]) ? [] : ["--state", `${places.path}/state`];
      const all = [...given.slice(0, 1), ...state, ...given.slice(1)];
      const ourState = (path: string) => path === "state" || path.startsWith("state/");
      const result = await unchanged([places.path], () => run(all), ourState);
      assertRefused(result, { code, message });
    },
  });
}

/** The executable where a user without rights can run it, and a home for that user. */
async function nobodysPlace() {
  const directory = await tempDirectory();
  const home = `${directory.path}/home`;
  const file = `${directory.path}/understudy`;
  await Deno.chmod(directory.path, 0o755);
  await Deno.copyFile(await executable(), file);
  await Deno.mkdir(home);
  await Deno.chown(home, 65534, 65534);
  const user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", file];
  const env = { UNDERSTUDY_CACHE_DIR: `${home}/cache`, HOME: home };
  return {
    home,
    run: (args: string[]): Promise<RunResult> => runProcess("setpriv", [...user, ...args], { env }),
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

Deno.test({
  name:
    "understudy without permission to read a source, write a target or keep its state says so and does nothing",
  ignore: needsNobody,
  async fn() {
    await using places = await somePlaces();
    const { path } = places;
    await Deno.mkdir(`${path}/closed`, { mode: 0o700 });
    await Deno.writeTextFile(`${path}/closed/file`, "secret");
    await Deno.chmod(path, 0o755);
    await using nobody = await nobodysPlace();
    const { home } = nobody;
    const state = ["--state", `${home}/state`];
    const cases: [args: string[], Refusal][] = [
      [["mirror", `${path}/closed`, `${home}/r`, ...state], {
        code: 1,
        message: /closed": no permission/,
      }],
      [["watch-source", `${path}/closed`, "--to", `${home}/r`, ...state], {
        code: 1,
        message: /closed": no permission/,
      }],
      [["mirror", `${path}/source`, `${path}/replica`, ...state], {
        code: 1,
        message: /replica": no permission/,
      }],
      [["mirror", `${path}/source`, `${path}/closed/r`, ...state], {
        code: 1,
        message: /closed\/r": no permission/,
      }],
      [["restore", `${path}/replica`, `${path}/source`, ...state], {
        code: 1,
        message: /source": no permission/,
      }],
      [["serve-target", "--root", "/", "--listen", "127.0.0.1:0"], {
        code: 2,
        message: /"\/\.understudy": no permission/,
      }],
      [["mirror", `${path}/source`, `${home}/r`, "--state", `${path}/closed/state`], {
        code: 2,
        message: /closed\/state": no permission/,
      }],
    ];
    for (const [args, refusal] of cases) {
      assertRefused(await unchanged([path], () => nobody.run(args)), refusal);
    }
  },
});

Deno.test({
  name: "serve-target on a port in use, and a second one on the same root, are refused; the first goes on",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await Deno.writeTextFile(`${replication.source}/file`, "contents");
    await replication.watch();
    const other = `${replication.directory}/other`;
    await Deno.mkdir(other);
    const { address } = replication.server;
    const taken = await run(["serve-target", "--root", other, "--listen", address]);
    assertRefused(taken, { code: 1, message: /Cannot listen on .*: the port is in use/ });
    const root = `${replication.directory}/root`;
    const second = await run(["serve-target", "--root", root, "--listen", "127.0.0.1:0"]);
    const pid = replication.server.process.pid;
    assertRefused(second, {
      code: 1,
      message: new RegExp(`another understudy \\(pid ${pid}\\) uses .*root`),
    });
    await Deno.writeTextFile(`${replication.source}/later`, "contents");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name:
    "watch-source a second time on one set, and a mirror to a replica in use, are refused; the first goes on",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await Deno.writeTextFile(`${replication.source}/file`, "contents");
    const first = await replication.watch();
    const args = [replication.source, "--to", replication.pairedTarget];
    const second = await replication.run(["watch-source", ...args]);
    assertRefused(second, { code: 1, message: new RegExp(`another understudy \\(pid ${first.pid}\\) uses`) });
    const other = `${replication.directory}/other`;
    await Deno.mkdir(other);
    await Deno.writeTextFile(`${other}/intruder`, "contents");
    const mirror = await replication.run(["mirror", other, replication.pairedTarget]);
    assertRefused(mirror, { code: 1, message: /replica "replica" is being replicated to/ });
    // A daemon waits for its turn, and says why.
    await using waiting = await start([
      ...["watch-source", other, "--to", replication.pairedTarget, "--state", replication.state],
    ]);
    await waiting.waitForLine(/^refused .*is being replicated to/);
    await Deno.writeTextFile(`${replication.source}/later`, "contents");
    await replication.run(["flush", "--name", (await setNames(replication.state, "source"))[0]], {
      expectCode: 0,
    });
    await replication.assertEqual();
  },
});

/** Names of the sets in a state directory that begin with `prefix`. */
async function setNames(state: string, prefix: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(state));
  return entries.map(({ name }) => name).filter((name) => name.startsWith(`${prefix}-`));
}

Deno.test({
  name: "mirror to a local replica that a daemon replicates to is refused",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local" });
    await Deno.writeTextFile(`${replication.source}/file`, "contents");
    await replication.watch();
    const other = `${replication.directory}/other`;
    await Deno.mkdir(other);
    const mirror = await replication.run(["mirror", other, replication.target]);
    assertRefused(mirror, { code: 1, message: /another understudy \(pid \d+\) uses .*replica/ });
    await replication.assertEqual();
  },
});

Deno.test({
  name: "server whose root lies inside the source, on the same machine, is refused and gets nothing",
  ignore,
  async fn() {
    await using directory = await tempDirectory();
    const source = `${directory.path}/source`;
    await Deno.mkdir(`${source}/root`, { recursive: true });
    await Deno.writeTextFile(`${source}/file`, "contents");
    await using server = await startTarget(`${source}/root`);
    const state = ["--state", `${directory.path}/state`];
    const token = await server.invite("name");
    const result = await run(["mirror", source, token, ...state]);
    assertEquals(result.code, 1);
    assertMatch(result.stderr, /Cannot replicate .*inside/);
    assertEquals((await Array.fromAsync(Deno.readDir(`${source}/root/name`))).length, 0);
    // The reverse: what is to be copied lies in the replica.
    await Deno.mkdir(`${source}/root/name/below`);
    await Deno.writeTextFile(`${source}/root/name/below/file`, "contents");
    const reverse = await run(["mirror", `${source}/root/name/below`, `${server.address}/name`, ...state]);
    assertEquals(reverse.code, 1);
    assertMatch(reverse.stderr, /Cannot replicate .*inside/);
    assertStringIncludes(await Deno.readTextFile(`${source}/root/name/below/file`), "contents");
    await using daemon = await start(["watch-source", source, "--to", `${server.address}/name`, ...state]);
    await daemon.waitForLine(/^refused .*inside/);
    assertEquals((await Array.fromAsync(Deno.readDir(`${source}/root/name`))).length, 1);
  },
});
