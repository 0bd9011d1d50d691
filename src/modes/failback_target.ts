/**
 * The target of a failback: whether it is promoted, and the end of that.
 * @module
 */
import { join } from "node:path";
import { CommandError, ProtocolError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { acquireLock } from "../store/lock_file.ts";
import { localPlaces } from "../target/places.ts";
import { demote, type PromotionStand, standOf } from "../target/promote.ts";
import { decodeMessage, encodeMessage } from "../wire/message.ts";
import type { Session } from "../wire/session.ts";
import type { FailbackOptions } from "./failback.ts";
import type { Io } from "./mode.ts";
import { reachTarget } from "./targets.ts";

export type { PromotionStand };

type Asked = Pick<FailbackOptions, "target" | "label" | "root" | "stateRoot" | "cipher" | "compress">;

/** Asks since when the replica is promoted, and where it stands. @throws {RefusedError} If the target refuses. */
export async function askPromotion(options: Asked, io: Io): Promise<PromotionStand> {
  const { target } = options;
  if (target.kind === "directory") return standOf(localPlaces(target.path));
  return await inSession(options, io, (_session, stand) => Promise.resolve(stand));
}

/**
 * Tells the target that its source is equal to it: it lifts the fence.
 *
 * @throws {CommandError} If it was promoted anew meanwhile: then the fence stands.
 */
export async function endPromotionOf(options: Asked, known: PromotionStand, io: Io): Promise<void> {
  const { target, label } = options;
  if (target.kind === "directory") {
    const places = localPlaces(target.path);
    using _lock = acquireLock(join(places.stateDirectory, "replica.lock"));
    checkSame(standOf(places), known, label);
    demote(places);
    return;
  }
  await inSession(options, io, async (session, stand) => {
    checkSame(stand, known, label);
    await session.send(encodeMessage({ type: "compared" }));
    // It closes when it is done.
    await session.receive();
  });
}

function checkSame(stand: PromotionStand, known: PromotionStand, label: string): void {
  if (stand.promotedAt === known.promotedAt) return;
  throw new CommandError(
    `Cannot fail back from ${quote(label)}: it was promoted anew meanwhile; start again`,
  );
}

async function inSession<T>(
  options: Asked,
  io: Io,
  act: (session: Session, stand: PromotionStand) => Promise<T>,
): Promise<T> {
  await using reached = await reachTarget(options.target, {
    ...options,
    state: options.stateRoot,
    wants: "failback",
    signal: io.signal,
    nowMs: io.clock.nowMs(),
  });
  const session = await reached.connect(io.signal);
  try {
    const bytes = await session.receive();
    const message = bytes && decodeMessage(bytes);
    if (message?.type !== "report" || !isStand(message.report)) {
      throw new ProtocolError(
        `Cannot fail back from ${quote(options.label)}: it does not say whether it is promoted`,
      );
    }
    return await act(session, message.report);
  } finally {
    await session.close();
  }
}

function isStand(value: unknown): value is PromotionStand {
  const stand = value as Partial<PromotionStand>;
  return [stand.promotedAt, stand.replicaId, stand.streamId].every((text) => typeof text === "string") &&
    Number.isSafeInteger(stand.durableSequence);
}
