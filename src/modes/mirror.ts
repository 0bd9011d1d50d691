/**
 * `mirror`.
 * @module
 */
import { CommandError, errorCode } from "../base/errors.ts";
import { createLog } from "../base/log.ts";
import { quote } from "../base/path.ts";
import { formatSize } from "../base/units.ts";
import { initHasher } from "../mirror/signature.ts";
import { type PassSummary, runOnePass } from "../source/one_pass.ts";
import { RootGuard } from "../source/root_guard.ts";
import { SetScope } from "../source/set_scope.ts";
import {
  defaultSetName,
  makeStateDirectory,
  setDirectory,
  stateDirectory,
} from "../store/state_directory.ts";
import { systemFileSystem } from "../sys/system.ts";
import { keptOutOf } from "./kept_out.ts";
import { type MirrorOptions, parseMirrorOptions } from "./mirror_options.ts";
import { realPathOf } from "../target/places.ts";
import { loadGuardBook, loadMounts } from "./guard_options.ts";
import { openAccounts } from "./account_options.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { printProblems } from "./problem_lines.ts";
import { noProgress, progress } from "./progress.ts";
import { rootTrouble } from "./root_trouble.ts";
import { rulesOfOnePass } from "./rule_options.ts";
import { holdsTargets, reachTarget } from "./targets.ts";

/** Runs `mirror`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const options = parseMirrorOptions(args, io);
  const guard = openSource(options.root);
  const state = stateDirectory(options.state, io);
  makeStateDirectory(state);
  const root = realPathOf(options.root);
  const set = setDirectory(state, options.name ?? defaultSetName(root));
  const book = loadGuardBook(set, { clock: io.clock, keeps: false });
  await initHasher();
  await using target = await reachTarget(options.target, {
    ...options,
    state,
    wants: "replicate",
    signal: io.signal,
    nowMs: io.clock.nowMs(),
  });
  const log = createLog({ write: io.stderr, level: "warn" });
  const accounts = options.dryRun ? undefined : openAccounts(options, { clock: io.clock, log });
  const shown = options.json || options.dryRun ? noProgress : progress({ io, what: "mirror" });
  const directories = target.directory ? [target.directory] : [];
  const planned: { action: string; path: string; bytes: number }[] = [];
  const summary = await runOnePass({
    target: target.label,
    connect: target.connect,
    tree: guard.tree,
    rootStands: () => guard.stands(),
    scope: new SetScope({
      rules: rulesOfOnePass(options),
      keptOut: keptOutOf({ ...options, state, targets: () => directories }),
    }),
    keepsTargetOut: target.directory !== undefined && holdsTargets(options.root),
    purgesLeftovers: options.deleteExcluded,
    policy: {
      full: options.full,
      deleteAbsent: options.delete,
      blockSize: options.blockSize,
      fastMirrorSizeMin: options.fastMirrorSizeMin,
    },
    mounts: loadMounts(set),
    guards: { book, thresholds: { deletions: options.guardDeletes, rewrites: undefined } },
    comparesContents: options.content,
    onPlanned: options.dryRun
      ? (action, path, bytes) => void planned.push({ action, path, bytes })
      : undefined,
    onProgress: ({ filesSent, filesWaiting, bytesSent }) => {
      const numbers = { files: filesSent, filesTotal: filesSent + filesWaiting };
      shown.update({ ...numbers, bytesDone: bytesSent, bytesTotal: bytesSent });
    },
    clock: io.clock,
    log,
    accounts,
    signal: io.signal,
  });
  shown.done();
  guard.tree.close();
  if (options.dryRun) printPlan(planned, options, io);
  else printSummary("mirrored", summary, options, io);
  return exitCodeOf(summary);
}

/** Opens the directory that is copied from. @throws {CommandError} If it cannot be. */
export function openSource(root: string): RootGuard {
  try {
    return new RootGuard(systemFileSystem(), root);
  } catch (error) {
    if (!errorCode(error)) throw error;
    throw new CommandError(`Cannot read ${quote(root)}: ${rootTrouble(errorCode(error))}`, { cause: error });
  }
}

/** Tells what a pass did: on stdout the sum, on stderr each problem. */
export function printSummary(
  done: string,
  summary: PassSummary,
  { json }: Pick<MirrorOptions, "json">,
  io: Io,
): void {
  if (json) return printJson(io, summary);
  printProblems(summary.problems, io);
  if (summary.guarded) io.stderr(`understudy: Cannot delete so much at once: ${guardedText(summary)}\n`);
  else if (summary.heldBack) io.stderr(`understudy: Cannot delete: ${summary.heldBack}\n`);
  const { files, entries, bytesRead, bytesSent, problems, compared, leftovers } = summary;
  if (compared) {
    io.stdout(
      `compared contents of ${compared.files} files that looked equal (${formatSize(compared.bytes)}): ` +
        `${compared.differing === 0 ? "all are" : `${compared.differing} differed`}\n`,
    );
  }
  io.stdout(
    `${done} ${files} files of ${entries} entries, read ${formatSize(bytesRead)} (${bytesRead} bytes), ` +
      `sent ${formatSize(bytesSent)} (${bytesSent} bytes), ${problems.length} problems\n`,
  );
  if (leftovers.count > 0) io.stdout(`kept ${leftovers.count} entries that the rules leave out\n`);
}

function guardedText({ heldBack }: PassSummary): string {
  const what = heldBack.replace(/^guard \w+: /, "").replace(/ wait for .*$/, "");
  return `${what} stay; use --force-delete if that is meant`;
}

/** Exit code of a pass. */
export function exitCodeOf(
  { problems, heldBack, guarded }: Pick<PassSummary, "problems" | "heldBack" | "guarded">,
): ExitCode {
  if (guarded) return exitCodes.partial;
  if (heldBack) return exitCodes.failed;
  return problems.length > 0 ? exitCodes.partial : exitCodes.done;
}

function printPlan(
  planned: { action: string; path: string; bytes: number }[],
  { json }: MirrorOptions,
  io: Io,
): void {
  if (json) return printJson(io, { planned });
  for (const { action, path, bytes } of planned) {
    io.stdout(`${action.padEnd(10)} ${quote(path)}${bytes > 0 ? ` ${bytes}` : ""}\n`);
  }
  const bytes = planned.reduce((sum, step) => sum + step.bytes, 0);
  io.stdout(`would do ${planned.length} things, files of at most ${formatSize(bytes)} to compare or send\n`);
}
