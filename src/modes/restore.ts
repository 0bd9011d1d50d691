/**
 * `restore`.
 * @module
 */
import { CommandError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { AccountsReport } from "../identity/rebuild.ts";
import type { PassSummary } from "../source/one_pass.ts";
import type { RestoreRequest } from "../wire/message.ts";
import { exitCodeOf, printSummary } from "./mirror.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { noProgress, progress } from "./progress.ts";
import { parseRestoreOptions, type RestoreOptions } from "./restore_options.ts";
import { isWhole, printAccounts, Rebuilding } from "./rebuilding.ts";
import { restorePass } from "./restore_pass.ts";
import type { RestoreReport } from "./send_back.ts";

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
    else if (report.kind === "progress") {
      const { files, waiting, bytes } = report;
      shown.update({ files, filesTotal: files + waiting, bytesDone: bytes, bytesTotal: bytes });
    }
  };
  const accounts = new Rebuilding(options, io);
  outcome.summary = await restorePass({ ...options, request: requestOf(options), accounts, onReport }, io);
  shown.done();
  if (outcome.summary && options.accounts) outcome.accounts = await accounts.run();
  return tell(outcome, options, io);
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
