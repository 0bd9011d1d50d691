/**
 * What is wrong with a directory that the user named.
 * @module
 */

/** Why a directory cannot be opened, in words where there are some. */
export function rootTrouble(code: string): string {
  switch (code) {
    case "ENOENT":
      return "there is no such directory";
    case "ENOTDIR":
      return "it is not a directory";
    case "EACCES":
    case "EPERM":
      return "no permission";
    default:
      return code;
  }
}
