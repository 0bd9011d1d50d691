/**
 * What no op can name, made for tests of what cannot be replicated.
 * @module
 */
import { limits } from "../../src/base/limits.ts";
import { systemFileSystem } from "../../src/sys/system.ts";

/** Makes directories in a directory until one has a longer path than fits an op. Gives that path, below `root`. */
export function makeTooDeep(root: string, directory: string): string {
  using tree = systemFileSystem().openTree(root);
  const name = "d".repeat(250);
  let path = directory;
  while (path.length <= limits.pathSizeMax) tree.makeDirectory(path += `/${name}`, 0o755);
  return path;
}
