import { assert, assertEquals, assertRejects } from "@std/assert";
import { CommandError, CorruptionError, ProtocolError, TransientError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { ApplyClient, pump } from "../../src/target/apply_client.ts";
import { encodeMessage } from "../../src/wire/message.ts";
import { noStats, type Session } from "../../src/wire/session.ts";
import { lacks } from "../testing/needs.ts";
import { file, mkdir, opsMessage } from "../testing/receiver.ts";
import { Sender } from "../testing/sender.ts";
import { tempDirectory, tmpfsMount } from "../testing/temp.ts";

function place(directory: string, create = true) {
  return { replicaRoot: `${directory}/live`, stateDirectory: `${directory}/state`, create, agent: "test" };
}

Deno.test("ApplyClient carries a session: hello, ops, ack, listing, statistics, and a clean close", async () => {
  await using directory = await tempDirectory();
  const client = await ApplyClient.open(place(directory.path));
  const sender = new Sender(client.openSession());
  await sender.begin();
  await sender.apply(mkdir("d"), file("d/f", "contents"));
  assertEquals(Deno.readTextFileSync(`${directory.path}/live/d/f`), "contents");
  await sender.send({ type: "list", request: 1, path: "", recursive: true });
  assertEquals((await sender.until("listing")).entries.length, 3);
  const stats = await client.stats();
  assertEquals([stats.opsReceived.file, stats.dataBytes, stats.lastDurableSequence], [1, 8, 2]);
  await sender.session.close();
  assertEquals(await sender.session.receive(), undefined);
  await assertRejects(() => sender.session.send(new Uint8Array()), TransientError);
  await client.close();
  const again = await ApplyClient.open(place(directory.path, false));
  assertEquals(again.replicaId, client.replicaId);
  const next = new Sender(again.openSession());
  await next.send({ type: "hello", hello: { streamId: "", replicaId: "", indexedSequence: 0, agent: "" } });
  const { welcome } = await next.until("welcome");
  assertEquals([welcome.durableSequence, welcome.compareAll], [2, false]);
  await again.close();
});

Deno.test("Session.send() to a Worker leaves the buffer to its caller", async () => {
  await using directory = await tempDirectory();
  const client = await ApplyClient.open(place(directory.path));
  const sender = new Sender(client.openSession());
  await sender.begin();
  const message = encodeMessage(opsMessage(1, [file("f", "x")]));
  await sender.session.send(message);
  assert(message.byteLength > 0, "it was not taken away");
  await sender.until("ack");
  await client.close();
});

Deno.test("a Worker that dies breaks its session; another one recovers the replica and goes on", async () => {
  await using directory = await tempDirectory();
  const client = await ApplyClient.open(place(directory.path));
  const sender = new Sender(client.openSession());
  await sender.begin();
  await sender.apply(file("a", "1"));
  const receiving = assertRejects(() => sender.session.receive(), TransientError);
  client.terminate();
  await receiving;
  await assertRejects(() => sender.ops(file("b", "2")), TransientError);
  await assertRejects(() => client.stats(), TransientError);
  assert(client.failure instanceof TransientError, "the client says so");
  const another = await ApplyClient.open(place(directory.path));
  const next = new Sender(another.openSession());
  await next.send({
    type: "hello",
    hello: { streamId: "stream", replicaId: another.replicaId, indexedSequence: 0, agent: "" },
  });
  const { welcome } = await next.until("welcome");
  assertEquals([welcome.durableSequence, welcome.compareAll], [1, true]);
  await another.close();
});

Deno.test("a session that breaks the protocol ends with the reason, and another one can be opened", async () => {
  await using directory = await tempDirectory();
  const client = await ApplyClient.open(place(directory.path));
  const first = new Sender(client.openSession());
  await first.ops(file("a", "before hello"));
  await assertRejects(() => first.session.receive(), ProtocolError, "no hello");
  await first.session.close();
  const second = new Sender(client.openSession());
  await second.session.send(Uint8Array.of(250, 1, 2));
  await assertRejects(() => second.session.receive(), ProtocolError, "type 250");
  const third = new Sender(client.openSession());
  await third.begin();
  await third.apply(file("a", "1"));
  const fourth = new Sender(client.openSession());
  await assertRejects(() => third.session.receive(), TransientError, "took its place");
  await fourth.begin("another");
  await fourth.apply(file("a", "2"));
  assertEquals(Deno.readTextFileSync(`${directory.path}/live/a`), "2");
  await client.close();
});

Deno.test("ApplyClient.open() refuses a missing replica and a broken catalog with their errors", async () => {
  await using directory = await tempDirectory();
  await assertRejects(() => ApplyClient.open(place(directory.path, false)), CommandError, "no catalog");
  await Deno.mkdir(`${directory.path}/state`);
  await Deno.writeTextFile(`${directory.path}/state/catalog.sqlite`, "this is no database ".repeat(100));
  await assertRejects(() => ApplyClient.open(place(directory.path)), CorruptionError, "catalog.sqlite");
});

Deno.test("many ops in flight are gathered into few groups, in order, within the bound of the inbox", async () => {
  await using directory = await tempDirectory();
  const client = await ApplyClient.open(place(directory.path));
  const sender = new Sender(client.openSession());
  await sender.begin();
  const count = 3_000;
  const sending = (async () => {
    for (let i = 0; i < count; i += 50) {
      await sender.ops(...[...Array(50).keys()].map((j) => file(`f${i + j}`, `${i + j}`)));
    }
  })();
  let acks = 0;
  await sender.until("ack", ({ sequence }) => ++acks > 0 && sequence === count);
  await sending;
  assert(acks < 60, `${acks} acks for 60 messages`);
  assertEquals([...Deno.readDirSync(`${directory.path}/live`)].length, count);
  await client.close();
});

Deno.test("pump() couples two sessions both ways until one of them ends, and then closes both", async () => {
  await using directory = await tempDirectory();
  const client = await ApplyClient.open(place(directory.path));
  const [near, far] = pipe();
  const pumping = pump(far, client.openSession());
  const sender = new Sender(near);
  await sender.begin();
  await sender.apply(file("f", "through the pump"));
  assertEquals(Deno.readTextFileSync(`${directory.path}/live/f`), "through the pump");
  await near.close();
  await pumping;
  const [another, itsFar] = pipe();
  const failing = assertRejects(() => pump(itsFar, client.openSession()), TransientError);
  await another.send(
    encodeMessage({ type: "hello", hello: { streamId: "", replicaId: "", indexedSequence: 0, agent: "" } }),
  );
  await another.receive();
  client.terminate();
  await failing;
});

Deno.test({
  name:
    "a blocked replica stops the sender at the bound of the inbox, and goes on by itself when there is room",
  ignore: lacks("linux", "root"),
  async fn() {
    await using mount = await tmpfsMount({ sizeBytes: 4 * 1024 * 1024 });
    const client = await ApplyClient.open(place(mount.path));
    Deno.writeFileSync(`${mount.path}/ballast`, new Uint8Array(2_700_000));
    const sender = new Sender(client.openSession());
    await sender.begin();
    const data = new Uint8Array(500_000).fill(7);
    // The same name over and over: it fits when the ballast is gone.
    const count = Math.ceil(limits.applyInboxBytes / data.length) + 10;
    let sent = 0;
    const sending = (async () => {
      for (; sent < count; sent++) await sender.ops(file("f", data));
    })();
    const { reason } = await sender.until("blocked");
    assert(reason.includes("ENOSPC"), reason);
    assertEquals((await client.stats()).blockedReason, reason);
    assert(sent * data.length <= limits.applyInboxBytes + data.length, `${sent} were taken`);
    await Deno.remove(`${mount.path}/ballast`);
    assertEquals((await sender.until("blocked")).reason, "");
    await sender.until("ack", ({ sequence }) => sequence === count);
    await sending;
    await client.close();
  },
});

/** Two ends of a line in memory. */
function pipe(): [Session, Session] {
  const [there, back] = [queue(), queue()];
  const end = (out: Queue, into: Queue): Session => ({
    peer: "test",
    stats: noStats(),
    send: (message) => Promise.resolve(out.put(message)),
    receive: () => into.take(),
    close: () => Promise.resolve(out.put(undefined)),
  });
  return [end(there, back), end(back, there)];
}

interface Queue {
  put(message: Uint8Array | undefined): void;
  take(): Promise<Uint8Array | undefined>;
}

function queue(): Queue {
  const waiting: (Uint8Array | undefined)[] = [];
  let wake = () => {};
  return {
    put(message) {
      waiting.push(message);
      wake();
    },
    async take() {
      while (waiting.length === 0) await new Promise<void>((resolve) => wake = resolve);
      return waiting.shift();
    },
  };
}
