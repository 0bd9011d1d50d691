/**
 * Lets a lane send when its flow rules say so (flow_rules.ts), apart from whether a user holds it.
 *
 * The gate opens for everything that waits at that moment, and closes when that is sent and no large file is half sent.
 * It stays open for the first mirror and while anybody is in a {@linkcode FlowGate.hurry}: a flush, a `verify`, whoever
 * waits for room in the window. But outside of the hours of the rules it never opens.
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { limits } from "../base/limits.ts";
import {
  atOnce,
  type FlowRules,
  formatFlowRules,
  formatWaiting,
  gathers,
  isEnough,
  isInWindow,
} from "./flow_rules.ts";
import type { Lane } from "./lane.ts";

/** What a gate needs. */
export interface FlowGateOptions {
  lane: Pick<
    Lane,
    "queuedOps" | "queuedBytes" | "oldestUnackedMs" | "lastSequence" | "isGathering"
  >;
  clock: Clock;
  /** Whether the first mirror is done. */
  isMirrored: () => boolean;
  /** Whether large files are on their way. */
  isTransferring: () => boolean;
  /** Minutes since midnight, local time. @default that of the machine */
  minuteOfDay?: () => number;
}

/** The gate of one lane. */
export class FlowGate implements Disposable {
  readonly #options: FlowGateOptions;
  #rules = atOnce;
  #hurries = 0;
  /** Bytes of files about which the target is asked before they are sent: the question waits with the ops before it. */
  #askedBytes = 0;
  /** Whether enough had gathered: then everything up to here is to go. */
  #isFlowing = false;
  #flowsUpTo = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: FlowGateOptions) {
    this.#options = options;
  }

  get rules(): FlowRules {
    return this.#rules;
  }

  set rules(rules: FlowRules) {
    this.#rules = rules;
    this.look();
  }

  /** Why what waits is not sent, `""` if that is not so. */
  get reason(): string {
    const { isGathering, queuedOps } = this.#options.lane;
    if (!isGathering || queuedOps === 0) return "";
    return this.outOfHours ||
      `gathers until ${formatFlowRules(this.#rules)}: ${formatWaiting(this.#waiting())}`;
  }

  /** Why what waits is not sent whoever asks for it, `""` if that is not so. */
  get outOfHours(): string {
    const isStuck = this.#options.lane.queuedOps > 0 && !this.#isOpenHour;
    return isStuck ? `outside of the hours of ${formatFlowRules(this.#rules)}` : "";
  }

  /** Until the result is disposed somebody waits for what waits. */
  hurry(): Disposable {
    this.#hurries++;
    this.look();
    return {
      [Symbol.dispose]: () => {
        this.#hurries--;
        this.look();
      },
    };
  }

  /** Until the result is disposed the target is asked about so many bytes of a file: they wait, too. */
  ask(bytes: number): Disposable {
    this.#askedBytes += bytes;
    this.look();
    return {
      [Symbol.dispose]: () => {
        this.#askedBytes -= bytes;
      },
    };
  }

  /** Something was pushed, sent or acked, or time passed. */
  look(): void {
    const { lane } = this.#options;
    const isOpen = this.#isOpen();
    if (isOpen === lane.isGathering) lane.isGathering = !isOpen;
    this.#lookLater();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  get #isOpenHour(): boolean {
    const { minuteOfDay = minuteOfNow } = this.#options;
    return this.#rules.windows.length === 0 || isInWindow(this.#rules, minuteOfDay());
  }

  #isOpen(): boolean {
    const { lane, isMirrored, isTransferring } = this.#options;
    if (!this.#isOpenHour) return false;
    if (!gathers(this.#rules) || this.#hurries > 0 || !isMirrored()) return true;
    const { queuedOps, lastSequence } = lane;
    const hasGathered = queuedOps > 0 && isEnough(this.#rules, this.#waiting());
    if (hasGathered || (this.#isFlowing && isTransferring())) {
      this.#isFlowing = true;
      this.#flowsUpTo = lastSequence;
    } else if (lastSequence - queuedOps >= this.#flowsUpTo) this.#isFlowing = false;
    return this.#isFlowing;
  }

  #waiting() {
    const { lane, clock } = this.#options;
    const { queuedOps: ops, queuedBytes, oldestUnackedMs } = lane;
    const bytes = queuedBytes + this.#askedBytes;
    return { ops, bytes, ageMs: oldestUnackedMs === undefined ? 0 : clock.nowMs() - oldestUnackedMs };
  }

  /** While something waits, time may open the gate; hours may close it at any time. */
  #lookLater(): void {
    const isWaiting = this.#options.lane.isGathering && this.#options.lane.queuedOps > 0;
    if (this.#timer !== undefined || (!isWaiting && this.#rules.windows.length === 0)) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.look();
    }, limits.flowLookMs);
  }
}

function minuteOfNow(): number {
  const now = new Date();
  return now.getHours() * 60 + now.getMinutes();
}
