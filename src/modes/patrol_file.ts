/**
 * Where it is kept how far verification of a target has come: `SET/verify-…json`.
 * @module
 */
import { errorCode, reasonOf, withWayOut } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { PatrolStore } from "../source/patrol.ts";
import { isPatrolState } from "../source/patrol_state.ts";
import { loadJson, saveJson } from "../store/durable.ts";

/** Keeps the state of a patrol in a file. @throws {CorruptionError} From `load`, if that is damaged, with the way out. */
export function patrolFile(path: string, log: Log): PatrolStore {
  return {
    load: () => withWayOut("remove it, and verification begins anew", () => loadJson(path, isPatrolState)),
    save(state) {
      try {
        saveJson(path, state);
      } catch (error) {
        if (!errorCode(error)) throw error;
        // What was compared since the last time is compared again, if it comes to that.
        log.warn(reasonOf(error));
      }
    },
  };
}
