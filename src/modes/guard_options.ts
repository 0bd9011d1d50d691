/**
 * Options of guards, and what a set remembers of what they held.
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import { withWayOut } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { GuardBook, isGuardRecords } from "../source/guard_book.ts";
import { type MassThreshold, type MassThresholds, usualThresholds } from "../source/mass_guard.ts";
import { loadJson, saveJson } from "../store/durable.ts";
import { one, type OptionValues, type ValueReader } from "./options.ts";

/** The table of the options. `off` is `undefined` in a threshold. */
export const guardTable = {
  "guard-deletes": one(threshold),
  "guard-rewrites": one(threshold),
};

/** The part of a command's help that the options make. */
export const guardHelp = `\
  --guard-deletes N|N%|off   deletions wait for "guard confirm" when so many, or such a share of all entries, come
                           within a minute (default ${limits.guardDeletesCount} that are ${
  percent(limits.guardDeletesShare)
} of all, too)
  --guard-rewrites N|N%|off  the same for files whose contents change (default ${limits.guardRewritesCount} and ${
  percent(limits.guardRewritesShare)
})
`;

/** Reads what the user chose. */
export function guardThresholds(values: OptionValues<typeof guardTable>): MassThresholds {
  const { "guard-deletes": deletes, "guard-rewrites": rewrites } = values;
  return {
    deletions: deletes === undefined ? usualThresholds.deletions : deletes.threshold,
    rewrites: rewrites === undefined ? usualThresholds.rewrites : rewrites.threshold,
  };
}

/**
 * Loads what guards of a set held, and what was decided.
 *
 * @param directory State directory of the set.
 * @param keeps Whether what is held and decided from now on is remembered.
 * @throws {CorruptionError} If it is damaged.
 */
export function loadGuardBook(
  directory: string,
  { clock, keeps }: { clock: Clock; keeps: boolean },
): GuardBook {
  const path = join(directory, "guards.json");
  const records = withWayOut(
    "remove it, and nothing counts as refused or confirmed",
    () => loadJson(path, isGuardRecords),
  );
  return new GuardBook({
    records: records ?? [],
    save: (records) => {
      if (keeps) saveJson(path, records);
    },
    nowMs: () => clock.nowMs(),
  });
}

/** Loads the mount points of a set. @throws {CorruptionError} If they are damaged. */
export function loadMounts(directory: string): { known: string[]; save: (paths: string[]) => void } {
  const path = join(directory, "mounts.json");
  const known = withWayOut("remove it, and no mount point counts as known", () => loadJson(path, isPaths));
  return {
    known: known ?? [],
    save: (paths) => {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      saveJson(path, paths);
    },
  };
}

function isPaths(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((path) => typeof path === "string");
}

/** Reads `200`, `30%` or `off`. */
function threshold(text: string): { threshold: MassThreshold | undefined } {
  if (text === "off") return { threshold: undefined };
  const [, digits, sign] = /^(\d{1,9})(%?)$/.exec(text) ?? [];
  const number = Number(digits);
  if (sign === "%" && number >= 1 && number <= 100) return { threshold: { count: 1, share: number / 100 } };
  if (sign === "" && number >= 1) return { threshold: { count: number, share: 0 } };
  throw new Error("it must be a number of entries, a share from 1% to 100%, or off");
}

threshold satisfies ValueReader<unknown>;

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
