/**
 * Our own state may lie inside a directory that is replicated; replicating it would never end.
 * @module
 */
import { isWithin } from "../base/path.ts";
import { realPathOf } from "../target/places.ts";

/** Tells which paths below a root are our own state directory. */
export function isOwnState(root: string, state: string): (path: string) => boolean {
  const [realRoot, realState] = [realPathOf(root), realPathOf(state)];
  if (!isWithin(realState, realRoot === "/" ? "" : realRoot)) return () => false;
  const relative = realState.slice(realRoot === "/" ? 1 : realRoot.length + 1);
  return (path) => isWithin(path, relative);
}
