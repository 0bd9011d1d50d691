import { assert, assertEquals, assertRejects } from "@std/assert";
import { SystemError } from "../../src/base/errors.ts";
import { FanotifyInterceptor, type FanotifyOptions } from "../../src/intercept/fanotify.ts";
import { fanotifyHindrance } from "../../src/intercept/fanotify_hindrance.ts";
import type { Hint } from "../../src/intercept/interceptor.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { type Candidate, Follower, testInterceptor } from "../contract/interceptor_suite.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";

const ignore = lacks("linux", "root", "command mount");

function candidate(options: Partial<FanotifyOptions> = {}): Candidate {
  const create = (given: FanotifyOptions) => new FanotifyInterceptor({ ...given, ...options });
  return { name: "fanotify", create, cannot: { "report overflow": "its queue has no limit" } };
}

if (!ignore) {
  testInterceptor(candidate());
  // With a queue as small as others have.
  testInterceptor({ ...candidate({ unlimited: false }), name: "fanotify with a limited queue", cannot: {} }, {
    only: "report overflow",
  });
}

/** Mounts something, and unmounts it in the end however the test ends. */
async function mount(at: string, ...args: string[]): Promise<AsyncDisposable> {
  await runProcess("mount", [...args, at], { expectCode: 0 });
  return { [Symbol.asyncDispose]: async () => void await runProcess("umount", ["-l", at]) };
}

