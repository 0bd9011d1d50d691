import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Clock, yieldToEvents } from "../../src/base/clock.ts";
import { ProtocolError, RefusedError, TransientError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { Connection, type ConnectionOptions } from "../../src/source/connection.ts";
import { decodeMessage, encodeMessage, type Message, type Welcome } from "../../src/wire/message.ts";
import type { Session } from "../../src/wire/session.ts";
import { waitFor } from "../testing/wait.ts";

/** A clock whose pauses are written down and end at once, up to a number; then it stops the connection. */
class PauseClock implements Clock {
  readonly pauses: number[] = [];
  readonly stop = new AbortController();
  readonly #pausesMax: number;

  constructor(pausesMax: number) {
    this.#pausesMax = pausesMax;
  }

  nowMs = () => 0;
  monotonicMs = () => 0;

  async sleep(ms: number): Promise<void> {
    this.pauses.push(ms);
    if (this.pauses.length >= this.#pausesMax) this.stop.abort();
    await yieldToEvents();
  }
}

const welcome: Welcome = {
  replicaId: "r",
  streamId: "s",
  durableSequence: 3,
  compareAll: false,
  abilities: {
    rawNames: true,
    nanoseconds: true,
    ownership: true,
    modes: true,
    links: true,
    nodes: true,
    xattrs: true,
    exchange: true,
    confined: true,
    syncAll: true,
  },
  place: { machine: "", identities: [] },
  agent: "test",
};

/** A session on which the given messages come, and then what `end` says. */
class ScriptedSession implements Session {
  readonly peer = "test";
  readonly stats = { packetsSent: 1, packetsReceived: 2, packetsShared: 1, bytesSent: 30, bytesReceived: 40 };
  readonly sent: Message[] = [];
  isClosed = false;
  readonly #messages: Message[];
  readonly #end: "close" | "break" | "stay";
  readonly #closed = Promise.withResolvers<void>();

  constructor(messages: Message[], end: "close" | "break" | "stay" = "break") {
    this.#messages = messages;
    this.#end = end;
  }

  send(message: Uint8Array): Promise<void> {
    this.sent.push(decodeMessage(message));
    return Promise.resolve();
  }

  async receive(): Promise<Uint8Array | undefined> {
    const message = this.#messages.shift();
    if (message) return encodeMessage(message);
    if (this.#end === "break") throw new TransientError("the line broke");
    if (this.#end === "stay") await this.#closed.promise;
    return undefined;
  }

  close(): Promise<void> {
    this.isClosed = true;
    this.#closed.resolve();
    return Promise.resolve();
  }
}

const opening = (): Message[] => [
  { type: "welcome", welcome },
  { type: "touched", entries: [{ path: "a", recursive: false }], last: false },
  { type: "touched", entries: [{ path: "b", recursive: true }], last: true },
];

function connectionWith(
  clock: PauseClock,
  connect: () => Session,
  options: Partial<ConnectionOptions> = {},
): { connection: Connection; log: string[]; lost: unknown[] } {
  const log: string[] = [];
  const lost: unknown[] = [];
  const connection = new Connection({
    // deno-lint-ignore require-await
    connect: async () => connect(),
    clock,
    signal: clock.stop.signal,
    hello: () => ({ streamId: "s", replicaId: "r", indexedSequence: 7, agent: "test" }),
    onWelcome: (_session, { streamId }, touched) =>
      void log.push(`welcome ${streamId} ${touched.map(({ path }) => path)}`),
    onMessage: (message) =>
      void log.push(message.type === "blocked" ? `blocked "${message.reason}"` : message.type),
    onLost: (error) => lost.push(error),
    ...options,
  });
  return { connection, log, lost };
}

Deno.test("Connection introduces itself, gathers what was touched and hands on what comes later", async () => {
  const clock = new PauseClock(1);
  const session = new ScriptedSession([...opening(), { type: "ack", sequence: 4, failures: [] }]);
  const { connection, log, lost } = connectionWith(clock, () => session);
  await connection.run();
  const hello = { streamId: "s", replicaId: "r", indexedSequence: 7, agent: "test" };
  assertEquals(session.sent, [{ type: "hello", hello }]);
  assertEquals(log, ["welcome s a,b", "ack"]);
  assertEquals(lost.length, 1);
  assert(session.isClosed);
  assertEquals([connection.state, connection.reason], ["disconnected", "the line broke"]);
});

// The session ended with "came early", again and again, for as long as the disk was full.
Deno.test("a target that is blocked when a session begins says so, and goes on when it is not", async () => {
  const [welcomed, ...touched] = opening();
  const messages: Message[] = [
    welcomed,
    { type: "blocked", reason: "the disk is full" },
    touched[0],
    { type: "blocked", reason: "" },
    touched[1],
    { type: "ack", sequence: 0, failures: [] },
  ];
  const { connection, log } = connectionWith(new PauseClock(1), () => new ScriptedSession(messages));
  await connection.run();
  assertEquals(log, ['blocked "the disk is full"', 'blocked ""', "welcome s a,b", "ack"]);
});

Deno.test("Connection is connected between the welcome and the loss", async () => {
  const clock = new PauseClock(1);
  const session = new ScriptedSession(opening(), "stay");
  const { connection } = connectionWith(clock, () => session);
  assertEquals(connection.state, "connecting");
  const running = connection.run();
  await waitFor(() => connection.state === "connected", { what: "the connection" });
  assertEquals(connection.reason, "");
  clock.stop.abort();
  await running;
  assert(session.isClosed, "the session is closed when the signal aborts");
});

Deno.test("Connection doubles its pauses up to a bound, and spreads each by half", async () => {
  const clock = new PauseClock(30);
  const { connection } = connectionWith(clock, () => {
    throw new TransientError("nobody there");
  });
  await connection.run();
  assertEquals(connection.reason, "nobody there");
  for (const [i, pause] of clock.pauses.entries()) {
    const middle = Math.min(limits.reconnectMinMs * 2 ** (i + 1), limits.reconnectMaxMs);
    assert(pause >= middle * 0.5 && pause <= middle * 1.5, `pause ${i} is ${pause} ms`);
  }
  assert(new Set(clock.pauses.slice(-10)).size > 1, "not all the same");
});

Deno.test("Connection begins again with short pauses after it was connected", async () => {
  const clock = new PauseClock(12);
  let tries = 0;
  const { connection } = connectionWith(clock, () => {
    if (++tries === 10) return new ScriptedSession(opening());
    throw new TransientError("nobody there");
  });
  await connection.run();
  assert(clock.pauses[8] >= limits.reconnectMaxMs / 2, `${clock.pauses[8]}`);
  assert(clock.pauses[9] <= limits.reconnectMinMs * 3, `${clock.pauses[9]}`);
});

Deno.test("Connection waits long after a refusal, and says so", async () => {
  const clock = new PauseClock(2);
  const { connection, lost } = connectionWith(clock, () => {
    throw new RefusedError("the target knows no such key");
  });
  await connection.run();
  assertEquals([connection.state, connection.reason], ["refused", "the target knows no such key"]);
  assertEquals([clock.pauses, lost.length], [[limits.reconnectMaxMs, limits.reconnectMaxMs], 2]);
});

Deno.test("Connection gives up when it is told to, with what it failed with", async () => {
  const clock = new PauseClock(100);
  const { connection } = connectionWith(clock, () => {
    throw new TransientError("nobody there");
  }, { givesUp: (_error, attempts) => attempts === 3 });
  await assertRejects(() => connection.run(), TransientError, "nobody there");
  assertEquals(clock.pauses.length, 2);
});

for (
  const [name, messages, reason] of [
    ["an ack before the welcome", [{ type: "ack", sequence: 1, failures: [] }], '"ack" came first'],
    [
      "an ack among the touched paths",
      [{ type: "welcome", welcome }, { type: "ack", sequence: 1, failures: [] }],
      '"ack" came early',
    ],
  ] satisfies [string, Message[], string][]
) {
  Deno.test(`Connection ends a session that begins with ${name}`, async () => {
    const clock = new PauseClock(1);
    const session = new ScriptedSession([...messages]);
    const { connection, log, lost } = connectionWith(clock, () => session);
    await connection.run();
    assert(lost[0] instanceof ProtocolError && lost[0].message.includes(reason), String(lost[0]));
    assertEquals([log, session.isClosed], [[], true]);
  });
}

Deno.test("Connection takes an orderly end of the target for a loss, and tries again", async () => {
  const clock = new PauseClock(2);
  const { connection, lost } = connectionWith(clock, () => new ScriptedSession(opening(), "close"));
  await connection.run();
  assertEquals(lost.length, 2);
  assert(lost[0] instanceof TransientError && lost[0].message.includes("the target closed it"));
});

Deno.test("Connection closes a session whose messages its owner cannot take", async () => {
  const clock = new PauseClock(1);
  const session = new ScriptedSession([...opening(), { type: "compared" }], "stay");
  const { connection, lost } = connectionWith(clock, () => session, {
    onMessage: () => {
      throw new ProtocolError("not for a sender");
    },
  });
  await connection.run();
  assertEquals([session.isClosed, (lost[0] as Error).message], [true, "not for a sender"]);
});

Deno.test("Connection counts over all sessions", async () => {
  const clock = new PauseClock(3);
  const { connection } = connectionWith(clock, () => new ScriptedSession(opening()));
  await connection.run();
  assertEquals(connection.stats, {
    packetsSent: 3,
    packetsReceived: 6,
    packetsShared: 3,
    bytesSent: 90,
    bytesReceived: 120,
  });
});
