/**
 * One pass of bringing a replica back into a directory.
 * @module
 */
import { CommandError, errorCode } from "../base/errors.ts";
import { createLog } from "../base/log.ts";
import { quote } from "../base/path.ts";
import type { PassSummary } from "../source/one_pass.ts";
import { makeStateDirectory, stateDirectory } from "../store/state_directory.ts";
import { systemFileSystem } from "../sys/system.ts";
import { pump } from "../target/apply_client.ts";
import type { KeepAside } from "../target/kept_aside.ts";
import { checkApart, realPathOf } from "../target/places.ts";
import { decodeMessage, encodeMessage, isReport, type RestoreRequest } from "../wire/message.ts";
import type { Session } from "../wire/session.ts";
import type { Io } from "./mode.ts";
import { openRestoreDirectory, type RestoreDirectory } from "./restore_directory.ts";
import { withDirectory } from "./root_trouble.ts";
import { type RestoreReport, sendBack } from "./send_back.ts";
import type { TargetName } from "./target_name.ts";
import { reachTarget } from "./targets.ts";
import type { TransferOptions } from "./transfer_options.ts";

/** What is brought back, and where. */
export interface RestorePass extends Pick<TransferOptions, "cipher" | "compress" | "limitRate" | "state"> {
  target: TargetName;
  /** Absolute path of the directory that it goes into. */
  directory: string;
  request: RestoreRequest;
  /** What is kept of the directory before it is lost. @default nothing */
  keepAside?: KeepAside;
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
  await using directory = openDirectory(pass);
  return await sendBack({
    replicaRoot,
    fileSystem: systemFileSystem(),
    connect: () => directory.openSession(),
    request: pass.request,
    report: pass.onReport,
    clock: io.clock,
    log: createLog({ write: io.stderr, level: "warn" }),
    signal: io.signal,
  });
}

function openDirectory({ directory, request: { dryRun }, keepAside }: RestorePass): RestoreDirectory {
  const path = withDirectory(directory, () => realPathOf(directory));
  return openRestoreDirectory(path, { dryRun, keepAside });
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
  await using directory = openDirectory(pass);
  const session = await target.connect(io.signal);
  const close = () => void session.close();
  io.signal.addEventListener("abort", close, { once: true });
  try {
    await session.send(encodeMessage({ type: "restore", restore: pass.request }));
    await pump(withoutReports(session, pass.onReport), await directory.openSession());
    io.signal.throwIfAborted();
  } finally {
    io.signal.removeEventListener("abort", close);
    await session.close();
  }
}

/** The session as the receiver sees it: reports are for us, and the last of them is the end. */
function withoutReports(session: Session, onReport: (report: RestoreReport) => void): Session {
  let over = false;
  return {
    peer: session.peer,
    stats: session.stats,
    send: (message) => session.send(message),
    close: () => session.close(),
    async receive() {
      while (!over) {
        const bytes = await session.receive();
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
