/**
 * What a replicator does from time to time: saves the index, tells the target how much waits, follows mounts, and looks
 * whether an emptied root is filled again. Where nothing happens it does not even wake up.
 * @module
 */
import { limits } from "../base/limits.ts";
import type { Waiting, Welcome } from "../wire/message.ts";
import type { Agenda } from "./agenda.ts";
import type { Backlog } from "./backlog.ts";
import type { Bell } from "./bell.ts";
import type { Condition } from "./condition.ts";
import type { Connection } from "./connection.ts";
import type { Doubts } from "./doubts.ts";
import type { Lane } from "./lane.ts";
import type { Mounts } from "./mounts.ts";
import type { ReplicatorOptions } from "./replicator_options.ts";
import type { Stream } from "./stream.ts";

/** The parts of a replicator that upkeep concerns. */
export interface UpkeepOptions
  extends Pick<ReplicatorOptions, "clock" | "signal" | "tree" | "index" | "keeper"> {
  lane: Lane;
  stream: Stream;
  doubts: Doubts;
  connection: Connection;
  condition: Condition;
  agenda: Agenda;
  backlog: Pick<Backlog, "count">;
  mounts: Mounts;
  bell: Bell;
}

/** Upkeep of one replicator. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  /** What the target was told last in this session; `undefined` if it need not be told. */
  #told: Omit<Waiting, "ageMs"> | undefined;

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  /** A session begins. Targets before it took no `waiting` are not told. */
  connect({ waiting }: Pick<Welcome, "waiting">): void {
    // No number is the same as −1: the first one is told in any case.
    this.#told = waiting === true ? { changes: -1, isMirrored: false } : undefined;
  }

  /** Runs until the replicator is stopped. */
  async run(): Promise<void> {
    const { agenda, bell, clock, condition, mounts, signal, tree } = this.#options;
    while (!condition.isStopped) {
      await clock.sleep(limits.saveEveryMs, signal);
      this.save();
      this.tellWaiting();
      if (condition.isStopped) return;
      // What is kept open of a directory would keep its file system from being unmounted.
      tree.forgetDirectories();
      for (const path of mounts.takeChanged()) agenda.lookBelow(path);
      // An empty root is soon looked at. Whether it is filled again, no event may tell: it may have been mounted.
      if (condition.emptied !== "" && agenda.isMirrorScanIdle) agenda.lookOnce();
      const isQuiet = () =>
        condition.emptied === "" && mounts.isEmpty && !this.#hasToSave() && !this.#hasToTell;
      while (!condition.isStopped && isQuiet()) await bell.rung();
    }
  }

  /** Saves the index as of the last ack, and tells the target. */
  save(): void {
    const { connection, index, keeper, lane } = this.#options;
    if (!keeper || !this.#maySave) return;
    const sequence = keeper.save(index, lane.ackedSequence);
    if (sequence !== undefined && connection.state === "connected") lane.post({ type: "indexed", sequence });
  }

  /** Tells the target how much waits, if that is another number than was told last. */
  tellWaiting(): void {
    if (!this.#hasToTell) return;
    const { changes, isMirrored } = this.#told = this.#waiting;
    this.#options.lane.tell({
      type: "waiting",
      waiting: { changes, ageMs: Math.round(this.#options.condition.lagMs), isMirrored },
    });
  }

  get #hasToTell(): boolean {
    const { connection, stream } = this.#options;
    if (!this.#told || connection.state !== "connected" || !stream.isReady) return false;
    const { changes, isMirrored } = this.#waiting;
    return changes !== this.#told.changes || isMirrored !== this.#told.isMirrored;
  }

  get #waiting(): Omit<Waiting, "ageMs"> {
    const { agenda, backlog, lane, stream } = this.#options;
    return {
      changes: agenda.changesCount + backlog.count + lane.unackedOps,
      isMirrored: stream.isMirrored,
    };
  }

  #hasToSave(): boolean {
    const { index, keeper, lane } = this.#options;
    if (!keeper || !this.#maySave) return false;
    return keeper.savedSequence !== lane.ackedSequence || index.unsavedCount > 0;
  }

  /** What is saved is believed by the next run: so not before the target was asked about all that is in doubt. */
  get #maySave(): boolean {
    const { doubts, stream } = this.#options;
    return stream.isReady && doubts.areResolved;
  }
}
