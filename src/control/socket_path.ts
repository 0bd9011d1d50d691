/**
 * Where a daemon's control socket is. Normally it lies in the state directory. A path too long for the system's socket
 * addresses is replaced by a short one in a fresh directory (0700), and a pointer file in the state directory names it.
 * A target server, whose state is elsewhere, is found from the user's state directory by such a pointer too.
 *
 * ```
 * STATE/SET/control.sock           the socket, or
 * STATE/SET/control.sock.path      one line: absolute path of the socket
 * ```
 * @module
 */
import { dirname, join } from "node:path";
import { text, utf8 } from "../base/bytes.ts";
import { errorCode } from "../base/errors.ts";
import { pathToBytes } from "../base/path.ts";
import { readIfThere, removeIfThere, writeDurably } from "../store/durable.ts";

/** Name of the control socket in a state directory. */
export const CONTROL_SOCKET_NAME = "control.sock";

/** Bytes of a socket's path: `sun_path` of unix(7) is 108 with its NUL, on macOS 104. */
const SOCKET_PATH_SIZE_MAX = Deno.build.os === "darwin" ? 103 : 107;

const SHORT_DIRECTORY_PREFIX = "understudy-";

/** The control socket that belongs to a state directory (of a set or of a target). */
export function controlSocketIn(directory: string): string {
  return join(directory, CONTROL_SOCKET_NAME);
}

/** Whether the system can bind a socket at this path. */
export function fitsSocketAddress(path: string): boolean {
  return pathToBytes(path).length <= SOCKET_PATH_SIZE_MAX;
}

/** Where the socket for `path` really is. */
export function resolveSocketPath(path: string): string {
  const pointer = readIfThere(pointerPath(path));
  return pointer === undefined ? path : text(pointer).trimEnd();
}

/**
 * Makes a daemon's control socket be found from another state directory, until disposed.
 *
 * @param directory Of a set in that state directory; is made (0700), and removed with the pointer if it is empty then.
 * @param socketPath As `ControlServer.socketPath` says.
 */
export function pointToSocket(directory: string, socketPath: string): Disposable {
  Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const pointer = pointerPath(controlSocketIn(directory));
  writeDurably(pointer, utf8(socketPath + "\n"));
  return {
    [Symbol.dispose]() {
      removeIfThere(pointer);
      removeIfEmpty(directory);
    },
  };
}

/**
 * Makes room for a socket: removes what a dead daemon left, returns where to bind the one for `path`, and writes the
 * pointer if the two differ.
 */
export function makeSocketPath(path: string): string {
  removeSocketPath(path);
  if (fitsSocketAddress(path)) return path;
  const short = join(makeShortDirectory(), CONTROL_SOCKET_NAME);
  writeDurably(pointerPath(path), utf8(short + "\n"));
  return short;
}

/** Removes what {@linkcode makeSocketPath} made. The socket itself may be gone already. */
export function removeSocketPath(path: string): void {
  const real = resolveSocketPath(path);
  removeIfThere(real);
  if (real === path) return;
  removeIfEmpty(dirname(real));
  removeIfThere(pointerPath(path));
}

function pointerPath(path: string): string {
  return `${path}.path`;
}

function makeShortDirectory(): string {
  // A directory of our own, with a name that nobody can foresee: others cannot put a socket of theirs there.
  try {
    const directory = Deno.makeTempDirSync({ prefix: SHORT_DIRECTORY_PREFIX });
    if (fitsSocketAddress(join(directory, CONTROL_SOCKET_NAME))) return directory;
    Deno.removeSync(directory);
  } catch (error) {
    if (!["ENOENT", "EACCES", "EROFS"].includes(errorCode(error))) throw error;
  }
  return Deno.makeTempDirSync({ dir: "/tmp", prefix: SHORT_DIRECTORY_PREFIX });
}

function removeIfEmpty(directory: string): void {
  try {
    Deno.removeSync(directory);
  } catch (error) {
    // Whatever else lies in it is not ours to remove.
    if (!["ENOENT", "ENOTEMPTY"].includes(errorCode(error))) throw error;
  }
}
