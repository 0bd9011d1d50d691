/**
 * What guards of a set hold back, and what the user decided about it: one record for each event, for all targets.
 *
 * | state     | what it covers                                                                      |
 * |-----------|-------------------------------------------------------------------------------------|
 * | waiting   | goes nowhere until somebody decides                                                 |
 * | confirmed | goes to the targets; the record stays until they have it, over restarts             |
 * | refused   | stays on the targets as it is there, over restarts, until somebody decides otherwise |
 *
 * A record covers paths with all that is below them. Beyond `limits.guardPathsMax` paths are replaced by their
 * directories, of which only what is gone (or rewritten) is meant.
 * @module
 */
import { CommandError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { parentPath, quote } from "../base/path.ts";
import type { GuardKind, GuardState, GuardStatus } from "../base/status.ts";

/** One event. JSON: this is also how it is saved. */
export interface GuardRecord {
  id: string;
  /** What concerns the root is not in the book: it is so as long as another directory stands there (root_guard.ts). */
  kind: Exclude<GuardKind, "root">;
  state: GuardState;
  /** Wall clock of when it was opened, and of the last decision (0: none yet). */
  sinceMs: number;
  decidedMs: number;
  /** Entries that the target held when it was opened. */
  of: number;
  /** Covered paths, with the number of entries that each is with all below it. */
  paths: [path: string, count: number][];
}

/** What a book needs. */
export interface GuardBookOptions {
  /** As saved by an earlier run. */
  records: GuardRecord[];
  /** Makes records survive power loss. */
  save: (records: GuardRecord[]) => void;
  nowMs: () => number;
}

/** Whether a value is what {@linkcode GuardBookOptions.save} was given. */
export function isGuardRecords(value: unknown): value is GuardRecord[] {
  return Array.isArray(value) &&
    value.every((record) =>
      typeof record?.id === "string" && ["deletions", "rewrites"].includes(record.kind) &&
      ["waiting", "confirmed", "refused"].includes(record.state) && Array.isArray(record.paths) &&
      record.paths.every((entry: unknown) =>
        Array.isArray(entry) && typeof entry[0] === "string" && typeof entry[1] === "number"
      )
    );
}

interface Event extends Omit<GuardRecord, "paths"> {
  paths: Map<string, number>;
}

/** The guard records of one set. */
export class GuardBook {
  readonly #options: GuardBookOptions;
  readonly #events = new Map<string, Event>();
  #listeners: ((id: string, paths: string[], state: GuardState) => void)[] = [];

  constructor(options: GuardBookOptions) {
    this.#options = options;
    for (const record of options.records) {
      this.#events.set(record.id, { ...record, paths: new Map(record.paths) });
    }
  }

  get isEmpty(): boolean {
    return this.#events.size === 0;
  }

  /** Tells a listener of every decision from now on. */
  onDecision(listener: (id: string, paths: string[], state: GuardState) => void): void {
    this.#listeners.push(listener);
  }

  /** All records, oldest first. */
  list(): GuardStatus[] {
    return [...this.#events.values()].map(({ id, kind, state, sinceMs, of, paths }) => ({
      id,
      kind,
      state,
      count: sum(paths),
      of,
      paths: [...paths.keys()].slice(0, limits.guardPathsNamedMax).sort(),
      since: new Date(sinceMs).toISOString(),
    }));
  }

  /** What was decided about a path: of the record that covers it. */
  verdict(path: string): GuardState | undefined {
    return this.#covering(path)?.state;
  }

  /** The record that waits for a decision. */
  get waiting(): GuardStatus | undefined {
    return this.list().find(({ state }) => state === "waiting");
  }

  /** Opens a record, or adds to the one that waits. Survives power loss. @returns Its id. */
  hold(kind: GuardRecord["kind"], paths: Iterable<[string, number]>, of: number): string {
    let event = [...this.#events.values()].find(({ state }) => state === "waiting");
    if (!event) {
      const sinceMs = this.#options.nowMs();
      event = { id: this.#newId(), kind, state: "waiting", sinceMs, decidedMs: 0, of, paths: new Map() };
      this.#events.set(event.id, event);
    }
    let isChanged = false;
    for (const [path, count] of paths) {
      if (this.#covering(path)?.id === event.id) continue;
      event.paths.set(path, count);
      isChanged = true;
    }
    while (event.paths.size > limits.guardPathsMax) event.paths = collapse(event.paths);
    if (isChanged) this.#save();
    return event.id;
  }

  /** Whether the deletion of just this path is held, or was decided about. */
  holdsDeletion(path: string): boolean {
    return [...this.#events.values()].some(({ kind, paths }) => kind === "deletions" && paths.has(path));
  }

  /** Something stands at the path again: only what was below it, and is told, is still held. */
  release(path: string, below: [string, number][]): GuardState | undefined {
    for (const event of this.#events.values()) {
      if (event.kind !== "deletions" || !event.paths.delete(path)) continue;
      for (const [each, count] of below) event.paths.set(each, count);
      if (event.paths.size === 0) this.#events.delete(event.id);
      this.#save();
      return event.state;
    }
    return undefined;
  }

  /**
   * Decides. A refusal can be confirmed later, too. Survives power loss.
   *
   * @throws {CommandError} If there is no such record, or it was confirmed already.
   */
  decide(id: string, state: "confirmed" | "refused"): GuardStatus {
    const event = this.#events.get(id);
    if (!event) throw new CommandError(`Cannot decide ${quote(id)}: there is no such guard`);
    if (event.state === "confirmed" && state === "refused") {
      throw new CommandError(`Cannot refuse ${quote(id)}: it was confirmed, and is on its way`);
    }
    Object.assign(event, { state, decidedMs: this.#options.nowMs() });
    this.#save();
    const paths = [...event.paths.keys()];
    for (const tell of this.#listeners) tell(id, paths, state);
    return this.list().find((status) => status.id === id)!;
  }

  /**
   * Forgets what is over.
   *
   * @param isHeld Whether any target holds something at a path.
   * @param isReached Whether the targets have all that could be sent, and the indexes of that are saved.
   */
  sweep(isHeld: (path: string) => boolean, isReached: boolean): void {
    let isChanged = false;
    for (const event of this.#events.values()) {
      if (event.state === "confirmed") {
        const isOld = this.#options.nowMs() - event.decidedMs > limits.guardConfirmedMs;
        const isDone = isReached && isOld &&
          (event.kind === "rewrites" || ![...event.paths.keys()].some(isHeld));
        if (isDone) isChanged = this.#events.delete(event.id);
        continue;
      }
      for (const path of event.paths.keys()) if (!isHeld(path)) isChanged = event.paths.delete(path);
      if (event.paths.size === 0) isChanged = this.#events.delete(event.id);
    }
    if (isChanged) this.#save();
  }

  #covering(path: string): Event | undefined {
    if (this.#events.size === 0) return undefined;
    for (let above = path;; above = parentPath(above)) {
      for (const event of this.#events.values()) if (event.paths.has(above)) return event;
      if (above === "") return undefined;
    }
  }

  #newId(): string {
    let number = 1;
    for (const id of this.#events.keys()) number = Math.max(number, Number(id.slice(1)) + 1);
    return `g${number}`;
  }

  #save(): void {
    this.#options.save([...this.#events.values()].map((event) => ({ ...event, paths: [...event.paths] })));
  }
}

function sum(paths: Map<string, number>): number {
  let count = 0;
  for (const each of paths.values()) count += each;
  return count;
}

function collapse(paths: Map<string, number>): Map<string, number> {
  const collapsed = new Map<string, number>();
  for (const [path, count] of paths) {
    const parent = parentPath(path);
    collapsed.set(parent, (collapsed.get(parent) ?? 0) + count);
  }
  return collapsed;
}
