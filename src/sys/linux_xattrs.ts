/**
 * Extended attributes through libc, of an open file by its descriptor, of any other entry by a path through
 * `/proc/self/fd`, which reaches the directory that is held open and from there one name, never following it. Linux 6.13
 * and later are asked by directory and name whether an entry has any, which takes a third of the time: most have none.
 * @module
 */
import { pathFromBytes } from "../base/path.ts";
import type { Xattr } from "./file_system.ts";
import { addressOf, AT, errno, libc, PathBuffer } from "./libc.ts";
import { isReplicatedXattr } from "./xattrs.ts";

const EPERM = 1, ENOSYS = 38, ENODATA = 61, ENOTSUP = 95;
const SYS_LISTXATTRAT = 465;
/** Bytes of a list of names, and of a value, at most (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`). */
const XATTR_SIZE_MAX = 64 * 1024;

/** An entry as the calls of libc take it: a descriptor, or the address of a path. */
export type XattrPlace = { descriptor: number } | { address: number };

/** Buffers that one thread's calls share; each is free again when the call returns. */
class Buffers {
  readonly names = new Uint8Array(XATTR_SIZE_MAX);
  readonly namesAddress = addressOf(this.names);
  readonly value = new Uint8Array(XATTR_SIZE_MAX);
  readonly valueAddress = addressOf(this.value);
  readonly name = new PathBuffer();
}

let shared: Buffers | undefined;

function buffers(): Buffers {
  return shared ??= new Buffers();
}

/** Whether this kernel has `listxattrat`, and lets this process use it; `undefined` before it was asked. */
let asksByName: boolean | undefined;

/**
 * Whether an entry is known to have no extended attributes at all. If not, that says nothing.
 *
 * @param nameAddress Of a name in the directory.
 */
export function hasNoXattrs(directory: number, nameAddress: number): boolean {
  if (asksByName === false) return false;
  const flags = AT.SYMLINK_NOFOLLOW;
  const size = libc().syscallListxattrat(SYS_LISTXATTRAT, directory, nameAddress, flags, 0, 0);
  asksByName ??= size >= 0 || (errno() !== ENOSYS && errno() !== EPERM);
  return size === 0;
}

/** Reads the attributes of the replicated namespaces. Gives them, none mostly, or the errno. */
export function readXattrs(place: XattrPlace): Xattr[] | number {
  const { namesAddress } = buffers();
  const size = "descriptor" in place
    ? libc().flistxattr(place.descriptor, namesAddress, XATTR_SIZE_MAX)
    : libc().llistxattr(place.address, namesAddress, XATTR_SIZE_MAX);
  if (size > 0) return readValues(place, size);
  return size === 0 || errno() === ENOTSUP ? [] : errno();
}

/** Reads those whose names are in the shared buffer. */
function readValues(place: XattrPlace, size: number): Xattr[] | number {
  const { names, value, valueAddress, name } = buffers();
  const found: Xattr[] = [];
  for (let start = 0; start < size;) {
    const end = names.indexOf(0, start);
    const each = pathFromBytes(names.subarray(start, end));
    start = end + 1;
    if (!isReplicatedXattr(each)) continue;
    const at = name.put(each);
    const count = "descriptor" in place
      ? libc().fgetxattr(place.descriptor, at, valueAddress, XATTR_SIZE_MAX)
      : libc().lgetxattr(place.address, at, valueAddress, XATTR_SIZE_MAX);
    if (count >= 0) found.push({ name: each, value: value.slice(0, count) });
    // Removed meanwhile: whoever did that changed the entry, which is told.
    else if (errno() !== ENODATA) return errno();
  }
  return found.length > 1 ? found.sort((a, b) => a.name < b.name ? -1 : 1) : found;
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
