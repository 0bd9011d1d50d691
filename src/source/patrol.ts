/**
 * Verification in the background: attributes of the source often, of both sides less often, and contents by digests
 * once in a time that the user chooses. It takes small steps while nothing else is to be done, and a step a second
 * while there is.
 *
 * | round      | compares                              | begins again after                          |
 * |------------|---------------------------------------|---------------------------------------------|
 * | `source`   | attributes of the source with belief  | `limits.patrolSourceMs`, or the chosen time |
 * | `both`     | those of the target, too              | `limits.patrolBothMs`, or the chosen time   |
 * | `contents` | contents, both sides by digests       | the chosen time (`--verify-every`)          |
 *
 * What another hand did to the target is repaired or only reported, as the user chose. What nobody sent there is a
 * deletion to repair: it waits for the end of a round, and stays if it is much (DESIGN §3.8).
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { TransientError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { baseName, parentPath } from "../base/path.ts";
import type { PatrolStatus } from "../base/status.ts";
import { type Piece, piecesIn } from "./contents.ts";
import type { DetectContext } from "./detect_context.ts";
import { DirectoryWalk } from "./directory_walk.ts";
import type { Index } from "./index.ts";
import type { Verdict } from "./judgement.ts";
import type { Mismatch } from "./mismatches.ts";
import { newPatrolState, type PatrolState, type Round, type RoundName } from "./patrol_state.ts";
import type { Problems } from "./problems.ts";
import { takeDirectories, type Verification } from "./verification.ts";

/** What a user chooses. */
export interface PatrolPolicy {
  /** Milliseconds in which the contents of everything are compared once; `undefined`: nothing is done. */
  everyMs: number | undefined;
  /** Bytes of contents a second. */
  rateBytes: number;
  /** What is done about changes that another hand made on the target. */
  foreign: "repair" | "report";
}

/** Keeps the state of a patrol. */
export interface PatrolStore {
  load(): PatrolState | undefined;
  save(state: PatrolState): void;
}

/** What a patrol needs of its replicator. */
export interface PatrolOptions {
  policy: PatrolPolicy;
  store?: PatrolStore;
  verification: Verification;
  index: Index;
  scope: DetectContext["scope"];
  problems: Problems;
  clock: Clock;
  replicaId: () => string;
  /** Why nothing can be compared now, `""` if it can. */
  obstacle: () => string;
  /** Whether nothing else is to be done. */
  isQuiet: () => boolean;
  deletionsWait: () => string;
  onChange: () => void;
}

/** Of the problems that a patrol reports, by round. */
const PROBLEM_OPS: Partial<Record<RoundName, string>> = { both: "verify", contents: "verify contents" };

