/**
 * The source's end of a session, message by message.
 * @module
 */
import type { Op } from "../../src/ops/op.ts";
import { decodeMessage, encodeMessage, type Message } from "../../src/wire/message.ts";
import type { Session } from "../../src/wire/session.ts";
import { opsMessage } from "./receiver.ts";

/** The sender's end of a session. */
export class Sender {
  readonly session: Session;
  #sequence = 0;

  constructor(session: Session) {
    this.session = session;
  }

  send(message: Message): Promise<void> {
    return this.session.send(encodeMessage(message));
  }

  /** Messages up to and including the first one of a type that `isIt` accepts. */
  async until<Type extends Message["type"]>(
    type: Type,
    isIt: (message: Message & { type: Type }) => boolean = () => true,
  ): Promise<Message & { type: Type }> {
    while (true) {
      const bytes = await this.session.receive();
      if (bytes === undefined) throw new Error(`The session ended before "${type}"`);
      const message = decodeMessage(bytes);
      if (message.type === type && isIt(message as Message & { type: Type })) {
        return message as Message & { type: Type };
      }
    }
  }

  async begin(streamId = "stream"): Promise<void> {
    await this.send({ type: "hello", hello: { streamId: "", replicaId: "", indexedSequence: 0, agent: "" } });
    await this.until("touched", ({ last }) => last);
    await this.send({ type: "begin", streamId });
  }

  ops(...ops: Op[]): Promise<void> {
    const first = this.#sequence + 1;
    this.#sequence += ops.length;
    return this.send(opsMessage(first, ops));
  }

  /** Sends ops and waits until they are durable. */
  async apply(...ops: Op[]): Promise<void> {
    const [sent] = [this.ops(...ops)];
    await this.until("ack", ({ sequence }) => sequence === this.#sequence);
    await sent;
  }
}
