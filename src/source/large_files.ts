/**
 * Sends large files, and notes in the index what the target holds then.
 * @module
 */
import { xattrsTooLarge } from "../mirror/xattrs.ts";
import { errorCode, TransientError } from "../base/errors.ts";
import { parentPath } from "../base/path.ts";
import { sendableAttributes } from "../mirror/plan.ts";
import { type TransferContext, transferFile, type TransferResult } from "../mirror/transfer.ts";
import type { Held } from "../ops/held.ts";
import { ALL_TRANSFERS, type Op } from "../ops/op.ts";
import type { Stat, Tree } from "../sys/file_system.ts";
import { heldFrom } from "../mirror/plan.ts";
import { identity, statOrUndefined } from "./batch.ts";
import { standingOf } from "./detect_context.ts";
import type { Index } from "./index.ts";
import type { Priority } from "./lane.ts";
import type { LinkedNames } from "./linked_names.ts";
import { isLinked } from "./links.ts";
import type { Scope } from "./scope.ts";
import type { SecondLooks } from "./second_looks.ts";
import type { Ticket } from "./tickets.ts";

/** What sending a large file needs of its replicator. */
export interface LargeFilesOptions {
  tree: Tree;
  index: Index;
  scope: Scope;
  policy: TransferContext["policy"];
  secondLooks: SecondLooks;
  /** Waits for room. @throws {TransientError} If the stream was started anew meanwhile. */
  room: (bytes: number, priority: Priority) => Promise<unknown>;
  push: (op: Op, priority: Priority) => number;
  /** Waits for a session, and asks the target for block hashes. */
  sign: TransferContext["sign"];
  /** Whether it may; see `TransferContext.mayAsk`. */
  mayAsk: (priority: Priority) => boolean;
  onRead: TransferContext["onRead"];
  /** Counts starts of a stream: a transfer that began under an older one must not push. */
  course: () => number;
  /** Whether so young a file may change again without a change of its times. */
  isRacy: (stat: Readonly<Stat>) => boolean;
  linkedNames: () => Pick<LinkedNames, "isShared" | "changedInPlace" | "noteMade">;
  markDirty: (path: string, ticket: Ticket) => void;
  lookBelow: (path: string, ticket: Ticket) => void;
  problem: (path: string, op: string, error: unknown) => void;
  solved: (path: string) => void;
  /** Something is wrong with ourselves. */
  broken: (error: unknown) => void;
}

/** Sends the large files of one lane. */
export class LargeFiles {
  readonly #options: LargeFilesOptions;
  /** Files whose next transfer compares all of them. */
  readonly #toBeProven = new Set<string>();
  /** Numbers of those that are on their way. */
  readonly #numbers = new Set<number>();
  /** Files with several names that are on their way, by identity, and when each has ended. */
  readonly #linked = new Map<string, Promise<void>>();

  constructor(options: LargeFilesOptions) {
    this.#options = options;
  }

  /** The next transfer of this file looks at all of it. */
  prove(path: string): void {
    this.#toBeProven.add(path);
  }

  /** Sends one file; whatever happens is dealt with here. */
  async send(path: string, priority: Priority, ticket: Ticket): Promise<void> {
    const { markDirty, tree } = this.#options;
    const stat = statOrUndefined(tree, path);
    if (stat && standingOf(path, stat, this.#options) === "out") return;
    if (!stat || !isLinked(stat)) return await this.#send(path, stat, priority, ticket);
    const underWay = this.#linked.get(identity(stat));
    if (underWay) {
      // It goes once: then this is to be a further name of it.
      await underWay;
      return markDirty(path, ticket);
    }
    const sending = this.#send(path, stat, priority, ticket);
    this.#linked.set(identity(stat), sending);
    await sending;
    this.#linked.delete(identity(stat));
  }

  async #send(path: string, stat: Stat | undefined, priority: Priority, ticket: Ticket): Promise<void> {
    const { index, course } = this.#options;
    const began = course();
    // None of them is looked at while this is under way (entries.ts).
    const others = new Set(index.linkedWith(path));
    let number: number | undefined;
    const trustsAppends = priority === "live" && !this.#toBeProven.delete(path);
    try {
      const held = index.get(path);
      const result = await transferFile(
        path,
        {
          ...this.#contextOf(priority, began),
          nextTransfer: () => number = this.#take(path),
          policy: this.#policyFor(held),
          trustsAppends,
          isShared: stat !== undefined && this.#options.linkedNames().isShared(path, stat),
          isStillHeld: () => isSameHeld(held, index.get(path)),
        },
        held?.kind === "file" ? held : undefined,
        held?.trusted ? index.getSignature(path) : undefined,
      );
      // It may have got further names meanwhile.
      for (const other of index.linkedWith(path)) others.add(other);
      if (began === course()) this.#note(path, result, { priority, ticket });
      for (const other of others) this.#options.markDirty(other, ticket);
    } catch (error) {
      if (began === course() || !(error instanceof TransientError)) this.#takeError(path, ticket, error);
    } finally {
      if (number !== undefined) this.#numbers.delete(number);
    }
  }

  /** A number that follows from the path: what is sent to several targets is the same, so that it is compressed once. */
  #take(path: string): number {
    let number = hash32(path);
    while (number === ALL_TRANSFERS || this.#numbers.has(number)) number = (number + 1) >>> 0;
    this.#numbers.add(number);
    return number;
  }

  /** A small file comes here to be compared, see `Entries`. */
  #policyFor(held: Held | undefined): TransferContext["policy"] {
    const { policy } = this.#options;
    const isSmall = held !== undefined && held.size < policy.fastMirrorSizeMin;
    return isSmall ? Object.create(policy, { fastMirrorSizeMin: { value: 0 } }) : policy;
  }

