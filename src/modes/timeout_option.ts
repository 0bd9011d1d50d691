/**
 * The option `--timeout` of commands that wait for a daemon.
 * @module
 */
import { duration, one } from "./options.ts";

/** How long they wait unless they are told otherwise, milliseconds. */
export const TIMEOUT_DEFAULT_MS = 30_000;

const TIMEOUT_MAX_MS = 24 * 3_600_000;

/** The table of the option. */
export const timeoutTable = { timeout: one(duration({ min: 1, max: TIMEOUT_MAX_MS })) };
