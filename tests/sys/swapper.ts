/**
 * A local user who swaps the directory `d` and the symbolic link `link` of a root, as fast as possible, until killed.
 * @module
 */
import { linuxFileSystem } from "../../src/sys/linux.ts";

const tree = linuxFileSystem().openTree(Deno.args[0]);
for (let round = 0;; round++) {
  tree.rename("d", "link", { exchange: true });
  if (round === 100) console.log("swapping");
}
