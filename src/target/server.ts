/**
 * The accepting side: turns connections into sessions, and sessions into work on a replica. Replicas are applied to by
 * a Worker each, so that one source's disk work delays no other.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { reasonOf, RefusedError, UsageError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { isName, quote } from "../base/path.ts";
import { AGENT } from "../base/version.ts";
import type { ReplicaStatus } from "../base/status.ts";
import type { PairingStore } from "../store/pairing.ts";
import type { KeyPair } from "../wire/keys.ts";
import { type AcceptedSession, acceptSession } from "../wire/tcp_session.ts";
import { type ApplyClient, dropPreparedWorker, prepareWorker, pump } from "./apply_client.ts";
import type { OpenFileRule } from "./open_files.ts";
import type { ReplicaPlaces } from "./places.ts";
import { isReplica } from "./replica.ts";
import { ServedReplica } from "./served_replica.ts";

/** What a target server needs. */
export interface TargetServerOptions {
  listener: Deno.TcpListener;
  keyPair: KeyPair;
  pairing: PairingStore;
  /** Places of a replica by its name. */
  placesOf: (name: string) => ReplicaPlaces;
  /** What becomes of files that other programs use. */
  openFiles: OpenFileRule;
  /** Sends a replica back over a session; ends when it is done. */
  sendBack: (name: string, session: AcceptedSession) => Promise<void>;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
}

/** A replica as the server knows it. */
interface Served {
  name: string;
  session: AcceptedSession | undefined;
  replica: ServedReplica;
  /** Counters of sessions that are over. */
  past: ReplicaStatus;
}

/** Accepts sources and serves their replicas. */
export class TargetServer {
  readonly #options: TargetServerOptions;
  readonly #served = new Map<string, Served>();
  readonly #serving = new Set<Promise<void>>();
  readonly #sessions = new Set<AcceptedSession>();
  #handshakes = 0;

  constructor(options: TargetServerOptions) {
    this.#options = options;
  }

