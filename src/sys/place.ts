/**
 * Where a directory is, so that two ends which happen to share a machine can tell whether one lies within the other.
 * Paths would not do: links, bind mounts and containers give one directory many names.
 * @module
 */
import { dirname } from "node:path";
import { errorCode } from "../base/errors.ts";

/** A directory's place on its machine. */
export interface Place {
  /** Random identity of the running system, `""` if it has none. */
  machine: string;
  /** `dev:ino` of the directory and of each directory above it, itself first. */
  identities: string[];
}

/** Tells the place of an existing directory. */
export function placeOf(path: string): Place {
  const identities: string[] = [];
  for (let directory = Deno.realPathSync(path);; directory = dirname(directory)) {
    const { dev, ino } = Deno.statSync(directory);
    identities.push(`${dev}:${ino}`);
    if (dirname(directory) === directory) break;
  }
  return { machine: machineIdentity(), identities };
}

/** How two places overlap: `inside` if `b` lies within `a`, `around` if it contains it, `same`, or `apart`. */
export function comparePlaces(a: Place, b: Place): "inside" | "around" | "same" | "apart" {
  if (a.machine === "" || a.machine !== b.machine) return "apart";
  if (a.identities[0] === b.identities[0]) return "same";
  if (b.identities.includes(a.identities[0])) return "inside";
  return a.identities.includes(b.identities[0]) ? "around" : "apart";
}

/** Linux makes a new one at each boot. Elsewhere nothing as good is at hand, and local targets are compared by path. */
function machineIdentity(): string {
  try {
    return Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
  } catch (error) {
    if (errorCode(error)) return "";
    throw error;
  }
}
