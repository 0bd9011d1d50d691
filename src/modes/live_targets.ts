/**
 * The targets of a running source: those of its command line, those that were connected since, also in earlier runs,
 * less those that were disconnected.
 * @module
 */
import { CommandError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import type { TargetsResult } from "../control/api.ts";
import type { Manager } from "../source/manager.ts";
import type { ManagedTarget } from "../source/running_set.ts";
import type { SetStore } from "../store/set_store.ts";
import { formatTargetName, parseTargetName, type TargetName } from "./target_name.ts";
import type { ReachableTarget } from "./targets.ts";

/** What is needed to make targets. */
export interface LiveTargetsOptions {
  /** Makes a target reachable, and pairs if need be. */
  reach: (target: TargetName) => Promise<ReachableTarget>;
  /** Makes what a manager takes of it. */
  manage: (target: ReachableTarget) => ManagedTarget;
  store: Pick<SetStore, "meta" | "saveMeta">;
}

/** Targets that can be reached. Disposing of them closes all. */
export class LiveTargets implements AsyncDisposable {
  readonly #options: LiveTargetsOptions;
  #reached: readonly ReachableTarget[] = [];
  #directories: readonly string[] = [];
  /** Labels of those that were connected while the source ran. */
  readonly #connected: Set<string>;
  #isChanging = false;

  constructor(options: LiveTargetsOptions) {
    this.#options = options;
    this.#connected = new Set(linesOf(options.store.meta("connected")));
  }

  /** Directories that are targets. Another array when they change. */
  get directories(): readonly string[] {
    return this.#directories;
  }

  /**
   * Makes those reachable that were named, and those that were connected before.
   *
   * @throws {CommandError} If one that was named cannot be; see `reachTarget`.
   */
  async open(named: TargetName[]): Promise<ManagedTarget[]> {
    for (const target of named) await this.#reach(target);
    const labels = new Set(this.#reached.map(({ label }) => label));
    for (const label of this.#connected) if (!labels.has(label)) await this.#reach(parseTargetName(label));
    this.#save();
    return this.#reached.map((target) => this.#options.manage(target));
  }

  /** Connects a further target, also for later runs. @throws {CommandError} If it cannot be reached, or is one already. */
  async connect(name: string, manager: Manager): Promise<TargetsResult> {
    return await this.#change(async () => {
      const target = await this.#reach(parseTargetName(name));
      try {
        manager.connect(this.#options.manage(target));
      } catch (error) {
        await this.#drop(target);
        throw error;
      }
      this.#connected.add(target.label);
    });
  }

  /** Disconnects a target. @throws {CommandError} If it is none, or the last one. */
  async disconnect(name: string, manager: Manager): Promise<TargetsResult> {
    return await this.#change(async () => {
      const label = formatTargetName(parseTargetName(name));
      await manager.disconnect(label);
      const target = this.#reached.find((each) => each.label === label);
      if (target) await this.#drop(target);
      this.#connected.delete(label);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const target of this.#reached) await target[Symbol.asyncDispose]();
    this.#reached = [];
  }

  async #change(act: () => Promise<void>): Promise<TargetsResult> {
    if (this.#isChanging) throw new CommandError("Cannot change targets: another command changes them now");
    this.#isChanging = true;
    try {
      await act();
      this.#save();
      return { targets: this.#reached.map(({ label }) => label) };
    } finally {
      this.#isChanging = false;
    }
  }

  async #reach(name: TargetName): Promise<ReachableTarget> {
    const shown = formatTargetName(name);
    const isKnown = name.kind !== "token" && this.#reached.some(({ label }) => label === shown);
    if (isKnown) throw new CommandError(`Cannot connect ${quote(shown)}: it is a target of the set already`);
    const target = await this.#options.reach(name);
    this.#reached = [...this.#reached, target];
    this.#directories = this.#reached.flatMap(({ directory }) => directory ?? []);
    return target;
  }

  async #drop(target: ReachableTarget): Promise<void> {
    this.#reached = this.#reached.filter((each) => each !== target);
    this.#directories = this.#reached.flatMap(({ directory }) => directory ?? []);
    await target[Symbol.asyncDispose]();
  }

  #save(): void {
    const { store } = this.#options;
    store.saveMeta("targets", this.#reached.map(({ label }) => label).join("\n"));
    store.saveMeta("connected", [...this.#connected].join("\n"));
  }
}

function linesOf(text = ""): string[] {
  return text.split("\n").filter((line) => line !== "");
}
