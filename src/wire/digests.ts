/**
 * Entries of a `digests` answer as bytes: entries as in a listing, and then what belongs to each of them.
 *
 * ```
 * │ list of entries (listing.ts) │ for each of them: ctime i64 ns │ digested flag │ [SHA-256, 32 bytes] │
 * ```
 * @module
 */
import type { ByteReader, ByteWriter } from "../base/bytes.ts";
import { assert } from "../base/errors.ts";
import { decodeListedEntries, encodeListedEntries, type ListedEntry } from "./listing.ts";

/** Bytes of a SHA-256. */
export const DIGEST_SIZE = 32;

/** An entry of the receiver's tree with the digest of some of its bytes. */
export interface DigestedEntry extends ListedEntry {
  /** When anything of it was changed last, by the receiver's clock; nanoseconds since 1970, 0 where unknown. */
  ctimeNs: bigint;
  /** SHA-256 of the range that was asked for, cut at the end of the file; `undefined` if it is no readable file. */
  digest: Uint8Array | undefined;
}

/** Appends digested entries. @throws {RangeError} If a path is too long. */
export function encodeDigests(entries: readonly DigestedEntry[], writer: ByteWriter): void {
  encodeListedEntries(entries, writer);
  for (const { ctimeNs, digest } of entries) {
    writer.i64(ctimeNs).flag(digest !== undefined);
    if (digest === undefined) continue;
    assert(digest.length === DIGEST_SIZE, "a digest is a SHA-256");
    writer.raw(digest);
  }
}

/** Reads digested entries. Digests are views of the bytes. @throws {ProtocolError} If the bytes are none. */
export function decodeDigests(reader: ByteReader): DigestedEntry[] {
  return decodeListedEntries(reader).map((entry) => {
    const ctimeNs = reader.i64();
    return { ...entry, ctimeNs, digest: reader.flag() ? reader.raw(DIGEST_SIZE) : undefined };
  });
}
