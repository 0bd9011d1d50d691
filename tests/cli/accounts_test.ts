/**
 * Accounts travel with what they own, and are rebuilt where it is restored: with real `useradd`, `su` and ACLs, on
 * machines that have an `/etc` each. About 30 s.
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Accounts } from "../../src/base/accounts.ts";
import type { SourceStatus, TargetStatus } from "../../src/base/status.ts";
import type { AccountsReport } from "../../src/identity/rebuild.ts";
import { loadAccounts } from "../../src/store/catalog.ts";
import { Machine, machineNeeds } from "../testing/machine.ts";
import { lacks } from "../testing/needs.ts";
import type { RunningProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks(...machineNeeds);

/** A source on one machine, a target server on another, and further machines by need. */
interface Stage extends AsyncDisposable {
  directory: string;
  source: Machine;
  target: Machine;
  /** `HOST:PORT/docs` after pairing. */
  targetName: string;
  /** Makes one more machine. */
  machine(name: string): Promise<Machine>;
  /** Starts `watch-source` and waits until it is live. */
  watch(args?: string[]): Promise<RunningProcess>;
  /** What the target keeps now. */
  kept(): Accounts | undefined;
}

/**
 * ```text
 * source/notes   anna:web 640      source/shared   root 600, with an ACL by which bert reads
 * ```
 */
const PEOPLE = `
groupadd -g 2100 web
useradd -M -u 2001 -U -G web -c 'Anna Ä' -d /home/anna -s /bin/sh anna
useradd -M -u 2002 -U -s /bin/sh bert
useradd -M -u 2003 -U -s /bin/sh stranger
echo 'anna:$6$abc$hash' | chpasswd -e`;

async function openStage({ targetArgs = [] as string[] } = {}): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const { path: directory } = cleanup.use(await tempDirectory());
  // Users are to reach what is restored.
  await Deno.chmod(directory, 0o755);
  for (const name of ["source", "root"]) await Deno.mkdir(`${directory}/${name}`);
  const machine = (name: string) => Machine.make(`${directory}/etc-${name}`);
  const [source, target] = [await machine("source"), await machine("target")];
  await source.shell(PEOPLE);
  await source.shell(`
    cd ${directory}/source
    echo note >notes; chown anna:web notes; chmod 640 notes
    echo shared >shared; chmod 600 shared; setfacl -m u:bert:r shared`);
  const root = `${directory}/root`;
  const server = cleanup.use(
    await target.start(["serve-target", "--root", root, "--listen", "127.0.0.1:0", ...targetArgs]),
  );
  const address = (await server.waitForLine(/^listening /)).replace("listening ", "").trim();
  const token = (await target.understudy(["invite", "docs", "--root", root, "--address", address], {
    expectCode: 0,
  })).stdout.trim();
  const own = cleanup.move();
  return {
    directory,
    source,
    target,
    machine,
    targetName: `${address}/docs`,
    async watch(args = []) {
      const state = ["--state", `${directory}/state`];
      const daemon = own.use(
        await source.start(["watch-source", `${directory}/source`, "--to", token, ...state, ...args]),
      );
      await daemon.waitForLine(/^live$/);
      return daemon;
    },
    kept: () => loadAccounts(`${root}/.understudy/docs/catalog.sqlite`),
    [Symbol.asyncDispose]: () => own.disposeAsync(),
  };
}

const names = (accounts: { name: string }[] | undefined) => accounts?.map(({ name }) => name) ?? [];

/** Restores on a machine with its own state; the key is the source's. */
async function restore(stage: Stage, machine: Machine, to: string, args: string[] = []) {
  const state = ["--state", `${stage.directory}/state`];
  const result = await machine.understudy(["restore", stage.targetName, to, ...state, "--json", ...args]);
  const json = result.stdout.startsWith("{") ? JSON.parse(result.stdout) : undefined;
  return {
    ...result,
    files: json?.files as number,
    ops: json?.ops,
    accounts: json?.accounts as AccountsReport,
  };
}

