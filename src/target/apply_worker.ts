/**
 * The Worker that hosts a replica: calls on files block, so they are made here. It takes messages as they come and
 * flushes as soon as no further one is on its way, or a group is full: a lone op is applied and acked at once, and
 * under load groups grow by themselves.
 * @module
 */
import { setImmediate } from "node:timers";
import { assert, ProtocolError, reasonOf, TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Accounts } from "../base/accounts.ts";
import { initHasher } from "../mirror/signature.ts";
import { systemFileSystem } from "../sys/system.ts";
import { decodeMessage, encodeMessage, type Message } from "../wire/message.ts";
import {
  type ApplyPlace,
  type ApplyReply,
  type ApplyRequest,
  portableError,
  POSTED,
  TAKEN_BYTES,
  WAITS_FOR_ROOM,
} from "./apply_messages.ts";
import { KeptAside } from "./kept_aside.ts";
import { Receiver } from "./receive.ts";
import { openReplica, type Replica } from "./replica.ts";
import { ownedReplica } from "./replica_owners.ts";
import { isMachineTrouble } from "./trouble.ts";

const port = self as unknown as {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  onmessage: ((event: { data: Uint8Array | ApplyRequest }) => void) | null;
};

class ApplyHost {
  readonly #replica: Replica;
  readonly #agent: string;
  readonly #shared: Int32Array;
  readonly #onAccounts: ((accounts: Accounts) => void) | undefined;
  #receiver: Receiver | undefined;
  #takenCount = 0;
  /** Bytes of messages whose ops may still be gathered. */
  #heldBytes = 0;
  /** Bytes of answers sent, modulo 2^32. */
  #sentBytes = 0;
  #turnIsDue = false;
  #heldReason = "";
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #freeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    replica: Replica,
    { agent, shared, onAccounts }: {
      agent: string;
      shared: SharedArrayBuffer;
      onAccounts?: (accounts: Accounts) => void;
    },
  ) {
    this.#replica = replica;
    this.#agent = agent;
    this.#shared = new Int32Array(shared);
    this.#onAccounts = onAccounts;
  }

  take(data: Uint8Array | ApplyRequest): void {
    if (data instanceof Uint8Array) return this.#takeMessage(data);
    switch (data.kind) {
      case "attach":
        this.#detach();
        this.#receiver = new Receiver(this.#replica, {
          agent: this.#agent,
          send: (message) => this.#send(message),
          heldReason: this.#heldReason,
          onAccounts: this.#onAccounts,
        });
        return;
      case "detach":
        this.#detach();
        return reply({ kind: "detached" });
      case "room":
        return this.#turnSoon();
      case "hold":
        return reply({ kind: "held", trouble: this.#hold(data.reason) });
      case "release":
        return this.#release();
      case "stats":
        return reply({ kind: "stats", stats: this.#replica.status() });
      case "close":
        this.#detach();
        this.#replica.close();
        return reply({ kind: "closed" });
    }
  }

  #takeMessage(bytes: Uint8Array): void {
    this.#takenCount = (this.#takenCount + 1) | 0;
    // A session that ended may still have messages on their way.
    if (this.#receiver === undefined) return;
    this.#heldBytes += bytes.length;
    this.#serve((receiver) => {
      const message = decodeMessage(bytes);
      receiver.handle(message);
      if (message.type === "await") this.#lookForFree(receiver, limits.inUseRetryMinMs);
      const isLast = Atomics.load(this.#shared, POSTED) === this.#takenCount;
      if (receiver.blockedReason === "" && (isLast || receiver.hasFullGroup)) this.#flush(receiver);
    });
    this.#turnSoon();
  }

  /** Gives why the replica cannot be held, or `""`. */
  #hold(reason: string): string {
    const trouble = this.#receiver?.hold(reason) ?? this.#recover();
    if (trouble === "") this.#heldReason = reason;
    return trouble;
  }

  /** Without a session nothing is gathered; what an earlier one left half done is set right. */
  #recover(): string {
    try {
      this.#replica.recoverIfNeeded();
      return "";
    } catch (error) {
      if (!isMachineTrouble(error)) throw error;
      return reasonOf(error);
    }
  }

  #release(): void {
    this.#heldReason = "";
    this.#serve((receiver) => {
      receiver.release();
      this.#flush(receiver);
    });
    this.#turnSoon();
  }

  #flush(receiver: Receiver): void {
    receiver.flush();
    if (receiver.blockedReason !== "") return this.#retryLater();
    reply({ kind: "applied", bytes: this.#heldBytes });
    this.#heldBytes = 0;
  }

  #retryLater(): void {
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this.#serve((receiver) => this.#flush(receiver));
      this.#turnSoon();
    }, limits.blockedRetryMs);
  }

  /** Looks from time to time, at first soon, whether files in use are free. */
  #lookForFree(receiver: Receiver, delayMs: number): void {
    clearTimeout(this.#freeTimer);
    this.#freeTimer = undefined;
    if (!receiver.awaitsFiles) return;
    this.#freeTimer = setTimeout(() => {
      this.#serve((receiver) => {
        receiver.tellFree();
        this.#lookForFree(receiver, Math.min(2 * delayMs, limits.inUseRetryMs));
      });
    }, delayMs);
  }

  /** One message of an answer a turn, so that messages of the session come in between. */
  #turn(): void {
    this.#serve((receiver) => {
      if (!receiver.hasWork || !this.#hasRoom()) return;
      receiver.work();
      if (receiver.blockedReason !== "") this.#retryLater();
      this.#turnSoon();
    });
  }

  #turnSoon(): void {
    if (this.#turnIsDue || !this.#receiver?.hasWork) return;
    this.#turnIsDue = true;
    setImmediate(() => {
      this.#turnIsDue = false;
      this.#turn();
    });
  }

  #hasRoom(): boolean {
    if (this.#outBytes() < limits.applyOutboxBytes) return true;
    Atomics.store(this.#shared, WAITS_FOR_ROOM, 1);
    // What was taken before the line above is not told by a "room".
    return this.#outBytes() < limits.applyOutboxBytes;
  }

  #outBytes(): number {
    return (this.#sentBytes - Atomics.load(this.#shared, TAKEN_BYTES)) | 0;
  }

  #send(message: Message): void {
    const bytes = encodeMessage(message);
    this.#sentBytes = (this.#sentBytes + bytes.length) | 0;
    port.postMessage(bytes, [bytes.buffer]);
  }

  /** Does something for the session; what it may not do ends it. */
  #serve(action: (receiver: Receiver) => void): void {
    if (this.#receiver === undefined) return;
    try {
      action(this.#receiver);
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof TransientError)) throw error;
      this.#detach();
      reply({ kind: "ended", error: portableError(error) });
    }
  }

  #detach(): void {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#freeTimer);
    this.#retryTimer = this.#freeTimer = undefined;
    this.#receiver?.closeSession();
    this.#receiver = undefined;
    this.#heldBytes = 0;
  }
}

