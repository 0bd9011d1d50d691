/**
 * `keys`.
 * @module
 */
import { CommandError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { PairingStore } from "../store/pairing.ts";
import {
  makeStateDirectory,
  pairingDirectory,
  stateDirectory,
  targetStateDirectory,
} from "../store/state_directory.ts";
import { fingerprint, formatPublicKey } from "../wire/keys.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, nonEmpty, one, parseArguments } from "./options.ts";
import { existingKeyPair, ownKeyPair } from "./own_key.ts";

/** Text of `help keys`. */
export const help = `\
Usage: understudy keys [--root ROOT] [options]

Shows the public key of this user's sources, or with --root that of a target server and of the sources
that are paired with it. Two people can compare fingerprints aloud. Private keys are never shown.

Options:
  --root ROOT       the target server with that root
  -s, --state DIR   state directory (default: the user's, or ROOT/.understudy)
  --create          makes a key where there is none yet; otherwise the first pairing does
  -j, --json        prints JSON
  -h, --help        this text

Exit codes: 0 done, 1 there is no key, or it cannot be read, 2 usage.
`;

/** A public key as it is shown. */
interface ShownKey {
  publicKey: string;
  fingerprint: string;
}

/** What `keys --json` prints. */
interface Keys extends ShownKey {
  role: "source" | "target";
  /** State directory. */
  state: string;
  /** Of a target: which source's key opens which replica. */
  replicas?: ({ name: string } & ShownKey)[];
}

/** Runs `keys`. */
export function run(args: string[], io: Io): Promise<ExitCode> {
  const { options } = parseArguments(args, {
    command: "keys",
    options: { root: one(nonEmpty), state: one(nonEmpty, "s"), create: flag(), json: flag("j") },
    positionals: [],
  });
  const isTarget = options.root !== undefined;
  const state = stateDirectory(
    options.state ?? (isTarget ? targetStateDirectory(options.root!) : undefined),
    io,
  );
  const keys: Keys = { role: isTarget ? "target" : "source", state, ...ownKey(state, options.create) };
  if (isTarget) keys.replicas = pairedKeys(state);
  if (options.json) printJson(io, keys);
  else io.stdout(formatKeys(keys));
  return Promise.resolve(exitCodes.done);
}

function ownKey(state: string, create: boolean): ShownKey {
  if (create) makeStateDirectory(state);
  const pair = create ? ownKeyPair(state) : existingKeyPair(state);
  if (pair === undefined) {
    throw new CommandError(`Cannot show a key: there is none in ${quote(state)} yet; --create makes one`);
  }
  return shown(pair.publicKey);
}

function pairedKeys(state: string): Keys["replicas"] {
  const directory = pairingDirectory(state);
  // Opening the store would make it.
  if (!isDirectory(directory)) return [];
  const store = new PairingStore(directory);
  return store.boundNames().map((name) => ({ name, ...shown(store.boundKey(name)!) }));
}

function shown(publicKey: Uint8Array): ShownKey {
  return { publicKey: formatPublicKey(publicKey), fingerprint: fingerprint(publicKey) };
}

function formatKeys(keys: Keys): string {
  const replicas = (keys.replicas ?? []).map(({ name, publicKey, fingerprint }) =>
    `replica ${name}\n  public key   ${publicKey}\n  fingerprint  ${fingerprint}\n`
  );
  return `${keys.role} ${quote(keys.state)}\n` +
    `  public key   ${keys.publicKey}\n  fingerprint  ${keys.fingerprint}\n${replicas.join("")}`;
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
