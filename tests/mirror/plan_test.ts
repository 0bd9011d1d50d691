/**
 * The decision about one entry, as a table.
 *
 * Method: `disk` and `held` are given as what differs from one file that both have. The steps are compared as data.
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  planEntry,
  type PlanPolicy,
  sameTime,
  sendableAttributes,
  type Step,
} from "../../src/mirror/plan.ts";
import type { Held } from "../../src/ops/held.ts";
import type { Stat } from "../../src/sys/file_system.ts";

const T = 1_700_000_000_123_456_789n;

const file: Stat = {
  kind: "file",
  mode: 0o644,
  uid: 1000,
  gid: 100,
  size: 10,
  mtimeNs: T,
  ctimeNs: T + 5n,
  dev: 8,
  ino: 77n,
  linkCount: 1,
};
const held: Held = {
  kind: "file",
  mode: 0o644,
  uid: 1000,
  gid: 100,
  size: 10,
  mtimeNs: T,
  linkTarget: "",
  ctimeNs: T + 5n,
  dev: 8,
  ino: 77n,
  trusted: true,
};
const all = { ownership: true, modes: true, nanoseconds: true, links: true, nodes: true, xattrs: true };
/** An entry that was learned from the receiver's listing. */
const listed = { ctimeNs: 0n, dev: 0, ino: 0n };

interface Row {
  what: string;
  disk?: Partial<Stat>;
  held?: Partial<Held> | "nothing";
  policy?: Partial<PlanPolicy>;
  linkTarget?: string;
  step: Step;
}

const nothing: Step = { do: "nothing" };
const adopt: Step = { do: "adopt" };
const contents: Step = { do: "contents" };
const make = (replaces: boolean): Step => ({ do: "make", replaces });
const attributes = (change: (Step & { do: "attributes" })["change"]): Step => ({ do: "attributes", change });
const keep = (reason: string): Step => ({ do: "keep", reason });
const directory = { kind: "directory" } as const;
const symlink = { kind: "symlink", mode: 0o777 } as const;
const without = (ability: keyof typeof all) => ({ abilities: { ...all, [ability]: false } });

