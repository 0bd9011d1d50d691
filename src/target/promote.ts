/**
 * Makes a replica the one that users work in: it is fenced, and what is known of changes that it has not received is
 * told. The replica is at rest meanwhile, and recovered.
 * @module
 */
import { statSync } from "node:fs";
import { assert } from "../base/errors.ts";
import type { PromotionResult } from "../base/status.ts";
import { Catalog } from "../store/catalog.ts";
import { endPromotion, loadPromotion, markPromoted } from "../store/promotion.ts";
import type { ReplicaPlaces } from "./places.ts";
import { CATALOG_NAME } from "./replica.ts";
import type { OwnerChoice } from "./replica_owners.ts";

/**
 * Fences a replica: no source is let in from now on. Once more changes nothing.
 *
 * Comes before the replica is brought to rest, which touches its catalog: when that was last written says when the last
 * change came.
 */
export function fence({ stateDirectory }: ReplicaPlaces, nowMs: number): void {
  if (loadPromotion(stateDirectory)) return;
  const catalogPath = `${stateDirectory}/${CATALOG_NAME}`;
  const receivedMs = Math.max(modifiedMs(catalogPath), modifiedMs(`${catalogPath}-wal`));
  const [promotedAt, lastReceivedAt] = [nowMs, receivedMs].map((ms) => new Date(ms).toISOString());
  markPromoted(stateDirectory, { promotedAt, lastReceivedAt });
}

/** What is to be told of a replica that is fenced and at rest. */
export function promotionOf({ replicaRoot, stateDirectory }: ReplicaPlaces): PromotionResult {
  const promotion = loadPromotion(stateDirectory);
  assert(promotion !== undefined, "the replica is fenced");
  using catalog = openCatalog(stateDirectory);
  const { durableSequence, streamId } = catalog.meta;
  const { promotedAt, lastReceivedAt } = promotion;
  return {
    directory: replicaRoot,
    promotedAt,
    lastReceivedAt: streamId === "" ? "" : lastReceivedAt,
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
 * Lets a source in again, which then compares everything: what was changed here meanwhile is known to nobody.
 *
 * @returns Whether the replica was promoted.
 */
export function demote({ stateDirectory }: ReplicaPlaces): boolean {
  const wasPromoted = loadPromotion(stateDirectory) !== undefined;
  if (!wasPromoted) return false;
  // Before the fence falls.
  using catalog = openCatalog(stateDirectory);
  catalog.setMeta({ compareAll: true });
  endPromotion(stateDirectory);
  return true;
}

function openCatalog(stateDirectory: string): Catalog & Disposable {
  const catalog = Catalog.open(`${stateDirectory}/${CATALOG_NAME}`);
  return Object.assign(catalog, { [Symbol.dispose]: () => catalog.close() });
}

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
