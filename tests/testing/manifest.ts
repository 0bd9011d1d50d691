/**
 * What a tree holds, told by `find`, `sha256sum` and Python and not by any code of ours, so that it can judge ours.
 * @module
 */
import { AssertionError } from "@std/assert";

/** One entry of a tree. */
export interface ManifestEntry {
  /** As `find -printf %y`: `f` file, `d` directory, `l` symlink, `p` FIFO, `s` socket, `c` and `b` devices. */
  kind: string;
  /** Octal, with the set-id and sticky bits. Symlinks have none of their own. */
  mode: string;
  uid: number;
  gid: number;
  /** Seconds since 1970 with nine decimals, as text since a number cannot hold it. */
  mtime: string;
  /** Bytes; 0 for what is not a file. */
  size: number;
  /** SHA-256 in hexadecimal; empty for what is not a file. */
  content: string;
  /** What a symlink points to; empty for what is none. */
  target: string;
  /** Number of a device's device, `major:minor` in hexadecimal as `stat -c %t:%T`; empty for what is none. */
  device: string;
  /** Extended attributes in order of name, `NAME=VALUE` in hexadecimal; empty if they were not asked for. */
  xattrs: string;
  /** The first path, in order of bytes, of the same inode; empty for the first and for what has one name. */
  sameAs: string;
}

/** A field of {@linkcode ManifestEntry}. */
export type ManifestField = keyof ManifestEntry;

/**
 * A tree by path relative to its root, which itself is `""`. Paths and link targets hold one character (U+0000 to
 * U+00FF) for each byte, so that any name fits.
 */
export type Manifest = Map<string, ManifestEntry>;

/** What a comparison leaves out. */
export interface CompareOptions {
  /** Fields that may differ. `sameAs` counts only with `hardLinks`. */
  ignore?: ManifestField[];
  /** Fields of the root directory itself count too. @default {false} */
  root?: boolean;
  /** Extended attributes and numbers of devices count too. @default {false} */
  xattrs?: boolean;
  /** Names of the same file must be names of the same file on the other side. @default {false} */
  hardLinks?: boolean;
  /** Paths that it returns true for are left out on both sides. */
  exclude?: (path: string) => boolean;
}

/** At most so many differences are printed. */
const DIFFERENCES_SHOWN_MAX = 20;

const fields: ManifestField[] = [
  "kind",
  "mode",
  "uid",
  "gid",
  "mtime",
  "size",
  "content",
  "target",
  "device",
  "xattrs",
  "sameAs",
];

/**
 * Reads a whole tree.
 *
 * @throws {Error} If a part of it cannot be read.
 */
export async function manifest(root: string, { xattrs = false } = {}): Promise<Manifest> {
  const [listing, digests, more] = await Promise.all([
    list(root),
    contentDigests(root),
    xattrs ? listXattrs(root) : undefined,
  ]);
  const entries: Manifest = new Map();
  const firstOfInode = new Map<string, string>();
  for (const record of listing) {
    const [path, kind, mode, uid, gid, mtime, size, target, inode] = record;
    entries.set(path, {
      kind,
      mode: kind === "l" ? "" : mode,
      uid: Number(uid),
      gid: Number(gid),
      mtime: mtime.slice(0, mtime.indexOf(".") + 10),
      size: kind === "f" ? Number(size) : 0,
      content: kind === "f" ? digests.get(path) ?? "vanished" : "",
      target,
      device: more?.get(path)?.device ?? "",
      xattrs: more?.get(path)?.xattrs ?? "",
      sameAs: kind === "d" ? "" : firstOfInode.get(inode) ?? "",
    });
    if (!firstOfInode.has(inode)) firstOfInode.set(inode, path);
  }
  return entries;
}

/**
 * Asserts that two trees are equal in everything that a {@linkcode ManifestEntry} holds.
 *
 * @throws {AssertionError} If they are not, with up to 20 differences.
 */
export async function assertSameTree(
  expectedRoot: string,
  actualRoot: string,
  options: CompareOptions = {},
): Promise<void> {
  const [expected, actual] = await Promise.all([
    manifest(expectedRoot, options),
    manifest(actualRoot, options),
  ]);
  const differences = compareManifests(expected, actual, options);
  if (differences.length === 0) return;
  const shown = differences.slice(0, DIFFERENCES_SHOWN_MAX).map((line) => `  ${line}`);
  if (shown.length < differences.length) shown.push(`  … and ${differences.length - shown.length} more`);
  throw new AssertionError(
    `${differences.length} differences between ${expectedRoot} (${expected.size} entries) and ${actualRoot} ` +
      `(${actual.size} entries):\n${shown.join("\n")}`,
  );
}

