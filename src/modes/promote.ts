/**
 * `promote`.
 * @module
 */
import { dirname, join, resolve } from "node:path";
import { CommandError, reasonOf, UsageError } from "../base/errors.ts";
import { isWithin, quote } from "../base/path.ts";
import type { PromotionResult } from "../base/status.ts";
import type { ControlCommands } from "../control/api.ts";
import { ControlConnection } from "../control/connection.ts";
import { controlSocketIn } from "../control/socket_path.ts";
import { acquireLock, LockedError } from "../store/lock_file.ts";
import type { WaitingNote } from "../store/catalog.ts";
import { endPromotion, loadPromotion } from "../store/promotion.ts";
import { checkSetName, targetStateDirectory } from "../store/state_directory.ts";
import { systemFileSystem } from "../sys/system.ts";
import { localPlaces, type ReplicaPlaces } from "../target/places.ts";
import { demote, fence, promotionOf } from "../target/promote.ts";
import { isReplica } from "../target/replica.ts";
import { findReplica } from "./find_replica.ts";
import { holdReplica } from "./held_replica.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { accountsOf, promoteAccounts, tellAccounts } from "./promoted_accounts.ts";
import { flag, nonEmpty, one, parseArguments } from "./options.ts";
import { withDirectory } from "./root_trouble.ts";
import { TIMEOUT_DEFAULT_MS, timeoutTable } from "./timeout_option.ts";

/** Text of `help promote`. */
export const help = `\
Usage: understudy promote NAME --root DIR [options]
       understudy promote DIRECTORY [options]      (a local target: /path, ./path)

The source is lost: makes replica NAME of the target server with that root the one that users work in, at ROOT/NAME,
and prints what is known of changes that it has not received, by what the source had told. From then on no source may
change it (the fence): one that comes is refused, and told why. Works while the server runs, and while it does not.

When the old source is back, "understudy watch-source DIR --to TARGET --failback" there makes it equal to the replica
and lifts the fence.

Options:
  --root DIR          root of the target server; must exist; for a local target its parent, or none with its path
  --accounts          the source's users and groups are made here with the same numbers where these are free, else
                      with others, and their files in the replica are given to them
  -f, --force         also while its source is connected: it is cut off; and accounts of the same name that
                      Understudy did not make are changed
  --undo              lifts the fence instead: the source may replicate again as before, and what was changed in the
                      replica meanwhile is made as the source has it
  --timeout TIME      how long to wait until the replica is at rest (default 30s)
  -s, --state DIR     state directory of the server (default: ROOT/.understudy)
  -j, --json          prints what was done as JSON
  -h, --help          this text

Exit codes: 0 done, 1 failed and nothing was changed, 2 usage, 3 promoted, but some of it is known to be old or missing
(it is listed), 130 interrupted.
`;

interface Request {
  name: string;
  places: ReplicaPlaces;
  root: string;
  /** State directory of the server. */
  state: string;
  timeoutMs: number;
  force: boolean;
}

/** Runs `promote`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options, positionals: [name] } = parseArguments(args, {
    command: "promote",
    options: {
      root: one(nonEmpty),
      accounts: flag(),
      force: flag("f"),
      undo: flag(),
      ...timeoutTable,
      state: one(nonEmpty, "s"),
      json: flag("j"),
    },
    positionals: ["NAME"],
  });
  const { root, places } = placesOf(name, options.root);
  const request: Request = {
    name,
    root,
    places,
    state: options.state === undefined ? targetStateDirectory(root) : resolve(options.state),
    timeoutMs: options.timeout ?? TIMEOUT_DEFAULT_MS,
    force: options.force,
  };
  return options.undo ? await undo(request, io, options.json) : await doPromote(request, io, options);
}

/** The replica that is meant, and the root that it is in. @throws {UsageError} If there is none. */
function placesOf(name: string, root: string | undefined): { root: string; places: ReplicaPlaces } {
  if (!name.includes("/")) {
    if (root === undefined) throw new UsageError(`Cannot run "promote": --root DIR is missing`);
    checkSetName(name);
    return { root: resolve(root), places: findReplica(resolve(root), name, "promote") };
  }
  if (root !== undefined) throw new UsageError(`Cannot use --root: ${quote(name)} is a local target`);
  const path = resolve(name);
  const places = withDirectory(path, () => localPlaces(path));
  if (!isReplica(places)) throw new UsageError(`Cannot promote ${quote(name)}: it is no replica`);
  const { replicaRoot, stateDirectory } = places;
  // Our state stands beside it or in it.
  return { root: isWithin(stateDirectory, replicaRoot) ? replicaRoot : dirname(replicaRoot), places };
}

async function doPromote(
  request: Request,
  io: Io,
  options: { json: boolean; accounts: boolean },
): Promise<ExitCode> {
  const { name, force } = request;
  // Should there be none, nothing is done.
  const known = options.accounts ? accountsOf(request) : undefined;
  const result = await askServer(request, io, "promote", { name, force }) ?? await promoteHere(request, io);
  const accounts = known && await promoteAccounts(known, request, io.signal);
  const isSent = !result.waiting || (result.waiting.changes === 0 && result.waiting.isMirrored);
  let isWhole = isSent && result.unfinished.length + result.failed.length === 0;
  if (!options.json) tell(name, result, io);
  if (accounts && !tellAccounts(accounts, { ...io, stdout: options.json ? () => {} : io.stdout })) {
    isWhole = false;
  }
  if (options.json) printJson(io, { ...result, ...(accounts ? { accounts } : {}) });
  return isWhole ? exitCodes.done : exitCodes.partial;
}

