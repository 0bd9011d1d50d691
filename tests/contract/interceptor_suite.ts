/**
 * What every interceptor must do, and what some cannot. `tests/intercept/` runs it over each implementation.
 *
 * Method: a consumer does what the hints say and nothing else (tests/intercept/tree_model.ts). Programs change the
 * tree. When all is quiet the model equals the tree, or the interceptor kept something back.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Hint, Interceptor, InterceptorOptions } from "../../src/intercept/interceptor.ts";
import type { Tree } from "../../src/sys/file_system.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { TreeModel } from "../intercept/tree_model.ts";
import { openPaths } from "../testing/descriptors.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

/** What not every interceptor can do. */
export type Ability =
  /** Says that a rename is one. */
  | "pair renames"
  /** Says that the kernel lost events. */
  | "report overflow"
  /** Hears of everything without looking at the whole tree. */
  | "hear everything"
  /** Leaves excluded directories alone. */
  | "leave out";

/** What `watchfs` cannot do, and why. */
export const watchfsCannot: Partial<Record<Ability, string>> = {
  "pair renames": "Deno.watchFs gives two separate events without a cookie",
  "report overflow": "Deno.watchFs swallows the kernel's overflow; regular looks at everything stand in",
  "hear everything": "Deno.watchFs watches new directories too late and hears nothing of some symlinks",
  "leave out": "Deno.watchFs watches a whole tree or nothing",
};

/** An implementation under test. */
export interface Candidate {
  name: string;
  create(options: InterceptorOptions): Interceptor;
  cannot: Partial<Record<Ability, string>>;
}

/** How a {@linkcode Follower} follows. */
export interface FollowOptions {
  /** Hints are taken so much later. */
  lagMs?: number;
  isExcluded?: (path: string) => boolean;
  /** Whether the tree is read at the start; otherwise see {@linkcode Follower.scan}. @default {true} */
  isScanned?: boolean;
}

/** A running interceptor with a model that follows it. */
export class Follower implements AsyncDisposable {
  readonly root: string;
  readonly hints: Hint[] = [];
  readonly interceptor: Interceptor;
  readonly #waiting: Hint[][] = [];
  readonly #lagMs: number;
  readonly #isScanned: boolean;
  #tree: Tree | undefined;
  #model: TreeModel | undefined;
  #marks = 0;