  #contextOf(
    priority: Priority,
    began: number,
  ): Omit<TransferContext, "isStillHeld" | "policy" | "nextTransfer"> {
    const { tree, room, push, sign, mayAsk, onRead, course } = this.#options;
    return {
      tree,
      sink: {
        room: async (bytes) => void await room(bytes, priority),
        push: (op) => {
          if (began !== course()) throw new TransientError("Cannot push: the stream was started anew");
          return push(op, priority);
        },
      },
      sign,
      mayAsk: () => mayAsk(priority),
      onRead,
    };
  }

  #note(
    path: string,
    result: TransferResult,
    { priority, ticket }: { priority: Priority; ticket: Ticket },
  ): void {
    const { index, secondLooks, lookBelow, solved, push, policy, isRacy } = this.#options;
    if (result.state === "gone") return this.#lookAgain(path, ticket);
    if (!index.isDirectory(parentPath(path))) return lookBelow(parentPath(path), ticket);
    const { stat, signature } = result;
    // All attributes: beside the time that made the contents doubtful, mode and owner may have changed.
    const sequence = result.state === "sent"
      ? result.sequence
      : push({ kind: "attributes", path, attributes: sendableAttributes(stat, policy.abilities) }, priority);
    const isInPlace = result.state === "unchanged" || result.inPlace;
    const linkGroup = isInPlace ? index.get(path)?.linkGroup : undefined;
    index.set(path, { ...heldFrom(stat, ""), linkGroup }, sequence);
    index.setSignature(path, signature, sequence);
    if (linkGroup !== undefined) this.#options.linkedNames().changedInPlace(path, sequence);
    if (isLinked(stat)) {
      if (!isInPlace) this.#options.linkedNames().noteMade(path, stat);
      this.#lookAtAllNames(stat, ticket);
    }
    // It may have left the set while it was on its way.
    if (standingOf(path, stat, this.#options) === "out") index.markLeftover(path, true);
    solved(path);
    if (policy.abilities.xattrs && !stat.xattrs) this.#options.problem(path, "xattrs", xattrsTooLarge());
    if (result.state === "sent" && result.restless) return secondLooks.addRestless(path);
    const isProven = result.state === "unchanged" || !result.appended;
    if (!isProven || isRacy(stat)) secondLooks.addUnproven(path, stat.size, ticket);
  }

  /** A file, and its other names on the target. */
  #lookAgain(path: string, ticket: Ticket): void {
    const { index, markDirty } = this.#options;
    markDirty(path, ticket);
    for (const other of index.linkedWith(path)) markDirty(other, ticket);
  }

  /** All names of a file that the target has: each is to be a further name of the one that leads (linked_names.ts). */
  #lookAtAllNames({ dev, ino }: Readonly<Stat>, ticket: Ticket): void {
    const { index, markDirty } = this.#options;
    const names = index.namesOf(dev, ino);
    if (names.length > 1) { for (const name of names) markDirty(name, ticket); }
  }

  #takeError(path: string, ticket: Ticket, error: unknown): void {
    const { problem, broken } = this.#options;
    const isWorthTrying = error instanceof TransientError ||
      ["ENOENT", "ENOTDIR", "ELOOP", "EISDIR"].includes(errorCode(error));
    if (isWorthTrying) this.#lookAgain(path, ticket);
    else if (errorCode(error)) problem(path, "read", error);
    else broken(error);
  }
}

/** Whether two entries are the same file with the same contents, whatever its mode and owner. */
function isSameHeld(a: Held | undefined, b: Held | undefined): boolean {
  return a?.kind === b?.kind && a?.size === b?.size && a?.mtimeNs === b?.mtimeNs && a?.ino === b?.ino &&
    a?.dev === b?.dev;
}

/** FNV-1a over UTF-16 units. */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
