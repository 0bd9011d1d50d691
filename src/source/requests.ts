/**
 * Questions to the target over the session of a lane: what it holds at a path, and block hashes of its files. A
 * question is answered after all ops pushed before it have been applied.
 * @module
 */
import { ProtocolError, TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { DigestedEntry, DigestRange, ListedEntry, Message } from "../wire/message.ts";

/** Block hashes of the target's file. */
export interface RemoteSignature {
  /** Size of the target's file; −1 if there is no such regular file. */
  fileSize: number;
  /** 16 bytes a block. */
  hashes: Uint8Array;
}

/** What the target said of entries that it was asked to digest. */
export interface RemoteDigests {
  /** Its clock; nanoseconds since 1970. */
  nowNs: bigint;
  entries: DigestedEntry[];
}

/** A message of the receiver that answers a question. */
export type Answer = Extract<Message, { type: "listing" | "signature" | "digests" }>;

interface Pending {
  onAnswer(answer: Answer): void;
  onFailure(error: Error): void;
}

/** Asks, and matches answers with questions. */
export class Requests {
  readonly #post: (message: Message) => void;
  readonly #pending = new Map<number, Pending>();
  /** Asked when an answer makes room. */
  readonly #waiting: (() => void)[] = [];
  #nextRequest = 1;
  #connected = false;

  /** @param post Sends a message in order with the ops, see `Lane.post`. */
  constructor(post: (message: Message) => void) {
    this.#post = post;
  }

  /** Whether questions may be asked. */
  get isConnected(): boolean {
    return this.#connected;
  }

  /** Questions may be asked from now on. */
  connect(): void {
    this.#connected = true;
  }

  /** Fails all open questions: their answers will not come. */
  disconnect(): void {
    this.#connected = false;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const ask of this.#waiting.splice(0)) ask();
    for (const { onFailure } of pending) {
      onFailure(new TransientError("Cannot ask the target: not connected"));
    }
  }

  /** Takes an answer from the session. @throws {ProtocolError} If nobody asked. */
  take(answer: Answer): void {
    const pending = this.#pending.get(answer.request);
    if (!pending) throw new ProtocolError(`Cannot take answer ${answer.request}: nobody asked`);
    pending.onAnswer(answer);
  }

  /**
   * Lists what the target holds at `path`, with `recursive` also below, parents first. `onEntries` is called for each
   * part of the list. Resolves with what could not be read there, `""` if nothing.
   *
   * @throws {TransientError} If the session breaks.
   */
  list(path: string, recursive: boolean, onEntries: (entries: ListedEntry[]) => void): Promise<string> {
    return this.#list((request) => ({ type: "list", request, path, recursive }), onEntries);
  }

  /**
   * Lists a directory of the target and what is in it, not below; otherwise like {@linkcode list}.
   *
   * @throws {TransientError} If the session breaks.
   */
  listDirectory(path: string, onEntries: (entries: ListedEntry[]) => void): Promise<string> {
    return this.#list((request) => ({ type: "list-directory", request, path }), onEntries);
  }

  /**
   * Attributes of the target's entries and digests of their bytes; those that are not there are left out.
   *
   * @throws {TransientError} If the session breaks.
   */
  digest(ranges: DigestRange[]): Promise<RemoteDigests> {
    return this.#ask((request) => ({ type: "digest", request, ranges }), (answer, resolve) => {
      if (answer.type !== "digests") throw new ProtocolError("Cannot take answer: digests were asked for");
      resolve({ nowNs: answer.nowNs, entries: answer.entries });
    });
  }

  /**
   * Hashes of the target's blocks from byte `start` (a multiple of `blockSize`) to `end`.
   *
   * @throws {TransientError} If the session breaks.
   */
  sign(path: string, range: { blockSize: number; start: number; end: number }): Promise<RemoteSignature> {
    return this.#ask((request) => ({ type: "sign", request, path, ...range }), (answer, resolve) => {
      if (answer.type !== "signature") {
        throw new ProtocolError("Cannot take answer: a signature was asked for");
      }
      resolve({ fileSize: answer.fileSize, hashes: answer.hashes });
    });
  }

  #list(
    makeMessage: (request: number) => Message,
    onEntries: (entries: ListedEntry[]) => void,
  ): Promise<string> {
    let problem = "";
    return this.#ask(makeMessage, (answer, resolve) => {
      if (answer.type !== "listing") throw new ProtocolError("Cannot take answer: a listing was asked for");
      onEntries(answer.entries);
      problem ||= answer.problem;
      if (answer.last) resolve(problem);
    });
  }

  #ask<T>(
    makeMessage: (request: number) => Message,
    takeAnswer: (answer: Answer, resolve: (value: T) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const ask = () => {
        if (!this.#connected) return reject(new TransientError("Cannot ask the target: not connected"));
        const request = this.#nextRequest++;
        const finish = (value: T) => {
          this.#pending.delete(request);
          this.#waiting.shift()?.();
          resolve(value);
        };
        this.#pending.set(request, { onAnswer: (answer) => takeAnswer(answer, finish), onFailure: reject });
        this.#post(makeMessage(request));
      };
      if (this.#pending.size >= limits.questionsAtOnce) this.#waiting.push(ask);
      else ask();
    });
  }
}
