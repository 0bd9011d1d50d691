/**
 * The mark that a replica was promoted: it is the truth now, and users work in it, so that no source may change it any
 * more (the *fence*) until one has come back to it by a failback.
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { quote } from "../base/path.ts";
import type { OwnerMap } from "../sys/ownership.ts";
import { loadJson, removeIfThere, saveJson, syncDirectory } from "./durable.ts";

/** When a replica was promoted. */
export interface Promotion {
  /** ISO 8601. */
  promotedAt: string;
  /** Under which numbers the files of the source's users lie now, if these are others; and whether all of them do. */
  owners?: { map: OwnerMap; state: "under way" | "given" };
}

function markIn(stateDirectory: string): string {
  return join(stateDirectory, "promoted.json");
}

function isPromotion(value: unknown): value is Promotion {
  const promotion = value as Partial<Promotion> | null;
  return typeof promotion?.promotedAt === "string";
}

/**
 * Whether a replica is promoted, and since when.
 *
 * @param stateDirectory Our state of the replica.
 * @throws {CorruptionError} If the mark cannot be read: then the fence stands, too.
 */
export function loadPromotion(stateDirectory: string): Promotion | undefined {
  return loadJson(markIn(stateDirectory), isPromotion);
}

/** Promotes. The mark survives power loss afterwards. */
export function markPromoted(stateDirectory: string, promotion: Promotion): void {
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  saveJson(markIn(stateDirectory), promotion);
}

/** Takes the mark away, for good also after power loss. */
export function endPromotion(stateDirectory: string): void {
  removeIfThere(markIn(stateDirectory));
  syncDirectory(stateDirectory);
}

/** What a source is told that the fence keeps out. */
export function fencedReason(label: string, { promotedAt }: Pick<Promotion, "promotedAt">): string {
  return `${quote(label)} was promoted at ${promotedAt} and is the truth since then: ` +
    `come back with "understudy watch-source DIR --to TARGET --failback"`;
}