  constructor(candidate: Candidate, options: Omit<InterceptorOptions, "onHints"> & FollowOptions) {
    this.root = options.root;
    this.#lagMs = options.lagMs ?? 0;
    this.#isScanned = options.isScanned ?? true;
    this.interceptor = candidate.create({ ...options, onHints: (hints) => this.#follow(hints) });
  }

  async start(): Promise<this> {
    await this.interceptor.start();
    if (this.#isScanned) this.scan();
    return this;
  }

  /** Reads the whole tree: from now on the model follows it. */
  scan(): void {
    this.#tree = systemFileSystem().openTree(this.root);
    this.#model = new TreeModel(this.#tree, (directory) => void this.interceptor.watch(directory));
  }

  /** Waits until the model equals the tree, and still does after everything said earlier has been heard. */
  async settled(timeoutMs = 20_000): Promise<void> {
    await this.#equal(timeoutMs);
    const mark = `mark-${this.#marks++}`;
    Deno.writeTextFileSync(`${this.root}/${mark}`, mark);
    await this.told(
      (hint) => "path" in hint && (hint.path === mark || hint.kind === "look-below"),
      timeoutMs,
    );
    await this.#equal(timeoutMs);
  }

  /** The first difference between model and tree now. */
  difference(): string | undefined {
    return this.#model!.difference();
  }

  /** Waits for a hint. */
  told(wanted: (hint: Hint) => boolean, timeoutMs = 20_000): Promise<Hint> {
    const what = "a hint";
    return waitFor(() => this.#waiting.length === 0 && this.hints.find(wanted), { what, timeoutMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.interceptor.stop();
    this.#tree?.close();
    this.#tree = undefined;
  }

  #follow(hints: Hint[]): void {
    this.hints.push(...hints);
    if (this.#lagMs === 0) return this.#model?.apply(hints);
    this.#waiting.push(hints);
    setTimeout(() => {
      this.#model?.apply(this.#waiting[0]);
      this.#waiting.shift();
    }, this.#lagMs);
  }

  async #equal(timeoutMs: number): Promise<void> {
    let difference: string | undefined = "";
    const isEqual = () =>
      this.#waiting.length === 0 && (difference = this.#model!.difference()) === undefined;
    try {
      await waitFor(isEqual, { what: "the model to equal the tree", timeoutMs, intervalMs: 20 });
    } catch (error) {
      throw new Error(`${difference} (${JSON.stringify(this.interceptor.stats)})`, { cause: error });
    }
  }
}

/** What a case works with. */
interface Scene {
  root: string;
  /** A directory beside the root, on the same file system. */
  outside: string;
  follow(options?: FollowOptions): Promise<Follower>;
  sh(script: string): Promise<void>;
}

interface Case {
  name: string;
  needs?: Ability;
  run(scene: Scene): Promise<void>;
}

/** Runs all cases over an implementation, or those alone that need one ability. */
export function testInterceptor(candidate: Candidate, { only }: { only?: Ability } = {}): void {
  for (const { name, needs, run } of cases) {
    if (only && needs !== only) continue;
    const reason = needs && candidate.cannot[needs];
    if (reason) console.log(`ignored below: ${candidate.name} cannot ${needs}: ${reason}`);
    Deno.test({
      name: `${candidate.name}: ${name}`,
      ignore: reason !== undefined,
      async fn() {
        await using place = await tempDirectory();
        const [root, outside] = [`${place.path}/root`, `${place.path}/outside`];
        Deno.mkdirSync(root);
        Deno.mkdirSync(outside);
        const followers: Follower[] = [];
        const scene: Scene = {
          root,
          outside,
          async follow(options) {
            const follower = new Follower(candidate, { root, ...options });
            followers.push(follower);
            return await follower.start();
          },
          async sh(script) {
            const env = { O: outside, LC_ALL: "C" };
            await runProcess("bash", ["-ec", script], { cwd: root, env, expectCode: 0 });
          },
        };
        try {
          await run(scene);
        } finally {
          for (const follower of followers) await follower[Symbol.asyncDispose]();
        }
      },
    });
  }
}

/** One change each, to a tree with a file `f`, a directory `d` with a file, and another file `g`. */
const changes: Record<string, string> = {
  "create": "echo 1 > new",
  "write in place": "printf 9 | dd of=f conv=notrunc status=none",
  "append": "echo more >> f",
  "truncate": "truncate -s 1 f",
  "chmod": "chmod 600 f",
  "utimens": "touch -d '2001-02-03 04:05:06.789' f",
  "chmod of a directory": "chmod 700 d",
  "utimens of a directory": "touch -d 2001-02-03 d",
  "chmod of the root": "chmod 700 .",
  "unlink": "rm f",
  "mkdir": "mkdir n",
  "rmdir": "rm d/x; rmdir d",
  "rename of a file": "mv f f2",
  "rename of a file into a directory": "mv f d/f",
  "rename of a directory": "mv d d2",
  "rename over an existing file": "mv f g",
  "rename over an empty directory": "mkdir e; mv -T d e",
  "exchange by a third name": "mv f t; mv g f; mv t g",
  "exchange of directories by a third name":
    "mkdir e; echo 5 > e/y; mv d t; mv e d; mv t e; echo 6 > d/new; echo 7 > e/new",
  "symlink": "ln -s f s",
  "symlink to a directory outside": "ln -s $O s; touch $O/not-ours",
  "dangling symlink": "ln -s nowhere s",
  "hard link": "ln f d/l",
  "file replaced by a directory": "rm f; mkdir f; echo 1 > f/x",
  "directory replaced by a file": "rm -r d; echo 1 > d",
  "directory replaced by another": "rm -r d; mkdir d; echo 2 > d/z",
};

const cases: Case[] = [
  ...Object.entries(changes).map(([what, script]): Case => ({
    name: `${what} is heard`,
    async run({ follow, sh }) {
      await sh("echo f > f; echo g > g; mkdir d; echo x > d/x");
      const follower = await follow();
      await sh(script);
      await follower.settled();
    },
  })),
  {
    name: "a change is heard before its file is closed",
    async run({ follow, root }) {
      const follower = await follow();
      using file = Deno.openSync(`${root}/open`, { write: true, create: true });
      file.writeSync(new Uint8Array(3));
      await follower.settled();
      file.writeSync(new Uint8Array(4));
      await follower.settled();
    },
  },
  {
    name: "thousands of nested directories made at once lose nothing",
    async run({ follow, sh }) {
      const follower = await follow();
      await sh(
        "for i in $(seq 400); do mkdir -p n/$i/a/b/c; echo $i > n/$i/a/b/c/f; echo > n/$i/a/g; done & " +
          "for i in $(seq 400); do mkdir -p m/a$i/b/c; : > m/a$i/b/c/f; done; wait",
      );
      await follower.settled();
    },
  },
  {
    name: "a copied tree of 2,000 files is heard wholly",
    async run({ follow, sh }) {
      await sh(
        "for i in $(seq 40); do mkdir -p $O/t/$i/x; for j in $(seq 50); do echo $i $j > $O/t/$i/x/$j; done; done",
      );
      const follower = await follow();
      await sh("cp -a $O/t copy");
      await follower.settled();
      await sh("rm -rf copy");
      await follower.settled();
    },
  },
  {
    name: "a tree moved in is heard wholly, and changes in it",
    async run({ follow, sh }) {
      await sh("mkdir -p $O/t/a/b; echo 1 > $O/t/a/b/f");
      const follower = await follow();
      await sh("mv $O/t in");
      await follower.settled();
      await sh("echo 2 >> in/a/b/f; mkdir in/a/c; echo 3 > in/a/c/g");
      await follower.settled();
    },
  },
  {
    name: "a tree moved out is gone, and may come back changed",
    async run({ follow, sh, outside }) {
      await sh("mkdir -p t/a/b; echo 1 > t/a/b/f");
      const follower = await follow();
      await sh("mv t $O/t");
      await follower.settled();
      const told = follower.hints.length;
      await sh("echo 2 >> $O/t/a/b/f; mkdir $O/t/a/b/c");
      await follower.settled();
      const late = follower.hints.slice(told).filter((hint) => "path" in hint && hint.path.startsWith("t/"));
      assertEquals(late, [], outside);
      await sh("mv $O/t back; echo 3 >> back/a/b/f; echo 4 > back/a/b/c/n");
      await follower.settled();
    },
  },
  {
    name: "a renamed directory of 1,000 files is followed below its new name, twice",
    async run({ follow, sh }) {
      await sh("mkdir -p d/sub/deep; for i in $(seq 1000); do echo $i > d/$i; done; echo 1 > d/sub/deep/f");
      const follower = await follow();
      await sh("mv d e; echo 2 >> e/sub/deep/f; echo new > e/sub/deep/g; rm e/17");
      await follower.settled();
      await sh(
        "mkdir p; mv e p/e2; echo 3 >> p/e2/sub/deep/f; mv p q; echo 4 >> q/e2/sub/deep/f; mkdir q/e2/n; echo 5 > q/e2/n/x",
      );
      await follower.settled();
    },
  },
  {
    name: "a rename is told as one, with both names",
    needs: "pair renames",
    async run({ follow, sh }) {
      await sh("mkdir -p d/sub p; for i in $(seq 1000); do : > d/$i; done; echo 1 > f");
      const follower = await follow();
      // What is renamed before it is armed is looked at again, and rightly.
      await follower.interceptor.sync();
      await sh("mv d p/e; mv f g");
      await follower.settled();
      const moved = follower.hints.filter(({ kind }) => kind === "moved");
      assertEquals(moved, [
        { kind: "moved", from: "d", to: "p/e", directory: true },
        { kind: "moved", from: "f", to: "g", directory: false },
      ]);
      // Nothing was heard in it before: it need not be looked at again.
      assertEquals(follower.hints.filter(({ kind }) => kind === "look-below"), []);
    },
  },
  {
    name: "the new name of a rename is told no later than the old one, twenty times",
    async run({ follow, root }) {
      const names = Array.from({ length: 21 }, (_, i) => `name ${i}`);
      Deno.mkdirSync(`${root}/${names[0]}`);
      const follower = await follow();
      for (const [i, to] of names.entries()) {
        if (i === 0) continue;
        const from = names[i - 1];
        const told = follower.hints.length;
        // Asynchronously: the interceptor takes its turn between the two halves, if there are two.
        await Deno.rename(`${root}/${from}`, `${root}/${to}`);
        await follower.told((hint) => follower.hints.indexOf(hint) >= told && says(hint, from));
        const first = follower.hints.slice(told).find((hint) => says(hint, from) || says(hint, to));
        assert(says(first!, to), `${i}: ${JSON.stringify(follower.hints.slice(told))}`);
      }
    },
  },
  {
    name: "names that are not UTF-8, or that look like something else, are heard",
    async run({ follow, sh }) {
      const follower = await follow();
      await sh(
        String
          .raw`printf 1 > $'\xff\xfe'; mkdir $'d\x80'; echo 2 > $'d\x80'/x; printf 3 > $'a\nb'; printf 4 > ' '; ` +
          String
            .raw`printf 5 > '\'; printf 6 > "é"; mkdir -p '...'/'%2e%2e'; echo 7 > '...'/'%2e%2e/f'; mv $'d\x80' $'e\x81'`,
      );
      await follower.settled();
      await sh(String.raw`echo more >> $'e\x81'/x; echo more >> $'\xff\xfe'`);
      await follower.settled();
    },
  },
  {
    name: "directories renamed, exchanged and remade by two writers without rest (seeds 1, 2)",
    async run({ follow }) {
      const follower = await follow();
      await shuffle(follower.root, { seeds: [1, 2], count: 3_000 });
      await follower.settled(30_000);
      await touchEveryDirectory(follower.root);
      await follower.settled();
    },
  },
  {
    name: "a consumer that is 150 ms late still ends equal (seeds 3, 4)",
    needs: "hear everything",
    async run({ follow }) {
      const follower = await follow({ lagMs: 150 });
      await shuffle(follower.root, { seeds: [3, 4], count: 3_000 });
      await follower.settled(30_000);
      await touchEveryDirectory(follower.root);
      await follower.settled();
    },
  },
  {
    name:
      "a tree of 3,000 directories that changes while it is armed and scanned is known in the end (seeds 5, 6)",
    async run({ follow, root, sh }) {
      await sh("for i in $(seq 300); do mkdir -p big/$i/{a,b,c}/{x,y}; done");
      const shuffled = shuffle(root, { seeds: [5, 6], count: 3_000 });
      const follower = await follow();
      await shuffled;
      await follower.settled(30_000);
      await touchEveryDirectory(root);
      await follower.settled();
    },
  },
  {
    name:
      "sync() waits until the tree is armed, without anybody asking for it, and sooner parts are heard of",
    needs: "hear everything",
    async run({ follow, root, sh }) {
      await sh("for i in $(seq 500); do mkdir -p big/$i/{a,b,c}/{x,y}; done");
      const follower = await follow({ isScanned: false });
      const { interceptor } = follower;
      Deno.writeTextFileSync(`${root}/early`, "1");
      await follower.told((hint) => hint.kind === "look" && hint.path === "early");
      assertEquals(await interceptor.sync(), true);
      assertEquals(interceptor.stats.armed, interceptor.stats.directories);
      assertEquals(interceptor.gaps(), []);
      assertEquals([...interceptor.unheard()], []);
      follower.scan();
      await sh("for i in 17 333 500; do echo 1 > big/$i/b/y/f; done");
      await follower.settled();
    },
  },
  {
    name: "sync() hands on every hint of what was changed before it",
    needs: "hear everything",
    async run({ follow, root }) {
      const follower = await follow();
      Deno.mkdirSync(`${root}/d`);
      for (let i = 0; i < 50; i++) {
        Deno.mkdirSync(`${root}/d/n${i}/x`, { recursive: true });
        Deno.writeTextFileSync(`${root}/d/n${i}/x/f`, `${i}`);
        Deno.renameSync(`${root}/d/n${i}`, `${root}/d/m${i}`);
        assertEquals(await follower.interceptor.sync(), true);
        assertEquals(follower.difference(), undefined);
      }
      const asked = follower.interceptor.sync();
      await follower.interceptor.stop();
      await asked;
      assertEquals(await follower.interceptor.sync(), false);
    },
  },
  {
    name: "lost events are told and made good",
    needs: "report overflow",
    async run({ follow, sh, root }) {
      await sh("mkdir -p a/b; echo 1 > keep; mkdir -p old/x");
      const follower = await follow();
      // While this thread waits for the program, it takes no events, and the kernel's queues hold 16,384.
      const program = `
        Deno.renameSync("old", "renamed");
        Deno.mkdirSync("late/deep", { recursive: true });
        for (let i = 0; i < 17000; i++) Deno.writeTextFileSync("a/b/" + i, "x");
        Deno.renameSync("a/b", "a/c");
        Deno.mkdirSync("later/deep", { recursive: true });
        Deno.writeTextFileSync("later/deep/f", "1");
      `;
      const made = new Deno.Command(Deno.execPath(), { args: ["eval", program], cwd: root }).outputSync();
      assert(made.success, new TextDecoder().decode(made.stderr));
      await follower.settled();
      assert(follower.interceptor.stats.overflows >= 1, "no overflow");
      const wholly = (hint: Hint) =>
        hint.kind === "look-below" && hint.path === "" && hint.reason.includes("overflow");
      assert(follower.hints.some(wholly), "it was not told");
      await sh("echo 2 >> a/c/17; echo 3 >> later/deep/f; echo 4 > renamed/x/n; echo 5 > late/deep/n");
      await follower.settled();
    },
  },
  {
    name: "what is excluded is not watched, until it is renamed to something that is not",
    needs: "leave out",
    async run({ follow, sh }) {
      await sh("mkdir -p d/cache/x keep");
      const isExcluded = (path: string) => path.split("/").includes("cache");
      const follower = await follow({ isExcluded });
      await sh("echo 1 > d/cache/x/f; echo 1 > keep/f");
      await follower.told((hint) => hint.kind === "look" && hint.path === "keep/f");
      const inside = ({ kind, ...hint }: Hint) =>
        kind === "look" && "path" in hint && hint.path.includes("cache/");
      assertEquals(follower.hints.filter(inside), []);
      await sh("mv d/cache d/kept; echo 2 >> d/kept/x/f; mv keep cache");
      await follower.settled();
      await sh("echo 3 >> d/kept/x/f");
      await follower.settled();
      await sh("mv d e; echo 3 >> cache/f; echo 4 > e/kept/x/g");
      await follower.told((hint) => hint.kind === "look" && hint.path === "e/kept/x/g");
      assertEquals(follower.hints.filter(inside), []);
    },
  },
  {
    name: "when the rules change, what is excluded now is let go and what is not any more is heard of",
    needs: "leave out",
    async run({ follow, sh }) {
      await sh("mkdir -p a/x b/x/deep c; echo 1 > b/x/f");
      let out = "a";
      const follower = await follow({ isExcluded: (path) => path === out });
      const told = (path: string) => follower.told((hint) => hint.kind === "look" && hint.path === path);
      out = "b";
      follower.interceptor.rulesChanged();
      await follower.told((hint) => hint.kind === "look-below" && (hint.path === "a" || hint.path === ""));
      // Where each is watched for itself, it is let go of a little later.
      const directories = () => follower.interceptor.stats.directories;
      if (directories() > 0) await waitFor(() => directories() === 4, { what: "b to be let go" });
      await sh("echo 1 > b/x/deep/f; echo 1 > b/x/f; echo 1 > b/f; echo 1 > a/x/f");
      await told("a/x/f");
      const inside = (hint: Hint) => "path" in hint && hint.path.startsWith("b/");
      assertEquals(follower.hints.filter(inside), []);
      out = "none";
      follower.interceptor.rulesChanged();
      await follower.settled();
      await sh("echo 2 > b/x/deep/f; mkdir b/x/deep/n; echo 2 > b/x/deep/n/f");
      await follower.settled();
      assertEquals(await follower.interceptor.sync(), true);
    },
  },
  ...["rm -rf root", "mv root elsewhere", "rm -rf root; mkdir root"].map((script): Case => ({
    name: `the end of the root is told: ${script}`,
    async run({ follow, root, outside }) {
      const follower = await follow();
      await runProcess("bash", ["-ec", script], { cwd: `${outside}/..`, expectCode: 0 });
      await follower.told(({ kind }) => kind === "root-gone");
      await follower.interceptor.stop();
      assertEquals(follower.hints.filter(({ kind }) => kind === "root-gone").length, 1, root);
    },
  })),
  {
    name: "a root that is no directory cannot be watched",
    async run({ follow, root }) {
      Deno.removeSync(root);
      const error = await follow().then(() => undefined, (error) => error);
      assertEquals(error?.code, "ENOENT");
      Deno.writeTextFileSync(root, "");
      assertEquals((await follow().then(() => undefined, (error) => error))?.code, "ENOTDIR");
    },
  },
  {
    name: "stop() frees its descriptors, and nothing is told afterwards",
    async run({ follow, sh, root }) {
      await sh("mkdir -p a/b c");
      const warm = await follow();
      await warm.interceptor.stop();
      const before = openDescriptors();
      for (let i = 0; i < STOPS; i++) {
        const follower = await follow();
        Deno.writeTextFileSync(`${root}/f`, `${i}`);
        if (i % 2) {
          await follower.told((hint) => "path" in hint && hint.path === "f" || hint.kind === "look-below");
        }
        await follower.interceptor.stop();
        const told = follower.hints.length;
        await sh("echo 1 >> a/b/f");
        assertEquals(follower.hints.length, told);
      }
      // Tests of other files run in the same process and open some, too, but not as many.
      await waitFor(() => openDescriptors() < before + STOPS, {
        what: "descriptors to be closed",
      });
    },
  },
];

/** Times that an interceptor is stopped: more than others are open at the same time. */
const STOPS = 40;

/** Whether a hint is about a path, or about everything. */
function says(hint: Hint, path: string): boolean {
  if (hint.kind === "moved") return hint.from === path || hint.to === path;
  return hint.kind !== "root-gone" && (hint.path === path || hint.path === "" && hint.kind === "look-below");
}

/** Processes, one a seed, that change directories of a tree without rest. */
export async function shuffle(
  root: string,
  { seeds, count }: { seeds: number[]; count: number },
): Promise<void> {
  const shuffler = new URL("../intercept/shuffler.ts", import.meta.url).pathname;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const run = (seed: number) => {
    const args = ["run", "-A", "--config", config, shuffler, `${seed}`, `${count}`];
    return runProcess(Deno.execPath(), args, { cwd: root, expectCode: 0 });
  };
  await Promise.all(seeds.map(run));
}

/** Makes a file in every directory: those that are not watched under their right name stay unknown. */
export async function touchEveryDirectory(root: string): Promise<void> {
  for (const { name, isDirectory } of Deno.readDirSync(root)) {
    if (isDirectory) await touchEveryDirectory(`${root}/${name}`);
  }
  // Asynchronously: the interceptor takes its turns, and the kernel's queue does not overflow.
  await Deno.writeTextFile(`${root}/touched`, "1");
}

/** Descriptors of interceptors in this process, where a system shows them. */
function openDescriptors(): number {
  if (Deno.build.os !== "linux") return 0;
  return openPaths().filter((link) => /inotify|fanotify|eventfd|mountinfo/.test(link)).length;
}