  /** Accepts until the signal aborts; then ends all sessions in order and closes the replicas. */
  async run(): Promise<void> {
    const { listener, signal } = this.#options;
    const stop = () => listener.close();
    prepareWorker();
    signal.addEventListener("abort", stop, { once: true });
    try {
      while (!signal.aborted) {
        const conn = await this.#accept();
        if (conn) this.#track(this.#serve(conn));
      }
    } finally {
      signal.removeEventListener("abort", stop);
      for (const session of this.#sessions) session.close();
      await Promise.all(this.#serving);
      dropPreparedWorker();
    }
  }

  /** Status of every replica that was served since the start, and of those that are paired. */
  async status(): Promise<ReplicaStatus[]> {
    for (const name of this.#options.pairing.boundNames()) this.#find(name);
    const names = [...this.#served.keys()].sort();
    return await Promise.all(names.map((name) => this.#statusOf(this.#served.get(name)!)));
  }

  /**
   * Keeps a replica as it is until `signal` aborts: when it returns the live tree is at a group boundary, and recovered
   * if need be. Several holds of one replica last as long as the last of them. Sources wait meanwhile, and are told why.
   *
   * @throws {UsageError} If there is no such replica.
   * @throws {TransientError} If the machine's trouble left a group half done.
   */
  async hold(name: string, signal: AbortSignal): Promise<void> {
    const hasOne = isName(name) && isReplica(this.#options.placesOf(name));
    if (!hasOne) throw new UsageError(`Cannot hold ${quote(name)}: there is no such replica`);
    await this.#find(name).replica.hold(signal);
    this.#options.log.info(`"${name}" is held`);
  }

  async #accept(): Promise<Deno.TcpConn | undefined> {
    try {
      const conn = await this.#options.listener.accept();
      // A flood of connections that never finish their handshake must not keep good ones out for long.
      if (this.#handshakes < limits.handshakesMax) return conn;
      conn.close();
    } catch (error) {
      if (this.#options.signal.aborted) return undefined;
      // Out of descriptors, or the peer was gone before it was accepted: the listener goes on.
      this.#options.log.warn(`Cannot accept a connection: ${reasonOf(error)}`);
      await this.#options.clock.sleep(limits.reconnectMinMs, this.#options.signal);
    }
  }

  #track(serving: Promise<void>): void {
    const tracked = serving.catch((error) => this.#options.log.warn(reasonOf(error)));
    this.#serving.add(tracked);
    tracked.then(() => this.#serving.delete(tracked));
  }

  async #serve(conn: Deno.TcpConn): Promise<void> {
    const session = await this.#shakeHands(conn);
    this.#sessions.add(session);
    try {
      switch (session.request.wants) {
        case "replicate":
          return await this.#replicate(session);
        case "restore":
          return await this.#options.sendBack(session.request.name, session);
        case "inspect":
          // Pairing: that the key is bound is all that was wanted.
          return;
      }
    } finally {
      this.#sessions.delete(session);
      await session.close();
    }
  }

  async #shakeHands(conn: Deno.TcpConn): Promise<AcceptedSession> {
    const { keyPair, pairing, clock } = this.#options;
    this.#handshakes++;
    try {
      return await acceptSession(conn, {
        keyPair,
        authorize: ({ name, tokenId }, publicKey) =>
          pairing.authorize({ name, publicKey, tokenId, nowMs: clock.nowMs() }),
      });
    } finally {
      this.#handshakes--;
    }
  }

  async #replicate(session: AcceptedSession): Promise<void> {
    const { name } = session.request;
    const served = this.#find(name);
    if (served.session) {
      await session.refuse(`replica "${name}" is being replicated to by ${served.session.peer}`);
      throw new RefusedError(`Cannot serve ${session.peer}: replica "${name}" is in use`);
    }
    served.session = session;
    this.#options.log.info(`${session.peer} replicates to "${name}"`);
    try {
      const client = await this.#openReplica(served, session);
      prepareWorker();
      await pump(session, client.openSession());
    } finally {
      // The source need not wait while the replica is closed.
      void session.close();
      await this.#endReplication(served, session);
    }
  }

  async #openReplica({ replica }: Served, session: AcceptedSession): Promise<ApplyClient> {
    try {
      return await replica.open();
    } catch (error) {
      await session.refuse(reasonOf(error));
      throw error;
    }
  }

  async #endReplication(served: Served, session: AcceptedSession): Promise<void> {
    served.past = await this.#statusOf(served);
    await served.replica.close();
    served.session = undefined;
    Object.assign(served.past, { connected: false, peer: "", state: "disconnected", reason: "" });
    // Nothing waits here without a source.
    Object.assign(served.past, { pendingOpenFiles: 0, openFiles: [] });
    this.#options.log.info(`${session.peer} left "${served.name}"`);
  }

  #find(name: string): Served {
    let served = this.#served.get(name);
    if (!served) {
      const { placesOf, openFiles } = this.#options;
      served = {
        name,
        session: undefined,
        replica: new ServedReplica({ ...placesOf(name), openFiles, agent: AGENT }),
        past: { ...unseenReplica, name, opsReceived: {} },
      };
      this.#served.set(name, served);
    }
    return served;
  }

  async #statusOf({ name, session, replica, past }: Served): Promise<ReplicaStatus> {
    if (!session) return past;
    const line = session.stats;
    const applied = await replica.client?.stats();
    const opsReceived = { ...past.opsReceived };
    for (const [kind, count] of Object.entries(applied?.opsReceived ?? {})) {
      opsReceived[kind] = (opsReceived[kind] ?? 0) + count;
    }
    return {
      name,
      connected: true,
      peer: session.peer,
      state: applied?.blockedReason ? "blocked" : "connected",
      reason: applied?.blockedReason ?? "",
      lastAppliedSequence: applied?.lastAppliedSequence ?? past.lastAppliedSequence,
      lastDurableSequence: applied?.lastDurableSequence ?? past.lastDurableSequence,
      pendingOpenFiles: applied?.pendingOpenFiles ?? 0,
      openFiles: applied?.openFiles ?? [],
      packetsReceived: past.packetsReceived + line.packetsReceived,
      bytesReceived: past.bytesReceived + line.bytesReceived,
      bytesSent: past.bytesSent + line.bytesSent,
      errors: past.errors + (applied?.errors ?? 0),
      opsReceived,
    };
  }
}

/** A replica before its first session. */
const unseenReplica: ReplicaStatus = {
  name: "",
  connected: false,
  peer: "",
  state: "disconnected",
  reason: "",
  lastAppliedSequence: 0,
  lastDurableSequence: 0,
  pendingOpenFiles: 0,
  openFiles: [],
  packetsReceived: 0,
  bytesReceived: 0,
  bytesSent: 0,
  errors: 0,
  opsReceived: {},
};
