/**
 * Goal: what is not in the set is neither sent nor removed, what comes into it is sent, what leaves it stays at the
 * target as leftover until it is purged, and restarts change none of that.
 * Method: real directories and the real receiver (tests/testing/loopback.ts), rules that are exchanged meanwhile.
 */
import { assertEquals } from "@std/assert";
import { RuleList } from "../../src/rules/rule_list.ts";
import { AgeWatch } from "../../src/source/age_watch.ts";
import { SetScope } from "../../src/source/set_scope.ts";
import { lookBelow, moved, Pair } from "../testing/loopback.ts";
import { manifest } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";

const ignore = lacks("linux");

function sh(root: string, script: string): void {
  const { success, stderr } = new Deno.Command("sh", { args: ["-ec", script], cwd: root }).outputSync();
  if (!success) throw new Error(`Cannot run "${script}": ${new TextDecoder().decode(stderr)}`);
}

/** Names in a tree, sorted; directories with a slash behind them. */
function names(root: string, directory = ""): string {
  const found: string[] = [];
  for (
    const entry of [...Deno.readDirSync(`${root}/${directory}`)].sort((a, b) => a.name < b.name ? -1 : 1)
  ) {
    const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
    found.push(entry.isDirectory ? `${path}/` : path);
    if (entry.isDirectory) found.push(...names(root, path).split(" ").filter((each) => each !== ""));
  }
  return found.join(" ");
}

interface Rig {
  pair: Pair;
  scope: SetScope;
  /** Runs a script in the source and looks at everything. */
  change(script: string): Promise<void>;
  /** Exchanges the rules and looks at everything. */
  rules(...lines: string[]): Promise<void>;
  /** Names at the target. */
  target(): string;
  leftovers(): string[];
}

async function withRig(rules: string[], use: (rig: Rig) => Promise<void>): Promise<void> {
  const scope = new SetScope({ rules: RuleList.parse(rules) });
  await using pair = await Pair.open({ scope });
  await use({
    pair,
    scope,
    async change(script) {
      sh(pair.sourceRoot, script);
      await pair.verify();
    },
    async rules(...lines) {
      scope.exchange(RuleList.parse(lines));
      void pair.replicator.scopeChanged();
      await pair.settle();
    },
    target: () => names(pair.replicaRoot),
    leftovers: () => pair.replicator.decisions.leftovers().paths,
  });
}

function test(name: string, rules: string[], fn: (rig: Rig) => Promise<void>): void {
  Deno.test({ name: `a set: ${name}`, ignore, fn: () => withRig(rules, fn) });
}

test(
  "what is left out is neither sent nor removed",
  ["*.log", "cache/"],
  async ({ pair, change, target }) => {
    sh(
      pair.sourceRoot,
      "echo x > a; echo x > a.log; mkdir -p cache d/cache; echo x > cache/f; echo x > d/b.log",
    );
    await pair.mirror();
    assertEquals(target(), "a d/");
    await change("echo y > d/c.log; rm a.log; rm -r cache; echo z > d/new");
    assertEquals(target(), "a d/ d/new");
  },
);

test("a path taken in makes the directories above it, and they go when it goes", [
  "/",
  "!/home/alice",
  "!/etc",
], async (
  { pair, change, target },
) => {
  sh(
    pair.sourceRoot,
    "mkdir -p home/alice/d home/bob etc usr/lib; echo x > home/alice/d/f; echo x > home/bob/f; echo x > top",
  );
  await pair.mirror();
  assertEquals(target(), "etc/ home/ home/alice/ home/alice/d/ home/alice/d/f");
  await change("rm -r home/alice");
  assertEquals(target(), "etc/");
  await change("mkdir home/alice; echo y > home/alice/g");
  assertEquals(target(), "etc/ home/ home/alice/ home/alice/g");
  await change("mv home/alice etc/alice");
  assertEquals(target(), "etc/ etc/alice/ etc/alice/g");
  await change("rm -r home etc");
  assertEquals(target(), "");
});

test("hints below a passage find what is to be taken in", ["/", "!/a/b/c"], async ({ pair, target }) => {
  sh(pair.sourceRoot, "echo x > other");
  await pair.mirror();
  sh(pair.sourceRoot, "mkdir -p a/b/c a/d; echo x > a/b/c/f; echo x > a/d/f");
  await pair.look(lookBelow("a"));
  assertEquals(target(), "a/ a/b/ a/b/c/ a/b/c/f");
  sh(pair.sourceRoot, "echo y > a/b/c/g; echo y > a/b/h; touch a a/b");
  await pair.look("a/b/c/g", "a/b/h", "a/b", "a");
  assertEquals(target(), "a/ a/b/ a/b/c/ a/b/c/f a/b/c/g");
  sh(pair.sourceRoot, "mkdir x; mv a/b x/b; mv x/b a/b2; mv a/b2 a/b");
  await pair.look(moved("a/b", "x/b", true), moved("x/b", "a/b", true));
  assertEquals(target(), "a/ a/b/ a/b/c/ a/b/c/f a/b/c/g");
});

