/**
 * The sending side of a restore: a mirror with the roles exchanged. The replica is the tree that is copied from.
 * @module
 */
import type { Accounts } from "../base/accounts.ts";
import type { Clock } from "../base/clock.ts";
import { CommandError, ProtocolError, reasonOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { checkRelativePath, isWithin, quote } from "../base/path.ts";
import { limits } from "../base/limits.ts";
import { initHasher } from "../mirror/signature.ts";
import { RuleList } from "../rules/rule_list.ts";
import { type PassSummary, runOnePass } from "../source/one_pass.ts";
import { RootGuard } from "../source/root_guard.ts";
import { scopeWithin, scopeWithout } from "../source/scope.ts";
import { SetScope } from "../source/set_scope.ts";
import type { FileSystem, Tree } from "../sys/file_system.ts";
import { readReplicaAccounts } from "../target/replica.ts";
import { type CompressionName, compressionNames } from "../wire/compress.ts";
import { decodeMessage, encodeMessage, type RestoreRequest } from "../wire/message.ts";
import type { Session } from "../wire/session.ts";

/** What a restore reports on its way, for the one who asked. */
export type RestoreReport =
  /** The first one, if accounts were asked for; `null` if the replica keeps none. */
  | { kind: "accounts"; accounts: Accounts | null }
  | { kind: "progress"; files: number; entries: number; waiting: number; bytes: number }
  | { kind: "planned"; action: string; path: string; bytes: number }
  | { kind: "kept"; path: string; reason: string }
  | { kind: "done"; summary: PassSummary }
  | { kind: "failed"; reason: string };

/** What sending back needs. */
export interface SendBackOptions {
  /** Directory of the replica. */
  replicaRoot: string;
  fileSystem: FileSystem;
  /** Session with the receiver, used once. */
  connect: () => Promise<Session>;
  request: RestoreRequest;
  report: (report: RestoreReport) => void;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
}

/** Makes the receiver equal to the replica, or to parts of it. */
export async function sendBack(options: SendBackOptions): Promise<PassSummary> {
  const { replicaRoot, fileSystem, request, report } = options;
  checkRequest(request);
  await initHasher();
  const guard = new RootGuard(fileSystem, replicaRoot);
  try {
    checkPaths(request.paths, guard.tree);
    return await runOnePass({
      ...options,
      target: "restore",
      tree: guard.tree,
      rootStands: () => guard.stands(),
      roots: request.paths,
      scope: scopeWithin(
        scopeWithout((path) => !request.paths.some((root) => isWithin(path, root) || isWithin(root, path))),
        new SetScope({ rules: RuleList.parse(request.rules) }),
      ),
      policy: {
        overwrite: request.overwrite,
        deleteAbsent: request.delete,
        blockSize: request.blockSize,
        fastMirrorSizeMin: request.fastMirrorSizeMin,
      },
      onPlanned: request.dryRun
        ? (action, path, bytes) => report({ kind: "planned", action, path, bytes })
        : undefined,
      onKept: (path, reason) => report({ kind: "kept", path, reason }),
      onProgress: ({ filesSent, entriesSeen, filesWaiting, bytesSent }) =>
        report({
          kind: "progress",
          files: filesSent,
          entries: entriesSeen,
          waiting: filesWaiting,
          bytes: bytesSent,
        }),
    });
  } finally {
    guard.tree.close();
  }
}

/**
 * Serves a restore over a session: takes the request, sends back, reports.
 *
 * @param options.stateDirectory Our state of the replica: it keeps the accounts of its source.
 */
export async function serveRestore(
  session: Session & { setCompression(name: CompressionName): void; setRate(bytesPerSecond: number): void },
  options: Omit<SendBackOptions, "connect" | "request" | "report"> & { stateDirectory: string },
): Promise<void> {
  const first = await session.receive();
  if (!first) return;
  const message = decodeMessage(first);
  if (message.type !== "restore") throw new ProtocolError(`Cannot restore: "${message.type}" came first`);
  const compression = compressionNames.find((name) => name === message.restore.compress);
  if (!compression) {
    throw new ProtocolError(`Cannot restore: compression "${message.restore.compress}" is unknown`);
  }
  session.setCompression(compression);
  if (message.restore.limitRate !== undefined) session.setRate(checkedRate(message.restore.limitRate));
  const report = (report: RestoreReport) =>
    void session.send(encodeMessage({ type: "report", report })).catch(() => {
      // The one who asked is gone: the pass itself learns that from its own sending.
    });
  try {
    if (message.restore.accounts === true) {
      report({ kind: "accounts", accounts: readReplicaAccounts(options) ?? null });
    }
    const summary = await sendBack({
      ...options,
      request: message.restore,
      report,
      connect: () => Promise.resolve(keptOpen(session)),
    });
    report({ kind: "done", summary });
  } catch (error) {
    report({ kind: "failed", reason: reasonOf(error) });
    throw error;
  }
}

/** The session as the pass sees it: its end is not that of the session, which still carries the last report. */
function keptOpen(session: Session): Session {
  return {
    peer: session.peer,
    stats: session.stats,
    send: (message) => session.send(message),
    receive: () => session.receive(),
    close: () => Promise.resolve(),
  };
}

/** A path that is not in the replica is a slip of the pen, not a wish to have it removed. */
function checkPaths(paths: string[], tree: Tree): void {
  for (const path of paths) {
    if (!tree.stat(path)) {
      throw new CommandError(`Cannot restore ${quote(path)}: the replica has no such path`);
    }
  }
}

/** What the one who asks may choose: a slower restore would hold the session up for too long. */
function checkedRate(bytesPerSecond: unknown): number {
  if (Number.isSafeInteger(bytesPerSecond) && Number(bytesPerSecond) >= limits.limitRateMin) {
    return Number(bytesPerSecond);
  }
  throw new ProtocolError(`Cannot restore: ${bytesPerSecond} bytes a second are not possible`);
}

function checkRequest({ paths, blockSize, overwrite }: RestoreRequest): void {
  for (const path of paths) checkRelativePath(path);
  const isBlockSize = blockSize >= limits.blockSizeMin && blockSize <= limits.blockSizeMax &&
    Number.isInteger(Math.log2(blockSize));
  if (!isBlockSize) throw new ProtocolError(`Cannot restore: blocks of ${blockSize} bytes are not possible`);
  if (!["older", "all", "none"].includes(overwrite)) {
    throw new ProtocolError(`Cannot restore: overwrite rule "${overwrite}" is unknown`);
  }
}
