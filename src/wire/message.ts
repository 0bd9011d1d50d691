/**
 * Messages: what a session carries. The *sender* has the tree that is copied from (a source, or the target of a
 * restore), the *receiver* the tree that is made equal.
 *
 * ```
 *  0       1
 * ┌───────┬──────────────────────────────┬─────────────────────────┐
 * │ type  │ fields of the type, in order │ optional fields (op.ts) │
 * └───────┴──────────────────────────────┴─────────────────────────┘
 * ```
 *
 * What is said once a session or seldom (`hello`, `welcome`, `restore`, `report`, `accounts`, `waiting`) is a JSON object after the type, whose unknown
 * members are skipped; what is said often is binary. The table of types is in docs/WIRE.md §6.
 * @module
 */
import { type Accounts, checkAccounts } from "../base/accounts.ts";
import { ByteReader, ByteWriter, text, utf8 } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { decodeOp, decodePath, encodeOp, encodePath, type Op, skipOptionalFields } from "../ops/op.ts";
import type { FileSystemAbilities } from "../sys/file_system.ts";
import type { Place } from "../sys/place.ts";
import { decodeDigests, type DigestedEntry, encodeDigests } from "./digests.ts";
import { decodeListedEntries, encodeListedEntries, type ListedEntry } from "./listing.ts";

export type { DigestedEntry, ListedEntry };

/** The sender introduces itself. */
export interface Hello {
  /** Stream that the sender would continue, `""` if none. */
  streamId: string;
  /** Replica that this stream belongs to, `""` if none. */
  replicaId: string;
  /** The sender's index is durable up to this sequence. */
  indexedSequence: number;
  /** Program and version, for people. */
  agent: string;
}

/** The receiver answers a {@linkcode Hello}. */
export interface Welcome {
  /** Random identity of the replica, made with it. */
  replicaId: string;
  /** Stream that the replica follows, `""` if none. */
  streamId: string;
  /** Last op of that stream whose effect is durable. */
  durableSequence: number;
  /**
   * Something may differ beyond the touched paths (the target stopped uncleanly, or forgot which paths it touched):
   * a sender that was not connected meanwhile compares everything.
   */
  compareAll: boolean;
  abilities: FileSystemAbilities;
  /** Where the replica is: a source on the same machine refuses to replicate into itself. */
  place: Place;
  /** Program and version, for people. */
  agent: string;
  /** It takes `waiting`. @default {false} as targets before it did not */
  waiting?: boolean;
  /** It keeps the `accounts` of the sender. @default {false} as targets before it did not */
  accounts?: boolean;
}

/** What the receiver has not, as far as the sender knows: should the sender be lost, this is how much is. */
export interface Waiting {
  /** Changes that were heard of and are not acked. */
  changes: number;
  /** Age of the oldest of them, milliseconds. */
  ageMs: number;
  /** Everything was looked at once, and what was found then is acked. */
  isMirrored: boolean;
}

/** What a restoring receiver asks of the sender. */
export interface RestoreRequest {
  /** Paths to restore with everything below, relative to the replica; `[""]` is all of it. */
  paths: string[];
  /** What to do with an entry that exists and differs: replace it if it is older, always, or never. */
  overwrite: "older" | "all" | "none";
  /** Remove what the replica does not have. */
  delete: boolean;
  /** Only report what would be done. */
  dryRun: boolean;
  blockSize: number;
  fastMirrorSizeMin: number;
  /** Name of the compression that the sender is to use. */
  compress: string;
  /** Lines of rules (`rules/rule.ts`): what they leave out is neither restored nor removed. */
  rules: string[];
  /** Bytes a second that the sender keeps to. @default as fast as it goes */
  limitRate?: number;
  /** The first report is to tell the accounts of the replica's source. @default {false} */
  accounts?: boolean;
}

/** An op that the receiver could not apply. Those around it were. */
export interface OpFailure {
  sequence: number;
  path: string;
  /** Kind of the op. */
  op: string;
  /** Errno's name, {@linkcode PENDING} or `""`. */
  code: string;
  reason: string;
}

/** Code of an op that was not done since a program on the receiver uses a file: it waits (target/open_files.ts). */
export const PENDING = "pending";

/** Path that ops changed on the target since the sender's index was saved. */
export interface TouchedPath {
  path: string;
  /** Everything below may have changed too. */
  recursive: boolean;
}

/** An entry to look at, and which bytes of it to digest if it is a file. */
export interface DigestRange {
  path: string;
  start: number;
  /** Behind the last byte. Nothing is digested if it is `start`. */
  end: number;
}