function reply(message: ApplyReply): void {
  port.postMessage(message);
}

let host: ApplyHost | undefined;

/** What every replica needs is loaded while nobody waits for it: a Worker is mostly made before it is used. */
async function warmUp(): Promise<void> {
  systemFileSystem();
  await initHasher();
}

const warm = warmUp();
// Whoever opens a replica hears of it.
warm.catch(() => {});

async function open(place: ApplyPlace, shared: SharedArrayBuffer): Promise<void> {
  await warm;
  const system = systemFileSystem(place.fileSystem);
  // Before it is opened: recovery may set owners.
  const { fileSystem, onAccounts } = ownedReplica(place, system);
  const aside = place.keepAside && new KeptAside(place.keepAside, system);
  const replica: Replica = openReplica({
    ...place,
    fileSystem,
    keepBefore: aside && ((path, reason) => aside.keep(replica.live, path, reason)),
    afterGroup: aside && (() => aside.noteMade(replica.live)),
  });
  host = new ApplyHost(replica, { agent: place.agent, shared, onAccounts });
  reply({ kind: "opened", replicaId: replica.replicaId });
}

port.onmessage = ({ data }) => {
  if (!(data instanceof Uint8Array) && data.kind === "open") {
    open(data.place, data.shared).catch((error) => reply({ kind: "failed", error: portableError(error) }));
    return;
  }
  assert(host !== undefined, "the replica is opened before it is used");
  host.take(data);
};

// Whatever is not foreseen ends this Worker; the replica is recovered by the next one.
addEventListener("error", (event) => {
  event.preventDefault();
  reply({ kind: "failed", error: portableError(event.error) });
});
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  reply({ kind: "failed", error: portableError(event.reason) });
});