test(
  "a passage that is renamed into its place is looked below",
  ["/", "!/a/b/c", "!/x"],
  async ({ pair, target }) => {
    sh(pair.sourceRoot, "mkdir -p a/b/c x; echo x > a/b/c/f");
    await pair.mirror();
    sh(pair.sourceRoot, "mv a/b y");
    await pair.look("a/b", "a");
    assertEquals(target(), "x/");
    sh(pair.sourceRoot, "mv y a/b");
    await pair.look(moved("y", "a/b", true));
    assertEquals(target(), "a/ a/b/ a/b/c/ a/b/c/f x/");
  },
);

test(
  "files taken in by name come from everywhere",
  ["/", "!*.jpg", "!ext:png", "private/"],
  async ({ pair, change, target }) => {
    sh(
      pair.sourceRoot,
      "mkdir -p a/b private empty; touch x.jpg x.txt a/b/y.jpg a/b/y.txt a/z.PNG private/w.jpg",
    );
    await pair.mirror();
    assertEquals(target(), "a/ a/b/ a/b/y.jpg a/z.PNG x.jpg");
    await change("rm a/b/y.jpg; mv a/z.PNG a/b/z.png");
    assertEquals(target(), "a/ a/b/ a/b/z.png x.jpg");
  },
);

test(
  "an exclusion leaves what is there, names it, and follows it no more",
  [],
  async ({ pair, change, rules, target, leftovers }) => {
    sh(
      pair.sourceRoot,
      "mkdir -p d/cache keep; echo x > d/cache/a; echo x > d/cache/b; echo x > keep/a; echo x > x.log",
    );
    await pair.mirror();
    assertEquals(leftovers(), []);
    await rules("cache/", "*.log");
    assertEquals(leftovers(), ["d/cache", "x.log"]);
    assertEquals(pair.replicator.decisions.leftovers().count, 4);
    pair.takeOps();
    await change("echo changed > d/cache/a; rm x.log d/cache/b");
    assertEquals(pair.takeOps(), ['attributes "": mtimeNs']);
    assertEquals(target(), "d/ d/cache/ d/cache/a d/cache/b keep/ keep/a x.log");
    // Their directory goes: they stay.
    await change("rm -r d");
    assertEquals(target(), "d/ d/cache/ d/cache/a d/cache/b keep/ keep/a x.log");
    assertEquals(leftovers(), ["d/cache", "x.log"]);
    // Taken in again, it is as the source is.
    await change("mkdir -p d/cache; echo new > d/cache/c");
    await rules("*.log");
    assertEquals(target(), "d/ d/cache/ d/cache/c keep/ keep/a x.log");
    assertEquals(leftovers(), ["x.log"]);
  },
);

test(
  "leftovers outlive restarts of the source, and a mirror from the beginning",
  [],
  async ({ pair, change, rules, target, leftovers }) => {
    sh(pair.sourceRoot, "mkdir d; echo x > d/a.tmp; echo x > d/b; echo x > big; echo x > keep");
    await pair.mirror();
    await rules("*.tmp", "size>1K");
    await change("head -c 2000 /dev/zero > big");
    assertEquals(leftovers(), ["big", "d/a.tmp"]);
    await pair.stop();
    // Deleted while out of the set, also where the name alone would not say so.
    sh(pair.sourceRoot, "rm big d/a.tmp d/b");
    pair.start();
    await pair.settle();
    assertEquals(target(), "big d/ d/a.tmp keep");
    assertEquals(leftovers(), ["big", "d/a.tmp"]);
    await pair.stop({ saves: false });
    sh(pair.sourceRoot, "rm -r d");
    pair.start();
    await pair.settle();
    assertEquals(target(), "big d/ d/a.tmp keep");
  },
);

test(
  "a purge removes leftovers, and nothing else",
  [],
  async ({ pair, rules, change, target, leftovers }) => {
    sh(pair.sourceRoot, "mkdir -p d/e f; echo x > d/e/a; echo x > d/b; echo x > f/c; echo x > g");
    await pair.mirror();
    await rules("/d/e", "/f", "/g");
    await change("rm -r d");
    assertEquals(leftovers(), ["d/e", "f", "g"]);
    assertEquals(await pair.replicator.decisions.purge(["f", "nothing"]), 2);
    await pair.settle();
    assertEquals(target(), "d/ d/e/ d/e/a g");
    assertEquals(await pair.replicator.decisions.purge(), 3);
    await pair.verify();
    // "d" stood there for the leftover in it alone.
    assertEquals(target(), "");
    assertEquals(leftovers(), []);
    assertEquals(names(pair.sourceRoot), "f/ f/c g");
  },
);

