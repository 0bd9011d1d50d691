/**
 * The stream of ops to one target: how it begins, goes on in the next session, or starts over. A session begins by one
 * of three *courses* (`course.ts` chooses):
 *
 * - *resume*: the target follows our stream: what it has not made durable is sent again;
 * - *continue*: a new process, whose saved index belongs to the target's stream: the paths that the target touched
 *   since then are compared, and a scan finds what changed here meanwhile;
 * - *start over*: a new stream: the index is filled from the target's listing, and a scan of everything makes it equal.
 *   This is the mirror.
 * @module
 */
import { TransientError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { parentPath } from "../base/path.ts";
import { ALL_TRANSFERS } from "../ops/op.ts";
import type { FileSystemAbilities } from "../sys/file_system.ts";
import { placeOf } from "../sys/place.ts";
import type { Hello, TouchedPath, Welcome } from "../wire/message.ts";
import type { Session } from "../wire/session.ts";
import type { Agenda } from "./agenda.ts";
import { checkApart, chooseCourse } from "./course.ts";
import type { Detector } from "./detect.ts";
import { limits } from "../base/limits.ts";
import { believe, type Doubts, withParents } from "./doubts.ts";
import type { Index } from "./index.ts";
import type { IndexKeeper } from "./index_keeper.ts";
import type { Lane } from "./lane.ts";
import { ListingTaker } from "./listing_taker.ts";
import type { PendingPaths } from "./pending.ts";
import type { Problems } from "./problems.ts";
import type { Requests } from "./requests.ts";
import type { SecondLooks } from "./second_looks.ts";
import type { Tickets } from "./tickets.ts";

/** The parts of a replicator that a stream sets going. */
export interface StreamParts {
  index: Index;
  keeper?: IndexKeeper;
  lane: Lane;
  agenda: Agenda;
  detector: Detector;
  doubts: Doubts;
  requests: Requests;
  secondLooks: SecondLooks;
  problems: Problems;
  pending: PendingPaths;
  tickets: Tickets;
  log: Log;
  /** Absolute path of the source's root. */
  rootPath: string;
  /** The target lies inside the source, which does not replicate it. */
  keepsTargetOut: boolean;
  /** Paths that are replicated, with everything below. */
  roots: string[];
  /** Nothing is sent: the stream that the target follows is left alone. */
  isDry: boolean;
  /** Told of what is wrong with ourselves. */
  broken: (error: unknown) => void;
  /** The index was filled from the target's listing. */
  onChange: () => void;
}

/** The stream to one target. */
export class Stream {
  readonly #parts: StreamParts;
  #id = "";
  #replicaId = "";
  #count = 0;
  #isReady = false;
  /** Whether the index was loaded as an earlier process saved it, and no stream began or went on since then. */
  #isLoaded = false;
  #isMirrored = false;
  /** Last op of the first mirror, once everything was looked at. */
  #mirrorEnd: number | undefined;
  #comparesAll = false;
  #abilities: FileSystemAbilities = unknownAbilities;

  constructor(parts: StreamParts) {
    this.#parts = parts;
  }

  /** Counts starts of a stream: work that began under an older one must not push. */
  get count(): number {
    return this.#count;
  }

  /** Whether the index describes the target, so that detection may use it. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Whether everything was looked at once and all of it is acked. */
  get isMirrored(): boolean {
    return this.#isMirrored;
  }

  /** What the target can hold. */
  get abilities(): FileSystemAbilities {
    return this.#abilities;
  }

  /** What is told of it at the beginning of a session. */
  get hello(): Omit<Hello, "agent"> {
    return { streamId: this.#id, replicaId: this.#replicaId, indexedSequence: this.#savedSequence };
  }

  get #savedSequence(): number {
    return this.#parts.keeper?.savedSequence ?? 0;
  }

  /** Takes up the stream that an earlier process saved, if there is one. */
  load(): void {
    const saved = this.#parts.keeper?.load(this.#parts.index);
    if (!saved) return;
    [this.#id, this.#replicaId] = [saved.streamId, saved.replicaId];
    this.#isLoaded = true;
  }

  /** Goes on in a new session, or starts over. @throws {RefusedError} If replica and source overlap. */
  begin(session: Session, welcome: Welcome, touched: TouchedPath[]): void {
    const { keepsTargetOut, lane, rootPath } = this.#parts;
    checkApart({ path: rootPath, place: placeOf(rootPath), keepsOut: keepsTargetOut }, welcome.place);
    this.#abilities = welcome.abilities;
    const own = {
      streamId: this.#id,
      replicaId: this.#replicaId,
      isReady: this.#isReady,
      isLoaded: this.#isLoaded,
      savedSequence: this.#savedSequence,
      ackedSequence: lane.ackedSequence,
      lastSequence: lane.lastSequence,
    };
    switch (chooseCourse(own, welcome)) {
      case "resume":
        return this.#resume(session, welcome);
      case "continue":
        return this.#continue(session, welcome, touched);
      case "start over":
        return this.#startOver(session, welcome);
    }
  }

  /**
   * Looks whether the first mirror is over, which it is when what it sent is acked: a tree that never rests has always
   * something on its way.
   *
   * @returns Whether it came to its end just now.
   */
  lookMirrored(): boolean {
    const { agenda, lane } = this.#parts;
    if (this.#isMirrored) return false;
    if (agenda.isMirrorDone) this.#mirrorEnd ??= lane.lastSequence;
    if (this.#mirrorEnd === undefined || lane.ackedSequence < this.#mirrorEnd) return false;
    this.#isMirrored = true;
    this.tellCompared();
    return true;
  }

  /** After an unclean stop of the target: tells it when everything that it may have half done has been looked at. */
  tellCompared(): void {
    if (!this.#comparesAll || !this.#isMirrored || !this.#parts.doubts.areResolved) return;
    this.#comparesAll = false;
    this.#parts.lane.post({ type: "compared" });
  }

  #resume(session: Session, welcome: Welcome): void {
    const { doubts, lane } = this.#parts;
    if (welcome.compareAll) {
      // The target stopped uncleanly: ops that it may have half done are done again, and then their paths compared.
      doubts.add(withParents(lane.unackedPaths()));
      this.#comparesAll = true;
    }
    lane.attach(session, welcome.durableSequence);
  }

  #continue(session: Session, welcome: Welcome, touched: TouchedPath[]): void {
    const { agenda, doubts, lane } = this.#parts;
    this.#count++;
    this.#isLoaded = false;
    doubts.clear();
    doubts.add(touched);
    lane.restart(welcome.durableSequence, this.#id);
    // What an earlier run left in the journal is not in the index: the target is asked when it has it.
    if (lane.unackedOps > 0) doubts.add(doubtful(lane.unackedPaths()));
    lane.attach(session, welcome.durableSequence);
    this.#isReady = true;
    // Transfers that our predecessor left open: nobody will end them.
    lane.push({ kind: "abandon", transfer: ALL_TRANSFERS }, "live");
    agenda.lookAtEverything();
  }

  #startOver(session: Session, welcome: Welcome): void {
    const { agenda, doubts, index, isDry, keeper, lane, pending, problems, secondLooks, tickets } =
      this.#parts;
    const count = ++this.#count;
    this.#isLoaded = false;
    this.#isReady = false;
    doubts.clear();
    secondLooks.clear();
    this.#id = crypto.randomUUID();
    this.#replicaId = welcome.replicaId;
    lane.restart(0, this.#id);
    index.clear();
    keeper?.begin(this.#id, this.#replicaId);
    agenda.startOver();
    problems.clearAll();
    pending.clear();
    this.#isMirrored = false;
    this.#mirrorEnd = undefined;
    // A dry run compares nothing for good.
    this.#comparesAll = welcome.compareAll && !isDry;
    if (!isDry) lane.post({ type: "begin", streamId: this.#id });
    lane.attach(session, 0);
    // Whoever waits for what was dirty before waits for the scan that now covers it.
    const hold = tickets.hold(0);
    this.#fillIndex(count).catch((error) => this.#takeListingError(error)).finally(() =>
      hold[Symbol.dispose]()
    );
  }

  /** Takes the target's listing as what it holds; then the scan finds every difference. */
  async #fillIndex(count: number): Promise<void> {
    const { agenda, detector, index, log, onChange, requests, roots } = this.#parts;
    const isCurrent = () => count === this.#count;
    for (const root of roots) {
      await this.#listParents(root, isCurrent);
      const listing = new ListingTaker(index, detector);
      const problem = await requests.list(root, true, (entries) => {
        if (isCurrent()) listing.take(entries);
      });
      if (isCurrent()) listing.end();
      if (problem) log.warn(`Cannot read all of the replica: ${problem}`);
    }
    if (!isCurrent()) return;
    this.#isReady = true;
    agenda.goOnToEverything();
    onChange();
  }

  /** Entries above a root that is not the whole tree. */
  async #listParents(path: string, isCurrent: () => boolean): Promise<void> {
    if (path === "") return;
    const { index, requests } = this.#parts;
    const parent = parentPath(path);
    await this.#listParents(parent, isCurrent);
    await requests.list(parent, false, (entries) => {
      if (isCurrent()) { for (const entry of entries) believe(index, entry, { trusted: true }); }
    });
  }

  /** A listing that broke off with its session is asked for again in the next one. */
  #takeListingError(error: unknown): void {
    if (!(error instanceof TransientError)) this.#parts.broken(error);
  }
}

/** Paths to be asked about; beyond a bound everything. */
function doubtful(paths: string[]): TouchedPath[] {
  return paths.length <= limits.dirtyPathsMax ? withParents(paths) : [{ path: "", recursive: true }];
}

/** Before the target has said what it can. */
const unknownAbilities: FileSystemAbilities = {
  rawNames: true,
  nanoseconds: true,
  ownership: true,
  modes: true,
  links: false,
  nodes: false,
  xattrs: false,
  exchange: false,
  confined: false,
  syncAll: false,
};
