/**
 * Where an archive goes: stdout, or a file.
 * @module
 */
import { fstatSync } from "node:fs";
import { yieldToSockets } from "../base/clock.ts";
import { CommandError, errorCode, reasonOf, UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { writeBlock } from "../sys/device.ts";
import { systemFileSystem } from "../sys/system.ts";
import { RECORD_SIZE } from "../target/tar.ts";
import type { Io } from "./mode.ts";

const STDOUT = 1;
/** Types of files, as in the upper bits of a mode (inode(7)). */
const CHARACTER = 0o2, REGULAR = 0o10;

/** An open output. Disposing closes it; a file that was not finished is removed. */
export interface TarOutput extends Disposable {
  /** @throws {CommandError} If it cannot be written to. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the archive: a file survives power loss afterwards. */
  finish(): Promise<void>;
}

/** Stdout as output. @throws {UsageError} If a person looks at it. */
export function stdoutOutput(io: Io): TarOutput {
  if (io.stdoutIsTerminal) {
    throw new UsageError(
      `Cannot write an archive to a terminal: redirect it to a file or device, pipe it to a command, or give --output FILE`,
    );
  }
  const { isCharacter } = kindOf(() => fstatSync(STDOUT));
  const isDevice = isCharacter && systemFileSystem().name === "linux";
  const write = isDevice ? writeToDevice : io.writeStdout;
  return {
    write: (bytes) => explained("stdout", write(bytes)),
    finish: () => Promise.resolve(),
    [Symbol.dispose]() {},
  };
}

/**
 * A file as output. Devices and named pipes are written to as they are.
 *
 * @throws {UsageError} If there is such a file and `force` is not given.
 * @throws {CommandError} If it cannot be made.
 */
export async function fileOutput(path: string, { force }: { force: boolean }): Promise<TarOutput> {
  const { isCharacter, isSpecial } = kindOf(() => Deno.statSync(path));
  const file = await openFile(path, isSpecial ? { write: true } : createOptions(force));
  const write = async (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  };
  let isFinished = false;
  return {
    write: (bytes) => explained(quote(path), isCharacter ? inRecords(write)(bytes) : write(bytes)),
    async finish() {
      if (!isSpecial) await explained(quote(path), file.sync());
      isFinished = true;
    },
    [Symbol.dispose]() {
      file.close();
      if (!isFinished && !isSpecial) Deno.removeSync(path);
    },
  };
}

function createOptions(force: boolean): Deno.OpenOptions {
  return force ? { write: true, create: true, truncate: true } : { write: true, createNew: true };
}

/** Not at once, for a named pipe: it is open when somebody reads it. */
async function openFile(path: string, options: Deno.OpenOptions): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, options);
  } catch (error) {
    if (errorCode(error) === "EEXIST") {
      throw new UsageError(`Cannot write ${quote(path)}: it exists; give --force to write over it`, {
        cause: error,
      });
    }
    throw new CommandError(`Cannot write ${quote(path)}: ${writeTrouble(error)}`, { cause: error });
  }
}

async function writeToDevice(bytes: Uint8Array): Promise<void> {
  await inRecords((record) => writeBlock(STDOUT, record, "stdout"))(bytes);
  // Those calls kept the thread: signals, and the end of a hold, must be heard.
  await yieldToSockets();
}

/** A tape keeps each write as a block of its own, and readers expect blocks of a record. */
function inRecords(write: (bytes: Uint8Array) => Promise<void> | void): (bytes: Uint8Array) => Promise<void> {
  return async (bytes) => {
    for (let at = 0; at < bytes.length; at += RECORD_SIZE) await write(bytes.subarray(at, at + RECORD_SIZE));
  };
}

/** What an output is; a file that is still to be made is nothing special. */
function kindOf(stat: () => { mode: number | null }): { isCharacter: boolean; isSpecial: boolean } {
  try {
    const { mode } = stat();
    const type = mode === null ? REGULAR : mode >> 12;
    return { isCharacter: type === CHARACTER, isSpecial: type !== REGULAR };
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    return { isCharacter: false, isSpecial: false };
  }
}

async function explained(what: string, writing: Promise<void>): Promise<void> {
  try {
    await writing;
  } catch (error) {
    throw new CommandError(`Cannot write the archive to ${what}: ${writeTrouble(error)}`, { cause: error });
  }
}

function writeTrouble(error: unknown): string {
  switch (errorCode(error)) {
    case "EPIPE":
      return "whoever read it has gone";
    case "ENOSPC":
      return "no space is left";
    case "ENOENT":
      return "there is no such directory";
    case "EISDIR":
      return "it is a directory";
    case "EACCES":
    case "EPERM":
      return "no permission";
    default:
      return reasonOf(error);
  }
}
