/**
 * A daemon over HTTP (`--http HOST:PORT`): `GET /status` answers the JSON of `status --json`. A source also takes
 * `POST /hold` and `POST /resume`, with `?target=TARGET` for one of several and `Authorization: Bearer SECRET`; they
 * answer what `hold --json` and `resume --json` print.
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import { utf8 } from "../base/bytes.ts";
import { type Address, formatAddress, isLoopback } from "../base/address.ts";
import { CommandError, errorCode, reasonOf, UsageError } from "../base/errors.ts";
import type { DaemonStatus, HoldResult } from "../base/status.ts";

/** What {@linkcode serveHttp} needs. */
export interface ServeHttpOptions {
  /** Where to listen; port 0 is any free one. */
  address: Address;
  /** Tells the status of now. */
  status: () => Promise<DaemonStatus>;
  /** What may be changed, by whom knows the secret. @default nothing */
  actions?: HttpActions;
}

/** What can be changed over HTTP. */
export interface HttpActions {
  secret: string;
  hold(target: string | undefined, signal: AbortSignal): Promise<HoldResult>;
  resume(target: string | undefined): HoldResult;
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
  const { address, status, actions } = options;
  const local = isLoopback(address.hostname);
  const server = listen(address, async (request) => {
    if (local && !namesLoopback(request)) {
      return refusal(403, "Cannot answer: the host asked for is not this one");
    }
    const { pathname } = new URL(request.url);
    if (actions && (pathname === "/hold" || pathname === "/resume")) return await act(request, actions);
    if (pathname !== "/status") {
      return refusal(404, `Cannot find it: only /status${actions ? ", /hold and /resume are" : " is"} here`);
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

async function act(request: Request, actions: HttpActions): Promise<Response> {
  if (request.method !== "POST") return refusal(405, "Cannot read this: it takes POST");
  if (!knowsSecret(request, actions.secret)) {
    return refusal(401, "Cannot change anything without the secret of the set: see http.secret in its state");
  }
  const { pathname, searchParams } = new URL(request.url);
  const target = searchParams.get("target") ?? undefined;
  try {
    const result = pathname === "/hold" ? await actions.hold(target, request.signal) : actions.resume(target);
    const isDone = pathname === "/resume" || result.targets.every(({ isQuiet }) => isQuiet);
    // Held, but not known to be at rest: whoever reads the replica now reads one that changes.
    return json(result, isDone ? 200 : 202);
  } catch (error) {
    return refusal(error instanceof UsageError ? 400 : 500, reasonOf(error));
  }
}

function knowsSecret(request: Request, secret: string): boolean {
  const [given, wanted] = [request.headers.get("authorization") ?? "", `Bearer ${secret}`].map(utf8);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

async function statusResponse(status: () => Promise<DaemonStatus>): Promise<Response> {
  try {
    return json(await status(), 200);
  } catch (error) {
    return refusal(500, reasonOf(error));
  }
}

function refusal(status: number, error: string): Response {
  return json({ error }, status);
}

function json(value: unknown, status: number): Response {
  return new Response(JSON.stringify(value) + "\n", {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store" },
  });
}