/** Everything that is said on a session. */
export type Message =
  // ——— sender to receiver ———
  | { type: "hello"; hello: Hello }
  /** A new stream: sequence starts at 1. */
  | { type: "begin"; streamId: string }
  /** `count` encoded ops (op.ts) with consecutive sequences from `firstSequence`. */
  | { type: "ops"; firstSequence: number; count: number; encoded: Uint8Array }
  /** The sender's index is durable up to here: touched paths before may be forgotten. */
  | { type: "indexed"; sequence: number }
  /** Everything has been compared after `compareAll`. */
  | { type: "compared" }
  | { type: "list"; request: number; path: string; recursive: boolean }
  /** Block hashes of bytes `start` to `end` of a file; `start` is a multiple of `blockSize`. */
  | { type: "sign"; request: number; path: string; blockSize: number; start: number; end: number }
  /** A directory itself and the entries in it, answered by `listing`. */
  | { type: "list-directory"; request: number; path: string }
  /** Attributes of these entries, and digests of their bytes. */
  | { type: "digest"; request: number; ranges: DigestRange[] }
  /** Later ops know of failures up to `sequence`; the sender waits until nobody uses what keeps `paths`. */
  | { type: "await"; sequence: number; paths: string[] }
  /** Progress, plan lines or the final summary of a restore, for people. */
  | { type: "report"; report: Record<string, unknown> }
  /** Told when it is another number than was told last, at most once a second. */
  | { type: "waiting"; waiting: Waiting }
  /** All accounts of the sender that its set needs, in place of those before. */
  | { type: "accounts"; accounts: Accounts }
  // ——— receiver to sender ———
  | { type: "welcome"; welcome: Welcome }
  | { type: "touched"; entries: TouchedPath[]; last: boolean }
  /** All ops up to `sequence` are done and survive power loss, save `failures`. */
  | { type: "ack"; sequence: number; failures: OpFailure[] }
  | { type: "listing"; request: number; entries: ListedEntry[]; last: boolean; problem: string }
  /** Hashes of the blocks asked for, 16 bytes each; `fileSize` is −1 if there is no such regular file. */
  | { type: "signature"; request: number; fileSize: number; hashes: Uint8Array }
  /** Of those asked for by `digest` that are there, in order; `nowNs` is the receiver's clock. */
  | { type: "digests"; request: number; nowNs: bigint; entries: DigestedEntry[] }
  /** Nothing more is applied until `reason` is `""` again, for example because the disk is full. */
  | { type: "blocked"; reason: string }
  /** Nothing that is known keeps ops on these awaited paths any more. */
  | { type: "free"; paths: string[] }
  | { type: "restore"; restore: RestoreRequest };

/** Name of a type of message. */
export type MessageType = Message["type"];

const typeCodes: Record<MessageType, number> = {
  hello: 1,
  begin: 2,
  ops: 3,
  indexed: 4,
  compared: 5,
  list: 6,
  sign: 7,
  report: 8,
  "list-directory": 9,
  digest: 10,
  accounts: 11,
  waiting: 12,
  await: 16,
  welcome: 65,
  touched: 66,
  ack: 67,
  listing: 68,
  signature: 69,
  blocked: 70,
  restore: 71,
  digests: 72,
  free: 76,
};
const typeNames = new Map(Object.entries(typeCodes).map(([name, code]) => [code, name as MessageType]));

/** Bytes of an `ops` message before its first op, and where its count stands. */
const OPS_HEADER_SIZE = 17;
const OPS_COUNT_OFFSET = 9;

/** Encodes a message into a new buffer. */
export function encodeMessage(message: Message): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(message.type === "ops" ? message.encoded.length + 16 : 256);
  writer.u8(typeCodes[message.type]);
  encodeFields(message, writer);
  return writer.take();
}

/**
 * Decodes a message. Byte fields are views of `bytes`.
 *
 * @throws {ProtocolError} If the bytes are not a message of this version.
 */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = new ByteReader(bytes);
  const code = reader.u8();
  const type = typeNames.get(code);
  if (type === undefined) throw new ProtocolError(`Cannot decode message: type ${code} is unknown`);
  const message = decodeFields(type, reader);
  skipOptionalFields(reader);
  return message;
}

/** The ops of an encoded `ops` message. */
export function decodeOps(bytes: Uint8Array): Op[] {
  const message = decodeMessage(bytes);
  if (message.type !== "ops") throw new ProtocolError(`Cannot decode ops: it is a message "${message.type}"`);
  const reader = new ByteReader(message.encoded);
  return Array.from({ length: message.count }, () => decodeOp(reader));
}

/** Whether these bytes are a `report`, which is for the person who asked and not for the receiver. */
export function isReport(bytes: Uint8Array): boolean {
  return bytes[0] === typeCodes.report;
}

/**
 * Builds one `ops` message in place, so that file bytes are copied once on their way from the disk to the cipher.
 */
export class OpsMessageWriter {
  readonly firstSequence: number;
  readonly #writer: ByteWriter;
  #count = 0;

