/**
 * What the wire does with a TCP connection beside reading and writing: connecting, deadlines, closing so that the last
 * words arrive, and errors as classes that say who acts.
 * @module
 */
import { type Clock, yieldToSockets } from "../base/clock.ts";
import { ProtocolError, reasonOf, RefusedError, TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { Refusal } from "./handshake.ts";

/**
 * Connects, without Nagle's delay.
 *
 * @throws {TransientError} If that is not possible now.
 */
export async function connectTcp(
  { hostname, port }: { hostname: string; port: number },
  signal: AbortSignal,
): Promise<Deno.TcpConn> {
  let conn: Deno.TcpConn;
  try {
    conn = await Deno.connect({ hostname, port, signal });
  } catch (cause) {
    signal.throwIfAborted();
    throw new TransientError(`Cannot connect to ${hostname}:${port}: ${reasonOf(cause)}`, { cause });
  }
  try {
    conn.setNoDelay(true);
    return conn;
  } catch (error) {
    closeQuietly(conn);
    throw error;
  }
}

/** Runs `work`; aborts `stop` when it takes longer than `ms`; rejects with what `stop` was aborted with. */
export async function withDeadline<T>(
  { ms, clock, stop }: { ms: number; clock: Clock; stop: AbortController },
  work: () => Promise<T>,
): Promise<T> {
  const done = new AbortController();
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => {});
  const reject = () => aborted.reject(stop.signal.reason);
  stop.signal.addEventListener("abort", reject, { once: true });
  const alarm = clock.sleep(ms, done.signal).then(() => {
    if (done.signal.aborted) return;
    stop.abort(new TransientError(`Cannot finish handshake: it takes longer than ${ms} ms`));
  });
  try {
    stop.signal.throwIfAborted();
    return await Promise.race([work(), aborted.promise]);
  } finally {
    done.abort();
    await alarm;
    stop.signal.removeEventListener("abort", reject);
  }
}

/** Runs `work` on a connection; closes it when `signal` aborts or `work` throws. */
export async function orClosed<T>(
  conn: Deno.TcpConn,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const close = () => closeQuietly(conn);
  signal.addEventListener("abort", close, { once: true });
  try {
    if (signal.aborted) close();
    return await work();
  } catch (error) {
    if (error instanceof Refusal) await linger(conn);
    close();
    throw error;
  } finally {
    signal.removeEventListener("abort", close);
  }
}

/** Lets the peer read the refusal: closing with unread bytes of its own would reset the line under it. */
async function linger(conn: Deno.TcpConn): Promise<void> {
  const timer = setTimeout(() => closeQuietly(conn), limits.closeMs);
  try {
    await conn.closeWrite();
    const rest = new Uint8Array(limits.handshakeMessageSizeMax);
    let left: number = limits.readSize;
    while (left > 0) {
      const count = await conn.read(rest);
      if (count === null) return;
      left -= count;
    }
  } catch {
    // The peer is gone, or did not go within the time: either way there is nothing left to wait for.
  } finally {
    clearTimeout(timer);
  }
}

/** Closes a connection that may be closed already. */
export function closeQuietly(conn: Deno.TcpConn): void {
  try {
    conn.close();
  } catch {
    // Closed already.
  }
}

/** Errors of the line and of the system as the class that says who acts; ours pass. */
export function lineError(verb: string, error: unknown): Error {
  const ours = error instanceof ProtocolError || error instanceof TransientError ||
    error instanceof RefusedError;
  if (ours) return error;
  const isLine = error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.ConnectionAborted || error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.UnexpectedEof || error instanceof Deno.errors.TimedOut;
  if (!isLine && error instanceof Error && !(error.constructor.name in Deno.errors)) return error;
  return new TransientError(`Cannot ${verb}: ${reasonOf(error)}`, { cause: error });
}

/** The peer's address for people. */
export function addressOf(conn: Deno.TcpConn): string {
  const { hostname, port } = conn.remoteAddr;
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/** Writes all bytes. */
export async function writeAll(line: Pick<Deno.Conn, "write">, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await line.write(bytes.subarray(at));
}

/** Bulk goes on so long, and so far, before everything else has its turn. Less than that is no bulk, and never waits. */
const BREATH_EVERY_MS = 16;
const BREATH_EVERY_SIZE = 256 * 1024;

/**
 * Lets events in during bulk. A read that finds bytes and a write that the system takes at once are done without the
 * loop having turned, so that who reads or writes on and on hears no other socket and no timer.
 */
export class Breather {
  #lastMs = 0;
  #size = 0;

  /** Notes bytes that passed; gives a promise to wait for when it is time to breathe. */
  passed(size: number): Promise<void> | undefined {
    this.#size += size;
    if (this.#size < BREATH_EVERY_SIZE || performance.now() - this.#lastMs < BREATH_EVERY_MS) {
      return undefined;
    }
    return yieldToSockets().then(() => {
      this.#size = 0;
      this.#lastMs = performance.now();
    });
  }
}
