/**
 * Asks a running daemon, and finds it.
 * @module
 */
import { utf8 } from "../base/bytes.ts";
import { CommandError, errorCode, reasonOf, UsageError } from "../base/errors.ts";
import { durationOption } from "../base/units.ts";
import { limits } from "../base/limits.ts";
import { quote } from "../base/path.ts";
import { listSets, setDirectory, targetStateDirectory } from "../store/state_directory.ts";
import type { ControlCommands } from "./api.ts";
import { LineReader, writeAll } from "./line_reader.ts";
import { isAnswered } from "./server.ts";
import { controlSocketIn, resolveSocketPath } from "./socket_path.ts";
import { resultOf } from "./wire_error.ts";

/** What a daemon may take beyond the timeout of what it was asked for to say that it is over, milliseconds. */
export const ANSWER_GRACE_MS = 5_000;

/** How {@linkcode callControl} waits. */
export interface CallControlOptions {
  /** Milliseconds until the daemon counts as stuck. @default {10_000} */
  timeoutMs?: number;
  /** Gives up when aborted; the daemon then drops what was asked. */
  signal?: AbortSignal;
}

/** Which daemon is meant. */
export interface FindDaemonOptions {
  /** State directory to look in. */
  state: string;
  /** Name of a set, where several daemons run. */
  name?: string;
  /** Root of a target: its daemon is meant, and `state` is not looked at. */
  root?: string;
}

/** A running daemon. */
export interface Daemon {
  /** Control socket, for {@linkcode callControl}. */
  path: string;
  /** Name of its set, or the root of a target. */
  name: string;
}

/**
 * Asks a daemon and returns its answer.
 *
 * @param path Control socket, as given to `serveControl`.
 * @throws {CommandError} If the daemon cannot be reached, is stuck, or says so; other classes as the daemon threw them.
 */
export async function callControl<Name extends keyof ControlCommands>(
  path: string,
  command: Name,
  args: ControlCommands[Name]["args"],
  options?: CallControlOptions,
): Promise<ControlCommands[Name]["result"]>;
export async function callControl(
  path: string,
  command: string,
  args: unknown,
  options?: CallControlOptions,
): Promise<unknown>;
export async function callControl(
  path: string,
  command: string,
  args: unknown,
  options: CallControlOptions = {},
): Promise<unknown> {
  const { timeoutMs = 10_000, signal } = options;
  signal?.throwIfAborted();
  using conn = await connect(path);
  using deadline = closeAt(conn, timeoutMs, signal);
  try {
    await writeAll(conn, utf8(JSON.stringify({ command, args }) + "\n"));
    return parseAnswer(await new LineReader(conn, limits.controlAnswerSizeMax).read());
  } catch (error) {
    signal?.throwIfAborted();
    if (deadline.passed) {
      throw new CommandError(
        `Cannot run ${quote(command)}: the daemon gave no answer in ${durationOption(timeoutMs)}`,
      );
    }
    if (errorCode(error) === "") throw error;
    throw new CommandError(`Cannot run ${quote(command)}: the daemon hung up (${errorCode(error)})`, {
      cause: error,
    });
  }
}

/**
 * Finds the daemon that a command means: that of `root`, or of the set `name`, or the only one that runs.
 *
 * @throws {CommandError} If it does not run.
 * @throws {UsageError} If several run and none was named.
 */
export async function findDaemon(options: FindDaemonOptions): Promise<Daemon> {
  const { state, name, root } = options;
  if (root !== undefined) return await findTarget(root);
  if (name !== undefined) return await findSet(state, name);
  const running = await findDaemons(state);
  if (running.length === 1) return running[0];
  if (running.length === 0) throw new CommandError(`Cannot reach a daemon: none runs on ${quote(state)}`);
  const names = running.map((daemon) => quote(daemon.name)).join(", ");
  throw new UsageError(`Cannot choose a daemon: ${names} run on ${quote(state)}; choose with --name SET`);
}

/** All daemons that run on a state directory, sorted by name. */
export async function findDaemons(state: string): Promise<Daemon[]> {
  // The directory itself too: `--state ROOT/.understudy` names a target's.
  const candidates = [
    { path: controlSocketIn(state), name: state },
    ...listSets(state).map((name) => ({ path: controlSocketIn(setDirectory(state, name)), name })),
  ];
  const answered = await Promise.all(candidates.map((daemon) => isAnswered(daemon.path)));
  return candidates.filter((_, i) => answered[i]);
}

async function findTarget(root: string): Promise<Daemon> {
  const directory = targetStateDirectory(root);
  const path = controlSocketIn(directory);
  if (await isAnswered(path)) return { path, name: root };
  throw new CommandError(`Cannot reach a daemon: none runs on ${quote(directory)}`);
}

async function findSet(state: string, name: string): Promise<Daemon> {
  const path = controlSocketIn(setDirectory(state, name));
  if (await isAnswered(path)) return { path, name };
  throw new CommandError(`Cannot reach a daemon: none runs for set ${quote(name)} on ${quote(state)}`);
}

async function connect(path: string): Promise<Deno.Conn> {
  try {
    return await Deno.connect({ transport: "unix", path: resolveSocketPath(path) });
  } catch (error) {
    const code = errorCode(error);
    const reason = ["ENOENT", "ECONNREFUSED", "EINVAL"].includes(code) ? "none runs there" : reasonOf(error);
    throw new CommandError(`Cannot reach a daemon on ${quote(path)}: ${reason}`, { cause: error });
  }
}

/** Closes a connection when the time is over or the caller gives up, which ends every wait on it. */
function closeAt(conn: Deno.Conn, timeoutMs: number, signal?: AbortSignal): Disposable & { passed: boolean } {
  const close = () => {
    try {
      conn.close();
    } catch {
      // Closed already.
    }
  };
  const deadline = { passed: false, [Symbol.dispose]: () => {} };
  const timer = setTimeout(() => {
    deadline.passed = true;
    close();
  }, timeoutMs);
  signal?.addEventListener("abort", close, { once: true });
  deadline[Symbol.dispose] = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", close);
  };
  return deadline;
}

function parseAnswer(line: string | undefined): unknown {
  if (line === undefined) throw new CommandError("Cannot run command: the daemon hung up without an answer");
  return resultOf(line);
}
