/**
 * Places for test files which remove themselves: `await using directory = await tempDirectory()`.
 * @module
 */
import { statfs } from "node:fs/promises";
import { runProcess } from "./process.ts";

/** Memory-backed storage is used while this much is free there. */
const SHARED_MEMORY_FREE_MIN = 2 * 1024 ** 3;

/** A directory that is removed, and unmounted if it is a mount, when it is disposed of. */
export interface TempDirectory extends AsyncDisposable {
  path: string;
}

/** Where a {@linkcode tempDirectory} is made. */
export interface TempOptions {
  /** Begins its name. @default {"understudy-test-"} */
  prefix?: string;
  /** Its parent. By default memory-backed storage with room, else the system's directory for temporary files. */
  parent?: string;
}

/** Makes an empty directory, mode 0700. */
export async function tempDirectory(options: TempOptions = {}): Promise<TempDirectory> {
  const { prefix = "understudy-test-", parent = await roomyParent() } = options;
  const path = await Deno.makeTempDir({ dir: parent, prefix });
  return { path, [Symbol.asyncDispose]: () => removeTree(path) };
}

/** Mounts an own tmpfs of `sizeBytes` and removes it again. Needs root. */
export async function tmpfsMount(
  { sizeBytes, options = "" }: { sizeBytes: number; options?: string },
): Promise<TempDirectory> {
  const directory = await tempDirectory({ parent: await systemParent() });
  const mountOptions = [`size=${sizeBytes}`, ...options.split(",").filter((option) => option)].join(",");
  return await mounted(directory, ["-t", "tmpfs", "-o", mountOptions, "tmpfs"]);
}

/** A mounted image of a disk. */
export interface DiskImage extends TempDirectory {
  /** Mounts what would be on the disk if the power went now. */
  copy(): Promise<TempDirectory>;
}

/** Mounts a new file system of `sizeBytes` in a file of that size. Needs root, a loop device and `mkfs.TYPE`. */
export async function loopMount(
  { sizeBytes, type = "ext4" }: { sizeBytes: number; type?: string },
): Promise<DiskImage> {
  await using image = disposable(await tempDirectory());
  const imagePath = `${image.path}/image`;
  await Deno.writeFile(imagePath, new Uint8Array());
  await Deno.truncate(imagePath, sizeBytes);
  await runProcess(`mkfs.${type}`, ["-q", imagePath], { expectCode: 0, env: { PATH: systemPath() } });
  return { ...await mountImage(imagePath, image.release()), copy: () => copyImage(imagePath) };
}

async function copyImage(imagePath: string): Promise<TempDirectory> {
  await using place = disposable(await tempDirectory());
  const copyPath = `${place.path}/image`;
  await runProcess("cp", ["--sparse=always", imagePath, copyPath], { expectCode: 0 });
  return await mountImage(copyPath, place.release());
}

/** Mounts an image; `place`, where it lies, goes with it. */
async function mountImage(imagePath: string, place: TempDirectory): Promise<TempDirectory> {
  await using kept = disposable(place);
  const mount = await mounted(await tempDirectory({ parent: await systemParent() }), [
    "-o",
    "loop",
    imagePath,
  ]);
  kept.release();
  return {
    path: mount.path,
    async [Symbol.asyncDispose]() {
      await mount[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}

/** Mounts over `directory`; both disappear together. */
async function mounted(directory: TempDirectory, mountArgs: string[]): Promise<TempDirectory> {
  try {
    await runProcess("mount", [...mountArgs, directory.path], { expectCode: 0, env: { PATH: systemPath() } });
  } catch (error) {
    await directory[Symbol.asyncDispose]();
    throw error;
  }
  return {
    path: directory.path,
    async [Symbol.asyncDispose]() {
      const { code } = await runProcess("umount", [directory.path], { env: { PATH: systemPath() } });
      // Something in it is still open: let it go when that closes.
      if (code !== 0) await runProcess("umount", ["-l", directory.path], { expectCode: 0 });
      await Deno.remove(directory.path);
    },
  };
}

/** Keeps a directory only if `release` was called before the scope ended. */
function disposable(directory: TempDirectory): TempDirectory & { release(): TempDirectory } {
  let released = false;
  return {
    path: directory.path,
    release() {
      released = true;
      return directory;
    },
    async [Symbol.asyncDispose]() {
      if (!released) await directory[Symbol.asyncDispose]();
    },
  };
}

/** Removes a tree with whatever modes and names are in it. */
async function removeTree(path: string): Promise<void> {
  const { code } = await runProcess("rm", ["-rf", "--", path]);
  if (code === 0) return;
  await runProcess("chmod", ["-R", "u+rwX", "--", path]);
  await runProcess("rm", ["-rf", "--", path], { expectCode: 0 });
}

async function roomyParent(): Promise<string> {
  try {
    const { bavail, bsize } = await statfs("/dev/shm");
    if (bavail * bsize >= SHARED_MEMORY_FREE_MIN) return "/dev/shm";
  } catch { /* a system without it */ }
  return await systemParent();
}

function systemParent(): Promise<string> {
  return Deno.realPath(Deno.env.get("TMPDIR") ?? "/tmp");
}

function systemPath(): string {
  return `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/usr/bin:/sbin:/bin`;
}
