/**
 * Makes calls fail with `ENOTDIR` in a Worker and counts where errno says otherwise.
 * @module
 */
import { AT, errno, libc, O, PathBuffer } from "../../src/sys/libc.ts";

const path = new PathBuffer();
let wrong = 0;
for (let i = 0; i < 100_000; i++) {
  const opened = libc().openat(AT.FDCWD, path.put("/etc/passwd/below"), O.RDONLY, 0);
  if (opened !== -1 || errno() !== 20) wrong++;
}
(self as unknown as { postMessage(message: unknown): void }).postMessage({ wrong });
