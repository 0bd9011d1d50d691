/**
 * Numbers of users and groups that own something in a set, or that an access control list in it names. They only become
 * more while a source runs: whose last file is gone is still told. Those of lists are remembered on the disk, since a
 * restart does not read the lists of entries that it knows.
 * @module
 */
import { isAccountNumber } from "../base/accounts.ts";
import { loadJson, saveJson } from "../store/durable.ts";
import { forEachAclId, isAcl } from "../sys/acl.ts";
import type { Xattr } from "../sys/file_system.ts";

/** Numbers that lists name, as they lie on the disk. */
interface NamedByLists {
  users: number[];
  groups: number[];
}

/** Numbers seen so far. */
export class OwnersSeen {
  readonly users = new Set<number>();
  readonly groups = new Set<number>();
  readonly #path: string | undefined;
  #isUnsaved = false;
  readonly #named = { users: new Set<number>(), groups: new Set<number>() };

  /**
   * @param path File that remembers what lists name; without one nothing is remembered.
   * @throws {CorruptionError} If it holds anything else.
   */
  constructor(path?: string) {
    this.#path = path;
    const named = path === undefined ? undefined : loadJson(path, isNamedByLists);
    for (const kind of ["users", "groups"] as const) {
      for (const id of named?.[kind] ?? []) this.#addNamed(kind, id);
    }
  }

  /** Somebody owns an entry. @returns Whether that is news. */
  addOwner(uid: number, gid: number): boolean {
    if (this.users.has(uid) && this.groups.has(gid)) return false;
    this.users.add(uid);
    this.groups.add(gid);
    return true;
  }

  /** An entry has these extended attributes. @returns Whether a list among them names whom none named before. */
  addXattrs(xattrs: readonly Xattr[]): boolean {
    let isNew = false;
    for (const { name, value } of xattrs) {
      if (!isAcl(name)) continue;
      forEachAclId(value, (kind, id) => {
        if (this.#named[kind].has(id)) return;
        isNew = this.#isUnsaved = true;
        this.#addNamed(kind, id);
      });
    }
    return isNew;
  }

  /** Saves whom lists name, if that is not done; it survives power loss afterwards. */
  save(): void {
    if (!this.#isUnsaved || this.#path === undefined) return;
    saveJson(this.#path, { users: [...this.#named.users], groups: [...this.#named.groups] });
    this.#isUnsaved = false;
  }

  #addNamed(kind: keyof NamedByLists, id: number): void {
    this.#named[kind].add(id);
    this[kind].add(id);
  }
}

function isNamedByLists(value: unknown): value is NamedByLists {
  const { users, groups } = (value ?? {}) as Partial<NamedByLists>;
  return [users, groups].every((ids) => Array.isArray(ids) && ids.every(isAccountNumber));
}
