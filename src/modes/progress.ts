/**
 * Progress of a mirror or restore: a bar on a terminal, a line now and then elsewhere.
 *
 * ```
 * mirror [#########.............]  41%  2,050/5,000 files  512 MiB/1.2 GiB  98.3 MiB/s  7s left
 * mirror: 2,050 of 5,000 files, 512 MiB of 1.2 GiB, 98.3 MiB/s, 7s left
 * ```
 * @module
 */
import { RateMeter } from "../base/stats.ts";
import { formatDuration, formatRate, formatSize } from "../base/units.ts";
import type { Io } from "./mode.ts";

/** How far a run has come. */
export interface ProgressNumbers {
  /** Files done. */
  files: number;
  /** Files in all, as far as known; grows while a scan goes on. */
  filesTotal: number;
  bytesDone: number;
  bytesTotal: number;
}

/** Shows progress. */
export interface Progress {
  /** Takes the numbers of now. Cheap: may be called for each file. */
  update(numbers: ProgressNumbers): void;
  /** Ends the display and prints one last line with the totals. Further calls do nothing. */
  done(): void;
}

/** What {@linkcode progress} needs. */
export interface ProgressOptions {
  io: Pick<Io, "stdout" | "stdoutIsTerminal" | "columns" | "clock">;
  /** First word of each line. */
  what: string;
}

/** A bar is drawn at most so often, a line printed at most so often. */
const BAR_EVERY_MS = 100;
const LINE_EVERY_MS = 5_000;

const BAR_SIZE_MAX = 30;
const BAR_SIZE_MIN = 8;

/** Starts a display. Nothing is printed before the first update. */
export function progress(options: ProgressOptions): Progress {
  return new ProgressDisplay(options);
}

/** A display that shows nothing, for `--json`. */
export const noProgress: Progress = { update() {}, done() {} };

class ProgressDisplay implements Progress {
  readonly #io: ProgressOptions["io"];
  readonly #what: string;
  readonly #rate = new RateMeter();
  readonly #startedMs: number;
  #shownMs: number;
  #numbers: ProgressNumbers = { files: 0, filesTotal: 0, bytesDone: 0, bytesTotal: 0 };
  #barIsShown = false;
  #isDone = false;

  constructor(options: ProgressOptions) {
    this.#io = options.io;
    this.#what = options.what;
    this.#startedMs = options.io.clock.monotonicMs();
    // A bar appears at once, a line only when there was time for one.
    this.#shownMs = this.#io.stdoutIsTerminal ? -Infinity : this.#startedMs;
    this.#rate.sample(this.#startedMs, 0);
  }

  update(numbers: ProgressNumbers): void {
    if (this.#isDone) return;
    // The caller may go on using its object.
    this.#numbers = { ...numbers };
    const nowMs = this.#io.clock.monotonicMs();
    const everyMs = this.#io.stdoutIsTerminal ? BAR_EVERY_MS : LINE_EVERY_MS;
    if (nowMs - this.#shownMs < everyMs) return;
    this.#shownMs = nowMs;
    this.#rate.sample(nowMs, numbers.bytesDone);
    if (this.#io.stdoutIsTerminal) this.#drawBar();
    else this.#io.stdout(this.#line());
  }

  done(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    // Carriage return, then "erase to the end of the line".
    if (this.#barIsShown) this.#io.stdout("\r\x1b[K");
    this.#io.stdout(this.#lastLine());
  }

  #drawBar(): void {
    const { files, filesTotal, bytesDone, bytesTotal } = this.#numbers;
    const share = this.#share();
    const left = `${this.#what} `;
    const right = [
      ` ${String(Math.floor(share * 100)).padStart(3)}%`,
      `${thousands(files)}/${thousands(filesTotal)} files`,
      `${formatSize(bytesDone)}/${formatSize(bytesTotal)}`,
      ...this.#rateAndRest(),
    ].join("  ");
    // One column stays free: a terminal wraps when its last one is written.
    const width = Math.max(1, this.#io.columns - 1);
    const room = width - left.length - right.length - 2;
    const bar = room < BAR_SIZE_MIN ? "" : `[${drawShare(share, Math.min(room, BAR_SIZE_MAX))}]`;
    this.#io.stdout(`\r${(left + bar + right).slice(0, width)}\x1b[K`);
    this.#barIsShown = true;
  }

  #line(): string {
    const { files, filesTotal, bytesDone, bytesTotal } = this.#numbers;
    const parts = [
      `${thousands(files)} of ${thousands(filesTotal)} files`,
      `${formatSize(bytesDone)} of ${formatSize(bytesTotal)}`,
      ...this.#rateAndRest(),
    ];
    return `${this.#what}: ${parts.join(", ")}\n`;
  }

  #lastLine(): string {
    const { files, bytesDone } = this.#numbers;
    const tookMs = this.#io.clock.monotonicMs() - this.#startedMs;
    const rate = tookMs > 0 ? ` (${formatRate(bytesDone * 1_000 / tookMs)})` : "";
    return `${this.#what}: ${thousands(files)} files, ${formatSize(bytesDone)} in ${
      formatDuration(tookMs)
    }${rate}\n`;
  }

  /** Share that is done, 0 to 1: of the bytes, or of the files where there are no bytes. */
  #share(): number {
    const { files, filesTotal, bytesDone, bytesTotal } = this.#numbers;
    const [part, whole] = bytesTotal > 0 ? [bytesDone, bytesTotal] : [files, filesTotal];
    return whole > 0 ? Math.min(1, part / whole) : 0;
  }

  #rateAndRest(): string[] {
    const perSecond = this.#rate.perSecond;
    if (perSecond === undefined) return [];
    const bytesLeft = Math.max(0, this.#numbers.bytesTotal - this.#numbers.bytesDone);
    const rest = perSecond > 0 && bytesLeft > 0
      ? [`${formatDuration(bytesLeft * 1_000 / perSecond)} left`]
      : [];
    return [formatRate(perSecond), ...rest];
  }
}

function drawShare(share: number, size: number): string {
  const filled = Math.floor(share * size);
  return "#".repeat(filled) + ".".repeat(size - filled);
}

function thousands(number: number): string {
  // By hand: the first use of a locale takes as long as a small mirror.
  return String(number).replace(/\B(?=(?:\d{3})+$)/g, ",");
}
