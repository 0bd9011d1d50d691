/**
 * Which targets of a set are held, over restarts: `SET/holds.json`.
 * @module
 */
import { withWayOut } from "../base/errors.ts";
import { loadJson, saveJson } from "./durable.ts";

/** Held targets by label, each with since when (ISO 8601). */
type HoldFile = Record<string, string>;

/** The holds of one set. Each change is durable when the call returns. */
export class Holds {
  readonly #path: string;
  readonly #since: HoldFile;

  /** @throws {CorruptionError} If the file is damaged, with the way out. */
  constructor(path: string) {
    this.#path = path;
    this.#since = withWayOut("remove it, and nothing counts as held", () => loadJson(path, isHoldFile)) ?? {};
  }

  /** Since when a target is held; `""` if it is not. */
  since(target: string): string {
    return this.#since[target] ?? "";
  }

  /** Holds a target. One that is held stays so since it was. */
  add(target: string, nowMs: number): void {
    if (this.#since[target]) return;
    this.#since[target] = new Date(nowMs).toISOString();
    saveJson(this.#path, this.#since);
  }

  remove(target: string): void {
    if (!this.#since[target]) return;
    delete this.#since[target];
    saveJson(this.#path, this.#since);
  }
}

function isHoldFile(value: unknown): value is HoldFile {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.values(value).every((since) => typeof since === "string");
}
