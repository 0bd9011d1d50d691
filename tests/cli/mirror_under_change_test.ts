/**
 * Mirrors of a tree that programs go on changing: the first one, a fast one over what an earlier one left, and those
 * after a kill in the middle (FEATURES R2). About 60 s.
 *
 * Method: one load writes files that tell by themselves whether they are whole, renames, deletes and makes directories;
 * another lets files grow and shrink in place and puts symbolic links in the places of directories and back. A reader
 * looks at the replica all the while. At the end `flush` succeeds, and the trees are equal.
 * @module
 */
import { assertEquals, assertGreater } from "@std/assert";
import { lacks } from "../testing/needs.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { SelfDescribingLoad } from "../testing/self_describing_load.ts";
import { makeTree, SeededRandom, writeBigFile } from "../testing/tree_maker.ts";

const ignore = lacks("linux");

/** What works in the source until it is ended. */
interface Programs {
  /** Steps of all of them so far. */
  steps(): number;
  /** Resolves once so many further steps were done. */
  further(count: number): Promise<void>;
  /** Ends them. Fails if the reader found anything torn, or did not look. */
  end(): Promise<void>;
}

/** Fills a source with enough for a mirror to take its time. */
async function fillSource({ source }: Replication): Promise<void> {
  for (const name of ["still", "load", "more"]) await Deno.mkdir(`${source}/${name}`);
  makeTree(`${source}/still`, { fileCount: 1_500 });
  for (let i = 0; i < 4; i++) writeBigFile(`${source}/still/large-${i}`, 6 << 20);
}

/** Starts the programs and the reader. */
function startPrograms({ source, replica }: Replication, seed: number): Programs {
  const load = new SelfDescribingLoad(`${source}/load`, seed);
  const changer = new Changer(`${source}/more`, seed);
  let [isEnding, looked] = [false, 0];
  const work = async () => {
    while (!isEnding) {
      await load.step();
      changer.step();
      // A rest for the machine: without it the load alone fills one processor.
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
  const read = async () => {
    while (!isEnding) {
      const found = await load.findTorn(`${replica}/load`);
      looked += found.looked;
      assertEquals(found.torn, []);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const running = Promise.all([work(), read()]);
  // Whoever waits hears of it at the end.
  running.catch(() => isEnding = true);
  return {
    steps: () => load.steps,
    async further(count) {
      const wanted = load.steps + count;
      while (load.steps < wanted && !isEnding) await new Promise((resolve) => setTimeout(resolve, 10));
    },
    async end() {
      isEnding = true;
      await running;
      assertGreater(looked, 0, "the reader saw files");
    },
  };
}

/** Changes a few names in place, in ways that a mirror must not trip over. */
class Changer {
  readonly #root: string;
  readonly #random: SeededRandom;

  constructor(root: string, seed: number) {
    this.#root = root;
    this.#random = new SeededRandom(seed);
    for (const name of ["log", "shrinking", "sparse"]) writeBigFile(`${root}/${name}`, 3_000_000);
    this.#makeDirectory("d0");
    this.#makeDirectory("d1");
  }

  step(): void {
    const root = this.#root;
    const random = this.#random;
    const directory = random.pick(["d0", "d1"]);
    random.pick([
      () => Deno.writeFileSync(`${root}/log`, random.bytes(random.between(1, 20_000)), { append: true }),
      () => Deno.truncateSync(`${root}/log`, random.between(0, 2_000_000)),
      () => Deno.truncateSync(`${root}/shrinking`, Math.floor(Deno.statSync(`${root}/shrinking`).size * 0.9)),
      () => writeBigFile(`${root}/shrinking`, 2_000_000),
      () => Deno.truncateSync(`${root}/sparse`, random.between(0, 8_000_000)),
      () => this.#vanish(`${root}/passing`),
      () => this.#exchange(directory),
      () => Deno.writeFileSync(`${root}/${directory}/f${random.between(0, 9)}`, random.bytes(500)),
    ])();
  }

  /** Comes, or goes. */
  #vanish(path: string): void {
    try {
      Deno.removeSync(path);
    } catch {
      Deno.writeFileSync(path, this.#random.bytes(this.#random.between(0, 400_000)));
    }
  }

  /** Puts a link to a directory outside of it in a directory's place, or a directory in the link's. */
  #exchange(name: string): void {
    const path = `${this.#root}/${name}`;
    if (Deno.lstatSync(path).isSymlink) {
      Deno.removeSync(path);
      return this.#makeDirectory(name);
    }
    Deno.removeSync(path, { recursive: true });
    Deno.symlinkSync("../still", path);
  }

  #makeDirectory(name: string): void {
    Deno.mkdirSync(`${this.#root}/${name}/sub`, { recursive: true });
    for (let i = 0; i < 3; i++) {
      Deno.writeFileSync(`${this.#root}/${name}/sub/${i}`, this.#random.bytes(2_000));
    }
  }
}

/** Asserts that a flush leaves both trees equal, and every file whole. */
async function flushedEqual(replication: Replication): Promise<void> {
  await replication.flush();
  await replication.assertEqual();
}

Deno.test({
  name: "first mirror of a tree that programs change meanwhile shows nothing torn, and ends equal",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await fillSource(replication);
    const programs = startPrograms(replication, 1);
    await replication.watch();
    await programs.further(200);
    await programs.end();
    await flushedEqual(replication);
  },
});

Deno.test({
  name:
    "fast mirror over an older replica, of a tree that programs change meanwhile, shows nothing torn and ends equal",
  ignore,
  async fn() {
    await using replication = await openReplication({ road: "local", args: ["--fast-mirror-min", "64K"] });
    const { source, state } = replication;
    await fillSource(replication);
    await replication.watch();
    await replication.flush();
    await replication.stopWatching();
    // Nothing is remembered of what the target holds: signatures tell.
    await Deno.remove(state, { recursive: true });
    await Deno.mkdir(state);
    for (let i = 0; i < 4; i++) {
      using file = Deno.openSync(`${source}/still/large-${i}`, { write: true });
      file.seekSync(1_000_000 * (i + 1), Deno.SeekMode.Start);
      file.writeSync(new Uint8Array(10_000).fill(i));
    }
    const programs = startPrograms(replication, 2);
    await replication.watch();
    await programs.further(200);
    await programs.end();
    await flushedEqual(replication);
  },
});

Deno.test({
  name:
    "mirrors that are killed in the middle and begun again while programs go on show nothing torn and end equal",
  ignore,
  async fn() {
    await using replication = await openReplication();
    await fillSource(replication);
    const programs = startPrograms(replication, 3);
    await replication.watch();
    for (let round = 0; round < 4; round++) {
      replication.daemon!.kill("SIGKILL");
      await replication.daemon!.ended();
      await programs.further(30);
      await replication.startWatching();
      await programs.further(40 + round * 30);
    }
    await programs.end();
    await replication.waitForState("live");
    await flushedEqual(replication);
  },
});
