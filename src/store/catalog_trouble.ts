/**
 * What SQLite says of a catalog, as errors of base/errors.ts.
 * @module
 */
import { CorruptionError, reasonOf, SystemError } from "../base/errors.ts";
import { quote } from "../base/path.ts";

/** SQLite's words for what the disk did, as the errno that a file would have had. */
const diskTroubles: [pattern: RegExp, code: string][] = [
  [/database or disk is full/i, "ENOSPC"],
  [/readonly database|read-?only/i, "EROFS"],
  [/disk I\/O error|unable to open database file/i, "EIO"],
];

/**
 * Runs `body`.
 *
 * @param path Of the catalog.
 * @throws {SystemError} `ENOSPC`, `EIO` or `EROFS` if the disk does not do its part.
 * @throws {CorruptionError} If SQLite has another complaint.
 */
export function guarded<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_SQLITE_ERROR") throw error;
    const reason = reasonOf(error);
    const message = `Cannot use catalog ${quote(path)}: ${reason}`;
    const trouble = diskTroubles.find(([pattern]) => pattern.test(reason));
    if (trouble) throw new SystemError(trouble[1], message);
    throw new CorruptionError(`${message}; remove it to mirror anew`, { cause: error });
  }
}
