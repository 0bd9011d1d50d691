import { assertEquals, assertRejects } from "@std/assert";
import { CommandError } from "../../src/base/errors.ts";
import { ServedReplica } from "../../src/target/served_replica.ts";
import { file } from "../testing/receiver.ts";
import { Sender } from "../testing/sender.ts";
import { tempDirectory } from "../testing/temp.ts";

/** A replica in a directory of its own, that a source has begun a stream to and sent file `a`. */
async function served() {
  const directory = await tempDirectory();
  const live = `${directory.path}/live`;
  const replica = new ServedReplica({
    replicaRoot: live,
    stateDirectory: `${directory.path}/state`,
    agent: "test",
  });
  const sender = new Sender((await replica.open()).openSession());
  await sender.begin();
  await sender.apply(file("a", "1"));
  return {
    replica,
    sender,
    contents: () => Deno.readTextFileSync(`${live}/a`),
    async [Symbol.asyncDispose]() {
      await replica.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

Deno.test("ServedReplica is held until the last hold ends, and applies then what came meanwhile", async () => {
  await using s = await served();
  const [first, second] = [new AbortController(), new AbortController()];
  await Promise.all([s.replica.hold(first.signal), s.replica.hold(second.signal)]);
  await s.sender.until("blocked", ({ reason }) => reason.includes("being exported"));
  await s.sender.ops(file("a", "2"));
  first.abort();
  assertEquals((await s.replica.client!.stats()).blockedReason.includes("being exported"), true);
  assertEquals(s.contents(), "1");
  second.abort();
  await s.sender.until("ack", ({ sequence }) => sequence === 2);
  assertEquals(s.contents(), "2");
});

Deno.test("ServedReplica stays held while one session ends and another begins", async () => {
  await using s = await served();
  const hold = new AbortController();
  await s.replica.hold(hold.signal);
  await s.sender.ops(file("a", "lost with its session"));
  await s.replica.close();
  assertEquals(s.contents(), "1");
  const next = new Sender((await s.replica.open()).openSession());
  const beginning = next.begin("another");
  assertEquals((await s.replica.client!.stats()).blockedReason.includes("being exported"), true);
  hold.abort();
  await beginning;
  await next.apply(file("a", "2"));
  assertEquals(s.contents(), "2");
});

Deno.test("ServedReplica recovers a replica that nobody has opened before it holds it", async () => {
  await using s = await served();
  await s.replica.close();
  const hold = new AbortController();
  await s.replica.hold(hold.signal);
  assertEquals(s.replica.client, undefined);
  hold.abort();
  const next = new Sender((await s.replica.open()).openSession());
  await next.begin("another");
  await next.apply(file("a", "2"));
});

Deno.test("ServedReplica is not held by a hold that fails, or whose asker is gone", async () => {
  await using s = await served();
  const hold = new AbortController();
  const holding = s.replica.hold(hold.signal);
  hold.abort();
  await assertRejects(() => holding, DOMException);
  await assertRejects(() => s.replica.hold(AbortSignal.abort()), DOMException);
  await s.sender.apply(file("a", "2"));

  await using directory = await tempDirectory();
  const none = new ServedReplica({
    replicaRoot: `${directory.path}/live`,
    stateDirectory: `${directory.path}/state`,
    agent: "test",
  });
  await assertRejects(() => none.hold(new AbortController().signal), CommandError, "there is no catalog");
  const sender = new Sender((await none.open()).openSession());
  await sender.begin();
  await sender.apply(file("a", "1"));
  await none.close();
});
