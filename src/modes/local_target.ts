/**
 * A local directory as a target in this process (single-server mode). While we have it, whoever promotes the replica
 * can ask us to let go of it, by a control socket in its state directory.
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { CommandError, RefusedError } from "../base/errors.ts";
import { AGENT } from "../base/version.ts";
import type { ControlHandlers } from "../control/api.ts";
import { type ControlHandler, type ControlServer, serveControl } from "../control/server.ts";
import { controlSocketIn } from "../control/socket_path.ts";
import { acquireLock, type Lock } from "../store/lock_file.ts";
import { fencedReason, loadPromotion } from "../store/promotion.ts";
import { ApplyClient } from "../target/apply_client.ts";
import type { OpenFileRule } from "../target/open_files.ts";
import { localPlaces, type ReplicaPlaces } from "../target/places.ts";
import type { Session } from "../wire/session.ts";
import { withDirectory } from "./root_trouble.ts";
import type { ReachableTarget } from "./targets.ts";

/**
 * Opens a local directory as a target.
 *
 * @throws {CommandError} If it cannot be one. That another process uses it is told by `connect`.
 */
export function reachDirectory(
  path: string,
  { openFiles }: { openFiles?: OpenFileRule } = {},
): ReachableTarget {
  const target = new LocalTarget(path, withDirectory(path, () => localPlaces(path)), openFiles);
  return {
    label: path,
    directory: path,
    connect: () => target.connect(),
    [Symbol.asyncDispose]: () => target.letGo(),
  };
}

class LocalTarget {
  readonly #path: string;
  readonly #places: ReplicaPlaces;
  readonly #openFiles: OpenFileRule | undefined;
  #lock: Lock | undefined;
  #control: ControlServer | undefined;
  #client: ApplyClient | undefined;

  constructor(path: string, places: ReplicaPlaces, openFiles: OpenFileRule | undefined) {
    this.#path = path;
    this.#places = places;
    this.#openFiles = openFiles;
  }

  /** @throws {LockedError} If another process uses it. @throws {RefusedError} If it was promoted. */
  async connect(): Promise<Session> {
    const { stateDirectory } = this.#places;
    withDirectory(this.#path, () => mkdirSync(stateDirectory, { recursive: true, mode: 0o700 }));
    this.#lock ??= acquireLock(join(stateDirectory, "replica.lock"));
    const promotion = loadPromotion(stateDirectory);
    if (promotion) {
      // Whoever takes the promotion back needs the lock.
      await this.letGo();
      throw new RefusedError(`Cannot replicate: ${fencedReason(this.#path, promotion)}`);
    }
    this.#control ??= await this.#serveControl();
    if (this.#client?.failure) await this.#client.close();
    if (!this.#client || this.#client.failure) {
      const openFiles = this.#openFiles;
      this.#client = await ApplyClient.open({ ...this.#places, openFiles, create: true, agent: AGENT });
    }
    return this.#client.openSession();
  }

  /** `undefined` where the file system has no sockets: then only who stops this source can promote the replica. */
  async #serveControl(): Promise<ControlServer | undefined> {
    const handlers: ControlHandlers = { "let-go": async () => (await this.#endClient(), null) };
    try {
      return await serveControl({
        path: controlSocketIn(this.#places.stateDirectory),
        handlers: handlers as Record<string, ControlHandler>,
      });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      return undefined;
    }
  }

  /** Ends the session and closes the replica. It can be connected to again. */
  async letGo(): Promise<void> {
    await this.#endClient();
    const control = this.#control;
    this.#control = undefined;
    await control?.[Symbol.asyncDispose]();
  }

  async #endClient(): Promise<void> {
    const [client, lock] = [this.#client, this.#lock];
    this.#client = this.#lock = undefined;
    await client?.close();
    lock?.[Symbol.dispose]();
  }
}
