/**
 * Goal: whatever happens to a tree, its source, its target and the line between them, in whatever order, in the end the
 * replica is the tree: contents, attributes, times of directories, and nothing is left in staging.
 *
 * Method: random histories of changes and mishaps against the real parts (tests/testing/loopback.ts); then peace, and a
 * comparison that uses none of our code. A history that fails is made as short as it can be, and printed.
 *
 * `UNDERSTUDY_HISTORIES=5000 UNDERSTUDY_SEED=1 deno test -A tests/source/replication_model_test.ts` runs that many.
 * With `UNDERSTUDY_LAST_HISTORY=FILE` the history under way is always in that file, should one never end, and
 * `UNDERSTUDY_HISTORY=FILE` lives the one in it.
 * @module
 */
import { hex } from "../../src/base/bytes.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import fc from "fast-check";
import { yieldToEvents } from "../../src/base/clock.ts";
import { lookBelow, Pair } from "../testing/loopback.ts";
import { tempDirectory } from "../testing/temp.ts";
import {
  type Action,
  befall,
  history,
  isTreeAction,
  type Naming,
  TreeActor,
  type Unheard,
} from "./tree_actions.ts";

const HISTORIES = Number(Deno.env.get("UNDERSTUDY_HISTORIES") ?? 1_000);
const SEED = Number(Deno.env.get("UNDERSTUDY_SEED") ?? Date.now() % 1_000_000);
/** A file that always holds the history which is being lived. */
const LAST_HISTORY = Deno.env.get("UNDERSTUDY_LAST_HISTORY");
/** A history that takes longer to settle hangs. */
const SETTLE_MS = 5_000;

/** Lives one history to its end, and compares. */
class World {
  readonly #pair: Pair;
  readonly #actor: TreeActor;
  #unheard: Unheard[] = [];

  constructor(pair: Pair, naming: Naming) {
    this.#pair = pair;
    this.#actor = new TreeActor(pair.sourceRoot, naming);
  }

  async live(actions: Action[]): Promise<void> {
    // A source found empty keeps its replica from being emptied too: another matter (replicator_guard_test.ts).
    writeFileSync(`${this.#pair.sourceRoot}/kept`, "always there");
    this.#pair.start();
    for (const action of actions) await this.#step(action);
    await this.#settle();
    this.#compare("");
  }

  async #step(action: Action): Promise<void> {
    if (isTreeAction(action)) return void this.#unheard.push(...this.#actor.act(action));
    const { target } = this.#pair;
    switch (action.do) {
      case "hear":
        return this.#hear(action.count);
      case "overflow":
        this.#unheard = [];
        return this.#pair.hint(lookBelow(""));
      case "turn":
        for (let i = 0; i < action.count; i++) await yieldToEvents();
        return;
      case "cut":
      case "delay":
      case "crash target":
      case "crash target at call":
        return befall(target, action);
      case "restart source":
        await this.#pair.stop({ saves: action.saves });
        // A new source watches first and then scans: what was not heard is found.
        this.#unheard = [];
        return this.#pair.start();
      case "settle":
        await this.#settle();
        return this.#compare("in between: ");
    }
  }

  #hear(count: number): void {
    for (const hints of this.#unheard.splice(0, count)) this.#pair.hint(...hints());
  }

  async #settle(): Promise<void> {
    this.#hear(this.#unheard.length);
    await this.#pair.settle({ timeoutMs: SETTLE_MS });
  }

  #compare(when: string): void {
    const { sourceRoot, replicaRoot, target, replicator } = this.#pair;
    const problems = replicator.problems.list().map(({ path, op, reason }) => `${op} ${path}: ${reason}`);
    assertEquals(
      linesOf(replicaRoot),
      linesOf(sourceRoot),
      `${when}the replica differs; problems: ${problems}`,
    );
    assertEquals(problems, [], `${when}problems remain`);
    assertEquals(target.staged(), [], `${when}something is left in staging`);
  }
}

function xattrsOf(root: string, path: string): string {
  using tree = systemFileSystem().openTree(root);
  return tree.xattrs(path).map(({ name, value }) => ` ${name}=${hex(value)}`).join("");
}

/** A tree as text, a line an entry. */
function linesOf(
  root: string,
  path = "",
  lines: string[] = [],
  firstNames = new Map<bigint, string>(),
): string[] {
  const at = `${root}/${path}`;
  const stat = lstatSync(at, { bigint: true });
  const kind = stat.isDirectory()
    ? "directory"
    : stat.isSymbolicLink()
    ? "symlink"
    : stat.isSocket()
    ? "socket"
    : "file";
  const contents = kind === "symlink"
    ? readlinkSync(at)
    : kind === "file"
    ? `${stat.size} ${createHash("sha256").update(readFileSync(at)).digest("hex").slice(0, 16)}`
    : "";
  const mode = kind === "symlink" ? "" : (Number(stat.mode) & 0o7777).toString(8);
  const xattrs = xattrsOf(root, path);
  const isFurther = kind !== "directory" && stat.nlink > 1n && firstNames.has(stat.ino);
  if (!isFurther) firstNames.set(stat.ino, path);
  lines.push(
    `${path || "."} ${kind} ${mode} ${stat.uid}:${stat.gid} ${stat.mtimeNs} ${contents}${xattrs}${
      isFurther ? ` = ${firstNames.get(stat.ino)}` : ""
    }`,
  );
  if (kind === "directory") {
    for (const name of readdirSync(at).sort()) {
      linesOf(root, path === "" ? name : `${path}/${name}`, lines, firstNames);
    }
  }
  return lines;
}

async function check(naming: Naming, actions: Action[], directory: string): Promise<void> {
  // For a history that never ends.
  if (LAST_HISTORY) writeFileSync(LAST_HISTORY, JSON.stringify([naming, actions]));
  mkdirSync(directory);
  try {
    await using pair = await Pair.open({ directory });
    await new World(pair, naming).live(actions);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Histories that once ended unequal. */
const FOUND: [Naming, Action[]][] = [
  ["then", [
    { do: "symlink", path: "b" },
    { do: "link", path: "b", to: "a" },
    { do: "settle" },
    { do: "chown", path: "a", id: 1234 },
  ]],
];

Deno.test(`Replicator makes the replica equal after any history (seed ${SEED}, ${HISTORIES} histories)`, async () => {
  await using directory = await tempDirectory();
  const given = Deno.env.get("UNDERSTUDY_HISTORY");
  if (given) {
    const [naming, actions] = JSON.parse(Deno.readTextFileSync(given));
    return await check(naming, actions, `${directory.path}/given`);
  }
  let number = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<Naming>("then", "now"),
      history,
      (naming, actions) => check(naming, actions, `${directory.path}/${++number}`),
    ),
    {
      examples: FOUND,
      seed: SEED,
      numRuns: HISTORIES,
      endOnFailure: Deno.env.get("UNDERSTUDY_NO_SHRINK") === "1",
      interruptAfterTimeLimit: Number(Deno.env.get("UNDERSTUDY_LIMIT_MS") ?? 600_000),
      markInterruptAsFailure: false,
    },
  );
});
