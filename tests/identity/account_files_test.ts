/**
 * The files of a machine's accounts: what is written comes back, and a bad line costs nobody but itself.
 * @module
 */
import { assertEquals } from "@std/assert";
import * as fc from "fast-check";
import { isAccountField, isAccountName } from "../../src/base/accounts.ts";
import { parseGroup, parsePasswd, parseShadow, readAccountFiles } from "../../src/identity/account_files.ts";
import { tempDirectory } from "../testing/temp.ts";

const name = fc.string({ minLength: 1, maxLength: 8, unit: "binary" }).filter(isAccountName);
const field = fc.string({ maxLength: 12, unit: "binary" }).filter(isAccountField);
const path = fc.oneof(fc.constant(""), field.map((text) => `/${text}`));
const number = fc.integer({ min: 0, max: 0xffff_fffe });
const user = fc.record({ name, uid: number, gid: number, gecos: field, home: path, shell: path });
const group = fc.record({ name, gid: number, members: fc.uniqueArray(name, { maxLength: 4 }) });

/** Lines that are no entry of passwd or group. */
const badLine = fc.constantFrom(
  "# a comment",
  "+::::::",
  "-bert",
  "a:b",
  "x:x:12a:0:::",
  "y:x:-1:",
  "::",
  ":x:0:0:::",
);

const distinct = { selector: ({ name }: { name: string }) => name, maxLength: 6 };

Deno.test("parsePasswd() gives what was written, and counts the lines between that are none", () => {
  fc.assert(fc.property(fc.uniqueArray(user, distinct), fc.array(badLine, { maxLength: 3 }), (users, bad) => {
    const lines = users.map((each) =>
      [each.name, "x", each.uid, each.gid, each.gecos, each.home, each.shell].join(":")
    );
    const text = [...bad, ...lines, ...bad, ""].join("\n");
    assertEquals(parsePasswd(text), { entries: users, skippedCount: 2 * bad.length });
  }));
});

Deno.test("parseGroup() gives what was written, and counts the lines between that are none", () => {
  fc.assert(
    fc.property(fc.uniqueArray(group, distinct), fc.array(badLine, { maxLength: 3 }), (groups, bad) => {
      const lines = groups.map(({ name, gid, members }) => [name, "x", gid, members.join(",")].join(":"));
      const text = [...lines, ...bad].join("\n");
      assertEquals(parseGroup(text), { entries: groups, skippedCount: bad.length });
    }),
  );
});

Deno.test("parsePasswd() takes the first of two accounts of one name, and numbers that 32 bits hold", () => {
  const { entries, skippedCount } = parsePasswd(
    "a:x:1:1::/:/bin/sh\na:x:2:2::/:/bin/sh\nb:x:4294967295:1::/:\nc:x:4294967294:1::/:\n",
  );
  assertEquals([entries.map(({ name, uid }) => [name, uid]), skippedCount], [
    [["a", 1], ["c", 4294967294]],
    2,
  ]);
});

Deno.test("parseShadow() gives hashes, locked and empty ones too", () => {
  assertEquals(parseShadow("a:$6$x$y:19000:0:99999:7:::\nb:!:19000::::::\nc::1::::::\nd\n"), {
    entries: [{ name: "a", hash: "$6$x$y" }, { name: "b", hash: "!" }, { name: "c", hash: "" }],
    skippedCount: 1,
  });
});

Deno.test("readAccountFiles() keeps bytes that are not UTF-8, and has nobody where there are no files", async () => {
  await using directory = await tempDirectory();
  assertEquals(readAccountFiles(directory.path), {
    users: [],
    groups: [],
    hashes: undefined,
    skippedCount: 0,
  });
  const line = new TextEncoder().encode("a:x:1:1:A?:/:/bin/sh\n");
  line[line.indexOf(0x3f)] = 0xff;
  await Deno.writeFile(`${directory.path}/passwd`, line);
  const { users, hashes } = readAccountFiles(directory.path, { withPasswords: true });
  assertEquals([users[0].gecos, hashes?.size], ["A\udcff", 0]);
});
