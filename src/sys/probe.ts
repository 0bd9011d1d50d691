/**
 * What a file system does with names and times, asked by a file that is made in a directory of ours and removed again.
 * @module
 */
import { SystemError } from "../base/errors.ts";
import type { Tree } from "./file_system.ts";

/** What a file system does. */
export interface Probed {
  /** It may take other names for the same, or change them: see exact_tree.ts. */
  confusesNames: boolean;
  /** Times come back as they were set. */
  keepsNanoseconds: boolean;
}

/** A name, and two others that are the same where case, or the form of an accented letter, do not count. */
const [NAME, LOWER, DECOMPOSED] = ["probe-A\u00e9", "probe-a\u00e9", "probe-Ae\u0301"];
const TIME_NS = 1_234_567_890_123_456_789n;

/** Asks the file system of a tree, in its root. Of one that cannot be asked now that is taken for true which is safe. */
export function probeFileSystem(tree: Tree): Probed {
  // Times that come back otherwise are sent again, no more; names are to be told apart at any cost.
  const safe = { confusesNames: true, keepsNanoseconds: true };
  // One that a crash left here.
  attempt(() => tree.unlink(NAME), undefined);
  return attempt(() => {
    tree.open(NAME, { access: "create" }).close();
    try {
      tree.setAttributes(NAME, { mtimeNs: TIME_NS });
      const isListed = tree.list("").some(({ name }) => name === NAME);
      const twins = [LOWER, DECOMPOSED].filter((name) => attempt(() => tree.stat(name), undefined));
      return {
        confusesNames: !isListed || twins.length > 0,
        keepsNanoseconds: tree.stat(NAME)?.mtimeNs === TIME_NS,
      };
    } finally {
      tree.unlink(NAME);
    }
  }, safe);
}

function attempt<T>(ask: () => T, otherwise: T): T {
  try {
    return ask();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return otherwise;
  }
}
