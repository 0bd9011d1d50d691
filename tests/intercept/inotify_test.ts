import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Gap } from "../../src/intercept/gap.ts";
import { InotifyInterceptor } from "../../src/intercept/inotify.ts";
import type { InterceptorOptions } from "../../src/intercept/interceptor.ts";
import { Follower, testInterceptor } from "../contract/interceptor_suite.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

if (!lacks("linux")) {
  testInterceptor({ name: "inotify", create: (options) => new InotifyInterceptor(options), cannot: {} });
}

/** Runs `refused_follower.ts` by a shell that takes something from it first. */
async function followRefused(root: string, { by, repair = "" }: { by: string[]; repair?: string }) {
  const program = new URL("./refused_follower.ts", import.meta.url).pathname;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const args = [...by.slice(1), Deno.execPath(), "run", "-A", "--config", config, program, root, repair];
  const { stdout, stderr } = await runProcess(by[0], args, {});
  assert(stdout.startsWith("{"), stderr);
  return JSON.parse(stdout);
}

Deno.test({
  name: "inotify: what happens in an armed part is told before the whole tree is armed",
  ignore: lacks("linux"),
  async fn() {
    await using place = await tempDirectory();
    const script = "for i in $(seq 500); do mkdir -p big/$i/{a,b,c}/{x,y}; done";
    await runProcess("bash", ["-ec", script], { cwd: place.path, expectCode: 0 });
    const armedAtHint: boolean[] = [];
    const interceptor: InotifyInterceptor = new InotifyInterceptor({
      root: place.path,
      onHints: () => void armedAtHint.push(interceptor.stats.armed === interceptor.stats.directories),
    });
    await interceptor.start();
    try {
      Deno.writeTextFileSync(`${place.path}/early`, "1");
      await waitFor(() => armedAtHint.length > 0, { what: "a hint" });
      assertEquals(armedAtHint[0], false);
      assertEquals(interceptor.gaps().map(({ name }) => name), ["arming"]);
      assertEquals(await interceptor.sync(), true);
      assertEquals(interceptor.stats.armed, 5_002);
    } finally {
      await interceptor.stop();
    }
  },
});

Deno.test({
  name: "inotify: directories beyond the watch limit are counted, and the rest is heard",
  ignore: lacks("linux", "root", "command unshare"),
  async fn() {
    await using place = await tempDirectory();
    for (let i = 0; i < 20; i++) Deno.mkdirSync(`${place.path}/${i}`);
    // In a user namespace of its own the limit is lowered for nobody else.
    const limited = 'echo 6 > /proc/sys/user/max_inotify_watches; exec "$@"';
    const by = ["unshare", "-Ur", "bash", "-c", limited, "-"];
    const found = await followRefused(place.path, { by });
    assertEquals(found, { atStart: 15, atEnd: 16, belowNew: "it is not heard of (watch-limit)" });
  },
});

Deno.test({
  name: "inotify: a directory that may not be read is counted, and watched once it may be",
  ignore: lacks("linux", "root", "command setpriv"),
  async fn() {
    await using place = await tempDirectory();
    Deno.mkdirSync(`${place.path}/locked/below`, { recursive: true });
    Deno.chmodSync(`${place.path}/locked`, 0o000);
    const by = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    const found = await followRefused(place.path, { by, repair: "locked" });
    assertEquals(found, { atStart: 1, atEnd: 0 });
  },
});

Deno.test({
  name: "inotify: a mount below the root is watched, and so is what it hid once it is gone",
  ignore: lacks("linux", "root", "command mount"),
  async fn() {
    await using place = await tempDirectory();
    const mountPoint = `${place.path}/mount`;
    Deno.mkdirSync(`${mountPoint}/hidden`, { recursive: true });
    await runProcess("mount", ["-t", "tmpfs", "tmpfs", mountPoint], { expectCode: 0 });
    let mounted = true;
    try {
      Deno.mkdirSync(`${mountPoint}/inner`);
      const create = (options: InterceptorOptions) => new InotifyInterceptor(options);
      await using follower = new Follower({ name: "inotify", create, cannot: {} }, { root: place.path });
      await follower.start();
      Deno.writeTextFileSync(`${mountPoint}/inner/f`, "1");
      await follower.settled();
      await runProcess("umount", ["-l", mountPoint], { expectCode: 0 });
      mounted = false;
      await follower.settled();
      Deno.writeTextFileSync(`${mountPoint}/hidden/g`, "1");
      await follower.settled();
    } finally {
      if (mounted) await runProcess("umount", ["-l", mountPoint]);
    }
  },
});

Deno.test({
  name:
    'inotify: directories found elsewhere than told are a gap, "disorder", which ends by a look at all of them',
  ignore: lacks("linux"),
  async fn() {
    await using place = await tempDirectory();
    const root = `${place.path}/root`;
    Deno.mkdirSync(root);
    Deno.mkdirSync(`${place.path}/outside`);
    const shuffler = new URL("./shuffler.ts", import.meta.url).pathname;
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const create = (options: InterceptorOptions) => new InotifyInterceptor(options);
    await using follower = new Follower({ name: "inotify", create, cannot: {} }, { root });
    await follower.start();
    const { interceptor } = follower;
    const seen: Gap[] = [];
    const looking = setInterval(() => {
      seen.push(...interceptor.gaps().filter(({ name }) => name === "disorder"));
    }, 5);
    try {
      for (let seed = 1; seed <= 20 && seen.length === 0; seed++) {
        const args = ["run", "-A", "--config", config, shuffler, `${seed}`, "2000"];
        await runProcess(Deno.execPath(), args, { cwd: root, expectCode: 0 });
      }
    } finally {
      clearInterval(looking);
    }
    assert(seen.length > 0, "20 shuffles caused no disorder");
    assertStringIncludes(seen[0].reason, "elsewhere");
    await follower.settled();
    await waitFor(() => interceptor.gaps().length === 0, { what: "the end of the disorder" });
    assertEquals(await interceptor.sync(), true);
    await follower.settled();
  },
});
