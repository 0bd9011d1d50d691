/**
 * Join tokens: everything that a source needs to pair once with a target, in one word.
 *
 * ```
 * "us1-" ‖ base64url of
 *
 *  0         1                     33            49          81         89        …
 * │ version │ target's public key │ token id 16 │ secret 32 │ expiry   │ address │ name │ fields │ checksum │
 *
 *  version  1 · expiry u53, milliseconds since 1970 · checksum 4 bytes
 *  s16      u16 size, UTF-8
 *  fields   (tag u8, u16 size, bytes)*   none yet; a reader skips tags below 128 and refuses others
 *  checksum first 4 bytes of SHA-256 over everything before it: a mistyped token is told apart from an expired one
 * ```
 *
 * The secret is the handshake's psk. It is never printed but in the token itself.
 * @module
 */
import { createHash } from "node:crypto";
import { ByteReader, ByteWriter, concatBytes, equalBytes } from "../base/bytes.ts";
import { ProtocolError, reasonOf, UsageError } from "../base/errors.ts";
import { KEY_SIZE } from "./aead.ts";
import { TOKEN_ID_SIZE } from "./handshake.ts";
import { decodeBase64Url, DH_SIZE, fingerprint } from "./keys.ts";

/** What a join token begins with. */
export const JOIN_TOKEN_PREFIX = "us1-";

const VERSION = 1;
const CHECKSUM_SIZE = 4;
const REQUIRED_TAG_MIN = 128;

/** What a join token holds. */
export interface JoinTokenFields {
  targetPublicKey: Uint8Array;
  /** 16 bytes. */
  id: Uint8Array;
  /** 32 bytes. */
  secret: Uint8Array;
  /** Milliseconds since 1970, by the target's clock. */
  expiresAtMs: number;
  /** `HOST:PORT` of the target. */
  address: string;
  /** Replica's name. */
  name: string;
}

/** A join token. Printing it, also as JSON, shows everything but the secret. */
export class JoinToken {
  readonly targetPublicKey: Uint8Array;
  readonly id: Uint8Array;
  readonly expiresAtMs: number;
  readonly address: string;
  readonly name: string;
  readonly #secret: Uint8Array;

  constructor(fields: JoinTokenFields) {
    this.targetPublicKey = fields.targetPublicKey;
    this.id = fields.id;
    this.expiresAtMs = fields.expiresAtMs;
    this.address = fields.address;
    this.name = fields.name;
    this.#secret = fields.secret;
  }

  /** 32 bytes, the psk of the pairing handshake. */
  get secret(): Uint8Array {
    return this.#secret;
  }

  /** Whether the token was to be used before now. The target's clock decides in the end. */
  isExpired(nowMs: number): boolean {
    return nowMs >= this.expiresAtMs;
  }

  toString(): string {
    return describeJoinToken(this);
  }
}

/** Whether a word looks like a join token, well-formed or not. */
export function isJoinToken(text: string): boolean {
  return text.startsWith(JOIN_TOKEN_PREFIX);
}

/** A join token as one word. Holds the secret: for the user's eyes only. */
export function encodeJoinToken(fields: JoinTokenFields): string {
  const body = new ByteWriter()
    .u8(VERSION)
    .raw(fields.targetPublicKey)
    .raw(fields.id)
    .raw(fields.secret)
    .u53(fields.expiresAtMs)
    .string16(fields.address)
    .string16(fields.name)
    .take();
  const bytes = concatBytes(body, checksumOf(body));
  return JOIN_TOKEN_PREFIX + bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/**
 * Decodes a join token. Whether it is expired is not looked at.
 *
 * @throws {UsageError} If it is not a join token, mistyped or cut off, or of a newer version.
 */
export function decodeJoinToken(text: string): JoinToken {
  const word = text.trim();
  if (!isJoinToken(word)) {
    throw new UsageError(`Cannot read join token: it does not start with "${JOIN_TOKEN_PREFIX}"`);
  }
  const bytes = decodeBase64Url(word.slice(JOIN_TOKEN_PREFIX.length));
  const body = bytes?.subarray(0, -CHECKSUM_SIZE);
  if (
    bytes === undefined || body === undefined || bytes.length <= CHECKSUM_SIZE ||
    !equalBytes(bytes.subarray(-CHECKSUM_SIZE), checksumOf(body))
  ) {
    throw new UsageError("Cannot read join token: its checksum does not fit, it is mistyped or cut off");
  }
  try {
    return decodeBody(new ByteReader(body));
  } catch (error) {
    if (error instanceof ProtocolError) throw new UsageError(`Cannot read join token: ${reasonOf(error)}`);
    throw error;
  }
}

/** A token for people, without its secret. */
export function describeJoinToken({ name, address, expiresAtMs, targetPublicKey }: JoinToken): string {
  const expiry = new Date(expiresAtMs).toISOString();
  return `join token for replica "${name}" at ${address}, target key ${
    fingerprint(targetPublicKey)
  }, until ${expiry}`;
}

function decodeBody(reader: ByteReader): JoinToken {
  const version = reader.u8();
  if (version !== VERSION) {
    throw new UsageError(`Cannot read join token: its version ${version} is unknown to this program`);
  }
  const token = new JoinToken({
    targetPublicKey: reader.raw(DH_SIZE),
    id: reader.raw(TOKEN_ID_SIZE),
    secret: reader.raw(KEY_SIZE),
    expiresAtMs: reader.u53(),
    address: reader.string16(),
    name: reader.string16(),
  });
  while (reader.left > 0) {
    const tag = reader.u8();
    reader.bytes16();
    if (tag >= REQUIRED_TAG_MIN) {
      throw new UsageError(`Cannot read join token: its required field ${tag} is unknown to this program`);
    }
  }
  return token;
}

function checksumOf(body: Uint8Array): Uint8Array {
  return createHash("sha256").update(body).digest().subarray(0, CHECKSUM_SIZE);
}
