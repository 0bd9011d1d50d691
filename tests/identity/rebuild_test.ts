/**
 * Rebuilding by programs: in which order, what is remembered, and what a failure stops.
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import type { Accounts } from "../../src/base/accounts.ts";
import { pathToBytes } from "../../src/base/path.ts";
import { CommandError, CorruptionError } from "../../src/base/errors.ts";
import { loadMadeAccounts } from "../../src/identity/made_accounts.ts";
import { type AccountCommand, runAccountCommand } from "../../src/identity/programs.ts";
import { rebuildAccounts } from "../../src/identity/rebuild.ts";
import { tempDirectory } from "../testing/temp.ts";

const accounts: Accounts = {
  machine: "a",
  at: "",
  users: [
    { name: "anna", uid: 1000, gid: 50, gecos: "-c", home: "", shell: "", hash: "$h" },
    { name: "svc", uid: 200, gid: 50, gecos: "", home: "/srv", shell: "/bin/false" },
  ],
  groups: [{ name: "web", gid: 50, members: ["anna"] }],
  unknownUids: [7],
  unknownGids: [],
};

Deno.test("rebuildAccounts() makes groups, users, memberships and passwords, and remembers whom it made", async () => {
  await using directory = await tempDirectory();
  const madePath = `${directory.path}/state/accounts.json`;
  const commands: AccountCommand[] = [];
  const runCommand = (command: AccountCommand) => Promise.resolve(void commands.push(command));
  const options = { madePath, directory: directory.path, runCommand };
  const planned = await rebuildAccounts(accounts, { ...options, dryRun: true });
  assertEquals([commands.length, loadMadeAccounts(madePath)], [0, { users: {}, groups: {} }]);
  const report = await rebuildAccounts(accounts, options);
  assertEquals([report.done, report.unknownUids], [planned.done, [7]]);
  assertEquals(commands.map(({ program, args, input }) => [program, ...args, input ?? ""].join(" ")), [
    "groupadd -r -g 50 web ",
    "useradd -M -N -u 1000 -g 50 -c -c -d / -s /bin/sh anna ",
    "usermod -G web anna ",
    "chpasswd -e anna:$h\n",
    "useradd -r -M -N -u 200 -g 50 -c  -d /srv -s /bin/false svc ",
  ]);
  assertEquals(loadMadeAccounts(madePath), { users: { anna: 1000, svc: 200 }, groups: { web: 50 } });
});

Deno.test("rebuildAccounts() names what failed, leaves its followers out and goes on", async () => {
  await using directory = await tempDirectory();
  const madePath = `${directory.path}/accounts.json`;
  const runCommand = ({ args }: AccountCommand) =>
    args.includes("anna") ? Promise.reject(new CommandError("no")) : Promise.resolve();
  const report = await rebuildAccounts(accounts, { madePath, directory: directory.path, runCommand });
  assertEquals(report.failed, [{ what: 'make user "anna" (1000)', reason: "no" }]);
  assertEquals(report.done, ['make group "web" (50)', 'make user "svc" (200)']);
  assertEquals(loadMadeAccounts(madePath), { users: { svc: 200 }, groups: { web: 50 } });
  await Deno.writeTextFile(madePath, '{"users":{"a":-1},"groups":{}}');
  await assertRejects(
    () => rebuildAccounts(accounts, { madePath, directory: directory.path, runCommand }),
    CorruptionError,
  );
});

Deno.test({
  name: "runAccountCommand() says which program is missing, and what one that failed said",
  ignore: Deno.build.os === "windows",
  async fn() {
    const run = (program: string, args: string[]) =>
      runAccountCommand({ program, args, input: "x".repeat(1e6) });
    await assertRejects(
      () => run("understudy-none", []),
      CommandError,
      'Cannot run "understudy-none": this machine has',
    );
    await assertRejects(
      () => run("sh", ["-c", "echo why >&2; exit 3"]),
      CommandError,
      'Cannot run "sh": why',
    );
    await run("sh", ["-c", "cat >/dev/null"]);
    await using directory = await tempDirectory();
    // A byte that is not UTF-8 arrives as it is, and a quote as a quote.
    const script = `printf %s "$1" >${directory.path}/out`;
    await runAccountCommand({ program: "sh", args: ["-c", script, "sh", "it's \udcff"] });
    assertEquals(await Deno.readFile(`${directory.path}/out`), pathToBytes("it's \udcff"));
  },
});
