/**
 * The accepting side: turns connections into sessions, and sessions into work on a replica. Replicas are applied to by
 * a Worker each, so that one source's disk work delays no other.
 * @module
 */
import { type AccountsStatus, accountsStatus, noAccountsStatus } from "../base/accounts.ts";
import type { Clock } from "../base/clock.ts";
import {
  CommandError,
  ProtocolError,
  reasonOf,
  RefusedError,
  TransientError,
  UsageError,
} from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { isName, quote } from "../base/path.ts";
import { AGENT } from "../base/version.ts";
import type { PromotionResult, ReplicaStatus } from "../base/status.ts";
import type { PairingStore } from "../store/pairing.ts";
import { endPromotion, fencedReason, loadPromotion } from "../store/promotion.ts";
import type { KeyPair } from "../wire/keys.ts";
import { decodeMessage, encodeMessage } from "../wire/message.ts";
import { type AcceptedSession, acceptSession } from "../wire/tcp_session.ts";
import { type ApplyClient, dropPreparedWorker, prepareWorker, pump } from "./apply_client.ts";
import type { OpenFileRule } from "./open_files.ts";
import type { ReplicaPlaces } from "./places.ts";
import { demote, fence, promotionOf, standOf } from "./promote.ts";
import { isReplica, readReplicaAccounts } from "./replica.ts";
import { ServedReplica } from "./served_replica.ts";

/** What a target server needs. */
export interface TargetServerOptions {
  listener: Deno.TcpListener;
  keyPair: KeyPair;
  pairing: PairingStore;
  /** Places of a replica by its name. */
  placesOf: (name: string) => ReplicaPlaces;
  /** Whom files of sources belong to here; see `ApplyPlace`. */
  owners?: "number" | "name";
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
    this.#placesOfExisting(name, "hold");
    await this.#find(name).replica.hold(signal);
    this.#options.log.info(`"${name}" is held`);
  }

  /**
   * Makes a replica the one that users work in. No source is let in any more.
   *
   * @param options.force A source that is connected is cut off.
   * @throws {UsageError} If there is no such replica. @throws {CommandError} If its source is connected.
   */
  async promote(name: string, { force }: { force: boolean }): Promise<PromotionResult> {
    const places = this.#placesOfExisting(name, "promote");
    const served = this.#find(name);
    // Of one that is promoted already the session is ending.
    if (served.session && !force && !loadPromotion(places.stateDirectory)) {
      throw new CommandError(
        `Cannot promote ${quote(name)}: its source is connected (${served.session.peer}); ` +
          `stop it first, or use --force`,
      );
    }
    const { clock, log } = this.#options;
    const before = loadPromotion(places.stateDirectory);
    fence(places, clock.nowMs());
    await served.session?.close();
    const result = await served.replica.atRest(() => promotionOf(places)).catch((error) => {
      // Whoever hears of an error relies on that nothing was changed.
      if (!before) endPromotion(places.stateDirectory);
      throw error;
    });
    log.info(`"${name}" is promoted`);
    return result;
  }

  /** Tells a source since when its replica is promoted, and lets it in again if it says that it is equal to it. */
  async #failBack(session: AcceptedSession): Promise<void> {
    const { name } = session.request;
    const places = this.#options.placesOf(name);
    // Where it is not promoted its source may be at work.
    const stand = loadPromotion(places.stateDirectory)
      ? await this.#find(name).replica.atRest(() => standOf(places))
      : standOf(places);
    await session.send(encodeMessage({ type: "report", report: { kind: "promoted", ...stand } }));
    const answer = await session.receive();
    if (!answer) return;
    const { type } = decodeMessage(answer);
    if (type !== "compared") throw new ProtocolError(`Cannot end the promotion: "${type}" came instead`);
    await this.#demote(name);
  }

  /** Lets a source in again. @returns Whether the replica was promoted. @throws {UsageError} If there is none. */
  async demote(name: string): Promise<boolean> {
    this.#placesOfExisting(name, "lift the fence of");
    return await this.#demote(name);
  }

  async #demote(name: string): Promise<boolean> {
    const places = this.#options.placesOf(name);
    const wasPromoted = await this.#find(name).replica.atRest(() => demote(places));
    if (wasPromoted) this.#options.log.info(`"${name}" takes a source again`);
    return wasPromoted;
  }

  #placesOfExisting(name: string, verb: string): ReplicaPlaces {
    const places = isName(name) ? this.#options.placesOf(name) : undefined;
    if (places && isReplica(places)) return places;
    throw new UsageError(`Cannot ${verb} ${quote(name)}: there is no such replica`);
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
        case "failback":
          return await this.#failBack(session);
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
    const promotion = loadPromotion(this.#options.placesOf(name).stateDirectory);
    if (promotion) {
      await session.refuse(fencedReason(name, promotion));
      throw new RefusedError(`Cannot serve ${session.peer}: replica "${name}" was promoted`);
    }
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
    try {
      served.past = await this.#statusOf(served);
    } catch (error) {
      // A promotion has ended the Worker: it tells nothing any more.
      if (!(error instanceof TransientError)) throw error;
    } finally {
      await served.replica.close();
      served.session = undefined;
      Object.assign(served.past, { connected: false, peer: "", state: "disconnected", reason: "" });
      // Nothing waits here without a source.
      Object.assign(served.past, { pendingOpenFiles: 0, openFiles: [] });
    }
    this.#options.log.info(`${session.peer} left "${served.name}"`);
  }

  #find(name: string): Served {
    let served = this.#served.get(name);
    if (!served) {
      const { placesOf, openFiles, owners } = this.#options;
      served = {
        name,
        session: undefined,
        replica: new ServedReplica({ ...placesOf(name), owners, openFiles, agent: AGENT }),
        past: { ...unseenReplica, name, opsReceived: {}, accounts: this.#accountsOf(name) },
      };
      this.#served.set(name, served);
    }
    return served;
  }

  /** Those of a catalog that cannot be read are said when its replica is opened. */
  #accountsOf(name: string): AccountsStatus {
    try {
      return accountsStatus(readReplicaAccounts(this.#options.placesOf(name)));
    } catch (error) {
      this.#options.log.warn(reasonOf(error));
      return noAccountsStatus;
    }
  }

  async #statusOf({ name, session, replica, past }: Served): Promise<ReplicaStatus> {
    if (!session) {
      const promotedAt = loadPromotion(this.#options.placesOf(name).stateDirectory)?.promotedAt ?? "";
      return { ...past, promotedAt, state: promotedAt === "" ? past.state : "promoted" };
    }
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
      promotedAt: "",
      openFiles: applied?.openFiles ?? [],
      packetsReceived: past.packetsReceived + line.packetsReceived,
      bytesReceived: past.bytesReceived + line.bytesReceived,
      bytesSent: past.bytesSent + line.bytesSent,
      errors: past.errors + (applied?.errors ?? 0),
      opsReceived,
      accounts: applied?.accounts ?? past.accounts,
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
  promotedAt: "",
  openFiles: [],
  packetsReceived: 0,
  bytesReceived: 0,
  bytesSent: 0,
  errors: 0,
  opsReceived: {},
  accounts: noAccountsStatus,
};
