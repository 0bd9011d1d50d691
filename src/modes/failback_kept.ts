/**
 * What a failback keeps of its source, where, and how it tells of it.
 * @module
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { CommandError, errorCode, UsageError } from "../base/errors.ts";
import { isWithin, joinPath, quote } from "../base/path.ts";
import { limits } from "../base/limits.ts";
import type { Unsent, UnsentAttributes } from "../source/unsent.ts";
import { saveJson } from "../store/durable.ts";
import type { Tree } from "../sys/file_system.ts";
import { systemFileSystem } from "../sys/system.ts";
import { realPathOf } from "../target/places.ts";
import type { Io } from "./mode.ts";
import { rootTrouble } from "./root_trouble.ts";

/** What was changed here and is not known to be sent: what became of it. */
export interface KeptChanges {
  /** Of the old source. */
  root: string;
  promotedAt: string;
  /** Paths in the directory for what is kept. */
  kept: string[];
  /** Were removed here, and are back. */
  removed: string[];
  /** Had these attributes here, and have now those of the replica. */
  attributes: UnsentAttributes[];
}

/**
 * Chooses the directory for what is kept, and sees that it can be used.
 *
 * @param wanted Absolute; `undefined` is one beside the root.
 * @throws {UsageError} If it lies inside the source, or something is in it. @throws {CommandError} If it cannot be made.
 */
export function asideDirectory(
  { wanted, root }: { wanted: string | undefined; root: string },
  nowMs: number,
): string {
  const stamp = new Date(nowMs).toISOString().replace(/[:.]/g, "-");
  const path = realPathOf(wanted ?? join(dirname(root), `${basename(root)}.kept-${stamp}`));
  // All that there is lies inside the system's root; then it is kept out by name.
  if (root === "/" ? wanted === undefined : isWithin(path, root)) {
    throw new UsageError(
      `Cannot keep changes in ${quote(path)}: it lies inside the source; use --keep-aside DIR`,
    );
  }
  return path;
}

/** Makes the directory. @throws {UsageError} If something is in it. @throws {CommandError} If it cannot be made. */
export function makeAside(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    if (readdirSync(path).length === 0) return;
  } catch (error) {
    if (!errorCode(error)) throw error;
    const reason = rootTrouble(errorCode(error)) || errorCode(error);
    throw new CommandError(`Cannot keep changes in ${quote(path)}: ${reason}; use --keep-aside DIR`, {
      cause: error,
    });
  }
  throw new UsageError(`Cannot keep changes in ${quote(path)}: it is not empty; name another directory`);
}

/** What a change here gets as its change time now, or more: by the clock of the file system, ns since 1970. */
export function timeNow(aside: string): bigint {
  mkdirSync(aside, { recursive: true, mode: 0o700 });
  Deno.chmodSync(aside, 0o700);
  using tree = systemFileSystem().openTree(aside);
  return tree.stat("")!.ctimeNs;
}

/** What became of unsent changes, now that the source is equal to the replica. */
export function keptChanges(
  { root, aside, promotedAt, unsent }: {
    root: string;
    aside: string;
    promotedAt: string;
    unsent: Pick<Unsent, "removed" | "attributes">;
  },
): KeptChanges {
  const kept = existsSync(aside) ? listKept(aside) : [];
  const wereKept = new Set(kept);
  using tree = systemFileSystem().openTree(root);
  return {
    root,
    promotedAt,
    kept,
    // What the replica has not either is not back.
    removed: unsent.removed.filter((path) => tree.stat(path) !== undefined),
    attributes: unsent.attributes.filter((each) => !wereKept.has(each.path) && isOther(tree, each)),
  };
}

/** Tells people, and leaves a list beside the directory. Without any change nothing stays. */
export function tellKept(aside: string, changes: KeptChanges, io: Io): void {
  const { kept, removed, attributes } = changes;
  const count = kept.length + removed.length + attributes.length;
  if (count === 0) {
    if (existsSync(aside)) rmdirSync(aside);
    return;
  }
  saveJson(`${aside}.json`, changes);
  for (const line of linesOf(changes).slice(0, limits.failbackLinesMax)) io.stderr(`understudy: ${line}\n`);
  io.stderr(
    `understudy: ${kept.length} kept in ${quote(aside)}, all are listed in ${quote(`${aside}.json`)}\n`,
  );
}

function linesOf({ kept, removed, attributes }: KeptChanges): string[] {
  return [
    ...kept.map((path) => `kept aside ${quote(path)}: changed here and not known to be sent`),
    ...removed.map((path) => `came back  ${quote(path)}: removed here and not known to be sent`),
    ...attributes.map(({ path, mode, uid, gid }) =>
      `attributes ${quote(path)}: mode ${mode.toString(8)}, owner ${uid}:${gid} here and not known to be sent`
    ),
  ];
}

function isOther(tree: Tree, { path, mode, uid, gid }: UnsentAttributes): boolean {
  const stat = tree.stat(path);
  return stat !== undefined && (stat.mode !== mode || stat.uid !== uid || stat.gid !== gid);
}

/** Paths of all but directories that hold something. */
function listKept(aside: string): string[] {
  using tree = systemFileSystem().openTree(aside);
  const kept: string[] = [];
  const below = [""];
  for (let directory = below.pop(); directory !== undefined; directory = below.pop()) {
    const at = directory;
    const names = tree.list(at);
    if (names.length === 0 && at !== "") kept.push(at);
    for (const { name } of names) {
      const path = joinPath(at, name);
      if (tree.stat(path)?.kind === "directory") below.push(path);
      else kept.push(path);
    }
  }
  return kept.sort();
}
