/**
 * Errors on their way through a control socket: the class travels by its name, so that the command that asked ends
 * as if it had failed itself.
 * @module
 */
import {
  CommandError,
  CorruptionError,
  ProtocolError,
  reasonOf,
  RefusedError,
  TransientError,
  UsageError,
} from "../base/errors.ts";

/** An error as JSON. */
export interface WireError {
  /** Name of the class. */
  name: string;
  message: string;
}

const classes: Record<string, new (message: string) => Error> = {
  CommandError,
  CorruptionError,
  ProtocolError,
  RefusedError,
  TransientError,
  UsageError,
};

/** An error as it travels. */
export function errorToWire(error: unknown): WireError {
  const name = error instanceof Error && Object.hasOwn(classes, error.name) ? error.name : "CommandError";
  return { name, message: reasonOf(error) };
}

/** The result that a line answers. @throws {Error} The error that it answers, see {@linkcode errorFromWire}. */
export function resultOf(line: string): unknown {
  const answer = JSON.parse(line);
  if (answer?.error !== undefined) throw errorFromWire(answer.error);
  return answer?.result;
}

/** The error that was sent; of class {@linkcode CommandError} if its own is not known here. */
export function errorFromWire(error: WireError): Error {
  const Class = Object.hasOwn(classes, error.name) ? classes[error.name] : CommandError;
  return new Class(error.message);
}
