/**
 * Tries, as a user who is not root, what only root may; prints what came of it.
 * @module
 */
import { errorCode } from "../../src/base/errors.ts";
import { systemFileSystem } from "../../src/sys/system.ts";

const fileSystem = systemFileSystem();
using tree = fileSystem.openTree(Deno.args[0]);
tree.makeDirectory("mine", 0o755);
using file = tree.open("mine/f", { access: "create" });
const codes = [
  () => tree.setAttributes("mine", { uid: 0 }),
  () => file.setAttributes({ uid: 0 }),
  () => tree.setAttributes("mine/f", { mode: 0, mtimeNs: 1n }),
].map((call) => {
  try {
    call();
    return "";
  } catch (error) {
    return errorCode(error);
  }
});
const stat = tree.stat("mine/f")!;
console.log(JSON.stringify([fileSystem.name, fileSystem.abilities.ownership, ...codes, stat.mode, stat.uid]));
