/**
 * The way back of an old source to a replica that was promoted meanwhile (`watch-source --failback`):
 *
 * ```
 * 1 unsent     what was changed here and is not known to be acked, by the index as it was saved
 * 2 passes     the replica is brought back, deletions included, until a pass finds nothing to do;
 *              what is unsent and about to be lost is kept aside
 * 3 end        the target lifts the fence, and replication begins anew
 * ```
 *
 * What is broken off is begun again by the same command: the fence stands until 3.
 * @module
 */
import { existsSync, mkdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { CommandError, UsageError, withWayOut } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { isWithin, quote } from "../base/path.ts";
import { limits } from "../base/limits.ts";
import { Index } from "../source/index.ts";
import { IndexKeeper } from "../source/index_keeper.ts";
import type { PassSummary } from "../source/one_pass.ts";
import type { Scope } from "../source/scope.ts";
import { type Unsent, unsentChanges } from "../source/unsent.ts";
import { saveJson } from "../store/durable.ts";
import { openIndexStore } from "../store/index_store.ts";
import { acquireLock } from "../store/lock_file.ts";
import { loadPromotion } from "../store/promotion.ts";
import { systemFileSystem } from "../sys/system.ts";
import { localPlaces } from "../target/places.ts";
import { demote } from "../target/promote.ts";
import { decodeMessage, encodeMessage } from "../wire/message.ts";
import type { Session } from "../wire/session.ts";
import { indexPath } from "./index_path.ts";
import type { Io } from "./mode.ts";
import { restorePass } from "./restore_pass.ts";
import { formatTargetName, type TargetName } from "./target_name.ts";
import { reachTarget } from "./targets.ts";
import type { TransferOptions } from "./transfer_options.ts";

/** What a failback needs. */
export interface FailbackOptions extends TransferOptions {
  target: TargetName;
  /** Label of the target, by which its index is known. */
  label: string;
  /** Real path of the old source. */
  root: string;
  /** State directory of the user, and of the set in it. */
  stateRoot: string;
  directory: string;
  scope: Scope;
  /** Rules of the set, a line each. */
  rules: string[];
  /** Absolute path of the directory for what is kept; `undefined` is one beside the root. */
  keepAside: string | undefined;
  log: Log;
}

/**
 * Makes the old source equal to the promoted replica, and lifts the fence.
 *
 * @throws {UsageError} If nothing can be kept where it was asked for.
 * @throws {CommandError} If the replica is not promoted, or not all of it could be brought back: then the fence stands.
 */
export async function failBack(options: FailbackOptions, io: Io): Promise<void> {
  const { label, root, log } = options;
  const promotedAt = await askPromotion(options, io, { ends: false });
  if (promotedAt === "") {
    throw new CommandError(
      `Cannot fail back from ${quote(label)}: it is not promoted; start without --failback`,
    );
  }
  const aside = asideDirectory(options, io);
  const unsent = findUnsent(options);
  log.info(`${quote(root)} is made equal to ${quote(label)}, promoted at ${promotedAt}`);
  await bringBack(options, { directory: aside, paths: unsent?.changed }, io);
  tellKept(options, { aside, unsent, promotedAt }, io);
  await askPromotion(options, io, { ends: true });
}

/** Passes until one finds nothing to do. */
async function bringBack(
  options: FailbackOptions,
  keepAside: { directory: string; paths: string[] | undefined },
  io: Io,
): Promise<void> {
  const { target, root, rules, blockSize, fastMirrorSizeMin, compress, limitRate, label } = options;
  const request = {
    paths: [""],
    overwrite: "all" as const,
    delete: true,
    dryRun: false,
    blockSize,
    fastMirrorSizeMin,
    compress,
    rules,
    ...(limitRate ? { limitRate } : {}),
  };
  for (let pass = 1;; pass++) {
    const summary = await restorePass(
      {
        ...options,
        state: options.stateRoot,
        target,
        directory: root,
        request,
        keepAside,
        onReport: () => {},
      },
      io,
    );
    checkPass(summary, options);
    if (Object.keys(summary!.ops).length === 0) return;
    if (pass === limits.failbackPassesMax) {
      throw new CommandError(
        `Cannot fail back from ${
          quote(label)
        }: it is still being changed; stop what works in it, and start again`,
      );
    }
  }
}

function checkPass(summary: PassSummary | undefined, { label, log }: FailbackOptions): void {
  if (!summary) {
    throw new CommandError(`Cannot fail back from ${quote(label)}: it ended before all was brought back`);
  }
  for (const { path, op, reason } of summary.problems) log.warn(`${quote(path)}: ${op}: ${reason}`);
  if (summary.problems.length === 0 && !summary.heldBack) return;
  throw new CommandError(
    `Cannot fail back from ${
      quote(label)
    }: not all of it could be brought back (${summary.problems.length} problems)`,
  );
}

/** What was never acked, by the index of this target; `undefined` if there is none: then nothing is known. */
function findUnsent({ directory, label, root, scope, log }: FailbackOptions): Unsent | undefined {
  const path = indexPath(directory, label);
  if (!existsSync(path)) return undefined;
  const keeper = withWayOut(
    "remove it, and all that differs from the replica is kept aside",
    () => new IndexKeeper(openIndexStore(path), log),
  );
  try {
    const index = new Index();
    if (!keeper.load(index)) return undefined;
    using tree = systemFileSystem().openTree(root);
    return unsentChanges(tree, index, scope);
  } finally {
    keeper.close();
  }
}

/** Where unsent changes are kept: a new directory, outside the root. */
function asideDirectory({ keepAside, root }: FailbackOptions, io: Io): string {
  const stamp = new Date(io.clock.nowMs()).toISOString().replace(/[:.]/g, "-");
  const path = keepAside ?? join(dirname(root), `${basename(root)}.kept-${stamp}`);
  if (isWithin(path, root)) {
    throw new UsageError(
      `Cannot keep changes in ${quote(path)}: it lies inside the source; use --keep-aside DIR`,
    );
  }
  return path;
}

function tellKept(
  { root, log }: FailbackOptions,
  { aside, unsent, promotedAt }: { aside: string; unsent: Unsent | undefined; promotedAt: string },
  io: Io,
): void {
  const kept = existsSync(aside) ? listKept(aside) : [];
  const removed = unsent?.removed ?? [];
  if (kept.length + removed.length === 0) {
    return log.info("nothing is lost here that the replica did not have");
  }
  mkdirSync(aside, { recursive: true, mode: 0o700 });
  saveJson(`${aside}.json`, { root, promotedAt, kept, removed });
  const lines = [
    ...kept.map((path) => `kept aside ${quote(path)}: changed here and not known to be sent`),
    ...removed.map((path) => `came back  ${quote(path)}: removed here and not known to be sent`),
  ];
  for (const line of lines.slice(0, limits.failbackLinesMax)) io.stderr(`understudy: ${line}\n`);
  io.stderr(
    `understudy: ${kept.length} kept in ${quote(aside)}, all are listed in ${quote(`${aside}.json`)}\n`,
  );
}

/** Paths of all but directories that hold something. */
function listKept(aside: string): string[] {
  using tree = systemFileSystem().openTree(aside);
  const kept: string[] = [];
  const below = [""];
  for (let directory = below.pop(); directory !== undefined; directory = below.pop()) {
    const at = directory;
    const names = tree.list(at);
    if (names.length === 0 && at !== "") kept.push(at);
    for (const { name } of names) {
      const path = at === "" ? name : `${at}/${name}`;
      if (tree.stat(path)?.kind === "directory") below.push(path);
      else kept.push(path);
    }
  }
  return kept.sort();
}

/**
 * Asks since when the replica is promoted, `""` if it is not; and ends that, if wanted.
 *
 * @throws {RefusedError} If the target refuses.
 */
async function askPromotion(options: FailbackOptions, io: Io, { ends }: { ends: boolean }): Promise<string> {
  const { target } = options;
  if (target.kind === "directory") {
    const places = localPlaces(target.path);
    const promotedAt = loadPromotion(places.stateDirectory)?.promotedAt ?? "";
    if (!ends) return promotedAt;
    using _lock = acquireLock(join(places.stateDirectory, "replica.lock"));
    demote(places);
    return promotedAt;
  }
  await using reached = await reachTarget(target, {
    ...options,
    limitRate: 0,
    state: options.stateRoot,
    wants: "failback",
    signal: io.signal,
    nowMs: io.clock.nowMs(),
  });
  const session = await reached.connect(io.signal);
  try {
    const promotedAt = await promotionOf(session, formatTargetName(target));
    if (ends) {
      await session.send(encodeMessage({ type: "compared" }));
      // It closes when it is done.
      await session.receive();
    }
    return promotedAt;
  } finally {
    await session.close();
  }
}

async function promotionOf(session: Session, label: string): Promise<string> {
  const bytes = await session.receive();
  const message = bytes && decodeMessage(bytes);
  const report = message?.type === "report" ? message.report as { promotedAt?: unknown } : undefined;
  if (typeof report?.promotedAt === "string") return report.promotedAt;
  throw new CommandError(`Cannot fail back from ${quote(label)}: it does not say whether it is promoted`);
}
