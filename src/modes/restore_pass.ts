/**
 * One pass of bringing a replica back into a directory.
 * @module
 */
import { type Accounts, checkAccounts } from "../base/accounts.ts";
import { CommandError, errorCode } from "../base/errors.ts";
import { createLog } from "../base/log.ts";
import { quote } from "../base/path.ts";
import type { PassSummary } from "../source/one_pass.ts";
import { makeStateDirectory, stateDirectory } from "../store/state_directory.ts";
import { systemFileSystem } from "../sys/system.ts";
import { pump } from "../target/apply_client.ts";
import type { OwnerMap } from "../sys/ownership.ts";
import { checkApart, localPlaces, realPathOf } from "../target/places.ts";
import { ownersOf } from "../target/promote.ts";
import { readReplicaAccounts } from "../target/replica.ts";
import { ownedReplica } from "../target/replica_owners.ts";
import { decodeMessage, encodeMessage, isReport, type RestoreRequest } from "../wire/message.ts";
import type { Session } from "../wire/session.ts";
import type { Io } from "./mode.ts";
import { openRestoreDirectory, type RestoreDirectory } from "./restore_directory.ts";
import { withDirectory } from "./root_trouble.ts";
import { type RestoreReport, sendBack } from "./send_back.ts";
import type { TargetName } from "./target_name.ts";
import { reachTarget } from "./targets.ts";
import type { TransferOptions } from "./transfer_options.ts";

/** Whoever has to know the source's accounts. */
export interface TakesAccounts {
  /** Whether they must be known before anything is restored. */
  readonly needsAccounts: boolean;
  /** Numbers that the source's files get here. */
  readonly owners: OwnerMap;
  /** @throws {CommandError} If there are none, though they are needed. */
  take(accounts: Accounts | undefined): void;
}

/** What is brought back, and where. */
export interface RestorePass extends Pick<TransferOptions, "cipher" | "compress" | "limitRate" | "state"> {
  target: TargetName;
  /** Absolute path of the directory that it goes into. */
  directory: string;
  request: RestoreRequest;
  /** Whom the files belong to. @default the numbers that they have at the target */
  accounts?: TakesAccounts;
  /** The directory, opened already; it stays open. @default opened for this pass */
  opened?: RestoreDirectory;
  /** Told what happens on the way. */
  onReport: (report: RestoreReport) => void;
}

/**
 * Makes the directory equal to the replica, as far as the request says so.
 *
 * @returns What was done; `undefined` if the other side ended before.
 * @throws {CommandError} If it cannot be done at all. @throws {RefusedError} If the target refuses.
 */
export async function restorePass(pass: RestorePass, io: Io): Promise<PassSummary | undefined> {
  let summary: PassSummary | undefined;
  const onReport = (report: RestoreReport) => {
    if (report.kind === "failed") throw new CommandError(report.reason);
    if (report.kind === "done") summary = report.summary;
    pass.onReport(report);
  };
  const { target } = pass;
  if (target.kind === "directory") summary = await restoreLocally(target.path, { ...pass, onReport }, io);
  else await restoreFromServer({ ...pass, onReport }, io);
  return summary;
}

async function restoreLocally(replicaRoot: string, pass: RestorePass, io: Io): Promise<PassSummary> {
  checkReplica(replicaRoot);
  withDirectory(pass.directory, () => checkApart(replicaRoot, pass.directory));
  const places = withDirectory(replicaRoot, () => localPlaces(replicaRoot));
  if (pass.accounts?.needsAccounts) pass.accounts.take(readReplicaAccounts(places));
  await using own = pass.opened ? undefined : openDirectory(pass);
  const directory = pass.opened ?? own!;
  return await sendBack({
    replicaRoot,
    // What is sent back are the source's numbers, whatever they are here.
    fileSystem:
      ownedReplica({ ...places, owners: ownersOf(places, "number") }, systemFileSystem()).fileSystem,
    connect: () => directory.openSession(),
    request: pass.request,
    report: pass.onReport,
    clock: io.clock,
    log: createLog({ write: io.stderr, level: "warn" }),
    signal: io.signal,
  });
}

function openDirectory({ directory, request, accounts }: RestorePass): RestoreDirectory {
  const path = withDirectory(directory, () => realPathOf(directory));
  const owners = accounts?.owners ?? { users: [], groups: [] };
  return openRestoreDirectory(path, { dryRun: request.dryRun, owners });
}

async function restoreFromServer(pass: RestorePass, io: Io): Promise<void> {
  const state = stateDirectory(pass.state, io);
  makeStateDirectory(state);
  await using target = await reachTarget(pass.target, {
    ...pass,
    root: pass.directory,
    state,
    wants: "restore",
    signal: io.signal,
    nowMs: io.clock.nowMs(),
  });
  const session = await target.connect(io.signal);
  const close = () => void session.close();
  io.signal.addEventListener("abort", close, { once: true });
  try {
    await session.send(encodeMessage({ type: "restore", restore: pass.request }));
    const first = pass.accounts?.needsAccounts ? await firstMessage(session, pass.accounts) : undefined;
    await using own = pass.opened ? undefined : openDirectory(pass);
    const directory = pass.opened ?? own!;
    await pump(withoutReports(session, pass.onReport, first), await directory.openSession());
    io.signal.throwIfAborted();
  } finally {
    io.signal.removeEventListener("abort", close);
    await session.close();
  }
}

/**
 * Takes the accounts that come first.
 *
 * @returns The first message where it is another one: an older target tells no accounts.
 */
async function firstMessage(session: Session, accounts: TakesAccounts): Promise<Uint8Array | undefined> {
  const bytes = await session.receive();
  const message = bytes && decodeMessage(bytes);
  const report = message?.type === "report" ? message.report as RestoreReport : undefined;
  if (report?.kind === "failed") throw new CommandError(report.reason);
  const isAccounts = report?.kind === "accounts";
  accounts.take(isAccounts && report.accounts !== null ? checkAccounts(report.accounts) : undefined);
  return isAccounts ? undefined : bytes;
}

/** The session as the receiver sees it: reports are for us, and the last of them is the end. */
function withoutReports(
  session: Session,
  onReport: (report: RestoreReport) => void,
  first: Uint8Array | undefined,
): Session {
  let over = false;
  return {
    peer: session.peer,
    stats: session.stats,
    send: (message) => session.send(message),
    close: () => session.close(),
    async receive() {
      while (!over) {
        const bytes = first ?? await session.receive();
        first = undefined;
        if (!bytes || !isReport(bytes)) return bytes;
        const message = decodeMessage(bytes);
        if (message.type !== "report") continue;
        const report = message.report as RestoreReport;
        onReport(report);
        over = report.kind === "done";
      }
      return undefined;
    },
  };
}

function checkReplica(path: string): void {
  try {
    if (Deno.statSync(path).isDirectory) return;
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    throw new CommandError(`Cannot restore from ${quote(path)}: there is no such directory`);
  }
  throw new CommandError(`Cannot restore from ${quote(path)}: it is not a directory`);
}
