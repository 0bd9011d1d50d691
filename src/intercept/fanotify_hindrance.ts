/**
 * Whether fanotify works for a root: tried, since neither rights nor the kind of a file system tell it.
 * @module
 */
import { errorCode, reasonOf } from "../base/errors.ts";
import { FanotifyDirectories } from "./fanotify_directories.ts";
import { FanotifyQueue } from "./fanotify_queue.ts";

/** Why fanotify does not work for this root, if it does not. A root that is missing is no hindrance. */
export function fanotifyHindrance(root: string): string | undefined {
  let queue: FanotifyQueue | undefined;
  try {
    queue = new FanotifyQueue();
    using directories = new FanotifyDirectories(root, queue);
    queue.mark(directories.rootByDescriptor);
  } catch (error) {
    const isMissing = queue !== undefined && ["ENOENT", "ENOTDIR"].includes(errorCode(error));
    return isMissing ? undefined : reasonOf(error);
  } finally {
    queue?.close();
  }
}
