/**
 * The secret that who changes something over HTTP must know: `SET/http.secret`, which only the daemon's user can read.
 * @module
 */
import { text, utf8 } from "../base/bytes.ts";
import { createPrivateFile, readPrivateFile } from "./private_file.ts";

/** Loads the secret, or makes one: 64 hexadecimal digits. @throws {SystemError} If others could read it. */
export function loadHttpSecret(path: string): string {
  createPrivateFile(path, utf8(crypto.getRandomValues(new Uint8Array(32)).toHex() + "\n"));
  return text(readPrivateFile(path)!).trim();
}
