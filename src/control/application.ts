/**
 * For applications in TypeScript: holds and resumes the replicas of a running source, waits for changes, reads its
 * status. Over its control socket, so as the user that it runs as.
 *
 * ```ts
 * const source = await connectSource({ state: "/var/lib/understudy" });
 * await source.flush();
 * {
 *   await using _held = await source.hold();
 *   await backUp(replica);
 * } // resumed here
 * ```
 * @module
 */
import { CommandError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { DaemonStatus, FlushResult, HoldResult } from "../base/status.ts";
import { ANSWER_GRACE_MS, callControl, findDaemon } from "./client.ts";

/** Which source is meant. */
export interface SourceChoice {
  /** State directory of its daemon. */
  state: string;
  /** Name of its set, where several daemons run there. */
  name?: string;
}

/** How long to wait, and when to give up. */
export interface WaitOptions {
  /** @default {30_000} */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** A running source. Holds no connection: each call makes its own. */
export interface RunningSource {
  status(): Promise<DaemonStatus>;
  /**
   * Returns when every change made before the call is on every target, save what could not be read or applied.
   *
   * @throws {CommandError} At the timeout.
   */
  flush(options?: WaitOptions): Promise<Pick<FlushResult, "problems">>;
  /**
   * Keeps the replicas as they are, or that of one target. Disposing resumes. A hold outlasts this process if it dies.
   *
   * @throws {CommandError} If they are not at rest at the timeout; they are held nevertheless.
   */
  hold(options?: WaitOptions & { target?: string }): Promise<HoldResult & AsyncDisposable>;
  resume(options?: { target?: string }): Promise<HoldResult>;
}

/** Finds a running source. @throws {CommandError} If none runs. @throws {UsageError} If several run. */
export async function connectSource(choice: SourceChoice): Promise<RunningSource> {
  const { path } = await findDaemon(choice);
  const resume = ({ target }: { target?: string } = {}) => callControl(path, "resume", { target });
  return {
    resume,
    status: () => callControl(path, "status", {}),
    async flush({ timeoutMs = 30_000, signal } = {}) {
      const { committed, waiting, problems } = await callControl(path, "flush", { timeoutMs }, {
        timeoutMs: timeoutMs + ANSWER_GRACE_MS,
        signal,
      });
      if (committed) return { problems };
      const states = waiting.map(({ target, state }) => `${quote(target)} is ${state}`).join(", ");
      throw new CommandError(`Cannot flush within ${timeoutMs} ms: ${states}`);
    },
    async hold({ target, timeoutMs = 30_000, signal } = {}) {
      const result = await callControl(path, "hold", { target, timeoutMs }, {
        timeoutMs: timeoutMs + ANSWER_GRACE_MS,
        signal,
      });
      const restless = result.targets.filter(({ isQuiet }) => !isQuiet).map((held) => quote(held.target));
      if (restless.length > 0) {
        throw new CommandError(`Cannot tell within ${timeoutMs} ms that ${restless.join(", ")} is at rest`);
      }
      return { ...result, [Symbol.asyncDispose]: async () => void await resume({ target }) };
    },
  };
}
