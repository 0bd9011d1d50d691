/** What is looked at while the target's listing comes, and when the scan looks for itself all the same. */
import { limits } from "../../src/base/limits.ts";
import { assertEquals } from "@std/assert";
import { Detector } from "../../src/source/detect.ts";
import type { DetectContext } from "../../src/source/detect_context.ts";
import { Index } from "../../src/source/index.ts";
import { ListingTaker } from "../../src/source/listing_taker.ts";
import type { Op } from "../../src/ops/op.ts";
import type { Tree } from "../../src/sys/file_system.ts";
import { scopeWithout } from "../../src/source/scope.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { listEntries } from "../../src/target/listing.ts";
import type { ListedEntry } from "../../src/wire/message.ts";
import { Mounts } from "../../src/source/mounts.ts";
import { tempDirectory } from "../testing/temp.ts";

/** A detector over a directory whose replica is itself, save for what a test adds to the listing. */
class Bench {
  readonly index = new Index();
  readonly ops: Op[] = [];
  readonly detector: Detector;
  readonly taker: ListingTaker;
  /** Directories read since they were last taken. */
  #read: string[] = [];
  readonly #tree: Tree;

  constructor(tree: Tree) {
    this.#tree = tree;
    this.detector = new Detector(this.#context());
    this.taker = new ListingTaker(this.index, this.detector);
  }

  /** The listing of the tree as it is now. */
  listed(): ListedEntry[] {
    const messages = [...listEntries(this.#tree, { type: "list", request: 1, path: "", recursive: true })];
    return messages.flatMap((message) => message.type === "listing" ? message.entries : []);
  }

  takeRead(): string[] {
    return this.#read.splice(0).sort();
  }

  /** Scans everything. @returns What seemed absent. */
  async scan(priority: "mirror" | "live" = "mirror"): Promise<string[]> {
    const absent: string[] = [];
    const pending = [""];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      pending.push(...await this.detector.lookInside(at, priority, 1, (path) => void absent.push(path)));
    }
    return absent.sort();
  }

  #context(): DetectContext {
    const read = (path: string) => this.#read.push(path);
    const tree = new Proxy(this.#tree, {
      get(target, name) {
        if (name === "scan") {
          return (path: string, visit: Parameters<Tree["scan"]>[1]) => {
            read(path);
            target.scan(path, visit);
          };
        }
        const value = target[name as keyof Tree];
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const nothing = () => {};
    const abilities = {
      ownership: true,
      modes: true,
      nanoseconds: true,
      links: true,
      nodes: true,
      xattrs: true,
    };
    return {
      tree,
      index: this.index,
      policy: {
        abilities,
        deleteAbsent: true,
        exchange: true,
        blockSize: 4096,
        fastMirrorSizeMin: 65_536,
        opDataSize: limits.opDataSizeMax,
      },
      room: () => Promise.resolve(true),
      push: (op) => this.ops.push(op),
      transfer: nothing,
      transfersCount: () => 0,
      isTransferring: () => false,
      lookBelow: nothing,
      restless: nothing,
      isRacy: () => false,
      racy: nothing,
      problem: (path, op, error) => {
        throw new Error(`Cannot ${op} ${path}`, { cause: error });
      },
      solved: nothing,
      gone: nothing,
      resting: undefined,
      guard: undefined,
      mounts: new Mounts({ tree, known: [], save: nothing }),
      lookAgain: nothing,
      rootStands: () => true,
      scope: scopeWithout((path) => path === "excluded"),
      emptied: nothing,
      settles: () => true,
      watch: () => true,
      pending: { size: 0, covers: () => false, below: () => undefined, addBehind: () => {} },
      onRead: nothing,
    };
  }
}

async function withBench(use: (bench: Bench, root: string) => Promise<void>): Promise<void> {
  await using directory = await tempDirectory();
  const root = directory.path;
  for (const path of ["a", "a/b", "c", "excluded"]) Deno.mkdirSync(`${root}/${path}`);
  for (const path of ["a/1", "a/b/2", "c/3", "4", "excluded/5"]) {
    Deno.writeTextFileSync(`${root}/${path}`, path);
  }
  Deno.symlinkSync("b", `${root}/a/link`);
  using tree = systemFileSystem().openTree(root);
  await use(new Bench(tree), root);
}

Deno.test("ListingTaker looks at each directory once it is listed, and the scan then reads the root alone", async () => {
  await withBench(async (bench) => {
    bench.taker.take(bench.listed());
    bench.taker.end();
    assertEquals(bench.takeRead(), ["a", "a/b", "c"]);
    assertEquals(await bench.scan(), []);
    assertEquals(bench.takeRead(), [""]);
    assertEquals(bench.ops, []);
    // Known by their identities, as after any scan.
    assertEquals(
      ["a", "a/1", "a/link", "a/b/2", "4"].filter((path) => bench.index.get(path)!.ino === 0n),
      [],
    );
    assertEquals(bench.index.get("a/link")!.linkTarget, "b");
    assertEquals(await bench.scan(), []);
    assertEquals(bench.takeRead(), ["", "a", "a/b", "c"], "what was seen ahead counts once");
  });
});

Deno.test("ListingTaker leaves a directory that differs to the scan: another time, a missing entry, one too many", async () => {
  await withBench(async (bench, root) => {
    const listed = bench.listed();
    Deno.utimeSync(`${root}/c/3`, 1, 1);
    bench.taker.take(listed.filter(({ path }) => path !== "a/b/2"));
    bench.taker.take([{ ...listed.find(({ path }) => path === "a/1")!, path: "a/gone" }]);
    bench.taker.end();
    bench.takeRead();
    assertEquals(await bench.scan(), ["a/gone"]);
    assertEquals(bench.takeRead(), ["", "a", "a/b", "c"]);
    assertEquals(bench.ops.map((op) => "path" in op && `${op.kind} ${op.path}`).sort(), [
      "file a/b/2",
      "file c/3",
    ]);
  });
});

Deno.test("ListingTaker takes a directory that is listed in two parts as a whole only after the second", async () => {
  await withBench(async (bench) => {
    const listed = bench.listed();
    const inC = { ...listed.find(({ path }) => path === "c/3")!, path: "c/more" };
    bench.taker.take(listed);
    bench.taker.take([{ ...listed.find(({ path }) => path === "4")!, path: "5" }, inC]);
    bench.taker.end();
    bench.takeRead();
    assertEquals(await bench.scan(), ["5", "c/more"]);
    assertEquals(bench.takeRead(), ["", "c"]);
  });
});

Deno.test("Detector looks for itself at what it saw ahead in a live scan, and after events may have been missed", async () => {
  await withBench(async (bench) => {
    bench.taker.take(bench.listed());
    bench.taker.end();
    bench.takeRead();
    await bench.scan("live");
    assertEquals(bench.takeRead(), ["", "a", "a/b", "c"]);
    bench.detector.forgetAhead();
    await bench.scan();
    assertEquals(bench.takeRead(), ["", "a", "a/b", "c"]);
  });
});
