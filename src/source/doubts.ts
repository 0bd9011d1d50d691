/**
 * Paths of which it is not known what the target holds: the target could not do an op, or touched them since the index
 * was saved, or stopped uncleanly. It is asked about each, the index is corrected, and the path is looked at again.
 * @module
 */
import { limits } from "../base/limits.ts";
import { isWithin, joinPath, movePath, parentPath } from "../base/path.ts";
import type { Held } from "../ops/held.ts";
import { type ListedEntry, type OpFailure, PENDING, type TouchedPath } from "../wire/message.ts";
import type { Index } from "./index.ts";
import { listedGroup } from "./linked_names.ts";

/** A path in doubt. */
interface Suspect extends TouchedPath {
  /** Whether it is to be looked at again at once; otherwise the next change or scan does. */
  isDirty: boolean;
  /** It waits on the target, and is what it was before: the source's file belongs to it still, and so it can move. */
  isPending?: boolean;
  /** The op that was refused renamed it, and this is where the index has it. */
  movedTo?: string;
}

/** What resolving doubts needs of its replicator. */
export interface DoubtsOptions {
  index: Index;
  /** Asks the target what it holds. @throws {TransientError} If the session breaks. */
  ask: (path: string, recursive: boolean) => Promise<ListedEntry[]>;
  /** Looks again at a path that was corrected. */
  lookAgain: (path: string, recursive: boolean) => void;
}

/** Paths in doubt of one lane. */
export class Doubts {
  readonly #options: DoubtsOptions;
  #suspects: Suspect[] = [];
  readonly #attempts = new Map<string, number>();
  /**
   * Renames that no ack has told about yet, by sequence: a failure tells the old name only, and what failed before them
   * may have another name by now.
   */
  readonly #renames = new Map<number, { path: string; to: string; exchange: boolean }>();

  constructor(options: DoubtsOptions) {
    this.#options = options;
  }

  /** Whether nothing is in doubt. */
  get areResolved(): boolean {
    return this.#suspects.length === 0;
  }

  /** These paths may hold anything. */
  add(touched: TouchedPath[]): void {
    for (const { path, recursive } of touched) {
      this.#suspects.push({ path, recursive, isDirty: true });
      for (const other of this.#options.index.linkedWith(path)) {
        this.#suspects.push({ path: other, recursive: false, isDirty: true });
      }
    }
  }

  /** The index is filled anew, or belongs to another stream: nothing that was in doubt matters. */
  clear(): void {
    this.#suspects = [];
    this.#attempts.clear();
    this.#renames.clear();
  }

  /** A rename was pushed. */
  noteRename(
    sequence: number,
    { path, to, exchange }: { path: string; to: string; exchange: boolean },
  ): void {
    this.#renames.set(sequence, { path, to, exchange });
  }

  /** New name of a rename that was pushed and of which no ack has told. */
  renamedTo(sequence: number): string | undefined {
    return this.#renames.get(sequence)?.to;
  }

  /** The target did, or could not do, everything up to here. */
  acknowledge(sequence: number): void {
    for (const each of this.#renames.keys()) {
      if (each > sequence) break;
      this.#renames.delete(each);
    }
  }

