/**
 * A replica as a server has it: its Worker while a source is connected, and the holds that keep the live tree as it is,
 * also while sources come and go.
 * @module
 */
import { once } from "../base/once.ts";
import { ApplyClient } from "./apply_client.ts";
import type { ApplyPlace } from "./apply_messages.ts";

/** What a source is told while its replica is held. */
const HELD_REASON = "the replica is being exported: changes wait until that is done";

/** One replica of a server. */
export class ServedReplica {
  readonly #place: Omit<ApplyPlace, "create">;
  #client: ApplyClient | undefined;
  #holds = 0;
  /** The Worker is opened, closed, held and released one after the other. */
  #lastTurn: Promise<unknown> = Promise.resolve();

  constructor(place: Omit<ApplyPlace, "create">) {
    this.#place = place;
  }

  /** The Worker, while it is open. */
  get client(): ApplyClient | undefined {
    return this.#client;
  }

  /**
   * Opens the replica for a source, makes it if need be, and recovers it. It is held from the beginning if it is.
   *
   * @throws {CommandError | CorruptionError | SystemError} As `openReplica` does.
   */
  open(): Promise<ApplyClient> {
    return this.#inTurn(async () => {
      const client = await ApplyClient.open({ ...this.#place, create: true });
      this.#client = client;
      if (this.#holds > 0) await client.hold(HELD_REASON);
      return client;
    });
  }

  /** Closes it in order. Never throws. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#client?.close();
      this.#client = undefined;
    });
  }

  /**
   * Keeps the live tree as it is until `signal` aborts, from a group boundary on and recovered if need be.
   *
   * @throws {TransientError} If the machine's trouble left a group half done.
   * @throws {CommandError | CorruptionError | SystemError} If the replica cannot be opened.
   */
  async hold(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#holds++;
    const release = once(() => this.#release());
    signal.addEventListener("abort", release, { once: true });
    try {
      await this.#inTurn(() => this.#bringToRest());
      signal.throwIfAborted();
    } catch (error) {
      signal.removeEventListener("abort", release);
      release();
      throw error;
    }
  }

  /**
   * Does something with the replica closed, recovered and out of reach of sources. Its session must have been closed.
   *
   * @throws {CommandError | CorruptionError | SystemError} If the replica cannot be opened.
   */
  atRest<T>(action: () => T): Promise<T> {
    return this.#inTurn(async () => {
      await this.#client?.close();
      this.#client = undefined;
      await this.#bringToRest();
      return action();
    });
  }

  async #bringToRest(): Promise<void> {
    if (this.#client !== undefined) return await this.#client.hold(HELD_REASON);
    // Nobody has opened it since the last server, which may have left a group half done.
    const client = await ApplyClient.open({ ...this.#place, create: false });
    await client.close();
  }

  #release(): void {
    this.#holds--;
    void this.#inTurn(() => {
      if (this.#holds === 0) this.#client?.release();
      return Promise.resolve();
    });
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(action);
    // Who asked hears of a failure; the next turn comes nevertheless.
    this.#lastTurn = turn.catch(() => {});
    return turn;
  }
}
