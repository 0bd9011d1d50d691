/**
 * The control socket of a daemon: JSON, one request and one answer a line, over a Unix socket that only its owner can
 * open (0600).
 *
 * ```
 * → {"command":"flush","args":{"timeoutMs":30000}}\n
 * ← {"result":{"committed":true,"waiting":[]}}\n      or   {"error":{"name":"CommandError","message":"Cannot …"}}\n
 * ```
 *
 * A connection may ask again after the answer. When the asker hangs up, what it asked for is aborted; what is to last
 * only while the asker lives, such as a hold, ends then too.
 * @module
 */
import { utf8 } from "../base/bytes.ts";
import { CommandError, errorCode, UsageError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { quote } from "../base/path.ts";
import { LineReader, writeAll } from "./line_reader.ts";
import { makeSocketPath, removeSocketPath, resolveSocketPath } from "./socket_path.ts";
import { errorToWire } from "./wire_error.ts";

/** Answers one command. `signal` aborts when the asker is gone, also after the answer, or the daemon stops. */
export type ControlHandler = (args: unknown, signal: AbortSignal) => Promise<unknown>;

/** What {@linkcode serveControl} needs. */
export interface ServeControlOptions {
  /** Path of the socket: `controlSocketIn(directory)`. Its directory must exist. */
  path: string;
  /** Command name → its answer. */
  handlers: Record<string, ControlHandler>;
}

/** A control socket that answers. Disposing closes its connections, aborts what runs and removes the socket. */
export interface ControlServer extends AsyncDisposable {
  /** Where the socket really is; differs from the path asked for if that is too long for the system. */
  readonly socketPath: string;
}

/**
 * Listens on a control socket. A socket that a dead daemon left is replaced.
 *
 * @throws {CommandError} If a living daemon answers there, or the socket cannot be made.
 */
export async function serveControl(options: ServeControlOptions): Promise<ControlServer> {
  const { path, handlers } = options;
  if (await isAnswered(path)) {
    throw new CommandError(`Cannot start: another understudy answers on ${quote(path)}`);
  }
  const socketPath = makeSocketPath(path);
  const listener = listen(socketPath);
  const stopping = new AbortController();
  const connections = new Map<Deno.Conn, Promise<void>>();
  const accepting = acceptAll(
    listener,
    connections,
    (conn) => serveConnection(conn, handlers, stopping.signal),
  );
  return {
    socketPath,
    async [Symbol.asyncDispose]() {
      if (stopping.signal.aborted) return;
      stopping.abort();
      listener.close();
      await accepting;
      const served = [...connections.values()];
      for (const conn of connections.keys()) closeQuietly(conn);
      await Promise.all(served);
      removeSocketPath(path);
    },
  };
}

/** Whether a living process accepts connections on the control socket for `path`. */
export async function isAnswered(path: string): Promise<boolean> {
  try {
    const conn = await Deno.connect({ transport: "unix", path: resolveSocketPath(path) });
    conn.close();
    return true;
  } catch {
    return false;
  }
}

function listen(socketPath: string): Deno.Listener<Deno.UnixConn> {
  try {
    const listener = Deno.listen({ transport: "unix", path: socketPath });
    Deno.chmodSync(socketPath, 0o600);
    return listener as Deno.Listener<Deno.UnixConn>;
  } catch (error) {
    const reason = errorCode(error) || String(error);
    throw new CommandError(`Cannot open control socket ${quote(socketPath)}: ${reason}`, { cause: error });
  }
}

async function acceptAll(
  listener: Deno.Listener<Deno.UnixConn>,
  connections: Map<Deno.Conn, Promise<void>>,
  serve: (conn: Deno.Conn) => Promise<void>,
): Promise<void> {
  for await (const conn of listener) {
    if (connections.size >= limits.controlConnectionsMax) {
      void refuse(conn);
      continue;
    }
    connections.set(conn, serve(conn).finally(() => connections.delete(conn)));
  }
}

async function refuse(conn: Deno.Conn): Promise<void> {
  const error = new CommandError(
    `Cannot answer: ${limits.controlConnectionsMax} control connections are open`,
  );
  await answer(conn, { error: errorToWire(error) }).catch(() => {});
  closeQuietly(conn);
}

/** Serves one connection until either side has had enough. Never throws: a broken line ends it. */
async function serveConnection(
  conn: Deno.Conn,
  handlers: Record<string, ControlHandler>,
  stopping: AbortSignal,
): Promise<void> {
  const lines = new LineReader(conn, limits.controlRequestSizeMax);
  const gone = new AbortController();
  const signal = AbortSignal.any([gone.signal, stopping]);
  try {
    let next = lines.read();
    for (;;) {
      const line = await next;
      if (line === undefined) return;
      // Reading on tells when the asker hangs up.
      next = lines.read();
      next.then((after) => after === undefined && gone.abort(), () => gone.abort());
      await answer(conn, await respond(line, handlers, signal));
    }
  } catch (error) {
    await answer(conn, { error: errorToWire(error) }).catch(() => {});
  } finally {
    gone.abort();
    closeQuietly(conn);
  }
}

/** The answer to one request line, an error included. */
async function respond(
  line: string,
  handlers: Record<string, ControlHandler>,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  try {
    const { command, args } = parseRequest(line);
    if (!Object.hasOwn(handlers, command)) {
      throw new UsageError(`Cannot run ${quote(command)}: this daemon does not know it`);
    }
    return { result: await handlers[command](args, signal) ?? null };
  } catch (error) {
    return { error: errorToWire(error) };
  }
}

function parseRequest(line: string): { command: string; args: unknown } {
  let request: { command?: unknown; args?: unknown } | null;
  try {
    request = JSON.parse(line);
  } catch (error) {
    throw new UsageError("Cannot read request: it is not JSON", { cause: error });
  }
  if (typeof request?.command !== "string") throw new UsageError(`Cannot read request: "command" is missing`);
  return { command: request.command, args: request.args ?? {} };
}

async function answer(conn: Deno.Conn, reply: Record<string, unknown>): Promise<void> {
  await writeAll(conn, utf8(JSON.stringify(reply) + "\n"));
}

function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // Closed already, by the other side of this very file.
  }
}
