/**
 * Attributes and errors between Deno's calls and our own types.
 * @module
 */
import { SystemError } from "../base/errors.ts";
import { systemError } from "./errno.ts";
import type { Kind, Stat } from "./file_system.ts";

const MS_NS = 1_000_000n;

/** A time in nanoseconds as a date, cut to whole milliseconds. */
export function toDate(timeNs: bigint): Date {
  return new Date(Math.floor(Number(timeNs / 1_000n) / 1_000));
}

/** Attributes as Deno tells them. */
export function toStat(found: Deno.FileInfo): Stat {
  return {
    kind: kindOf(found),
    mode: (found.mode ?? (found.isDirectory ? 0o755 : 0o644)) & 0o7777,
    uid: found.uid ?? 0,
    gid: found.gid ?? 0,
    size: found.size,
    mtimeNs: millisecondsToNs(found.mtime),
    ctimeNs: millisecondsToNs(found.ctime),
    dev: found.dev,
    ino: BigInt(found.ino ?? 0),
    linkCount: found.nlink ?? 1,
  };
}

/**
 * Does one of Deno's calls.
 *
 * @throws {SystemError} If it fails; anything that is not a failure of the system passes through.
 */
export function attempt<T>(verb: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const code = codeOf(error);
    if (error instanceof SystemError || code === "") throw error;
    throw systemError(code, verb, path);
  }
}

/** Deno's classes of failure, where an error carries no code. */
const codes: Record<string, string> = {
  AlreadyExists: "EEXIST",
  BadResource: "EBADF",
  Busy: "EBUSY",
  FilesystemLoop: "ELOOP",
  Interrupted: "EINTR",
  IsADirectory: "EISDIR",
  NotADirectory: "ENOTDIR",
  NotCapable: "EPERM",
  NotFound: "ENOENT",
  NotSupported: "ENOTSUP",
  PermissionDenied: "EACCES",
};

/** The errno name of a failure of one of Deno's calls, or `""` if it has none. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : codes[error.name] ?? "";
}

function kindOf(found: Deno.FileInfo): Kind {
  if (found.isFile) return "file";
  if (found.isDirectory) return "directory";
  if (found.isSymlink) return "symlink";
  if (found.isFifo) return "fifo";
  if (found.isSocket) return "socket";
  return found.isBlockDevice ? "block" : "character";
}

function millisecondsToNs(time: Date | null): bigint {
  return time === null ? 0n : BigInt(time.getTime()) * MS_NS;
}
