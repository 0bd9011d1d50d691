/**
 * `watch-source`.
 * @module
 */
import { join } from "node:path";
import { mkdirSync } from "node:fs";
import { CommandError, errorCode, reasonOf, withWayOut } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { giveBackFreed } from "../sys/heap.ts";
import { MemoryKeeper } from "../base/memory.ts";
import { quote } from "../base/path.ts";
import type { LaneStatus } from "../base/status.ts";
import type {
  ControlHandlers,
  FlushRequest,
  GuardDecision,
  HoldRequest,
  ResumeRequest,
  VerifyArguments,
} from "../control/api.ts";
import { serveHttp } from "../control/http.ts";
import { type ControlHandler, serveControl } from "../control/server.ts";
import { controlSocketIn } from "../control/socket_path.ts";
import { chooseInterceptor } from "../intercept/choose.ts";
import { initHasher } from "../mirror/signature.ts";
import type { GuardBook } from "../source/guard_book.ts";
import { IndexKeeper } from "../source/index_keeper.ts";
import { Manager } from "../source/manager.ts";
import { SetKeeper } from "../source/set_keeper.ts";
import { SetScope } from "../source/set_scope.ts";
import { saveJson } from "../store/durable.ts";
import { Holds } from "../store/holds.ts";
import { loadHttpSecret } from "../store/http_secret.ts";
import { openIndexStore } from "../store/index_store.ts";
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
import { loadGuardBook, loadMounts } from "./guard_options.ts";
import { type ExitCode, type Io, printJson, stoppedExitCode } from "./mode.ts";
import { indexPath, patrolPath } from "./index_path.ts";
import { keptOutOf } from "./kept_out.ts";
import { loadSetFile, openRules, type SetFile } from "./known_sets.ts";
import { patrolFile } from "./patrol_file.ts";
import { rootTrouble, withDirectory } from "./root_trouble.ts";
import { setHandlers } from "./set_control.ts";
import { holdsTargets, type ReachableTarget, reachTarget } from "./targets.ts";
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
  using rules = openRules(directory);
  const keeper = new SetKeeper(rules);
  keeper.take(options.given);
  rules.saveMeta("oneFileSystem", String(options.oneFileSystem));
  await initHasher();
  await using targets = new AsyncDisposableStack();
  const log = createLog({ write: io.stderr });
  try {
    stepBack(options.nice);
  } catch (error) {
    log.warn(`Cannot run at nice ${options.nice}: ${reasonOf(error)}`);
  }
  const reached: ReachableTarget[] = [];
  for (const target of options.targets) {
    const reach = {
      ...options,
      root,
      state,
      wants: "replicate",
      signal: io.signal,
      nowMs: io.clock.nowMs(),
    } as const;
    reached.push(targets.use(await reachTarget(target, reach)));
  }
  rules.saveMeta("targets", reached.map(({ label }) => label).join("\n"));
  const scope = new SetScope({
    rules: keeper.rules(),
    keptOut: keptOutOf({
      ...options,
      root,
      state,
      targets: reached.flatMap((target) => target.directory ?? []),
    }),
    nowMs: () => io.clock.nowMs(),
  });
  const teller = new StateTeller(options, io);
  const book = loadGuardBook(directory, { clock: io.clock, keeps: true });
  const manager: Manager = makeManager({
    options,
    io,
    log,
    root,
    set,
    directory,
    known,
    reached,
    teller,
    scope,
    book,
  });
  const handlers: ControlHandlers = {
    status: () => Promise.resolve(manager.status()),
    flush: (args: FlushRequest, signal) => manager.flush(args.timeoutMs, signal),
    verify: (args: VerifyArguments, signal) => manager.verify(args, signal),
    ...setHandlers({ set, root, keeper, scope, manager }),
    guard: async ({ id, state }: GuardDecision) => await manager.decide(id, state),
    hold: (args: HoldRequest, signal) => manager.hold(args.target, args.timeoutMs, signal),
    resume: (args: ResumeRequest) => Promise.resolve().then(() => manager.resume(args.target)),
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

function makeManager({ options, io, log, root, set, directory, known, reached, teller, scope, book }: {
  options: WatchSourceOptions;
  io: Io;
  log: Log;
  root: string;
  set: string;
  directory: string;
  known: SetFile | undefined;
  reached: ReachableTarget[];
  teller: StateTeller;
  scope: SetScope;
  book: GuardBook;
}): Manager {
  const manager: Manager = new Manager({
    set,
    root,
    targets: reached.map(({ label, connect, directory: local }) => ({
      label,
      connect,
      keepsTargetOut: local !== undefined && holdsTargets(root),
      openKeeper: () => new IndexKeeper(openIndex(directory, label), log),
      patrolStore: patrolFile(patrolPath(directory, label), log),
    })),
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
    guards: { book, thresholds: options.guards },
    rootIdentity: {
      known: known?.rootIdentity,
      save: (rootIdentity) => saveJson(join(directory, "set.json"), { root, rootIdentity }),
    },
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
