/**
 * A session with a directory that is only looked at: it answers what a sender asks and changes nothing, makes no state
 * and takes no lock. `--dry-run` compares with it.
 * @module
 */
import { ProtocolError, TransientError } from "../base/errors.ts";
import { AGENT } from "../base/version.ts";
import type { FileSystem, Tree } from "../sys/file_system.ts";
import { placeOf } from "../sys/place.ts";
import { decodeMessage, encodeMessage, type Message } from "../wire/message.ts";
import { noStats, type Session, type SessionStats } from "../wire/session.ts";
import { digestEntries } from "./digests.ts";
import { listDirectory, listEntries, signFile } from "./listing.ts";

/** What is looked at. */
export interface OnlookerOptions {
  /** Absolute path of the directory; nothing need be there. */
  root: string;
  fileSystem: FileSystem;
}

/** Opens such a session. What it asks is answered as the directory is at that moment. */
export function openOnlooker({ root, fileSystem }: OnlookerOptions): Session {
  return new Onlooker(
    isDirectory(root) ? fileSystem.openTree(root, { confined: true }) : undefined,
    fileSystem,
  );
}

class Onlooker implements Session {
  readonly peer = "local";
  readonly #stats: SessionStats = noStats();
  /** Undefined where nothing is there yet. */
  readonly #tree: Tree | undefined;
  readonly #fileSystem: FileSystem;
  readonly #answers: Generator<Message, void>[] = [];
  #asked = Promise.withResolvers<void>();
  #isClosed = false;

  constructor(tree: Tree | undefined, fileSystem: FileSystem) {
    this.#tree = tree;
    this.#fileSystem = fileSystem;
  }

  get stats(): Readonly<SessionStats> {
    return this.#stats;
  }

  send(bytes: Uint8Array): Promise<void> {
    if (this.#isClosed) return Promise.reject(new TransientError("Cannot send: the session is closed"));
    this.#stats.packetsSent++;
    this.#stats.bytesSent += bytes.length;
    this.#answers.push(this.#answer(decodeMessage(bytes)));
    this.#asked.resolve();
    return Promise.resolve();
  }

  async receive(): Promise<Uint8Array | undefined> {
    while (!this.#isClosed) {
      const next = this.#answers[0]?.next();
      if (next && !next.done) {
        const bytes = encodeMessage(next.value);
        this.#stats.packetsReceived++;
        this.#stats.bytesReceived += bytes.length;
        return bytes;
      }
      if (next) this.#answers.shift();
      else await this.#nextQuestion();
    }
    return undefined;
  }

  close(): Promise<void> {
    if (!this.#isClosed) this.#tree?.close();
    this.#isClosed = true;
    this.#asked.resolve();
    return Promise.resolve();
  }

  async #nextQuestion(): Promise<void> {
    await this.#asked.promise;
    this.#asked = Promise.withResolvers();
  }

  *#answer(message: Message): Generator<Message, void> {
    switch (message.type) {
      case "hello":
        yield { type: "welcome", welcome: this.#welcome() };
        yield { type: "touched", entries: [], last: true };
        return;
      case "list":
        if (this.#tree) return yield* listEntries(this.#tree, message);
        yield { type: "listing", request: message.request, entries: [], problem: "", last: true };
        return;
      case "list-directory":
        if (this.#tree) return yield* listDirectory(this.#tree, message);
        yield { type: "listing", request: message.request, entries: [], problem: "", last: true };
        return;
      case "digest":
        if (this.#tree) return yield* digestEntries(this.#tree, message);
        yield { type: "digests", request: message.request, nowNs: 0n, entries: [] };
        return;
      case "sign":
        if (this.#tree) return yield* signFile(this.#tree, message);
        yield { type: "signature", request: message.request, fileSize: -1, hashes: new Uint8Array(0) };
        return;
      default:
        throw new ProtocolError(`Cannot take "${message.type}": this directory is only looked at`);
    }
  }

  #welcome() {
    return {
      replicaId: crypto.randomUUID(),
      streamId: "",
      durableSequence: 0,
      compareAll: false,
      abilities: { ...this.#fileSystem.abilities },
      place: this.#tree ? placeOf(this.#tree.rootPath) : { machine: "", identities: [] },
      agent: AGENT,
    };
  }
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
