/**
 * Everything of one lane that waits to be looked at or sent: dirty paths, directories to be scanned, large files. Live
 * work and the mirror's take their steps side by side.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";
import type { Hint } from "../intercept/interceptor.ts";
import type { Detector } from "./detect.ts";
import { type DirtyPath, DirtyQueue } from "./dirty_queue.ts";
import type { Priority } from "./lane.ts";
import type { Certainty, Resting, RestingName } from "./resting.ts";
import { Scans } from "./scans.ts";
import { type Ticket, Tickets } from "./tickets.ts";
import { Transfers } from "./transfers.ts";

/** What an agenda needs of its replicator. */
export interface AgendaOptions {
  detector: Detector;
  clock: Clock;
  /** Paths that a scan of everything begins at. */
  roots: string[];
  resting: Resting;
  /** Sends one large file; never throws. */
  sendLarge: (path: string, priority: Priority, ticket: Ticket) => Promise<void>;
  /** Something was added, or came to its end. */
  onChange: () => void;
}

/** What is to be done, and how the next step of it is taken. */
export class Agenda {
  /** Times that everything was looked at because events were lost. */
  rescans = 0;
  /** Wall clock of the last finished scan of everything; 0 before the first. */
  lastVerifyAtMs = 0;
  /** How long the last one took that events made necessary, milliseconds; 0 before it. */
  everythingTakesMs = 0;

  /** Whether the scan of everything that goes on, or comes next, was asked for because events were lost. */
  #searches = false;
  /** Dirty paths that are being looked at, which takes long where there is no room for what is found. */
  #inWork: DirtyPath[] = [];
  /** Whether it stands for paths that there was no room for. */
  #mirrorsChanges = false;
  readonly #options: AgendaOptions;
  readonly #tickets: Tickets;
  readonly #dirty: DirtyQueue;
  readonly #liveScans: Scans;
  readonly #mirrorScans: Scans;
  readonly #transfers: Transfers;

