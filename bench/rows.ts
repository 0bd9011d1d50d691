/**
 * What is measured: one function a row of the table.
 * @module
 */
import { assertSameTree } from "../tests/testing/manifest.ts";
import { makeTree, SeededRandom, writeBigFile } from "../tests/testing/tree_maker.ts";
import { type Contender, type Replica, startRsync, startUnderstudy } from "./contenders.ts";
import { measure, type Sample, summarize, type Summary } from "./measure.ts";

/** Rows that set both programs side by side. */
export type ComparedRow = "small-first" | "small-again" | "big-random" | "big-text" | "blocks";

/** What one program needed for one row. */
export interface Outcome {
  contender: string;
  seconds: Summary;
  cpuSeconds: Summary;
  /** Bytes on the network in one further run, counted by a proxy. */
  bytes: number;
}

/** One row, both programs. */
export interface Comparison {
  row: ComparedRow;
  title: string;
  outcomes: Outcome[];
}

/** How the rows are measured. */
export interface BenchOptions {
  /** Empty directory on the file system to measure. */
  directory: string;
  rounds: number;
  /** Given to every `understudy mirror`. */
  mirrorArgs: string[];
  /** Divides counts and sizes, to try the bench itself. */
  scale: number;
  /** Programs to run: both by default. */
  contenders: ("rsync" | "understudy")[];
  /** Told what is going on. */
  report(line: string): void;
}

const SMALL_FILE_COUNT = 20_000;
const BIG_FILE_SIZE = 1 << 30;
const CHANGED_BLOCK_COUNT = 20;
const CHANGED_BLOCK_SIZE = 4096;

/** How a row is prepared and what is timed. */
interface RowPlan {
  title: string;
  /** Fills the source directory. */
  makeSource(source: string, scale: number): void;
  /** What is timed: the first mirror of a new replica, or one more after `change`. */
  timed: "first" | { again: (source: string, seed: number) => void };
}

const plans: Record<ComparedRow, RowPlan> = {
  "small-first": {
    title: `first mirror of ${SMALL_FILE_COUNT.toLocaleString("en")} files of 1 to 16 KiB`,
    makeSource: makeSmallFiles,
    timed: "first",
  },
  "small-again": {
    title: `${SMALL_FILE_COUNT.toLocaleString("en")} files again, nothing changed`,
    makeSource: makeSmallFiles,
    timed: { again: () => {} },
  },
  "big-random": {
    title: "first mirror of 1 GiB that does not compress",
    makeSource: (source, scale) => writeBigFile(`${source}/big`, BIG_FILE_SIZE / scale),
    timed: "first",
  },
  "big-text": {
    title: "first mirror of 1 GiB of text",
    makeSource: (source, scale) => writeBigFile(`${source}/big`, BIG_FILE_SIZE / scale, { content: "text" }),
    timed: "first",
  },
  "blocks": {
    title: `${CHANGED_BLOCK_COUNT} changed blocks of 4 KiB in 1 GiB`,
    makeSource: (source, scale) => writeBigFile(`${source}/big`, BIG_FILE_SIZE / scale),
    timed: { again: (source, seed) => changeBlocks(`${source}/big`, seed) },
  },
};

/** Names of all rows that {@linkcode compare} can measure, in order. */
export const comparedRows = Object.keys(plans) as ComparedRow[];

/**
 * Measures one row: in each round every program once, in turning order (A B, B A, A B …), the copies compared with the
 * source after the last one, then once more through a proxy that counts bytes.
 */
