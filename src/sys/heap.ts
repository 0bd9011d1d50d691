/**
 * Memory that was freed and that libc keeps for later.
 * @module
 */
import { libc } from "./libc.ts";

/** Kept at the end of the heap all the same, in bytes, for what comes next. */
const PAD_BYTES = 1 << 20;

/** Gives the system back what is free, where libc can be told to (glibc; elsewhere nothing happens). */
export function giveBackFreed(): void {
  if (Deno.build.os === "linux") libc().malloc_trim(PAD_BYTES);
}
