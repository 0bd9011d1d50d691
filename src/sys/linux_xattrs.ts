/**
 * Extended attributes through libc, of an open file by its descriptor, of any other entry by a path through
 * `/proc/self/fd`, which reaches the directory that is held open and from there one name, never following it.
 * @module
 */
import { pathFromBytes } from "../base/path.ts";
import type { Xattr } from "./file_system.ts";
import { addressOf, errno, libc, PathBuffer } from "./libc.ts";
import { isReplicatedXattr } from "./xattrs.ts";

const ENODATA = 61, ENOTSUP = 95;
/** Bytes of a list of names, and of a value, at most (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`). */
const XATTR_SIZE_MAX = 64 * 1024;

/** An entry as the calls of libc take it: a descriptor, or the address of a path. */
export type XattrPlace = { descriptor: number } | { address: number };

let shared: { names: Uint8Array<ArrayBuffer>; value: Uint8Array<ArrayBuffer>; name: PathBuffer } | undefined;

/** Buffers that one thread's calls share; each is free again when the call returns. */
function buffers(): NonNullable<typeof shared> {
  return shared ??= {
    names: new Uint8Array(XATTR_SIZE_MAX),
    value: new Uint8Array(XATTR_SIZE_MAX),
    name: new PathBuffer(),
  };
}

/** Reads the attributes of the replicated namespaces into `found`. Gives 0 or the errno. */
export function readXattrs(place: XattrPlace, found: Xattr[]): number {
  const { names, value, name } = buffers();
  const size = "descriptor" in place
    ? libc().flistxattr(place.descriptor, addressOf(names), names.length)
    : libc().llistxattr(place.address, addressOf(names), names.length);
  if (size < 0) return errno() === ENOTSUP ? 0 : errno();
  for (let start = 0; start < size;) {
    const end = names.indexOf(0, start);
    const each = pathFromBytes(names.subarray(start, end));
    start = end + 1;
    if (!isReplicatedXattr(each)) continue;
    const at = name.put(each);
    const count = "descriptor" in place
      ? libc().fgetxattr(place.descriptor, at, addressOf(value), value.length)
      : libc().lgetxattr(place.address, at, addressOf(value), value.length);
    if (count >= 0) found.push({ name: each, value: value.slice(0, count) });
    // Removed meanwhile: whoever did that changed the entry, which is told.
    else if (errno() !== ENODATA) return errno();
  }
  if (found.length > 1) found.sort((a, b) => a.name < b.name ? -1 : 1);
  return 0;
}

/** Sets an attribute, or removes it. Gives 0 or the errno; one that is to be removed may be gone already. */
export function writeXattr(place: XattrPlace, name: string, value: Uint8Array | undefined): number {
  const at = buffers().name.put(name);
  const { fsetxattr, lsetxattr, fremovexattr, lremovexattr } = libc();
  let failed: number;
  if (value === undefined) {
    failed = "descriptor" in place ? fremovexattr(place.descriptor, at) : lremovexattr(place.address, at);
  } else {
    // An empty buffer may have no address.
    const bytes = value.length === 0 ? new Uint8Array(1) : value;
    failed = "descriptor" in place
      ? fsetxattr(place.descriptor, at, bytes, value.length, 0)
      : lsetxattr(place.address, at, bytes, value.length, 0);
  }
  if (failed >= 0) return 0;
  return value === undefined && errno() === ENODATA ? 0 : errno();
}
