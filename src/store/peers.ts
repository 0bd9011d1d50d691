/**
 * The targets that a source is paired with: `STATE/peers.json`.
 *
 * ```json
 * { "peers": [ { "hostname": "backup", "port": 7420, "name": "docs", "targetPublicKey": "usk1-…", "tokenId": "…" } ] }
 * ```
 * @module
 */
import { join } from "node:path";
import { withWayOut } from "../base/errors.ts";
import { loadJson, saveJson } from "./durable.ts";

/** A paired target. */
export interface Peer {
  hostname: string;
  port: number;
  /** Replica's name. */
  name: string;
  /** Text form, see wire/keys.ts. */
  targetPublicKey: string;
  /** Hexadecimal; the token of the pairing, so that giving it again does not pair again. */
  tokenId: string;
}

/** Paired targets of one state directory. */
export class PeerStore {
  readonly #path: string;

  /** @param state State directory; must exist before the first {@linkcode add}. */
  constructor(state: string) {
    this.#path = join(state, "peers.json");
  }

  /** The peer for a replica at an address. @throws {CorruptionError} If the file is damaged. */
  find(wanted: Pick<Peer, "hostname" | "port" | "name">): Peer | undefined {
    return this.#load().find((peer) => isSamePlace(peer, wanted));
  }

  /** The peer that a token was used for. */
  findByToken(tokenId: string): Peer | undefined {
    return this.#load().find((peer) => peer.tokenId === tokenId);
  }

  /** Adds a peer, in place of one at the same place. Survives power loss. */
  add(peer: Peer): void {
    const others = this.#load().filter((known) => !isSamePlace(known, peer));
    saveJson(this.#path, { peers: [...others, peer] });
  }

  #load(): Peer[] {
    const load = () => loadJson(this.#path, isPeerFile)?.peers ?? [];
    return withWayOut("remove it and pair again", load);
  }
}

function isSamePlace(a: Pick<Peer, "hostname" | "port" | "name">, b: typeof a): boolean {
  return a.hostname === b.hostname && a.port === b.port && a.name === b.name;
}

function isPeerFile(value: unknown): value is { peers: Peer[] } {
  const peers = (value as { peers?: unknown } | null)?.peers;
  return Array.isArray(peers) && peers.every(isPeer);
}

function isPeer(value: unknown): value is Peer {
  const peer = value as Record<keyof Peer, unknown> | null;
  return typeof peer?.hostname === "string" && typeof peer.port === "number" &&
    typeof peer.name === "string" &&
    typeof peer.targetPublicKey === "string" && typeof peer.tokenId === "string";
}
