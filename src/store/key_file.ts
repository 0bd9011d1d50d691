/**
 * The private key of this machine, in a file that only its owner may read.
 *
 * ```
 * "understudy-key-1\n" ‖ base64url of the 32 private bytes ‖ "\n"
 * ```
 * @module
 */
import { text, utf8 } from "../base/bytes.ts";
import { CorruptionError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { dirname } from "node:path";
import { createPrivateFile, makePrivateDirectory, readPrivateFile } from "./private_file.ts";

const HEAD = "understudy-key-1\n";
const KEY_SIZE = 32;
const BODY_PATTERN = /^[A-Za-z0-9_-]{43}\n$/;

/**
 * Loads the private key of a file, or makes a random one with its file where there is none. Two processes that do so at
 * once get the same key. The caller zeroes the bytes when it has made a key pair of them.
 *
 * @throws {SystemError} `EPERM` if group or others may read the file.
 * @throws {CorruptionError} If the file does not hold a key. It is left as it is.
 */
export function loadOrCreatePrivateKey(path: string): Uint8Array<ArrayBuffer> {
  const found = loadPrivateKey(path);
  if (found !== undefined) return found;
  makePrivateDirectory(dirname(path));
  const privateKey = crypto.getRandomValues(new Uint8Array(KEY_SIZE));
  const contents = encodePrivateKey(privateKey);
  try {
    if (createPrivateFile(path, contents)) return privateKey;
  } finally {
    contents.fill(0);
  }
  // Another process was first: its key counts.
  privateKey.fill(0);
  return loadPrivateKey(path)!;
}

/** Loads the private key of a file; `undefined` if there is none. See {@linkcode loadOrCreatePrivateKey}. */
export function loadPrivateKey(path: string): Uint8Array<ArrayBuffer> | undefined {
  const contents = readPrivateFile(path);
  if (contents === undefined) return undefined;
  try {
    return decodePrivateKey(contents, path);
  } finally {
    contents.fill(0);
  }
}

function encodePrivateKey(privateKey: Uint8Array): Uint8Array<ArrayBuffer> {
  return utf8(`${HEAD}${privateKey.toBase64({ alphabet: "base64url", omitPadding: true })}\n`);
}

function decodePrivateKey(contents: Uint8Array, path: string): Uint8Array<ArrayBuffer> {
  const written = text(contents);
  const body = written.slice(HEAD.length);
  if (!written.startsWith(HEAD) || !BODY_PATTERN.test(body)) {
    throw new CorruptionError(
      `Cannot use key file ${quote(path)}: it does not hold a key; put it back, or remove it and pair again`,
    );
  }
  return Uint8Array.fromBase64(body.trimEnd(), { alphabet: "base64url" });
}
