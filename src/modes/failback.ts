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
 * What is broken off is begun again by the same command: the fence stands until 3, and what 1 found is remembered.
 * @module
 */
import { existsSync } from "node:fs";
import { CommandError, withWayOut } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { isWithin, quote } from "../base/path.ts";
import { limits } from "../base/limits.ts";
import { formatSize } from "../base/units.ts";
import { Index } from "../source/index.ts";
import { IndexKeeper } from "../source/index_keeper.ts";
import type { PassSummary } from "../source/one_pass.ts";
import type { Scope } from "../source/scope.ts";
import { type Unsent, unsentChanges } from "../source/unsent.ts";
import { openIndexStore } from "../store/index_store.ts";
import { systemFileSystem } from "../sys/system.ts";
import type { KeepAside } from "../target/kept_aside.ts";
import { asideDirectory, keptChanges, makeAside, tellKept, timeNow } from "./failback_kept.ts";
import { loadFailback, removeFailback, saveFailback } from "./failback_record.ts";
import { askPromotion, endPromotionOf, type PromotionStand } from "./failback_target.ts";
import { indexPath } from "./index_path.ts";
import { keptOutRules } from "./kept_out.ts";
import { type Io, printJson } from "./mode.ts";
import { openRestoreDirectory } from "./restore_directory.ts";
import { restorePass } from "./restore_pass.ts";
import type { RestoreReport } from "./send_back.ts";
import type { TargetName } from "./target_name.ts";
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
  /** Rules of the set, a line each, and what it never replicates. */
  rules: string[];
  keptOut: Parameters<typeof keptOutRules>[0];
  /** Absolute path of the directory for what is kept; `undefined` is one beside the root. */
  keepAside: string | undefined;
  /** Only prints what would be done. */
  dryRun: boolean;
  log: Log;
}

/** An entry that a pass would change. */
interface Planned {
  action: string;
  path: string;
  bytes: number;
}

/**
 * Makes the old source equal to the promoted replica, and lifts the fence. One that had ended is not done again.
 *
 * @throws {UsageError} If nothing can be kept where it was asked for.
 * @throws {CommandError} If the replica is not promoted, or not all of it could be brought back: then the fence stands.
 */
export async function failBack(options: FailbackOptions, io: Io): Promise<void> {
  const { label, root, directory, log } = options;
  const stand = await askPromotion(options, io);
  const earlier = loadFailback(directory);
  if (stand.promotedAt === "") {
    if (earlier?.isEnding && earlier.target === label) return removeFailback(directory);
    throw new CommandError(
      `Cannot fail back from ${quote(label)}: it is not promoted; start without --failback`,
    );
  }
  const goesOn = earlier?.target === label && earlier.promotedAt === stand.promotedAt;
  const aside = goesOn
    ? earlier.aside
    : asideDirectory({ wanted: options.keepAside, root }, io.clock.nowMs());
  if (options.dryRun) return await planBack(options, { aside, unsent: findUnsent(options, stand) }, io);
  if (!goesOn) makeAside(aside);
  const lookedAtNs = timeNow(aside);
  const unsent = findUnsent(options, stand);
  const { promotedAt } = stand;
  const found = goesOn ? earlier : unsent ?? { removed: [], attributes: [] };
  const { removed, attributes } = found;
  const record = { target: label, promotedAt, aside, removed, attributes, isEnding: false };
  saveFailback(directory, record);
  log.info(`${quote(root)} is made equal to ${quote(label)}, promoted at ${promotedAt}`);
  const bytes = await bringBack(options, { directory: aside, paths: unsent?.changed, lookedAtNs }, io);
  const changes = keptChanges({ root, aside, promotedAt, unsent: record });
  tellKept(aside, changes, io);
  if (options.json) printJson(io, { event: "failback", target: label, aside, bytes, ...changes });
  else io.stdout(`failed back from ${label}, ${formatSize(bytes)} came over the line\n`);
  // Before the fence may fall: a run that finds it fallen must know why.
  saveFailback(directory, { ...record, isEnding: true });
  await endPromotionOf(options, stand, io);
  removeFailback(directory);
}

/** Passes until one finds nothing to do. @returns Bytes that came over the line. */
async function bringBack(options: FailbackOptions, keepAside: KeepAside, io: Io): Promise<number> {
  const { root, label } = options;
  const owners = { users: [], groups: [] };
  // One for all passes: it remembers what it has made.
  await using opened = openRestoreDirectory(root, { dryRun: false, owners, keepAside });
  let bytes = 0;
  for (let pass = 1;; pass++) {
    const summary = checkPass(await onePass(options, { opened, aside: keepAside.directory }, io), options);
    bytes += summary.bytesSent + summary.bytesReceived;
    if (Object.keys(summary.ops).length === 0) return bytes;
    if (pass > 1) {
      options.log.info(`${quote(label)} was changed meanwhile: ${summary.files} files of it again`);
    }
    if (pass === limits.failbackPassesMax) {
      throw new CommandError(
        `Cannot fail back from ${
          quote(label)
        }: it is still being changed; stop what works in it, and start again`,
      );
    }
  }
}