/** Patrols one target. */
export class Patrol {
  readonly #options: PatrolOptions;
  #state: PatrolState = newPatrolState("");
  #isLoaded = false;
  #begunMs = 0;
  #savedMs = 0;
  #walk: DirectoryWalk | undefined;
  #pieces: Generator<Step> | undefined;
  /** What nobody sent to the target, found in this round. Bounded by `limits.extrasRemovedMax` and one directory. */
  #extras: Mismatch[] = [];
  /** Paths that differ and stay so, found in this round; those of rounds before are forgotten at its end. */
  readonly #standing: Record<RoundName, Set<string>> = {
    source: new Set(),
    both: new Set(),
    contents: new Set(),
  };
  #doing: PatrolStatus["state"] = "waiting";
  #reason = "";

  constructor(options: PatrolOptions) {
    this.#options = options;
    if (options.policy.everyMs === undefined) this.#doing = "off";
  }

  /** Wall clock of the end of the last round over the source, over both sides, and over contents; 0 before the first. */
  get lastSourceAtMs(): number {
    return Math.max(this.#state.source.doneAtMs, this.#state.both.doneAtMs);
  }

  /** For `status`. */
  status(): PatrolStatus {
    const { both, contents, found, healed } = this.#state;
    const { verification, index } = this.#options;
    const time = (ms: number) => ms === 0 ? "" : new Date(ms).toISOString();
    const share = ({ startedAtMs, passed }: Round) =>
      startedAtMs === 0 ? 0 : Math.min(1, passed / Math.max(1, index.size));
    return {
      state: verification.isRunning ? "verifying" : this.#doing,
      reason: this.#reason,
      lastTreeAt: time(both.doneAtMs),
      treeShare: share(both),
      lastContentsAt: time(contents.doneAtMs),
      contentsShare: share(contents),
      found,
      healed,
    };
  }

  /** Somebody had everything verified: the rounds begin anew. */
  noteVerified({ contents, found, healed }: { contents: boolean; found: number; healed: number }): void {
    const nowMs = this.#options.clock.nowMs();
    this.#finish("source", nowMs);
    this.#finish("both", nowMs);
    if (contents) this.#finish("contents", nowMs);
    this.#state.found += found;
    this.#state.healed += healed;
    this.#save();
  }

  /** Runs until the signal aborts, also if there is nothing to do. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, policy } = this.#options;
    if (policy.everyMs === undefined) return await aborted(signal);
    this.#begunMs = clock.nowMs();
    while (!signal.aborted) {
      const pauseMs = await this.#turn(signal);
      if (!signal.aborted) await clock.sleep(pauseMs, signal);
    }
    this.#save();
  }

  /** @returns Milliseconds to wait. */
  async #turn(signal: AbortSignal): Promise<number> {
    const { obstacle, isQuiet, clock, verification } = this.#options;
    const obstructed = obstacle();
    if (obstructed !== "" || verification.isRunning) {
      this.#show("paused", obstructed);
      return limits.patrolRetryMs;
    }
    this.#load();
    const name = this.#due();
    if (name === undefined) {
      this.#show("waiting", "");
      return Math.max(limits.patrolRetryMs, this.#nextDueMs() - clock.nowMs());
    }
    // Live work goes first; a step a second is left even then.
    const pausedAtMs = clock.monotonicMs();
    while (!isQuiet() && clock.monotonicMs() - pausedAtMs < limits.patrolRetryMs && !signal.aborted) {
      this.#show("paused", "live changes go first");
      await clock.sleep(limits.patrolPauseMs, signal);
    }
    if (signal.aborted) return 0;
    this.#show(name === "contents" ? "contents" : "attributes", "");
    const begunMs = clock.monotonicMs();
    try {
      const costBytes = await this.#step(name, signal);
      const workedMs = clock.monotonicMs() - begunMs;
      const dueMs = costBytes * 1_000 / this.#options.policy.rateBytes;
      return Math.max(limits.patrolPauseMs / 10, workedMs * limits.patrolRestFactor, dueMs - workedMs);
    } catch (error) {
      this.#walk = this.#pieces = undefined;
      // The session broke: the step is taken again in the next one.
      if (error instanceof TransientError || signal.aborted) return limits.patrolRetryMs;
      throw error;
    }
  }

  // ——— Rounds ———

  #periodOf(name: RoundName): number {
    const everyMs = this.#options.policy.everyMs!;
    if (name === "contents") return everyMs;
    return Math.min(everyMs, name === "source" ? limits.patrolSourceMs : limits.patrolBothMs);
  }

  #dueAtMs(name: RoundName): number {
    const { startedAtMs, doneAtMs } = this.#state[name];
    if (startedAtMs !== 0) return 0;
    // The first mirror compared all, so the first round is in no hurry.
    if (doneAtMs === 0) return this.#begunMs + Math.min(this.#periodOf(name), limits.patrolSourceMs);
    // One over both sides is one over the source, too.
    const lastMs = name === "source" ? this.lastSourceAtMs : doneAtMs;
    return lastMs + this.#periodOf(name);
  }

  /** The round that goes on, or is to begin. */
  #due(): RoundName | undefined {
    const nowMs = this.#options.clock.nowMs();
    const { source, both } = this.#state;
    if (both.startedAtMs !== 0) return "both";
    if (source.startedAtMs !== 0) return "source";
    return (["both", "source", "contents"] as const).find((name) => this.#dueAtMs(name) <= nowMs);
  }

  #nextDueMs(): number {
    return Math.min(...(["both", "source", "contents"] as const).map((name) => this.#dueAtMs(name)));
  }

  /** Takes one step. @returns What it cost, in bytes of contents. */
  async #step(name: RoundName, signal: AbortSignal): Promise<number> {
    const round = this.#state[name];
    if (round.startedAtMs === 0) {
      Object.assign(round, { startedAtMs: this.#options.clock.nowMs(), passed: 0 });
      round.directory = round.file = undefined;
      this.#walk = this.#pieces = undefined;
      this.#standing[name].clear();
    }
    const cost = name === "contents"
      ? await this.#stepContents(round, signal)
      : await this.#stepAttributes(name, round, signal);
    if (this.#options.clock.monotonicMs() - this.#savedMs > limits.patrolSaveMs) this.#save();
    return cost;
  }

  async #stepAttributes(name: "source" | "both", round: Round, signal: AbortSignal): Promise<number> {
    const { index, verification } = this.#options;
    this.#walk ??= new DirectoryWalk(index, round.directory);
    const directories = takeDirectories(this.#walk, index);
    if (directories.length === 0) {
      if (name === "both") await this.#removeExtras(signal);
      this.#end(name);
      return 0;
    }
    const { verdicts, entries } = await verification.examine(
      directories,
      name === "both" ? "both" : "source",
      signal,
    );
    await this.#act(name, verdicts, signal);
    round.directory = directories.at(-1);
    round.passed += entries;
    return 0;
  }

  async #stepContents(round: Round, signal: AbortSignal): Promise<number> {
    const { index, scope, verification } = this.#options;
    this.#pieces ??= contentSteps(index, scope, round);
    const pieces: Piece[] = [];
    let [cost, passed] = [0, 0];
    let at: Step | undefined;
    while (cost < limits.digestBytes && pieces.length < limits.digestPathsMax / 2) {
      const next = this.#pieces.next();
      if (next.done) break;
      at = next.value;
      cost += at.piece ? at.piece.end - at.piece.start + limits.patrolFileCostBytes : 0;
      passed += at.passed;
      if (at.piece) pieces.push(at.piece);
      else if (passed > limits.verifyEntries) break;
    }
    if (at === undefined) {
      this.#end("contents");
      return 0;
    }
    const { verdicts } = await verification.examineContents(pieces, signal);
    await this.#act("contents", verdicts, signal);
    round.directory = at.directory;
    round.file = at.piece && { name: baseName(at.piece.path), offset: at.piece.end };
    round.passed += passed;
    return cost;
  }

  #end(name: RoundName): void {
    const { problems, clock } = this.#options;
    const op = PROBLEM_OPS[name];
    for (const problem of problems.list()) {
      if (problem.op === op && !this.#standing[name].has(problem.path)) problems.clear(problem.path);
    }
    this.#finish(name, clock.nowMs());
    this.#save();
    this.#options.onChange();
  }

  #finish(name: RoundName, nowMs: number): void {
    this.#walk = this.#pieces = undefined;
    this.#state[name] = { startedAtMs: 0, doneAtMs: nowMs, passed: 0 };
  }

  // ——— What was found ———

  async #act(name: RoundName, verdicts: Verdict[], signal: AbortSignal): Promise<void> {
    const { policy, verification } = this.#options;
    const healed: Verdict[] = [];
    for (const verdict of verdicts) {
      const { cause, kind } = verdict.difference;
      if (cause === "problem") {
        healed.push(verdict);
        continue;
      }
      this.#state.found++;
      const isForeign = cause === "target" || (cause === "both" && kind === "extra");
      if (isForeign && policy.foreign === "report") this.#report(name, verdict, "another hand changed it");
      else if (isForeign && kind === "extra") this.#extras.push(verdict.mismatch);
      else healed.push(verdict);
    }
    if (this.#extras.length > limits.extrasRemovedMax) this.#keepExtras();
    await verification.heal(healed, signal);
    this.#count(name, healed);
  }

  #count(name: RoundName, verdicts: Verdict[]): void {
    for (const verdict of verdicts) {
      const { state, cause, reason } = verdict.difference;
      if (state === "healed" && cause !== "problem") this.#state.healed++;
      else if (state === "standing" && cause !== "problem") this.#report(name, verdict, reason);
    }
  }

  #report(name: RoundName, { difference: { path, parts, kind } }: Verdict, why: string): void {
    const what = kind === "changed"
      ? `${parts.join(", ")} differ on the target`
      : `it is ${kind} on the target`;
    this.#addProblem(name, path, `${what}: ${why}`);
  }

  #addProblem(name: RoundName, path: string, reason: string): void {
    if (this.#standing[name].size < limits.problemsMax) this.#standing[name].add(path);
    const op = PROBLEM_OPS[name] ?? "verify";
    this.#options.problems.add({ path, op, reason }, this.#options.clock.nowMs());
  }

  /** What nobody sent is removed at the end of a round, if it is not much. */
  async #removeExtras(signal: AbortSignal): Promise<void> {
    const { verification, deletionsWait } = this.#options;
    if (this.#extras.length === 0) return;
    const entries = await verification.countBelow(this.#extras.map(({ path }) => path));
    if (entries > limits.extrasRemovedMax || deletionsWait() !== "") return this.#keepExtras();
    const mismatches = this.#extras;
    this.#extras = [];
    const verdicts = await verification.judge(mismatches, signal);
    await verification.heal(verdicts, signal);
    this.#count("both", verdicts);
  }

  #keepExtras(): void {
    const why = this.#options.deletionsWait() || `more than ${limits.extrasRemovedMax} entries are`;
    const wayOut = `extra on the target: ${why}; "understudy verify --repair" removes them`;
    for (const { path } of this.#extras) this.#addProblem("both", path, wayOut);
    this.#extras = [];
  }

  // ——— State ———

  #load(): void {
    const replicaId = this.#options.replicaId();
    if (!this.#isLoaded) {
      this.#state = this.#options.store?.load() ?? this.#state;
      this.#isLoaded = true;
    }
    if (this.#state.replicaId === replicaId) return;
    const { found, healed } = this.#state;
    this.#state = { ...newPatrolState(replicaId), found, healed };
  }

  #save(): void {
    if (!this.#isLoaded) return;
    this.#savedMs = this.#options.clock.monotonicMs();
    this.#options.store?.save(this.#state);
  }

  #show(doing: PatrolStatus["state"], reason: string): void {
    [this.#doing, this.#reason] = [doing, reason];
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** A piece of a file, or the end of a directory with so many entries. */
interface Step {
  directory: string;
  piece?: Piece;
  passed: number;
}

/** Contents of everything, from where a round stands on. */
function* contentSteps(index: Index, scope: DetectContext["scope"], round: Round): Generator<Step> {
  const walk = new DirectoryWalk(index, round.directory);
  let directory = round.directory ?? walk.next();
  // A directory without a place in it was passed.
  let file = round.directory === undefined ? { name: "", offset: 0 } : round.file;
  for (; directory !== undefined; directory = walk.next()) {
    if (file !== undefined) {
      for (const piece of piecesIn({ index, scope }, directory, file)) {
        yield { directory: parentPath(piece.path), piece, passed: 0 };
      }
      yield { directory, passed: index.countChildren(directory) };
    }
    file = { name: "", offset: 0 };
  }
}
