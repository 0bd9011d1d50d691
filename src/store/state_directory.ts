/**
 * Where Understudy keeps what it must remember, and what it is called there.
 *
 * ```
 * STATE/            0700, one for a user
 *   key             private key of this user's sources
 *   SET/            one for each replication set of a source: lock, index, settings, control socket
 *
 * ROOT/.understudy/ 0700, of a target server
 *   key             private key of this target
 *   pairing/        who was invited, whose key opens which replica
 *   listen          HOST:PORT that the running server listens on
 * ```
 *
 * A set name is 1 to 64 letters, digits, `.`, `_` and `-`, and begins with a letter, digit or `_`.
 * @module
 */
import { createHash } from "node:crypto";
import { basename, isAbsolute, join, resolve } from "node:path";
import { errorCode, reasonOf, UsageError } from "../base/errors.ts";
import { pathToBytes, quote } from "../base/path.ts";

/** What the default state directory depends on. */
export interface StateDirectoryContext {
  /** Reads an environment variable. */
  env: (name: string) => string | undefined;
  /** User id; `null` where the system has none. @default {Deno.uid()} */
  uid?: number | null;
  /** @default {Deno.build.os} */
  os?: typeof Deno.build.os;
}

/** Name of the directory in a target's root, or beside a local replica, that holds its state. */
export const TARGET_STATE_NAME = ".understudy";

const SET_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/;

/** Letters of a root's own name in a default set name; a hash follows. */
const ROOT_NAME_SIZE_MAX = 40;

/**
 * The state directory of this user: `/var/lib/understudy` for root, else `$XDG_STATE_HOME/understudy` or
 * `~/.local/state/understudy`; `%LOCALAPPDATA%\understudy` on Windows.
 *
 * @throws {UsageError} If the environment does not say where the user's files are.
 */
export function defaultStateDirectory(context: StateDirectoryContext): string {
  const { env, uid = Deno.uid(), os = Deno.build.os } = context;
  if (uid === 0) return "/var/lib/understudy";
  // The specification of XDG says that a relative path is to be ignored.
  const [base, ...below] = os === "windows"
    ? [env("LOCALAPPDATA"), "understudy"]
    : isAbsolutePath(env("XDG_STATE_HOME"))
    ? [env("XDG_STATE_HOME"), "understudy"]
    : [env("HOME"), ".local", "state", "understudy"];
  if (!isAbsolutePath(base)) {
    const variable = os === "windows" ? "LOCALAPPDATA" : "HOME";
    throw new UsageError(
      `Cannot choose a state directory: ${variable} is not set; give one with --state DIR`,
    );
  }
  return join(base, ...below);
}

/**
 * The state directory that a command uses: the one given, or the default. It is not created.
 *
 * @returns An absolute path.
 * @throws {UsageError} If none was given and there is no default.
 */
export function stateDirectory(given: string | undefined, context: StateDirectoryContext): string {
  return given === undefined ? defaultStateDirectory(context) : resolve(given);
}

/**
 * Creates a state directory (0700, parents too) where it is missing.
 *
 * @throws {UsageError} If it cannot be used: no directory, no permission, or anybody may write to it.
 */
export function makeStateDirectory(path: string): void {
  try {
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    const { mode } = Deno.statSync(path);
    if (mode !== null && (mode & 0o002) !== 0) throw new Error("everybody may write to it");
  } catch (error) {
    throw new UsageError(`Cannot use state directory ${quote(path)}: ${makingFailed(error)}`, {
      cause: error,
    });
  }
}

/**
 * The directory of one set.
 *
 * @throws {UsageError} If the name cannot be one of a set.
 */
export function setDirectory(state: string, setName: string): string {
  checkSetName(setName);
  return join(state, setName);
}

/** The state directory of a target whose replicas live in `root`. */
export function targetStateDirectory(root: string): string {
  return join(resolve(root), TARGET_STATE_NAME);
}

/** The private key in a state directory, of a source or of a target. */
export function keyPath(state: string): string {
  return join(state, "key");
}

/** What a target knows about pairing, in its state directory. */
export function pairingDirectory(state: string): string {
  return join(state, "pairing");
}

/** The file in a target's state directory that says where its server listens: `HOST:PORT` and a line feed. */
export function listenPath(state: string): string {
  return join(state, "listen");
}

/**
 * Refuses a name that is not one of a set; see the module's text. The same rule holds for the names of replicas.
 *
 * @throws {UsageError} If it is not one.
 */
export function checkSetName(name: string): void {
  if (!SET_NAME.test(name)) {
    throw new UsageError(
      `Cannot use name ${
        quote(name)
      }: it must be 1 to 64 letters, digits, ".", "_" or "-" and not begin with "." or "-"`,
    );
  }
}

/**
 * The name of the set of a root, when the user gives none: readable, and different for each root.
 *
 * @param rootPath Absolute, without symbolic links.
 */
export function defaultSetName(rootPath: string): string {
  const readable = basename(rootPath).replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[.-]+/, "")
    .slice(0, ROOT_NAME_SIZE_MAX);
  const hash = createHash("sha256").update(pathToBytes(rootPath)).digest("hex").slice(0, 8);
  return `${readable || "root"}-${hash}`;
}

/** Names of the sets in a state directory, sorted; none if there is no such directory. */
export function listSets(state: string): string[] {
  try {
    return [...Deno.readDirSync(state)].filter((entry) => entry.isDirectory && SET_NAME.test(entry.name))
      .map((entry) => entry.name).sort();
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(errorCode(error))) return [];
    throw error;
  }
}

function isAbsolutePath(path: string | undefined): path is string {
  return path !== undefined && isAbsolute(path);
}

function makingFailed(error: unknown): string {
  const code = errorCode(error);
  if (code === "EEXIST" || code === "ENOTDIR") return "it is not a directory";
  if (code === "EACCES" || code === "EPERM") return "no permission";
  if (code === "EROFS") return "the file system is read-only";
  return reasonOf(error);
}