/** A follower of a new tree, and a directory beside it. */
async function openScene(options: Partial<FanotifyOptions> = {}) {
  const stack = new AsyncDisposableStack();
  const place = stack.use(await tempDirectory());
  const [root, outside] = [`${place.path}/root`, `${place.path}/outside`];
  Deno.mkdirSync(root);
  Deno.mkdirSync(outside);
  const follow = () => stack.use(new Follower(candidate(options), { root })).start();
  return { root, outside, follow, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

Deno.test({
  name: "fanotify: a file system mounted below the root is heard, before and after, and so is what it hid",
  ignore,
  async fn() {
    await using scene = await openScene();
    const [early, late] = [`${scene.root}/early`, `${scene.root}/late`];
    Deno.mkdirSync(`${early}/hidden`, { recursive: true });
    Deno.mkdirSync(`${late}/hidden`, { recursive: true });
    const mounted = await mount(early, "-t", "tmpfs", "tmpfs");
    try {
      Deno.mkdirSync(`${early}/inner`);
      const follower = await scene.follow();
      Deno.writeTextFileSync(`${early}/inner/f`, "1");
      await follower.settled();
      await using _late = await mount(late, "-t", "tmpfs", "tmpfs");
      Deno.mkdirSync(`${late}/inner`);
      await follower.settled();
      Deno.writeTextFileSync(`${late}/inner/f`, "1");
      Deno.renameSync(`${late}/inner`, `${late}/other`);
      assertEquals(await follower.interceptor.sync(), true);
      assertEquals(follower.difference(), undefined);
    } finally {
      await mounted[Symbol.asyncDispose]();
    }
    const follower = await scene.follow();
    Deno.writeTextFileSync(`${early}/hidden/g`, "1");
    Deno.writeTextFileSync(`${late}/hidden/g`, "1");
    await follower.settled();
  },
});

Deno.test({
  name: "fanotify: what was mounted and is gone is looked below, and no descriptor kept it busy",
  ignore,
  async fn() {
    await using scene = await openScene();
    const at = `${scene.root}/mount`;
    Deno.mkdirSync(`${at}/hidden`, { recursive: true });
    await using _mounted = await mount(at, "-t", "tmpfs", "tmpfs");
    // No follower: that looks, and keeps directories open.
    const hints: Hint[] = [];
    const onHints = (more: Hint[]) => void hints.push(...more);
    const interceptor = new FanotifyInterceptor({ root: scene.root, onHints });
    await interceptor.start();
    try {
      Deno.mkdirSync(`${at}/inner`);
      assertEquals(await interceptor.sync(), true);
      assert(hints.some((hint) => hint.kind === "look" && hint.path === "mount/inner"));
      await runProcess("umount", [at], { expectCode: 0 });
      assertEquals(await interceptor.sync(), true);
      assert(hints.some((hint) => hint.kind === "look-below" && hint.path === "mount"));
      Deno.writeTextFileSync(`${at}/hidden/g`, "1");
      assertEquals(await interceptor.sync(), true);
      assert(hints.some((hint) => hint.kind === "look" && hint.path === "mount/hidden/g"));
    } finally {
      await interceptor.stop();
    }
  },
});

Deno.test({
  name: "fanotify: what is bound to a second place is heard at both, wherever it is changed",
  ignore,
  async fn() {
    await using scene = await openScene();
    const { root, outside } = scene;
    for (const path of [`${root}/d/sub`, `${root}/twin`, `${root}/guest`]) {
      Deno.mkdirSync(path, { recursive: true });
    }
    await using _twin = await mount(`${root}/twin`, "--bind", `${root}/d`);
    await using _guest = await mount(`${root}/guest`, "--bind", outside);
    const follower = await scene.follow();
    const steps = [
      () => Deno.writeTextFileSync(`${root}/d/sub/f`, "1"),
      () => Deno.writeTextFileSync(`${root}/twin/sub/f`, "22"),
      () => Deno.renameSync(`${root}/twin/sub`, `${root}/twin/other`),
      () => Deno.writeTextFileSync(`${root}/d/other/g`, "1"),
      () => Deno.writeTextFileSync(`${outside}/from-outside`, "1"),
      () => Deno.mkdirSync(`${outside}/n/m`, { recursive: true }),
      () => Deno.writeTextFileSync(`${outside}/n/m/f`, "1"),
      () => Deno.writeTextFileSync(`${root}/guest/n/m/f`, "22"),
    ];
    for (const step of steps) {
      step();
      assertEquals(await follower.interceptor.sync(), true);
      assertEquals(follower.difference(), undefined, `${step}`);
    }
  },
});

Deno.test({
  name: "fanotify: a file bound over another one is heard when it is changed outside",
  ignore,
  async fn() {
    await using scene = await openScene();
    const { root, outside } = scene;
    Deno.writeTextFileSync(`${outside}/file`, "1");
    Deno.writeTextFileSync(`${root}/over`, "");
    await using _over = await mount(`${root}/over`, "--bind", `${outside}/file`);
    const follower = await scene.follow();
    for (const text of ["22", "333"]) {
      Deno.writeTextFileSync(`${outside}/file`, text);
      await follower.interceptor.sync();
      assertEquals(follower.difference(), undefined);
    }
  },
});

Deno.test({
  name: "fanotify: a mounted part that it cannot hear is heard by inotify, and named",
  ignore,
  async fn() {
    await using scene = await openScene();
    const { root, outside } = scene;
    const at = `${root}/part`;
    // What is copied up from below changes the size of a directory and nothing else of it: nobody hears of that.
    for (const path of [at, `${outside}/lower`, `${outside}/upper/d`, `${outside}/work`]) {
      Deno.mkdirSync(path, { recursive: true });
    }
    const layers = `lowerdir=${outside}/lower,upperdir=${outside}/upper,workdir=${outside}/work`;
    await using _overlay = await mount(at, "-t", "overlay", "overlay", "-o", layers);
    // A whole tree on such a file system is not for fanotify.
    assert(fanotifyHindrance(at)?.includes("handles"), fanotifyHindrance(at));
    await assertRejects(() => new FanotifyInterceptor({ root: at, onHints: () => {} }).start(), SystemError);
    const follower = await scene.follow();
    const { stats } = follower.interceptor;
    assert(stats.limitation.startsWith('"part" is '), stats.limitation);
    await follower.told((hint) => hint.kind === "look-below" && hint.path === "part");
    assert(follower.interceptor.stats.limitation.startsWith('"part" is heard by inotify: overlay: '));
    assertEquals(follower.interceptor.stats.unwatched, 0);
    for (
      const step of [
        "echo 1 > d/f",
        "mkdir -p n/m",
        "echo 1 > n/m/f",
        "mv n d/n",
        "rm -r d/n",
        "echo 2 >> d/f",
      ]
    ) {
      await runProcess("sh", ["-ec", step], { cwd: at, expectCode: 0 });
      assertEquals(await follower.interceptor.sync(), true);
      assertEquals(follower.difference(), undefined, step);
    }
    await runProcess("umount", ["-l", at], { expectCode: 0 });
    await follower.told((hint) => hint.kind === "look-below" && hint.reason.includes("gone"));
    assertEquals(follower.interceptor.stats.limitation, "");
    await follower.settled();
  },
});

Deno.test({
  name: "fanotify: nothing is told of 2,000 changes outside, of 2,000 reads, or of its own process",
  ignore,
  async fn() {
    await using scene = await openScene({ ignoredPid: Deno.pid });
    const { root, outside } = scene;
    Deno.mkdirSync(`${root}/d`);
    Deno.writeTextFileSync(`${root}/d/f`, "text");
    const follower = await scene.follow();
    const script = `
      i=0; while [ $i -lt 1000 ]; do echo $i > ${outside}/$i; mv ${outside}/$i ${outside}/x; : < d/f; i=$((i+1)); done
      mkdir ${outside}/n; mv ${outside}/n ${outside}/m; for i in $(seq 40); do ls -lR . ; cat d/f; done >/dev/null`;
    await runProcess("sh", ["-ec", script], { cwd: root, expectCode: 0 });
    Deno.writeTextFileSync(`${root}/own`, "1");
    assertEquals(await follower.interceptor.sync(), true);
    assertEquals(follower.hints, []);
    assertEquals(follower.interceptor.stats.events, 0);
    await runProcess("sh", ["-ec", "echo > other"], { cwd: root, expectCode: 0 });
    assertEquals(await follower.interceptor.sync(), true);
    assert(follower.hints.some((hint) => hint.kind === "look" && hint.path === "other"));
  },
});

Deno.test({
  name: "fanotify: directories whose names end as the kernel marks removed ones are heard",
  ignore,
  async fn() {
    await using scene = await openScene();
    const { root } = scene;
    Deno.mkdirSync(`${root}/d (deleted)`);
    const follower = await scene.follow();
    Deno.writeTextFileSync(`${root}/d (deleted)/f`, "1");
    await follower.interceptor.sync();
    assertEquals(follower.difference(), undefined);
    assert(follower.hints.some((hint) => hint.kind === "look" && hint.path === "d (deleted)/f"));
    // Removed indeed, and something in it is still open.
    using _open = await Deno.open(`${root}/d (deleted)/f`, { write: true });
    Deno.removeSync(`${root}/d (deleted)`, { recursive: true });
    _open.writeSync(new Uint8Array(3));
    await follower.settled();
  },
});

Deno.test({
  name: "fanotify: what lies deeper than the kernel tells paths is looked below",
  ignore,
  async fn() {
    await using scene = await openScene();
    const { root } = scene;
    using tree = systemFileSystem().openTree(root);
    const name = "n".repeat(200);
    let deep = name;
    for (let i = 0; i < 30; i++, deep = `${deep}/${name}`) tree.makeDirectory(deep, 0o755);
    const follower = await scene.follow();
    tree.makeDirectory(deep, 0o755);
    tree.makeDirectory(`${deep}/d`, 0o755);
    tree.rename(`${deep}/d`, `${deep}/e`);
    tree.open(`${deep}/e/f`, { access: "create" }).close();
    assertEquals(await follower.interceptor.sync(), true);
    assertEquals(follower.difference(), undefined);
    tree.open(`${deep}/e/g`, { access: "create" }).close();
    tree.rename(`${deep}/e`, "near");
    await follower.settled();
  },
});

Deno.test({
  name: "fanotify: a directory above the root may be renamed where a link still leads to the root",
  ignore,
  async fn() {
    await using place = await tempDirectory();
    Deno.mkdirSync(`${place.path}/a/root/d`, { recursive: true });
    Deno.symlinkSync("a", `${place.path}/link`);
    const root = `${place.path}/link/root`;
    await using follower = await new Follower(candidate(), { root }).start();
    Deno.writeTextFileSync(`${root}/d/f`, "1");
    await follower.settled();
    Deno.renameSync(`${place.path}/a`, `${place.path}/b`);
    Deno.removeSync(`${place.path}/link`);
    Deno.symlinkSync("b", `${place.path}/link`);
    Deno.writeTextFileSync(`${root}/d/f`, "22");
    await follower.interceptor.sync();
    assertEquals(follower.difference(), undefined);
    Deno.writeTextFileSync(`${root}/d/g`, "1");
    await follower.settled();
    assertEquals(follower.hints.filter(({ kind }) => kind === "root-gone"), []);
  },
});