/** The differences of two trees, a line each, in order of path. Empty if they are equal. */
export function compareManifests(
  expected: Manifest,
  actual: Manifest,
  options: CompareOptions = {},
): string[] {
  const { ignore = [], root = false, hardLinks = false, exclude = () => false } = options;
  const compared = fields.filter((field) => !ignore.includes(field) && (hardLinks || field !== "sameAs"));
  const differences: string[] = [];
  for (const path of [...new Set([...expected.keys(), ...actual.keys()])].sort()) {
    if (exclude(path) || (path === "" && !root)) continue;
    const wanted = expected.get(path);
    const found = actual.get(path);
    if (!wanted || !found) {
      differences.push(`${wanted ? "missing" : "too many"}: ${quoted(path)} (${(wanted ?? found)!.kind})`);
      continue;
    }
    const changes = compared.filter((field) => wanted[field] !== found[field])
      .map((field) => `${field} ${short(wanted[field])} became ${short(found[field])}`);
    if (changes.length > 0) differences.push(`differs: ${quoted(path)}: ${changes.join(", ")}`);
  }
  return differences;
}

/** Everything `find` says of each entry, in order of path. */
async function list(root: string): Promise<string[][]> {
  // Each value ends in a zero byte, which no value holds.
  const format = ["%P", "%y", "%m", "%U", "%G", "%T@", "%s", "%l", "%i"].map((value) => `${value}\\0`).join(
    "",
  );
  const values = await zeroSeparated("find", [`${root}/`, "-printf", format]);
  const records: string[][] = [];
  for (let i = 0; i < values.length; i += 9) records.push(values.slice(i, i + 9));
  return records.sort((a, b) => a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0);
}

async function listXattrs(root: string): Promise<Map<string, { device: string; xattrs: string }>> {
  const script = `
import os, stat, sys
root = os.fsencode(sys.argv[1])
for directory, names, files in os.walk(root):
    for path in ([root] if directory == root else []) + [os.path.join(directory, name) for name in names + files]:
        mode = os.lstat(path)
        kind = stat.S_IFMT(mode.st_mode)
        device = ":".join(map(hex, (os.major(mode.st_rdev), os.minor(mode.st_rdev)))) if kind in (stat.S_IFBLK, stat.S_IFCHR) else ""
        xattrs = sorted((os.fsencode(name), os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False))
        text = b" ".join(name + b"=" + value.hex().encode() for name, value in xattrs)
        sys.stdout.buffer.write(bytes(1).join((path[len(root) + 1:], device.encode(), text, b"")))
`;
  const values = await zeroSeparated("python3", ["-c", script, root]);
  const found = new Map<string, { device: string; xattrs: string }>();
  for (let i = 0; i < values.length; i += 3) {
    found.set(values[i], { device: values[i + 1], xattrs: values[i + 2] });
  }
  return found;
}

async function contentDigests(root: string): Promise<Map<string, string>> {
  const script = 'cd "$1" && find . -type f -print0 | xargs -0 -r sha256sum -z --';
  const lines = await zeroSeparated("sh", ["-c", script, "sh", root]);
  // Lines read `DIGEST  ./PATH`.
  return new Map(lines.map((line) => [line.slice(64 + "  ./".length), line.slice(0, 64)]));
}

/** What a command prints, split at zero bytes, a character for each byte. */
async function zeroSeparated(command: string, args: string[]): Promise<string[]> {
  const { stdout, stderr, success } = await new Deno.Command(command, { args, env: { LC_ALL: "C" } })
    .output();
  if (!success) throw new Error(`Cannot read tree: ${command} says ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder("iso-8859-1").decode(stdout).split("\0").slice(0, -1);
}

function quoted(path: string): string {
  return JSON.stringify(path);
}

function short(value: string | number): string {
  const text = String(value);
  return text === "" ? '""' : text.length > 24 ? `${text.slice(0, 12)}…` : text;
}
