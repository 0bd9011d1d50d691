/**
 * The key pair of a state directory.
 * @module
 */
import { loadOrCreatePrivateKey, loadPrivateKey } from "../store/key_file.ts";
import { keyPath } from "../store/state_directory.ts";
import { KeyPair } from "../wire/keys.ts";

/**
 * The key pair of a state directory; made, with its file, where there is none.
 *
 * @throws {CorruptionError} If the file does not hold a key.
 */
export function ownKeyPair(state: string): KeyPair {
  return pairOf(loadOrCreatePrivateKey(keyPath(state)));
}

/** The key pair of a state directory, or `undefined` if it has none yet. */
export function existingKeyPair(state: string): KeyPair | undefined {
  const privateKey = loadPrivateKey(keyPath(state));
  return privateKey && pairOf(privateKey);
}

function pairOf(privateKey: Uint8Array): KeyPair {
  try {
    return new KeyPair(privateKey);
  } finally {
    privateKey.fill(0);
  }
}
