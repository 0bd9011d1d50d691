/**
 * `watch-source`.
 * @module
 */
import { join } from "node:path";
import { existsSync, mkdirSync } from "node:fs";
import { CommandError, errorCode, reasonOf, withWayOut } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { giveBackFreed } from "../sys/heap.ts";
import { MemoryKeeper } from "../base/memory.ts";
import { quote } from "../base/path.ts";
import type { LaneStatus } from "../base/status.ts";
import type {
  CommitRequest,
  ControlHandlers,
  FlowRequest,
  FlushRequest,
  GuardDecision,
  HoldRequest,
  ResumeRequest,
  TargetRequest,
  VerifyArguments,
} from "../control/api.ts";
import { serveHttp } from "../control/http.ts";
import { type ControlHandler, serveControl } from "../control/server.ts";
import { controlSocketIn } from "../control/socket_path.ts";
import { chooseInterceptor } from "../intercept/choose.ts";
import { initHasher } from "../mirror/signature.ts";
import type { WatchCommitMode } from "../source/commitment.ts";
import { HintLog } from "../source/hint_log.ts";
import { IndexKeeper } from "../source/index_keeper.ts";
import { Manager } from "../source/manager.ts";
import type { ManagedTarget } from "../source/running_set.ts";
import { OrderedJournal } from "../source/ordered_journal.ts";
import { SetKeeper } from "../source/set_keeper.ts";
import { SetScope } from "../source/set_scope.ts";
import { removeTemporaryFiles, saveJson } from "../store/durable.ts";
import { Flows } from "../store/flows.ts";
import { Holds } from "../store/holds.ts";
import { loadHttpSecret } from "../store/http_secret.ts";
import { openIndexStore } from "../store/index_store.ts";
import type { SetStore } from "../store/set_store.ts";
import { TransactionLog } from "../store/txn_log.ts";
import { acquireLock } from "../store/lock_file.ts";
import {
  defaultSetName,
  makeStateDirectory,
  setDirectory,
  stateDirectory,
} from "../store/state_directory.ts";
import { stepBack } from "../sys/priority.ts";
import { systemFileSystem } from "../sys/system.ts";
import { realPathOf } from "../target/places.ts";
import { SharedCompressions } from "../wire/shared_compressions.ts";
import { openAccounts } from "./account_options.ts";
import { loadGuardBook, loadMounts } from "./guard_options.ts";
import { type ExitCode, exitCodes, type Io, printJson, stoppedExitCode } from "./mode.ts";
import { failBack } from "./failback.ts";
import { indexPath, journalPath, patrolPath } from "./index_path.ts";
import { keptOutOf } from "./kept_out.ts";
import { loadSetFile, openRules, type SetFile } from "./known_sets.ts";
import { LiveTargets } from "./live_targets.ts";
import { patrolFile } from "./patrol_file.ts";
import { rootTrouble, withDirectory } from "./root_trouble.ts";
import { setHandlers } from "./set_control.ts";
import { holdsTargets, reachTarget } from "./targets.ts";
import { parseWatchSourceOptions, type WatchSourceOptions } from "./watch_source_options.ts";

/** How long `POST /hold` waits for what is on its way. */
const HTTP_HOLD_MS = 30_000;

