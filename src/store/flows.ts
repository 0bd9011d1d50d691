/**
 * When and how fast each target of a set is sent to, over restarts: `SET/flow.json`.
 * @module
 */
import { withWayOut } from "../base/errors.ts";
import { loadJson, saveJson } from "./durable.ts";

/** What was chosen for one target. */
export interface FlowChoice {
  /** Bytes a second; 0 is as fast as it goes. */
  limitRate: number;
  /** Flow rules as a text; `at-once` is none. */
  sendWhen: string;
}

/** Choices by label. */
type FlowFile = Record<string, FlowChoice>;

const usual: FlowChoice = { limitRate: 0, sendWhen: "at-once" };

/** The choices of one set. Each change is durable when the call returns. */
export class Flows {
  readonly #path: string;
  readonly #choices: FlowFile;

  /** @throws {CorruptionError} If the file is damaged, with the way out. */
  constructor(path: string) {
    this.#path = path;
    const loaded = withWayOut("remove it, and everything is sent at once", () => loadJson(path, isFlowFile));
    this.#choices = loaded ?? {};
  }

  /** What was chosen for a target. */
  of(target: string): FlowChoice {
    return this.#choices[target] ?? usual;
  }

  /** Chooses for a target; what is left out stays as it was. */
  choose(target: string, choice: Partial<FlowChoice>): void {
    const given = Object.fromEntries(Object.entries(choice).filter(([, value]) => value !== undefined));
    if (Object.keys(given).length === 0) return;
    this.#choices[target] = { ...this.of(target), ...given };
    saveJson(this.#path, this.#choices);
  }
}

function isFlowFile(value: unknown): value is FlowFile {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.values(value).every((choice) =>
      typeof choice?.limitRate === "number" && typeof choice.sendWhen === "string"
    );
}
