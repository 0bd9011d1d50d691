/**
 * The handshake over a connection, both sides. Bytes are drawn in handshake.ts.
 *
 * Reads never take more than their message, so that whoever goes on with the connection finds the first frame.
 * Deadlines belong to the caller, who closes the connection.
 * @module
 */
import { ByteReader, ByteWriter, concatBytes } from "../base/bytes.ts";
import { ProtocolError, reasonOf, TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { printable } from "./frame.ts";
import {
  answerStatus,
  type Authorization,
  checkVersion,
  decodeAnswer,
  decodePreamble,
  decodeRequest,
  encodeAnswer,
  encodePreamble,
  encodeRefusal,
  encodeRequest,
  noiseProtocolName,
  OWN_FEATURES,
  type Preamble,
  PREAMBLE_FIXED_SIZE,
  PREAMBLE_SIZE,
  Refusal,
  refusalCodeOf,
  type SessionRequest,
  ZERO_PSK,
} from "./handshake.ts";
import type { KeyPair } from "./keys.ts";
import { writeAll } from "./line.ts";
import { HandshakeState, type TransportKeys } from "./noise.ts";

/** What the handshake needs of a connection. */
export type Line = Pick<Deno.Conn, "read" | "write">;

/** What the connecting side brings. */
export interface ConnectingParty {
  preamble: Preamble;
  keyPair: KeyPair;
  targetPublicKey: Uint8Array;
  request: SessionRequest;
  /** The join token's secret while pairing. @default {ZERO_PSK} */
  psk?: Uint8Array;
  /** For golden vectors only. @default a random one */
  ephemeralKeyPair?: KeyPair;
}

/** What the answering side brings. */
export interface AnsweringParty {
  keyPair: KeyPair;
  /** Decides on a request. `peerPublicKey` is authentic as far as message 1 is: it may be a replay. */
  authorize(request: SessionRequest, peerPublicKey: Uint8Array): Promise<Authorization> | Authorization;
  /** Whether a peer may choose cipher `none`. @default {true} */
  plainAllowed?: boolean;
  /** For golden vectors only. @default a random one */
  ephemeralKeyPair?: KeyPair;
}

/** A finished handshake, either side. */
export interface HandshakeResult {
  keys: TransportKeys;
  /** Frames are not encrypted. */
  plain: boolean;
  peerFeatures: number;
  peerPublicKey: Uint8Array;
}

/**
 * Runs the handshake as the connecting side; gives it with the target's opaque answer.
 *
 * @throws {Refusal} If the target says no.
 * @throws {ProtocolError} If the answer is not authentic: another key, another psk, or a broken line.
 * @throws {TransientError} If the line breaks.
 */
export async function connectHandshake(
  line: Line,
  party: ConnectingParty,
): Promise<HandshakeResult & { answer: Uint8Array }> {
  const prologue = encodePreamble(party.preamble);
  const state = new HandshakeState({
    protocolName: noiseProtocolName(party.preamble.suite),
    initiator: true,
    prologue,
    staticKeyPair: party.keyPair,
    ephemeralKeyPair: party.ephemeralKeyPair,
    remoteStatic: party.targetPublicKey,
    psks: [party.psk ?? ZERO_PSK],
  });
  const message1 = state.writeMessage(encodeRequest(party.request));
  await writeAll(line, concatBytes(prologue, sized(message1)));
  const { features, answer } = decodeAnswer(readMessage2(state, await readAnswer(line)));
  const keys = state.split();
  await writeAll(line, sized(keys.send.encryptWithAd(new Uint8Array(), new Uint8Array())));
  return {
    keys,
    plain: party.preamble.plain,
    peerFeatures: features,
    peerPublicKey: party.targetPublicKey,
    answer,
  };
}

/**
 * Runs the handshake as the answering side. When it resolves, the peer has shown that it knows its private key and
 * the psk; `confirm` of the authorization is still to be called.
 *
 * @throws {Refusal} If the peer was refused; it has been told so.
 * @throws {ProtocolError} If the peer does not speak this protocol or does not know the psk.
 * @throws {TransientError} If the line breaks.
 */
export async function answerHandshake(
  line: Line,
  party: AnsweringParty,
): Promise<HandshakeResult & { request: SessionRequest; confirm: () => void | Promise<void> }> {
  try {
    const { prologue, preamble } = await readPreamble(line);
    if (preamble.plain && party.plainAllowed === false) {
      throw new Refusal("suite", "the target does not accept unencrypted sessions");
    }
    const state = new HandshakeState({
      protocolName: noiseProtocolName(preamble.suite),
      initiator: false,
      prologue,
      staticKeyPair: party.keyPair,
      ephemeralKeyPair: party.ephemeralKeyPair,
    });
    const request = readMessage1(state, await readSized(line));
    const peerPublicKey = state.remoteStatic!;
    const authorization = await party.authorize(request, peerPublicKey);
    if ("refuse" in authorization) throw new Refusal("unauthorized", authorization.refuse);
    state.addPsk(authorization.psk);
    const payload = encodeAnswer({
      features: OWN_FEATURES,
      answer: authorization.answer ?? new Uint8Array(),
    });
    const message2 = state.writeMessage(payload);
    await writeAll(line, concatBytes(Uint8Array.of(answerStatus.accepted), sized(message2)));
    const keys = state.split();
    readMessage3(keys, await readSized(line));
    const confirm = authorization.confirm ?? (() => {});
    return { keys, plain: preamble.plain, peerFeatures: preamble.features, peerPublicKey, request, confirm };
  } catch (error) {
    if (error instanceof Refusal) await tellRefusal(line, error);
    throw error;
  }
}

async function readPreamble(line: Line): Promise<{ prologue: Uint8Array; preamble: Preamble }> {
  // The rest of a preamble of another version may be shorter: look at the version before waiting for it.
  const start = await readExactly(line, PREAMBLE_FIXED_SIZE);
  checkVersion(start);
  const prologue = concatBytes(start, await readExactly(line, PREAMBLE_SIZE - PREAMBLE_FIXED_SIZE));
  return { prologue, preamble: decodePreamble(prologue) };
}

function readMessage1(state: HandshakeState, message: Uint8Array): SessionRequest {
  let payload: Uint8Array;
  try {
    payload = state.readMessage(message);
  } catch {
    throw new Refusal(
      "key",
      "the target's key is not the expected one, or the source's first message was changed on its way",
    );
  }
  try {
    return decodeRequest(payload);
  } catch (error) {
    throw new Refusal("request", reasonOf(error));
  }
}

function readMessage2(state: HandshakeState, message: Uint8Array): Uint8Array {
  try {
    return state.readMessage(message);
  } catch (cause) {
    throw new ProtocolError(
      "Cannot verify the target: it does not know the expected key or the join token's secret",
      { cause },
    );
  }
}

function readMessage3({ receive }: TransportKeys, message: Uint8Array): void {
  try {
    receive.decryptWithAd(new Uint8Array(), message);
  } catch (cause) {
    throw new ProtocolError("Cannot verify the source: it does not know the join token's secret", { cause });
  }
}

async function readAnswer(line: Line): Promise<Uint8Array> {
  const [status] = await readExactly(line, 1);
  if (status === answerStatus.accepted) return await readSized(line);
  if (status !== answerStatus.refused) {
    throw new ProtocolError("Cannot open session: the peer does not speak this protocol");
  }
  const reader = new ByteReader(await readExactly(line, 3));
  const code = refusalCodeOf(reader.u8());
  const size = Math.min(reader.u16(), limits.refusalReasonSizeMax);
  const reason = printable(await readExactly(line, size));
  throw new Refusal(code, reason);
}

async function tellRefusal(line: Line, refusal: Refusal): Promise<void> {
  try {
    await writeAll(line, encodeRefusal(refusal.code, refusal.message));
  } catch {
    // The peer is gone: nobody is left to be told, and the refusal itself is what the caller hears.
  }
}

function sized(message: Uint8Array): Uint8Array<ArrayBuffer> {
  return new ByteWriter(message.length + 2).bytes16(message).view();
}

async function readSized(line: Line): Promise<Uint8Array> {
  const size = new ByteReader(await readExactly(line, 2)).u16();
  if (size > limits.handshakeMessageSizeMax) {
    throw new ProtocolError(`Cannot read handshake: a message of ${size} bytes is too large`);
  }
  return await readExactly(line, size);
}

async function readExactly(line: Line, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size;) {
    const count = await line.read(bytes.subarray(at));
    if (count === null) throw new TransientError("Cannot finish handshake: the peer closed the connection");
    at += count;
  }
  return bytes;
}