/** Runs `watch-source` until it is stopped. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const options = parseWatchSourceOptions(args, io);
  const state = stateDirectory(options.state, io);
  const root = withDirectory(options.root, () => realPathOf(options.root));
  const set = options.name ?? defaultSetName(root);
  const directory = setDirectory(state, set);
  const known = loadSetFile(directory);
  checkRoot(root, known);
  makeStateDirectory(state);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  using _lock = acquireLock(join(directory, "set.lock"));
  removeTemporaryFiles(directory);
  using rules = openRules(directory);
  const keeper = new SetKeeper(rules);
  keeper.take(options.given);
  rules.saveMeta("oneFileSystem", String(options.oneFileSystem));
  await initHasher();
  const log = createLog({ write: io.stderr });
  try {
    stepBack(options.nice);
  } catch (error) {
    log.warn(`Cannot run at nice ${options.nice}: ${reasonOf(error)}`);
  }
  const place = { options, io, log, root, set, state, directory, known };
  await using targets = openTargets(place, rules);
  const named = await targets.open(options.targets);
  const keptOut = keptOutOf({ ...options, root, state, targets: () => targets.directories });
  const scope = new SetScope({
    rules: keeper.rules(),
    keptOut,
    nowMs: () => io.clock.nowMs(),
  });
  if (options.failback) {
    const [target] = options.targets;
    const rules = keeper.placed().map(({ rule }) => rule.text);
    await failBack({
      ...options,
      target,
      label: named[0].label,
      root,
      stateRoot: state,
      directory,
      scope,
      rules,
      keptOut: [...keptOut().values()],
      log,
    }, io);
    if (options.dryRun) return exitCodes.done;
  }
  const manager = makeManager(place, { targets: named, rules, scope });
  const handlers: ControlHandlers = {
    status: () => Promise.resolve(manager.status()),
    flush: (args: FlushRequest, signal) => manager.flush(args.timeoutMs, signal),
    verify: (args: VerifyArguments, signal) => manager.verify(args, signal),
    ...setHandlers({ set, root, keeper, scope, manager }),
    guard: async ({ id, state }: GuardDecision) => await manager.decide(id, state),
    hold: (args: HoldRequest, signal) => manager.hold(args.target, args.timeoutMs, signal),
    resume: (args: ResumeRequest) => Promise.resolve().then(() => manager.resume(args.target)),
    commit: (args: CommitRequest) => Promise.resolve().then(() => manager.commit(args.mode)),
    flow: (args: FlowRequest) => Promise.resolve().then(() => ({ targets: manager.flow(args) })),
    connect: (args: TargetRequest) => targets.connect(args.target, manager),
    disconnect: (args: TargetRequest) => targets.disconnect(args.target, manager),
  };
  await using _control = await serveControl({
    path: controlSocketIn(directory),
    handlers: handlers as Record<string, ControlHandler>,
  });
  await using _http = options.http &&
    serveHttp({
      address: options.http,
      status: () => Promise.resolve(manager.status()),
      actions: {
        secret: loadHttpSecret(join(directory, "http.secret")),
        hold: (target, signal) => manager.hold(target, HTTP_HOLD_MS, signal),
        resume: (target) => manager.resume(target),
      },
    });
  const memory = new MemoryKeeper({ giveBack: giveBackFreed });
  memory.start();
  try {
    await manager.run();
  } finally {
    memory.stop();
  }
  return stoppedExitCode(io.signal);
}

/** What one run of a set is about. */
interface SetPlace {
  options: WatchSourceOptions;
  io: Io;
  log: Log;
  /** Real path. */
  root: string;
  set: string;
  /** State directory of the user, and of the set in it. */
  state: string;
  directory: string;
  known: SetFile | undefined;
}

function openTargets({ options, io, log, root, state, directory }: SetPlace, store: SetStore): LiveTargets {
  const compressions = new SharedCompressions();
  return new LiveTargets({
    store,
    reach: (target) =>
      reachTarget(target, {
        ...options,
        compressions,
        root,
        state,
        wants: "replicate",
        signal: io.signal,
        nowMs: io.clock.nowMs(),
      }),
    manage: ({ label, connect, directory: local, throttle }) => ({
      label,
      connect,
      throttle,
      keepsTargetOut: local !== undefined && holdsTargets(root),
      openKeeper: () => new IndexKeeper(openIndex(directory, label), log),
      openJournal: () => openJournal(journalPath(directory, label), options.orderedBytes, log),
      patrolStore: patrolFile(patrolPath(directory, label), log),
    }),
  });
}

/** The ordered journal of a target; one of an earlier run that is not wanted any more is removed. */
function openJournal(path: string, bytesMax: number, log: Log): OrderedJournal | undefined {
  const isThere = () => existsSync(path);
  if (bytesMax > 0) {
    return new OrderedJournal({
      isThere,
      open: () => TransactionLog.open(path),
      bytesMax,
      log,
    });
  }
  if (isThere()) Deno.removeSync(path, { recursive: true });
  return undefined;
}

