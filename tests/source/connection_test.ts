/** How a session with a target begins. */
import { assertEquals } from "@std/assert";
import { systemClock } from "../../src/base/clock.ts";
import { Connection } from "../../src/source/connection.ts";
import { encodeMessage, type Message, type Welcome } from "../../src/wire/message.ts";
import type { Session } from "../../src/wire/session.ts";

const welcome: Welcome = {
  replicaId: "r",
  streamId: "",
  durableSequence: 0,
  compareAll: false,
  abilities: {
    rawNames: true,
    nanoseconds: true,
    ownership: true,
    modes: true,
    exchange: true,
    confined: true,
    syncAll: true,
  },
  place: { machine: "", identities: [] },
  agent: "",
};

// The session ended with "came early", again and again, for as long as the disk was full.
Deno.test("a target that is blocked when a session begins says so, and goes on when it is not", async () => {
  const stop = new AbortController();
  const answers: Message[] = [
    { type: "welcome", welcome },
    { type: "blocked", reason: "the disk is full" },
    { type: "touched", entries: [{ path: "a", recursive: false }], last: false },
    { type: "blocked", reason: "" },
    { type: "touched", entries: [{ path: "b", recursive: true }], last: true },
    { type: "ack", sequence: 0, failures: [] },
  ];
  const heard: string[] = [];
  const session: Session = {
    peer: "test",
    stats: { packetsSent: 0, packetsReceived: 0, bytesSent: 0, bytesReceived: 0 },
    send: () => Promise.resolve(),
    receive() {
      const answer = answers.shift();
      if (answer) return Promise.resolve(encodeMessage(answer));
      stop.abort();
      return Promise.resolve(undefined);
    },
    close: () => Promise.resolve(),
  };
  const connection = new Connection({
    connect: () => Promise.resolve(session),
    clock: systemClock,
    signal: stop.signal,
    hello: () => ({ streamId: "", replicaId: "", indexedSequence: 0, agent: "" }),
    onWelcome: (_session, { replicaId }, touched) =>
      void heard.push(`welcome ${replicaId}: ${touched.map(({ path }) => path)}`),
    onMessage: (message) =>
      void heard.push(message.type === "blocked" ? `blocked "${message.reason}"` : message.type),
    onLost: (error) => void heard.push(`lost: ${error}`),
  });
  await connection.run();
  assertEquals(heard, ['blocked "the disk is full"', 'blocked ""', "welcome r: a,b", "ack"]);
});
