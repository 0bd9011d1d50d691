/**
 * What is to happen at most once.
 * @module
 */

/** A function that calls `action` the first time that it is called, and does nothing later. */
export function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    action();
  };
}