test(
  "leftovers in the way of what is in the set are a problem until they are purged",
  [],
  async ({ pair, rules, change, target }) => {
    sh(pair.sourceRoot, "mkdir d; echo x > d/a.tmp");
    await pair.mirror();
    await rules("*.tmp");
    await change("rm -r d; echo file > d");
    assertEquals(pair.replicator.problems.list().map(({ path, op }) => `${op} ${path}`), ["replace d"]);
    assertEquals(target(), "d/ d/a.tmp");
    await pair.replicator.decisions.purge();
    await pair.settle();
    assertEquals(target(), "d");
    assertEquals(pair.replicator.problems.list(), []);
  },
);

test(
  "a file that outgrows a rule stays as it was, and comes again when it shrinks",
  ["size>1K *.db"],
  async ({ pair, change, target, leftovers }) => {
    sh(pair.sourceRoot, "echo one > a.db");
    await pair.mirror();
    await change("head -c 2000 /dev/zero > a.db; head -c 2000 /dev/zero > b.db");
    assertEquals(target(), "a.db");
    assertEquals(Deno.readTextFileSync(`${pair.replicaRoot}/a.db`), "one\n");
    assertEquals(leftovers(), ["a.db"]);
    await change("echo two > a.db");
    assertEquals(Deno.readTextFileSync(`${pair.replicaRoot}/a.db`), "two\n");
    assertEquals(leftovers(), []);
  },
);

test("a large file that is left out while it waits is not sent", [], async ({ pair, rules, target }) => {
  await pair.mirror();
  sh(pair.sourceRoot, "for i in 1 2 3 4 5 6; do head -c 3000000 /dev/urandom > big$i; done; echo x > small");
  pair.hint(lookBelow(""));
  await rules("big*");
  const here = target().split(" ");
  assertEquals(here.at(-1), "small");
  const left = pair.replicator.decisions.leftovers().paths;
  assertEquals(here.slice(0, -1), left, "what came before is leftover");
});

test("renames over the edge of the set", ["/out/"], async ({ pair, target, leftovers }) => {
  sh(
    pair.sourceRoot,
    "mkdir -p in out; echo a > in/a; echo b > out/b; mkdir out/d in/e; echo x > out/d/x; echo y > in/e/y",
  );
  await pair.mirror();
  sh(pair.sourceRoot, "mv in/a out/a; mv out/b in/b; mv out/d in/d; mv in/e out/e");
  await pair.look(
    moved("in/a", "out/a"),
    moved("out/b", "in/b"),
    moved("out/d", "in/d", true),
    moved("in/e", "out/e", true),
  );
  assertEquals(target(), "in/ in/b in/d/ in/d/x");
  assertEquals(leftovers(), []);
});

test(
  "a directory that is renamed takes its leftovers along",
  [],
  async ({ pair, rules, target, leftovers }) => {
    sh(pair.sourceRoot, "mkdir d; echo x > d/a.tmp; echo x > d/b");
    await pair.mirror();
    await rules("*.tmp");
    sh(pair.sourceRoot, "mv d e");
    pair.takeOps();
    await pair.look(moved("d", "e", true));
    assertEquals(target(), "e/ e/a.tmp e/b");
    assertEquals(leftovers(), ["e/a.tmp"]);
  },
);

test("equal trees where the rules say nothing against it", ["/no/"], async ({ pair }) => {
  sh(
    pair.sourceRoot,
    "mkdir -p a/b no; echo x > a/b/c; ln -s c a/b/l; touch -d @1000000 a/b a; echo x > no/x",
  );
  await pair.mirror();
  const here = await manifest(`${pair.sourceRoot}/a`);
  assertEquals(await manifest(`${pair.replicaRoot}/a`), here);
});

Deno.test("AgeWatch remembers what is due first, and when the rest may be", () => {
  const ages = new AgeWatch(10);
  for (let i = 0; i < 25; i++) ages.note(`f${i}`, 1_000 + (i * 7) % 25);
  assertEquals(ages.take(999), { paths: [], isMore: false });
  const due = ages.take(1_002);
  assertEquals(due.paths.length === 3 || due.isMore, true);
  const rest = ages.take(2_000);
  assertEquals(rest.isMore || due.isMore, true);
  assertEquals(ages.take(3_000), { paths: [], isMore: false });
  ages.note("a", 5);
  ages.clear();
  assertEquals(ages.take(10), { paths: [], isMore: false });
});
