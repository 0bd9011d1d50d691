/**
 * A source, its target and the line between them, all real parts of ours, over simulated disks and in simulated time:
 * what happens depends on the history alone.
 *
 * What is checked, and when:
 *
 * | always                  | no message breaks the protocol, nothing unforeseen ends a side; the window keeps its bound |
 * | after each mishap       | each file at a live name is complete: a version that the source had                        |
 * | at each new session     | what was acked is durable at the target, whatever happened to it                           |
 * | at rest                 | the replica is the tree, nothing is left in staging, no problem remains                    |
 *
 * @module
 */
import { hex } from "../../src/base/bytes.ts";
import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import { joinPath } from "../../src/base/path.ts";
import type { Hint } from "../../src/intercept/interceptor.ts";
import { limits } from "../../src/base/limits.ts";
import type { Tree } from "../../src/sys/file_system.ts";
import { befall, isTreeAction, type TreeAction, type WorldAction } from "../source/tree_actions.ts";
import { Trouble } from "../testing/faulty_file_system.ts";
import { lookBelow, Pair } from "../testing/loopback.ts";
import { SimulatedActor } from "./actor.ts";
import { SimulatedDisk, type SimulatedTree } from "./disk.ts";
import { Random } from "./random.ts";
import { SimulatedTime } from "./time.ts";

/** What may happen in a simulated world besides. */
export type Mishap =
  /** The target's machine loses power. */
  | { do: "cut power"; seed: number }
  /** Every change of the target's disk fails from now on, until it is `"well"` again. */
  | { do: "disk"; state: "ENOSPC" | "EIO" | "EROFS" | "well" }
  /** So many changes of the target's disk go well, one fails. */
  | { do: "disk fails once"; after: number; code: "ENOSPC" | "EIO" }
  /** Nobody can reach the target for so long, milliseconds. */
  | { do: "outage"; ms: number }
  /** A second session takes the place of the first, which is still open. */
  | { do: "reconnect" }
  | { do: "hold" | "resume" }
  | { do: "pass"; ms: number };

/** One step of a history. */
export type SimulatedAction = TreeAction | WorldAction | Mishap;

/** What all may take until it is at rest, in simulated milliseconds. */
const REST_MS = 600_000;
/** What passes with each step of a history. */
const STEP_MS = 1;

/** A world. Time is simulated from its making until it is disposed of. */
export class SimulatedWorld implements AsyncDisposable {
  readonly #time: SimulatedTime;
  readonly #targetDisk: SimulatedDisk;
  readonly #actor: SimulatedActor;
  readonly #pair: Pair;
  readonly #source: SimulatedTree;
  #unheard: Hint[] = [];
  /** Digests of all contents that files of the source ever had. */
  readonly #versions = new Set<string>();
  /** What the target acked before it fell, until it is known whether it kept its word. */
  #acked: { streamId: string; sequence: number } | undefined;

  private constructor(time: SimulatedTime, disks: [SimulatedDisk, SimulatedDisk], pair: Pair) {
    this.#time = time;
    const [sourceDisk, targetDisk] = disks;
    this.#targetDisk = targetDisk;
    this.#pair = pair;
    this.#source = sourceDisk.openTree(pair.sourceRoot);
    this.#actor = new SimulatedActor(this.#source);
  }

