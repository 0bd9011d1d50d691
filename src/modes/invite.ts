/**
 * `invite`.
 * @module
 */
import { resolve } from "node:path";
import { type Address, formatAddress, parseAddress } from "../base/address.ts";
import { text } from "../base/bytes.ts";
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { isAnswered } from "../control/server.ts";
import { controlSocketIn } from "../control/socket_path.ts";
import { readIfThere } from "../store/durable.ts";
import { PairingStore } from "../store/pairing.ts";
import {
  checkSetName,
  listenPath,
  makeStateDirectory,
  pairingDirectory,
  targetStateDirectory,
} from "../store/state_directory.ts";
import { encodeJoinToken } from "../wire/join_token.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { address, duration, flag, nonEmpty, one, parseArguments } from "./options.ts";
import { ownKeyPair } from "./own_key.ts";
import { DEFAULT_PORT } from "./target_name.ts";

const MINUTE_MS = 60_000;
const EXPIRES_DEFAULT_MS = 60 * MINUTE_MS;
const EXPIRES_MIN_MS = 1_000;
const EXPIRES_MAX_MS = 30 * 24 * 60 * MINUTE_MS;

/** Text of `help invite`. */
export const help = `\
Usage: understudy invite NAME --root DIR [options]

Prints one join token for replica NAME of the target server with that root. A source gives it once as its
target, as in "understudy watch-source ./data --to us1-…"; after that HOST:PORT/NAME is enough. Whoever has
the token can pair: hand it over as you would a password. Works while the server runs and while it does not.

Options:
  --root DIR            root of the target server; must exist
  --address HOST:PORT   where the source will find the server (default: where it listens now,
                        or this machine's name and port ${DEFAULT_PORT})
  --expires TIME        how long the token can be used, 1s to 30d (default 1h)
  -s, --state DIR       state directory of the target (default: ROOT/.understudy)
  -j, --json            prints token, name, address and expiry as JSON
  -h, --help            this text

Exit codes: 0 done, 1 failed, 2 usage.
`;

/** Runs `invite`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options, positionals: [name] } = parseArguments(args, {
    command: "invite",
    options: {
      root: one(nonEmpty),
      address: one(address({ port: DEFAULT_PORT })),
      expires: one(duration({ min: EXPIRES_MIN_MS, max: EXPIRES_MAX_MS })),
      state: one(nonEmpty, "s"),
      json: flag("j"),
    },
    positionals: ["NAME"],
  });
  if (options.root === undefined) throw new UsageError(`Cannot run "invite": --root DIR is missing`);
  checkSetName(name);
  checkRoot(options.root);
  const state = options.state === undefined ? targetStateDirectory(options.root) : resolve(options.state);
  makeStateDirectory(state);
  const publicAddress = formatAddress(options.address ?? await ownAddress(state, io));
  const invite = new PairingStore(pairingDirectory(state)).createInvite(name, {
    expiresMs: options.expires ?? EXPIRES_DEFAULT_MS,
    nowMs: io.clock.nowMs(),
  });
  const token = encodeJoinToken({
    targetPublicKey: ownKeyPair(state).publicKey,
    id: invite.tokenId,
    secret: invite.secret,
    expiresAtMs: invite.expiresAtMs,
    address: publicAddress,
    name,
  });
  if (options.json) {
    const expiresAt = new Date(invite.expiresAtMs).toISOString();
    printJson(io, { token, name, address: publicAddress, expiresAt });
  } else {
    io.stdout(`${token}\n`);
  }
  return exitCodes.done;
}

function checkRoot(root: string): void {
  let found: Deno.FileInfo;
  try {
    found = Deno.statSync(root);
  } catch (error) {
    throw new UsageError(`Cannot use root ${quote(root)}: there is no such directory`, { cause: error });
  }
  if (!found.isDirectory) throw new UsageError(`Cannot use root ${quote(root)}: it is not a directory`);
}

/** Where a source elsewhere most probably reaches the server of a state directory. */
async function ownAddress(state: string, io: Io): Promise<Address> {
  const listening = await listeningAddress(state);
  const isEverywhere = listening !== undefined && ["0.0.0.0", "::"].includes(listening.hostname);
  if (listening !== undefined && !isEverywhere) return listening;
  const guess = { hostname: Deno.hostname(), port: listening?.port ?? DEFAULT_PORT };
  io.stderr(
    `understudy: the token says ${formatAddress(guess)}; if that is wrong, give --address HOST:PORT\n`,
  );
  return guess;
}

/** Where the server listens, if it runs: a killed one leaves its file. */
async function listeningAddress(state: string): Promise<Address | undefined> {
  const file = readIfThere(listenPath(state));
  if (file === undefined || !await isAnswered(controlSocketIn(state))) return undefined;
  return parseAddress(text(file).trim());
}
