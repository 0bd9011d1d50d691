/**
 * The accounts that a set needs, as a machine has them: who is told of what, and when.
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { systemClock } from "../../src/base/clock.ts";
import { CommandError, CorruptionError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { createLog } from "../../src/base/log.ts";
import { AccountWatch } from "../../src/identity/account_watch.ts";
import { tempDirectory } from "../testing/temp.ts";

const PASSWD = "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/:/bin/sh\nbert:x:1001:1001::/:/bin/sh\n";
const GROUP = "root:x:0:\nanna:x:1000:\nbert:x:1001:\nweb:x:50:anna,bert\n";

/** An access control list by which users and groups may read. */
function acl(users: number[], groups: number[]): Uint8Array<ArrayBuffer> {
  const entries = [...users.map((id) => [2, id]), ...groups.map((id) => [8, id])];
  const view = new DataView(new ArrayBuffer(4 + 8 * entries.length));
  view.setUint32(0, 2, true);
  entries.forEach(([tag, id], i) => {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint32(8 + 8 * i, id, true);
  });
  return new Uint8Array(view.buffer);
}

async function openEtc(): Promise<
  { path: string; write(name: string, text: string): void } & AsyncDisposable
> {
  const directory = await tempDirectory();
  // As the programs do it: a new file takes the name.
  const write = (name: string, text: string) => {
    Deno.writeTextFileSync(`${directory.path}/${name}.new`, text);
    Deno.renameSync(`${directory.path}/${name}.new`, `${directory.path}/${name}`);
  };
  write("passwd", PASSWD);
  write("group", GROUP);
  write("shadow", "root:$r:1::::::\nanna:$a:1::::::\n");
  return { path: directory.path, write, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
}

function watch(
  directory: string,
  options: { extraUsers?: string[]; withPasswords?: boolean; seenPath?: string } = {},
) {
  const watched = new AccountWatch({
    extraUsers: [],
    withPasswords: false,
    ...options,
    directory,
    clock: systemClock,
    log: createLog({ write: () => {} }),
  });
  const told: string[] = [];
  const follow = watched.follow(({ users }) => void told.push(users.map(({ name }) => name).join()));
  return { watched, told, follow };
}

Deno.test("AccountWatch tells of an owner before noteOwner() returns, with the groups that it is in", async () => {
  await using etc = await openEtc();
  const { watched, told, follow } = watch(etc.path, { extraUsers: ["bert"] });
  assertEquals(watched.accounts.users.map(({ name }) => name), ["bert"]);
  watched.noteOwner(1000, 1000);
  watched.noteOwner(1000, 1000);
  assertEquals(told, ["anna,bert"]);
  assertEquals(watched.accounts.groups.map(({ name, members }) => `${name}:${members}`), [
    "anna:",
    "bert:",
    "web:anna,bert",
  ]);
  follow[Symbol.dispose]();
  watched.noteOwner(0, 0);
  assertEquals(told.length, 1);
});

Deno.test("AccountWatch.check() tells of what changed in the files, and of nothing else", async () => {
  await using etc = await openEtc();
  const { watched, told } = watch(etc.path);
  watched.noteOwner(1000, 1000);
  watched.check();
  etc.write("passwd", PASSWD.replace("bert", "eve"));
  watched.check();
  assertEquals(told.length, 1);
  etc.write("passwd", PASSWD.replace("anna:x:1000:1000::", "anna:x:1000:1000:Anna:"));
  watched.check();
  assertEquals([told.length, watched.accounts.users[0].gecos], [2, "Anna"]);
  Deno.removeSync(`${etc.path}/passwd`);
  watched.check();
  assertEquals([told.length, watched.status().unknownUids], [3, [1000]]);
});

Deno.test("AccountWatch lets password hashes travel only if asked, and never root's", async () => {
  await using etc = await openEtc();
  const hashes = ({ watched }: ReturnType<typeof watch>) => {
    watched.noteOwner(0, 0);
    watched.noteOwner(1000, 1000);
    return watched.accounts.users.map(({ name, hash }) => [name, hash]);
  };
  assertEquals(hashes(watch(etc.path)), [["anna", undefined], ["root", undefined]]);
  const asked = watch(etc.path, { withPasswords: true });
  assertEquals(hashes(asked), [["anna", "$a"], ["root", undefined]]);
  etc.write("shadow", "anna::1::::::\n");
  asked.watched.check();
  assertEquals(asked.watched.accounts.users[0].hash, undefined, "no password at all does not travel");
  etc.write("shadow", "anna:$b:1::::::\n");
  asked.watched.check();
  assertEquals(asked.watched.accounts.users[0].hash, "$b");
});

Deno.test("AccountWatch remembers over a restart whom lists name", async () => {
  await using etc = await openEtc();
  const seenPath = `${etc.path}/seen.json`;
  const first = watch(etc.path, { seenPath });
  first.watched.noteXattrs([{ name: "user.x", value: acl([0], []) }]);
  assertEquals(first.told, []);
  first.watched.noteXattrs([{ name: "system.posix_acl_access", value: acl([1001], [50, 4242]) }]);
  assertEquals(first.told, ["bert"]);
  const { accounts } = watch(etc.path, { seenPath }).watched;
  assertEquals(accounts.users.map(({ name }) => name), ["bert"]);
  assertEquals([accounts.groups.map(({ name }) => name), accounts.unknownGids], [["bert", "web"], [4242]]);
  // What cannot be saved is said, and saved later.
  const { watched } = watch(etc.path, { seenPath: `${etc.path}/none/seen.json` });
  watched.noteXattrs([{ name: "system.posix_acl_default", value: acl([1000], []) }]);
  assertEquals(watched.status().reason.includes("none/seen.json"), true);
  Deno.mkdirSync(`${etc.path}/none`);
  watched.check();
  assertEquals(watched.status().reason, "");
  assertEquals(JSON.parse(Deno.readTextFileSync(`${etc.path}/none/seen.json`)), {
    users: [1000],
    groups: [],
  });
  Deno.writeTextFileSync(seenPath, "[]");
  assertThrows(() => watch(etc.path, { seenPath }), CorruptionError, "Cannot load");
});

Deno.test("AccountWatch tells of very many new owners with the next look", async () => {
  await using etc = await openEtc();
  const count = limits.accountsAtOnceMax + 10;
  const lines = Array.from({ length: count }, (_, i) => `u${i}:x:${2000 + i}:2000::/:/bin/sh\n`);
  etc.write("passwd", lines.join(""));
  const { watched, told } = watch(etc.path);
  for (let i = 0; i < count; i++) watched.noteOwner(2000 + i, 2000);
  assertEquals([told.length, watched.accounts.users.length], [
    limits.accountsAtOnceMax,
    limits.accountsAtOnceMax,
  ]);
  watched.check();
  assertEquals(watched.accounts.users.length, count);
});

Deno.test("AccountWatch leaves out what is too much for one message, and says so", async () => {
  await using etc = await openEtc();
  const gecos = "x".repeat(4_000);
  const lines = Array.from({ length: 400 }, (_, i) => `u${i}:x:2000:2000:${gecos}:/:/bin/sh\n`);
  etc.write("passwd", lines.join(""));
  const { watched } = watch(etc.path);
  watched.noteOwner(2000, 2000);
  const { users, reason } = watched.status();
  assertEquals(users > 100 && users < 400, true);
  assertEquals(reason, `${400 - users} accounts are too many to travel`);
});

Deno.test("AccountWatch refuses to begin where passwords cannot be read, and names an extra user that is missing", async () => {
  await using etc = await openEtc();
  const { watched } = watch(etc.path, { extraUsers: ["eve"] });
  assertEquals(watched.status().reason, 'there is no user "eve"');
  Deno.removeSync(`${etc.path}/shadow`);
  Deno.mkdirSync(`${etc.path}/shadow`);
  assertThrows(() => watch(etc.path, { withPasswords: true }), CommandError, "Cannot read accounts");
});