Deno.test({
  name:
    "accounts of owners, of whom ACLs name and of extra users are on the target, and a new one within two seconds",
  ignore,
  async fn() {
    await using stage = await openStage();
    const { source, target, directory, kept } = stage;
    await stage.watch(["--extra-users", "extra"]);
    await waitFor(() => names(kept()?.users).join() === "anna,bert,root", { what: "the first accounts" });
    const first = kept()!;
    assertEquals(names(first.groups), ["anna", "bert", "root", "web"]);
    assertEquals(first.groups.find(({ name }) => name === "web"), {
      name: "web",
      gid: 2100,
      members: ["anna"],
    });
    assertEquals(first.users[0], {
      name: "anna",
      uid: 2001,
      gid: 2001,
      gecos: "Anna Ä",
      home: "/home/anna",
      shell: "/bin/sh",
    });

    await source.shell("useradd -M -u 2004 -N extra");
    const addedAt = performance.now();
    await waitFor(() => names(kept()?.users).includes("extra"), { what: "the new account" });
    const tookMs = performance.now() - addedAt;
    assert(tookMs < 2_000, `the new account was there after ${tookMs} ms`);

    await source.shell(`usermod -s /bin/bash anna; chown stranger ${directory}/source/notes`);
    const isThere = () => {
      const users = kept()!.users;
      return users[0].shell === "/bin/bash" && names(users).includes("stranger");
    };
    await waitFor(isThere, { what: "what changed" });

    await Deno.chown(`${directory}/source/notes`, 7_777, 7_777);
    const status = async () =>
      JSON.parse(
        (await source.understudy(["status", "--json", "--state", `${directory}/state`], { expectCode: 0 }))
          .stdout,
      ) as SourceStatus;
    await waitFor(async () => (await status()).accounts.unknownUids.join() === "7777", {
      what: "a nameless owner",
    });
    const { users, groups, reason } = (await status()).accounts;
    assertEquals([users, groups, reason], [5, 6, ""]);
    const told: TargetStatus = JSON.parse(
      (await target.understudy(["status", "--json", "--root", `${directory}/root`], { expectCode: 0 }))
        .stdout,
    );
    assertEquals(told.replicas[0].accounts, { users, groups, at: kept()!.at });
  },
});

Deno.test({
  name:
    "restore --accounts makes users with their numbers, groups, rights and passwords, once, and they reach their files",
  ignore,
  async fn() {
    await using stage = await openStage();
    await stage.watch(["--with-passwords"]);
    await waitFor(() => names(stage.kept()?.users).length === 3, { what: "the accounts" });
    const fresh = await stage.machine("fresh");
    const to = `${stage.directory}/restored`;

    const planned = await restore(stage, fresh, to, ["--accounts", "--dry-run"]);
    assertEquals(planned.accounts.done, [
      'make group "anna" (2001)',
      'make group "bert" (2002)',
      'make group "web" (2100)',
      'make user "anna" (2001)',
      'set groups "anna": web',
      'set password "anna"',
      'make user "bert" (2002)',
      'set password "bert"',
    ]);
    assertEquals(await fresh.shell("grep -c anna /etc/passwd || true"), "0\n");

    const { code, stderr, accounts } = await restore(stage, fresh, to, ["--accounts"]);
    assertEquals([code, stderr, accounts.failed], [0, "", []]);
    assertEquals(accounts.done, planned.accounts.done);
    assertEquals(
      await fresh.shell(
        "getent passwd anna; id -Gn anna; getent shadow anna | cut -d: -f2; stat -c %U:%G " + `${to}/notes`,
      ),
      "anna:x:2001:2001:Anna Ä:/home/anna:/bin/sh\nanna web\n$6$abc$hash\nanna:web\n",
    );
    assertEquals(await fresh.shell(`su anna -c 'cat ${to}/notes'`), "note\n");
    assertEquals(await fresh.shell(`su bert -c 'cat ${to}/shared'`), "shared\n");
    assertEquals((await fresh.run("su", ["bert", "-c", `cat ${to}/notes`])).code, 1);

    const again = await restore(stage, fresh, to, ["--accounts"]);
    assertEquals([again.code, again.files, again.accounts.done], [0, 0, []]);
    // What it made it may change.
    await stage.source.shell("usermod -G '' -c Anne anna");
    await waitFor(() => stage.kept()!.users[0].gecos === "Anne", { what: "the change" });
    const changed = await restore(stage, fresh, to, ["--accounts"]);
    assertEquals(changed.accounts.done, ['change user "anna": gecos', 'set groups "anna": none']);
    assertEquals(await fresh.shell("id -Gn anna"), "anna\n");
  },
});

