/**
 * What is mounted below a directory, as `/proc/self/mountinfo` tells it:
 *
 * ```text
 *   36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 *              root  mount point                 type
 * ```
 * @module
 */
import { isWithin, pathFromBytes } from "../base/path.ts";

/** Something that is mounted. */
export interface Mount {
  /** The kernel's number for it; another mount may get it later. */
  id: string;
  /** Absolute path, as this process sees it. */
  path: string;
  /** Path within its file system that is mounted there: `/` unless it is a bind mount. */
  root: string;
  /** As `tmpfs`, `fuse.sshfs`. */
  type: string;
}

/** Something that is mounted below a directory. */
export interface MountBelow extends Mount {
  /** Path relative to the directory. */
  place: string;
}

/** Reads what is mounted below a directory, without what another mount at the same place hides. */
export function mountsBelow(directory: string): MountBelow[] {
  const above = directory === "/" ? "" : directory;
  return parseMounts(Deno.readFileSync("/proc/self/mountinfo"))
    .filter(({ path }) => path !== directory && isWithin(path, above))
    .map((mount) => ({ ...mount, place: mount.path.slice(above.length + 1) }));
}

/** Reads all mounts from the text of `mountinfo`; of several at one place the last, which is what can be seen there. */
export function parseMounts(text: Uint8Array): Mount[] {
  const byPath = new Map<string, Mount>();
  for (const line of pathFromBytes(text).split("\n")) {
    const [id, , , root, path, ...more] = line.split(" ");
    if (path === undefined) continue;
    const type = more[more.indexOf("-") + 1];
    byPath.set(unescape(path), { id, path: unescape(path), root: unescape(root), type });
  }
  return [...byPath.values()];
}

/** Blanks and backslashes are written as octal numbers. */
function unescape(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)));
}
