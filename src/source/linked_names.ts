/**
 * Keeps on the target the names of one file names of one file: the *link group*. What must hold in the index:
 *
 * - Entries of one link group are one file on the target: what is changed in place under one name is changed under all,
 *   in the index as well. What makes a new file of a name takes it out of its group.
 * - A name of a file that has several here, and stands in the index under another one, becomes a further name of it
 *   there (op `link`), whatever stood under it. Which of them leads is the same for all: the one under which the file
 *   was last made anew; else those whose newest version the target has come first, then the order of paths.
 * - A name whose file on the target has names that are others here, or are to stay as they are, is *shared*: it is
 *   replaced, and never changed in place.
 * @module
 */
import { limits } from "../base/limits.ts";
import type { Held } from "../ops/held.ts";
import { sameFile, type Stat } from "../sys/file_system.ts";
import { identity, statOrUndefined } from "./batch.ts";
import type { DetectContext } from "./detect_context.ts";
import type { Index } from "./index.ts";
import type { Priority } from "./lane.ts";
import { isLinked } from "./links.ts";

/** Names of files that have several, on one target. */
export class LinkedNames {
  readonly #context: DetectContext;
  /** Names that the target could not make further names: they are sent as files of their own. Bounded. */
  readonly #refused = new Set<string>();
  /** Names under which files were last made anew, by identity. Bounded. */
  readonly #madeAs = new Map<string, string>();

  constructor(context: DetectContext) {
    this.#context = context;
  }

  /** The target could not link this name. */
  refuse(path: string): void {
    if (this.#refused.size < limits.problemsMax) this.#refused.add(path);
  }

  /** The target has this version of a file as a new one, under this name. */
  noteMade(path: string, stat: Readonly<Stat>): void {
    if (this.#madeAs.size >= limits.problemsMax) this.#madeAs.clear();
    this.#madeAs.set(identity(stat), path);
  }

  /** The name that the target is to give a further one at `path`; `undefined` if it has done so, or has no such file. */
  origin(path: string, stat: Readonly<Stat>): string | undefined {
    const { index, policy } = this.#context;
    if (!policy.abilities.links || !isLinked(stat) || this.#refused.has(path)) return undefined;
    const group = index.get(path)?.linkGroup;
    // Nearly always, and of thousands of names it would take long to find who leads.
    if (index.areNamesOfOne(stat.dev, stat.ino)) {
      const name = index.findByIdentity(stat.dev, stat.ino)!;
      if (group !== undefined && group === index.get(name)!.linkGroup) return undefined;
      if (name !== path && this.#mayLead(name, stat) && this.#stands(name, stat)) return name;
    }
    const leader = this.#leader(path, stat);
    if (leader === undefined || leader.name === path) return undefined;
    return group !== undefined && group === leader.held.linkGroup ? undefined : leader.name;
  }

  /** If a name leads: the others that the target does not have as names of its file. */
  apart(path: string, stat: Readonly<Stat>): string[] {
    const { index, policy } = this.#context;
    if (!policy.abilities.links || index.areNamesOfOne(stat.dev, stat.ino)) return [];
    if (this.#leader(path, stat)?.name !== path) return [];
    const group = index.get(path)!.linkGroup;
    return index.namesOf(stat.dev, stat.ino).filter((name) => {
      if (name === path || this.#refused.has(name)) return false;
      return group === undefined || index.get(name)!.linkGroup !== group;
    });
  }

  /** Whether the file at a path is on its way under another name that it has, here as on the target. */
  isUnderWay(path: string, stat: Readonly<Stat>): boolean {
    const { index, isTransferring, transfersCount } = this.#context;
    if (transfersCount() === 0) return false;
    return index.linkedWith(path).some((other) => isTransferring(other) && this.#stands(other, stat));
  }

  /** Whether what the target holds at a path must not be changed in place, see the module. */
  isShared(path: string, stat: Readonly<Stat>): boolean {
    const { index, policy, tree } = this.#context;
    if (index.hasForeignNames(path, stat)) return true;
    if (policy.deleteAbsent) return false;
    return index.linkedWith(path).some((other) => statOrUndefined(tree, other) === undefined);
  }

  /** Whether a name is linked on the target as it is here, and nothing else is linked with it. */
  isAsHeld(path: string, stat: Readonly<Stat>, held: Held): boolean {
    if (!isLinked(stat) && held.linkGroup === undefined) return true;
    return this.origin(path, stat) === undefined && !this.isShared(path, stat);
  }

  /** Has the target give `origin` a further name. Ask for room first. */
  join(path: string, origin: string, stat: Readonly<Stat>, priority: Priority): void {
    const { guard, index, planned, push } = this.#context;
    const held = index.get(origin)!;
    if (priority === "live" && !index.has(path)) guard?.noteMade(path, stat);
    let sequence = 0;
    if (planned) planned("link", `${path} -> ${origin}`, 0);
    else sequence = push({ kind: "link", path: origin, to: path }, priority);
    // Nothing was pushed by a dry run: there the file's own number tells the group from all others.
    const linkGroup = held.linkGroup ?? (sequence || listedGroup(stat.ino));
    if (held.linkGroup === undefined) index.set(origin, { ...held, linkGroup }, sequence);
    copyHeld(index, origin, path, sequence);
  }

  /** What the target holds at a path was changed in place. */
  changedInPlace(path: string, sequence: number): void {
    const { index } = this.#context;
    for (const other of index.linkedWith(path)) copyHeld(index, path, other, sequence);
  }

  #leader(path: string, stat: Readonly<Stat>): { name: string; held: Held } | undefined {
    const { index } = this.#context;
    const madeAs = this.#madeAs.get(identity(stat));
    const made = madeAs === undefined ? undefined : index.get(madeAs);
    if (made && sameFile(made, stat) && made.ctimeNs === stat.ctimeNs && this.#mayLead(madeAs!, stat)) {
      if (madeAs === path || this.#stands(madeAs!, stat)) return { name: madeAs!, held: made };
    }
    let leader: { name: string; held: Held } | undefined;
    for (const name of index.namesOf(stat.dev, stat.ino)) {
      const held = index.get(name)!;
      if (!this.#mayLead(name, stat) || !leads(name, held, leader, stat)) continue;
      if (name === path || this.#stands(name, stat)) leader = { name, held };
    }
    return leader;
  }

  #mayLead(name: string, { kind }: Readonly<Stat>): boolean {
    const held = this.#context.index.get(name)!;
    return held.kind === kind && !held.isLeftover;
  }

  #stands(name: string, stat: Readonly<Stat>): boolean {
    const standing = statOrUndefined(this.#context.tree, name);
    return standing !== undefined && sameFile(standing, stat);
  }
}

/** Link group of a file that its side knows by this number. */
export function listedGroup(file: bigint): number {
  return -1 - Number(BigInt.asUintN(52, file));
}

/** Whether a name goes before the one that leads so far. */
function leads(
  name: string,
  held: Held,
  leader: { name: string; held: Held } | undefined,
  stat: Readonly<Stat>,
): boolean {
  if (!leader) return true;
  const [isNewest, leaderIs] = [held.ctimeNs === stat.ctimeNs, leader.held.ctimeNs === stat.ctimeNs];
  return isNewest === leaderIs ? name < leader.name : isNewest;
}

/** The target holds at `to` the same file as at `from`. A leftover stays one. */
function copyHeld(index: Index, from: string, to: string, sequence: number): void {
  const isLeftover = index.isLeftover(to) || undefined;
  index.set(to, { ...index.get(from)!, isLeftover }, sequence);
  index.setSignature(to, index.getSignature(from), sequence);
}