async function promoteHere(request: Request, io: Io): Promise<PromotionResult> {
  const { places } = request;
  const before = loadPromotion(places.stateDirectory);
  const holder = before ? undefined : connectedSource(places);
  if (holder && !request.force) {
    throw new CommandError(
      `Cannot promote ${
        quote(request.name)
      }: its source is connected (${holder}); stop it first, or use --force`,
    );
  }
  fence(places, io.clock.nowMs());
  try {
    if (holder) await cutOff(request, io);
    return await withoutServer(request, io, () => promotionOf(places));
  } catch (error) {
    // In use, for one: then nothing is to be changed.
    if (!before) endPromotion(places.stateDirectory);
    throw error;
  }
}

/** The process of a source that has the replica as its local target, in words; `undefined` if there is none. */
function connectedSource({ stateDirectory }: ReplicaPlaces): string | undefined {
  const path = join(stateDirectory, "replica.lock");
  try {
    // Who only reads shares it.
    acquireLock(path, { shared: true })[Symbol.dispose]();
    return undefined;
  } catch (error) {
    if (!(error instanceof LockedError)) throw error;
    return /pid \d+/.exec(error.message)?.[0] ?? "another process";
  }
}

/** Has the source let go of its local target: the fence is up, so that it does not come back. */
async function cutOff({ places, timeoutMs }: Request, { signal }: Io): Promise<void> {
  using connection = await ControlConnection.open(controlSocketIn(places.stateDirectory));
  // One that is just starting or ending is waited for with the lock.
  await connection?.ask("let-go", {}, { timeoutMs, signal });
}

async function undo(request: Request, io: Io, json: boolean): Promise<ExitCode> {
  const { name, places } = request;
  const wasPromoted = await askServer(request, io, "demote", { name }) ??
    await withoutServer(request, io, () => demote(places));
  if (!wasPromoted) throw new CommandError(`Cannot lift the fence of ${quote(name)}: it is not promoted`);
  if (json) printJson(io, { name, promoted: false });
  else io.stdout(`${quote(name)} takes its source again\n`);
  return exitCodes.done;
}

/** Asks the server, if one runs; otherwise gives `undefined`. */
async function askServer<Name extends "promote" | "demote">(
  { state, timeoutMs }: Request,
  { signal }: Io,
  command: Name,
  args: ControlCommands[Name]["args"],
): Promise<ControlCommands[Name]["result"] | undefined> {
  using connection = await ControlConnection.open(controlSocketIn(state));
  if (connection === undefined) return undefined;
  try {
    return await connection.ask(command, args, { timeoutMs, signal });
  } catch (error) {
    signal.throwIfAborted();
    throw new CommandError(reasonOf(error).replace(/^Cannot run ".*?": /s, ""), { cause: error });
  }
}

/** Does it here: no server can start meanwhile, and no source has the replica as its local target. */
async function withoutServer<T>(
  { name, places, root, state, timeoutMs }: Request,
  io: Io,
  action: () => T,
): Promise<T> {
  using _held = await holdReplica({
    name,
    verb: "promote",
    places,
    state,
    rootState: targetStateDirectory(root),
    fileSystem: systemFileSystem(),
    timeoutMs,
    clock: io.clock,
    signal: io.signal,
  });
  return action();
}

function tell(name: string, result: PromotionResult, io: Io): void {
  const { directory, promotedAt, lastReceivedAt, lastSequence, connectedUntil, unfinished, failed } = result;
  io.stdout(`${quote(name)} is promoted since ${promotedAt}: users find it in ${quote(directory)}\n`);
  if (lastReceivedAt === "") io.stdout("nothing is known of when it received something\n");
  else {
    io.stdout(`the last change came at ${lastReceivedAt} (sequence ${lastSequence})\n`);
    io.stdout(`what the source changed after ${connectedUntil}, when it was connected last, is not in it\n`);
  }
  if (result.waiting) tellWaiting(result.waiting, lastReceivedAt, io);
  for (const path of unfinished) {
    io.stdout(`not received  ${quote(path)}: a newer version was on its way, this is the one before\n`);
  }
  for (const { path, op, reason } of failed) io.stdout(`not received  ${quote(path)}: ${op}: ${reason}\n`);
  io.stdout(
    `when the source is back: understudy watch-source DIR --to TARGET --failback\n`,
  );
}

function tellWaiting({ changes, since, isMirrored, at }: WaitingNote, lastReceivedAt: string, io: Io): void {
  // It tells once a second.
  const asOf = lastReceivedAt > at ? `as of ${at}: some may have come after that` : `as of ${at}`;
  if (!isMirrored) {
    io.stdout(`not received  what the first mirror had not come to: it was not complete, ${asOf}\n`);
  }
  if (changes > 0) {
    io.stdout(`not received  ${changes} changes that waited at the source since ${since}, ${asOf}\n`);
  }
  if (isMirrored && changes === 0) io.stdout(`nothing was waiting at the source, as it told at ${at}\n`);
}
