/**
 * Which targets are told accounts, and when.
 * @module
 */
import { assertEquals } from "@std/assert";
import { systemClock } from "../../src/base/clock.ts";
import { createLog } from "../../src/base/log.ts";
import { AccountWatch } from "../../src/identity/account_watch.ts";
import { AccountSender } from "../../src/source/account_sender.ts";
import { tempDirectory } from "../testing/temp.ts";

/** A sender, and what it posts: names of users. */
async function opened() {
  const etc = await tempDirectory();
  Deno.writeTextFileSync(`${etc.path}/passwd`, "anna:x:1:1::/:\nbert:x:2:2::/:\ncarl:x:3:3::/:\n");
  const accounts = new AccountWatch({
    directory: etc.path,
    extraUsers: [],
    withPasswords: false,
    clock: systemClock,
    log: createLog({ write: () => {} }),
  });
  const posted: string[] = [];
  const owners: [number, number][] = [];
  const sender = new AccountSender({
    accounts,
    index: { eachOwner: (visit) => owners.forEach(([uid, gid]) => visit(uid, gid)) },
    lane: {
      post(message, { ahead = false } = {}) {
        if (message.type !== "accounts") return;
        posted.push((ahead ? "first " : "") + message.accounts.users.map(({ name }) => name).join());
      },
    },
  });
  return { sender, accounts, posted, owners, [Symbol.asyncDispose]: () => etc[Symbol.asyncDispose]() };
}

const attributes = { uid: 3, gid: 3 };

Deno.test("AccountSender tells everything when the index is known, and each owner before its op", async () => {
  await using o = await opened();
  o.owners.push([1, 1]);
  o.sender.connect({ accounts: true });
  assertEquals(o.posted, [], "the index is not known yet");
  o.sender.begin();
  o.sender.begin();
  assertEquals(o.posted, ["first anna"]);
  o.sender.noteOp({ kind: "attributes", path: "f", attributes });
  o.sender.noteOp({ kind: "attributes", path: "f", attributes });
  o.sender.noteOp({ kind: "unlink", path: "f" });
  assertEquals(o.posted, ["first anna", "anna,carl"]);
  o.owners.push([2, 2]);
  o.sender.noteHeld();
  assertEquals(o.posted.at(-1), "anna,bert,carl");
});

Deno.test("AccountSender tells nothing to a target that does not keep accounts, nor between sessions", async () => {
  await using o = await opened();
  o.sender.connect({});
  o.sender.begin();
  o.accounts.noteOwner(1, 1);
  assertEquals(o.posted, []);
  o.sender.connect({ accounts: true });
  o.sender.begin();
  o.sender.disconnect();
  o.accounts.noteOwner(2, 2);
  o.sender.begin();
  assertEquals(o.posted, ["first anna"]);
  o.sender.connect({ accounts: true });
  o.sender.begin();
  assertEquals(o.posted, ["first anna", "first anna,bert"]);
});
