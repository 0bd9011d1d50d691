/**
 * Answers what a source asks to verify the live tree: attributes of entries with the time of their last change, and
 * digests of their contents.
 * @module
 */
import { ProtocolError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { digestRange } from "../mirror/digest.ts";
import { leadsTo, type Tree } from "../sys/file_system.ts";
import type { DigestedEntry, DigestRange, Message } from "../wire/message.ts";
import { isReserved, listed } from "./listing.ts";
import { isMachineTrouble } from "./trouble.ts";

/** A `digest` message. */
export type DigestQuestion = Message & { type: "digest" };

/**
 * Answers with what stands at each path. An entry that cannot be looked at is left out like an absent one, a file that
 * cannot be read has no digest.
 *
 * @throws {ProtocolError} If the question is not one that can be answered in one message and one turn.
 */
export function* digestEntries(live: Tree, question: DigestQuestion): Generator<Message, void> {
  const { request, ranges } = question;
  checkRanges(ranges);
  const nowNs = BigInt(Date.now()) * 1_000_000n;
  const entries = ranges.map((range) => lookAt(live, range)).filter((entry) => entry !== undefined);
  yield { type: "digests", request, nowNs, entries };
}

function checkRanges(ranges: DigestRange[]): void {
  let bytes = 0;
  for (const { start, end } of ranges) bytes += start <= end ? end - start : Infinity;
  if (ranges.length <= limits.digestPathsMax && bytes <= limits.signatureRangeSize) return;
  throw new ProtocolError(`Cannot digest ${bytes} bytes of ${ranges.length} entries: out of bounds`);
}

function lookAt(live: Tree, { path, start, end }: DigestRange): DigestedEntry | undefined {
  if (isReserved(path)) return undefined;
  const stat = attempt(() => live.stat(path));
  if (stat === undefined) return undefined;
  const xattrs = attempt(() => live.xattrs(path));
  const linkTarget = attempt(() => leadsTo(live, path, stat)) ?? "";
  const digest = stat.kind === "file" && start < end
    ? attempt(() => digestOf(live, path, start, end))
    : undefined;
  return { ...listed(path, stat, linkTarget, xattrs), ctimeNs: stat.ctimeNs, digest };
}

function digestOf(live: Tree, path: string, start: number, end: number): Uint8Array {
  using file = live.open(path, { access: "read" });
  return digestRange(file, start, end);
}

/** What `look` gives, `undefined` if it cannot be looked at. Blocks that cannot be read are such, not the machine's end. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (isMachineTrouble(error) && error.code !== "EIO") throw error;
    return undefined;
  }
}
