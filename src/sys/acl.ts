/**
 * Users and groups that an access control list names, in the form in which the kernel keeps it
 * (`linux/posix_acl_xattr.h`):
 *
 * ```
 * version u32, 2 │ entries: tag u16, permissions u16, id u32        little endian; tag 2 a user, 8 a group
 * ```
 * @module
 */

const VERSION = 2;
const HEAD_SIZE = 4, ENTRY_SIZE = 8;
const USER = 2, GROUP = 8;

/** Whether an extended attribute is an access control list. */
export function isAcl(name: string): boolean {
  return name === "system.posix_acl_access" || name === "system.posix_acl_default";
}

/** Calls `visit` for each user and group that a list names. Bytes of another form name none. */
export function forEachAclId(
  bytes: Uint8Array,
  visit: (kind: "users" | "groups", id: number, offset: number) => void,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isWhole = bytes.length >= HEAD_SIZE && (bytes.length - HEAD_SIZE) % ENTRY_SIZE === 0;
  if (!isWhole || view.getUint32(0, true) !== VERSION) return;
  for (let at = HEAD_SIZE; at < bytes.length; at += ENTRY_SIZE) {
    const tag = view.getUint16(at, true);
    if (tag === USER) visit("users", view.getUint32(at + 4, true), at + 4);
    if (tag === GROUP) visit("groups", view.getUint32(at + 4, true), at + 4);
  }
}

/** A list with other numbers, in a new buffer. */
export function mapAcl(
  bytes: Uint8Array,
  toId: (kind: "users" | "groups", id: number) => number,
): Uint8Array<ArrayBuffer> {
  const mapped = bytes.slice();
  const view = new DataView(mapped.buffer);
  forEachAclId(bytes, (kind, id, offset) => view.setUint32(offset, toId(kind, id), true));
  return mapped;
}
