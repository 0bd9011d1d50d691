/**
 * `restore`.
 * @module
 */
import { checkAccounts } from "../base/accounts.ts";
import { CommandError, errorCode } from "../base/errors.ts";
import { createLog } from "../base/log.ts";
import { quote } from "../base/path.ts";
import type { PassSummary } from "../source/one_pass.ts";
import { makeStateDirectory, stateDirectory } from "../store/state_directory.ts";
import { systemFileSystem } from "../sys/system.ts";
import type { AccountsReport } from "../identity/rebuild.ts";
import { pump } from "../target/apply_client.ts";
import { checkApart, localPlaces, realPathOf } from "../target/places.ts";
import { readReplicaAccounts } from "../target/replica.ts";
import { decodeMessage, encodeMessage, isReport, type RestoreRequest } from "../wire/message.ts";
import type { Session } from "../wire/session.ts";
import { exitCodeOf, printSummary } from "./mirror.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { noProgress, progress } from "./progress.ts";
import { openRestoreDirectory, type RestoreDirectory } from "./restore_directory.ts";
import { parseRestoreOptions, type RestoreOptions } from "./restore_options.ts";
import { withDirectory } from "./root_trouble.ts";
import { type RestoreReport, sendBack } from "./send_back.ts";
import { isWhole, printAccounts, Rebuilding } from "./rebuilding.ts";
import { reachTarget } from "./targets.ts";

/** What came of a restore. */
interface Outcome {
  /** `undefined` if they were not to be rebuilt. */
  accounts?: AccountsReport;
  summary: PassSummary | undefined;
  planned: { action: string; path: string; bytes: number }[];
  kept: { path: string; reason: string }[];
}

/** Runs `restore`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const options = parseRestoreOptions(args, io);
  const outcome: Outcome = { summary: undefined, planned: [], kept: [] };
  const shown = options.json || options.dryRun ? noProgress : progress({ io, what: "restore" });
  const onReport = (report: RestoreReport) => {
    if (report.kind === "planned") outcome.planned.push(report);
    else if (report.kind === "kept") outcome.kept.push(report);
    else if (report.kind === "done") outcome.summary = report.summary;
    else if (report.kind === "accounts") return;
    else if (report.kind === "failed") throw new CommandError(report.reason);
    else {
      const { files, waiting, bytes } = report;
      shown.update({ files, filesTotal: files + waiting, bytesDone: bytes, bytesTotal: bytes });
    }
  };
  const context = { io, onReport, outcome, rebuilding: new Rebuilding(options, io) };
  if (options.target.kind === "directory") await restoreLocally(options.target.path, options, context);
  else await restoreFromServer(options, context);
  shown.done();
  if (outcome.summary && options.accounts) outcome.accounts = await context.rebuilding.run();
  return tell(outcome, options, io);
}

/** What both roads of a restore work with. */
interface RestoreContext {
  io: Io;
  onReport: (report: RestoreReport) => void;
  outcome: Outcome;
  rebuilding: Rebuilding;
}

async function restoreLocally(
  replicaRoot: string,
  options: RestoreOptions,
  { io, onReport, outcome, rebuilding }: RestoreContext,
): Promise<void> {
  checkReplica(replicaRoot);
  withDirectory(options.directory, () => checkApart(replicaRoot, options.directory));
  if (rebuilding.needsAccounts) {
    rebuilding.take(readReplicaAccounts(withDirectory(replicaRoot, () => localPlaces(replicaRoot))));
  }
  await using directory = openDirectory(options, rebuilding);
  outcome.summary = await sendBack({
    replicaRoot,
    fileSystem: systemFileSystem(),
    connect: () => directory.openSession(),
    request: requestOf(options),
    report: onReport,
    clock: io.clock,
    log: createLog({ write: io.stderr, level: "warn" }),
    signal: io.signal,
  });
}

function openDirectory({ directory, dryRun }: RestoreOptions, { owners }: Rebuilding): RestoreDirectory {
  return openRestoreDirectory(withDirectory(directory, () => realPathOf(directory)), { dryRun, owners });
}

async function restoreFromServer(
  options: RestoreOptions,
  { io, onReport, rebuilding }: RestoreContext,
): Promise<void> {
  const state = stateDirectory(options.state, io);
  makeStateDirectory(state);
  await using target = await reachTarget(options.target, {
    ...options,
    root: options.directory,
    state,
    wants: "restore",
    signal: io.signal,
    nowMs: io.clock.nowMs(),
  });
  const session = await target.connect(io.signal);
  const close = () => void session.close();
  io.signal.addEventListener("abort", close, { once: true });
  try {
    await session.send(encodeMessage({ type: "restore", restore: requestOf(options) }));
    const first = rebuilding.needsAccounts ? await firstMessage(session, rebuilding) : undefined;
    await using directory = openDirectory(options, rebuilding);
    await pump(withoutReports(session, onReport, first), await directory.openSession());
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
async function firstMessage(session: Session, rebuilding: Rebuilding): Promise<Uint8Array | undefined> {
  const bytes = await session.receive();
  const message = bytes && decodeMessage(bytes);
  const report = message?.type === "report" ? message.report as RestoreReport : undefined;
  if (report?.kind === "failed") throw new CommandError(report.reason);
  const isAccounts = report?.kind === "accounts";
  rebuilding.take(isAccounts && report.accounts !== null ? checkAccounts(report.accounts) : undefined);
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

function requestOf(options: RestoreOptions): RestoreRequest {
  const { paths, overwrite, dryRun, blockSize, fastMirrorSizeMin, compress, given, limitRate } = options;
  return {
    paths: paths.length > 0 ? paths : [""],
    overwrite,
    delete: options.delete,
    dryRun,
    blockSize,
    fastMirrorSizeMin,
    compress,
    rules: given.map(({ text }) => text),
    ...(limitRate ? { limitRate } : {}),
    ...(options.accounts || options.owners === "name" ? { accounts: true } : {}),
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

function tell({ summary, planned, kept, accounts }: Outcome, options: RestoreOptions, io: Io): ExitCode {
  if (!summary) throw new CommandError("Cannot restore: the target ended before it was done");
  if (options.json) {
    printJson(io, {
      ...summary,
      kept,
      ...(options.dryRun ? { planned } : {}),
      ...(accounts ? { accounts } : {}),
    });
  } else {
    for (const { path, reason } of kept) io.stderr(`understudy: kept ${quote(path)}: ${reason}\n`);
    if (options.dryRun) {
      for (const { action, path } of planned) io.stdout(`${action.padEnd(10)} ${quote(path)}\n`);
      io.stdout(`would do ${planned.length} things\n`);
    } else printSummary("restored", summary, options, io);
    if (accounts) printAccounts(accounts, options, io);
  }
  const code = exitCodeOf(summary);
  if (code === exitCodes.done && accounts && !isWhole(accounts)) return exitCodes.partial;
  return code === exitCodes.done && kept.length > 0 && options.overwrite === "older"
    ? exitCodes.partial
    : code;
}
