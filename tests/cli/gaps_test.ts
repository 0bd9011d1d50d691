/**
 * Every way in which changes are known to slip through a watcher: each is met here, has its named state in `status`
 * while it lasts, loses nothing, and ends by itself (intercept/gap.ts). About 60 s.
 *
 * Method: `watch-source` runs; something that it cannot hear of at once happens; `flush` succeeds, and the trees are equal.
 * @module
 */
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import type { GapStatus, SourceStatus } from "../../src/base/status.ts";
import { callControl, findDaemon } from "../../src/control/client.ts";
import { lacks, losslessInterceptors } from "../testing/needs.ts";
import { runProcess, startProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { understudyCommand } from "../testing/understudy.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");

/** Interceptors under test: each must close every gap that is not said to be another's (`isWatched` below). */
const interceptors = losslessInterceptors();

/** Runs a shell script in the source. */
async function shell({ source }: Replication, script: string): Promise<void> {
  await runProcess("bash", ["-ec", script], { cwd: source, expectCode: 0, timeoutMs: 120_000 });
}

/** Status without starting a program for it: some states are short. */
async function statusNow({ state }: Replication): Promise<SourceStatus> {
  const { path } = await findDaemon({ state });
  return await callControl(path, "status", {}) as SourceStatus;
}

/** Waits until `status` names a gap. */
async function gapNamed(replication: Replication, wanted: string): Promise<GapStatus> {
  return await waitFor(async () => {
    return (await statusNow(replication)).capture.gaps.find(({ name }) => name === wanted);
  }, { what: `the gap "${wanted}" in status`, timeoutMs: 30_000, intervalMs: 1 });
}

/** Waits until `status` names no gap, and all directories are heard of. */
async function gapsEnd(replication: Replication): Promise<SourceStatus> {
  return await waitFor(async () => {
    const status = await statusNow(replication);
    return status.capture.gaps.length === 0 && status;
  }, { what: "the end of all gaps", timeoutMs: 60_000, intervalMs: 100 });
}

/** Asserts that a flush now leaves both trees equal. */
async function flushedEqual(replication: Replication): Promise<void> {
  await replication.flush();
  // What is mounted at two places is one file with one name.
  await replication.assertEqual({ hardLinks: false });
}

/** Limits that a user namespace has for itself. */
type Limit = "max_inotify_watches" | "max_inotify_instances";

/** A daemon under a limit. */
interface Limited extends AsyncDisposable {
  raise(): void;
}

