/**
 * The table of op × op, cell by cell.
 *
 * Goal: each cell says what was decided, and each rule does what its cell promises. Method: the whole table as text,
 * which a change of any cell breaks; then what becomes of pairs, at both sides of each condition.
 * @module
 */
import { assertEquals } from "@std/assert";
import { mergeOps, mergeTable, type Outcome } from "../../src/ops/merge.ts";
import { isDeparture, type StackedKind, type StackedOp, type StackedOpOf } from "../../src/ops/stacked.ts";

const file = 7;
const path = "a";

function write(start: number, end: number): StackedOpOf<"write"> {
  return { kind: "write", path, file, start, end };
}

function truncate(lowest: number, size = lowest): StackedOpOf<"truncate"> {
  return { kind: "truncate", path, file, lowest, size };
}

function attributes(change: StackedOpOf<"attributes">["attributes"], isDirectory = false): StackedOp {
  return { kind: "attributes", path, file, isDirectory, attributes: change };
}

const create: StackedOp = { kind: "create", path, file, attributes: { mode: 0o600 } };
const symlink: StackedOp = { kind: "symlink", path, file, target: "b", attributes: {} };
const link: StackedOp = { kind: "link", path, file, to: "b" };
const unlink: StackedOp = { kind: "unlink", path, file };
const unlinkOne: StackedOp = { kind: "unlink", path, file, survivor: "b" };
const unlinkHidden: StackedOp = { kind: "unlink", path, file, survivor: "" };

const one: Record<StackedKind, StackedOp> = {
  create,
  write: write(0, 10),
  truncate: truncate(5),
  attributes: attributes({ mode: 0o644 }),
  symlink,
  mkdir: { kind: "mkdir", path, attributes: {} },
  link,
  unlink,
  rmdir: { kind: "rmdir", path },
  rename: { kind: "rename", path, to: "b", exchange: false },
  hold: { kind: "hold" },
};
const kinds = Object.keys(one) as StackedKind[];

/** Older op in front; newer ones in this order. What is not named is a barrier. */
const expected = `
            write    truncate  attributes  unlink
create      keep     keep      keep        annul
write       extend   cut       keep        drop
truncate    below    lower     keep        drop
attributes  barrier  barrier   cover       drop
symlink     barrier  barrier   keep        annul
`;

Deno.test("mergeTable holds what was decided for each pair; all other pairs are barriers", () => {
  const [columns, ...rows] = expected.trim().split("\n").map((line) => line.trim().split(/ +/));
  const named = new Map(rows.map(([older, ...cells]) => [older, cells]));
  let cells = 0;
  for (const older of kinds) {
    for (const newer of kinds) {
      const rule = named.get(older)?.[columns.indexOf(newer)] ?? "barrier";
      assertEquals(mergeTable[older][newer], rule, `${older} × ${newer}`);
      cells++;
    }
  }
  assertEquals(cells, 121);
});

Deno.test("rename, removal of a directory, link and hold mark are barriers to both sides", () => {
  for (const barrier of ["rename", "rmdir", "link", "hold", "mkdir"] as const) {
    for (const other of kinds) {
      assertEquals(mergeOps(one[barrier], one[other], 512), { then: "stop" }, `${barrier} × ${other}`);
      assertEquals(mergeOps(one[other], one[barrier], 512), { then: "stop" }, `${other} × ${barrier}`);
    }
  }
});

Deno.test("isDeparture() names the ops after which a name is another one", () => {
  assertEquals(kinds.filter((kind) => isDeparture(one[kind])), ["unlink", "rmdir", "rename"]);
});

const pass: Outcome = { then: "pass" };
const stop: Outcome = { then: "stop" };
const drop: Outcome = { then: "drop" };

