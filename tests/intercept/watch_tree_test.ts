import { assertEquals, assertThrows } from "@std/assert";
import { NONE, ROOT, WatchTree } from "../../src/intercept/watch_tree.ts";

Deno.test("WatchTree gives paths, and a moved node takes everything below it along", () => {
  const tree = new WatchTree(1);
  const a = tree.add(ROOT, "a", 2);
  const b = tree.add(a, "b", 3);
  const c = tree.add(ROOT, "c", 4);
  assertEquals(tree.path(b), "a/b");
  tree.move(a, c, "d");
  assertEquals(tree.path(b), "c/d/b");
  assertEquals(tree.find(ROOT, "a"), NONE);
  assertEquals(tree.find(c, "d"), a);
  assertEquals(tree.byWd(3), b);
  assertThrows(() => tree.move(c, b, "ring"), Error, "own ancestor");
});

Deno.test("WatchTree has no path for what is in limbo, nor below it, until it has a place again", () => {
  const tree = new WatchTree(1);
  const a = tree.add(ROOT, "a", 2);
  const b = tree.add(a, "b", 3);
  tree.detach(a);
  assertEquals([tree.path(a), tree.path(b), tree.inLimbo(a), tree.inLimbo(b)], [
    undefined,
    undefined,
    true,
    false,
  ]);
  tree.add(ROOT, "a", 5);
  tree.move(a, ROOT, "back");
  assertEquals(tree.path(b), "back/b");
});

Deno.test("WatchTree equals a table of paths after ten thousand random steps, with numbers used again", () => {
  const tree = new WatchTree(1);
  const placeOf = new Map<number, { parent: number; name: string }>();
  const pathOf = (node: number): string => {
    if (node === ROOT) return "";
    const { parent, name } = placeOf.get(node)!;
    return parent === ROOT ? name : `${pathOf(parent)}/${name}`;
  };
  const childrenOf = (node: number) => [...placeOf].filter(([, { parent }]) => parent === node);
  let seed = 7;
  const below = (end: number) => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff) % end;
  let wd = 2;
  for (let step = 0; step < 10_000; step++) {
    const nodes = [ROOT, ...placeOf.keys()];
    const [node, parent] = [nodes[below(nodes.length)], nodes[below(nodes.length)]];
    const name = `n${below(4)}`;
    const isFree = tree.find(parent, name) === NONE;
    if (below(3) === 0 && node !== ROOT && childrenOf(node).length === 0) {
      tree.remove(node);
      placeOf.delete(node);
    } else if (isFree && below(2) === 0 && placeOf.size < 60) {
      placeOf.set(tree.add(parent, name, wd++), { parent, name });
    } else if (isFree && node !== ROOT && !tree.isWithin(parent, node)) {
      tree.move(node, parent, name);
      placeOf.set(node, { parent, name });
    }
    assertEquals(tree.size, placeOf.size + 1);
    for (const known of placeOf.keys()) {
      if (tree.path(known) !== pathOf(known)) {
        throw new Error(`step ${step}: ${tree.path(known)}, not ${pathOf(known)}`);
      }
      const { parent, name } = placeOf.get(known)!;
      if (tree.find(parent, name) !== known) throw new Error(`step ${step}: ${pathOf(known)} is not found`);
    }
  }
});
