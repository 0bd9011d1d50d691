/**
 * Lets ops into a lane: one waits here until the window has room, and all do while answers of the target are awaited
 * that an op would make untrue.
 * @module
 */
import { TransientError } from "../base/errors.ts";
import type { Bell } from "./bell.ts";
import type { Lane, Priority } from "./lane.ts";

/** What a gate stands before. */
export interface GateOptions {
  lane: Lane;
  bell: Bell;
  /** Counts starts of the stream: who waited through one must not push. */
  course: () => number;
  /** Whether there is a session. */
  isConnected: () => boolean;
  isStopped: () => boolean;
  /** Opens flow rules for what waits, until the result is disposed. */
  hurry: () => Disposable;
  /** Nothing is sent, so nobody waits. */
  isDry: boolean;
}

/** The gate of one lane. */
export class Gate {
  readonly #options: GateOptions;
  #isClosed = false;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /**
   * Waits until an op of so many bytes may be pushed.
   *
   * @returns `false` if that took time, so that what was read is stale.
   * @throws {TransientError} If the stream was started anew meanwhile.
   */
  async room(bytes: number, priority: Priority): Promise<boolean> {
    const { lane, bell, course, isConnected, isStopped, isDry } = this.#options;
    // With nobody to send to, what changes stays a path: of a file that is rewritten many times one version travels.
    const isTaken = () => isConnected() || (priority === "live" && lane.keepsOnDisk);
    const hasRoom = () => !this.#isClosed && isTaken() && lane.hasRoom(bytes, priority);
    if (isDry || hasRoom()) return true;
    const before = course();
    using _hurry = this.#options.hurry();
    while (!hasRoom()) {
      if (isStopped()) throw new TransientError("Cannot push: stopped");
      await bell.rung();
    }
    if (before !== course()) throw new TransientError("Cannot push: the stream was started anew");
    return false;
  }

  /** Until the result is disposed nobody gets room. */
  close(): Disposable {
    this.#isClosed = true;
    return {
      [Symbol.dispose]: () => {
        this.#isClosed = false;
        this.#options.bell.ring();
      },
    };
  }

  /** Resolves when the target has acked everything pushed so far. @throws {TransientError} As {@linkcode room}. */
  async acked(): Promise<void> {
    const { lane, bell, course, isStopped } = this.#options;
    const [before, sequence] = [course(), lane.lastSequence];
    while (lane.ackedSequence < sequence) {
      await bell.rung();
      if (isStopped() || before !== course()) throw new TransientError("Cannot wait for acks: stopped");
    }
  }
}