  constructor(tickets: Tickets, options: AgendaOptions) {
    this.#options = options;
    this.#tickets = tickets;
    this.#dirty = new DirtyQueue(tickets);
    this.#liveScans = new Scans(options.detector, { tickets, priority: "live" });
    this.#mirrorScans = new Scans(options.detector, { tickets, priority: "mirror" });
    this.#transfers = new Transfers({
      tickets,
      nowMs: () => options.clock.nowMs(),
      send: options.sendLarge,
      onDirtyAgain: (path, ticket) => this.markDirty(path, ticket),
      onIdle: options.onChange,
    });
  }

  // ——— What waits ———

  /** Dirty paths. */
  get dirtyCount(): number {
    return this.#dirty.size + this.#inWork.length;
  }

  /** Large files that wait or are on their way. */
  get transfersCount(): number {
    return this.#transfers.count;
  }

  /** Changes that wait without their data: dirty paths and large files. */
  get changesCount(): number {
    return this.dirtyCount + this.transfersCount;
  }

  /** Ticket of the oldest work, `Infinity` if there is none. */
  get oldestTicket(): Ticket {
    return Math.min(this.#tickets.oldest ?? Infinity, this.#dirty.oldestTicket ?? Infinity);
  }

  /** Since when the oldest change waits that was heard of; `Infinity` if there is none. */
  get oldestSinceMs(): number {
    const dirty = this.#inWork[0]?.sinceMs ?? this.#dirty.oldestSinceMs ?? Infinity;
    return Math.min(dirty, this.#transfers.oldestSinceMs ?? Infinity);
  }

  /** Whether everything was looked at, and what was found then was sent. What changed since then may wait. */
  get isMirrorDone(): boolean {
    return this.#mirrorScans.isIdle && this.#transfers.isFirstLookDone &&
      this.#options.resting.isFirstLookDone;
  }

  /** Whether nothing waits at all. */
  get isIdle(): boolean {
    const isStill = this.#dirty.size === 0 && this.#liveScans.isIdle && this.#transfers.count === 0;
    return isStill && this.isMirrorDone;
  }

  /** Whether no scan of the mirror waits or goes on. */
  get isMirrorScanIdle(): boolean {
    return this.#mirrorScans.isIdle;
  }

  /** Whether everything is looked at because more paths waited than could be remembered. */
  get mirrorsChanges(): boolean {
    return this.#mirrorsChanges;
  }

  isTransferring(path: string): boolean {
    return this.#transfers.isRunning(path);
  }

  // ——— What is added ———

  /** @param ticket That of the work which leaves the rest of itself to this path. @default a new one */
  markDirty(path: string, ticket?: Ticket): void {
    if (this.#dirty.isFull) {
      this.#dirty.clear();
      this.mirrorWhatChanged();
    }
    this.#dirty.add(path, this.#options.clock.nowMs(), ticket);
    this.#options.onChange();
  }

  lookBelow(path: string, ticket?: Ticket): void {
    if (path === "") {
      this.rescans++;
      this.#searches = true;
      this.#options.detector.forgetAhead();
      const { clock } = this.#options;
      const startMs = clock.monotonicMs();
      const onDone = () => void (this.everythingTakesMs = clock.monotonicMs() - startMs);
      this.#mirrorScans.add("", { ticket, onDone });
    } else {
      this.#liveScans.add(path, { ticket });
    }
    this.#options.onChange();
  }

  takeMove({ from, to, directory }: Extract<Hint, { kind: "moved" }>, ticket?: Ticket): void {
    this.markDirty(from, ticket);
    this.markDirty(to, ticket);
    if (directory) this.#dirty.move(from, to, ticket);
  }

  /** The contents of this large file are to be sent. */
  transfer(path: string, priority: Priority, ticket: Ticket): void {
    this.#transfers.add(path, priority, ticket);
  }

  /** Beyond all bounds only one thing is remembered: look at everything (FEATURES Q7). */
  mirrorWhatChanged(): void {
    this.#mirrorsChanges = true;
    this.lookAtEverything();
  }

  /** Looks at everything anew, for whoever has waited longest. */
  lookAtEverything(): void {
    this.#options.detector.forgetAhead();
    this.goOnToEverything();
  }

  /** Looks at everything, save for what a listing that was just taken showed to be equal. */
  goOnToEverything(): void {
    for (const root of this.#options.roots) {
      this.#mirrorScans.add(root, { ticket: 0, onDone: () => this.#noteVerified(root) });
    }
  }

  /** Looks at everything, a directory a step. Resolves at the end. */
  verify(): Promise<void> {
    return new Promise((resolve) => {
      const onDone = () => {
        this.#noteVerified("");
        resolve();
      };
      this.#options.detector.forgetAhead();
      this.#mirrorScans.add("", { onDone });
      this.#options.onChange();
    });
  }

  /** Looks at a directory with everything below, at the pace of the mirror. Resolves when it was done. */
  lookAt(path: string): Promise<void> {
    return new Promise((resolve) => {
      this.#options.detector.forgetAhead();
      this.#mirrorScans.add(path, { onDone: resolve });
      this.#options.onChange();
    });
  }

  /** Looks at everything, without anybody waiting for it. */
  lookOnce(): void {
    this.#options.detector.forgetAhead();
    this.#mirrorScans.add("");
    this.#options.onChange();
  }

  /** A stream starts over: its scan will cover all that waits, save the dirty paths, which stay. */
  startOver(): void {
    this.#liveScans.clear();
    this.#mirrorScans.clear();
    this.#options.detector.forgetAhead();
    this.#transfers.clear();
    this.#options.resting.clear();
  }

  // ——— Steps ———

  /** One step of live work. @returns Whether there was any. */
  async liveStep(): Promise<boolean> {
    const batch = this.#dirty.take(limits.detectBatchPaths);
    if (batch.length > 0) await this.#lookAtDirty(batch);
    const isScanning = !this.#liveScans.isIdle;
    if (isScanning) await this.#liveScans.step();
    const { names, certainty } = this.#options.resting.take({
      oldestTicket: Math.min(this.#dirty.oldestTicket ?? Infinity, this.#liveScans.oldestTicket),
      isSearching: this.#isSearching,
    });
    if (names.length > 0) await this.#lookAtRested(names, certainty);
    return batch.length > 0 || isScanning || names.length > 0;
  }

  /** Whether a scan goes on because events were lost: it finds what they would have told. */
  get #isSearching(): boolean {
    return this.#searches && !this.#mirrorScans.isIdle;
  }

  async #lookAtRested(names: RestingName[], certainty: Certainty): Promise<void> {
    const { detector, resting } = this.#options;
    try {
      await detector.look(names, "live", certainty);
    } catch (error) {
      resting.putBack(names);
      throw error;
    }
    for (const { hold } of names) hold[Symbol.dispose]();
  }

  /** One step of the mirror. @returns Whether there was any. */
  async mirrorStep(): Promise<boolean> {
    if (this.#mirrorScans.isIdle || this.#transfers.waitingCount >= limits.transfersWaitingMax) return false;
    await this.#mirrorScans.step();
    if (this.#mirrorScans.isIdle) this.#searches = this.#mirrorsChanges = false;
    return true;
  }

  /** Resolves when no large file is on its way any more; none is begun. */
  end(): Promise<void> {
    return this.#transfers.end();
  }

  async #lookAtDirty(batch: DirtyPath[]): Promise<void> {
    using _hold = this.#tickets.hold(Math.min(...batch.map(({ ticket }) => ticket)));
    this.#inWork = batch;
    try {
      await this.#options.detector.look(batch, "live");
    } catch (error) {
      for (const { path, sinceMs, ticket } of batch) this.#dirty.add(path, sinceMs, ticket);
      throw error;
    } finally {
      this.#inWork = [];
    }
  }

  #noteVerified(root: string): void {
    if (root === "") this.lastVerifyAtMs = this.#options.clock.nowMs();
  }
}