function makeManager(
  { options, io, log, root, set, directory, known }: SetPlace,
  { targets, rules, scope }: { targets: ManagedTarget[]; rules: SetStore; scope: SetScope },
): Manager {
  const teller = new StateTeller(options, io);
  const logDirectory = join(directory, "log");
  if (options.commit) rules.saveMeta("commit", options.commit);
  const flows = new Flows(join(directory, "flow.json"));
  for (const { label, throttle } of targets) {
    flows.choose(label, { limitRate: throttle && options.limitRate, sendWhen: options.sendWhen });
  }
  const manager: Manager = new Manager({
    set,
    root,
    targets,
    patrol: options.patrol,
    fileSystem: systemFileSystem(),
    chooseInterceptor: (interceptorOptions) => chooseInterceptor(options.intercept, interceptorOptions),
    policy: {
      deleteAbsent: true,
      blockSize: options.blockSize,
      fastMirrorSizeMin: options.fastMirrorSizeMin,
    },
    windowBytes: options.windowBytes,
    scope,
    ages: scope.ages,
    mounts: loadMounts(directory),
    guards: {
      book: loadGuardBook(directory, { clock: io.clock, keeps: true }),
      thresholds: options.guards,
    },
    rootIdentity: {
      known: known?.rootIdentity,
      save: (rootIdentity) => saveJson(join(directory, "set.json"), { root, rootIdentity }),
    },
    hintLog: new HintLog({
      isThere: () => existsSync(logDirectory),
      open: () => TransactionLog.open(logDirectory),
      clock: io.clock,
      log,
    }),
    commit: {
      mode: (rules.meta("commit") ?? "ack") as WatchCommitMode,
      onUnreachable: options.onUnreachable,
      save: (mode) => rules.saveMeta("commit", mode),
    },
    accounts: openAccounts(options, { clock: io.clock, log, seenPath: join(directory, "acl-owners.json") }),
    flows,
    holds: new Holds(join(directory, "holds.json")),
    clock: io.clock,
    log,
    signal: io.signal,
    onChange: () => teller.tell(manager.status().targets),
  });
  return manager;
}

/** Opens the index of one target. @throws {CorruptionError} If it is damaged, with the way out. */
function openIndex(directory: string, label: string) {
  return withWayOut("remove it to mirror anew", () => openIndexStore(indexPath(directory, label)));
}

/** A new set needs its root; a known one waits for it. */
function checkRoot(root: string, known: SetFile | undefined): void {
  if (known && known.root !== root) {
    throw new CommandError(`Cannot watch ${quote(root)}: the set belongs to ${quote(known.root)}`);
  }
  try {
    if (!Deno.statSync(root).isDirectory) {
      throw new CommandError(`Cannot watch ${quote(root)}: it is not a directory`);
    }
    // Whether it can be listed at all is known before anything else is touched.
    Deno.readDirSync(root)[Symbol.iterator]().next();
  } catch (error) {
    if (error instanceof CommandError) throw error;
    if (known) return;
    const reason = rootTrouble(errorCode(error)) || String(error);
    throw new CommandError(`Cannot watch ${quote(root)}: ${reason}`, { cause: error });
  }
}

/** Prints `live` once all targets are, and one line for each change of state after that. */
class StateTeller {
  readonly #io: Io;
  readonly #json: boolean;
  readonly #told = new Map<string, string>();
  #wasLive = false;

  constructor({ json }: Pick<WatchSourceOptions, "json">, io: Io) {
    this.#io = io;
    this.#json = json;
  }

  tell(targets: LaneStatus[]): void {
    if (!this.#wasLive && targets.every(({ state }) => state === "live")) {
      this.#wasLive = true;
      for (const { target, state } of targets) this.#told.set(target, state);
      return this.#json ? printJson(this.#io, { event: "live" }) : this.#io.stdout("live\n");
    }
    for (const { target, state, reason } of targets) {
      const before = this.#told.get(target);
      this.#told.set(target, state);
      if (before === state || (before === undefined && state === "mirroring")) continue;
      if (!this.#wasLive && (state === "live" || state === "mirroring")) continue;
      if (before === undefined && state === "disconnected" && reason === "") continue;
      this.#print(target, state, reason);
    }
  }

  #print(target: string, state: string, reason: string): void {
    if (this.#json) printJson(this.#io, { event: "state", target, state, reason });
    else this.#io.stdout(`${state} ${target}${reason ? `: ${reason}` : ""}\n`);
    if (state === "refused") this.#io.stderr(`understudy: Cannot replicate to ${quote(target)}: ${reason}\n`);
  }
}