export async function compare(row: ComparedRow, options: BenchOptions): Promise<Comparison> {
  const { directory, rounds, scale, report } = options;
  const plan = plans[row];
  const source = `${directory}/source`;
  await Deno.mkdir(source);
  report(`${row}: making the source`);
  plan.makeSource(source, scale);
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(source, { recursive: true }));
  const contenders: Contender[] = [];
  for (const name of options.contenders) {
    const own = `${directory}/${name}`;
    await Deno.mkdir(own);
    stack.defer(() => Deno.remove(own, { recursive: true }));
    const starting = name === "rsync" ? startRsync(own) : startUnderstudy(own, options.mirrorArgs);
    contenders.push(stack.use(await starting));
  }
  const samples = plan.timed === "first"
    ? await timeFirst(contenders, { source, rounds, report })
    : await timeAgain(contenders, { source, rounds, report, change: plan.timed.again });
  const outcomes: Outcome[] = [];
  for (const [i, contender] of contenders.entries()) {
    outcomes.push({
      contender: contender.name,
      seconds: summarize(samples[i].map((sample) => sample.seconds)),
      cpuSeconds: summarize(samples[i].map((sample) => sample.cpuSeconds)),
      bytes: await countBytes(contender, source, { timed: plan.timed, seed: rounds + 1 + i }),
    });
  }
  return { row, title: plan.title, outcomes };
}

interface TimeOptions {
  source: string;
  rounds: number;
  report(line: string): void;
}

/** Times the first mirror of a new replica in each round. */
async function timeFirst(contenders: Contender[], options: TimeOptions): Promise<Sample[][]> {
  const { source, rounds, report } = options;
  const samples: Sample[][] = contenders.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const i of turn(contenders.length, round)) {
      await using replica = await contenders[i].replica(source);
      samples[i].push(await measure(() => replica.mirror(), contenders[i].servers));
      report(`  round ${round + 1} ${contenders[i].name}: ${samples[i].at(-1)!.seconds.toFixed(3)} s`);
      if (round === rounds - 1) await assertSameTree(source, replica.directory);
    }
  }
  return samples;
}

/** Times one more mirror of an equal replica, after `change`, in each round. */
async function timeAgain(
  contenders: Contender[],
  options: TimeOptions & { change: (source: string, seed: number) => void },
): Promise<Sample[][]> {
  const { source, rounds, report, change } = options;
  const samples: Sample[][] = contenders.map(() => []);
  await using stack = new AsyncDisposableStack();
  const replicas: Replica[] = [];
  for (const contender of contenders) {
    const replica = stack.use(await contender.replica(source));
    await replica.mirror();
    replicas.push(replica);
  }
  for (let round = 0; round < rounds; round++) {
    change(source, round + 1);
    for (const i of turn(contenders.length, round)) {
      samples[i].push(await measure(() => replicas[i].mirror(), contenders[i].servers));
      report(`  round ${round + 1} ${contenders[i].name}: ${samples[i].at(-1)!.seconds.toFixed(3)} s`);
    }
  }
  for (const replica of replicas) await assertSameTree(source, replica.directory);
  return samples;
}

/** What the timed part of a row puts on the network, in a run of its own. */
async function countBytes(
  contender: Contender,
  source: string,
  { timed, seed }: { timed: RowPlan["timed"]; seed: number },
): Promise<number> {
  await using replica = await contender.replica(source, { countBytes: true });
  if (timed === "first") {
    await replica.mirror();
    return replica.bytes();
  }
  await replica.mirror();
  const before = replica.bytes();
  timed.again(source, seed);
  await replica.mirror();
  await assertSameTree(source, replica.directory); // bytes of a wrong copy do not count
  return replica.bytes() - before;
}

/** Who runs when: 0 1, 1 0, 0 1 … */
function turn(count: number, round: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  return round % 2 === 0 ? order : order.reverse();
}

function makeSmallFiles(source: string, scale: number): void {
  makeTree(source, { fileCount: SMALL_FILE_COUNT / scale, sizes: [1024, 16_384] });
}

function changeBlocks(path: string, seed: number): void {
  const random = new SeededRandom(1000 + seed);
  using file = Deno.openSync(path, { write: true });
  const blockCount = Math.floor(Deno.statSync(path).size / CHANGED_BLOCK_SIZE);
  for (let i = 0; i < CHANGED_BLOCK_COUNT; i++) {
    file.seekSync(random.between(0, blockCount) * CHANGED_BLOCK_SIZE, Deno.SeekMode.Start);
    file.writeSync(random.bytes(CHANGED_BLOCK_SIZE));
  }
  // rsync compares whole seconds, and would miss a change within the second of the one before.
  file.utimeSync(1_600_000_000 + 10 * seed, 1_600_000_000 + 10 * seed);
}
