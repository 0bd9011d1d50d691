/**
 * What a source never replicates, whatever its rules say: our own state, targets that lie inside it, file systems of the
 * kernel, and with `--one-file-system` every other one.
 * @module
 */
import { errorCode } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { isWithin } from "../base/path.ts";
import { type MountBelow, mountsBelow } from "../intercept/mounts.ts";
import type { KeptOut } from "../source/set_scope.ts";
import { realPathOf } from "../target/places.ts";

/** What {@linkcode keptOutOf} must know. */
export interface KeptOutOptions {
  /** Root of the source; absolute. */
  root: string;
  /** Our state directory. */
  state: string;
  /** Directories that are targets; another array when they change. @default none */
  targets?: () => readonly string[];
  oneFileSystem: boolean;
}

const none: readonly string[] = [];

/** Of the system's root, beside what is mounted there. */
const kernelDirectories = ["proc", "sys", "dev"];

/** Types of file systems that hold what the kernel says, not what anybody stored. */
const kernelTypes = new Set([
  ..."autofs binder binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devpts devtmpfs efivarfs".split(
    " ",
  ),
  ..."fusectl hugetlbfs mqueue nfsd nsfs proc pstore resctrl rpc_pipefs securityfs selinuxfs smackfs".split(
    " ",
  ),
  ..."sysfs tracefs".split(" "),
]);

/** What is kept out, by path relative to the root. The mounts are read again when some time has passed. */
export function keptOutOf(options: KeptOutOptions): () => ReadonlyMap<string, KeptOut> {
  const { oneFileSystem, targets = () => none } = options;
  const root = realPathOf(options.root);
  const fixed = new Map<string, KeptOut>();
  const add = (path: string, keptOut: Omit<KeptOut, "path">) => {
    const relative = relativeTo(root, path);
    if (relative) fixed.set(relative, { path: relative, ...keptOut });
  };
  add(realPathOf(options.state), { reason: "it is Understudy's own state" });
  if (root === "/") {
    for (const name of kernelDirectories) {
      add(`/${name}`, { reason: "it is the kernel's, not stored anywhere", keepsDirectory: true });
    }
  }
  let readMs = -Infinity;
  let all: ReadonlyMap<string, KeptOut> = fixed;
  let directories: readonly string[] = none;
  return () => {
    const nowMs = performance.now();
    if (nowMs - readMs < limits.mountsReadMs && directories === targets()) return all;
    readMs = nowMs;
    directories = targets();
    for (const target of directories) add(realPathOf(target), { reason: "it is a target of this source" });
    return all = new Map([...mountsIn(root, oneFileSystem), ...fixed]);
  };
}

/**
 * Lines of rules that leave out what is kept out, to stand behind all others: for whoever makes the source's tree equal
 * to another one, which knows nothing of it.
 */
export function keptOutRules(keptOut: Iterable<Pick<KeptOut, "path" | "keepsDirectory">>): string[] {
  return [...keptOut].map(({ path, keepsDirectory }) => {
    const name = path.replace(/[\\*?[\]]| $/g, "\\$&");
    return keepsDirectory ? `/${name}/*` : `/${name}`;
  });
}

function* mountsIn(root: string, oneFileSystem: boolean): Iterable<[string, KeptOut]> {
  const device = oneFileSystem ? deviceOf(root) : undefined;
  for (const { path, place, type } of mountsKnown(root)) {
    if (kernelTypes.has(type)) {
      const reason = `"${type}" is a file system of the kernel`;
      yield [place, { path: place, reason, keepsDirectory: true }];
    } else if (oneFileSystem && deviceOf(path) !== device) {
      const reason = `it is on another file system ("${type}")`;
      yield [place, { path: place, reason, keepsDirectory: true, isByOption: true }];
    }
  }
}

/** Mounts below a directory; none where the system does not say. */
function mountsKnown(root: string): MountBelow[] {
  try {
    return mountsBelow(root);
  } catch (error) {
    if (errorCode(error)) return [];
    throw error;
  }
}

function deviceOf(path: string): number | undefined {
  try {
    return Deno.lstatSync(path).dev;
  } catch {
    // A mount point that cannot be reached is none of this file system.
    return undefined;
  }
}

/** The path below the root, `undefined` if it does not lie there. */
function relativeTo(root: string, path: string): string | undefined {
  if (path === root || !isWithin(path, root === "/" ? "" : root)) return undefined;
  return path.slice(root === "/" ? 1 : root.length + 1);
}