  /** @param directory An empty directory, for the databases. */
  static async open(directory: string, seed: number): Promise<SimulatedWorld> {
    const time = new SimulatedTime(seed);
    try {
      const nowMs = () => time.clock.nowMs();
      const disks: [SimulatedDisk, SimulatedDisk] = [
        new SimulatedDisk({ nowMs, device: 1 }),
        new SimulatedDisk({ nowMs, device: 2, syncAll: seed % 2 === 0 }),
      ];
      const pair = await Pair.open({
        directory,
        clock: time.clock,
        sourceFileSystem: disks[0],
        targetFileSystem: disks[1],
        heard: () => Promise.resolve(world.#hear(Infinity)).then(() => true),
      });
      const world: SimulatedWorld = new SimulatedWorld(time, disks, pair);
      return world;
    } catch (error) {
      time[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Lives a history to its end, and on until all is at rest.
   *
   * @returns What the target was told, an op a line.
   */
  async live(history: SimulatedAction[]): Promise<string[]> {
    // A source found empty keeps its replica from being emptied too.
    this.#change({ do: "write", path: "kept", size: 10 });
    this.#pair.start();
    for (const action of history) {
      await this.#step(action);
      await this.#time.pass(STEP_MS);
      this.#pair.target.retry();
      this.#check();
    }
    await this.#rest();
    return this.#pair.takeOps();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#pair[Symbol.asyncDispose]();
    } finally {
      this.#time[Symbol.dispose]();
    }
  }

  async #step(action: SimulatedAction): Promise<void> {
    if (isTreeAction(action)) return this.#change(action);
    const { target } = this.#pair;
    switch (action.do) {
      case "hear":
        return this.#hear(action.count);
      case "overflow":
        this.#unheard = [];
        return this.#pair.hint(lookBelow(""));
      case "turn":
        return await this.#time.pass(STEP_MS, action.count);
      case "pass":
        return await this.#time.pass(action.ms);
      case "restart source":
        return await this.#restartSource(action.saves);
      case "crash target":
        this.#noteAcked();
        return befall(target, action);
      case "cut":
      case "delay":
      case "crash target at call":
        return befall(target, action);
      case "cut power":
        this.#noteAcked();
        target.crash();
        return this.#targetDisk.cutPower(new Random(action.seed));
      case "disk":
        target.trouble = action.state === "well" ? undefined : new Trouble(action.state, () => true);
        return;
      case "disk fails once": {
        let left = action.after;
        target.trouble = new Trouble(action.code, () => left-- === 0);
        return;
      }
      case "outage":
        target.isDown = true;
        target.cut();
        await this.#time.pass(action.ms);
        target.isDown = false;
        return;
      case "reconnect":
        return target.cut({ keepsTail: true });
      case "hold":
        return this.#pair.replicator.hold("2026-01-01T00:00:00.000Z");
      case "resume":
        return this.#pair.replicator.resume();
      case "settle":
        return await this.#rest();
    }
  }

  #change(action: TreeAction): void {
    this.#unheard.push(...this.#actor.act(action));
    for (const [, line] of linesOf(this.#source)) this.#versions.add(line.contents);
  }

  #hear(count: number): void {
    if (this.#pair.isRunning) this.#pair.hint(...this.#unheard.splice(0, count));
  }

  async #restartSource(saves: boolean): Promise<void> {
    const stopping = this.#pair.stop({ saves });
    let isStopped = false;
    void stopping.then(() => isStopped = true);
    for (let ms = 0; !isStopped; ms++) {
      assert(ms < REST_MS, "the source does not stop");
      await this.#time.pass(1);
    }
    await stopping;
    // A new source watches first and then scans: what was not heard is found.
    this.#unheard = [];
    this.#pair.start();
  }

  /** Ends all trouble, and waits until nothing is to be done any more. */
  async #rest(): Promise<void> {
    const { target, replicator } = this.#pair;
    target.trouble = undefined;
    replicator.resume();
    this.#hear(Infinity);
    const stop = new AbortController();
    let settled: boolean | undefined;
    const settling = replicator.settled(stop.signal).then((value) => settled = value);
    // A target that fell comes back and cleans up, though nothing is to be sent to it.
    const isAtRest = () => settled !== undefined && replicator.status().state === "live";
    for (let ms = 0; !isAtRest() && ms < REST_MS; ms += 10) {
      await this.#time.pass(10);
      this.#pair.target.retry();
      this.#check();
    }
    const status = JSON.stringify(replicator.status());
    stop.abort();
    await settling;
    assert(settled, `it does not come to rest: ${status}`);
    const problems = replicator.problems.list().map(({ path, op, reason }) => `${op} ${path}: ${reason}`);
    assertEquals(
      [...linesOf(this.#replica())].map(([path, line]) => textOf(path, line)),
      [...linesOf(this.#source)].map(([path, line]) => textOf(path, line)),
      `the replica differs; problems: ${problems}`,
    );
    assertEquals(problems, [], "problems remain");
    using staging = this.#targetDisk.openTree(`${target.stateDirectory}/staging`);
    assertEquals(staging.list(""), [], "something is left in staging");
  }

  /** What must be so at every moment. */
  #check(): void {
    this.#pair.check();
    const { stats } = this.#pair.replicator.lane;
    assert(stats.windowBytesPeak <= limits.windowBytes + limits.messageSizeMax, "the window keeps its bound");
    for (const [path, { kind, size, contents }] of linesOf(this.#replica())) {
      // What is read of a larger one while it changes may be of two versions; it is read again at rest.
      if (kind !== "file" || size >= limits.signatureFileSizeMin || this.#versions.has(contents)) continue;
      throw new Error(`${path} is no version that the source ever had: ${size} bytes`);
    }
    const { durable } = this.#pair.target;
    if (!this.#acked || !durable) return;
    const isSameStream = durable.streamId === this.#acked.streamId;
    assert(!isSameStream || durable.sequence >= this.#acked.sequence, "the target keeps what it acked");
    this.#acked = undefined;
  }

  #noteAcked(): void {
    const { durable } = this.#pair.target;
    if (durable) {
      this.#acked = { streamId: durable.streamId, sequence: this.#pair.replicator.lane.ackedSequence };
    }
  }

  #replica(): Tree {
    return this.#targetDisk.openTree(this.#pair.replicaRoot);
  }
}

/** What there is to say of an entry. */
interface Line {
  kind: string;
  size: number;
  attributes: string;
  /** Digest of a file, target of a link. */
  contents: string;
  /** The first path of the same file; `""` if this is it. */
  sameAs: string;
}

/** All entries of a tree, in order. */
function* linesOf(
  tree: Tree,
  path = "",
  firstNames = new Map<bigint, string>(),
): Generator<[string, Line]> {
  const { kind, mode, uid, gid, mtimeNs, size, ino, linkCount } = tree.stat(path)!;
  const contents = kind === "symlink"
    ? tree.readLink(path)
    : kind === "file"
    ? digestOf(tree, path, size)
    : "";
  const xattrs = tree.xattrs(path).map(({ name, value }) => ` ${name}=${hex(value)}`).join("");
  const attributes = `${kind === "symlink" ? "" : mode.toString(8)} ${uid}:${gid} ${mtimeNs}${xattrs}`;
  const sameAs = kind !== "directory" && linkCount > 1 ? firstNames.get(ino) ?? "" : "";
  if (sameAs === "") firstNames.set(ino, path);
  yield [path || ".", { kind, size: kind === "file" ? size : 0, attributes, contents, sameAs }];
  if (kind !== "directory") return;
  for (const name of tree.list(path).map((entry) => entry.name).sort()) {
    yield* linesOf(tree, joinPath(path, name), firstNames);
  }
}

function digestOf(tree: Tree, path: string, size: number): string {
  using file = tree.open(path, { access: "read" });
  const bytes = new Uint8Array(size);
  file.read(bytes, 0);
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}

function textOf(path: string, { kind, size, attributes, contents, sameAs }: Line): string {
  return `${path} ${kind} ${attributes} ${size} ${contents} ${sameAs}`;
}
