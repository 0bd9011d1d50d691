/**
 * What keeps changes from being heard at once: each such state has a name, says what is done meanwhile, and ends by
 * itself when its cause does.
 *
 * | gap               | while                                                 | meanwhile                        |
 * |-------------------|-------------------------------------------------------|----------------------------------|
 * | `arming`          | a tree is not wholly watched yet                      | each directory is scanned after  |
 * |                   |                                                       | it is watched                    |
 * | `overflow`        | events were lost, and the tree is being armed anew    | everything is looked at          |
 * | `disorder`        | directories were found elsewhere than told            | every directory is listed again  |
 * | `watch-limit`     | the system grants no further watch                    | the rest is polled               |
 * | `instance-limit`  | the system grants no inotify instance                 | everything is polled             |
 * | `unreadable`      | a directory may not be read                           | it is polled                     |
 * | `unwatchable`     | a directory cannot be watched for another reason      | it is polled                     |
 * | `mounted-file`    | a file is mounted over another one                    | it is polled                     |
 * | `same-directory`  | a directory stands at a second place (bind mount)     | that place is polled             |
 *
 * @module
 */

/** Name of a gap. */
export type GapName =
  | "arming"
  | "overflow"
  | "disorder"
  | "watch-limit"
  | "instance-limit"
  | "unreadable"
  | "unwatchable"
  | "mounted-file"
  | "same-directory";

/** A gap that is open now. */
export interface Gap {
  name: GapName;
  /** The cause, what is done meanwhile, and what ends it, in words. */
  reason: string;
  /** Directories concerned. */
  count: number;
  /** The first of them, relative to the root; not more than `limits.gapPathsShown`. */
  paths: string[];
  /** Wall clock. */
  sinceMs: number;
}