/** Starts `watch-source` where a limit of the system is low for it alone, and waits until it is live. */
async function watchLimited(
  { source, target, state, directory }: Replication,
  { by, limit, value }: { by: string[]; limit: Limit; value: number },
): Promise<Limited> {
  const { command, args, env } = await understudyCommand();
  const raise = `${directory}/raise`;
  const script = `echo ${value} > /proc/sys/user/${limit}
(until [ -e "$RAISE" ] || ! kill -0 $$ 2>/dev/null; do sleep 0.05; done
 echo 100000 > /proc/sys/user/${limit}) &
exec "$@"`;
  const watching = [...args, "watch-source", source, "--to", target, ...by, "--state", state];
  const daemon = startProcess("unshare", ["-Ur", "bash", "-c", script, "-", command, ...watching], {
    env: { ...env, RAISE: raise },
  });
  try {
    await daemon.waitForLine(/^live$/, { timeoutMs: 120_000 });
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
  return {
    raise: () => Deno.writeTextFileSync(raise, ""),
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}

/** Waits until the trees are equal without anybody flushing. */
async function equalByItself(replication: Replication, path: string): Promise<void> {
  const read = (root: string) => Deno.readTextFileSync(`${root}/${path}`);
  await waitFor(() => read(replication.source) === read(replication.replica), {
    what: `${path} on the target`,
    timeoutMs: 60_000,
    intervalMs: 50,
  });
}

for (const interceptor of interceptors) {
  const by = ["--intercept", interceptor];
  // One mark on a file system needs no arming and meets no limit of watches; its queue has none, and root reads all.
  const isWatched = interceptor === "inotify";

  Deno.test({
    name: `${interceptor}: "arming": a tree is armed in order, and a flush meanwhile does not lie`,
    ignore: ignore || !isWatched,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source } = replication;
      await shell(replication, "for i in $(seq 100); do mkdir -p t/$i/{1..10}/{1..20}; done");
      await replication.watch(by);
      await replication.stopWatching();
      // The second start has nothing to send: it arms and looks.
      await replication.startWatching(by);
      const gap = await gapNamed(replication, "arming");
      assertMatch(gap.reason, /^armed \d+ of \d+ directories known so far/);
      assertGreater(gap.count, 0);
      for (const path of ["t/1/1/1", "t/50/5/10", "t/100/10/20"]) {
        Deno.writeTextFileSync(`${source}/${path}/f`, path);
      }
      await shell(replication, "mv t/60 t/70/moved; rm -r t/80; mkdir -p t/90/n/n/n; echo 1 > t/90/n/n/n/f");
      await flushedEqual(replication);
      const { capture } = await gapsEnd(replication);
      assertEquals(capture.armed, capture.directories);
      await shell(replication, "for i in 1 33 70/moved 99; do echo $i > t/$i/2/3/late; done");
      await flushedEqual(replication);
    },
  });

  Deno.test({
    name:
      `${interceptor}: "watch-limit": the rest is polled, the sysctl is named, and it ends when the limit is raised`,
    ignore: ignore || !isWatched || lacks("root", "command unshare"),
    async fn() {
      await using replication = await openReplication({ road: "local" });
      await shell(replication, "mkdir -p d/{1..30}/sub; for i in {1..30}; do echo $i > d/$i/sub/f; done");
      await using limited = await watchLimited(replication, { by, limit: "max_inotify_watches", value: 10 });
      const gap = await gapNamed(replication, "watch-limit");
      assertMatch(gap.reason, /fs\.inotify\.max_user_watches = \d+/);
      assertGreater(gap.count, 20);
      assertEquals(gap.paths.length, 3);
      assertEquals((await statusNow(replication)).capture.unwatched, gap.count);
      await shell(
        replication,
        "for i in {1..30}; do echo more >> d/$i/sub/f; echo new > d/$i/new; done; mkdir -p n/n; echo 1 > n/n/f",
      );
      await flushedEqual(replication);
      await shell(replication, "for i in {1..30}; do echo again >> d/$i/sub/f; done");
      for (const i of [1, 15, 30]) await equalByItself(replication, `d/${i}/sub/f`);
      limited.raise();
      const { capture } = await gapsEnd(replication);
      assertEquals([capture.unwatched, capture.armed], [0, capture.directories]);
      const { events } = capture;
      await shell(replication, "for i in {1..30}; do echo heard >> d/$i/sub/f; done");
      await flushedEqual(replication);
      assertGreater((await statusNow(replication)).capture.events, events + 29);
    },
  });

  Deno.test({
    name:
      `${interceptor}: "instance-limit": everything is polled, the sysctl is named, and it ends when one is free`,
    ignore: ignore || !isWatched || lacks("root", "command unshare"),
    async fn() {
      await using replication = await openReplication({ road: "local" });
      await shell(replication, "mkdir -p d/sub; echo 1 > d/sub/f");
      await using limited = await watchLimited(replication, { by, limit: "max_inotify_instances", value: 0 });
      assertMatch(
        (await gapNamed(replication, "instance-limit")).reason,
        /fs\.inotify\.max_user_instances = \d+/,
      );
      await shell(replication, "echo 2 > d/sub/f; mkdir d/new; echo 1 > d/new/f");
      await flushedEqual(replication);
      await shell(replication, "echo 3 > d/new/f");
      await equalByItself(replication, "d/new/f");
      limited.raise();
      await gapsEnd(replication);
      await shell(replication, "echo 4 > d/new/f; rm d/sub/f");
      await flushedEqual(replication);
      assertGreater((await statusNow(replication)).capture.events, 0);
    },
  });

  Deno.test({
    name:
      `${interceptor}: "overflow": what the kernel's queue could not hold is found, and renames in it cost no data`,
    ignore: ignore || !isWatched,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      await shell(
        replication,
        "mkdir -p d/{1..40}/{1..50} many; for i in {1..20}; do echo $i > d/$i/f; done; head -c 300000 /dev/urandom > d/7/big",
      );
      const daemon = await replication.watch(by);
      const before = await replication.laneStatus();
      // While it does not run it takes no events.
      daemon.kill("SIGSTOP");
      try {
        await shell(
          replication,
          "mv d/7 d/moved; cd many; for i in {1..9000}; do echo $i > $i; done; cd ..; mv many full; mkdir -p late/{1..40}; echo 1 > late/40/f",
        );
      } finally {
        daemon.kill("SIGCONT");
      }
      assertMatch((await gapNamed(replication, "overflow")).reason, /fs\.inotify\.max_queued_events = \d+/);
      await flushedEqual(replication);
      const { capture } = await gapsEnd(replication);
      assertGreater(capture.overflows, 0);
      const { opsSent } = await replication.laneStatus();
      assertEquals([opsSent.open, opsSent.block], [before.opsSent.open, before.opsSent.block]);
      await shell(replication, "echo 2 >> full/17; echo 3 > late/40/g; echo 4 > d/moved/9/n");
      await flushedEqual(replication);
    },
  });

  Deno.test({
    name:
      `${interceptor}: "unreadable": what was in it is kept, it is a named problem, and both end when it may be read`,
    ignore: ignore || !isWatched || lacks("root", "command setpriv"),
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source, target, state } = replication;
      await shell(
        replication,
        "mkdir -p open locked/sub closed/sub; echo 1 > locked/sub/f; echo 1 > locked/g; echo 1 > closed/f; chmod 000 closed",
      );
      const { command, args, env } = await understudyCommand();
      // As a user who may not read everything.
      const watching = [...args, "watch-source", source, "--to", target, ...by, "--state", state];
      await using daemon = startProcess("setpriv", [
        "--bounding-set=-all",
        "--inh-caps=-all",
        command,
        ...watching,
      ], { env });
      await daemon.waitForLine(/^live$/, { timeoutMs: 120_000 });
      // From the start it cannot even be watched; of the other one is still heard.
      const gap = await gapNamed(replication, "unreadable");
      assertEquals([gap.count, gap.paths], [1, ["closed"]]);
      await shell(replication, "chmod 000 locked");
      await shell(
        replication,
        "echo 2 > locked/sub/f; mkdir locked/new; rm locked/g; echo 2 > closed/f; echo 3 > open/f",
      );
      await equalByItself(replication, "open/f");
      const hasProblem = async (path: string) => {
        return (await statusNow(replication)).problems.some((problem) =>
          problem.path === path && problem.op === "read"
        );
      };
      for (const path of ["closed", "locked/new"]) {
        await waitFor(() => hasProblem(path), { what: `the problem of ${path}`, timeoutMs: 30_000 });
      }
      assertEquals(Deno.readTextFileSync(`${replication.replica}/locked/g`), "1\n", "nobody deleted it");
      await shell(replication, "chmod 755 locked");
      const { problems } = await replication.flush({ hasProblems: true });
      assertEquals(problems.map(({ path, op }) => `${op} ${path}`), ["read closed"]);
      const isClosed = (path: string) => path === "closed" || path.startsWith("closed/");
      await replication.assertEqual({ exclude: isClosed });
      await shell(replication, "chmod 755 closed");
      await gapsEnd(replication);
      await flushedEqual(replication);
      assertEquals((await statusNow(replication)).problems, []);
      await shell(replication, "echo 4 > locked/sub/f; echo 5 > locked/new/f; echo 6 > closed/f");
      await flushedEqual(replication);
    },
  });

  Deno.test({
    name: `${interceptor}: mounts that come and go below the root are followed, and their gaps end`,
    ignore: ignore || lacks("root", "command mount"),
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source, directory } = replication;
      await using mounts = new AsyncDisposableStack();
      mounts.defer(async () => {
        for (const place of ["m", "bound", "again", "file", "d/again"]) {
          await runProcess("umount", ["-l", `${source}/${place}`], {});
        }
      });
      await shell(
        replication,
        `mkdir m bound again d backing; echo hidden > m/hidden; echo 1 > d/f; echo under > file
        mkdir -p ${directory}/outside/sub; echo 1 > ${directory}/outside/sub/f; echo over > ${directory}/over`,
      );
      await replication.watch(by);
      // A file system appears, and is heard of from then on.
      await shell(replication, "mount -t tmpfs tmpfs m; mkdir m/inner; echo 1 > m/inner/f");
      await flushedEqual(replication);
      await shell(replication, "echo 2 > m/inner/f; mkdir m/inner/n; echo 3 > m/inner/n/f");
      await equalByItself(replication, "m/inner/n/f");
      await flushedEqual(replication);
      // Directories and files of elsewhere, and one of the tree itself at a second place.
      await shell(
        replication,
        `mount --bind ${directory}/outside bound; mount --bind d again; mount --bind ${directory}/over file`,
      );
      if (isWatched) assertEquals((await gapNamed(replication, "same-directory")).paths, ["again"]);
      if (isWatched) assertEquals((await gapNamed(replication, "mounted-file")).paths, ["file"]);
      await shell(
        replication,
        `echo 2 > ${directory}/outside/sub/f; echo 3 > again/f; echo 4 > ${directory}/over`,
      );
      await flushedEqual(replication);
      await shell(replication, `echo 5 > d/f; echo 6 > ${directory}/over`);
      await equalByItself(replication, "again/f");
      await equalByItself(replication, "file");
      // As soon as nobody looks into it: what is watched does not keep a mount.
      for (const place of ["again", "file", "bound", "m"]) {
        await waitFor(async () => (await runProcess("umount", [`${source}/${place}`], {})).code === 0, {
          what: `${place} to be let go`,
          timeoutMs: 30_000,
          intervalMs: 300,
        });
      }
      await gapsEnd(replication);
    },
  });

  Deno.test({
    name: `${interceptor}: what cannot be followed or would block is replicated as what it is`,
    ignore: ignore || lacks("command python3"),
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { replica, directory } = replication;
      await shell(
        replication,
        `mkdir d ${directory}/outside; echo 1 > d/f; echo secret > ${directory}/outside/f; echo 1 > swapped`,
      );
      await replication.watch(by);
      await shell(
        replication,
        String.raw`mkfifo fifo d/fifo; rm swapped; mkfifo swapped
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
        ln -s ${directory}/outside out; ln -s ../outside/f d/out; ln -s out/f through; echo 2 > out/f
        printf 1 > $'\xff\xfe'; mkdir $'d\x80'; echo 2 > $'d\x80'/x; mv $'d\x80' $'e\x81'; echo 3 > $'e\x81'/y`,
      );
      await flushedEqual(replication);
      assertEquals(Deno.readLinkSync(`${replica}/out`), `${directory}/outside`);
      for (
        const [path, kind] of [["d/fifo", "isFifo"], ["swapped", "isFifo"], ["socket", "isSocket"]] as const
      ) {
        assert(Deno.lstatSync(`${replica}/${path}`)[kind], `${path} is what it is on the source`);
      }
      // A directory becomes a link to one outside, and back.
      await shell(
        replication,
        "mv d away; ln -s ../outside d; echo 4 > d/g; rm fifo away/fifo swapped socket; echo back > swapped",
      );
      await flushedEqual(replication);
      await shell(replication, "rm d; mv away d; echo 5 > d/f");
      await flushedEqual(replication);
      assertEquals((await replication.sourceStatus()).problems, []);
    },
  });

  Deno.test({
    name: `${interceptor}: new trees, trees moved in, and names that led elsewhere a moment ago lose nothing`,
    ignore,
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { directory } = replication;
      await shell(
        replication,
        `mkdir -p ${directory}/in/{1..30}/{1..10} a/x b/y; for i in {1..30}; do echo $i > ${directory}/in/$i/7/f; done`,
      );
      await replication.watch(by);
      const writing = shell(
        replication,
        "for i in {1..200}; do mkdir -p new/$i/a/b/c; echo $i > new/$i/a/b/c/f; echo > new/$i/a/g; done",
      );
      const renaming = shell(
        replication,
        `for i in {1..100}; do mv a t; mv b a; mv t b; echo $i > a/n$i; mkdir -p b/d$i; echo $i > b/d$i/f; mv b/d$i a/e$i; echo more > a/e$i/g; done`,
      );
      await shell(
        replication,
        `mv ${directory}/in moved; for i in {1..30}; do echo late >> moved/$i/7/f; mkdir moved/$i/3/n; echo 1 > moved/$i/3/n/f; done`,
      );
      await Promise.all([writing, renaming]);
      await flushedEqual(replication);
      await gapsEnd(replication);
      await shell(
        replication,
        "for i in {1..30}; do echo 1 > moved/$i/3/n/g; echo 1 > new/$i/a/b/h; done; for d in a/e* b/e*; do echo 1 > $d/h; done",
      );
      await flushedEqual(replication);
    },
  });

  Deno.test({
    name:
      `${interceptor}: the root is unmounted, deleted or exchanged: blocked with the reason, nothing deleted, and it goes on`,
    ignore: ignore || lacks("root", "command mount"),
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source, replica, directory } = replication;
      await Deno.mkdir(`${directory}/backing`);
      const mount = ["--bind", `${directory}/backing`, source];
      await runProcess("mount", mount, { expectCode: 0 });
      let isMounted = true;
      try {
        await shell(replication, "mkdir d; echo 1 > d/f");
        await replication.watch(by);
        await runProcess("umount", ["-l", source], { expectCode: 0 });
        isMounted = false;
        assertMatch((await replication.waitForState("blocked")).reason, /^the root is|^the source is empty/);
        assertEquals(Deno.readTextFileSync(`${replica}/d/f`), "1\n");
        await Deno.writeTextFile(`${directory}/backing/d/f`, "2");
        await runProcess("mount", mount, { expectCode: 0 });
        isMounted = true;
        await replication.waitForState("live");
        await flushedEqual(replication);
        // Another one over it.
        await runProcess("mount", ["-t", "tmpfs", "tmpfs", source], { expectCode: 0 });
        assertMatch((await replication.waitForState("blocked")).reason, /^the root is|^the source is empty/);
        assertEquals(Deno.readTextFileSync(`${replica}/d/f`), "2");
        await runProcess("umount", ["-l", source], { expectCode: 0 });
        await replication.waitForState("live");
        await shell(replication, "echo 3 > d/f");
        await flushedEqual(replication);
        await replication.stopWatching();
      } finally {
        if (isMounted) await runProcess("umount", ["-l", source], {});
      }
    },
  });

  Deno.test({
    name:
      `${interceptor}: "outside-links", mapped memory, times put back: what shows late or hardly is found`,
    ignore: ignore || lacks("command python3"),
    async fn() {
      await using replication = await openReplication({ road: "local" });
      const { source, replica, directory } = replication;
      await shell(
        replication,
        `echo 1 > linked; ln linked ${directory}/outside; echo 1 > both; ln both again; echo same > dated`,
      );
      await replication.watch(by);
      const gap = await gapNamed(replication, "outside-links");
      assertEquals(gap.count, 1);
      await runProcess("sh", ["-c", "echo through outside >> outside"], { cwd: directory, expectCode: 0 });
      await flushedEqual(replication);
      await runProcess("sh", ["-c", "echo and again >> outside"], { cwd: directory, expectCode: 0 });
      await equalByItself(replication, "linked");
      await Deno.remove(`${directory}/outside`);
      await gapsEnd(replication);
      // Size and time as before: the change time tells.
      const putBack =
        "import os; s = os.stat('dated'); open('dated', 'r+').write('SAME'); os.utime('dated', ns=(s.st_atime_ns, s.st_mtime_ns))";
      await shell(replication, `python3 -c "${putBack}"`);
      await flushedEqual(replication);
      assertEquals(Deno.readTextFileSync(`${replica}/dated`), "SAME\n");
      // What is stored into mapped memory is heard of when the last who has it lets go, even long after its close.
      const stored =
        "import mmap, os; f = os.open('dated', os.O_RDWR); m = mmap.mmap(f, 0); os.close(f); m[0:4] = b'MMAP'; m.flush(); m.close()";
      await shell(replication, `python3 -c "${stored}"`);
      await flushedEqual(replication);
      assertEquals(Deno.readTextFileSync(`${source}/dated`), "MMAP\n");
    },
  });
}