const rows: Row[] = [
  { what: "the same, and known", step: nothing },
  { what: "nothing held", held: "nothing", step: make(false) },
  { what: "nothing held, overwrite none", held: "nothing", policy: { overwrite: "none" }, step: make(false) },

  // ——— Identity ———
  { what: "the same by a listing", held: listed, step: adopt },
  { what: "a directory by a listing", disk: directory, held: { ...directory, ...listed }, step: adopt },
  { what: "another device number after a mount", disk: { dev: 9 }, step: adopt },
  {
    what: "a directory with another identity",
    disk: { ...directory, ino: 78n },
    held: directory,
    step: adopt,
  },
  {
    what: "a directory with a change below",
    disk: { ...directory, ctimeNs: T + 9n },
    held: directory,
    step: adopt,
  },

  // ——— Contents ———
  { what: "another size", disk: { size: 11 }, step: contents },
  { what: "another time", disk: { mtimeNs: T + 1n }, step: contents },
  { what: "an earlier time", disk: { mtimeNs: T - 1n }, step: contents },
  { what: "another file of the same size and time", disk: { ino: 78n }, step: contents },
  { what: "only another change time: times put back", disk: { ctimeNs: T + 9n }, step: contents },
  { what: "not trusted", held: { trusted: false }, step: contents },
  { what: "not trusted, by a listing", held: { ...listed, trusted: false }, step: contents },
  { what: "full, by a listing", held: listed, policy: { full: true }, step: contents },
  { what: "full, sent by ourselves", policy: { full: true }, step: nothing },
  { what: "another size and mode", disk: { size: 11, mode: 0o600 }, step: contents },
  { what: "a size of a directory", disk: { ...directory, size: 4096 }, held: directory, step: nothing },
  {
    what: "a directory that is not trusted",
    disk: directory,
    held: { ...directory, trusted: false },
    step: adopt,
  },

  // ——— Attributes ———
  { what: "another mode", disk: { mode: 0o600 }, step: attributes({ mode: 0o600 }) },
  {
    what: "another mode explains the change time",
    disk: { mode: 0o600, ctimeNs: T + 9n },
    step: attributes({ mode: 0o600 }),
  },
  {
    what: "another owner, which clears suid: mode goes along",
    disk: { uid: 5, mode: 0o4755 },
    held: { mode: 0o4755 },
    step: attributes({ uid: 5, gid: 100, mode: 0o4755 }),
  },
  { what: "another group", disk: { gid: 5 }, step: attributes({ uid: 1000, gid: 5, mode: 0o644 }) },
  {
    what: "another time of a directory",
    disk: { ...directory, mtimeNs: T + 1n },
    held: directory,
    step: attributes({ mtimeNs: T + 1n }),
  },

  // ——— Abilities ———
  { what: "another mode, without modes", disk: { mode: 0o600 }, policy: without("modes"), step: nothing },
  { what: "another owner, without ownership", disk: { uid: 5 }, policy: without("ownership"), step: nothing },
  {
    what: "another owner, without modes",
    disk: { uid: 5 },
    policy: without("modes"),
    step: attributes({ uid: 5, gid: 100 }),
  },
  {
    what: "another time within a millisecond, without nanoseconds",
    disk: { mtimeNs: T + 1n },
    policy: without("nanoseconds"),
    step: nothing,
  },
  {
    what: "the next millisecond, without nanoseconds",
    disk: { mtimeNs: T + 1_000_000n },
    policy: without("nanoseconds"),
    step: contents,
  },
  {
    what: "another owner in a change time, without ownership",
    disk: { uid: 5, ctimeNs: T + 9n },
    policy: without("ownership"),
    step: contents,
  },

  // ——— Kinds ———
  { what: "a file where a directory is held", held: directory, step: make(true) },
  { what: "a directory where a file is held", disk: directory, step: make(true) },
  { what: "a symlink where a file is held", disk: symlink, linkTarget: "a", step: make(true) },
  {
    what: "a symlink with the same target",
    disk: symlink,
    held: { ...symlink, linkTarget: "a" },
    linkTarget: "a",
    step: nothing,
  },
  {
    what: "a symlink with another target",
    disk: symlink,
    held: { ...symlink, linkTarget: "b" },
    linkTarget: "a",
    step: make(false),
  },
  {
    what: "a symlink's mode, which nobody can set",
    disk: { ...symlink, mode: 0o755 },
    held: { ...symlink, linkTarget: "a" },
    linkTarget: "a",
    step: nothing,
  },
  {
    what: "a symlink's owner",
    disk: { ...symlink, uid: 5 },
    held: { ...symlink, linkTarget: "a" },
    linkTarget: "a",
    step: attributes({ uid: 5, gid: 100 }),
  },

  // ——— Overwriting ———
  { what: "none, the same", policy: { overwrite: "none" }, step: nothing },
  { what: "none, by a listing", held: listed, policy: { overwrite: "none" }, step: adopt },
  { what: "none, another size", disk: { size: 9 }, policy: { overwrite: "none" }, step: keep("exists") },
  { what: "none, another mode", disk: { mode: 0 }, policy: { overwrite: "none" }, step: keep("exists") },
  { what: "none, another kind", held: directory, policy: { overwrite: "none" }, step: keep("exists") },
  {
    what: "none, both directories: what is below needs them",
    disk: { ...directory, mode: 0o700 },
    held: directory,
    policy: { overwrite: "none" },
    step: attributes({ mode: 0o700 }),
  },
  { what: "older, held is older", held: { mtimeNs: T - 1n }, policy: { overwrite: "older" }, step: contents },
  { what: "older, held is as old", held: { size: 9 }, policy: { overwrite: "older" }, step: contents },
  {
    what: "older, held is newer",
    held: { mtimeNs: T + 1n },
    policy: { overwrite: "older" },
    step: keep("newer"),
  },
  {
    what: "older, a newer directory where a file was",
    held: { ...directory, mtimeNs: T + 1n },
    policy: { overwrite: "older" },
    step: keep("newer"),
  },
  {
    what: "older, a newer directory",
    disk: directory,
    held: { ...directory, mtimeNs: T + 1n },
    policy: { overwrite: "older" },
    step: attributes({ mtimeNs: T }),
  },
  { what: "all, held is newer", held: { mtimeNs: T + 1n }, policy: { overwrite: "all" }, step: contents },
];

for (const row of rows) {
  Deno.test(`planEntry(): ${row.what}`, () => {
    const there = row.held === "nothing" ? undefined : { ...held, ...row.held };
    const policy = { abilities: all, ...row.policy };
    assertEquals(planEntry({ ...file, ...row.disk }, there, policy, row.linkTarget), row.step);
  });
}

Deno.test("sendableAttributes() names what the receiver can hold", () => {
  const none = {
    ownership: false,
    modes: false,
    nanoseconds: false,
    links: false,
    nodes: false,
    xattrs: false,
  };
  assertEquals(sendableAttributes(file, all), { mode: 0o644, uid: 1000, gid: 100, mtimeNs: T });
  assertEquals(sendableAttributes({ ...file, kind: "symlink" }, all), { uid: 1000, gid: 100, mtimeNs: T });
  assertEquals(sendableAttributes(file, { ...all, ownership: false }), { mode: 0o644, mtimeNs: T });
  assertEquals(sendableAttributes(file, none), { mtimeNs: T });
});

Deno.test("sameTime() compares times as the receiver cuts them, also before 1970", () => {
  const coarse = { ...all, nanoseconds: false };
  const rows: [bigint, bigint, boolean][] = [
    [0n, 999_999n, true],
    [0n, 1_000_000n, false],
    [-1_500_000n, -2_000_000n, true],
    [-1_500_000n, -1_000_000n, false],
    [T, T - T % 1_000_000n, true],
  ];
  for (const [a, b, expected] of rows) {
    assertEquals(sameTime(a, b, coarse), expected, `${a}, ${b}`);
    assertEquals(sameTime(a, b, all), false);
  }
});
