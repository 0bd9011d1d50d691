/**
 * Hints as commands of the transaction log (docs/DISK.md, "Transaction log").
 * @module
 */
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { CorruptionError } from "../base/errors.ts";
import { pathFromBytes, pathToBytes } from "../base/path.ts";
import type { Hint } from "../intercept/interceptor.ts";

/** A hint that is kept: that the root is gone is not, since it may be back. */
export type LoggedHint = Exclude<Hint, { kind: "root-gone" }>;

const codes: Record<LoggedHint["kind"], number> = { "look": 1, "look-below": 2, "moved": 3 };

/** Why what was logged is looked below: the words of then are not kept. */
const LOGGED = "it was logged";

/** Encodes a hint into a writer that is emptied first; the bytes are valid until its next use. */
export function encodeHint(hint: LoggedHint, writer: ByteWriter): Uint8Array {
  writer.reset();
  writer.u8(codes[hint.kind]);
  if (hint.kind !== "moved") return writer.bytes16(pathToBytes(hint.path)).view();
  return writer.bytes16(pathToBytes(hint.from)).bytes16(pathToBytes(hint.to)).flag(hint.directory).view();
}

/** Decodes a command. @throws {CorruptionError} If it is none: its record was whole, so another version wrote it. */
export function decodeHint(payload: Uint8Array): LoggedHint {
  const reader = new ByteReader(payload);
  const path = () => pathFromBytes(reader.bytes16());
  const code = reader.u8();
  switch (code) {
    case codes.look:
      return { kind: "look", path: path() };
    case codes["look-below"]:
      return { kind: "look-below", path: path(), reason: LOGGED };
    case codes.moved:
      return { kind: "moved", from: path(), to: path(), directory: reader.flag() };
    default:
      throw new CorruptionError(`Cannot read the transaction log: command ${code} is unknown`);
  }
}
