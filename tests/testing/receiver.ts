/**
 * A replica with its receiver, in this thread, on real files; and short ways to make ops for it.
 * @module
 */
import { ByteWriter, utf8 } from "../../src/base/bytes.ts";
import { encodeOp, type Op } from "../../src/ops/op.ts";
import type { AttributeChange, FileSystem, Tree } from "../../src/sys/file_system.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { openReplica, type Replica } from "../../src/target/replica.ts";
import { Receiver } from "../../src/target/receive.ts";
import { decodeMessage, encodeMessage, type Message, type OpFailure } from "../../src/wire/message.ts";

/** Where a harness keeps its replica. */
export interface HarnessOptions {
  /** An existing directory; the live tree and the state are made in it. */
  directory: string;
  fileSystem?: FileSystem;
  /** Sees each message when it is sent. */
  onSend?: (message: Message) => void;
  /** Held from the beginning. */
  heldReason?: string;
}

/** A mode and a time, so that trees can be compared. */
export const plain: AttributeChange = { mode: 0o644, mtimeNs: 1_700_000_000_123_456_789n };

/** A whole file. */
export function file(path: string, contents: string | Uint8Array, attributes = plain): Op {
  return { kind: "file", path, attributes, data: typeof contents === "string" ? utf8(contents) : contents };
}

/** A directory. */
export function mkdir(path: string, attributes: AttributeChange = { mode: 0o755 }): Op {
  return { kind: "mkdir", path, attributes };
}

/** A symbolic link. */
export function symlink(path: string, target: string): Op {
  return { kind: "symlink", path, target, attributes: { mtimeNs: plain.mtimeNs } };
}

/** A rename. */
export function rename(path: string, to: string, exchange = false): Op {
  return { kind: "rename", path, to, exchange };
}

/** The ops of a whole transfer. A number in the place of a block's contents is the size of a hole. */
export function transfer(
  id: number,
  path: string,
  { base = "empty", blocks, size }: {
    base?: "empty" | "copy" | "patch";
    blocks: [number, string | number][];
    size: number;
  },
): Op[] {
  return [
    { kind: "open", transfer: id, path, base },
    ...blocks.map(([offset, content]): Op =>
      typeof content === "number"
        ? { kind: "hole", transfer: id, offset, size: content }
        : { kind: "block", transfer: id, offset, data: utf8(content) }
    ),
    { kind: "close", transfer: id, path, size, attributes: plain },
  ];
}

/** An `ops` message, encoded and decoded as on the wire. */
export function opsMessage(firstSequence: number, ops: Op[]): Message {
  const writer = new ByteWriter();
  for (const op of ops) encodeOp(op, writer);
  const message: Message = { type: "ops", firstSequence, count: ops.length, encoded: writer.take() };
  return decodeMessage(encodeMessage(message));
}

/** One open replica and one session with it. */
export class Harness implements Disposable {
  readonly replica: Replica;
  readonly receiver: Receiver;
  readonly sent: Message[] = [];
  #next = 1;

  constructor({ directory, fileSystem = systemFileSystem(), onSend, heldReason }: HarnessOptions) {
    const [replicaRoot, stateDirectory] = [`${directory}/live`, `${directory}/state`];
    this.replica = openReplica({ replicaRoot, stateDirectory, fileSystem, create: true });
    const send = (message: Message) => {
      this.sent.push(message);
      onSend?.(message);
    };
    this.receiver = new Receiver(this.replica, { agent: "test", send, heldReason });
  }

  /** Says hello and goes on with the stream, or begins it. Gives the welcome. */
  hello(streamId = "stream", indexedSequence = 0): Message & { type: "welcome" } {
    const { replicaId } = this.replica;
    this.receiver.handle({ type: "hello", hello: { streamId, replicaId, indexedSequence, agent: "test" } });
    const welcome = this.last("welcome");
    while (this.receiver.hasWork) this.receiver.work();
    if (welcome.welcome.streamId !== streamId) this.receiver.handle({ type: "begin", streamId });
    this.#next = this.replica.durableSequence + 1;
    return welcome;
  }

  /** Gathers ops without applying them. */
  gather(...ops: Op[]): void {
    this.receiver.handle(opsMessage(this.#next, ops));
    this.#next += ops.length;
  }

  /** Applies ops; gives the failures of their acks. */
  apply(...ops: Op[]): OpFailure[] {
    const from = this.sent.length;
    this.gather(...ops);
    this.receiver.flush();
    return this.sent.slice(from).flatMap((message) => message.type === "ack" ? message.failures : []);
  }

  /** Asks and takes the whole answer. */
  ask(question: Message): Message[] {
    const from = this.sent.length;
    this.receiver.handle(question);
    while (this.receiver.hasWork) this.receiver.work();
    return this.sent.slice(from);
  }

  /** The last message of a type. */
  last<Type extends Message["type"]>(type: Type): Message & { type: Type } {
    const found = this.sent.findLast((message) => message.type === type);
    if (found === undefined) throw new Error(`No "${type}" was sent`);
    return found as Message & { type: Type };
  }

  /** Names in staging. */
  staged(): string[] {
    return this.replica.staging.tree.list("").map(({ name }) => name).sort();
  }

  /** Stops in order. */
  [Symbol.dispose](): void {
    this.receiver.closeSession();
    this.replica.close();
  }
}

/** What {@linkcode snapshot} tells of entries. */
export interface SnapshotOptions {
  /** Modification times of directories too. @default {true} */
  directoryTimes?: boolean;
}

/** A tree as text, one line an entry, sorted: to be compared as a whole. */
export function snapshot(rootPath: string, { directoryTimes = true }: SnapshotOptions = {}): string[] {
  using tree = systemFileSystem().openTree(rootPath);
  const lines: string[] = [];
  addLines(tree, "", { directoryTimes, lines });
  return lines.sort();
}

function addLines(tree: Tree, path: string, to: { directoryTimes: boolean; lines: string[] }): void {
  const { kind, mode, mtimeNs } = tree.stat(path)!;
  const time = kind === "directory" && !to.directoryTimes ? "" : ` ${mtimeNs}`;
  to.lines.push(`${path || "."} ${kind} ${mode.toString(8)}${time} ${contentsOf(tree, path, kind)}`);
  if (kind !== "directory") return;
  for (const { name } of tree.list(path)) {
    if (path !== "" || name !== ".understudy") addLines(tree, path === "" ? name : `${path}/${name}`, to);
  }
}

function contentsOf(tree: Tree, path: string, kind: string): string {
  if (kind === "symlink") return tree.readLink(path);
  if (kind !== "file") return "";
  using opened = tree.open(path, { access: "read" });
  const bytes = new Uint8Array(opened.stat().size);
  opened.read(bytes, 0);
  return bytes.length > 64
    ? `${bytes.length} bytes ${Deno.inspect(bytes.reduce((a, b) => (a * 31 + b) | 0, 7))}`
    : new TextDecoder().decode(bytes);
}