  /** @param writer An empty writer. It belongs to the message until that is not needed any more. */
  constructor(firstSequence: number, writer: ByteWriter) {
    this.firstSequence = firstSequence;
    this.#writer = writer;
    this.#writer.u8(typeCodes.ops).u53(firstSequence).u32(0).u32(0);
  }

  /** Ops added so far. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the message so far. */
  get size(): number {
    return this.#writer.size;
  }

  /** Appends an op and returns the bytes it took. */
  add(op: Op): number {
    const before = this.#writer.size;
    encodeOp(op, this.#writer);
    this.#count++;
    return this.#writer.size - before;
  }

  /** The finished message, a view of the writer's buffer. Nothing may be added afterwards. */
  seal(): Uint8Array<ArrayBuffer> {
    this.#writer.patchU32(OPS_COUNT_OFFSET, this.#count);
    this.#writer.patchU32(OPS_COUNT_OFFSET + 4, this.#writer.size - OPS_HEADER_SIZE);
    return this.#writer.view();
  }
}

function encodeFields(message: Message, writer: ByteWriter): void {
  switch (message.type) {
    case "hello":
      return encodeJson(message.hello, writer);
    case "welcome":
      return encodeJson(message.welcome, writer);
    case "restore":
      return encodeJson(message.restore, writer);
    case "report":
      return encodeJson(message.report, writer);
    case "accounts":
      return encodeJson(message.accounts, writer);
    case "waiting":
      return encodeJson(message.waiting, writer);
    case "begin":
      writer.string16(message.streamId);
      return;
    case "ops":
      writer.u53(message.firstSequence).u32(message.count).bytes32(message.encoded);
      return;
    case "indexed":
      writer.u53(message.sequence);
      return;
    case "compared":
      return;
    case "list":
      writer.u32(message.request).flag(message.recursive);
      return encodePath(message.path, writer);
    case "sign":
      writer.u32(message.request).u32(message.blockSize).u53(message.start).u53(message.end);
      return encodePath(message.path, writer);
    case "list-directory":
      writer.u32(message.request);
      return encodePath(message.path, writer);
    case "digest":
      writer.u32(message.request).u32(message.ranges.length);
      for (const { path, start, end } of message.ranges) {
        encodePath(path, writer);
        writer.u53(start).u53(end);
      }
      return;
    case "touched":
      writer.flag(message.last).u32(message.entries.length);
      for (const { path, recursive } of message.entries) {
        encodePath(path, writer);
        writer.flag(recursive);
      }
      return;
    case "ack":
      writer.u53(message.sequence).u32(message.failures.length);
      for (const failure of message.failures) {
        writer.u53(failure.sequence);
        encodePath(failure.path, writer);
        writer.string16(failure.op).string16(failure.code).string16(failure.reason);
      }
      return;
    case "listing":
      writer.u32(message.request).flag(message.last).string16(message.problem);
      return encodeListedEntries(message.entries, writer);
    case "signature":
      writer.u32(message.request).i64(BigInt(message.fileSize)).bytes32(message.hashes);
      return;
    case "digests":
      writer.u32(message.request).i64(message.nowNs);
      return encodeDigests(message.entries, writer);
    case "blocked":
      writer.string16(message.reason);
      return;
    case "await":
      writer.u53(message.sequence);
      return encodePaths(message.paths, writer);
    case "free":
      return encodePaths(message.paths, writer);
  }
}

function decodeFields(type: MessageType, reader: ByteReader): Message {
  switch (type) {
    case "hello":
      return { type, hello: decodeJson(reader, helloMembers) };
    case "welcome":
      return { type, welcome: decodeJson(reader, welcomeMembers) };
    case "restore":
      return { type, restore: decodeJson(reader, restoreMembers) };
    case "report":
      return { type, report: decodeJson<Record<string, unknown>>(reader, {}) };
    case "waiting":
      return { type, waiting: decodeJson(reader, waitingMembers) };
    case "accounts":
      return { type, accounts: checkAccounts(decodeJson(reader, {})) };
    case "begin":
      return { type, streamId: reader.string16() };
    case "ops":
      return { type, firstSequence: reader.u53(), count: reader.u32(), encoded: reader.bytes32() };
    case "indexed":
      return { type, sequence: reader.u53() };
    case "compared":
      return { type };
    case "list":
      return { type, request: reader.u32(), recursive: reader.flag(), path: decodePath(reader) };
    case "sign": {
      const [request, blockSize, start, end] = [reader.u32(), reader.u32(), reader.u53(), reader.u53()];
      return { type, request, blockSize, start, end, path: decodePath(reader) };
    }
    case "list-directory":
      return { type, request: reader.u32(), path: decodePath(reader) };
    case "digest": {
      const decodeRange = () => ({ path: decodePath(reader), start: reader.u53(), end: reader.u53() });
      return { type, request: reader.u32(), ranges: decodeList(reader, decodeRange) };
    }
    case "digests":
      return { type, request: reader.u32(), nowNs: reader.i64(), entries: decodeDigests(reader) };
    case "touched": {
      const last = reader.flag();
      const decodeTouched = () => ({ path: decodePath(reader), recursive: reader.flag() });
      return { type, last, entries: decodeList(reader, decodeTouched) };
    }
    case "ack":
      return { type, sequence: reader.u53(), failures: decodeList(reader, () => decodeFailure(reader)) };
    case "listing": {
      const [request, last, problem] = [reader.u32(), reader.flag(), reader.string16()];
      return { type, request, last, problem, entries: decodeListedEntries(reader) };
    }
    case "signature":
      return { type, request: reader.u32(), fileSize: decodeFileSize(reader), hashes: reader.bytes32() };
    case "blocked":
      return { type, reason: reader.string16() };
    case "await":
      return { type, sequence: reader.u53(), paths: decodeList(reader, () => decodePath(reader)) };
    case "free":
      return { type, paths: decodeList(reader, () => decodePath(reader)) };
  }
}

function encodePaths(paths: readonly string[], writer: ByteWriter): void {
  writer.u32(paths.length);
  for (const path of paths) encodePath(path, writer);
}

/** Bytes of a file, or −1. */
function decodeFileSize(reader: ByteReader): number {
  const size = Number(reader.i64());
  if (size < -1 || !Number.isSafeInteger(size)) {
    throw new ProtocolError(`Cannot decode signature: size ${size}`);
  }
  return size;
}

function decodeFailure(reader: ByteReader): OpFailure {
  const [sequence, path] = [reader.u53(), decodePath(reader)];
  return { sequence, path, op: reader.string16(), code: reader.string16(), reason: reader.string16() };
}

/** A count, then that many items. An item has at least one byte, so a count cannot outgrow its message. */
function decodeList<T>(reader: ByteReader, decodeItem: () => T): T[] {
  const count = reader.u32();
  if (count > reader.left) throw new ProtocolError(`Cannot decode message: ${count} items cannot follow`);
  return Array.from({ length: count }, decodeItem);
}

/** Members that must be there, with a value of the type that must stand there. */
type Members<T> = { [Name in keyof T]: T[Name] };

const helloMembers: Members<Hello> = { streamId: "", replicaId: "", indexedSequence: 0, agent: "" };
/** Each ability is named, so that one which is added cannot be forgotten here. */
const abilityMembers: Members<FileSystemAbilities> = {
  rawNames: false,
  nanoseconds: false,
  ownership: false,
  modes: false,
  links: false,
  nodes: false,
  xattrs: false,
  exchange: false,
  confined: false,
  syncAll: false,
};
const placeMembers: Members<Place> = { machine: "", identities: [""] };
const welcomeMembers: Members<Welcome> = {
  replicaId: "",
  streamId: "",
  durableSequence: 0,
  compareAll: false,
  abilities: abilityMembers,
  place: placeMembers,
  agent: "",
};
const waitingMembers: Members<Waiting> = { changes: 0, ageMs: 0, isMirrored: false };
const restoreMembers: Members<RestoreRequest> = {
  paths: [""],
  overwrite: "older",
  delete: false,
  dryRun: false,
  blockSize: 0,
  fastMirrorSizeMin: 0,
  compress: "",
  rules: [""],
};

function encodeJson(value: unknown, writer: ByteWriter): void {
  writer.bytes32(utf8(JSON.stringify(value)));
}

function decodeJson<T extends object>(reader: ByteReader, members: T): T {
  let value: unknown;
  try {
    value = JSON.parse(text(reader.bytes32()));
  } catch (cause) {
    throw new ProtocolError("Cannot decode message: not JSON", { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ProtocolError("Cannot decode message: not an object");
  }
  for (const [name, example] of Object.entries(members)) {
    if (!Object.hasOwn(value, name) || !isLike((value as Record<string, unknown>)[name], example)) {
      throw new ProtocolError(`Cannot decode message: "${name}" is missing or of another type`);
    }
  }
  return value as T;
}

/** Whether a member has the form of its example: all its members, each item like the first, whole numbers from 0. */
function isLike(value: unknown, example: unknown): boolean {
  if (Array.isArray(example)) return Array.isArray(value) && value.every((item) => isLike(item, example[0]));
  if (typeof example === "number") return Number.isSafeInteger(value) && (value as number) >= 0;
  if (typeof example !== "object" || example === null) return typeof value === typeof example;
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.entries(example).every(([name, part]) => isLike((value as Record<string, unknown>)[name], part));
}
