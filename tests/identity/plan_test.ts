/**
 * What rebuilding accounts would do: the table of plan.ts, line by line, and what holds for any machine.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import * as fc from "fast-check";
import type { Accounts, GroupAccount, UserAccount } from "../../src/base/accounts.ts";
import type { LocalAccounts } from "../../src/identity/account_files.ts";
import { mapByName, planAccounts } from "../../src/identity/plan.ts";

function user(name: string, uid: number, change: Partial<UserAccount> = {}): UserAccount {
  return { name, uid, gid: uid, gecos: "", home: `/home/${name}`, shell: "/bin/sh", ...change };
}

function group(name: string, gid: number, members: string[] = []): GroupAccount {
  return { name, gid, members };
}

function accounts(users: UserAccount[], groups: GroupAccount[], change: Partial<Accounts> = {}): Accounts {
  return { machine: "a", at: "", users, groups, unknownUids: [], unknownGids: [], ...change };
}

function local(users: UserAccount[], groups: GroupAccount[]): LocalAccounts {
  return { users, groups, hashes: new Map(), skippedCount: 0 };
}

const nobody = { made: { users: {}, groups: {} }, force: false };
const root = user("root", 0);

Deno.test("planAccounts() makes what is free with its numbers, groups first", () => {
  const source = accounts([user("anna", 1000, { hash: "h" })], [
    group("anna", 1000),
    group("web", 50, ["anna"]),
  ]);
  const plan = planAccounts(source, { local: local([root], [group("root", 0)]), ...nobody });
  assertEquals(plan.steps.map((step) => `${step.do} ${step.name}`), [
    "make group anna",
    "make group web",
    "make user anna",
    "set groups anna",
    "set password anna",
  ]);
  assertEquals([plan.mapped, plan.owners], [[], { users: [], groups: [] }]);
});

Deno.test("planAccounts() does nothing for who is here with the same name, number and fields", () => {
  const [users, groups] = [[user("anna", 1000)], [group("anna", 1000)]];
  const plan = planAccounts(accounts(users, groups), { local: local([...users, root], groups), ...nobody });
  assertEquals([plan.steps, plan.mapped, plan.kept, plan.sameCount], [[], [], [], 2]);
});

Deno.test("planAccounts() maps a name to the number that it has here, and to a free one where its number is taken", () => {
  const source = accounts([user("anna", 1000), user("bert", 1001)], [group("anna", 1000)], {
    unknownUids: [1002],
  });
  const here = local([user("anna", 1500, { gid: 1000 }), user("other", 1001)], [group("anna", 1000)]);
  const plan = planAccounts(source, { local: here, ...nobody });
  // 1000 and 1001 are the source's or taken, 1002 owns something there.
  assertEquals(plan.owners.users, [[1000, 1500], [1001, 1003]]);
  assertEquals(plan.mapped.map(({ name, reason }) => [name, reason]), [
    ["anna", "it has that number here"],
    ["bert", 'its number belongs to "other" here'],
  ]);
});

Deno.test("planAccounts() gives a system account a system number", () => {
  const here = local([user("other", 110)], []);
  const plan = planAccounts(accounts([user("daemon2", 110)], []), { local: here, ...nobody });
  assertEquals(plan.owners.users, [[110, 999]]);
});

Deno.test("planAccounts() never makes a second root, nor changes root, not even by force", () => {
  const source = accounts([user("toor", 0), user("root", 0, { shell: "/bin/evil", hash: "h" })], []);
  const plan = planAccounts(source, { local: local([root], []), made: nobody.made, force: true });
  assertEquals([plan.steps, plan.owners.users], [[], []]);
  assertEquals(plan.kept.map(({ name, reason }) => [name, reason]), [
    ["toor", "it has number 0 on the source, which is root's on every machine"],
  ]);
});

Deno.test("no plan gives what belongs to a user to an account that is root here", () => {
  const source = accounts([user("toor", 1005)], [group("wheel", 10)]);
  const here = local([root, user("toor", 0)], [group("wheel", 0)]);
  const plan = planAccounts(source, { local: here, made: nobody.made, force: true });
  assertEquals([plan.steps, plan.owners, plan.kept.length], [[], { users: [], groups: [] }, 2]);
  assertEquals(mapByName(source, here), { users: [], groups: [] });
});

Deno.test("planAccounts() changes who it made, and others by force alone", () => {
  const source = accounts([user("anna", 1000, { shell: "/bin/zsh" })], [group("web", 50, ["anna"])]);
  const here = local([user("anna", 1000)], [group("web", 50)]);
  const ours = { users: { anna: 1000 }, groups: {} };
  const steps = ["change user", "set groups"];
  const planned = (options: Partial<Parameters<typeof planAccounts>[1]>) =>
    planAccounts(source, { local: here, ...nobody, ...options });
  assertEquals(planned({ made: ours }).steps.map((step) => step.do), steps);
  assertEquals(planned({ force: true }).steps.map((step) => step.do), steps);
  assertEquals(planned({}).steps, []);
  assertEquals(planned({}).kept[0].reason.includes("differs (shell, groups)"), true);
  // Somebody made another one of that name since then.
  assertEquals(planned({ made: { users: { anna: 1001 }, groups: {} } }).steps, []);
});

Deno.test("planAccounts() of any two machines gives no number twice and none of root's, and ends after one run", () => {
  const number = fc.integer({ min: 1, max: 12 });
  const names = ["a", "b", "c", "d", "e"] as const;
  const users = fc.uniqueArray(fc.tuple(fc.constantFrom(...names), number), { selector: ([name]) => name });
  fc.assert(fc.property(users, users, fc.array(number), (there, standing, unknownUids) => {
    const source = accounts(there.map(([name, uid]) => user(name, uid, { gid: 0 })), [], { unknownUids });
    // A machine gives each number once.
    const distinct = standing.filter(([, uid], i) => standing.findIndex((each) => each[1] === uid) === i);
    const here = local([root, ...distinct.map(([name, uid]) => user(name, uid, { gid: 0 }))], []);
    const plan = planAccounts(source, { local: here, ...nobody });
    const made = plan.steps.flatMap((step) => step.do === "make user" ? [step.account] : []);
    const numbers = [...here.users, ...made].map(({ uid }) => uid);
    assertEquals(new Set(numbers).size, numbers.length, "each number has one owner");
    const foreign = [...source.users.map(({ uid }) => uid), ...unknownUids];
    for (const { name, uid } of made) {
      const isOwn = source.users.find((each) => each.name === name)!.uid === uid;
      assert(isOwn || !foreign.includes(uid), `${name} has a number that others have on the source`);
    }
    const after = planAccounts(source, { local: local([...here.users, ...made], []), ...nobody });
    assertEquals(after.steps, []);
    assertEquals(after.owners, plan.owners);
  }));
});

Deno.test("mapByName() names those whose number is another one here", () => {
  const source = accounts([user("a", 1), user("b", 2), user("c", 3)], [group("g", 1)]);
  const here = local([user("a", 1), user("b", 5)], [group("g", 9)]);
  assertEquals(mapByName(source, here), { users: [[2, 5]], groups: [[1, 9]] });
});
