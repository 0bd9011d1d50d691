/**
 * How fine the kernel's clock for file times is.
 * @module
 */

/**
 * Whether two changes of a file within a few milliseconds can leave the same times. Linux gives a fresh time to a file
 * whose times were asked for since its last change from 6.13 on (multigrain timestamps: ext4, xfs, btrfs, tmpfs);
 * before, and elsewhere, times move in ticks.
 */
export function hasCoarseFileTimes(os: typeof Deno.build.os, release: string): boolean {
  if (os !== "linux") return true;
  const [major, minor] = release.split(".", 2).map((part) => parseInt(part, 10));
  return major < 6 || (major === 6 && minor < 13);
}
