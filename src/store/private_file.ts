/**
 * Small files that only their owner may read: keys, invites, claims. Beside what durable.ts does, they can be created
 * exactly once, and are not read when others could.
 * @module
 */
import { SystemError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { dirname } from "node:path";
import { removeIfThere, syncDirectory, writeDurably } from "./durable.ts";

/** Permission bits of group and others. */
const NOT_OWNER = 0o077;

/**
 * Writes a new file, 0600, that survives power loss afterwards.
 *
 * @returns `false` if the name is taken: what has it stays. Of several writers exactly one gets `true`.
 */
export function createPrivateFile(path: string, bytes: Uint8Array): boolean {
  // The form of name that durable.ts cleans up after a crash.
  const temporary = `${path}.tmp-${crypto.getRandomValues(new Uint8Array(6)).toHex()}`;
  try {
    writeDurably(temporary, bytes);
    // link(2), not rename(2): it fails where the name is taken, and what appears is whole.
    Deno.linkSync(temporary, path);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw error;
  } finally {
    removeIfThere(temporary);
  }
  syncDirectory(dirname(path));
  return true;
}

/**
 * Reads a private file; `undefined` if there is none. The caller zeroes the bytes if they are secret.
 *
 * @throws {SystemError} `EPERM` if group or others may access it.
 */
export function readPrivateFile(path: string): Uint8Array<ArrayBuffer> | undefined {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  using open = file;
  // Of the open file, not of the name: the name could be exchanged in between.
  const { mode, size, isFile } = open.statSync();
  if (!isFile) throw new SystemError("EINVAL", `Cannot read ${quote(path)}: it is not a file`);
  if (mode !== null && (mode & NOT_OWNER) !== 0) {
    throw new SystemError(
      "EPERM",
      `Cannot read ${quote(path)}: its mode is ${
        (mode & 0o777).toString(8).padStart(4, "0")
      }, so others may read ` +
        "or change it (make it 0600, and replace the key if somebody may have read it)",
    );
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  while (at < size) {
    const count = open.readSync(bytes.subarray(at));
    if (count === null) break;
    at += count;
  }
  return bytes.subarray(0, at);
}

/** Makes a directory, and those above it, that only its owner may enter. */
export function makePrivateDirectory(path: string): void {
  Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
}
