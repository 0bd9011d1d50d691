/**
 * The open-file queue: a file that another program uses on the target is not touched, and what would touch it waits
 * (FEATURES F6). "In use" is what `Tree.useOf` says: the program has the file open or mapped, or holds a lock on it.
 *
 * There are two ways to wait. The target could keep the ops, with their data, and do them later; or it could refuse
 * them, and the source, which has the data anyway, sends again what is so *by then*. Ops of watching interceptors are
 * states, not steps: the second way merges a hundred changes of a file in use into the last one, needs no room on the
 * target's disk, and leaves nothing here that a crash could lose. So:
 *
 * ```
 * source                                   target
 *   ops … ───────────────────────────────▶ in use: refused with code `pending`, and all later ops that name it
 *   takes it back in its index   ◀──────── ack with failures
 *   await (up to sequence, paths) ───────▶ later ops know of it: refused no more because of what came before
 *                                          asks the file system about each file, every `limits.inUseRetryMs`
 *   sends what is so now         ◀──────── free (paths)
 * ```
 *
 * What must hold here:
 * - From the first op that waits until the source's word, every later op that names the same path, something below it,
 *   or that would move or remove something above it, waits too: order is kept over all successors of a file.
 * - A refused op has changed nothing. It counts as done with a failure, durably, so that the source cannot miss it.
 * - All of this may be forgotten: a source that comes back says again what it waits for. Refusals of an earlier run
 *   are known from the catalog's failures until the source has saved that it knows them.
 * - A patch that was announced is ended by recovery, whoever has the file open by then: half a patch is no file.
 *
 * Directories, links and nodes are never in use: nobody is disturbed when their attributes change. A directory with a
 * file in use below it is neither renamed nor removed, though; what else is in it comes and goes.
 *
 * A gating interceptor, whose ops are steps and whose order between files counts, needs the first way: rows of
 * `sequence, encoded op` in the catalog, in the transaction that records the group, done in order when the file is
 * free, and a replica that says it is not at a state of the source meanwhile. Its ops would be told by the stream.
 * @module
 */