const pairs: { what: string; older: StackedOp; newer: StackedOp; outcome: Outcome }[] = [
  {
    what: "writes of the source text become one",
    older: write(20, 60),
    newer: write(40, 100),
    outcome: { then: "join", op: write(20, 100) },
  },
  { what: "writes far apart stay", older: write(20, 60), newer: write(1_040, 1_100), outcome: pass },
  {
    what: "511 bytes between two writes go with them",
    older: write(571, 600),
    newer: write(20, 60),
    outcome: { then: "join", op: write(20, 600) },
  },
  {
    what: "512 bytes between two writes part them",
    older: write(572, 600),
    newer: write(20, 60),
    outcome: pass,
  },
  {
    what: "a write within what a truncation left passes it",
    older: truncate(50),
    newer: write(40, 50),
    outcome: pass,
  },
  {
    what: "a write beyond a truncation does not pass it",
    older: truncate(50),
    newer: write(40, 51),
    outcome: stop,
  },
  {
    what: "a write within what a truncation made anew does not pass it",
    older: truncate(50, 200),
    newer: write(60, 70),
    outcome: stop,
  },
  {
    what: "a truncation drops a write that begins at its size",
    older: write(50, 60),
    newer: truncate(50),
    outcome: drop,
  },
  {
    what: "a truncation shortens a write that begins below its size",
    older: write(49, 60),
    newer: truncate(50),
    outcome: { then: "shrink", op: write(49, 50) },
  },
  {
    what: "a truncation leaves a write that ends at its size",
    older: write(40, 50),
    newer: truncate(50),
    outcome: pass,
  },
  {
    what: "a truncation takes what its lowest size cuts off",
    older: write(40, 60),
    newer: truncate(50, 200),
    outcome: { then: "shrink", op: write(40, 50) },
  },
  {
    what: "a lower truncation is the one",
    older: truncate(50),
    newer: truncate(30),
    outcome: { then: "join", op: truncate(30) },
  },
  {
    what: "a file cut and made longer again has zeros from the cut on",
    older: truncate(50),
    newer: truncate(200),
    outcome: { then: "join", op: truncate(50, 200) },
  },
  {
    what: "of three sizes the lowest and the last count",
    older: truncate(50, 200),
    newer: truncate(100),
    outcome: { then: "join", op: truncate(50, 100) },
  },
  {
    what: "attributes that are all set again are dropped",
    older: attributes({ mode: 0o600, mtimeNs: undefined }),
    newer: attributes({ mode: 0o644, mtimeNs: 5n }),
    outcome: drop,
  },
  {
    what: "attributes of which one is not set again stay",
    older: attributes({ mode: 0o600, uid: 1 }),
    newer: attributes({ mode: 0o644, mtimeNs: 5n }),
    outcome: pass,
  },
  {
    what: "a directory's mode stays: what came between may need it",
    older: attributes({ mode: 0o755 }, true),
    newer: attributes({ mode: 0o555 }, true),
    outcome: pass,
  },
  {
    what: "a directory's time that is set again is dropped",
    older: attributes({ mtimeNs: 1n }, true),
    newer: attributes({ mtimeNs: 2n }, true),
    outcome: drop,
  },
  { what: "a write is not moved over attributes", older: attributes({}), newer: write(0, 1), outcome: stop },
  { what: "attributes pass a write", older: write(0, 1), newer: attributes({}), outcome: pass },
  { what: "the last removal drops writes", older: write(0, 1), newer: unlink, outcome: drop },
  { what: "the last removal drops truncations", older: truncate(0), newer: unlink, outcome: drop },
  { what: "the last removal drops attributes", older: attributes({ uid: 1 }), newer: unlink, outcome: drop },
  {
    what: "a file that came and is gone was never there",
    older: create,
    newer: unlink,
    outcome: { then: "annul" },
  },
  {
    what: "a link that came and is gone was never there",
    older: symlink,
    newer: unlink,
    outcome: { then: "annul" },
  },
  { what: "a file with another name keeps its writes", older: write(0, 1), newer: unlinkOne, outcome: stop },
  {
    what: "a file with an unknown name keeps its writes",
    older: write(0, 1),
    newer: unlinkHidden,
    outcome: stop,
  },
  { what: "a file with another name was there", older: create, newer: unlinkOne, outcome: stop },
];

for (const { what, older, newer, outcome } of pairs) {
  Deno.test(`mergeOps(): ${what}`, () => {
    const before = structuredClone([older, newer]);
    assertEquals(mergeOps(older, newer, 512), outcome);
    assertEquals([older, newer], before);
  });
}
