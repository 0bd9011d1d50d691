/**
 * From a target's name on the command line to sessions with it: opens a local directory in this process, or finds the
 * paired server, or pairs by a join token first.
 * @module
 */
import { formatAddress, parseAddress } from "../base/address.ts";
import { hex } from "../base/bytes.ts";
import { systemClock } from "../base/clock.ts";
import { CommandError, reasonOf, RefusedError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { type Peer, PeerStore } from "../store/peers.ts";
import { systemFileSystem } from "../sys/system.ts";
import type { OpenFileRule } from "../target/open_files.ts";
import { openOnlooker } from "../target/onlooker.ts";
import { checkApart, realPathOf } from "../target/places.ts";
import type { CipherName } from "../wire/cipher.ts";
import type { CompressionName } from "../wire/compress.ts";
import type { SessionPurpose } from "../wire/handshake.ts";
import { decodeJoinToken, type JoinToken } from "../wire/join_token.ts";
import { formatPublicKey, type KeyPair, parsePublicKey } from "../wire/keys.ts";
import type { Session } from "../wire/session.ts";
import type { SharedCompressions } from "../wire/shared_compressions.ts";
import { Throttle } from "../wire/throttle.ts";
import { connectSession } from "../wire/tcp_session.ts";
import { reachDirectory } from "./local_target.ts";
import { ownKeyPair } from "./own_key.ts";
import { withDirectory } from "./root_trouble.ts";
import { DEFAULT_PORT, formatTargetName, type TargetName } from "./target_name.ts";

/** A target that sessions can be opened with. */
export interface ReachableTarget extends AsyncDisposable {
  /** For people and for `status`. A token is shown as the place that it leads to. */
  label: string;
  /** The directory that it is, if it is local. */
  directory?: string;
  /** What is sent to it passes here; `undefined` if there is no line. */
  throttle?: Throttle;
  /** Opens a session. One at a time. */
  connect: (signal: AbortSignal) => Promise<Session>;
}

/** What is needed to reach targets. */
export interface ReachOptions {
  /** State directory of this user; holds key and peers. */
  state: string;
  wants: SessionPurpose;
  cipher: CipherName;
  compress: CompressionName;
  /** Shared by all targets that are reached with it. */
  compressions?: SharedCompressions;
  /** Bytes a second on the line; 0 is as fast as it goes. @default {0} */
  limitRate?: number;
  /** Directory that is replicated; a local target must not overlap with it. */
  root: string;
  signal: AbortSignal;
  nowMs: number;
  /** A local directory is only looked at; nothing is made there. @default {false} */
  dryRun?: boolean;
  /** What becomes of files that programs use in a local directory. A server has its own rule. @default {"replace"} */
  openFiles?: OpenFileRule;
}

/**
 * Makes a target reachable. A server is not yet connected to, save for pairing.
 *
 * @throws {CommandError} If it is not paired, is in use, or overlaps with the source.
 * @throws {RefusedError} If a join token is refused.
 */
export async function reachTarget(target: TargetName, options: ReachOptions): Promise<ReachableTarget> {
  switch (target.kind) {
    case "directory":
      withDirectory(
        target.path,
        () => checkApart(options.root, target.path, { keepsOut: holdsTargets(options.root) }),
      );
      return options.dryRun ? lookAtDirectory(target.path) : reachDirectory(target.path, options);
    case "server":
      return reachServer(findPeer(target, options), options);
    case "token":
      return reachServer(await pairOnce(decodeJoinToken(target.token), options), options);
  }
}

/** Whether targets may lie inside this source: there is no other place on the machine for them. */
export function holdsTargets(root: string): boolean {
  return realPathOf(root) === "/";
}

/** Opens a local directory for looking only: no state is made, and it may be in use. */
function lookAtDirectory(path: string): ReachableTarget {
  const root = realPathOf(path);
  return {
    label: path,
    directory: path,
    connect: () => Promise.resolve(openOnlooker({ root, fileSystem: systemFileSystem() })),
    async [Symbol.asyncDispose]() {},
  };
}

function reachServer(peer: Peer, options: ReachOptions): ReachableTarget {
  const { hostname, port, name } = peer;
  const keyPair = ownKeyPair(options.state);
  const throttle = new Throttle(systemClock, options.limitRate || undefined);
  return {
    label: formatTargetName({ kind: "server", hostname, port, name }),
    throttle,
    connect: (signal) =>
      connectSession({
        hostname,
        port,
        keyPair,
        targetPublicKey: parsePublicKey(peer.targetPublicKey),
        request: { name, wants: options.wants },
        cipher: options.cipher,
        compression: options.compress,
        compressions: options.compressions,
        throttle,
        signal,
      }),
    async [Symbol.asyncDispose]() {},
  };
}

function findPeer(target: TargetName & { kind: "server" }, { state }: ReachOptions): Peer {
  const peer = new PeerStore(state).find(target);
  if (peer) return peer;
  throw new CommandError(
    `Cannot reach ${quote(formatTargetName(target))}: not paired in ${quote(state)}; ` +
      `ask for a join token (understudy invite ${target.name} --root …)`,
  );
}

/** Pairs by a token, unless that token was used here before. */
async function pairOnce(token: JoinToken, options: ReachOptions): Promise<Peer> {
  const peers = new PeerStore(options.state);
  const tokenId = hex(token.id);
  const known = peers.findByToken(tokenId);
  if (known) return known;
  const { hostname, port } = parseAddress(token.address, { port: DEFAULT_PORT });
  const peer = {
    hostname,
    port,
    name: token.name,
    targetPublicKey: formatPublicKey(token.targetPublicKey),
    tokenId,
  };
  await pair(token, peer, { keyPair: ownKeyPair(options.state), ...options });
  peers.add(peer);
  return peer;
}

async function pair(
  token: JoinToken,
  peer: Peer,
  options: ReachOptions & { keyPair: KeyPair },
): Promise<void> {
  const { hostname, port, name } = peer;
  try {
    const session = await connectSession({
      hostname,
      port,
      keyPair: options.keyPair,
      targetPublicKey: token.targetPublicKey,
      request: { name, tokenId: token.id, wants: "inspect" },
      psk: token.secret,
      cipher: options.cipher,
      signal: options.signal,
    });
    // The target says in order that it has bound our key by closing; a refusal comes instead of that.
    await session.receive();
    await session.close();
  } catch (error) {
    const message = `Cannot pair with ${quote(`${formatAddress(peer)}/${name}`)}: ${reasonOf(error)}`;
    if (error instanceof RefusedError) throw new RefusedError(message, { cause: error });
    throw new CommandError(message, { cause: error });
  }
}