Deno.test({
  name:
    "restore --accounts maps and reports what is taken, and touches nobody it did not make without --force",
  ignore,
  async fn() {
    await using stage = await openStage();
    await stage.watch();
    await waitFor(() => names(stage.kept()?.users).length === 3, { what: "the accounts" });
    const taken = await stage.machine("taken");
    // Anna's number is another's here, and bert has another number.
    await taken.shell(`
      groupadd -g 2001 locals; useradd -M -N -u 2001 -g locals local
      useradd -M -U -u 3000 -s /bin/false bert`);
    const before = await taken.shell("grep -E '^(local|bert|root):' /etc/passwd");
    const to = `${stage.directory}/restored`;
    const { code, accounts } = await restore(stage, taken, to, ["--accounts"]);
    assertEquals([code, accounts.failed], [3, []]);
    const [number, group] = (await taken.shell("id -u anna; id -g anna")).split("\n");
    assertEquals(accounts.mapped.map(({ kind, name, source, here }) => `${kind} ${name} ${source} ${here}`), [
      `group anna 2001 ${group}`,
      "group bert 2002 3000",
      `user anna 2001 ${number}`,
      "user bert 2002 3000",
    ]);
    assertStringIncludes(accounts.kept[0].reason, "--force");
    assertEquals(await taken.shell("grep -E '^(local|bert|root):' /etc/passwd"), before);
    // Files and lists follow the map, and are found equal under it.
    assertEquals(await taken.shell(`stat -c %U:%G ${to}/notes`), "anna:web\n");
    assertEquals(await taken.shell(`su anna -c 'cat ${to}/notes'`), "note\n");
    assertMatch(await taken.shell(`getfacl -p ${to}/shared`), /^user:bert:r--$/m);
    assertEquals((await taken.run("su", ["local", "-c", `cat ${to}/notes`])).code, 1);
    assertEquals((await restore(stage, taken, to, ["--accounts"])).ops, {});

    const forced = await restore(stage, taken, to, ["--accounts", "--force"]);
    assertEquals(forced.accounts.done, ['change user "bert": shell']);
    assertEquals(await taken.shell("getent passwd bert | cut -d: -f3,7"), "3000:/bin/sh\n");
  },
});

Deno.test({
  name: "--owners name gives files to whom has the owner's name, on a target and on restore",
  ignore,
  async fn() {
    await using stage = await openStage({ targetArgs: ["--owners", "name"] });
    const { source, target, directory } = stage;
    await target.shell("useradd -M -U -u 4001 anna; groupadd -g 4100 web");
    await stage.watch();
    const replica = `${directory}/root/docs`;
    assertEquals(await target.shell(`stat -c %u:%g ${replica}/notes`), "4001:4100\n");
    // Live, by the first op that names somebody; and who is unknown here keeps the number.
    await source.shell(`cd ${directory}/source; echo >late; chown stranger:web late`);
    await waitFor(async () => await target.shell(`stat -c %u:%g ${replica}/late`) === "2003:4100\n", {
      what: "late",
    });
    // What comes back are the source's numbers, and by name those of the machine that it comes to.
    assertEquals((await restore(stage, source, `${directory}/back`)).code, 0);
    assertEquals(await source.shell(`stat -c %u:%g ${directory}/back/notes`), "2001:2100\n");
    const third = await stage.machine("third");
    await third.shell("useradd -M -U -u 5001 anna");
    assertEquals((await restore(stage, third, `${directory}/third`, ["--owners", "name"])).code, 0);
    assertEquals(await third.shell(`stat -c %u:%g ${directory}/third/notes`), "5001:2100\n");
  },
});

