/**
 * Makes a replica the one that users work in: it is fenced, and what is known of changes that it has not received is
 * told. The replica is at rest meanwhile, and recovered.
 * @module
 */
import { assert } from "../base/errors.ts";
import type { PromotionResult } from "../base/status.ts";
import { Catalog } from "../store/catalog.ts";
import { endPromotion, loadPromotion, markPromoted } from "../store/promotion.ts";
import type { ReplicaPlaces } from "./places.ts";
import { CATALOG_NAME } from "./replica.ts";
import type { OwnerChoice } from "./replica_owners.ts";

/** Fences a replica: no source is let in from now on. Once more changes nothing. */
export function fence({ stateDirectory }: ReplicaPlaces, nowMs: number): void {
  if (loadPromotion(stateDirectory)) return;
  markPromoted(stateDirectory, { promotedAt: new Date(nowMs).toISOString() });
}

/** Where a promoted replica stands: what a source that comes back must know. */
export interface PromotionStand {
  /** ISO 8601; `""` if the replica is not promoted, and then nothing else is said. */
  promotedAt: string;
  replicaId: string;
  /** Stream that it followed, and the last op of it that is durable. */
  streamId: string;
  durableSequence: number;
}

/** Where a replica stands. No source has it open. */
export function standOf({ stateDirectory }: ReplicaPlaces): PromotionStand {
  const promotion = loadPromotion(stateDirectory);
  if (!promotion) return { promotedAt: "", replicaId: "", streamId: "", durableSequence: 0 };
  using catalog = openCatalog(stateDirectory);
  const { replicaId, streamId, durableSequence } = catalog.meta;
  return { promotedAt: promotion.promotedAt, replicaId, streamId, durableSequence };
}

/** What is to be told of a replica that is fenced and at rest. */
export function promotionOf({ replicaRoot, stateDirectory }: ReplicaPlaces): PromotionResult {
  const promotion = loadPromotion(stateDirectory);
  assert(promotion !== undefined, "the replica is fenced");
  using catalog = openCatalog(stateDirectory);
  const { durableSequence, receivedAt } = catalog.meta;
  const { promotedAt } = promotion;
  const { waiting = null, connectedUntil } = catalog.notes();
  return {
    directory: replicaRoot,
    promotedAt,
    lastReceivedAt: receivedAt,
    connectedUntil: connectedUntil > receivedAt ? connectedUntil : receivedAt,
    waiting,
    lastSequence: durableSequence,
    unfinished: catalog.transfers().map(({ path }) => path),
    failed: catalog.failures(0).map(({ path, op, reason }) => ({ path, op, reason })),
  };
}

/** Under which numbers the files of a replica lie: of a promoted one they may have been given to others. */
export function ownersOf({ stateDirectory }: ReplicaPlaces, choice: OwnerChoice): OwnerChoice {
  return loadPromotion(stateDirectory)?.owners?.map ?? choice;
}

/**
 * Lets a source in again, which then begins a new stream and compares everything: what was changed here meanwhile is
 * known to nobody.
 *
 * @returns Whether the replica was promoted.
 */
export function demote({ stateDirectory }: ReplicaPlaces): boolean {
  const wasPromoted = loadPromotion(stateDirectory) !== undefined;
  if (!wasPromoted) return false;
  // Before the fence falls. A source that still runs must not resume either: it would compare what is on its way only.
  using catalog = openCatalog(stateDirectory);
  catalog.begin(crypto.randomUUID());
  endPromotion(stateDirectory);
  return true;
}

function openCatalog(stateDirectory: string): Catalog & Disposable {
  const catalog = Catalog.open(`${stateDirectory}/${CATALOG_NAME}`);
  return Object.assign(catalog, { [Symbol.dispose]: () => catalog.close() });
}
