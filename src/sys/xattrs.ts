/**
 * Extended attributes: which of them are replicated, and how an entry gets exactly those that it is to have.
 *
 * ```
 * user.*                        what users and programs keep
 * trusted.*                     what programs of root keep
 * security.*                    file capabilities and others, save the labels that a machine's own policy gives:
 *                               selinux, ima, evm, apparmor, SMACK64*
 * system.posix_acl_access       access control list
 * system.posix_acl_default      that of what will be made in a directory
 * ```
 * @module
 */
import { equalBytes } from "../base/bytes.ts";
import { errorCode, SystemError } from "../base/errors.ts";
import type { Xattr } from "./file_system.ts";

const ACLS = new Set(["system.posix_acl_access", "system.posix_acl_default"]);
const POLICY_LABEL = /^security\.(selinux|ima|evm|apparmor|SMACK64.*)$/;
/** Codes by which a system refuses one attribute, though the entry is well. */
const refusals = new Set(["ENOTSUP", "EPERM", "EACCES", "EINVAL", "ERANGE", "E2BIG", "ENOSPC", "EDQUOT"]);

/** An entry whose extended attributes can be set. */
export interface XattrHolder {
  xattrs(): Xattr[];
  setXattr(name: string, value: Uint8Array | undefined): void;
}

/** Whether an attribute is replicated. */
export function isReplicatedXattr(name: string): boolean {
  if (name.startsWith("user.") || name.startsWith("trusted.")) return true;
  return name.startsWith("security.") ? !POLICY_LABEL.test(name) : ACLS.has(name);
}

/**
 * Gives an entry exactly the attributes wanted. Of those that the system refuses the others are set all the same.
 *
 * @throws {SystemError} With the code of the first refusal and the names of all that were refused; or another trouble.
 */
export function setXattrs(entry: XattrHolder, wanted: readonly Xattr[]): void {
  const found = entry.xattrs();
  // Nearly always.
  if (found.length === 0 && wanted.length === 0) return;
  const standing = new Map(found.map(({ name, value }) => [name, value]));
  let refusal = "";
  const refused: string[] = [];
  const change = (name: string, value: Uint8Array | undefined) => {
    try {
      entry.setXattr(name, value);
    } catch (error) {
      const code = errorCode(error);
      if (!refusals.has(code)) throw error;
      refusal ||= code;
      refused.push(name);
    }
  };
  for (const { name, value } of wanted) {
    const known = standing.get(name);
    standing.delete(name);
    if (!known || !equalBytes(known, value)) change(name, value);
  }
  for (const name of standing.keys()) change(name, undefined);
  if (refusal === "") return;
  // One that is too large for its place is no full disk.
  const code = refusal === "ENOSPC" || refusal === "EDQUOT" ? "E2BIG" : refusal;
  throw new SystemError(code, `Cannot set extended attributes ${refused.join(", ")}: ${refusal}`);
}
