/**
 * Directories to be looked at with everything below, one directory a step, so that other work gets its turns.
 * @module
 */
import { isWithin, parentPath } from "../base/path.ts";
import { limits } from "../base/limits.ts";
import type { Wanted } from "./batch.ts";
import type { Priority } from "./lane.ts";
import type { Ticket, Tickets } from "./tickets.ts";

/** What a scan does with a directory; see `Detector`. */
export interface ScanVisitor {
  /** All that seemed absent, before it is given to `look` in parts. */
  foreseeAbsent?(paths: string[]): void;
  look(wanted: Wanted[], priority: Priority): Promise<void>;
  lookInside(
    directory: string,
    priority: Priority,
    ticket: Ticket,
    absent: (path: string) => void,
  ): Promise<string[]>;
  /** Whether a directory that seemed absent is there after all. */
  isStanding(path: string): boolean;
}

/** One scan. */
interface Scan {
  path: string;
  /** The oldest of those that it was asked for with. */
  ticket: Ticket;
  holds: Disposable[];
  /** Directories still to be looked at; the next is the last. */
  pending: string[];
  absent: string[];
  /** Whether the visitor was told of all that seemed absent. */
  isForeseen: boolean;
  /** Directories looked at. */
  done: number;
  onDone: (() => void)[];
}

/** How a scan is asked for. */
export interface ScanRequest {
  /** Ticket of the work that it arose from. @default a new one */
  ticket?: Ticket;
  /** Called when everything was looked at. */
  onDone?: () => void;
}

/** Scans of one priority, one after the other. */
export class Scans {
  readonly #visitor: ScanVisitor;
  readonly #tickets: Tickets;
  readonly #priority: Priority;
  /** Not yet begun, by path. */
  readonly #waiting = new Map<string, Scan>();
  #current: Scan | undefined;
  /** Who waits for scans that were cleared. */
  readonly #orphans: (() => void)[] = [];
  #directoriesDone = 0;

  constructor(visitor: ScanVisitor, { tickets, priority }: { tickets: Tickets; priority: Priority }) {
    this.#visitor = visitor;
    this.#tickets = tickets;
    this.#priority = priority;
  }

  get isIdle(): boolean {
    return this.#current === undefined && this.#waiting.size === 0;
  }

  /** The oldest ticket of a scan that waits or goes on, `Infinity` if there is none. */
  get oldestTicket(): Ticket {
    let oldest = this.#current?.ticket ?? Infinity;
    for (const { ticket } of this.#waiting.values()) oldest = Math.min(oldest, ticket);
    return oldest;
  }

  /** Directories looked at since the start. */
  get directoriesDone(): number {
    return this.#directoriesDone;
  }

  /** Asks for a scan. One that waits for the same directory, or for one above, covers it. */
  add(path: string, { ticket = this.#tickets.take(), onDone }: ScanRequest = {}): void {
    let scan = this.#covering(path);
    if (!scan) {
      scan = {
        path,
        ticket,
        holds: [],
        pending: [path],
        absent: [],
        isForeseen: false,
        done: 0,
        onDone: this.#orphans.splice(0),
      };
      this.#waiting.set(path, scan);
    }
    scan.ticket = Math.min(scan.ticket, ticket);
    scan.holds.push(this.#tickets.hold(ticket));
    if (onDone) scan.onDone.push(onDone);
  }

  /** Takes one step: looks at one directory, or at a part of what seemed absent. */
  async step(): Promise<void> {
    this.#current ??= this.#begin();
    const scan = this.#current;
    if (!scan) return;
    const directory = scan.pending.at(-1);
    if (directory !== undefined) {
      if (scan.done === 0 && directory !== "") {
        await this.#visitor.look([{ path: directory, ticket: scan.ticket }], this.#priority);
      }
      const absent = (path: string) => void scan.absent.push(path);
      const below = await this.#visitor.lookInside(directory, this.#priority, scan.ticket, absent);
      // Only now: a step that fails is taken again.
      scan.pending.pop();
      for (const path of below.reverse()) scan.pending.push(path);
      scan.done++;
      this.#directoriesDone++;
      if (scan.absent.length < limits.dirtyPathsMax) return;
    }
    if (scan.absent.length > 0) {
      if (!scan.isForeseen) this.#visitor.foreseeAbsent?.(scan.absent);
      scan.isForeseen = true;
      const absent = scan.absent.splice(0, limits.detectBatchPaths);
      const wanted = absent.map((path) => ({ path, ticket: scan.ticket }));
      await this.#visitor.look(wanted, this.#priority);
      for (const path of absent) if (this.#visitor.isStanding(path)) scan.pending.push(path);
      return;
    }
    // It was cleared meanwhile.
    if (this.#current !== scan) return;
    this.#current = undefined;
    release(scan);
    for (const tell of scan.onDone) tell();
  }

  /** Forgets all scans, because the whole tree is about to be looked at. Who waits for them waits for the next one. */
  clear(): void {
    const scans = [...this.#waiting.values(), ...(this.#current ? [this.#current] : [])];
    this.#waiting.clear();
    this.#current = undefined;
    for (const scan of scans) {
      release(scan);
      this.#orphans.push(...scan.onDone);
    }
  }

  #begin(): Scan | undefined {
    for (const scan of this.#waiting.values()) {
      this.#waiting.delete(scan.path);
      // What waits below is covered by this one.
      if (scan.path === "") this.#absorb(scan);
      return scan;
    }
  }

  #absorb(scan: Scan): void {
    for (const other of this.#waiting.values()) {
      scan.onDone.push(...other.onDone);
      scan.holds.push(...other.holds);
      scan.ticket = Math.min(scan.ticket, other.ticket);
    }
    this.#waiting.clear();
  }

  #covering(path: string): Scan | undefined {
    for (let above = path;; above = parentPath(above)) {
      const scan = this.#waiting.get(above);
      if (scan && isWithin(path, above)) return scan;
      if (above === "") return undefined;
    }
  }
}

function release({ holds }: Scan): void {
  for (const hold of holds) hold[Symbol.dispose]();
}
