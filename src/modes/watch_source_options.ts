/**
 * Help and options of `watch-source`.
 * @module
 */
import { resolve } from "node:path";
import type { Address } from "../base/address.ts";
import { reasonOf, UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { limits } from "../base/limits.ts";
import { durationOption, sizeOption } from "../base/units.ts";
import type { UnreachablePolicy, WatchCommitMode } from "../source/commitment.ts";
import type { MassThresholds } from "../source/mass_guard.ts";
import type { PatrolPolicy } from "../source/patrol.ts";
import { accountHelp, type AccountOptions, accountOptions, accountTable } from "./account_options.ts";
import type { OpenFileRule } from "../target/open_files.ts";
import { openFilesHelp, openFilesOption, openFilesTable } from "./open_files_option.ts";
import { commitHelp, commitMode } from "./commit.ts";
import { sendWhen, sendWhenHelp } from "./flow.ts";
import { guardHelp, guardTable, guardThresholds } from "./guard_options.ts";
import type { Io } from "./mode.ts";
import {
  address,
  duration,
  flag,
  many,
  nonEmpty,
  offOr,
  one,
  parseArguments,
  rate,
  size,
  whole,
  word,
} from "./options.ts";
import { formatTargetName, parseTargetName, type TargetName } from "./target_name.ts";
import {
  fileSystemHelp,
  fileSystemTable,
  givenLines,
  ruleHelp,
  type RuleOptions,
  ruleTable,
} from "./rule_options.ts";
import {
  targetHelp,
  transferHelp,
  type TransferOptions,
  transferOptions,
  transferTable,
} from "./transfer_options.ts";

const interceptors = ["auto", "watchfs", "inotify", "fanotify"] as const;

/** Bytes in flight that a user may choose. Below, one frame would not fit; above, memory is wasted. */
const WINDOW_BYTES_MIN = 2 * limits.messageSizeMax;
const WINDOW_BYTES_MAX = 1024 ** 3;

/** Bytes of an ordered journal. */
const ORDERED_BYTES_MIN = 16 * limits.messageSizeMax;
const ORDERED_BYTES_MAX = 1024 ** 5;

/** Times of `--verify-every`. A timer waits for the longest one. */
const VERIFY_EVERY_MIN_MS = 1_000;
const VERIFY_EVERY_MAX_MS = 24 * 24 * 3_600_000;

/** Text of `help watch-source`. */
export const help = `\
Usage: understudy watch-source DIR --to TARGET [--to TARGET …] [options]

Mirrors DIR to each target, then replicates every change until stopped. Prints "live" on stdout when
the first mirror is done and every target has acked it, and one line for each change of state after that.

${targetHelp}
Options:
  -t, --to TARGET          a target; may be given several times
  --commit MODE            when a change counts as committed, which "understudy flush" waits for:
${commitHelp}\
  --intercept HOW          auto, fanotify, inotify or watchfs (default auto: the best that works here)
${ruleHelp}${fileSystemHelp}\
  --window-bytes SIZE      changes in flight without an ack, ${sizeOption(WINDOW_BYTES_MIN)} to ${
  sizeOption(WINDOW_BYTES_MAX)
} (default ${sizeOption(limits.windowBytes)})
${sendWhenHelp}\
  --ordered SIZE           while a target does not take them, changes are kept with their data on this disk, up to SIZE
                           for each target, so that it passes through what the source was; beyond it, and without it,
                           of what changes twice the last version goes
  --on-unreachable POLICY  what "understudy flush" does while a target is away: degrade or block: it waits up to its
                           timeout; fail: it fails at once. Changes stack up in any case (default degrade)
  --failback               the target was promoted while this source was away: makes DIR equal to it, then replicates
                           again; what was changed here and not sent is listed, and kept beside DIR before it is lost;
                           broken off, it is begun again by the same command
  --keep-aside DIR         keeps it there, where nothing may be yet (default: DIR.kept-TIME)
  -n, --dry-run            with --failback: prints what would be done and kept, and ends
  --nice N                 share of the processors that is left to others, 0 to 19 as in nice(1) (default ${limits.nice})
  --verify-every TIME      in the background the contents of everything are compared with the targets once in this
                           time, attributes oftener; off: never (default ${
  durationOption(limits.verifyEveryMs)
})
  --verify-rate RATE       bytes of contents compared a second at most, as in 512K, 10M (default ${
  sizeOption(limits.verifyRateBytes)
})
  --foreign POLICY         what another hand changed on a target: repair it, or report it as a problem
                           (default repair)
${guardHelp}${accountHelp}\
  --http HOST:PORT         also answers GET /status there, to anybody who can reach it, and POST /hold and /resume to
                           whom knows the secret in STATE/SET/http.secret; HOST left out is 127.0.0.1
${transferHelp}${openFilesHelp}\
  --json                   prints states as JSON, one object a line
  -h, --help               this text

Exit codes: 0 stopped by SIGTERM, 1 failed, 2 usage, 130 interrupted.
`;

/** What `watch-source` was asked for. */
export interface WatchSourceOptions extends TransferOptions, RuleOptions, AccountOptions {
  /** What becomes of files that programs use in a local target. */
  openFiles: OpenFileRule;
  /** Absolute path of the directory to watch. */
  root: string;
  /** At least one; no two are the same. */
  targets: TargetName[];
  /** `undefined`: as it was, or `ack` for a new set. */
  commit: WatchCommitMode | undefined;
  intercept: typeof interceptors[number];
  /** Bytes in flight without an ack. */
  windowBytes: number;
  onUnreachable: UnreachablePolicy;
  /** Flow rules. `undefined`: as it was. */
  sendWhen: string | undefined;
  /** Bytes of the ordered journal of each target; 0 is none. */
  orderedBytes: number;
  /** Verification in the background. */
  patrol: PatrolPolicy;
  /** First the source is made equal to the target, which was promoted. */
  failback: boolean;
  /** Absolute path of the directory for what was not sent; `undefined` is one beside the root. */
  keepAside: string | undefined;
  /** The failback is only planned. */
  dryRun: boolean;
  /** Priority of the process, as in nice(1). */
  nice: number;
  guards: MassThresholds;
  /** Where the status is served; `undefined` is nowhere. */
  http: Address | undefined;
}

/**
 * Reads the arguments of `watch-source`.
 *
 * @throws {UsageError} If they cannot be used.
 */
export function parseWatchSourceOptions(args: string[], io: Pick<Io, "env">): WatchSourceOptions {
  const { options, positionals, sequence } = parseArguments(args, {
    command: "watch-source",
    options: {
      ...transferTable,
      ...openFilesTable,
      ...ruleTable,
      ...fileSystemTable,
      to: many(nonEmpty, "t"),
      commit: one(commitMode),
      intercept: one(word(interceptors, ["fuse"])),
      "window-bytes": one(size({ min: WINDOW_BYTES_MIN, max: WINDOW_BYTES_MAX })),
      "on-unreachable": one(word(["degrade", "block", "fail"])),
      "send-when": one(nonEmpty),
      ordered: one(size({ min: ORDERED_BYTES_MIN, max: ORDERED_BYTES_MAX })),
      failback: flag(),
      "keep-aside": one(nonEmpty),
      "dry-run": flag("n"),
      nice: one(whole({ min: 0, max: 19 })),
      "verify-every": one(offOr(duration({ min: VERIFY_EVERY_MIN_MS, max: VERIFY_EVERY_MAX_MS }))),
      "verify-rate": one(rate),
      foreign: one(word(["repair", "report"])),
      ...guardTable,
      ...accountTable,
      http: one(address({ hostname: "127.0.0.1", anyPort: true })),
    },
    positionals: ["DIR"],
  });
  const windowBytes = options["window-bytes"] ?? limits.windowBytes;
  const targets = parseTargets(options.to, io);
  if (options.failback && targets.length > 1) {
    throw new UsageError(
      "Cannot fail back from several targets: give the promoted one alone, connect others later",
    );
  }
  for (const name of ["keep-aside", "dry-run"] as const) {
    if (options[name] && !options.failback) throw new UsageError(`Cannot use --${name} without --failback`);
  }
  return {
    ...transferOptions(options),
    ...accountOptions(options),
    openFiles: openFilesOption(options),
    given: givenLines(sequence),
    oneFileSystem: options["one-file-system"],
    root: resolve(positionals[0]),
    targets,
    commit: options.commit,
    intercept: options.intercept ?? "auto",
    windowBytes,
    sendWhen: options["send-when"] === undefined
      ? undefined
      : readSendWhen(options["send-when"], windowBytes),
    onUnreachable: options["on-unreachable"] ?? "degrade",
    orderedBytes: options.ordered ?? 0,
    failback: options.failback,
    dryRun: options["dry-run"],
    keepAside: options["keep-aside"] === undefined ? undefined : resolve(options["keep-aside"]),
    nice: options.nice ?? limits.nice,
    patrol: {
      everyMs: options["verify-every"] === "off"
        ? undefined
        : options["verify-every"] ?? limits.verifyEveryMs,
      rateBytes: options["verify-rate"] ?? limits.verifyRateBytes,
      foreign: options.foreign ?? "repair",
    },
    guards: guardThresholds(options),
    http: options.http,
  };
}

/** What is more than half of the window does not gather in it. */
function readSendWhen(text: string, windowBytes: number): string {
  try {
    return sendWhen(windowBytes)(text);
  } catch (error) {
    throw new UsageError(`Cannot use --send-when ${quote(text)}: ${reasonOf(error)}`);
  }
}

function parseTargets(texts: string[], io: Pick<Io, "env">): TargetName[] {
  if (texts.length === 0) throw new UsageError(`Cannot run "watch-source": --to TARGET is missing`);
  const targets = texts.map((text) => parseTargetName(text, { home: io.env("HOME") }));
  const seen = new Set<string>();
  for (const target of targets) {
    const key = target.kind === "token" ? target.token : formatTargetName(target);
    if (seen.has(key)) {
      throw new UsageError(`Cannot use --to "${formatTargetName(target)}": it is given twice`);
    }
    seen.add(key);
  }
  return targets;
}
