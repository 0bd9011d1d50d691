/**
 * Makes a replica the one that users work in: it is fenced, and what is known of changes that it has not received is
 * told. The replica is at rest meanwhile, and recovered.
 * @module
 */
import { statSync } from "node:fs";
import type { PromotionResult } from "../base/status.ts";
import { Catalog } from "../store/catalog.ts";
import { endPromotion, loadPromotion, markPromoted } from "../store/promotion.ts";
import type { ReplicaPlaces } from "./places.ts";
import { CATALOG_NAME } from "./replica.ts";

/** When a change was last made durable, as the files of the catalog tell; ask before anything opens it. */
export function lastReceivedMs({ stateDirectory }: ReplicaPlaces): number {
  const catalogPath = `${stateDirectory}/${CATALOG_NAME}`;
  return Math.max(modifiedMs(catalogPath), modifiedMs(`${catalogPath}-wal`));
}

/**
 * Promotes a replica that is at rest. Once more changes nothing.
 *
 * @param moments.receivedMs See {@linkcode lastReceivedMs}.
 */
export function promote(
  places: ReplicaPlaces,
  { nowMs, receivedMs }: { nowMs: number; receivedMs: number },
): PromotionResult {
  const { replicaRoot, stateDirectory } = places;
  const before = loadPromotion(stateDirectory);
  const { promotedAt } = before ?? { promotedAt: new Date(nowMs).toISOString() };
  if (!before) markPromoted(stateDirectory, { promotedAt });
  using catalog = openCatalog(stateDirectory);
  const { durableSequence, streamId } = catalog.meta;
  return {
    directory: replicaRoot,
    promotedAt,
    lastSequence: durableSequence,
    lastReceivedAt: streamId === "" ? "" : new Date(receivedMs).toISOString(),
    unfinished: catalog.transfers().map(({ path }) => path),
    failed: catalog.failures(0).map(({ path, op, reason }) => ({ path, op, reason })),
  };
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