  /** The target could not do an op: ask what it holds there, and try a few times before leaving it to the scan. */
  addFailure({ sequence, path, op, code }: OpFailure): void {
    const { index } = this.#options;
    const isPending = code === PENDING;
    const rename = this.#renames.get(sequence);
    const named = rename === undefined ? [path] : [path, rename.to];
    const now = named.map((name) => this.#nameNow(name, sequence));
    for (const each of new Set([...named, ...now])) {
      const others = index.linkedWith(each);
      // Until the target was asked, the index must not claim this, not even after a crash of ours.
      for (const name of [each, ...others]) {
        const held = index.get(name);
        if (held) index.set(name, { ...held, trusted: false, ctimeNs: 0n }, 0);
      }
      for (const other of others) this.#suspects.push({ path: other, recursive: false, isDirty: true });
      // What stands in the way may be a directory of which we know nothing.
      const recursive = op !== "attributes" && each !== "";
      if (isPending) {
        const movedTo = rename && !rename.exchange && each === path ? now[1] : undefined;
        this.#suspects.push({ path: each, recursive, isDirty: false, isPending, movedTo });
        continue;
      }
      this.#suspects.push(
        { path: parentPath(each), recursive: false, isDirty: this.#isWorthTrying(parentPath(each)) },
        { path: each, recursive, isDirty: this.#countAttempt(each) },
      );
    }
  }

  /** The name that the index has by now for what had this one when the op of `sequence` was pushed. */
  #nameNow(name: string, sequence: number): string {
    for (const [later, { path, to, exchange }] of this.#renames) {
      if (later <= sequence) continue;
      if (isWithin(name, path)) name = movePath(name, path, to);
      else if (exchange && isWithin(name, to)) name = movePath(name, to, path);
    }
    return name;
  }

  /**
   * Asks about everything in doubt. Nothing may be pushed meanwhile that would make the answers untrue.
   *
   * @param isCurrent Whether the stream is still the same.
   */
  async resolve(isCurrent: () => boolean): Promise<void> {
    while (this.#suspects.length > 0 && isCurrent()) {
      const asked = this.#suspects.slice(0, limits.questionsAtOnce);
      const answers = await Promise.all(
        asked.map(({ path, recursive }) => this.#options.ask(path, recursive)),
      );
      if (!isCurrent()) return;
      for (const [i, suspect] of asked.entries()) this.#correct(suspect, answers[i]);
      this.#suspects.splice(0, asked.length);
    }
  }

  #correct({ path, recursive, isDirty, isPending = false, movedTo }: Suspect, listed: ListedEntry[]): void {
    const { index, lookAgain } = this.#options;
    if (movedTo !== undefined) this.#moveBack(path, movedTo);
    const identities = isPending ? identitiesFrom(index, path) : undefined;
    if (path !== "" && (recursive || listed.length === 0) && index.has(path)) index.remove(path, 0);
    for (const entry of listed) {
      believe(index, entry, { trusted: false, identity: identities?.get(entry.path) });
    }
    if (isDirty) lookAgain(path, recursive);
  }

  /** Nothing is on its way: what a refused rename moved in the index has its old name again, with all below. */
  #moveBack(path: string, to: string): void {
    const { index } = this.#options;
    const isApart = !isWithin(path, to) && !isWithin(to, path);
    if (isApart && index.has(to) && !index.has(path) && index.isDirectory(parentPath(path))) {
      index.move(to, path, 0);
    }
  }

  /** A directory that cannot be made is not tried again for each entry in it: that would never end. */
  #isWorthTrying(path: string): boolean {
    return (this.#attempts.get(path) ?? 0) < limits.applyAttemptsMax;
  }

  /** Gives whether the path is to be tried again at once. */
  #countAttempt(path: string): boolean {
    const attempts = (this.#attempts.get(path) ?? 0) + 1;
    // Whoever cannot be counted is not tried for ever.
    if (attempts === 1 && this.#attempts.size >= limits.problemsMax) return false;
    this.#attempts.set(path, attempts);
    return this.#isWorthTrying(path);
  }
}

/**
 * Writes down in the index what the target says it holds. `trusted`: its contents are believed if size and time are;
 * `identity`: of the source's file that it belongs to, if that is known.
 */
export function believe(
  index: Index,
  entry: ListedEntry,
  { trusted, identity }: { trusted: boolean; identity?: Pick<Held, "kind" | "dev" | "ino"> },
): void {
  const isSameKind = identity?.kind === entry.kind;
  const { path, kind, mode, uid, gid, size, mtimeNs, linkTarget, xattrDigest, file } = entry;
  if (!index.canHold(path)) return;
  const held = {
    kind,
    mode,
    uid,
    gid,
    size,
    mtimeNs,
    linkTarget,
    xattrDigest,
    linkGroup: file === undefined ? undefined : listedGroup(file),
    ctimeNs: 0n,
    dev: isSameKind ? identity.dev : 0,
    ino: isSameKind ? identity.ino : 0n,
    trusted,
  };
  index.set(path, held, 0);
  if (!trusted) index.setSignature(path, undefined, 0);
}

/** Which files of the source the entries at a path and below belong to, as the index has it. */
function identitiesFrom(index: Index, path: string): Map<string, Pick<Held, "kind" | "dev" | "ino">> {
  const found = new Map<string, Pick<Held, "kind" | "dev" | "ino">>();
  const waiting = [path];
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    const held = index.get(at);
    if (!held) continue;
    found.set(at, { kind: held.kind, dev: held.dev, ino: held.ino });
    if (held.kind === "directory") {
      for (const name of index.children(at)) waiting.push(joinPath(at, name));
    }
  }
  return found;
}

/** Paths with the directories that hold them: an op on an entry may leave its mark on the directory. */
export function withParents(paths: string[]): TouchedPath[] {
  const all = new Set(paths.flatMap((path) => [parentPath(path), path]));
  return [...all].sort().map((path) => ({ path, recursive: false }));
}