/** Prints what a failback would do, and what it would keep. */
async function planBack(
  options: FailbackOptions,
  { aside, unsent }: { aside: string; unsent: Unsent | undefined },
  io: Io,
): Promise<void> {
  const planned: Planned[] = [];
  const onReport = (report: RestoreReport) => void (report.kind === "planned" && planned.push(report));
  checkPass(await onePass(options, { aside, onReport }, io), options);
  const isChanged = new Set(unsent?.changed);
  const isRemoved = new Set(unsent?.removed);
  const isKept = ({ action, path }: Planned) =>
    (action === "update" || action === "delete") && (!unsent || isChanged.has(path));
  const kept = planned.filter(isKept).map(({ path }) => path).sort();
  const removed = planned.filter(({ path }) => isRemoved.has(path)).map(({ path }) => path).sort();
  if (options.json) return printJson(io, { planned, aside, kept, removed });
  for (const each of planned) {
    const why = isKept(each)
      ? ": changed here and not known to be sent, would be kept aside"
      : isRemoved.has(each.path)
      ? ": removed here and not known to be sent, would come back"
      : "";
    io.stdout(`${each.action.padEnd(10)} ${quote(each.path)}${why}\n`);
  }
  io.stdout(`would do ${planned.length} things, and keep ${kept.length} in ${quote(aside)}\n`);
}

function onePass(
  options: FailbackOptions,
  { aside, opened, onReport = () => {} }: {
    aside: string;
    opened?: ReturnType<typeof openRestoreDirectory>;
    onReport?: (report: RestoreReport) => void;
  },
  io: Io,
): Promise<PassSummary | undefined> {
  const { target, root, dryRun, blockSize, fastMirrorSizeMin, compress, limitRate } = options;
  const keptOut = [...options.keptOut];
  if (isWithin(aside, root)) keptOut.push({ path: aside.slice(root === "/" ? 1 : root.length + 1) });
  const request = {
    paths: [""],
    overwrite: "all" as const,
    delete: true,
    dryRun,
    blockSize,
    fastMirrorSizeMin,
    compress,
    // What the source never replicates is none of the replica's business.
    rules: [...options.rules, ...keptOutRules(keptOut)],
    ...(limitRate ? { limitRate } : {}),
  };
  const state = options.stateRoot;
  return restorePass({ ...options, state, target, directory: root, request, opened, onReport }, io);
}

function checkPass(summary: PassSummary | undefined, { label, log }: FailbackOptions): PassSummary {
  if (!summary) {
    throw new CommandError(`Cannot fail back from ${quote(label)}: it ended before all was brought back`);
  }
  const { problems, heldBack } = summary;
  for (const { path, op, reason } of problems) log.warn(`${quote(path)}: ${op}: ${reason}`);
  if (problems.length === 0 && !heldBack) return summary;
  const why = heldBack || `${problems.length} problems`;
  throw new CommandError(
    `Cannot fail back from ${quote(label)}: not all of it could be brought back (${why})`,
  );
}

/**
 * What was never acked, by the index of this target; `undefined` if there is none, or the replica has not all that it
 * acked: then nothing is known.
 */
function findUnsent(options: FailbackOptions, stand: PromotionStand): Unsent | undefined {
  const { directory, label, root, scope, log } = options;
  const path = indexPath(directory, label);
  if (!existsSync(path)) return undefined;
  const keeper = withWayOut(
    "remove it, and all that differs from the replica is kept aside",
    () => new IndexKeeper(openIndexStore(path), log),
  );
  try {
    const index = new Index();
    const saved = keeper.load(index);
    if (!saved) return undefined;
    const doubt = doubtOf({ ...saved, sequence: keeper.savedSequence }, stand);
    if (doubt) {
      log.warn(`${quote(label)} ${doubt}: all that differs from it is kept aside`);
      return undefined;
    }
    using tree = systemFileSystem().openTree(root);
    return unsentChanges(tree, index, scope);
  } finally {
    keeper.close();
  }
}

/** Why what the index says is not what the replica had when it was promoted; `undefined` if it is. */
function doubtOf(
  saved: { streamId: string; replicaId: string; sequence: number },
  stand: PromotionStand,
): string | undefined {
  if (saved.replicaId !== stand.replicaId) return "is another replica than the one that was replicated to";
  if (saved.streamId !== stand.streamId) return "was last changed by another command than watch-source";
  return saved.sequence > stand.durableSequence ? "has not all that it had acked" : undefined;
}
