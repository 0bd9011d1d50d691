/**
 * POSIX ACLs as text, from the form in which the kernel keeps them (`linux/posix_acl_xattr.h`):
 *
 * ```
 * version u32, 2 │ entries: tag u16, permissions u16, id u32        little endian
 * ```
 * @module
 */

const VERSION = 2;
const HEAD_SIZE = 4, ENTRY_SIZE = 8;

/** Kinds of entries by their tags; those with an id name a user or group. */
const tags: Record<number, { word: string; hasId: boolean }> = {
  0x01: { word: "user", hasId: false },
  0x02: { word: "user", hasId: true },
  0x04: { word: "group", hasId: false },
  0x08: { word: "group", hasId: true },
  0x10: { word: "mask", hasId: false },
  0x20: { word: "other", hasId: false },
};

/**
 * An ACL as archives hold it: `user::rw-,user:1000:rwx:1000,group::r--`. Users and groups stand by their numbers, as name
 * and as the further field that star(1) adds, so that no reader looks for a name.
 *
 * @returns `undefined` if the bytes are no ACL of the form known here.
 */
export function aclText(bytes: Uint8Array): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isWhole = bytes.length >= HEAD_SIZE && (bytes.length - HEAD_SIZE) % ENTRY_SIZE === 0;
  if (!isWhole || view.getUint32(0, true) !== VERSION) return undefined;
  const entries: string[] = [];
  for (let at = HEAD_SIZE; at < bytes.length; at += ENTRY_SIZE) {
    const tag = tags[view.getUint16(at, true)];
    if (tag === undefined) return undefined;
    const permissions = permissionText(view.getUint16(at + 2, true));
    const id = view.getUint32(at + 4, true);
    entries.push(tag.hasId ? `${tag.word}:${id}:${permissions}:${id}` : `${tag.word}::${permissions}`);
  }
  return entries.join(",");
}

function permissionText(bits: number): string {
  return `${bits & 4 ? "r" : "-"}${bits & 2 ? "w" : "-"}${bits & 1 ? "x" : "-"}`;
}
