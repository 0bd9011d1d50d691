/**
 * A connection to a daemon that stands: for what lasts only as long as the asker lives. Single questions go by
 * `callControl`.
 * @module
 */
import { utf8 } from "../base/bytes.ts";
import { CommandError, errorCode, reasonOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { quote } from "../base/path.ts";
import { durationOption } from "../base/units.ts";
import type { ControlCommands } from "./api.ts";
import { LineReader, writeAll } from "./line_reader.ts";
import { resolveSocketPath } from "./socket_path.ts";
import { resultOf } from "./wire_error.ts";

/** How {@linkcode ControlConnection.ask} waits. */
export interface AskOptions {
  /** Milliseconds until the daemon counts as stuck. */
  timeoutMs: number;
  signal: AbortSignal;
}

/** One connection. Disposing hangs up, which ends what the daemon keeps for it. */
export class ControlConnection implements Disposable {
  readonly #conn: Deno.Conn;
  readonly #ended = new AbortController();
  #answer: PromiseWithResolvers<string> | undefined;

  private constructor(conn: Deno.Conn) {
    this.#conn = conn;
    void this.#readAnswers();
  }

  /** Connects to a control socket. @returns `undefined` if no living daemon answers there. */
  static async open(path: string): Promise<ControlConnection | undefined> {
    try {
      return new ControlConnection(
        await Deno.connect({ transport: "unix", path: resolveSocketPath(path) }),
      );
    } catch (error) {
      if (["ENOENT", "ECONNREFUSED", "ENOTDIR"].includes(errorCode(error))) return undefined;
      throw new CommandError(`Cannot reach a daemon on ${quote(path)}: ${reasonOf(error)}`, { cause: error });
    }
  }

  /** Aborts when the daemon hangs up, or this side does. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /**
   * Asks, and returns the answer. One question at a time; one that is given up ends the connection, since its answer
   * may still come.
   *
   * @throws {CommandError} If the daemon hangs up, is stuck, or says so; other classes as the daemon threw them.
   */
  async ask<Name extends keyof ControlCommands>(
    command: Name,
    args: ControlCommands[Name]["args"],
    { timeoutMs, signal }: AskOptions,
  ): Promise<ControlCommands[Name]["result"]> {
    signal.throwIfAborted();
    const answer = this.#answer = Promise.withResolvers<string>();
    const fail = (reason: string) =>
      answer.reject(new CommandError(`Cannot run ${quote(command)}: the daemon ${reason}`));
    const hungUp = () => fail("hung up");
    const interrupted = () => answer.reject(signal.reason);
    const timer = setTimeout(() => fail(`gave no answer in ${durationOption(timeoutMs)}`), timeoutMs);
    this.ended.addEventListener("abort", hungUp, { once: true });
    signal.addEventListener("abort", interrupted, { once: true });
    try {
      if (this.ended.aborted) hungUp();
      else void writeAll(this.#conn, utf8(JSON.stringify({ command, args }) + "\n")).catch(hungUp);
      return resultOf(await this.#orEnd(answer.promise)) as ControlCommands[Name]["result"];
    } finally {
      clearTimeout(timer);
      this.ended.removeEventListener("abort", hungUp);
      signal.removeEventListener("abort", interrupted);
    }
  }

  [Symbol.dispose](): void {
    if (this.ended.aborted) return;
    this.#ended.abort();
    this.#conn.close();
  }

  async #orEnd(answer: Promise<string>): Promise<string> {
    try {
      return await answer;
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Reading all the time tells at once when the daemon hangs up. */
  async #readAnswers(): Promise<void> {
    const lines = new LineReader(this.#conn, limits.controlAnswerSizeMax);
    try {
      for (let line = await lines.read(); line !== undefined; line = await lines.read()) {
        this.#answer?.resolve(line);
      }
    } catch {
      // However the line broke: it has ended, and whoever asks or waits is told that.
    } finally {
      this[Symbol.dispose]();
    }
  }
}