Deno.test({
  name: "a local replica keeps accounts over restarts of its source, and restores them",
  ignore,
  async fn() {
    await using stage = await openStage();
    const { source, directory } = stage;
    const state = ["--state", `${directory}/state`];
    const replica = `${directory}/replica`;
    const kept = () => loadAccounts(`${directory}/.understudy/replica/catalog.sqlite`);
    await source.understudy(["mirror", `${directory}/source`, replica, ...state], { expectCode: 0 });
    assertEquals(names(kept()?.users), ["anna", "bert", "root"]);
    for (const round of ["starts over", "continues"]) {
      await using daemon = await source.start([
        "watch-source",
        `${directory}/source`,
        "--to",
        replica,
        ...state,
      ]);
      await daemon.waitForLine(/^live$/);
      await source.shell(`usermod -c "${round}" bert`);
      await waitFor(() => kept()?.users[1].gecos === round, { what: `bert as the source ${round}` });
      daemon.kill("SIGTERM");
      assertEquals((await daemon.ended()).code, 0);
    }
    const fresh = await stage.machine("fresh");
    const args = ["restore", replica, `${directory}/back`, ...state];
    const { stdout, stderr, code } = await fresh.understudy([...args, "--accounts"]);
    assertEquals([code, stderr], [0, ""]);
    assertMatch(stdout, /^rebuilt accounts: 6 changes, \d+ were here already$/m);
    assertEquals(await fresh.shell(`su anna -c 'cat ${directory}/back/notes'`), "note\n");
    const none = await fresh.understudy([
      "restore",
      `${directory}/source`,
      `${directory}/x`,
      ...state,
      "--accounts",
    ]);
    assertEquals(none.code, 1);
    assertStringIncludes(none.stderr, "Cannot restore accounts: the target keeps no accounts of its source");
  },
});

Deno.test({
  name:
    "a promoted replica is used by the source's users with the same rights, and goes back under its numbers",
  ignore,
  async fn() {
    await using stage = await openStage();
    const { source, target, directory } = stage;
    const root = `${directory}/root`;
    const daemon = await stage.watch(["--with-passwords"]);
    await waitFor(() => names(stage.kept()?.users).includes("anna"), { what: "the accounts" });
    daemon.kill("SIGKILL");
    await daemon.ended();
    // Somebody here has anna's number.
    await target.shell("useradd -M -u 2001 -U -s /bin/sh other; useradd -M -u 2003 -U -s /bin/sh stranger");
    const promote = ["promote", "docs", "--root", root, "--accounts"];
    const promoted = await target.understudy(promote, { expectCode: 3 });
    assertMatch(promoted.stderr, /mapped user "anna" from 2001 to \d+/);
    const as = (user: string, script: string) =>
      target.run("su", [user, "-s", "/bin/sh", "-c", `cd ${root}/docs && ${script}`]);
    assertEquals((await as("anna", "cat notes && echo more >> notes")).stdout, "note\n");
    assertEquals((await as("bert", "cat shared")).stdout, "shared\n");
    assert((await as("other", "cat notes")).code !== 0, "who has the number here is not the owner");
    assert((await as("stranger", "cat notes shared")).code !== 0);
    assertStringIncludes(await target.shell("getent shadow anna"), "$6$abc$hash");
    // Once more changes nothing.
    const before = await target.shell(`stat -c %u ${root}/docs/notes`);
    await target.understudy(promote);
    assertEquals(await target.shell(`stat -c %u ${root}/docs/notes`), before);
    const back = await stage.watch(["--failback"]);
    assertEquals(await source.shell(`stat -c %u:%g ${directory}/source/notes`), "2001:2100\n");
    assertEquals(Deno.readTextFileSync(`${directory}/source/notes`), "note\nmore\n");
    assertStringIncludes(await source.shell(`getfacl -n ${directory}/source/shared`), "user:2002:r--");
    back.kill("SIGTERM");
    await back.ended();
  },
});
