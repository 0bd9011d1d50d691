/**
 * What a failback must remember until it has ended, should it be broken off: `failback.json` in the directory of the set.
 * @module
 */
import { join } from "node:path";
import type { UnsentAttributes } from "../source/unsent.ts";
import { loadJson, removeIfThere, saveJson, syncDirectory } from "../store/durable.ts";

/** One failback. JSON. */
export interface FailbackRecord {
  /** Label of the target. */
  target: string;
  /** Of the promotion that it comes back to. */
  promotedAt: string;
  /** Directory for what is kept. */
  aside: string;
  /** As found before anything was brought back: later the failback's own removals look like the source's. */
  removed: string[];
  attributes: UnsentAttributes[];
  /** The source is equal, and the target is told so: the fence may have been lifted. */
  isEnding: boolean;
}

/** What an earlier run has left. @throws {CorruptionError} If it cannot be read. */
export function loadFailback(directory: string): FailbackRecord | undefined {
  return loadJson(pathIn(directory), isRecord);
}

/** Survives power loss. */
export function saveFailback(directory: string, record: FailbackRecord): void {
  saveJson(pathIn(directory), record);
}

/** Forgets it, for good also after power loss. */
export function removeFailback(directory: string): void {
  removeIfThere(pathIn(directory));
  syncDirectory(directory);
}

function pathIn(directory: string): string {
  return join(directory, "failback.json");
}

function isRecord(value: unknown): value is FailbackRecord {
  const record = value as Partial<FailbackRecord> | null;
  const texts = [record?.target, record?.promotedAt, record?.aside];
  return texts.every((text) => typeof text === "string") && typeof record?.isEnding === "boolean" &&
    Array.isArray(record.removed) && Array.isArray(record.attributes);
}
