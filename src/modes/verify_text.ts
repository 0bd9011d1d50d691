/**
 * What a verification found, for people.
 * @module
 */
import { quote } from "../base/path.ts";
import type { Difference, DifferingPart, VerifyReport } from "../base/status.ts";
import { formatSize } from "../base/units.ts";

const parts: Record<DifferingPart, string> = {
  kind: "it is of another kind",
  link: "it leads elsewhere",
  device: "it stands for another device",
  size: "size",
  mtime: "time",
  mode: "mode",
  owner: "owner",
  xattrs: "extended attributes",
  names: "it is not a name of one file with the others",
  contents: "contents",
};

const causes: Record<Exclude<Difference["cause"], "problem">, string> = {
  source: "it changed on the source, and nobody heard of it",
  target: "another hand changed it on the target, or it was damaged there",
  lost: "what was sent came to nothing on the target",
  both: "it changed on both sides",
};

/** One difference in a line, with its line feed. */
export function formatDifference(difference: Difference): string {
  const { path, kind, cause, state, reason } = difference;
  const why = cause === "problem" ? "" : causes[cause];
  const end = state === "healed" ? "healed" : state === "standing" ? `not healed: ${reason}` : "";
  const words = [describe(difference), why, end].filter(Boolean).join("; ");
  return `${kind.padEnd(8)} ${quote(path)}: ${words}\n`;
}

function describe({ kind, parts: differing }: Difference): string {
  if (kind === "missing") return "the target does not have it";
  if (kind === "extra") return "the source does not have it";
  return differing.map((part) => parts[part]).join(", ") + (isSentence(differing) ? "" : " differ");
}

function isSentence(differing: DifferingPart[]): boolean {
  return differing.length === 1 && ["kind", "link", "device"].includes(differing[0]);
}

/** The sum of a report in a line, with its line feed. */
export function formatReport(report: VerifyReport): string {
  const { target, complete, entries, files, bytes, found, healed, restless } = report;
  const compared = [
    `${entries} entries`,
    files > 0 ? `contents of ${files} files (${formatSize(bytes)})` : "",
  ].filter(Boolean).join(", ");
  const outcome = found === 0
    ? complete ? "equal" : "no differences so far"
    : `${found} differ${found === 1 ? "s" : ""}${healed > 0 ? `, ${healed} healed` : ""}`;
  const moving = restless > 0 ? `; ${restless} kept changing and were left to live replication` : "";
  return `${quote(target)}: compared ${compared}: ${outcome}${moving}\n`;
}
