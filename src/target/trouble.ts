/**
 * Whose trouble is it? A failure of one op is told to the source, and the others go on. Trouble of the machine (a
 * full disk, a broken one) is never blamed on an op: nothing more is applied until it is over.
 * @module
 */
import { errorCode, reasonOf, SystemError } from "../base/errors.ts";

const machineCodes: ReadonlySet<string> = new Set([
  "ENOSPC",
  "EDQUOT",
  "EROFS",
  "EIO",
  "EUCLEAN",
  "ENODEV",
  "ENXIO",
  "ENOTCONN",
  "ESTALE",
  "EMFILE",
  "ENFILE",
  "ENOMEM",
  "EAGAIN",
  "ENOLCK",
]);

/** Whether an error is the machine's: trying the same again may work later. */
export function isMachineTrouble(error: unknown): error is SystemError {
  return error instanceof SystemError && machineCodes.has(error.code);
}

/** Whether an error is that of one op, to be told to the source. */
export function isOpTrouble(error: unknown): error is SystemError {
  return error instanceof SystemError && !machineCodes.has(error.code);
}

/** Whether an error says that there is no such entry, or not where the path says. */
export function isAbsence(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/** Calls `action`; trouble of one op is passed over, that of the machine is not. For what may fail without harm. */
export function attempt(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!isOpTrouble(error)) throw error;
  }
}

/** Why one op failed. */
export interface OpTrouble {
  /** Errno's name. */
  code: string;
  /** A sentence. */
  reason: string;
}

/** {@linkcode OpTrouble} of an error. */
export function troubleOf(error: SystemError): OpTrouble {
  return { code: error.code, reason: reasonOf(error) };
}
