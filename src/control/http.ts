/**
 * Status over HTTP (`--http HOST:PORT`): `GET /status` answers the JSON of `status --json`. Nothing can be changed here.
 * @module
 */
import { type Address, formatAddress, isLoopback } from "../base/address.ts";
import { CommandError, errorCode, reasonOf } from "../base/errors.ts";
import type { DaemonStatus } from "../base/status.ts";

/** What {@linkcode serveHttp} needs. */
export interface ServeHttpOptions {
  /** Where to listen; port 0 is any free one. */
  address: Address;
  /** Tells the status of now. */
  status: () => Promise<DaemonStatus>;
}

/** A listening HTTP server. Disposing stops it. */
export interface HttpServer extends AsyncDisposable {
  readonly address: Address;
}

/**
 * Serves the status.
 *
 * @throws {CommandError} If the address cannot be had.
 */
export function serveHttp(options: ServeHttpOptions): HttpServer {
  const { address, status } = options;
  const local = isLoopback(address.hostname);
  const server = listen(address, async (request) => {
    if (local && !namesLoopback(request)) {
      return refusal(403, "Cannot answer: the host asked for is not this one");
    }
    if (new URL(request.url).pathname !== "/status") {
      return refusal(404, "Cannot find it: only /status is here");
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return refusal(405, "Cannot change anything here");
    }
    return await statusResponse(status);
  });
  return {
    address: { hostname: address.hostname, port: (server.addr as Deno.NetAddr).port },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/**
 * Reads the status of a daemon that serves it over HTTP.
 *
 * @throws {CommandError} If nothing there answers with a status.
 */
export async function fetchStatus(address: Address, signal?: AbortSignal): Promise<DaemonStatus> {
  const shown = formatAddress(address);
  try {
    const timeout = AbortSignal.timeout(10_000);
    const response = await fetch(`http://${shown}/status`, {
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      redirect: "error",
    });
    const status = await response.json();
    if (!response.ok || (status?.role !== "source" && status?.role !== "target")) {
      throw new Error("what answers there is no understudy");
    }
    return status;
  } catch (error) {
    signal?.throwIfAborted();
    const reason = error instanceof SyntaxError ? "what answers there is no understudy" : reasonOf(error);
    throw new CommandError(`Cannot read the status of "${shown}": ${reason}`, { cause: error });
  }
}

function listen(address: Address, respond: (request: Request) => Promise<Response>): Deno.HttpServer {
  try {
    return Deno.serve({ hostname: address.hostname, port: address.port, onListen() {} }, respond);
  } catch (error) {
    const reason = errorCode(error) === "EADDRINUSE" ? "the port is in use" : reasonOf(error);
    throw new CommandError(`Cannot listen on "${formatAddress(address)}": ${reason}`, { cause: error });
  }
}

/** A page that a browser loaded elsewhere may have had its name point here: its requests still carry that name. */
function namesLoopback(request: Request): boolean {
  return isLoopback(new URL(request.url).hostname.replace(/^\[|\]$/g, ""));
}

async function statusResponse(status: () => Promise<DaemonStatus>): Promise<Response> {
  try {
    return new Response(JSON.stringify(await status()) + "\n", {
      headers: { "content-type": "application/json", "cache-control": "no-store" },
    });
  } catch (error) {
    return refusal(500, reasonOf(error));
  }
}

function refusal(status: number, error: string): Response {
  return new Response(JSON.stringify({ error }) + "\n", {
    status,
    headers: { "content-type": "application/json" },
  });
}
