/**
 * A slow obvious model of the index, and random changes of both, for property tests.
 * @module
 */
import fc from "fast-check";
import { isWithin, joinPath, movePath, parentPath } from "../../src/base/path.ts";
import type { Held, Signature } from "../../src/ops/held.ts";
import type { Index } from "../../src/source/index.ts";

/** What the model holds at a path. */
export interface ModelEntry {
  held: Held;
  signature: Signature | undefined;
}

export type Model = Map<string, ModelEntry>;

/** One random change; `a` and `b` are paths of a small universe, so that they meet often. */
export interface Change {
  what: "set" | "remove" | "move" | "exchange" | "sign" | "unsign";
  a: string;
  b: string;
  kind: Held["kind"];
  number: number;
}

const name = fc.constantFrom("a", "b", "ä\udcff long name.txt");
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));

export const change: fc.Arbitrary<Change> = fc.record({
  what: fc.constantFrom("set", "set", "set", "set", "remove", "move", "move", "exchange", "sign", "unsign"),
  a: path,
  b: path,
  kind: fc.constantFrom("directory", "directory", "file", "symlink"),
  number: fc.nat(7),
});

/** Some held state that differs with `number` and `kind`. */
export function someHeld(kind: Held["kind"], number: number): Held {
  return {
    kind,
    mode: 0o600 + number,
    uid: number,
    gid: 4_000_000_000 + number,
    size: kind === "directory" ? 0 : number * 10_000_000_000,
    mtimeNs: 1_763_800_000_123_456_789n + BigInt(number),
    linkTarget: kind === "symlink" ? `../ziel/\udcfe${"x".repeat(number)}` : "",
    ctimeNs: BigInt(number),
    dev: number % 2,
    ino: number === 0 ? 0n : 18_446_744_073_709_551_600n + BigInt(number % 4),
    trusted: number !== 3,
    ...(number % 3 === 1 ? { xattrDigest: 2n ** 64n - BigInt(number) } : undefined),
    ...(number % 3 === 2 && kind !== "directory"
      ? { linkGroup: number % 2 === 0 ? number : -number * 2 ** 40 }
      : undefined),
  };
}

/** Some signature that differs with `number`. */
export function someSignature(number: number, blocks = 3): Signature {
  return {
    blockSize: 4096,
    fileSize: 4096 * blocks - number,
    hashes: new Uint8Array(16 * blocks).fill(number),
  };
}

/** Whether the change is one that the index's contract allows here. */
export function isAllowed(model: Model, { what, a, b }: Change): boolean {
  const hasParent = (path: string) =>
    parentPath(path) === "" || model.get(parentPath(path))?.held.kind === "directory";
  const apart = !isWithin(a, b) && !isWithin(b, a);
  switch (what) {
    case "set":
      return hasParent(a);
    case "remove":
      return true;
    case "move":
      return model.has(a) && apart && hasParent(b);
    case "exchange":
      return model.has(a) && model.has(b) && apart;
    case "sign":
    case "unsign":
      return model.has(a);
  }
}

/** The model after an allowed change; the old one is left as it is. */
export function changeModel(model: Model, { what, a, b, kind, number }: Change): Model {
  const next: Model = new Map(model);
  const removeAll = (top: string, keepTop = false) => {
    for (const path of model.keys()) if (isWithin(path, top) && !(keepTop && path === top)) next.delete(path);
  };
  const moveAll = (from: string, to: string) => {
    for (const [path, entry] of model) if (isWithin(path, from)) next.set(movePath(path, from, to), entry);
  };
  const old = model.get(a);
  if (what === "set") {
    if (kind !== "directory") removeAll(a, true);
    const signature = old?.held.kind === kind ? old.signature : undefined;
    next.set(a, { held: someHeld(kind, number), signature });
  } else if (what === "remove") {
    removeAll(a);
  } else if (what === "move") {
    removeAll(b);
    removeAll(a);
    moveAll(a, b);
  } else if (what === "exchange") {
    removeAll(a);
    removeAll(b);
    moveAll(a, b);
    moveAll(b, a);
  } else {
    next.set(a, { held: old!.held, signature: what === "sign" ? someSignature(number) : undefined });
  }
  return next;
}

/** The same change of an index. */
export function changeIndex(index: Index, { what, a, b, kind, number }: Change, sequence: number): void {
  if (what === "set") index.set(a, someHeld(kind, number), sequence);
  else if (what === "remove") index.remove(a, sequence);
  else if (what === "move") index.move(a, b, sequence);
  else if (what === "exchange") index.exchange(a, b, sequence);
  else index.setSignature(a, what === "sign" ? someSignature(number) : undefined, sequence);
}

/** Everything that an index holds, found by walking it. */
export function contentsOf(index: Index): Model {
  const model: Model = new Map();
  const walk = (directory: string) => {
    for (const name of index.children(directory)) {
      const path = joinPath(directory, name);
      model.set(path, { held: index.get(path)!, signature: index.getSignature(path) });
      walk(path);
    }
  };
  walk("");
  return model;
}
