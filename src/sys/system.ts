/**
 * Chooses how this system reaches files.
 * @module
 */
import { SystemError, UsageError } from "../base/errors.ts";
import type { FileSystem } from "./file_system.ts";
import { linuxFileSystem } from "./linux.ts";
import { portableFileSystem } from "./portable.ts";

/** Name of an implementation, or `auto` for the best one that works here. */
export type FileSystemChoice = "auto" | FileSystem["name"];

/**
 * The file system of this machine: by libc on Linux with glibc, else by Deno's own calls.
 *
 * @throws {UsageError} If `linux` is asked for where libc cannot be used.
 */
export function systemFileSystem(choice: FileSystemChoice = "auto"): FileSystem {
  if (choice === "portable") return portableFileSystem();
  try {
    return linuxFileSystem();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (choice === "auto") return portableFileSystem();
    throw new UsageError(`Cannot use file system "linux": ${error.message}`);
  }
}
