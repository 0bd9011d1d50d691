/**
 * Descriptors of this process. Tests of other files run in it too, and have theirs.
 * @module
 */

/** What each leads to, on Linux; `""` for one that was closed meanwhile. */
export function openPaths(): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch {
      return "";
    }
  });
}