import { ProtocolError, SystemError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { isWithin, joinPath, parentPath, quote } from "../base/path.ts";
import type { OpenFileStatus } from "../base/status.ts";
import { type Op, opPaths } from "../ops/op.ts";
import type { FileUse, Tree } from "../sys/file_system.ts";
import { type OpFailure, PENDING } from "../wire/message.ts";
import { attempt } from "./trouble.ts";

/** What becomes of a file in use: ops on it wait, or it is replaced as any other. */
export type OpenFileRule = "wait" | "replace";

/** An op that was refused. */
interface Refusal {
  sequence: number;
  /** The file in use that it waits for. */
  file: string;
}

/** Nothing changes it: waiting for it waits. */
const moment = new Int32Array(new SharedArrayBuffer(4));

const words: Record<FileUse, string> = {
  open: "is open in another program",
  locked: "is locked by another program",
};

/** What waits for files in use. */
export class OpenFiles {
  readonly #tree: Tree;
  readonly #isOff: boolean;
  readonly #nowMs: () => number;
  /** What was refused, by path, as far as the source may not know of it yet. */
  readonly #refused = new Map<string, Refusal>();
  /** Directories that hold something refused, with how many. */
  readonly #below = new Map<string, number>();
  /** What the source waits for, and the file that this waits for. */
  readonly #awaited = new Map<string, string>();
  /** Files that something waits for, each with how it is used. */
  readonly #files = new Map<string, OpenFileStatus>();

  constructor(tree: Tree, rule: OpenFileRule, nowMs: () => number = Date.now) {
    this.#tree = tree;
    this.#isOff = rule === "replace";
    this.#nowMs = nowMs;
  }

  /** Files in use that something waits for. */
  get count(): number {
    return this.#files.size;
  }

  /** Whether {@linkcode takeFree} has something to look at. */
  get hasAwaited(): boolean {
    return this.#awaited.size > 0;
  }

  /** Some of the files in use, for `status`. */
  list(): OpenFileStatus[] {
    return [...this.#files.values()].slice(0, limits.openFilesShown);
  }

  /** Takes up what an earlier run refused. */
  load(failures: readonly OpFailure[]): void {
    for (const { code, path, sequence } of failures) {
      if (code === PENDING) this.#remember(path, { sequence, file: path });
    }
  }

  /** Forgets all: a stream begins. */
  clear(): void {
    this.#refused.clear();
    this.#below.clear();
    this.#awaited.clear();
    this.#files.clear();
  }

  /**
   * Refuses an op that must wait, to be called before it touches anything.
   *
   * @throws {SystemError} `PENDING` if it must.
   */
  check(sequence: number, op: Op): void {
    if (this.#isOff) return;
    const isMoved = op.kind === "rename" || op.kind === "unlink" || op.kind === "rmdir";
    for (const path of opPaths(op)) {
      const before = this.#refused.size > 0 ? this.#refusalOf(path, isMoved) : undefined;
      if (before) this.#refuse(sequence, op, before, `it waits behind another change: ${this.#why(before)}`);
      const file = this.#fileInUse(path, op);
      if (file !== undefined) this.#refuse(sequence, op, file, this.#why(file));
    }
  }

  /**
   * The source knows of refusals up to `sequence`, and waits for `paths` among others.
   *
   * @throws {ProtocolError} If it waits for more than `limits.awaitedPathsMax`.
   */
  await(sequence: number, paths: readonly string[]): void {
    for (const path of paths) this.#awaited.set(path, this.#refused.get(path)?.file ?? path);
    if (this.#awaited.size > limits.awaitedPathsMax) {
      throw new ProtocolError(`Cannot wait for ${this.#awaited.size} paths: that is too many`);
    }
    for (const [path, refusal] of this.#refused) {
      if (refusal.sequence <= sequence) this.#forget(path);
    }
    for (const file of this.#awaited.values()) this.#note(file, this.#useOfAwaited(file));
    this.#sweep();
  }

  /** Looks at the files that the source waits for. @returns Paths that need not wait any more, in no order. */
  takeFree(): string[] {
    // Others may have moved directories since.
    this.#tree.forgetDirectories();
    const uses = new Map<string, FileUse | undefined>();
    const free: string[] = [];
    for (const [path, file] of this.#awaited) {
      if (!uses.has(file)) uses.set(file, this.#useOfAwaited(file));
      const use = uses.get(file);
      if (use) this.#note(file, use);
      else free.push(path);
    }
    for (const path of free) this.#awaited.delete(path);
    if (free.length > 0) this.#sweep();
    return free;
  }

  /** The file in use that keeps an op from `path`, if any does. */
  #fileInUse(path: string, op: Op): string | undefined {
    // Of directories only what is in them can be in use, and one that is removed is empty.
    if (op.kind === "mkdir" || op.kind === "rmdir") return undefined;
    const use = this.#lastingUse(path);
    if (use) {
      this.#note(path, use);
      return path;
    }
    const isMoved = op.kind === "rename" && (path === op.path || op.exchange);
    return isMoved ? this.#fileInUseBelow(path) : undefined;
  }

  /** How a file is used, not only for a moment: most readers are done with it sooner than it could be told of. */
  #lastingUse(path: string): FileUse | undefined {
    let use = this.#tree.useOf(path);
    for (let look = 1; use === "open" && look < limits.inUseLooks; look++) {
      Atomics.wait(moment, 0, 0, limits.inUseLookMs);
      use = this.#tree.useOf(path);
    }
    return use;
  }

  #fileInUseBelow(top: string): string | undefined {
    const directories = [top];
    let seen = 0;
    let found: string | undefined;
    for (let path = directories.pop(); path !== undefined && !found; path = directories.pop()) {
      const directory = path;
      // No directory, or one that is closed to us or gone meanwhile: what that means the op itself will say.
      attempt(() => {
        for (const { name, kind } of this.#tree.list(directory)) {
          const below = joinPath(directory, name);
          if (kind === "directory") directories.push(below);
          // Beyond the bound a directory is taken to be free: a rename must not take minutes.
          if (found || seen++ >= limits.openFilesLookedAtMax) return;
          const use = this.#tree.useOf(below);
          if (!use) continue;
          this.#note(below, use);
          found = below;
        }
      });
    }
    return found;
  }

  /** What cannot be asked any more is not waited for: the source's next op will meet it. */
  #useOfAwaited(file: string): FileUse | undefined {
    let use: FileUse | undefined;
    attempt(() => use = this.#tree.useOf(file));
    return use;
  }

  /** The file that something refused before waits for, which an op on `path` must not overtake. */
  #refusalOf(path: string, isMoved: boolean): string | undefined {
    for (let at = path;; at = parentPath(at)) {
      const refusal = this.#refused.get(at);
      if (refusal) return refusal.file;
      if (at === "") break;
    }
    if (!isMoved || !this.#below.has(path)) return undefined;
    for (const [below, { file }] of this.#refused) if (isWithin(below, path)) return file;
    return undefined;
  }

  #refuse(sequence: number, op: Op, file: string, why: string): never {
    for (const path of opPaths(op)) this.#remember(path, { sequence, file });
    throw new SystemError(PENDING, why);
  }

  #why(file: string): string {
    return `${quote(file)} ${words[this.#files.get(file)?.use ?? "open"]}`;
  }

  #remember(path: string, refusal: Refusal): void {
    if (!this.#refused.has(path)) this.#countAbove(path, 1);
    this.#refused.set(path, refusal);
  }

  #forget(path: string): void {
    this.#refused.delete(path);
    this.#countAbove(path, -1);
  }

  #countAbove(path: string, by: number): void {
    for (let above = path; above !== "";) {
      above = parentPath(above);
      const count = (this.#below.get(above) ?? 0) + by;
      if (count === 0) this.#below.delete(above);
      else this.#below.set(above, count);
    }
  }

  #note(file: string, use: FileUse | undefined): void {
    if (!use) return;
    const since = this.#files.get(file)?.since ?? new Date(this.#nowMs()).toISOString();
    this.#files.set(file, { path: file, use, since });
  }

  /** Forgets files that nothing waits for. */
  #sweep(): void {
    const wanted = new Set(this.#awaited.values());
    for (const { file } of this.#refused.values()) wanted.add(file);
    for (const file of this.#files.keys()) if (!wanted.has(file)) this.#files.delete(file);
  }
}
