/**
 * `serve-target`.
 * @module
 */
import { join } from "node:path";
import { type Address, formatAddress } from "../base/address.ts";
import { utf8 } from "../base/bytes.ts";
import { CommandError, errorCode, reasonOf, UsageError } from "../base/errors.ts";
import { createLog } from "../base/log.ts";
import { quote } from "../base/path.ts";
import { VERSION } from "../base/version.ts";
import type { TargetStatus } from "../base/status.ts";
import type { ControlHandlers } from "../control/api.ts";
import { serveHttp } from "../control/http.ts";
import { type ControlHandler, serveControl } from "../control/server.ts";
import { controlSocketIn, pointToSocket } from "../control/socket_path.ts";
import { removeIfThere, writeDurably } from "../store/durable.ts";
import { acquireLock } from "../store/lock_file.ts";
import { PairingStore } from "../store/pairing.ts";
import {
  listenPath,
  makeStateDirectory,
  pairingDirectory,
  targetStateDirectory,
} from "../store/state_directory.ts";
import { systemFileSystem } from "../sys/system.ts";
import { realPathOf, serverPlaces } from "../target/places.ts";
import { ownersOf } from "../target/promote.ts";
import { ownedReplica } from "../target/replica_owners.ts";
import { TargetServer } from "../target/server.ts";
import { type ExitCode, type Io, printJson, stoppedExitCode } from "./mode.ts";
import { ownKeyPair } from "./own_key.ts";
import { serveRestore } from "./send_back.ts";
import { parseServeTargetOptions } from "./serve_target_options.ts";

/** Runs `serve-target` until it is stopped. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const options = parseServeTargetOptions(args);
  const { root } = options;
  checkRoot(root);
  const state = options.state ?? targetStateDirectory(root);
  makeStateDirectory(state);
  using _lock = acquireLock(join(state, "server.lock"));
  // Whoever looks at the root alone must see that it is served, wherever the state is.
  const rootState = targetStateDirectory(root);
  makeStateDirectory(rootState);
  const isElsewhere = realPathOf(state) !== realPathOf(rootState);
  using _rootLock = isElsewhere ? acquireLock(join(rootState, "server.lock")) : undefined;
  const listener = listen(options.listen);
  const address = formatAddress({ hostname: options.listen.hostname, port: listener.addr.port });
  const log = createLog({ write: io.stderr });
  const pairing = new PairingStore(pairingDirectory(state));
  const fileSystem = systemFileSystem();
  const server = new TargetServer({
    listener,
    keyPair: ownKeyPair(state),
    pairing,
    placesOf: (name) => serverPlaces(root, name),
    owners: options.owners,
    sendBack: (name, session) =>
      serveRestore(session, {
        ...serverPlaces(root, name),
        // What is sent back are the source's numbers, whatever they are here.
        fileSystem: ownedReplica({
          ...serverPlaces(root, name),
          owners: ownersOf(serverPlaces(root, name), options.owners),
        }, fileSystem).fileSystem,
        clock: io.clock,
        log,
        signal: io.signal,
      }),
    clock: io.clock,
    log,
    signal: io.signal,
  });
  const status = async (): Promise<TargetStatus> => ({
    role: "target",
    version: VERSION,
    root,
    listen: address,
    replicas: await server.status(),
  });
  const handlers: ControlHandlers = {
    status,
    async "hold-replica"({ name }, signal) {
      await server.hold(String(name), signal);
      return null;
    },
    promote: ({ name, force }) => server.promote(String(name), { force: force === true }),
    demote: ({ name }) => server.demote(String(name)),
  };
  await using control = await serveControl({
    path: controlSocketIn(state),
    handlers: handlers as Record<string, ControlHandler>,
  });
  using _pointer = isElsewhere ? pointToSocket(rootState, control.socketPath) : undefined;
  await using _http = options.http && serveHttp({ address: options.http, status });
  writeDurably(listenPath(state), utf8(`${address}\n`));
  if (options.json) printJson(io, { event: "listening", address });
  else io.stdout(`listening ${address}\n`);
  await server.run();
  removeIfThere(listenPath(state));
  return stoppedExitCode(io.signal);
}

function checkRoot(root: string): void {
  try {
    if (Deno.statSync(root).isDirectory) return;
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    throw new UsageError(`Cannot serve root ${quote(root)}: there is no such directory`);
  }
  throw new UsageError(`Cannot serve root ${quote(root)}: it is not a directory`);
}

function listen({ hostname, port }: Address): Deno.TcpListener {
  try {
    return Deno.listen({ hostname, port, transport: "tcp" });
  } catch (error) {
    const inUse = errorCode(error) === "EADDRINUSE";
    throw new CommandError(
      `Cannot listen on ${formatAddress({ hostname, port })}: ${
        inUse ? "the port is in use" : reasonOf(error)
      }`,
      { cause: error },
    );
  }
}
