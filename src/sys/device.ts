/**
 * Devices that keep each write as it comes, such as tapes.
 * @module
 */
import { SystemError } from "../base/errors.ts";
import { errno, lastError, libc } from "./libc.ts";

const EINTR = 4;

/**
 * Writes bytes to an open descriptor by one call of write(2), of which a tape makes one block. The runtime's own stdout
 * parts what it is given at line feeds.
 *
 * @param name Of the device, for messages.
 * @throws {SystemError} If it takes less, or `ENOSYS` where libc cannot be used.
 */
export function writeBlock(descriptor: number, bytes: Uint8Array, name: string): void {
  for (;;) {
    const count = libc().write(descriptor, bytes, bytes.length);
    if (count === bytes.length) return;
    if (count >= 0) {
      throw new SystemError("ENOSPC", `Cannot write ${name}: it took ${count} of ${bytes.length} bytes`);
    }
    if (errno() !== EINTR) throw lastError("write", name);
  }
}
