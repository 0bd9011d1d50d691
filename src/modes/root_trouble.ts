/**
 * What is wrong with a directory that the user named.
 * @module
 */
import { CommandError, errorCode } from "../base/errors.ts";
import { quote } from "../base/path.ts";

/** Why a directory cannot be opened, in words where there are some. */
export function rootTrouble(code: string): string {
  switch (code) {
    case "ENOENT":
      return "there is no such directory";
    case "ENOTDIR":
      return "it is not a directory";
    case "EACCES":
    case "EPERM":
      return "no permission";
    default:
      return code;
  }
}

/**
 * Does something with a directory that the user named.
 *
 * @throws {CommandError} If the system does not let it be done, in place of the system's error.
 */
export function withDirectory<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const code = errorCode(error);
    if (!code) throw error;
    throw new CommandError(`Cannot use ${quote(path)}: ${rootTrouble(code)}`, { cause: error });
  }
}
